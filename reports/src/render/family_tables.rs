//! The frame that the speed, memory and accuracy tables of a family share: a section for every machine and number of threads,
//! the axes of the problem that vary as columns, the constant ones said once above, the parameters in one column. Each of the three only brings its own columns.

use polars::prelude::*;

use super::Context;
use super::regime::{baseline, regime, spelled, value};
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::text::markdown::{Align, Table, counted, name};

/// The columns of one kind of table.
pub(crate) trait Measures {
    /// Headings of its columns.
    fn headings(&self) -> Vec<(&'static str, Align)>;
    /// What one row has in them.
    fn cells(&self, row: usize) -> PolarsResult<Vec<String>>;
    /// True where the figures are compared with a baseline, which is then named.
    fn compares(&self) -> bool;
}

/// The tables of all rows of `frame`, which are of one family and sorted as `order::sorted` does.
pub(crate) fn sections(frame: &DataFrame, context: &Context<'_>, measures: &dyn Measures) -> PolarsResult<String> {
    let mut out = String::new();
    let machines = frame.texts("machine")?;
    let threads = |row: usize| if frame.schema().contains(THREADS) { frame.shown(THREADS, row) } else { Ok(None) };
    let mut start = 0;
    let mut above: Option<Option<&str>> = None;
    while start < frame.height() {
        let key = (machines.get(start), threads(start)?);
        let mut end = start + 1;
        while end < frame.height() && (machines.get(end), threads(end)?) == key {
            end += 1;
        }
        if context.several_machines && above != Some(key.0) {
            out += &format!("\n### Machine: {}\n", context.machine(key.0.unwrap_or_default()));
        }
        if let Some(threads) = key.1 {
            out += &format!("\n{} {}\n", if context.several_machines { "####" } else { "###" }, thread_heading(&threads));
        }
        above = Some(key.0);
        out += &table(frame, context, measures, &(start..end).collect::<Vec<_>>())?;
        start = end;
    }
    Ok(out)
}

fn thread_heading(threads: &str) -> String {
    threads.parse::<u64>().map_or_else(|_| format!("{} threads", name(threads)), |threads| counted(threads, "thread"))
}

fn table(frame: &DataFrame, context: &Context<'_>, measures: &dyn Measures, rows: &[usize]) -> PolarsResult<String> {
    let of = |axes: &[String]| axes.iter().filter(|axis| *axis != PRECISION && *axis != THREADS).cloned().collect::<Vec<_>>();
    let regime = regime(frame, rows, &of(&context.roles.problem))?;
    let parameters = of(&context.roles.parameters);
    let runs = frame.ints(RUN)?;
    let mut columns: Vec<&str> = Vec::new();
    if rows.iter().any(|row| runs.get(*row) != runs.get(rows[0])) {
        columns.push(RUN);
    }
    columns.extend(["variant", "engine"]);
    let named = columns.len();
    columns.extend(regime.varying.iter().map(String::as_str));
    if frame.schema().contains(PRECISION) {
        columns.push(PRECISION);
    }
    let bases = rows.iter().map(|row| baseline(frame, *row)).collect::<PolarsResult<Vec<_>>>()?;
    let one_base = bases.iter().all(|base| *base == bases[0]);
    let settings = rows.iter().map(|row| settings(frame, &parameters, *row)).collect::<PolarsResult<Vec<_>>>()?;
    let has_settings = settings.iter().any(|setting| !setting.is_empty());
    let mut headings: Vec<(String, Align)> = columns.iter().map(|column| (name(axis_name(column)), alignment(frame, column))).collect();
    if has_settings {
        headings.insert(named, ("parameters".to_owned(), Align::Left));
    }
    headings.extend(measures.headings().into_iter().map(|(heading, align)| (heading.to_owned(), align)));
    if measures.compares() && !one_base {
        headings.push(("baseline".to_owned(), Align::Left));
    }
    let mut table = Table::new(headings);
    for ((row, base), setting) in rows.iter().zip(&bases).zip(settings) {
        let mut cells = columns.iter().map(|column| value(frame, context, column, *row)).collect::<PolarsResult<Vec<_>>>()?;
        if has_settings {
            cells.insert(named, setting);
        }
        cells.extend(measures.cells(*row)?);
        if measures.compares() && !one_base {
            cells.push(base.clone());
        }
        table.push(cells);
    }
    let mut out = String::from("\n");
    if !regime.constant.is_empty() {
        out += &format!("Constant: {}.\n", spelled(&regime.constant));
    }
    if measures.compares() && one_base {
        out += &format!("Baseline: {}.\n", bases[0]);
    }
    if out.len() > 1 {
        out.push('\n');
    }
    Ok(out + &table.render())
}

/// `rank = 16, sharing = headwise`: the parameters that a cell has. One column for all, since each variant has others.
fn settings(frame: &DataFrame, parameters: &[String], row: usize) -> PolarsResult<String> {
    let mut words = Vec::new();
    for axis in parameters {
        if let Some(value) = frame.shown(axis, row)?.filter(|value| !value.is_empty()) {
            words.push(format!("{} = {}", name(axis_name(axis)), name(&value)));
        }
    }
    Ok(words.join(", "))
}

/// Numbers to the right, but for the run, which is shown by its name.
pub(super) fn alignment(frame: &DataFrame, column: &str) -> Align {
    match frame.column(column).map(Column::dtype) {
        Ok(DataType::Int64 | DataType::Float64) if column != RUN => Align::Right,
        _ => Align::Left,
    }
}
