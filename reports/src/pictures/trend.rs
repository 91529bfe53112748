//! How the ratios of times went over the commits: a strip for every series of a family, one below the other, all with the same commits across and the same
//! height for the same factor. So a change of one cell stands alone, and one of the machine goes through all strips at one place.

use std::collections::BTreeMap;

use crossover_results::history::{Change, MachineTrend, Metric, SeriesTrend, Trend};

use super::card::{Area, Card, Drawn, Sign, name};
use super::style::{Anchor, FAINT_INK, GRID, INK, MARGIN, MARKS, Mark, SMALL, WIDTH, lines, text};
use super::{Picture, numbered};
use crate::error::Result;
use crate::text::markdown::counted;
use crate::text::units::figure;
use crate::trend::Names;
use plotters::prelude::*;

/// The name of this kind of pictures.
const KIND: &str = "trend";
/// The newest runs that are drawn: more would touch each other.
const RUNS: usize = 400;
/// Height of a strip with its gap.
const STRIP: i32 = 84;
/// Where strips begin and end.
const LEFT: i32 = 350;
const RIGHT: i32 = WIDTH - MARGIN - 84;
/// What half a strip stands for at least, so that noise does not fill it.
const LEAST: f64 = 0.1;

/// More is slower: it points up.
const WORSE: Mark = MARKS[2];
const BETTER: Mark = MARKS[4];

/// A picture for every family of every machine that has a series of two points.
pub(super) fn pictures(trend: &Trend) -> Result<Vec<Picture>> {
    let mut drawn: BTreeMap<String, usize> = BTreeMap::new();
    let mut pictures = Vec::new();
    for machine in &trend.machines {
        let mut families: BTreeMap<&str, Vec<&SeriesTrend>> = BTreeMap::new();
        for series in machine.series.iter().filter(|series| series.key.metric == Metric::TimeRatio && series.points.len() > 1) {
            families.entry(series.key.variant.split('/').next().unwrap_or_default()).or_default().push(series);
        }
        for (family, series) in families {
            // A family's name may be anybody's: a file's may not.
            let stem: String = family.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            let before = drawn.entry(stem.clone()).or_default();
            pictures.push(picture(machine, family, &series, numbered(&format!("{KIND}-{stem}"), *before))?);
            *before += 1;
        }
    }
    Ok(pictures)
}

fn picture(machine: &MachineTrend, family: &str, all: &[&SeriesTrend], file: String) -> Result<Picture> {
    let names = Names::of(machine);
    let changed = all.iter().filter(|series| !series.changes.is_empty()).count();
    let heading = format!("{}: {changed} of {} series of times changed", name(family), all.len());
    let told: Vec<String> = all.iter().filter_map(|series| Some(told(&names, series, series.changes.last()?))).collect();
    let alt = if told.is_empty() { format!("{heading}.") } else { format!("{heading}. The last changes: {}.", told.join("; ")) };
    let across = Across::of(all);
    let half = all.iter().map(|series| farthest(series, &across)).fold(f64::ln_1p(LEAST), f64::max);
    let place = &machine.place;
    let card = Card {
        kind: KIND,
        file,
        reading: format!(
            "Time over the baseline's in the same run, commit by commit; a strip reaches from 1/{0} to {0} times the middle of its series, and the \
             figure is the last one.",
            figure(half.exp())
        ),
        height: STRIP * all.len() as i32,
        key: vec![(Sign::Mark(WORSE), "slower from there on".to_owned()), (Sign::Mark(BETTER), "faster from there on".to_owned())],
        regime: format!(
            "{} of {}, of which the last {} are drawn. The chance that any is marked which did not change is {:.0} % at most. {} on machine {}, {}",
            counted(machine.runs as u64, "run"),
            counted(machine.commits as u64, "commit"),
            across.places.len(),
            crossover_results::history::LEVEL * 100.0,
            name(&place.experiment),
            name(&place.machine),
            counted(place.cores, "core")
        ),
        heading,
        alt,
    };
    card.draw(|area, rows| {
        for (row, series) in all.iter().enumerate() {
            strip(area, series, &names, &across, (rows.start + STRIP * row as i32, half))?;
        }
        Ok(())
    })
}

fn told(names: &Names<'_>, series: &SeriesTrend, change: &Change) -> String {
    let ratio = change.ratio().map_or_else(String::new, |ratio| format!(" by {}", figure(ratio)));
    format!("{}{ratio} at {}", name(&names.cell(&series.key)), name(&series.points[change.at].commit))
}

/// Where the runs of a machine stand across.
struct Across {
    places: BTreeMap<(u64, u64), usize>,
}

impl Across {
    fn of(all: &[&SeriesTrend]) -> Self {
        let mut moments: Vec<(u64, u64)> = all.iter().flat_map(|series| &series.points).map(moment).collect();
        moments.sort_unstable();
        moments.dedup();
        let skipped = moments.len().saturating_sub(RUNS);
        Self { places: moments.into_iter().skip(skipped).enumerate().map(|(place, moment)| (moment, place)).collect() }
    }

