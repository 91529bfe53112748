//! The answer, on top of the summary: what pays from where on, at what cost in accuracy, on the engine that one would use.
//!
//! Per family and machine only the fastest engine speaks here: that which computes the exact result first at the most problems. An optimisation
//! that pays on a slow engine only is no answer. All engines stand in the families' documents.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::Context;
use super::crossover::own_function;
use super::family::files;
use crate::answers::Answers;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::frames::crossover::size;
use crate::frames::standing::{self, Standing};
use crate::frames::unprofitable::WRONG;
use crate::reservations::{self, Remark};
use crate::text::markdown::{ABSENT, Align, Table, counted, name};
use crate::text::units::{figure, scientific};

const TITLE: &str = "\n## What pays, and from where on\n\n";

const NOTHING: &str = "Nothing can be said: no variant was measured beside a baseline at two sizes or more.\n";

const ABOUT: &str =
    "Against the fastest exact cell of the same engine, precision and threads (*against*); of each family on its fastest engine.\n";

const FASTER_AND_WRONG: &str = "Faster too, but more than 10 % off on these inputs, which are drawn at random; a trained model may bear more, or less. Measure it there \
    (`crossover run minilm`). The smallest error first:\n\n";

const READING: &str = "\nHow to read it: first what computes the exact result, the largest gain first; then approximations, the smallest error first (none above 10 %); then what \
    computes another function in the baseline's place. Of a variant that pays in several settings, precisions or numbers of threads the one that comes first in this order is shown; the \
    document has all. *time*, *error* (relative Frobenius norm against the exact result) and *memory* (declared bytes) are those of the first size at \
    which it pays; time is over the strong baseline's, memory over the declared baseline's. *[..]* is how far the 95 % intervals of the times and the noise leave the crossing open; that the curve is straight between two sizes \
    is taken for granted. Whether an error can be borne is for the model to say: on inputs drawn at random an approximation loses more than on a trained model's.\n";

const ANOTHER: &str = "\n‡: the error is the distance from the variant's own function in f64, which is not the baseline's: what it costs a model is not told here.\n";

/// The section; says so where no curve has two points. `folder` leads from the text's place to the report.
pub(crate) fn section(answers: &Answers<'_>, context: &Context<'_>, folder: &str) -> PolarsResult<String> {
    let frame = &answers.crossovers;
    if frame.height() == 0 {
        return Ok(TITLE.to_owned() + NOTHING + &reserved(answers, context)?);
    }
    let mut out = TITLE.to_owned() + ABOUT + &reserved(answers, context)?;
    let documents: BTreeMap<String, String> = files(&answers.cells)?.into_iter().collect();
    let fastest = fastest_engines(&answers.rows)?;
    let (families, machines, engines) = (frame.texts("family")?, frame.texts("machine")?, frame.texts("engine")?);
    let places: BTreeSet<(&str, &str)> =
        families.iter().zip(machines.iter()).filter_map(|(family, machine)| Some((family?, machine?))).collect();
    for (family, machine) in places {
        let Some(engine) = fastest.get(&(family.to_owned(), machine.to_owned())) else { continue };
        let of_it = |row: &usize| {
            (families.get(*row), machines.get(*row), engines.get(*row)) == (Some(family), Some(machine), Some(engine.as_str()))
        };
        let rows: Vec<usize> = (0..frame.height()).filter(of_it).collect();
        out += &format!("\n### {} on {}", name(family), name(engine));
        if context.several_machines {
            out += &format!(", {}", context.machine(machine));
        }
        out += "\n\n";
        out += &table(frame, context, &rows, &format!("{folder}{}", documents.get(family).map_or("summary.md", String::as_str)))?;
    }
    out += &unsaid(&answers.cells, families)?;
    Ok(out + READING)
}

/// What to know before reading on.
fn reserved(answers: &Answers<'_>, context: &Context<'_>) -> PolarsResult<String> {
    let mut out = "\n".to_owned();
    for place in 0..answers.runs.len() {
        let remarks = reservations::of_run(answers.runs, &answers.cells, place)?;
        let told = |remark: &Remark| if remark.warns { format!("**{}**", remark.text) } else { remark.text.clone() };
        let told: Vec<String> = remarks.iter().map(told).collect();
        out += &format!("* Run {}: {}.\n", context.run(Some(place as i64)), told.join("; "));
    }
    Ok(out)
}

