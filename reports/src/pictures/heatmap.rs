//! How two sizes act together: the ratio of times over a parameter and a size of the problem, a field for each cell that was measured.
//!
//! Fed by the rows of all cells (`strong_ratio`) and the curves of [`crate::frames::series`] along a parameter, of which there must be three or
//! more with three points or more, at different sizes. The palette goes from blue over white to orange, white being as fast as the strong
//! baseline, and each field says its ratio, so that nobody has to tell shades apart.

use std::collections::{BTreeMap, BTreeSet};

use plotters::prelude::*;

use super::card::{Area, Card, Drawn, name};
use super::lines::{Line, Regime, label, lines};
use super::panel::{Below, Frame, Panel};
use super::scale::Scale;
use super::style::{Anchor, GRID, INK, PAPER, SMALL, text, width};
use super::{Picture, Source};
use crate::columns::axis_name;
use crate::error::Result;
use crate::text::markdown::counted;
use crate::text::units::figure;

/// The name of this kind of pictures.
const KIND: &str = "heatmap";

/// The least values of either axis.
const LEAST: usize = 3;
/// More pictures of a family than these are left out: those of the variants that win by least.
const MOST: usize = 6;
/// A ratio of two to the power of this, or of one over that, has the full colour.
const FULL: f64 = 3.0;

const FASTER: RGBColor = RGBColor(0x00, 0x5a, 0xa8);
const SLOWER: RGBColor = RGBColor(0xb3, 0x59, 0x00);

/// The fields of one picture.
struct Map {
    /// What they have in common.
    regime: Regime,
    label: String,
    /// The size of the problem that goes up.
    up: String,
    /// What is across, what is up, and the ratio there.
    fields: Vec<(f64, f64, f64)>,
}

/// One picture for every machine, parameter and variant, of the regime with the most fields.
pub(super) fn pictures(source: &Source<'_>) -> Result<Vec<Picture>> {
    let all = lines(source, &source.answers.roles.parameters, LEAST)?;
    let mut variants: BTreeMap<[String; 3], Vec<Line>> = BTreeMap::new();
    for line in all {
        let key = [line.regime.machine.clone(), line.regime.axis.clone(), line.variant.clone()];
        variants.entry(key).or_default().push(line);
    }
    let mut maps = Vec::new();
    for lines in variants.into_values() {
        let found = maps_of(source, &lines)?;
        let rank = |map: &Map| (source.fastest.get(&map.regime.machine) == Some(&map.regime.engine), map.fields.len());
        maps.extend(found.into_iter().rev().max_by_key(rank));
    }
    let best = |map: &Map| map.fields.iter().map(|(.., ratio)| *ratio).fold(f64::INFINITY, f64::min);
    maps.sort_by(|a, b| best(a).total_cmp(&best(b)));
    maps.iter().take(MOST).enumerate().map(|(place, map)| picture(source, map, source.file(KIND, place))).collect()
}

/// The maps that the curves of a variant make: curves that differ by one size of the problem, and by what follows it.
fn maps_of(source: &Source<'_>, lines: &[Line]) -> Result<Vec<Map>> {
    let sizes: BTreeSet<&str> = lines.iter().flat_map(|line| line.regime.sizes().map(|(axis, _)| axis)).collect();
    let mut maps = Vec::new();
    for up in sizes {
        let mut groups: BTreeMap<_, Vec<(f64, &Line)>> = BTreeMap::new();
        for line in lines {
            let Some(size) = line.regime.size(up) else { continue };
            let others = line.regime.without(|axis| axis == up || follows(lines, axis, up));
            groups.entry((others, label(line, source.answers))).or_default().push((size, line));
        }
        for ((regime, label), group) in groups {
            let mut fields = Vec::new();
            for (size, line) in &group {
                for (x, row) in &line.points {
                    fields.push((*x, *size, source.ratio(*row)?[0]));
                }
            }
            fields.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            if distinct(fields.iter().map(|field| field.1)).len() >= LEAST && distinct(fields.iter().map(|field| field.0)).len() >= LEAST {
                maps.push(Map { regime, label, up: up.to_owned(), fields });
            }
        }
        // Of several sizes that move together the first names the map.
        if !maps.is_empty() {
            break;
        }
    }
    Ok(maps)
}

/// True if the one changes, and each value of the other goes with one value of it.
fn follows(lines: &[Line], axis: &str, leader: &str) -> bool {
    let mut values = BTreeMap::new();
    let is_function = lines.iter().all(|line| {
        let value = |axis: &str| line.regime.sizes().find(|(known, _)| *known == axis).map(|(_, value)| value);
        *values.entry(value(leader)).or_insert_with(|| value(axis)) == value(axis)
    });
    is_function && values.values().collect::<BTreeSet<_>>().len() > 1
}

fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

