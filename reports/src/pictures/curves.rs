//! What a parameter costs and saves: time and error over a rank, a sparsity, a window or the like, in two panels with one axis, so that neither
//! is seen without the other.
//!
//! Fed by the rows of all cells (`strong_ratio`, `err_method_rel`) and the curves of [`crate::frames::series`] along axes that are parameters.
//! Drawn are those with three points or more, of the largest problem, one curve a variant.

use std::collections::BTreeSet;

use polars::prelude::*;

use super::card::{Card, Drawn, Sign, name};
use super::lines::{Line, Regime, busiest, label, lines};
use super::panel::{Below, Frame, Panel};
use super::scale::Scale;
use super::style::{BACKGROUND, INK, MARKS, Mark, NOISE};
use super::{Picture, Source};
use crate::columns::{Typed, axis_name};
use crate::error::Result;
use crate::text::markdown::counted;
use crate::text::units::{figure, scientific};

/// The name of this kind of pictures.
const KIND: &str = "curve";

/// Fewer points make no curve.
const LEAST: usize = 3;
/// Share of the height that the upper panel has.
const UPPER: f64 = 0.52;

/// One picture for every machine and parameter.
pub(super) fn pictures(source: &Source<'_>) -> Result<Vec<Picture>> {
    let all = lines(source, &source.answers.roles.parameters, LEAST)?;
    let mut pictures = Vec::new();
    for (regime, lines) in busiest(all, &source.fastest) {
        let axis = name(axis_name(&regime.axis));
        let curves = one_a_variant(&lines, source)?;
        let across: Vec<f64> = curves.iter().flat_map(|curve| &curve.points).map(|point| point.x).collect();
        let stack = Stack {
            kind: KIND,
            file: source.file(KIND, pictures.len()),
            key: key(&curves, &|x| format!("{axis} = {x}")),
            x: Scale::sizes(across.iter().copied()),
            ticks: Vec::new(),
            reading: "Time over that of the strong baseline, the fastest exact cell, and below it the error against the exact result."
                .to_owned(),
            y: "time ÷ strong baseline's",
            floor: source.floor(regime.run),
            regime: regime_words(source, &regime, &curves),
            axis,
            curves,
        };
        pictures.push(stack.draw(source)?);
    }
    Ok(pictures)
}

/// Of each variant the curve with the most points; the fastest first.
fn one_a_variant(lines: &[Line], source: &Source<'_>) -> PolarsResult<Vec<Curve>> {
    let errors = source.rows.doubles("err_method_rel")?;
    let mut longest: Vec<&Line> = lines.iter().collect();
    longest.sort_by_key(|line| std::cmp::Reverse(line.points.len()));
    let mut seen = BTreeSet::new();
    longest.retain(|line| seen.insert(&line.variant));
    let curve = |line: &&Line| -> PolarsResult<Curve> {
        let point = |(x, row): &(f64, usize)| Ok(Point { x: *x, ratio: source.ratio(*row)?, error: errors.get(*row) });
        Ok(Curve { label: label(line, source.answers), points: line.points.iter().map(point).collect::<PolarsResult<_>>()? })
    };
    let mut curves = longest.iter().map(curve).collect::<PolarsResult<Vec<_>>>()?;
    sort(&mut curves);
    Ok(curves)
}

pub(super) fn regime_words(source: &Source<'_>, regime: &Regime, curves: &[Curve]) -> String {
    let cells = curves.iter().map(|curve| curve.points.len()).sum::<usize>();
    let cells = counted(cells as u64, "cell");
    format!("{}. {cells}. {}. {}", regime.words(), source.noise(regime.run), source.machine(&regime.machine))
}

/// A curve of both panels.
pub(super) struct Curve {
    pub(super) label: String,
    pub(super) points: Vec<Point>,
}

pub(super) struct Point {
    pub(super) x: f64,
    /// With the ends of its interval.
    pub(super) ratio: [f64; 3],
    pub(super) error: Option<f64>,
}

impl Curve {
    fn fastest(&self) -> Option<&Point> {
        self.points.iter().min_by(|a, b| a.ratio[0].total_cmp(&b.ratio[0]))
    }
}

/// The one that becomes fastest comes first.
pub(super) fn sort(curves: &mut [Curve]) {
    let best = |curve: &Curve| curve.fastest().map_or(f64::INFINITY, |point| point.ratio[0]);
    curves.sort_by(|a, b| best(a).total_cmp(&best(b)).then_with(|| a.label.cmp(&b.label)));
}

/// A line for every marked curve: where it is fastest, and what that costs.
pub(super) fn key(curves: &[Curve], at: &dyn Fn(f64) -> String) -> Vec<(Sign, String)> {
    let told = |curve: &Curve| {
        let Some(point) = curve.fastest() else { return curve.label.clone() };
        let error = point.error.map_or_else(|| "unknown".to_owned(), scientific);
        format!("{}: {} × the time at {}, error {error}", curve.label, figure(point.ratio[0]), at(point.x))
    };
    let mut key: Vec<(Sign, String)> = curves.iter().zip(MARKS).map(|(curve, mark)| (Sign::Mark(mark), told(curve))).collect();
    let rest = curves.len().saturating_sub(MARKS.len());
    if rest > 0 {
        key.push((Sign::Thin, format!("{}, see the tables", counted(rest as u64, "other variant"))));
    }
    key
}

