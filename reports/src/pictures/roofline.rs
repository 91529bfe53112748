//! The roofline of a machine with a family's cells on it: operations a second over operations a byte, both logarithmic.
//!
//! Fed by the rows of all cells (`flops`, `bytes`, `gflops`, `share`) and the ceilings that the run measured (see [`crate::ceilings`]). A roof
//! is drawn for each kind of product that the cells may use, a slope for each level of the memory. Cells of engines on a device are left
//! out: what is measured is the processor. Where cells lie on each other one is drawn, so that a large run stays a small file.

use std::collections::{BTreeMap, BTreeSet};

use crossover_core::device::is_on_device;
use crossover_protocol::Ceilings;
use plotters::prelude::*;
use polars::prelude::*;

use super::card::{Area, Card, Drawn, Sign, name};
use super::panel::{Below, Frame, Panel};
use super::scale::Scale;
use super::style::{Anchor, FAINT_INK, INK, MARKS, SMALL, text};
use super::{Picture, Source};
use crate::ceilings::Products;
use crate::columns::{PRECISION, RUN, Typed};
use crate::error::Result;
use crate::frames::speed::products;
use crate::text::markdown::counted;
use crate::text::units::{figure, percent};

/// The name of this kind of pictures.
const KIND: &str = "roofline";

/// More marks than these are thinned further.
const MOST_MARKS: usize = 500;
const RADIUS: i32 = 7;
/// Room for the names of the roofs.
const RIGHT: i32 = 130;

/// A cell under its roof.
struct Cell {
    engine: String,
    products: Products,
    intensity: f64,
    gflops: f64,
    share: Option<f64>,
}

/// One picture for every machine and number of threads that ceilings were measured for: of the run with the most cells there.
pub(super) fn pictures(source: &Source<'_>) -> Result<Vec<Picture>> {
    let mut places: BTreeMap<(String, usize), BTreeMap<i64, Vec<Cell>>> = BTreeMap::new();
    for (machine, run, set, cell) in cells(source)? {
        places.entry((machine, set)).or_default().entry(run).or_default().push(cell);
    }
    let mut pictures = Vec::new();
    for ((machine, set), runs) in places {
        let Some((run, cells)) = runs.into_iter().rev().max_by_key(|(_, cells)| cells.len()) else { continue };
        let Some(ceilings) = source.run(run).and_then(|run| run.ceilings.as_ref()?.measured().get(set)) else { continue };
        pictures.push(picture(source, &machine, ceilings, &cells, pictures.len())?);
    }
    Ok(pictures)
}

/// Machine, run, place of the ceilings, and the cell.
fn cells(source: &Source<'_>) -> PolarsResult<Vec<(String, i64, usize, Cell)>> {
    let rows = &source.rows;
    let (machines, engines, status) = (rows.texts("machine")?, rows.texts("engine")?, rows.texts("status")?);
    let (runs, flops, bytes, threads) = (rows.ints(RUN)?, rows.ints("flops")?, rows.ints("bytes")?, rows.ints("threads_used")?);
    let (gflops, shares) = (rows.doubles("gflops")?, rows.doubles("share")?);
    let precisions = rows.column(PRECISION).ok().map(|column| column.str()).transpose()?;
    let cell = |row: usize| {
        let (machine, engine, run) = (machines.get(row)?, engines.get(row)?, runs.get(row)?);
        if status.get(row) != Some("ok") || is_on_device(engine) {
            return None;
        }
        let threads = u32::try_from(threads.get(row)?).ok()?;
        let sets = source.run(run)?.ceilings.as_ref()?.measured();
        let set = sets.iter().position(|set| set.threads >= threads)?;
        let (intensity, gflops) = (flops.get(row)? as f64 / bytes.get(row)? as f64, gflops.get(row)?);
        let products = precisions.and_then(|column| column.get(row)).map_or(Products::Single, products);
        let is_drawn = intensity > 0.0 && intensity.is_finite() && gflops > 0.0;
        let cell = Cell { engine: engine.to_owned(), products, intensity, gflops, share: shares.get(row) };
        is_drawn.then(|| (machine.to_owned(), run, set, cell))
    };
    Ok((0..rows.height()).filter_map(cell).collect())
}