    /// Units from the left; none of runs that are not drawn.
    fn x(&self, point: &crossover_results::history::Line) -> Option<i32> {
        let steps = self.places.len().saturating_sub(1).max(1) as f64;
        let place = *self.places.get(&moment(point))? as f64;
        Some(LEFT + (place / steps * f64::from(RIGHT - LEFT)).round() as i32)
    }
}

fn moment(point: &crossover_results::history::Line) -> (u64, u64) {
    (point.commit_unix_s, point.run_unix_ms)
}

/// The logarithm of the middle of a series.
fn middle(series: &SeriesTrend, across: &Across) -> f64 {
    let mut logs: Vec<f64> = series.points.iter().filter(|point| across.x(point).is_some()).map(|point| point.value.ln()).collect();
    logs.sort_by(f64::total_cmp);
    logs.get(logs.len() / 2).copied().unwrap_or(0.0)
}

/// How far the levels of a series lie from its middle: single outliers may leave their strip.
fn farthest(series: &SeriesTrend, across: &Across) -> f64 {
    let middle = middle(series, across);
    let levels = series.changes.iter().flat_map(|change| [change.before, change.after]);
    levels.filter(|level| *level > 0.0).map(|level| (level.ln() - middle).abs() * 1.3).fold(0.0, f64::max)
}

fn strip(area: &Area<'_>, series: &SeriesTrend, names: &Names<'_>, across: &Across, (top, half): (i32, f64)) -> Drawn {
    let (center, reach) = (top + STRIP / 2, STRIP * 2 / 5);
    let middle = middle(series, across);
    let y = |value: f64| {
        let share = ((value.ln() - middle) / half).clamp(-1.0, 1.0);
        center - (share * f64::from(reach)).round() as i32
    };
    let label = names.cell(&series.key);
    let label = label.split_once('/').map_or(label.as_str(), |(_, short)| short);
    for (line, words) in lines(&name(label), SMALL, LEFT - MARGIN - 16).iter().take(2).enumerate() {
        area.draw_text(words, &text(SMALL, INK, Anchor::TopLeft), (MARGIN, top + 12 + line as i32 * (SMALL + 4)))?;
    }
    area.draw(&Rectangle::new([(LEFT, center - reach), (RIGHT, center + reach)], GRID.stroke_width(1)))?;
    let points: Vec<(i32, i32)> = series.points.iter().filter_map(|point| Some((across.x(point)?, y(point.value)))).collect();
    if !points.is_empty() {
        area.draw(&PathElement::new(points, MARKS[0].color.stroke_width(2)))?;
    }
    for change in &series.changes {
        let Some(x) = series.points.get(change.at).and_then(|point| across.x(point)) else { continue };
        area.draw(&PathElement::new(vec![(x, center - reach), (x, center + reach)], FAINT_INK.stroke_width(1)))?;
        let mark = if change.is_worse() { WORSE } else { BETTER };
        mark.draw(area, (x, y(change.after)), super::panel::RADIUS)?;
    }
    let last = series.points.last().map_or_else(String::new, |point| figure(point.value));
    area.draw_text(&last, &text(SMALL, INK, Anchor::Left), (RIGHT + 12, center))
}

#[cfg(test)]
mod tests {
    use crossover_results::history::{Line, trend};

    use crate::pictures::check::Shapes;
    use crate::trend::tests_history as history;

    #[test]
    fn a_change_is_where_the_line_steps_up() {
        let pictures = super::pictures(&trend(&history())).unwrap();
        let [picture] = &pictures[..] else { panic!("{pictures:?}") };
        assert_eq!(picture.file, "trend-attention.svg");
        let wanted = "attention: 1 of 1 series of times changed. The last changes: attention/flash on simd, precision=f32 n=256 by 1.20 at \
                      000000c10002.";
        assert_eq!(picture.alt, wanted);
        let shapes = Shapes::of(picture);
        let line = shapes.paths().into_iter().find(|path| path.len() == 30).unwrap();
        // The cut stands at the twenty-first point, and from there on the line lies higher.
        let cut = shapes.paths().into_iter().find(|path| path.len() == 2 && path[0].0 == path[1].0).unwrap();
        assert_eq!(cut[0].0, line[20].0);
        let lowest = |points: &[(f64, f64)]| points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
        let highest = |points: &[(f64, f64)]| points.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
        assert!(lowest(&line[20..]) < highest(&line[..20]), "{line:?}");
        assert_eq!(shapes.texts("flash on simd,").len() + shapes.texts("flash on simd, precision=f32").len(), 1);
    }

    #[test]
    fn only_the_newest_runs_are_drawn_and_machines_have_files_of_their_own() {
        let mut lines: Vec<Line> = Vec::new();
        for commit in 0..460 {
            for machine in ["m1", "m2"] {
                let mut line = history()[0].clone();
                line.key.place.machine = machine.into();
                line.key.variant = "../evil/x".into();
                (line.commit_unix_s, line.run_unix_ms) = (commit, commit * 1000);
                lines.push(line);
            }
        }
        let pictures = super::pictures(&trend(&lines)).unwrap();
        assert_eq!(pictures.iter().map(|picture| picture.file.as_str()).collect::<Vec<_>>(), ["trend-.svg", "trend--2.svg"]);
        let longest = Shapes::of(&pictures[0]).paths().iter().map(Vec::len).max();
        assert_eq!(longest, Some(super::RUNS));
    }
}
