//! Time against error against memory of a family's largest problem: who is beaten at all three is dim, and a line joins those that are best in the
//! first two.
//!
//! Fed by the rows of all cells with the columns of [`crate::frames::pareto`]: all variants, engines and precisions of one task at one size. The
//! larger a mark, the more bytes the cell declares.

use std::collections::BTreeMap;

use plotters::prelude::*;
use polars::prelude::*;

use super::card::{Area, Card, Drawn, Sign, name};
use super::panel::{Below, Frame, Panel};
use super::scale::Scale;
use super::style::{BACKGROUND, FAINT_INK, MARKS};
use super::{Picture, Source};
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::error::Result;
use crate::frames::pareto::problem;
use crate::text::markdown::counted;
use crate::text::units::{bytes, scientific, time};

/// The name of this kind of pictures.
const KIND: &str = "pareto";

/// Radius of the mark of the least and of the most bytes.
const RADII: (f64, f64) = (6.0, 14.0);
/// Fewer cells are no choice.
const LEAST: usize = 3;

struct Cell {
    row: usize,
    time: f64,
    error: f64,
    bytes: f64,
    is_best: bool,
}

/// One picture for every machine: of its problem with the most operations.
pub(super) fn pictures(source: &Source<'_>) -> Result<Vec<Picture>> {
    let rows = &source.rows;
    let (machines, flops, best) = (rows.texts("machine")?, rows.ints("flops")?, rows.flags("frontier")?);
    let (times, errors, sizes) = (rows.ints("median_ns")?, rows.doubles("err_method_rel")?, rows.ints("declared_bytes")?);
    let mut problems: BTreeMap<String, BTreeMap<_, (i64, Vec<Cell>)>> = BTreeMap::new();
    for row in 0..rows.height() {
        let figures = (machines.get(row), best.get(row), times.get(row), errors.get(row), sizes.get(row));
        let (Some(machine), Some(is_best), Some(time), Some(error), Some(bytes)) = figures else { continue };
        let key = problem(rows, &source.answers.roles, row)?;
        let (most, cells) = problems.entry(machine.to_owned()).or_default().entry(key).or_insert((0, Vec::new()));
        // What the exact operation takes, not what a variant makes of it.
        if rows.flags("own_baseline")?.get(row) == Some(true) {
            *most = (*most).max(flops.get(row).unwrap_or(0));
        }
        cells.push(Cell { row, time: time as f64, error, bytes: bytes as f64, is_best });
    }
    let mut pictures = Vec::new();
    for (machine, problems) in problems {
        let rank = |(most, cells): &(i64, Vec<Cell>)| (*most, cells.len());
        let Some((_, cells)) = problems.into_values().rev().max_by_key(rank) else { continue };
        if cells.len() >= LEAST {
            pictures.push(picture(source, &machine, cells, source.file(KIND, pictures.len()))?);
        }
    }
    Ok(pictures)
}

/// The cells that are best in time and error alone, by increasing time.
fn corners(cells: &[Cell]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cells.len()).filter(|at| cells[*at].is_best).collect();
    order.sort_by(|a, b| cells[*a].time.total_cmp(&cells[*b].time).then(cells[*a].error.total_cmp(&cells[*b].error)));
    let mut least = f64::INFINITY;
    order.retain(|at| {
        let is_less = cells[*at].error < least;
        least = least.min(cells[*at].error);
        is_less
    });
    order
}

/// At most as many as there are marks, the first and the last among them.
fn spread(corners: &[usize]) -> Vec<usize> {
    let most = MARKS.len().min(corners.len());
    let pick = |place: usize| corners[place * (corners.len() - 1) / (most - 1).max(1)];
    (0..most).map(pick).collect()
}

fn picture(source: &Source<'_>, machine: &str, cells: Vec<Cell>, file: String) -> Result<Picture> {
    let corners = corners(&cells);
    let marked = spread(&corners);
    let mut key: Vec<(Sign, String)> = Vec::new();
    for (at, mark) in marked.iter().zip(MARKS) {
        let cell = &cells[*at];
        let words = format!("{}: {}, error {}, {}", who(source, cell.row)?, time(cell.time), scientific(cell.error), bytes(cell.bytes));
        key.push((Sign::Mark(mark), words));
    }
    let best = cells.iter().filter(|cell| cell.is_best).count();
    key.push((Sign::None, format!("Dark dots: {} more that no other beats in all three", best - marked.len())));
    key.push((Sign::None, format!("Light dots: {} that another beats", cells.len() - best)));
    let first = cells[0].row;
    let run = source.rows.ints(RUN)?.get(first).unwrap_or(-1);
    let regime = regime(source, first)?;
    let heading = format!(
        "{}: {best} of {} beaten by no other in time, error and memory at once",
        source.family(),
        counted(cells.len() as u64, "cell")
    );
    let findings: Vec<&str> = key.iter().map(|(_, words)| words.as_str()).collect();
    let card = Card {
        kind: KIND,
        file,
        reading:
            "The family's largest problem: median time over error (relative Frobenius norm). Larger marks declare more bytes; the line \
            joins the fastest for each error."
                .to_owned(),
        height: 540,
        alt: format!("Time, error and memory. {heading}, {regime}. {}", findings.join("; ")),
        regime: format!("{regime}. {}. {}", source.noise(run).replace(" (shaded)", ""), source.machine(machine)),
        heading,
        key,
    };
    let longest = cells.iter().map(|cell| cell.time).fold(0.0, f64::max);
    let (unit, ns) = if longest >= 2e7 { ("ms", 1e6) } else { ("µs", 1e3) };
    let scales = (Scale::log(cells.iter().map(|cell| cell.error)), Scale::log(cells.iter().map(|cell| cell.time / ns)));
    card.draw(|area, rows| {
        let frame = Frame { x: Below::Name("relative error"), y: &format!("median time in {unit}"), right: 0 };
        let panel = Panel::new(area, rows, scales, &frame)?;
        plot(&panel, area, &cells, (&corners, &marked), ns)
    })
}

