//! The regime of a row: the values of its axes, said once where they are the same for a whole table, in columns where they vary.

use polars::prelude::*;

use super::Context;
use crate::columns::{PRECISION, RUN, Typed, axis_name};
use crate::text::markdown::{ABSENT, name};

/// The axes of a set of rows, told apart by whether they vary.
pub(crate) struct Regime {
    /// Axis columns that vary, in order.
    pub(crate) varying: Vec<String>,
    /// Axis columns with one value, and that value.
    pub(crate) constant: Vec<(String, String)>,
}

/// Looks at `axes` over `rows`. An axis without any value is neither.
pub(crate) fn regime(frame: &DataFrame, rows: &[usize], axes: &[String]) -> PolarsResult<Regime> {
    let mut regime = Regime { varying: Vec::new(), constant: Vec::new() };
    for axis in axes {
        let first = rows.first().map(|row| frame.shown(axis, *row)).transpose()?.flatten();
        let mut varies = false;
        for row in rows {
            varies |= frame.shown(axis, *row)? != first;
        }
        match first {
            _ if varies => regime.varying.push(axis.clone()),
            Some(value) => regime.constant.push((axis.clone(), value)),
            None => {}
        }
    }
    Ok(regime)
}

/// The value of an axis or of the run in one row.
pub(crate) fn value(frame: &DataFrame, context: &Context<'_>, column: &str, row: usize) -> PolarsResult<String> {
    if column == RUN {
        return Ok(context.run(frame.ints(RUN)?.get(row)));
    }
    Ok(frame.shown(column, row)?.map_or_else(|| ABSENT.to_owned(), |value| name(&value)))
}

/// `batch = 1, n = 128` for the constant axes; nothing where there are none.
pub(crate) fn spelled(constant: &[(String, String)]) -> String {
    let spell = |(axis, value): &(String, String)| format!("{} = {}", name(axis_name(axis)), name(value));
    constant.iter().map(spell).collect::<Vec<_>>().join(", ")
}

/// What a row is compared with, in a few words: variant, engine, and the precision where it is another.
pub(crate) fn baseline(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let text = |column: &str| frame.shown(column, row);
    let Some(variant) = text("base:variant")? else { return Ok("none".to_owned()) };
    let mut words = format!("{} on {}", name(&variant), name(&text("base:engine")?.unwrap_or_default()));
    if frame.schema().contains(PRECISION) && text(PRECISION)? != text("base:axis:precision")? {
        words += &format!(" in {}", name(&text("base:axis:precision")?.unwrap_or_else(|| "?".to_owned())));
    }
    match text("base:status")?.as_deref() {
        None | Some("ok") => {}
        Some(status) => words += &format!(" ({})", name(status)),
    }
    Ok(words)
}
