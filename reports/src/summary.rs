//! What the end of `crossover run` says at the terminal: what pays from where on, in a few lines.
//!
//! Of each family the engine speaks that is fastest there (see [`crate::render::answer`]); first what is exact, then by error. The report has all of
//! it, with what does not pay.

use std::collections::BTreeSet;

use polars::prelude::*;

use crate::answers::Answers;
use crate::columns::{PRECISION, THREADS, Typed, axis_name};
use crate::render::answer::fastest_engines;
use crate::render::crossover::{pays, spelled};
use crate::text::document::{Cell, Document, Grid};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{figure, scientific};

/// Lines, and lines of one family.
const SHOWN: usize = 8;
const OF_A_FAMILY: usize = 2;

/// The few lines.
pub(crate) fn summary(answers: &Answers<'_>) -> PolarsResult<Document> {
    let (frame, mut out) = (&answers.crossovers, Document::default());
    if frame.height() == 0 {
        out.text("what pays: nothing can be said, no variant was measured beside a baseline at two sizes or more");
        return Ok(out);
    }
    let verdicts = frame.texts("verdict")?;
    let paying = (0..frame.height()).filter(|row| verdicts.get(*row).is_some_and(pays)).count();
    let of = counted(frame.height() as u64, "curve");
    if paying == 0 {
        out.text(format!("what pays: nothing that was measured is faster than the fastest exact cell of its engine ({of})"));
        return Ok(out);
    }
    let shown = shown(answers)?;
    out.text(format!(
        "what pays, against the fastest exact cell of its engine: {paying} of {of}, {} on each family's fastest engine are",
        if shown.is_empty() { "none".to_owned() } else { format!("the first {}", shown.len()) }
    ));
    let mut grid = Grid::new([("pays", Align::Left), ("time", Align::Right), ("error", Align::Right), ("what", Align::Left)]);
    for row in shown {
        let known = |column: &str, show: fn(f64) -> String| {
            Ok::<_, PolarsError>(frame.doubles(column)?.get(row).map_or_else(|| ABSENT.to_owned(), show))
        };
        let cells = [spelled(frame, row)?, known("ratio", figure)?, known("err_method_rel", scientific)?, what(frame, row)?];
        grid.push(cells.map(Cell::plain));
    }
    out.grid(grid);
    Ok(out)
}

/// The rows to show: some of each family that has any.
fn shown(answers: &Answers<'_>) -> PolarsResult<Vec<usize>> {
    let frame = &answers.crossovers;
    let fastest = fastest_engines(&answers.rows)?;
    let text = |column: &str| frame.texts(column);
    let (families, machines, engines, verdicts) = (text("family")?, text("machine")?, text("engine")?, text("verdict")?);
    let (is_exact, errors) = (frame.flags("exact")?, frame.doubles("err_method_rel")?);
    let mut chosen = Vec::new();
    for family in families.iter().flatten().collect::<BTreeSet<_>>() {
        let speaks = |row: &usize| {
            let key = (family.to_owned(), machines.get(*row).unwrap_or_default().to_owned());
            families.get(*row) == Some(family) && fastest.get(&key).map(String::as_str) == engines.get(*row)
        };
        let mut rows: Vec<usize> = (0..frame.height()).filter(|row| verdicts.get(*row).is_some_and(pays)).filter(speaks).collect();
        let key = |row: &usize| (is_exact.get(*row) != Some(true), errors.get(*row).unwrap_or(f64::INFINITY));
        rows.sort_by(|one, other| key(one).0.cmp(&key(other).0).then(key(one).1.total_cmp(&key(other).1)));
        chosen.extend(rows.into_iter().take(OF_A_FAMILY));
    }
    chosen.truncate(SHOWN);
    Ok(chosen)
}

fn what(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let text = |column: &str| Ok::<_, PolarsError>(frame.texts(column)?.get(row).unwrap_or("?").to_owned());
    let mut words = format!("{} on {}", text("variant")?, text("engine")?);
    let setting = text("setting")?;
    let mut regime = if setting.is_empty() { Vec::new() } else { vec![setting] };
    for column in [PRECISION, THREADS] {
        if frame.schema().contains(column) {
            regime.extend(frame.shown(column, row)?.map(|value| format!("{}={value}", axis_name(column))));
        }
    }
    if !regime.is_empty() {
        words += &format!(": {}", regime.join(", "));
    }
    Ok(words)
}
