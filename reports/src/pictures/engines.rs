//! Which engine is fastest, by how much and how sure: a line for every family, a mark for every engine.
//!
//! Fed by [`crate::frames::engines`]: the geometric mean of an engine's times over those of the family's first, over the cells that both have
//! done well, with its interval over problems. Machines and numbers of threads are apart, in a picture each.

use std::collections::BTreeSet;

use polars::prelude::*;

use super::card::{Area, Card, Drawn, Sign, name};
use super::panel::{Below, Frame, Panel};
use super::scale::Scale;
use super::style::{Anchor, FAINT_INK, INK, MARKS, SMALL, text};
use super::{Picture, machine};
use crate::answers::Answers;
use crate::columns::Typed;
use crate::error::Result;
use crate::frames::engines::ALL;
use crate::text::markdown::counted;
use crate::text::units::figure;

/// The name of this kind of pictures.
const KIND: &str = "engines";

/// Room above the panel's axis and below it.
const AROUND: i32 = 120;
/// Room that one engine has within its family's.
const STEP: i32 = 26;

/// An engine's mean over the first one's.
struct Standing {
    family: String,
    engine: String,
    place: i64,
    order: i64,
    ratio: f64,
    ends: (f64, f64),
    cells: i64,
}

/// One picture for every machine and number of threads.
pub(super) fn pictures(answers: &Answers<'_>) -> Result<Vec<Picture>> {
    let frame = &answers.engines;
    let (machines, threads) = (frame.texts("machine")?, frame.ints("threads")?);
    let places: BTreeSet<(&str, Option<i64>)> =
        (0..frame.height()).filter_map(|row| Some((machines.get(row)?, threads.get(row)))).collect();
    let mut pictures = Vec::new();
    for (fingerprint, count) in places {
        let rows: Vec<usize> =
            (0..frame.height()).filter(|row| machines.get(*row) == Some(fingerprint) && threads.get(*row) == count).collect();
        let file = super::numbered(KIND, pictures.len());
        pictures.push(picture(answers, (fingerprint, count), &standings(frame, &rows)?, file)?);
    }
    Ok(pictures)
}

/// Every engine that shares a cell with the first of its family; the first itself is 1.
fn standings(frame: &DataFrame, rows: &[usize]) -> PolarsResult<Vec<Standing>> {
    let (families, engines, rivals) = (frame.texts("family")?, frame.texts("engine")?, frame.texts("rival")?);
    let [places, orders, rival_orders, cells] = ["place", "order", "rival_order", "cells"].map(|column| frame.ints(column));
    let (places, orders, rival_orders, cells) = (places?, orders?, rival_orders?, cells?);
    let [ratio, low, high] = ["ratio", "ratio_low", "ratio_high"].map(|column| frame.doubles(column));
    let (ratio, low, high) = (ratio?, low?, high?);
    let mut all = Vec::new();
    let mut firsts = BTreeSet::new();
    for row in rows.iter().copied().filter(|row| rival_orders.get(*row) == Some(1)) {
        let (Some(family), Some(engine), Some(ratio)) = (families.get(row), engines.get(row), ratio.get(row)) else { continue };
        // Where there are too few problems for an interval, its ends are open.
        let ends = (low.get(row).unwrap_or(0.0), high.get(row).unwrap_or(f64::INFINITY));
        let of = |engine: &str, (place, order), ratio, ends, cells| Standing {
            family: family.to_owned(),
            engine: engine.to_owned(),
            place,
            order,
            ratio,
            ends,
            cells,
        };
        let place = (places.get(row).unwrap_or(0), orders.get(row).unwrap_or(0));
        all.push(of(engine, place, ratio, ends, cells.get(row).unwrap_or(0)));
        let first = rivals.get(row).unwrap_or_default();
        if firsts.insert((family, first)) {
            all.push(of(first, (1, 1), 1.0, (1.0, 1.0), 0));
        }
    }
    all.sort_by(|a, b| (&a.family, a.order).cmp(&(&b.family, b.order)));
    Ok(all)
}

