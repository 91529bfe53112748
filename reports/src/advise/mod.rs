//! `crossover advise`: what to use at a size, by what was measured on this machine.
//!
//! `sources` chooses the runs → `points` reads their cells → `candidates` finds those that answer the question, measured or interpolated →
//! this module ranks them within the limits → `show` and `json` tell it.
//!
//! # What answers a question
//!
//! A question fixes sizes: the length `n` (of a cell that has none, `n_kv`), `heads` and `head_dim` (`d_model / heads`), or `d_model` (of linear layers, `d_in` and
//! `d_out`), whichever of these a variant has. A cell that was measured at exactly these sizes answers it. So does a point between two
//! measured ones of the same curve (see [`crate::frames::series`]): time, declared bytes and error are linear in the logarithms between neighbours of one run.
//! Only one size may be between, and the other axes must be those of both neighbours, or the same share of that size in both; so the point
//! is a cell that can be run, and the command to check it is printed.
//!
//! Nothing is extrapolated. Where a question lies outside of all that was measured, the nearest measured sizes are listed as what they are. A name that
//! nothing has is refused (`known`).
//!
//! Where no limit of the error is given, what errs more than [`crate::frames::unprofitable::WRONG`] is marked and ranked behind all that does not: being
//! fast and wrong is no merit.
//!
//! Only what solves the same problem is ranked together: the task (causal attention is another one than full attention) and every axis of the problem
//! that the question leaves open make sections of their own. Of a cell that several runs measured, the newest record counts and no other, and
//! that only with the status `ok`.
//!
//! An error is marked where it is the distance from a function that the cell's declared baseline does not compute (see [`crate::frames::strong`]). A limit
//! of the error says nothing of such a cell, so with one it is left out and counted.
//!
//! What this trades away: between two lengths a kernel may change its ways (a cache that overflows, a block that no longer fits), which a straight line does not see.
//! An interpolated figure has its neighbours beside it, and no interval.

mod candidates;
mod command_line;
mod json;
mod known;
mod points;
mod question;
mod show;
mod sources;

pub(crate) use json::json;
pub(crate) use question::Question;
pub(crate) use show::document;
pub(crate) use sources::{Kind, Sources, find};

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::IntoLazy;

use crate::error::{ReportError, Result};
use crate::frames::baseline::with_baseline;
use crate::frames::order::axis_roles;
use crate::frames::speed::speed;
use crate::frames::strong::with_strong;
use crate::reservations::{self, Remark};
use crate::runs::Run;
use crate::scan;
use candidates::{Candidate, candidates};
use points::{Found, Point, points};

/// Candidates that miss a limit and are told of, in each section.
const MISSES: usize = 3;

/// The whole answer.
pub(crate) struct Advice<'a> {
    pub(crate) question: &'a Question,
    pub(crate) runs: &'a [Run],
    pub(crate) sections: Vec<Section>,
    /// By task the measured sizes nearest to the question, where no section has an answer: within the limits, in the order of ranking.
    pub(crate) nearest: Vec<(String, Vec<Point>)>,
    /// Measured cells that are beyond a limit, where no section has an answer.
    pub(crate) beyond: usize,
    /// What is wrong with a name of the question, where nothing of it was measured.
    pub(crate) unknown: Option<String>,
    /// What to know of the runs, with their places.
    pub(crate) remarks: Vec<(usize, Remark)>,
    /// Cells of the kind that is asked for, with the status `ok` and a time.
    pub(crate) measured: usize,
    /// Such cells that are emulated, and so left out.
    pub(crate) emulated: usize,
    /// Cells left out since their error is no distance from the baseline's function, and so nothing to hold against a limit.
    pub(crate) own_function: usize,
    /// Combinations of variant, engine, precision and threads that were measured, but not around this size.
    pub(crate) elsewhere: usize,
}

/// Candidates that solve one problem.
pub(crate) struct Section {
    pub(crate) task: String,
    /// Axes of the problem that the question leaves open.
    pub(crate) open: Vec<(String, String)>,
    /// Within the limits, fastest first; without a limit of the error, what is far off comes behind all that is not.
    pub(crate) ranked: Vec<Candidate>,
    /// Beyond a limit and faster than the first within: the closest to the limit first.
    pub(crate) misses: Vec<Candidate>,
    /// All that are beyond a limit.
    pub(crate) beyond: usize,
}

