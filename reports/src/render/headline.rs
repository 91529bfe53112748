//! The best variant of every problem against its baseline: part of the summary.

use polars::prelude::*;

use super::family_tables::alignment;
use super::regime::{regime, spelled, value};
use super::{Context, ratio};
use crate::columns::{RUN, Typed, axis_name};
use crate::frames::course::State;
use crate::runs::ASSUMED_FLOOR;
use crate::text::markdown::{ABSENT, Align, Table, name};
use crate::text::units::{figure, scientific, time};

/// Problems that are shown of each family.
const LISTED: usize = 40;

const ABOUT: &str = "\n## Best alternative to the baseline\n\n\
    The fastest of each problem beside the baseline itself, as the ratio of its median time to the baseline's in the same rounds, with a conservative 95 % interval: below 1 \
    is faster, an interval that holds 1 shows no difference, and a ratio nearer to 1 than the run's noise floor is within the noise. *memory* is its declared bytes over the baseline's, *error* its distance from \
    the exact result (relative Frobenius norm): the fastest may be one whose error nobody can use. *of* is the number of cells that it was picked from, *samples* are \
    the variant's and the baseline's. Emulated cells are left out.\n";

/// The section. `frame` is that of `frames::headline`.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let mut out = ABOUT.to_owned();
    out += &ratio::legend(frame)?;
    let (families, machines) = (frame.texts("family")?, frame.texts("machine")?);
    let mut start = 0;
    while start < frame.height() {
        let key = (families.get(start), machines.get(start));
        let rows: Vec<usize> = (start..frame.height()).take_while(|row| (families.get(*row), machines.get(*row)) == key).collect();
        out += &format!("\n### {}", name(key.0.unwrap_or_default()));
        if context.several_machines {
            out += &format!(" on {}", context.machine(key.1.unwrap_or_default()));
        }
        out += "\n\n";
        out += &table(frame, context, &rows)?;
        start += rows.len();
    }
    Ok(out)
}

fn table(frame: &DataFrame, context: &Context<'_>, rows: &[usize]) -> PolarsResult<String> {
    let regime = regime(frame, rows, &context.roles.problem)?;
    let runs = frame.ints(RUN)?;
    let mut columns: Vec<&str> = Vec::new();
    if rows.iter().any(|row| runs.get(*row) != runs.get(rows[0])) {
        columns.push(RUN);
    }
    columns.extend(regime.varying.iter().map(String::as_str));
    let mut headings: Vec<(String, Align)> = columns.iter().map(|column| (name(axis_name(column)), alignment(frame, column))).collect();
    let own = [
        ("fastest", Align::Left),
        ("median", Align::Right),
        ("ratio [95 % CI]", Align::Right),
        ("memory", Align::Right),
        ("error", Align::Right),
        ("verdict", Align::Left),
    ];
    let last = [("baseline", Align::Left), ("its median", Align::Right), ("of", Align::Right), ("samples", Align::Right)];
    headings.extend(own.into_iter().chain(last).map(|(heading, align)| (heading.to_owned(), align)));
    let mut table = Table::new(headings);
    for row in rows.iter().take(LISTED) {
        let mut cells = columns.iter().map(|column| value(frame, context, column, *row)).collect::<PolarsResult<Vec<_>>>()?;
        cells.extend(figures(frame, context, *row)?);
        table.push(cells);
    }
    let mut out = String::new();
    if !regime.constant.is_empty() {
        out += &format!("Regime: {}.\n\n", spelled(&regime.constant));
    }
    out += &table.render();
    if rows.len() > LISTED {
        out += &format!("\nAnd {} more: see the families' documents.\n", rows.len() - LISTED);
    }
    Ok(out)
}