/// The families that have no curve.
fn unsaid(cells: &DataFrame, with_curves: &StringChunked) -> PolarsResult<String> {
    let known: BTreeSet<&str> = with_curves.iter().flatten().collect();
    let others: BTreeSet<&str> = cells.texts("family")?.iter().flatten().filter(|family| !known.contains(family)).collect();
    let others: Vec<String> = others.into_iter().map(name).collect();
    Ok(match others.is_empty() {
        true => String::new(),
        false => format!("\nNothing is said of {}: nothing there was measured beside a baseline at two sizes.\n", others.join(", ")),
    })
}

/// The engine that has the fastest exact cell of the most problems, by family and machine.
pub(crate) fn fastest_engines(rows: &DataFrame) -> PolarsResult<BTreeMap<(String, String), String>> {
    let wins = rows
        .clone()
        .lazy()
        .filter(col("exact").and(col("status").eq(lit("ok"))).and(col("median_ns").is_not_null()))
        .sort(["median_ns", "engine"], SortMultipleOptions::default())
        .group_by_stable([col("family"), col("machine"), col(RUN), col("group")])
        .agg([col("engine").first()])
        .group_by([col("family"), col("machine"), col("engine")])
        .agg([len().alias("wins")])
        .sort_by_exprs([col("wins"), col("engine")], SortMultipleOptions::default().with_order_descending_multi([true, false]))
        .group_by_stable([col("family"), col("machine")])
        .agg([col("engine").first()])
        .collect()?;
    let [families, machines, engines] = ["family", "machine", "engine"].map(|column| wins.texts(column));
    let (families, machines, engines) = (families?, machines?, engines?);
    let entry = |row| Some(((families.get(row)?.to_owned(), machines.get(row)?.to_owned()), engines.get(row)?.to_owned()));
    Ok((0..wins.height()).filter_map(entry).collect())
}

fn table(frame: &DataFrame, context: &Context<'_>, rows: &[usize], document: &str) -> PolarsResult<String> {
    let (has_own, pays, faster) = (frame.flags("own_function")?, frame.flags("pays")?, frame.ints("faster")?);
    let errors = frame.doubles("err_method_rel")?;
    let ordered = standing::ordered(frame, rows)?;
    let firsts = standing::firsts(frame, &ordered)?;
    let of = |wanted: fn(Standing) -> bool| -> Vec<usize> {
        firsts.iter().filter(|(_, standing)| wanted(*standing)).map(|(row, _)| *row).collect()
    };
    let (shown, far_off) = (of(Standing::pays), of(|standing| standing == Standing::FarOff));
    let mut out = String::new();
    if !shown.is_empty() {
        out += &lines(frame, context, &shown)?;
        out.push('\n');
    }
    if !far_off.is_empty() {
        out += FASTER_AND_WRONG;
        out += &lines(frame, context, &far_off)?;
        out.push('\n');
    }
    if shown.iter().chain(&far_off).any(|row| has_own.get(*row) == Some(true)) {
        out += ANOTHER.trim_start_matches('\n');
        out.push('\n');
    }
    let winners = ordered.iter().filter(|(_, standing)| standing.pays()).count();
    let more = match winners - shown.len() {
        0 => String::new(),
        1 => "1 more curve pays. ".to_owned(),
        more => format!("{more} more curves pay. "),
    };
    let others: Vec<usize> = rows.iter().copied().filter(|row| pays.get(*row) != Some(true)).collect();
    let never = others.iter().filter(|row| faster.get(**row) == Some(0)).count();
    let wrong = others.iter().filter(|row| faster.get(**row) != Some(0) && errors.get(**row).is_some_and(|error| error > WRONG)).count();
    let told = [
        (never, "not shown to be faster anywhere"),
        (wrong, "faster only with an error above 10 %"),
        (others.len() - never - wrong, "faster at some sizes, with no size from which on it pays"),
    ];
    let told: Vec<String> = told.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    let rest = if told.is_empty() { String::new() } else { format!("Of {}: {}. ", counted(rows.len() as u64, "curve"), told.join("; ")) };
    Ok(out + &format!("{more}{rest}All: [{document}]({document}).\n"))
}

