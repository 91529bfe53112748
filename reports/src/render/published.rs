//! The papers' tables beside ours: part of the summary.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::Context;
use super::listing::{axis, by_machine, listing, threads_of, with_interval};
use crate::answers::{PUBLISHED, PUBLISHED_CROSSINGS, PUBLISHED_ORDER};
use crate::columns::{PRECISION, RUN, THREADS, Typed};
use crate::frames::crossover::size;
use crate::frames::published::{NEAR, Published};
use crate::text::markdown::{ABSENT, Align, counted, name, sentence};
use crate::text::units::figure;

const ABOUT: &str = "\n## Beside the papers\n\n\
    Figures as the papers print them, as ratios to the dense method of the same table (below 1 is faster or smaller), beside ours of the same length and parameter. Memory \
    is what the paper calls so, and declared bytes here.";

/// The section; empty where no run measured a published table.
pub(crate) fn section(published: &Published, context: &Context<'_>) -> PolarsResult<String> {
    let frame = &published.comparisons;
    if frame.height() == 0 {
        return Ok(String::new());
    }
    let mut out = format!(
        "{ABOUT} A ratio *agrees* if the paper's is within the interval of ours, or both are on the same side of 1 and within a factor of {NEAR}; a crossing if its \
         length is so. An order agrees if chance alone gives such a one in fewer than 5 % of cases (Kendall's tau-b). What is known to be different is said, and is no proof of a cause.\n"
    );
    let tables: BTreeSet<(&str, &str)> = frame
        .texts("table")?
        .iter()
        .zip(frame.texts("setting")?.iter())
        .map(|(table, setting)| (table.unwrap_or_default(), setting.unwrap_or_default()))
        .collect();
    for (table, setting) in tables {
        let own =
            |frame: &DataFrame| frame.clone().lazy().filter(col("table").eq(lit(table)).and(col("setting").eq(lit(setting)))).collect();
        out += &format!("\n### {}: {}\n", name(table), sentence(setting));
        let comparisons = own(frame)?;
        let differences: BTreeSet<&str> =
            comparisons.texts("known_differences")?.iter().flatten().filter(|words| !words.is_empty()).collect();
        for words in differences {
            out += &format!("\nKnown to be different: {}.\n", sentence(words));
        }
        out += &orders(&own(&published.ranks)?, context)?;
        out += &crossings(&own(&published.crossings)?, context)?;
        out += &figures(&comparisons, context)?;
    }
    Ok(out)
}

/// Where a line was measured: engine, precision, threads, regime, and the run where there are several.
fn place(frame: &DataFrame, context: &Context<'_>, row: usize) -> PolarsResult<String> {
    let mut words = vec![name(frame.texts("engine")?.get(row).unwrap_or_default())];
    words.extend(axis(frame, PRECISION, row)?.map(|precision| name(&precision)));
    words.extend(axis(frame, THREADS, row)?.map(|threads| threads_of(&threads)));
    words.extend(frame.texts("regime")?.get(row).filter(|regime| !regime.is_empty()).map(name));
    if context.labels.len() > 1 {
        words.push(format!("run {}", context.run(frame.ints(RUN)?.get(row))));
    }
    Ok(words.join(", "))
}

fn method(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let text = |column: &str| Ok::<_, PolarsError>(frame.texts(column)?.get(row).unwrap_or_default());
    let (method, param) = (text("method")?, text("param")?);
    Ok(if param.is_empty() { name(method) } else { format!("{}, {}", name(method), name(param)) })
}

/// `**differs**: faster there, slower here`.
fn verdict(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let (verdict, reason) = (frame.texts("verdict")?.get(row).unwrap_or_default(), frame.texts("reason")?.get(row).unwrap_or_default());
    let word = match verdict {
        "none" => return Ok(sentence(reason)),
        "differs" => "**differs**".to_owned(),
        other => name(other),
    };
    Ok(if reason.is_empty() { word } else { format!("{word}: {}", sentence(reason)) })
}

