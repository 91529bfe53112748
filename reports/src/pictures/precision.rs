//! What a number format costs and saves: time and error of the same variant in each, the time over that in f32.
//!
//! Fed by the rows of all cells. Cells of two precisions solve two problems, each with a baseline of its own, so the ratio here is one of
//! medians that were taken in the same run but not in the same rounds: what drifted between is in it, and the picture says so.

use std::collections::{BTreeMap, BTreeSet};

use crossover_core::dtype::PRECISION_PRESETS;
use polars::prelude::*;

use super::card::name;
use super::curves::{Curve, Point, Stack, key, regime_words, sort};
use super::lines::Regime;
use super::scale::Scale;
use super::{Picture, Source};
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_columns, axis_name};
use crate::error::Result;

/// The name of this kind of pictures.
const KIND: &str = "precision";

/// Fewer formats make no curve.
const LEAST: usize = 3;
/// What the others are held against.
const REFERENCE: &str = "f32";

/// Rows by precision.
type Formats = BTreeMap<String, usize>;
/// What was measured in enough formats, by its name.
type Variants = Vec<(String, Formats)>;

/// One picture a machine: on its fastest engine, of the problem that has the most cells.
pub(super) fn pictures(source: &Source<'_>) -> Result<Vec<Picture>> {
    if !source.rows.schema().contains(PRECISION) {
        return Ok(Vec::new());
    }
    let mut machines: BTreeMap<String, Vec<(Regime, Variants)>> = BTreeMap::new();
    for (regime, variants) in variants(source)? {
        machines.entry(regime.machine.clone()).or_default().push((regime, variants));
    }
    let mut pictures = Vec::new();
    for regimes in machines.into_values() {
        let cells = |variants: &[(String, Formats)]| variants.iter().map(|(_, formats)| formats.len()).sum::<usize>();
        let rank = |(regime, variants): &(Regime, Variants)| (source.fastest.get(&regime.machine) == Some(&regime.engine), cells(variants));
        if let Some((regime, variants)) = regimes.into_iter().rev().max_by_key(rank) {
            pictures.push(picture(source, &regime, &variants, source.file(KIND, pictures.len()))?);
        }
    }
    Ok(pictures)
}

/// The variants that were measured in enough formats, by what they have in common.
fn variants(source: &Source<'_>) -> PolarsResult<BTreeMap<Regime, Variants>> {
    let rows = &source.rows;
    let (status, medians, precisions) = (rows.texts("status")?, rows.ints("median_ns")?, rows.column(PRECISION)?.str()?);
    let mut all: BTreeMap<(Regime, String), Formats> = BTreeMap::new();
    let axes: Vec<String> = axis_columns(rows.schema()).into_iter().filter(|axis| axis != PRECISION && axis != THREADS).collect();
    for row in 0..rows.height() {
        let (Some("ok"), Some(1..), Some(precision)) = (status.get(row), medians.get(row), precisions.get(row)) else { continue };
        let (regime, label) = place(source, &axes, row)?;
        all.entry((regime, label)).or_default().entry(precision.to_owned()).or_insert(row);
    }
    let mut variants: BTreeMap<Regime, Variants> = BTreeMap::new();
    for ((regime, label), formats) in all {
        if formats.len() >= LEAST && formats.contains_key(REFERENCE) {
            variants.entry(regime).or_default().push((label, formats));
        }
    }
    Ok(variants)
}

/// The regime of a row but for its precision, and what its variant is called with its parameters.
fn place(source: &Source<'_>, axes: &[String], row: usize) -> PolarsResult<(Regime, String)> {
    let rows = &source.rows;
    let text = |column: &str| rows.shown(column, row).map(Option::unwrap_or_default);
    let mut problem = Vec::new();
    let variant = text("variant")?;
    let mut label = vec![variant.split_once('/').map_or(variant.as_str(), |(_, short)| short).to_owned()];
    for axis in axes {
        match rows.shown(axis, row)? {
            Some(value) if source.answers.roles.problem.contains(axis) => problem.push((axis.clone(), value)),
            Some(value) => label.push(format!("{} = {value}", axis_name(axis))),
            None => {}
        }
    }
    let threads = if rows.schema().contains(THREADS) { rows.shown(THREADS, row)? } else { None };
    let run = rows.ints(RUN)?.get(row).unwrap_or(-1);
    let regime = Regime::new((text("machine")?, run, text("engine")?), PRECISION, (None, threads), problem);
    Ok((regime, name(&label.join(", "))))
}

