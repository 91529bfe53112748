//! Where it does not pay: variants that nowhere here were shown to be faster than the strong baseline, and those that were so only by being wrong.
//!
//! A variant pays at a point where it is faster than the fastest exact way on the same engine (see [`super::strong`]), by its whole interval and by more
//! than the run's noise floor, and its relative error is not above [`WRONG`]. One such point on any engine, at any size, precision or number of threads
//! is enough to be left out of this list: it is one of what never pays, not of what seldom does.
//!
//! "Here" is one machine, with all its runs. Emulated and failed cells are no evidence for either side.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::course::State;
use super::taken;
use crate::columns::{RUN, Typed, axis_columns};
use crate::runs::ASSUMED_FLOOR;

/// Above this relative error (of the whole output, in the Frobenius norm) being fast is no merit.
pub(crate) const WRONG: f64 = 0.1;

/// The points of one variant on one machine.
#[derive(Default)]
struct Points {
    all: Vec<usize>,
    faster: Vec<usize>,
    slower: usize,
    engines: Vec<String>,
    pays: bool,
}

/// One row a variant that does not pay, from rows of [`super::strong`] in the order of tables: `machine`, `family`, `variant`, `kind` (`never`: slower at every point; `not-shown`:
/// faster at none, and at some no difference is shown; `wrong`: faster only with an error above [`WRONG`]), `points` (cells with a ratio), `faster` and `slower` (of them), `engines` (of them, by name), and of the best point (of the faster ones the one
/// with the smallest error, else the one with the lowest ratio): `run`, `id`, `engine`, `strong:variant`, `strong_ratio`, `strong_low`, `strong_high`, `err_method_rel`,
/// `declared_ratio` and all axes. `floors` are the runs' noise floors.
pub(crate) fn unprofitable(rows: &DataFrame, floors: &[f64]) -> PolarsResult<DataFrame> {
    let [ratios, lows, highs] = ["strong_ratio", "strong_low", "strong_high"].map(|column| rows.doubles(column));
    let (ratios, lows, highs, errors) = (ratios?, lows?, highs?, rows.doubles("err_method_rel")?);
    let [machines, variants, engines, statuses, ids] = ["machine", "variant", "engine", "status", "id"].map(|column| rows.texts(column));
    let (machines, variants, engines, statuses, ids) = (machines?, variants?, engines?, statuses?, ids?);
    let (own, apart, runs) = (rows.flags("own_baseline")?, rows.flags("strong_apart")?, rows.ints(RUN)?);
    let mut found: BTreeMap<(Option<&str>, Option<&str>), Points> = BTreeMap::new();
    for row in 0..rows.height() {
        let (Some("ok"), Some(ratio), Some(false)) = (statuses.get(row), ratios.get(row), own.get(row)) else { continue };
        let points = found.entry((machines.get(row), variants.get(row))).or_default();
        points.all.push(row);
        points.engines.extend(engines.get(row).map(str::to_owned));
        let floor = runs.get(row).and_then(|run| floors.get(usize::try_from(run).ok()?).copied()).unwrap_or(ASSUMED_FLOOR);
        // A ratio to another time has what drifted in it: it shows nothing.
        let state = match apart.get(row) {
            Some(true) => State::Even,
            _ => State::of(ratio, lows.get(row).unwrap_or(0.0), highs.get(row).unwrap_or(f64::INFINITY), floor),
        };
        match state {
            State::Faster => {
                points.faster.push(row);
                // What nobody knows to be wrong is not called so.
                points.pays |= errors.get(row).is_none_or(|error| error <= WRONG);
            }
            State::Slower => points.slower += 1,
            State::Even => {}
        }
    }
    let lowest = |column: &Float64Chunked, rows: &[usize]| {
        let value = |row: &usize| column.get(*row).unwrap_or(f64::INFINITY);
        rows.iter().copied().min_by(|a, b| value(a).total_cmp(&value(b)).then(ids.get(*a).cmp(&ids.get(*b))))
    };
    let mut lines: Vec<(usize, &str, Points)> = Vec::new();
    for mut points in found.into_values().filter(|points| !points.pays) {
        points.engines.sort_unstable();
        points.engines.dedup();
        let (best, kind) = match points.faster[..] {
            [] if points.slower == points.all.len() => (lowest(ratios, &points.all), "never"),
            [] => (lowest(ratios, &points.all), "not-shown"),
            _ => (lowest(errors, &points.faster), "wrong"),
        };
        lines.extend(best.map(|best| (best, kind, points)));
    }
    table(rows, &lines)
}