fn orders(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let over_all = frame.clone().lazy().filter(col("n").is_null()).collect()?;
    let mut out = String::new();
    for (heading, rows) in by_machine(&over_all, context, 4)? {
        let mut lines = Vec::new();
        for row in rows {
            let int = |column: &str| Ok::<_, PolarsError>(over_all.ints(column)?.get(row).unwrap_or(0).to_string());
            let double = |column: &str| Ok::<_, PolarsError>(over_all.doubles(column)?.get(row).map_or_else(|| ABSENT.to_owned(), figure));
            let is_error = over_all.texts("measure")?.get(row) == Some("error");
            let by_itself = |column: &str| if is_error { Ok(ABSENT.to_owned()) } else { int(column) };
            lines.push(vec![
                name(over_all.texts("measure")?.get(row).unwrap_or_default()),
                place(&over_all, context, row)?,
                int("figures")?,
                by_itself("agree")?,
                by_itself("differ")?,
                double("tau")?,
                double("chance")?,
                verdict(&over_all, row)?,
            ]);
        }
        let figures = ["figures", "agree", "differ", "tau-b", "by chance"].map(|heading| (heading, Align::Right));
        let headings = [("measure", Align::Left), ("here on", Align::Left)].into_iter().chain(figures).chain([("order", Align::Left)]);
        out += &format!(
            "{heading}\nThe order of all figures; that at each length is in {PUBLISHED_ORDER}.\n\n{}",
            listing(&headings.collect::<Vec<_>>(), lines, PUBLISHED_ORDER)
        );
    }
    Ok(out)
}

fn crossings(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let mut out = String::new();
    for (heading, rows) in by_machine(frame, context, 4)? {
        let mut lines = Vec::new();
        for row in rows {
            let double = |column: &str| Ok::<_, PolarsError>(frame.doubles(column)?.get(row));
            let course = |verdict: &str, at: Option<f64>, ends: Option<(f64, f64)>| {
                let at = at.map_or_else(String::new, |at| format!(" n = {}", size(at)));
                let ends = ends.map_or_else(String::new, |(low, high)| format!(" [{}, {}]", size(low), size(high)));
                Ok::<_, PolarsError>(format!("{}{at}{ends}", frame.texts(verdict)?.get(row).unwrap_or_default().replace('-', " ")))
            };
            lines.push(vec![
                method(frame, row)?,
                place(frame, context, row)?,
                format!("{} … {}", size(double("from")?.unwrap_or(0.0)), size(double("to")?.unwrap_or(0.0))),
                frame.ints("points")?.get(row).unwrap_or(0).to_string(),
                course("theirs", double("their_crossing")?, None)?,
                course("ours", double("our_crossing")?, double("our_low")?.zip(double("our_high")?))?,
                verdict(frame, row)?,
            ]);
        }
        let texts = |heading| (heading, Align::Left);
        let headings = [texts("method"), texts("here on"), texts("lengths"), ("points", Align::Right)];
        let headings: Vec<_> = headings.into_iter().chain(["faster there", "faster here", "verdict"].map(texts)).collect();
        out += &format!("{heading}\nWhere a method is faster than the dense one:\n\n{}", listing(&headings, lines, PUBLISHED_CROSSINGS));
    }
    Ok(out)
}

