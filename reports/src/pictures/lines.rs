//! Which curves stand in one picture: those of one machine, run, engine, precision, number of threads and problem, so that they can be
//! compared. Of several such regimes the one of the family's fastest engine is drawn, as in the answer on top of the summary: what pays on
//! a slow engine only is no answer. Then comes the one with the most points, then the largest problem. The tables have the others.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use super::Source;
use super::card::name;
use crate::answers::Answers;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::frames::series::Series;
use crate::text::markdown::counted;

/// Axes that tell nothing about a figure: they choose random numbers.
pub(super) const SEEDS: [&str; 2] = ["axis:seed", "axis:pattern_seed"];

/// What the curves of one picture have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Regime {
    pub(super) machine: String,
    /// The axis that moves, as a column.
    pub(super) axis: String,
    pub(super) run: i64,
    pub(super) engine: String,
    pub(super) precision: Option<String>,
    pub(super) threads: Option<String>,
    /// The sizes of the problem that do not move.
    problem: Vec<(String, String)>,
}

impl Regime {
    /// Of who (machine, run, engine), the moving axis, with what (precision, threads), and the sizes.
    pub(super) fn new(
        (machine, run, engine): (String, i64, String),
        axis: &str,
        (precision, threads): (Option<String>, Option<String>),
        mut problem: Vec<(String, String)>,
    ) -> Self {
        problem.retain(|(axis, _)| !SEEDS.contains(&axis.as_str()));
        Self { machine, axis: axis.to_owned(), run, engine, precision, threads, problem }
    }

    /// The sizes of the problem that do not move, by their axes.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.problem.iter().map(|(axis, value)| (axis.as_str(), value.as_str()))
    }

    /// One of them, where it is a number.
    pub(super) fn size(&self, axis: &str) -> Option<f64> {
        self.sizes().find(|(known, _)| *known == axis)?.1.parse().ok()
    }

    /// The same without some of its sizes.
    pub(super) fn without(&self, dropped: impl Fn(&str) -> bool) -> Self {
        let mut rest = self.clone();
        rest.problem.retain(|(axis, _)| !dropped(axis));
        rest
    }

    /// As words: who, then how large.
    pub(super) fn words(&self) -> String {
        let threads =
            |threads: &String| threads.parse().map_or_else(|_| format!("{} threads", name(threads)), |count| counted(count, "thread"));
        let who = [Some(name(&self.engine)), self.precision.as_deref().map(name), self.threads.as_ref().map(threads)];
        let size = self.problem.iter().map(|(axis, value)| format!("{} = {}", name(axis_name(axis)), name(value)));
        who.into_iter().flatten().chain(size).collect::<Vec<_>>().join(", ")
    }
}

/// A curve and the points of it that have a ratio.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) variant: String,
    pub(super) curve: Series,
    pub(super) regime: Regime,
    /// By increasing value, one row each.
    pub(super) points: Vec<(f64, usize)>,
    total_ns: i64,
}

/// The curves of a family whose moving axis is wanted, and which have so many points at least.
pub(super) fn lines(source: &Source<'_>, axes: &[String], least: usize) -> PolarsResult<Vec<Line>> {
    let (rows, answers) = (&source.rows, source.answers);
    let (status, own, ratios) = (rows.texts("status")?, rows.flags("own_baseline")?, rows.doubles("strong_ratio")?);
    let (variants, medians) = (rows.texts("variant")?, rows.ints("median_ns")?);
    let has_ratio = |row: usize| {
        status.get(row) == Some("ok")
            && own.get(row) == Some(false)
            && ratios.get(row).is_some_and(|ratio| ratio > 0.0 && ratio.is_finite())
    };
    let mut all = Vec::new();
    for curve in source.curves.iter().filter(|curve| axes.contains(&curve.axis)).cloned() {
        let points: Vec<(f64, usize)> = curve.points.iter().copied().filter(|(_, row)| has_ratio(*row)).collect();
        if points.len() < least.max(2) {
            continue;
        }
        let variant = variants.get(points[0].1).unwrap_or_default().to_owned();
        let regime = regime(rows, answers, &curve.axis, &points)?;
        let total_ns = points.iter().filter_map(|(_, row)| medians.get(*row)).sum();
        all.push(Line { variant, curve, regime, points, total_ns });
    }
    Ok(all)
}