fn figures(frame: &DataFrame, context: &Context<'_>, row: usize) -> PolarsResult<Vec<String>> {
    let int = |column: &str| -> PolarsResult<Option<i64>> { Ok(frame.ints(column)?.get(row)) };
    let double = |column: &str| -> PolarsResult<Option<f64>> { Ok(frame.doubles(column)?.get(row)) };
    let times = |ns: Option<i64>| ns.map_or_else(|| ABSENT.to_owned(), |ns| time(ns as f64));
    let count = |count: Option<i64>| count.map_or_else(|| ABSENT.to_owned(), |count| count.to_string());
    Ok(vec![
        cell_name(frame, context, "", row)?.unwrap_or_else(|| ABSENT.to_owned()),
        times(int("median_ns")?),
        ratio::ratio(frame, row)?,
        double("declared_ratio")?.map_or_else(|| ABSENT.to_owned(), figure),
        double("err_method_rel")?.map_or_else(|| ABSENT.to_owned(), scientific),
        verdict(frame, context, row)?,
        cell_name(frame, context, "base:", row)?.unwrap_or_else(|| "none".to_owned()),
        times(int("base:median_ns")?),
        count(int("ranked")?),
        format!("{} / {}", count(int("samples")?), count(int("base:samples")?)),
    ])
}

fn verdict(frame: &DataFrame, context: &Context<'_>, row: usize) -> PolarsResult<String> {
    let int = |column: &str| -> PolarsResult<Option<i64>> { Ok(frame.ints(column)?.get(row)) };
    let double = |column: &str| -> PolarsResult<Option<f64>> { Ok(frame.doubles(column)?.get(row)) };
    let floor = int(RUN)?.and_then(|run| context.floors.get(usize::try_from(run).ok()?).copied()).unwrap_or(ASSUMED_FLOOR);
    Ok(match (frame.texts("base:status")?.get(row), int("ranked")?.unwrap_or(0), int("unranked")?.unwrap_or(0)) {
        (None, ..) => "no baseline in this group".to_owned(),
        (Some(base), ..) if base != "ok" => format!("not ranked: the baseline is {}", name(base)),
        // Neither the interval nor the noise floor knows of what the machine did between the two.
        (_, 1.., _) if frame.flags("apart")?.get(row) == Some(true) => "rounds may differ".to_owned(),
        (_, 1.., _) => difference(double("ratio")?, double("ratio_low")?, double("ratio_high")?, floor).to_owned(),
        (_, _, 1..) => "nothing else could be ranked".to_owned(),
        _ => "nothing to compare".to_owned(),
    })
}

/// What a ratio and its interval say, where a cell differs from itself by the noise floor.
fn difference(ratio: Option<f64>, low: Option<f64>, high: Option<f64>, floor: f64) -> &'static str {
    let (Some(ratio), Some(low), Some(high)) = (ratio, low, high) else { return "too few samples to tell" };
    match State::of(ratio, low, high, floor) {
        State::Faster => "faster",
        State::Slower => "slower",
        State::Even if low <= 1.0 && high >= 1.0 => "no difference shown",
        State::Even => "within the noise",
    }
}

/// Variant, engine and parameters of the best cell, or with `base:` of the baseline.
fn cell_name(frame: &DataFrame, context: &Context<'_>, side: &str, row: usize) -> PolarsResult<Option<String>> {
    let text = |column: &str| frame.shown(&format!("{side}{column}"), row);
    let (Some(variant), Some(engine)) = (text("variant")?, text("engine")?) else { return Ok(None) };
    let mut words = format!("{} on {}", name(&variant), name(&engine));
    for axis in &context.roles.parameters {
        if let Some(value) = text(axis)?.filter(|value| !value.is_empty()) {
            words += &format!(", {} = {}", name(axis_name(axis)), name(&value));
        }
    }
    Ok(Some(words))
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_has_to_exceed_the_noise_floor_too() {
        let of = |ratio: f64, half: f64, floor| difference(Some(ratio), Some(ratio - half), Some(ratio + half), floor);
        assert_eq!(of(0.5, 0.1, 0.02), "faster");
        assert_eq!(of(1.5, 0.1, 0.02), "slower");
        assert_eq!(of(0.99, 0.02, 0.0), "no difference shown");
        assert_eq!((of(0.99, 0.001, 0.02), of(1.01, 0.001, 0.02)), ("within the noise", "within the noise"));
        assert_eq!((of(0.99, 0.001, 0.0), of(1.01, 0.001, 0.0)), ("faster", "slower"));
        assert_eq!(difference(Some(0.5), None, None, 0.0), "too few samples to tell");
    }
}