/// What bounds the cells of a picture.
struct Roofs {
    /// Products and their GFLOP/s, the fastest first.
    peaks: Vec<(Products, f64)>,
    /// Levels and their GB/s, the fastest first.
    slopes: Vec<(String, f64)>,
}

impl Roofs {
    fn of(ceilings: &Ceilings, cells: &[Cell]) -> Self {
        let used: BTreeSet<Products> = cells.iter().map(|cell| cell.products).chain([Products::Single]).collect();
        let mut peaks: Vec<(Products, f64)> = used.into_iter().map(|products| (products, products.peak(ceilings) as f64 / 1e9)).collect();
        peaks.sort_by(|a, b| b.1.total_cmp(&a.1));
        let speed = |level: &crossover_protocol::Bandwidth| level.read_bytes_per_s.max(level.copy_bytes_per_s) as f64 / 1e9;
        let mut slopes: Vec<(String, f64)> = ceilings.bandwidth.iter().map(|level| (name(&level.level), speed(level))).collect();
        slopes.sort_by(|a, b| b.1.total_cmp(&a.1));
        Self { peaks, slopes }
    }

    fn top(&self) -> f64 {
        self.peaks.first().map_or(1.0, |(_, peak)| *peak)
    }

    /// Where a slope meets the highest roof.
    fn ridge(&self, gbytes: f64) -> f64 {
        self.top() / gbytes
    }
}