fn picture(source: &Source<'_>, map: &Map, file: String) -> Result<Picture> {
    let (across, up) = (distinct(map.fields.iter().map(|field| field.0)), distinct(map.fields.iter().map(|field| field.1)));
    let [x_name, y_name] = [&map.regime.axis, &map.up].map(|axis| name(axis_name(axis)));
    let faster = map.fields.iter().filter(|(.., ratio)| *ratio < 1.0).count();
    let heading =
        format!("{}: {} has a ratio below 1 in {faster} of {}", source.family(), map.label, counted(map.fields.len() as u64, "cell"));
    let told = map
        .fields
        .iter()
        .min_by(|a, b| a.2.total_cmp(&b.2))
        .map_or_else(String::new, |(x, y, ratio)| format!(" Least: {} at {x_name} = {x}, {y_name} = {y}.", figure(*ratio)));
    let card = Card {
        kind: KIND,
        file,
        reading: "Time over that of the strong baseline: blue is below 1, orange above, white at 1, full at 8 times. An empty field was not measured, or failed. Intervals are in the tables."
            .to_owned(),
        height: 110 + 56 * up.len().min(10) as i32,
        key: Vec::new(),
        regime: format!(
            "{}. {}. {}. {}",
            map.regime.words(),
            counted(map.fields.len() as u64, "cell"),
            source.noise(map.regime.run).replace(" (shaded)", ""),
            source.machine(&map.regime.machine)
        ),
        alt: format!("{heading} over {x_name} and {y_name}.{told}"),
        heading,
    };
    let names = |values: &[f64]| Scale::names(values.iter().map(f64::to_string).collect::<Vec<_>>().into_iter());
    card.draw(|area, rows| {
        let panel = Panel::new(area, rows, (names(&across), names(&up)), &Frame { x: Below::Name(&x_name), y: &y_name, right: 0 })?;
        let place = |values: &[f64], value: f64| values.iter().position(|known| *known == value).unwrap_or_default() as f64;
        for (x, y, ratio) in &map.fields {
            field(&panel, area, (place(&across, *x), place(&up, *y)), *ratio)?;
        }
        Ok(())
    })
}

fn field(panel: &Panel<'_, '_>, area: &Area<'_>, (x, y): (f64, f64), ratio: f64) -> Drawn {
    let (left, bottom) = panel.at(x - 0.5, y - 0.5);
    let (right, top) = panel.at(x + 0.5, y + 0.5);
    let (color, ink) = shade(ratio);
    area.draw(&Rectangle::new([(left + 1, top + 1), (right - 1, bottom - 1)], color.filled()))?;
    area.draw(&Rectangle::new([(left + 1, top + 1), (right - 1, bottom - 1)], GRID.stroke_width(1)))?;
    let words = if (0.095..9.95).contains(&ratio) { format!("{ratio:.2}") } else { figure(ratio) };
    if width(&words, SMALL) <= right - left {
        area.draw_text(&words, &text(SMALL, ink, Anchor::Center), ((left + right) / 2, (top + bottom) / 2))?;
    }
    Ok(())
}

/// The colour of a ratio, and an ink that is legible on it.
fn shade(ratio: f64) -> (RGBColor, RGBColor) {
    let power = ratio.log2();
    let share = (power.abs() / FULL).clamp(0.0, 1.0);
    let end = if power < 0.0 { FASTER } else { SLOWER };
    let between = |paper: u8, end: u8| (f64::from(paper) + (f64::from(end) - f64::from(paper)) * share).round() as u8;
    let color = RGBColor(between(PAPER.0, end.0), between(PAPER.1, end.1), between(PAPER.2, end.2));
    (color, if share > 0.75 { PAPER } else { INK })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::Cell;
    use crate::pictures::check::{Shapes, picture_of, pictures_of};

    /// The time is n times the rank, the baseline's 32 n.
    fn cells() -> Vec<Cell> {
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let mut cells = Vec::new();
        for (ids, (n, group)) in ids.chunks(4).zip([(64, "g"), (128, "h"), (256, "i")]) {
            let of = |id, rank: Option<i64>, median: i64, error| Cell {
                id,
                group,
                n,
                rank,
                median: Some(median * 1000),
                error_ratio: Some(error),
                ..Cell::default()
            };
            cells.push(Cell { baseline: true, ..of(ids[0], None, n * 32, 1.0) });
            let ranks = ids[1..].iter().zip([8, 32, 128]);
            cells.extend(ranks.map(|(id, rank)| Cell { variant: "attention/low-rank", ..of(*id, Some(rank), n * rank, 500.0) }));
        }
        cells
    }

    #[test]
    fn fields_stand_where_their_sizes_are_and_say_their_ratio() {
        let picture = picture_of("heatmap", &cells());
        let shapes = Shapes::of(&picture);
        for (rank, ratio) in [("8", "0.25"), ("32", "1.00"), ("128", "4.00")] {
            let fields = shapes.texts(ratio);
            assert_eq!(fields.len(), 3, "{ratio}");
            // 128 is a tick of both axes.
            let across: Vec<f64> = shapes.texts(rank).iter().map(|(x, _)| *x).collect();
            assert!(fields.iter().all(|(x, _)| across.iter().any(|tick| (x - tick).abs() <= 1.0)), "{fields:?} {across:?}");
        }
        assert!(
            picture.alt.contains("low-rank has a ratio below 1 in 3 of 9 cells over rank and n. Least: 0.250 at rank = 8, n = 64."),
            "{}",
            picture.alt
        );
    }

    #[test]
    fn two_sizes_make_no_map() {
        assert!(pictures_of(&cells()[..8]).iter().all(|picture| !picture.file.contains("heatmap")));
    }

    #[test]
    fn shades_are_centred_at_one_and_words_are_legible_on_them() {
        assert_eq!(shade(1.0), (PAPER, INK));
        assert_eq!((shade(0.01).0, shade(100.0).0), (FASTER, SLOWER));
        let light = |color: RGBColor| [color.0, color.1, color.2].map(f64::from).iter().sum::<f64>();
        for ratio in [0.1, 0.2, 0.3, 0.5, 0.9, 1.2, 2.0, 4.0, 5.0, 9.0] {
            let (color, ink) = shade(ratio);
            assert!((light(color) - light(ink)).abs() > 190.0, "{ratio}");
        }
    }
}