/// Answers the question from runs of one machine.
pub(crate) fn advise<'a>(question: &'a Question, runs: &'a [Run]) -> Result<Advice<'a>> {
    let machines: BTreeSet<&str> = runs.iter().map(|run| run.manifest.machine.fingerprint.as_str()).collect();
    if machines.len() > 1 {
        let all = machines.into_iter().collect::<Vec<_>>().join(" and ");
        return Err(ReportError::Question(format!("the runs are of different machines ({all}): name those of one with --runs")));
    }
    let cells = scan::collect(runs)?;
    let mut remarks = Vec::new();
    for place in 0..runs.len() {
        remarks.extend(reservations::of_run(runs, &cells, place)?.into_iter().map(|remark| (place, remark)));
    }
    let unknown = known::unknown(question, runs, &cells)?;
    let roles = axis_roles(&cells.clone().lazy())?;
    let cells = with_strong(speed(with_baseline(cells.lazy())?))?.collect()?;
    let Found { points: all, emulated, own_function } = points(&cells, question)?;
    let found = candidates(&cells, &roles, &all, question)?;
    let told: BTreeSet<_> = found.iter().map(|candidate| candidate.point.kind()).collect();
    let elsewhere = all.iter().map(Point::kind).filter(|kind| !told.contains(kind)).collect::<BTreeSet<_>>().len();
    let (within, others): (Vec<Point>, Vec<Point>) = all.iter().cloned().partition(|point| question.excess(point) <= 1.0);
    let (nearest, beyond) = if found.is_empty() { (nearest(&within, question), others.len()) } else { (Vec::new(), 0) };
    let mut sections: BTreeMap<_, Vec<Candidate>> = BTreeMap::new();
    for candidate in found {
        sections.entry((candidate.point.task.clone(), candidate.point.open_axes(question))).or_default().push(candidate);
    }
    let mut sections: Vec<Section> = sections.into_iter().map(|((task, open), all)| section(task, open, all, question)).collect();
    sections.sort_by_key(|section| std::cmp::Reverse(section.ranked.len() + section.beyond));
    let unknown = unknown.filter(|_| all.is_empty());
    Ok(Advice { question, runs, sections, nearest, beyond, unknown, remarks, measured: all.len(), emulated, own_function, elsewhere })
}

fn section(task: String, open: Vec<(String, String)>, mut all: Vec<Candidate>, question: &Question) -> Section {
    all.sort_by(|one, other| order(&one.point, &other.point, question));
    let (ranked, others): (Vec<Candidate>, Vec<Candidate>) =
        all.into_iter().partition(|candidate| question.excess(&candidate.point) <= 1.0);
    let beyond = others.len();
    let fastest = ranked.iter().map(|candidate| candidate.point.ns).reduce(f64::min).unwrap_or(f64::INFINITY);
    let mut misses: Vec<Candidate> = others.into_iter().filter(|candidate| candidate.point.ns < fastest).collect();
    misses.sort_by(|one, other| question.excess(&one.point).total_cmp(&question.excess(&other.point)));
    misses.truncate(MISSES);
    Section { task, open, ranked, misses, beyond }
}

/// Fastest first. Somebody who gives no limit of the error has not said that any will do: what is far off comes last.
fn order(one: &Point, other: &Point, question: &Question) -> Ordering {
    let last = |point: &Point| question.is_far_off(point);
    last(one).cmp(&last(other)).then(one.ns.total_cmp(&other.ns)).then_with(|| one.cell().cmp(&other.cell()))
}

/// Of every task all points at the sizes that are nearest to those asked for, as the sum of the logarithms of their ratios; tasks with most
/// of them first. A task whose sizes are no numbers is at no distance, and left out.
fn nearest(all: &[Point], question: &Question) -> Vec<(String, Vec<Point>)> {
    let distance = |point: &Point| -> f64 {
        let sizes = question.sizes(&point.axes);
        sizes.iter().map(|(axis, wanted)| (point.number(axis).unwrap_or(f64::NAN) / *wanted as f64).ln().abs()).sum()
    };
    let mut tasks: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    all.iter().for_each(|point| tasks.entry(&point.task).or_default().push(point.clone()));
    for points in tasks.values_mut() {
        let least = points.iter().map(distance).fold(f64::INFINITY, f64::min);
        points.retain(|point| least.is_finite() && distance(point) <= least * (1.0 + 1e-9));
        points.sort_by(|one, other| order(one, other, question));
    }
    let tasks = tasks.into_iter().filter(|(_, points)| !points.is_empty());
    let mut tasks: Vec<(String, Vec<Point>)> = tasks.map(|(task, points)| (task.to_owned(), points)).collect();
    tasks.sort_by_key(|(_, points)| std::cmp::Reverse(points.len()));
    tasks
}