/// Every figure: those that differ first.
fn figures(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let measures = frame.texts("measure")?;
    let (verdicts, reasons) = (frame.texts("verdict")?, frame.texts("reason")?);
    let mut out = String::new();
    for (heading, mut rows) in by_machine(frame, context, 4)? {
        rows.retain(|row| measures.get(*row) != Some("error"));
        let mut without: BTreeMap<&str, u64> = BTreeMap::new();
        for row in rows.iter().filter(|row| verdicts.get(**row) == Some("none")) {
            *without.entry(reasons.get(*row).unwrap_or_default()).or_default() += 1;
        }
        rows.retain(|row| verdicts.get(*row) != Some("none"));
        let rank = |row: &usize| match verdicts.get(*row) {
            Some("differs") => 0,
            Some("unclear") => 1,
            _ => 2,
        };
        // Stable: the rest is in the order of the frame.
        rows.sort_by_key(rank);
        let mut lines = Vec::new();
        for row in rows {
            let double = |column: &str| Ok::<_, PolarsError>(frame.doubles(column)?.get(row));
            let ours = match double("ours")? {
                Some(ours) => with_interval(ours, double("ours_low")?, double("ours_high")?),
                None => ABSENT.to_owned(),
            };
            lines.push(vec![
                name(measures.get(row).unwrap_or_default()),
                method(frame, row)?,
                frame.ints("n")?.get(row).map_or_else(|| ABSENT.to_owned(), |n| n.to_string()),
                place(frame, context, row)?,
                double("theirs")?.map_or_else(|| ABSENT.to_owned(), figure),
                ours,
                verdict(frame, row)?,
            ]);
        }
        let texts = |heading| (heading, Align::Left);
        let figures = |heading| (heading, Align::Right);
        let headings = [
            texts("measure"),
            texts("method"),
            figures("n"),
            texts("here on"),
            figures("there"),
            figures("here [95 % CI]"),
            texts("verdict"),
        ];
        out += &heading;
        if !lines.is_empty() {
            out += &format!("\nThe ratios to dense, those that differ first:\n\n{}", listing(&headings, lines, PUBLISHED));
        }
        if !without.is_empty() {
            let reasons = without.iter().map(|(reason, count)| format!("{} ({count})", sentence(reason)));
            let all = counted(without.values().sum(), "figure");
            out += &format!("\n{all} beside no ratio of ours: {}.\n", reasons.collect::<Vec<_>>().join("; "));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::with_context;
    use crate::frames::order::AxisRoles;
    use crate::frames::published::tests::{found, linformer};

    fn rendered(experiment: &str) -> String {
        let mut cells = linformer(&[(512, 512 * 512 * 2), (1024, 1024 * 1024 * 6 / 10), (2048, 2048 * 2048 / 2)]);
        (cells[5].status, cells[5].median) = ("oom", None);
        let found = found(experiment, &cells, Some(0.01));
        let roles = AxisRoles { problem: Vec::new(), parameters: Vec::new() };
        with_context(&roles, |context| section(&found, context).unwrap())
    }

    #[test]
    fn what_differs_comes_first_and_what_is_missing_is_counted() {
        let section = rendered("published-linformer-table3");
        let (_, tables) = section.split_once("\n### ").unwrap();
        insta::assert_snapshot!(tables.trim(), @r"
        linformer-table3: V100 16GB, layerwise sharing, against the dense transformer

        Known to be different: a gpu there, a processor here; whole layers at the largest batch that fits there, the attention alone with a batch of 1 here.

        The order of all figures; that at each length is in published-order.csv.

        | measure | here on    | figures | agree | differ | tau-b | by chance | order                                      |
        | ------- | ---------- | ------: | ----: | -----: | ----: | --------: | ------------------------------------------ |
        | memory  | naive, f32 |       2 |     0 |      2 |     – |         – | unclear: no two methods at the same length |
        | time    | naive, f32 |       2 |     1 |      1 |     – |         – | unclear: no two methods at the same length |

        Where a method is faster than the dense one:

        | method           | here on    | lengths    | points | faster there | faster here             | verdict                                           |
        | ---------------- | ---------- | ---------- | -----: | ------------ | ----------------------- | ------------------------------------------------- |
        | linformer, k=128 | naive, f32 | 512 … 1024 |      2 | everywhere   | from n = 763 [680, 857] | **differs**: another course over the same lengths |

        The ratios to dense, those that differ first:

        | measure | method           |    n | here on    | there |       here [95 % CI] | verdict                                                      |
        | ------- | ---------------- | ---: | ---------- | ----: | -------------------: | ------------------------------------------------------------ |
        | memory  | linformer, k=128 |  512 | naive, f32 | 0.588 |                0.251 | **differs**: smaller in both, the paper's is 2.34 times ours |
        | memory  | linformer, k=128 | 1024 | naive, f32 | 0.333 |                0.125 | **differs**: smaller in both, the paper's is 2.66 times ours |
        | time    | linformer, k=128 |  512 | naive, f32 | 0.667 |    2.00 [1.64, 2.44] | **differs**: faster there, slower here                       |
        | time    | linformer, k=128 | 1024 | naive, f32 | 0.588 | 0.600 [0.491, 0.733] | agrees: within the interval of ours                          |

        2 figures beside no ratio of ours: here: oom (2).
        ");
    }

    #[test]
    fn without_a_published_table_there_is_no_section() {
        assert_eq!(rendered("quick"), "");
    }
}