fn regime(rows: &DataFrame, answers: &Answers<'_>, axis: &str, points: &[(f64, usize)]) -> PolarsResult<Regime> {
    let first = points[0].1;
    let text = |column: &str| rows.shown(column, first).map(Option::unwrap_or_default);
    let values = |column: &str| -> PolarsResult<Option<String>> {
        if !rows.schema().contains(column) {
            return Ok(None);
        }
        let values = points.iter().map(|(_, row)| rows.shown(column, *row)).collect::<PolarsResult<BTreeSet<_>>>()?;
        let values: Vec<String> = values.into_iter().flatten().collect();
        Ok((!values.is_empty()).then(|| values.join(", ")))
    };
    let mut problem = Vec::new();
    let apart = [axis, PRECISION, THREADS];
    for size in answers.roles.problem.iter().filter(|size| !apart.contains(&size.as_str())) {
        // Those that follow the moving one have several values.
        let constant = points.iter().map(|(_, row)| rows.shown(size, *row)).collect::<PolarsResult<BTreeSet<_>>>()?;
        if let (1, Some(Some(value))) = (constant.len(), constant.first()) {
            problem.push((size.clone(), value.clone()));
        }
    }
    let who = (text("machine")?, rows.ints(RUN)?.get(first).unwrap_or(-1), text("engine")?);
    Ok(Regime::new(who, axis, (values(PRECISION)?, values(THREADS)?), problem))
}

/// The lines of the regime that is drawn, for every machine and moving axis; those with the most points first.
pub(super) fn busiest(lines: Vec<Line>, fastest: &BTreeMap<String, String>) -> Vec<(Regime, Vec<Line>)> {
    let mut places: BTreeMap<(String, String), BTreeMap<Regime, Vec<Line>>> = BTreeMap::new();
    for line in lines {
        let place = (line.regime.machine.clone(), line.regime.axis.clone());
        places.entry(place).or_default().entry(line.regime.clone()).or_default().push(line);
    }
    let rank = |(regime, lines): &(Regime, Vec<Line>)| {
        let points: usize = lines.iter().map(|line| line.points.len()).sum();
        let total: i64 = lines.iter().map(|line| line.total_ns).sum();
        (fastest.get(&regime.machine) == Some(&regime.engine), points, total)
    };
    let best = |regimes: BTreeMap<Regime, Vec<Line>>| regimes.into_iter().rev().max_by_key(rank);
    let mut best: Vec<(Regime, Vec<Line>)> = places.into_values().filter_map(best).collect();
    let points = |lines: &[Line]| lines.iter().map(|line| line.points.len()).sum::<usize>();
    // What tells the most comes first; stable, so that equal ones stay in the order of machines and axes.
    best.sort_by_key(|(_, lines)| std::cmp::Reverse(points(lines)));
    best
}

/// A variant's name without its family's, and what it was set to beyond the regime.
pub(super) fn label(line: &Line, answers: &Answers<'_>) -> String {
    let short = line.variant.split_once('/').map_or(line.variant.as_str(), |(_, short)| short);
    let said = |part: &&str| {
        let axis = part.split_once(" = ").map_or(*part, |(axis, _)| axis);
        [PRECISION, THREADS].into_iter().chain(answers.roles.problem.iter().map(String::as_str)).all(|known| axis_name(known) != axis)
    };
    let setting: Vec<&str> = line.curve.setting.split(", ").filter(|part| !part.is_empty()).filter(said).collect();
    if setting.is_empty() { name(short) } else { name(&format!("{short}, {}", setting.join(", "))) }
}