fn table(rows: &DataFrame, lines: &[(usize, &str, Points)]) -> PolarsResult<DataFrame> {
    let counts = |of: fn(&Points) -> usize| lines.iter().map(|(.., points)| of(points) as i64).collect::<Vec<_>>();
    let more = df!(
        "kind" => lines.iter().map(|(_, kind, _)| *kind).collect::<Vec<_>>(),
        "points" => counts(|points| points.all.len()),
        "faster" => counts(|points| points.faster.len()),
        "slower" => counts(|points| points.slower),
        "engines" => lines.iter().map(|(.., points)| points.engines.join(", ")).collect::<Vec<_>>(),
    )?;
    let axes = axis_columns(rows.schema());
    let fixed = [RUN, "machine", "family", "variant", "engine", "id", "strong:variant", "strong_ratio", "strong_low", "strong_high"];
    let fixed = fixed.into_iter().chain(["strong_apart"]);
    let columns: Vec<&str> = fixed.chain(["err_method_rel", "declared_ratio"]).chain(axes.iter().map(String::as_str)).collect();
    let best: Vec<usize> = lines.iter().map(|(row, ..)| *row).collect();
    taken(rows, &best, &columns, more, &["family", "machine", "kind", "strong_ratio", "variant"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};
    use crate::frames::baseline::with_baseline;
    use crate::frames::memory::memory;
    use crate::frames::speed::speed;
    use crate::frames::strong::with_strong;

    fn cell(id: &'static str, variant: &'static str, median: i64, error: f64) -> Cell {
        Cell {
            id,
            variant,
            median: Some(median),
            error: Some(error),
            error_ratio: Some(error * 1e6),
            beside: Some(("a", 1000)),
            ..Cell::default()
        }
    }

    fn found(cells: &[Cell], floor: Option<f64>) -> Vec<String> {
        let rows = with_strong(speed(memory(with_baseline(frame(cells).lazy()).unwrap()))).unwrap().collect().unwrap();
        let table = unprofitable(&rows, &[floor.unwrap_or(0.0)]).unwrap();
        let shown = |row: usize| {
            ["variant", "kind", "id", "faster", "points", "strong_ratio"].map(|column| table.shown(column, row).unwrap().unwrap()).join(" ")
        };
        (0..table.height()).map(shown).collect()
    }

    /// Medians are 10 % wide to either side; dense takes 1000.
    fn cells() -> Vec<Cell> {
        vec![
            Cell { baseline: true, ..cell("a", "attention/dense", 1000, 1e-6) },
            cell("b", "attention/slow", 3000, 0.01),
            Cell { engine: "simd", ..cell("c", "attention/slow", 2000, 0.02) },
            cell("d", "attention/wrong", 200, 0.6),
            cell("e", "attention/wrong", 400, 0.3),
            cell("f", "attention/wrong", 2000, 0.001),
            cell("g", "attention/good", 400, 0.05),
            cell("h", "attention/good", 4000, 0.9),
            Cell { status: "emulated", ..cell("i", "attention/emulated", 3000, 0.05) },
        ]
    }

    #[test]
    fn never_and_only_by_being_wrong_with_the_best_point_of_each() {
        for cells in [cells(), cells().into_iter().rev().collect()] {
            assert_eq!(found(&cells, None), ["attention/slow never c 0 2 2.0", "attention/wrong wrong e 2 3 0.4"]);
        }
    }

    #[test]
    fn a_lead_within_the_interval_or_the_noise_is_none() {
        let dense = || Cell { baseline: true, ..cell("a", "attention/dense", 1000, 1e-6) };
        // 0.9 with 10 % to either side of both.
        assert_eq!(found(&[dense(), cell("b", "attention/x", 900, 0.01)], None), ["attention/x not-shown b 0 1 0.9"]);
        assert!(found(&[dense(), cell("b", "attention/x", 500, 0.01)], Some(0.5)).is_empty());
        assert_eq!(found(&[dense(), cell("b", "attention/x", 500, 0.01)], Some(1.5)), ["attention/x not-shown b 0 1 0.5"]);
    }

    #[test]
    fn a_ratio_to_another_time_is_no_lead() {
        let dense = || Cell { baseline: true, ..cell("a", "attention/dense", 1000, 1e-6) };
        let apart = Cell { beside: None, ..cell("b", "attention/x", 100, 0.01) };
        assert_eq!(found(&[dense(), apart], None), ["attention/x not-shown b 0 1 0.1"]);
    }

    #[test]
    fn without_a_ratio_nothing_is_said() {
        assert!(found(&[cell("b", "attention/x", 900, 0.01)], None).is_empty());
        assert!(found(&[], None).is_empty());
    }
}