/// What tells a cell from the others of its problem.
fn who(source: &Source<'_>, row: usize) -> PolarsResult<String> {
    let rows = &source.rows;
    let text = |column: &str| rows.shown(column, row).map(Option::unwrap_or_default);
    let variant = text("variant")?;
    let mut words = vec![variant.split_once('/').map_or(variant.as_str(), |(_, short)| short).to_owned()];
    words.push(text("engine")?);
    if rows.schema().contains(PRECISION) {
        words.push(text(PRECISION)?);
    }
    // Last, as there may be many, and names are cut.
    for axis in source.answers.roles.parameters.iter().filter(|axis| *axis != PRECISION && *axis != THREADS) {
        if let Some(value) = rows.shown(axis, row)?.filter(|value| !value.is_empty()) {
            words.push(format!("{} = {value}", axis_name(axis)));
        }
    }
    Ok(name(&words.join(", ")))
}

/// The problem: its sizes and threads, as its first cell has them.
fn regime(source: &Source<'_>, row: usize) -> PolarsResult<String> {
    let threads = std::iter::once(THREADS).filter(|axis| source.rows.schema().contains(axis));
    let sizes = source.answers.roles.problem.iter().map(String::as_str).filter(|axis| *axis != PRECISION && *axis != THREADS);
    let mut words = Vec::new();
    for axis in threads.chain(sizes).filter(|axis| !super::lines::SEEDS.contains(axis)) {
        if let Some(value) = source.rows.shown(axis, row)? {
            words.push(format!("{} = {}", name(axis_name(axis)), name(&value)));
        }
    }
    Ok(words.join(", "))
}

fn plot(panel: &Panel<'_, '_>, area: &Area<'_>, cells: &[Cell], (corners, marked): (&[usize], &[usize]), ns: f64) -> Drawn {
    let sizes = || cells.iter().map(|cell| cell.bytes.max(1.0).ln());
    let (least, most) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    let radius = |cell: &Cell| {
        let share = if most > least { (cell.bytes.max(1.0).ln() - least) / (most - least) } else { 0.0 };
        (RADII.0 + share * (RADII.1 - RADII.0)).round() as i32
    };
    let at = |cell: &Cell| panel.at(cell.error, cell.time / ns);
    for cell in cells.iter().filter(|cell| !cell.is_best) {
        area.draw(&Circle::new(at(cell), radius(cell), BACKGROUND.mix(0.45).filled()))?;
    }
    // Who bears less error than one corner needs the time of the next: up first, then to the left.
    let mut steps: Vec<(i32, i32)> = Vec::new();
    for corner in corners {
        let (x, y) = at(&cells[*corner]);
        steps.extend(steps.last().copied().map(|(before, _)| (before, y)));
        steps.push((x, y));
    }
    area.draw(&PathElement::new(steps, FAINT_INK.stroke_width(2)))?;
    for (_, cell) in cells.iter().enumerate().filter(|(place, cell)| cell.is_best && !marked.contains(place)) {
        area.draw(&Circle::new(at(cell), radius(cell), FAINT_INK.mix(0.8).filled()))?;
    }
    for (place, mark) in marked.iter().zip(MARKS) {
        mark.draw(area, at(&cells[*place]), radius(&cells[*place]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::examples::Cell;
    use crate::pictures::check::{Shapes, picture_of};

    fn cells() -> Vec<Cell> {
        let of = |id, variant, time: i64, error| Cell {
            id,
            variant,
            median: Some(time),
            error: Some(error),
            error_ratio: Some(9.0),
            ..Cell::default()
        };
        vec![
            Cell { baseline: true, ..of("a", "attention/dense", 64_000, 1e-6) },
            of("b", "attention/window", 1000, 1e-2),
            of("c", "attention/low-rank", 8000, 1e-4),
            // Slower than the window, with as much error.
            of("d", "attention/clustered", 8000, 1e-2),
        ]
    }

    #[test]
    fn points_lie_by_time_and_error_and_the_beaten_are_dim() {
        let picture = picture_of("pareto", &cells());
        let shapes = Shapes::of(&picture);
        let steps = shapes.paths().into_iter().find(|path| path.len() == 5).unwrap();
        let error = |words: &str| shapes.text(words).0;
        // From the window up, to the low rank, up, to dense.
        for (point, across) in steps.iter().zip(["0.01", "0.01", "1e-4", "1e-4", "1e-6"]) {
            assert!((point.0 - error(across)).abs() <= 1.0, "{steps:?} {across}");
        }
        assert!(steps[0].1 > steps[1].1 && steps[1].1 == steps[2].1 && steps[2].1 > steps[3].1);
        // Eight times as long, twice: the same height up.
        assert!(((steps[0].1 - steps[2].1) - (steps[2].1 - steps[4].1)).abs() <= 2.0, "{steps:?}");
        assert_eq!(shapes.dim(), [(steps[0].0, steps[2].1)], "the clustered one: error of the window, time of the low rank");
        assert!(picture.alt.contains("3 of 4 cells beaten by no other"), "{}", picture.alt);
        assert!(picture.alt.contains("low-rank, naive, f32: 8.00 µs, error 1.00e-4, 300 B"), "{}", picture.alt);
    }
}