fn picture(source: &Source<'_>, regime: &Regime, variants: &[(String, Formats)], file: String) -> Result<Picture> {
    let present: BTreeSet<(usize, &str)> =
        variants.iter().flat_map(|(_, formats)| formats.keys()).map(|precision| (place_of(precision), precision.as_str())).collect();
    let present: Vec<&str> = present.into_iter().map(|(_, precision)| precision).collect();
    let mut curves = variants.iter().map(|variant| curve(source, &present, variant)).collect::<PolarsResult<Vec<_>>>()?;
    sort(&mut curves);
    let at = |x: f64| present.get(x as usize).map_or_else(String::new, |precision| name(precision));
    let stack = Stack {
        kind: KIND,
        file,
        axis: "precision".to_owned(),
        x: Scale::names(present.iter().map(|precision| name(precision))),
        ticks: present.iter().map(|precision| name(precision)).collect(),
        y: "time ÷ that in f32",
        reading:
            "Medians over the same variant's in f32, of one run but not of the same rounds, and below them the error against the exact \
            result."
                .to_owned(),
        key: key(&curves, &at),
        floor: source.floor(regime.run),
        regime: regime_words(source, regime, &curves),
        curves,
    };
    stack.draw(source)
}

/// In the order of the named formats; others come last.
fn place_of(precision: &str) -> usize {
    PRECISION_PRESETS.iter().position(|(known, _)| *known == precision).unwrap_or(PRECISION_PRESETS.len())
}

fn curve(source: &Source<'_>, present: &[&str], (label, formats): &(String, Formats)) -> PolarsResult<Curve> {
    let [median, low, high] = ["median_ns", "ci_low_ns", "ci_high_ns"].map(|column| source.rows.ints(column));
    let (median, low, high, errors) = (median?, low?, high?, source.rows.doubles("err_method_rel")?);
    let over = |upper: Option<i64>, lower: Option<i64>| Some(upper? as f64 / lower.filter(|lower| *lower > 0)? as f64);
    let reference = formats.get(REFERENCE).copied().unwrap_or_default();
    let mut points = Vec::new();
    for (x, precision) in present.iter().enumerate() {
        let Some(row) = formats.get(*precision).copied() else { continue };
        let Some(ratio) = over(median.get(row), median.get(reference)) else { continue };
        // The reference is itself: there is nothing to be unsure of.
        let ends = match row == reference {
            true => [1.0, 1.0],
            false => {
                [over(low.get(row), high.get(reference)).unwrap_or(0.0), over(high.get(row), low.get(reference)).unwrap_or(f64::INFINITY)]
            }
        };
        points.push(Point { x: x as f64, ratio: [ratio, ends[0], ends[1]], error: errors.get(row) });
    }
    Ok(Curve { label: label.clone(), points })
}

#[cfg(test)]
mod tests {
    use crate::examples::Cell;
    use crate::pictures::check::{Shapes, picture_of, pictures_of};

    fn cells() -> Vec<Cell> {
        let of = |id, precision: &'static str, median: i64| Cell {
            id,
            precision,
            group: precision,
            median: Some(median),
            error_ratio: Some(1.0),
            baseline: true,
            ..Cell::default()
        };
        vec![of("a", "int8", 500), of("b", "f64", 2000), of("c", "f32", 1000)]
    }

    #[test]
    fn formats_stand_in_their_order_and_times_are_over_that_in_f32() {
        let picture = picture_of("precision", &cells());
        let shapes = Shapes::of(&picture);
        let [f64, f32, int8] = ["f64", "f32", "int8"].map(|name| shapes.text(name).0);
        assert!(f64 < f32 && f32 < int8);
        // Twice, once and half the time: the same steps down, in the upper panel.
        let upper: Vec<f64> = shapes.circles(9).iter().map(|(_, y)| *y).filter(|y| *y < shapes.text("relative error").1).collect();
        assert!((upper[0] + upper[2] - 2.0 * upper[1]).abs() <= 2.0, "{upper:?}");
        assert!((upper[1] - shapes.text("1").1).abs() <= 1.0);
        assert!(picture.alt.contains("dense: 0.500 × the time at int8"), "{}", picture.alt);
    }

    #[test]
    fn without_f32_or_with_two_formats_there_is_none() {
        let none = |cells: &[Cell]| pictures_of(cells).iter().all(|picture| !picture.file.contains("precision"));
        assert!(none(&cells()[1..]));
        let mut cells = cells();
        cells[2].precision = "bf16";
        assert!(none(&cells));
    }
}
