//! The papers' tables beside ours: part of the summary.

use std::collections::BTreeSet;

use polars::prelude::*;

use super::Context;
use super::crossover::size;
use super::listing::{axis, by_machine, listing, threads_of, with_interval};
use crate::answers::{PUBLISHED, PUBLISHED_CROSSINGS, PUBLISHED_ORDER};
use crate::columns::{PRECISION, RUN, THREADS, Typed};
use crate::frames::published::{NEAR, Published};
use crate::text::markdown::{ABSENT, Align, name, sentence};
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
    let verdicts = frame.texts("verdict")?;
    let mut out = String::new();
    for (heading, mut rows) in by_machine(frame, context, 4)? {
        rows.retain(|row| measures.get(*row) != Some("error"));
        if rows.is_empty() {
            continue;
        }
        let rank = |row: &usize| match verdicts.get(*row) {
            Some("differs") => 0,
            Some("none") => 1,
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
        out += &format!("{heading}\nThe ratios to dense, those that differ first:\n\n{}", listing(&headings, lines, PUBLISHED));
    }
    Ok(out)
}