fn lines(frame: &DataFrame, context: &Context<'_>, rows: &[usize]) -> PolarsResult<String> {
    let text = |column: &str, row: usize| -> PolarsResult<Option<String>> {
        if frame.schema().contains(column) { Ok(frame.shown(column, row)?.map(|text| name(&text))) } else { Ok(None) }
    };
    let runs = frame.ints(RUN)?;
    // What is the same in all lines tells nothing.
    let varies = |column: &str| -> PolarsResult<bool> {
        let values = rows.iter().map(|row| text(column, *row)).collect::<PolarsResult<BTreeSet<_>>>()?;
        Ok(values.len() > 1)
    };
    let regime = [PRECISION, THREADS].map(|column| varies(column).map(|varies| varies.then_some(column)));
    let regime: Vec<&str> = regime.into_iter().collect::<PolarsResult<Vec<_>>>()?.into_iter().flatten().collect();
    let several_runs = rows.iter().any(|row| runs.get(*row) != runs.get(rows[0]));
    let mut headings: Vec<(String, Align)> = ["variant", "setting"].map(|heading| (heading.to_owned(), Align::Left)).into();
    headings.extend(several_runs.then(|| (RUN.to_owned(), Align::Left)));
    headings.extend(regime.iter().map(|column| (axis_name(column).to_owned(), Align::Left)));
    headings.push(("faster".to_owned(), Align::Left));
    headings.extend(["time", "error", "memory", "points"].map(|heading| (heading.to_owned(), Align::Right)));
    headings.push(("against".to_owned(), Align::Left));
    let mut table = Table::new(headings);
    for row in rows {
        let double = |column: &str| -> PolarsResult<Option<f64>> { Ok(frame.doubles(column)?.get(*row)) };
        let shown = |value: Option<f64>, unit: fn(f64) -> String| value.map_or_else(|| ABSENT.to_owned(), unit);
        let mut cells = vec![text("variant", *row)?.unwrap_or_default(), text("setting", *row)?.unwrap_or_default()];
        cells.extend(several_runs.then(|| context.run(runs.get(*row))));
        for column in &regime {
            cells.push(text(column, *row)?.unwrap_or_else(|| ABSENT.to_owned()));
        }
        cells.push(text("words", *row)?.unwrap_or_default());
        let at = format!("{} at {}", shown(double("ratio")?, figure), shown(double("at")?, size));
        let error = shown(double("err_method_rel")?, scientific) + own_function(frame, *row)?;
        cells.extend([at, error, shown(double("declared_ratio")?, figure)]);
        cells.push(text("points", *row)?.unwrap_or_default());
        cells.push(text("against", *row)?.unwrap_or_default());
        table.push(cells);
    }
    Ok(table.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};

    #[test]
    fn the_engine_that_is_first_at_most_problems_speaks() {
        let cell = |id: &'static str, group: &'static str, engine: &'static str, median: i64| Cell {
            id,
            group,
            engine,
            baseline: true,
            median: Some(median),
            ..Cell::default()
        };
        let mut cells = vec![
            cell("a", "g", "simd", 10),
            cell("b", "g", "faer", 20),
            cell("c", "h", "simd", 10),
            cell("d", "h", "faer", 20),
            cell("e", "i", "simd", 30),
            cell("f", "i", "faer", 20),
            Cell { status: "emulated", ..cell("g", "j", "naive", 1) },
        ];
        for _ in 0..2 {
            cells.reverse();
            let rows = frame(&cells).lazy().with_column(col("baseline").alias("exact")).collect().unwrap();
            let fastest = fastest_engines(&rows).unwrap();
            assert_eq!(fastest.into_iter().collect::<Vec<_>>(), [(("attention".into(), "m".into()), "simd".into())]);
        }
    }
}
