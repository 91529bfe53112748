//! Tables that answer a question: so many lines as somebody reads, and where the others are.

use std::collections::BTreeSet;

use polars::prelude::*;

use super::Context;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::text::markdown::{Align, Table, counted, name};
use crate::text::units::{ends, figure};

/// Lines of one table.
pub(crate) const LISTED: usize = 40;

/// The table, and below it how many lines more `file` has. Cells are Markdown already.
pub(crate) fn listing(headings: &[(&str, Align)], lines: Vec<Vec<String>>, file: &str) -> String {
    let mut table = Table::new(headings.iter().map(|(heading, align)| ((*heading).to_owned(), *align)).collect());
    let more = lines.len().saturating_sub(LISTED);
    lines.into_iter().take(LISTED).for_each(|line| table.push(line));
    let rest = if more == 0 { String::new() } else { format!("\nAnd {}: see {file}.\n", counted(more as u64, "more line")) };
    table.render() + &rest
}

/// The rows of a frame machine by machine, each with its heading of that level where there are several.
pub(crate) fn by_machine(frame: &DataFrame, context: &Context<'_>, level: usize) -> PolarsResult<Vec<(String, Vec<usize>)>> {
    let machines = frame.texts("machine")?;
    let names: BTreeSet<&str> = machines.iter().flatten().collect();
    let of = |machine: &str| {
        let rows = (0..frame.height()).filter(|row| machines.get(*row) == Some(machine)).collect();
        let heading = format!("\n{} Machine: {}\n", "#".repeat(level), context.machine(machine));
        (if context.several_machines { heading } else { String::new() }, rows)
    };
    Ok(names.into_iter().map(of).collect())
}

/// `0.512 [0.500, 0.524]`; without the brackets where there is no interval.
pub(crate) fn with_interval(value: f64, low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} {}", figure(value), ends(low, high)),
        _ => figure(value),
    }
}

/// The values of those of `axes` that a row has, and the run where there are several.
pub(crate) fn conditions(frame: &DataFrame, context: &Context<'_>, axes: &[String], row: usize) -> PolarsResult<Vec<String>> {
    let mut words = values(frame, axes, row)?;
    if context.labels.len() > 1 {
        words.push(format!("run {}", context.run(frame.ints(RUN)?.get(row))));
    }
    Ok(words)
}

/// The values of those of `axes` that a row has: a precision by itself, threads by their number, others as `n = 128`.
pub(crate) fn values<'a>(frame: &DataFrame, axes: impl IntoIterator<Item = &'a String>, row: usize) -> PolarsResult<Vec<String>> {
    let mut words = Vec::new();
    for column in axes {
        let Some(value) = axis(frame, column, row)?.filter(|value| !value.is_empty()) else { continue };
        words.push(match column.as_str() {
            PRECISION => name(&value),
            THREADS => threads_of(&value),
            _ => format!("{} = {}", name(axis_name(column)), name(&value)),
        });
    }
    Ok(words)
}

/// Those of `axes` that have more than one value among those rows that have them at all.
pub(crate) fn telling(frame: &DataFrame, rows: &[usize], axes: &[String]) -> PolarsResult<Vec<String>> {
    let mut telling = Vec::new();
    for axis in axes {
        let values = rows.iter().map(|row| frame.shown(axis, *row)).collect::<PolarsResult<BTreeSet<_>>>()?;
        if values.into_iter().flatten().count() > 1 {
            telling.push(axis.clone());
        }
    }
    Ok(telling)
}

/// `1 thread`, `8 threads`.
pub(crate) fn threads_of(threads: &str) -> String {
    threads.parse().map_or_else(|_| name(threads), |threads| counted(threads, "thread"))
}

/// The value of an axis that the frame may lack.
pub(crate) fn axis(frame: &DataFrame, column: &str, row: usize) -> PolarsResult<Option<String>> {
    if frame.schema().contains(column) { frame.shown(column, row) } else { Ok(None) }
}