fn picture(source: &Source<'_>, machine: &str, ceilings: &Ceilings, cells: &[Cell], before: usize) -> Result<Picture> {
    let roofs = Roofs::of(ceilings, cells);
    let engines: Vec<&str> = cells.iter().map(|cell| cell.engine.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut shares: Vec<f64> = cells.iter().filter_map(|cell| cell.share).collect();
    shares.sort_by(f64::total_cmp);
    let reached = match shares.last() {
        Some(best) => {
            format!("half of the cells reach {} of their ceiling, the best {}", percent(shares[shares.len() / 2]), percent(*best))
        }
        None => "no share of a ceiling is known".to_owned(),
    };
    let mut key: Vec<(Sign, String)> = Vec::new();
    for (place, engine) in engines.iter().enumerate() {
        let of_it = cells.iter().filter(|cell| cell.engine == *engine);
        let best = of_it.clone().filter_map(|cell| cell.share).fold(0.0, f64::max);
        let sign = MARKS.get(place).map_or(Sign::Thin, |mark| Sign::Mark(*mark));
        key.push((sign, format!("{}: {}, {} of the ceiling at best", name(engine), counted(of_it.count() as u64, "cell"), percent(best))));
    }
    let spell = |(level, speed): &(String, f64)| format!("{level} {}", figure(*speed));
    key.push((Sign::None, format!("Slopes in GB/s: {}", roofs.slopes.iter().map(spell).collect::<Vec<_>>().join(", "))));
    let heading = format!("{}: {reached}", source.family());
    let threads = counted(u64::from(ceilings.threads), "thread");
    let findings: Vec<&str> = key.iter().map(|(_, words)| words.as_str()).collect();
    let card = Card {
        kind: KIND,
        file: source.file(KIND, before),
        reading: "Operations a second over operations for each byte that must be moved. Cells in a cache may lie above the slopes of outer levels."
            .to_owned(),
        height: 540,
        regime: format!(
            "Ceilings of {threads}, {}. {}. {}",
            name(&ceilings.isa),
            counted(cells.len() as u64, "cell"),
            source.machine(machine)
        ),
        alt: format!("Roofline. {heading}. {}. Ceilings of {threads}.", findings.join("; ")),
        heading,
        key,
    };
    let scales = scales(&roofs, cells);
    card.draw(|area, rows| {
        let frame = Frame { x: Below::Name("FLOP / byte"), y: "GFLOP/s", right: RIGHT };
        let (low, _) = scales.1.ends();
        let panel = Panel::new(area, rows, scales, &frame)?;
        slopes(&panel, area, &roofs, low)?;
        peaks(&panel, area, &roofs)?;
        marks(&panel, area, cells, &engines)
    })
}

fn scales(roofs: &Roofs, cells: &[Cell]) -> (Scale, Scale) {
    let ridges = roofs.slopes.iter().map(|(_, speed)| roofs.ridge(*speed));
    let across: Vec<f64> = cells.iter().map(|cell| cell.intensity).chain(ridges.flat_map(|ridge| [ridge / 2.0, ridge * 2.0])).collect();
    // Above the highest roof stand the names of the slopes.
    let up: Vec<f64> = cells.iter().map(|cell| cell.gflops).chain([roofs.top() * 1.8]).collect();
    (Scale::log(across.iter().copied()), Scale::log(up.iter().copied()))
}

/// From the left or the lower edge to the highest roof, named above it.
fn slopes(panel: &Panel<'_, '_>, area: &Area<'_>, roofs: &Roofs, low: f64) -> Drawn {
    let mut free = i32::MIN;
    for (level, speed) in &roofs.slopes {
        let ridge = roofs.ridge(*speed);
        let start = panel.left().max(low / speed);
        panel.path([(start, start * speed), (ridge, roofs.top())].into_iter(), FAINT_INK, 2)?;
        let (x, y) = panel.at(ridge, roofs.top());
        // The fastest are the leftmost; each name keeps clear of the one before.
        let half = super::style::width(level, SMALL) / 2;
        let middle = x.max(free.saturating_add(half + 4));
        area.draw_text(level, &text(SMALL, INK, Anchor::Center), (middle, y - SMALL))?;
        free = middle + half;
    }
    Ok(())
}

/// From the slope of the fastest level to the right edge, named behind it.
fn peaks(panel: &Panel<'_, '_>, area: &Area<'_>, roofs: &Roofs) -> Drawn {
    let fastest = roofs.slopes.first().map(|(_, speed)| *speed);
    let mut free = i32::MIN;
    for (products, peak) in &roofs.peaks {
        let start = fastest.map_or(panel.left(), |speed| peak / speed).max(panel.left());
        panel.path([(start, *peak), (panel.right(), *peak)].into_iter(), FAINT_INK, 3)?;
        let (x, y) = panel.at(panel.right(), *peak);
        let middle = y.max(free.saturating_add(SMALL));
        area.draw_text(&format!("{} {}", products.name(), figure(*peak)), &text(SMALL, INK, Anchor::Left), (x + 8, middle))?;
        free = middle;
    }
    Ok(())
}

fn marks(panel: &Panel<'_, '_>, area: &Area<'_>, cells: &[Cell], engines: &[&str]) -> Drawn {
    let place = |cell: &Cell| engines.iter().position(|engine| *engine == cell.engine).unwrap_or(engines.len());
    let all: Vec<(usize, (i32, i32))> = cells.iter().map(|cell| (place(cell), panel.at(cell.intensity, cell.gflops))).collect();
    for (engine, at) in thinned(&all) {
        match MARKS.get(engine) {
            Some(mark) => mark.draw(area, at, RADIUS)?,
            None => area.draw(&Circle::new(at, 3, FAINT_INK.filled()))?,
        }
    }
    Ok(())
}

/// One of each engine where several lie on the same spot; spots grow until there are few enough.
fn thinned(all: &[(usize, (i32, i32))]) -> Vec<(usize, (i32, i32))> {
    let mut spot = RADIUS / 2;
    loop {
        let mut spots = BTreeMap::new();
        for (engine, (x, y)) in all {
            spots.entry((x / spot, y / spot, *engine)).or_insert((*engine, (*x, *y)));
        }
        if spots.len() <= MOST_MARKS {
            return spots.into_values().collect();
        }
        spot += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_on_one_spot_is_drawn_once_and_many_are_thinned() {
        assert_eq!(thinned(&[(0, (100, 100)), (0, (100, 100)), (1, (100, 100)), (0, (200, 100))]).len(), 3);
        let many: Vec<(usize, (i32, i32))> =
            (0..10_000).map(|index| (index % 4, ((index as i32 * 37) % 700, (index as i32 * 53) % 500))).collect();
        let thinned = thinned(&many);
        assert!(thinned.len() <= MOST_MARKS && thinned.len() > MOST_MARKS / 2, "{}", thinned.len());
        assert!(thinned.iter().all(|one| many.contains(one)), "none is moved");
    }
}