fn picture(answers: &Answers<'_>, (fingerprint, threads): (&str, Option<i64>), all: &[Standing], file: String) -> Result<Picture> {
    let families: Vec<&str> = all.iter().map(|standing| standing.family.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let engines: Vec<&str> = all.iter().map(|standing| standing.engine.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let firsts =
        |engine: &str| all.iter().filter(|standing| standing.place == 1 && standing.engine == engine && standing.family != ALL).count();
    let of = families.iter().filter(|family| **family != ALL).count();
    let mut key: Vec<(Sign, String)> = Vec::new();
    for (place, engine) in engines.iter().enumerate() {
        let sign = MARKS.get(place).map_or(Sign::Thin, |mark| Sign::Mark(*mark));
        key.push((sign, format!("{}: first or level in {} of {of}", name(engine), firsts(engine))));
    }
    let threads = threads
        .and_then(|threads| u64::try_from(threads).ok())
        .map_or_else(String::new, |threads| format!(", {}", counted(threads, "thread")));
    let most = engines.iter().map(|engine| firsts(engine)).max().unwrap_or(0);
    let best: Vec<String> = engines.iter().filter(|engine| firsts(engine) == most).map(|engine| name(engine)).collect();
    let heading = format!("Engines{threads}: {} first or level in {most} of {of} families", best.join(" and "));
    let told: Vec<String> = all
        .iter()
        .filter(|standing| standing.order != 1)
        .map(|standing| format!("{}, {}: {}", name(&standing.family), name(&standing.engine), figure(standing.ratio)))
        .collect();
    let cells: Vec<i64> = all.iter().filter(|standing| standing.order != 1).map(|standing| standing.cells).collect();
    let (least, most) = (cells.iter().min().copied().unwrap_or(0), cells.iter().max().copied().unwrap_or(0));
    let card = Card {
        kind: KIND,
        file,
        reading: "Geometric mean of times over those of the family's first engine, over the cells that both have done well; 95 % intervals over problems."
            .to_owned(),
        height: AROUND + families.len() as i32 * height(engines.len()),
        key,
        regime: format!("Each mean is of {least} to {most} cells. {}", machine(answers, fingerprint)),
        alt: format!("{heading}. Time over the first's: {}.", told.join("; ")),
        heading,
    };
    let ends: Vec<f64> =
        all.iter().flat_map(|standing| [standing.ratio, standing.ends.0, standing.ends.1]).filter(|end| *end > 0.0).collect();
    let names: Vec<String> = families.iter().rev().map(|family| name(family)).collect();
    let scales = (Scale::log(ends.iter().copied()), Scale::names(names.iter().cloned()).bare());
    card.draw(|area, rows| {
        let panel = Panel::new(area, rows, scales, &Frame { x: Below::Name("time ÷ the first engine's"), y: "", right: 0 })?;
        panel.upright(1.0, INK, 2)?;
        draw(&panel, area, all, &names, &engines)
    })
}

/// How high a family's line is: its name, and the engines below each other.
fn height(engines: usize) -> i32 {
    STEP * (engines as i32 + 2)
}

fn draw(panel: &Panel<'_, '_>, area: &Area<'_>, all: &[Standing], names: &[String], engines: &[&str]) -> Drawn {
    for (place, family) in names.iter().enumerate() {
        let (x, y) = panel.at(panel.left(), place as f64);
        let top = y - height(engines.len()) / 2;
        area.draw_text(family, &text(SMALL, FAINT_INK, Anchor::TopLeft), (x + 8, top + 4))?;
        for standing in all.iter().filter(|standing| name(&standing.family) == *family) {
            let Some(engine) = engines.iter().position(|engine| *engine == standing.engine) else { continue };
            let middle = top + STEP * 3 / 2 + STEP * engine as i32 + STEP / 4;
            let across = |ratio: f64| panel.at(ratio, 0.0).0;
            let color = MARKS.get(engine).map_or(FAINT_INK, |mark| mark.color);
            panel.span((across(standing.ends.0), across(standing.ends.1)), middle, color)?;
            match MARKS.get(engine) {
                Some(mark) => mark.draw(area, (across(standing.ratio), middle), super::panel::RADIUS)?,
                None => area.draw(&plotters::prelude::Circle::new((across(standing.ratio), middle), 4, FAINT_INK))?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::answers::of_cells;
    use crate::examples::{Cell, frame};
    use crate::pictures::check::Shapes;

    #[test]
    fn marks_lie_at_the_geometric_mean() {
        let cell = |id, engine, group, median| Cell { id, engine, group, median: Some(median), ..Cell::default() };
        // Twice and eight times as long: four times on the geometric mean, of which two problems are no proof.
        let cells =
            [cell("a", "faer", "g", 1000), cell("b", "simd", "g", 2000), cell("c", "faer", "h", 1000), cell("d", "simd", "h", 8000)];
        let answers = of_cells(&[], frame(&cells)).unwrap();
        let pictures = super::pictures(&answers).unwrap();
        assert_eq!(pictures.iter().map(|picture| picture.file.as_str()).collect::<Vec<_>>(), ["engines.svg"]);
        assert!(
            pictures[0]
                .alt
                .starts_with("Engines: faer and simd first or level in 1 of 1 families. Time over the first's: attention, simd: 4.00."),
            "{}",
            pictures[0].alt
        );
        let shapes = Shapes::of(&pictures[0]);
        let first = shapes.circles(9);
        assert_eq!(first.len(), 1);
        assert!((first[0].0 - shapes.text("1").0).abs() <= 1.0);
        assert!(super::pictures(&of_cells(&[], frame(&cells[..1])).unwrap()).unwrap().is_empty());
    }
}