/// Two panels over one axis.
pub(super) struct Stack {
    pub(super) kind: &'static str,
    pub(super) file: String,
    pub(super) axis: String,
    pub(super) x: Scale,
    /// Names below the axis, where it has names instead of numbers.
    pub(super) ticks: Vec<String>,
    pub(super) y: &'static str,
    pub(super) reading: String,
    pub(super) key: Vec<(Sign, String)>,
    pub(super) floor: f64,
    pub(super) regime: String,
    pub(super) curves: Vec<Curve>,
}

impl Stack {
    pub(super) fn draw(self, source: &Source<'_>) -> Result<Picture> {
        let of = counted(self.curves.len() as u64, "variant");
        let heading = format!("{}: time and error over {}, {of}", source.family(), self.axis);
        let findings: Vec<&str> = self.key.iter().map(|(_, words)| words.as_str()).collect();
        let card = Card {
            kind: self.kind,
            file: self.file.clone(),
            alt: format!("{heading}. {}. {}.", findings.join("; "), self.regime),
            heading,
            reading: self.reading.clone(),
            height: 760,
            key: self.key.clone(),
            regime: self.regime.clone(),
        };
        let (ratios, errors) = self.scales();
        card.draw(|area, rows| {
            let middle = rows.start + (f64::from(rows.end - rows.start) * UPPER) as i32;
            let upper = Frame { x: Below::Nothing, y: self.y, right: 0 };
            let panel = Panel::new(area, rows.start..middle, (self.x.clone(), ratios), &upper)?;
            if self.floor > 0.0 {
                panel.band(1.0 / (1.0 + self.floor), 1.0 + self.floor, NOISE)?;
            }
            panel.level(1.0, INK, 2)?;
            self.each(&panel, |point| Some(point.ratio))?;
            let below = if self.ticks.is_empty() { Below::Name(&self.axis) } else { Below::Names(&self.ticks) };
            let lower = Frame { x: below, y: "relative error", right: 0 };
            let panel = Panel::new(area, middle..rows.end, (self.x.clone(), errors.clone()), &lower)?;
            // What is exact to the last bit has no place on a logarithmic axis: it lies on the edge.
            self.each(&panel, |point| point.error.map(|error| [error.max(errors.ends().0), error, error]))
        })
    }

    fn scales(&self) -> (Scale, Scale) {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let near = |[ratio, low, high]: [f64; 3]| [ratio, low.max(ratio / 2.0), high.min(ratio * 2.0)];
        let ratios: Vec<f64> = points().flat_map(|point| near(point.ratio)).chain([1.0]).collect();
        let errors: Vec<f64> = points().filter_map(|point| point.error).collect();
        (Scale::log(ratios.iter().copied()), Scale::log(errors.iter().copied()))
    }

    /// Draws one panel's lines, whiskers and marks; the first curve lies on top.
    fn each(&self, panel: &Panel<'_, '_>, figures: impl Fn(&Point) -> Option<[f64; 3]>) -> Drawn {
        let shown = |curve: &Curve| curve.points.iter().filter_map(|point| Some((point.x, figures(point)?))).collect::<Vec<_>>();
        for curve in self.curves.iter().skip(MARKS.len()) {
            panel.path(shown(curve).into_iter().map(|(x, [middle, ..])| (x, middle)), BACKGROUND, 2)?;
        }
        let marked: Vec<(&Curve, Mark)> = self.curves.iter().zip(MARKS).collect();
        for (curve, mark) in marked.into_iter().rev() {
            let points = shown(curve);
            panel.path(points.iter().map(|(x, [middle, ..])| (*x, *middle)), mark.color, 4)?;
            for (x, [middle, low, high]) in points {
                if low < high {
                    panel.whisker(x, (low, high), mark.color)?;
                }
                panel.mark((x, middle), mark)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::examples::Cell;
    use crate::pictures::check::{Shapes, picture_of, pictures_of};

    /// Half the rank, half the time; the example's error is the median in seconds.
    fn cells() -> Vec<Cell> {
        let of = |id, rank: Option<i64>, median: i64, error| Cell {
            id,
            rank,
            median: Some(median * 1000),
            error_ratio: Some(error),
            ..Cell::default()
        };
        let low = |id, rank: i64| Cell { variant: "attention/low-rank", ..of(id, Some(rank), rank * 100, 500.0) };
        vec![Cell { baseline: true, ..of("a", None, 6400, 1.0) }, low("b", 16), low("c", 32), low("d", 64)]
    }

    #[test]
    fn both_panels_have_every_point_over_its_value() {
        let picture = picture_of("curve", &cells());
        let shapes = Shapes::of(&picture);
        let marks = shapes.circles(9);
        assert_eq!(marks.len(), 6);
        for (pair, rank) in marks.chunks(2).zip(["16", "32", "64"]) {
            assert!(pair.iter().all(|(x, _)| (x - shapes.text(rank).0).abs() <= 1.0), "{rank}: {pair:?}");
            assert!(pair[0].1 < shapes.text("relative error").1 && pair[1].1 > shapes.text("relative error").1);
        }
        // 64 takes as long as the baseline, which is the line at 1.
        assert!((marks[4].1 - shapes.text("1").1).abs() <= 1.0);
        assert!(picture.alt.contains("low-rank: 0.250 × the time at rank = 16, error 1.60e-3"), "{}", picture.alt);
    }

    #[test]
    fn two_points_make_no_curve() {
        assert!(pictures_of(&cells()[..3]).iter().all(|picture| !picture.file.contains("curve")));
    }
}
