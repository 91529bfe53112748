//! Where the series of a history changed.
//!
//! Times have noise: their logarithms are searched by [`super::change_points`], together with an error of [`LEVEL`] at most over all series of one
//! machine (each has its share of it, as Bonferroni has it). What no clock goes into has none: every figure that is not the one before is a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::change_points::{Search, change_points};
use super::{Key, Line, Metric, Place};

/// The probability that any series of times of a machine is said to have changed where none did.
pub const LEVEL: f64 = 0.05;
/// Points on either side of a change of times.
const SHORTEST: usize = 5;
/// The newest points that are searched: nearly three years of nights, and seconds of work.
const LONGEST: usize = 1000;

/// What a history says.
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    /// Of each machine and experiment, the one that was recorded last first.
    pub machines: Vec<MachineTrend>,
}

/// The series of one machine, which are never put together with those of others.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineTrend {
    /// The machine, and the experiment.
    pub place: Place,
    /// Commits that were recorded.
    pub commits: usize,
    /// Runs that were recorded: a commit may have several.
    pub runs: usize,
    /// The first commit's time (Unix time, seconds), and the last one's.
    pub span: (u64, u64),
    /// Its series, in the order of their keys.
    pub series: Vec<SeriesTrend>,
    /// Series of times that are long enough to be searched.
    pub searched: usize,
    /// The share of [`LEVEL`] that each of these has.
    pub level: f64,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesTrend {
    /// What its lines have in common.
    pub key: Key,
    /// Its lines, in the order of commits.
    pub points: Vec<Line>,
    /// Its changes, in the same order.
    pub changes: Vec<Change>,
    /// False of times with fewer points than two stretches need: nothing can be said of them.
    pub is_long_enough: bool,
    /// False where the newest run has nothing of it: the cell failed, or is gone.
    pub is_current: bool,
}

/// A change of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// The first point that is other than those before it.
    pub at: usize,
    /// The median of the points before, back to the change before that.
    pub before: f64,
    /// The median from there on, up to the next change.
    pub after: f64,
    /// Probability of such a split by chance; none of exact figures.
    pub p: Option<f64>,
}

impl Change {
    /// By how much; none where there was nothing before.
    pub fn ratio(&self) -> Option<f64> {
        (self.before > 0.0).then(|| self.after / self.before)
    }

    /// More is worse in every metric.
    pub fn is_worse(&self) -> bool {
        self.after > self.before
    }
}

impl MachineTrend {
    /// Every change with its series, those of the newest commits first, of these the largest.
    pub fn changes(&self) -> Vec<(&SeriesTrend, &Change)> {
        let mut all: Vec<_> = self.series.iter().flat_map(|series| series.changes.iter().map(move |change| (series, change))).collect();
        let size = |change: &Change| change.ratio().map_or(f64::INFINITY, |ratio| ratio.ln().abs());
        let when = |series: &SeriesTrend, change: &Change| series.points.get(change.at).map_or((0, 0), order);
        all.sort_by(|(one, a), (other, b)| when(other, b).cmp(&when(one, a)).then(size(b).total_cmp(&size(a))));
        all
    }
}

/// By what points of a series are sorted.
fn order(line: &Line) -> (u64, u64) {
    (line.commit_unix_s, line.run_unix_ms)
}

/// Searches all series of a history.
pub fn trend(lines: &[Line]) -> Trend {
    let mut places: BTreeMap<&Place, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        places.entry(&line.key.place).or_default().push(line);
    }
    let mut machines: Vec<MachineTrend> = places.into_iter().map(|(place, lines)| of_machine(place, &lines)).collect();
    machines.sort_by_key(|machine| std::cmp::Reverse(machine.span.1));
    Trend { machines }
}

fn of_machine(place: &Place, lines: &[&Line]) -> MachineTrend {
    let mut keys: BTreeMap<&Key, Vec<Line>> = BTreeMap::new();
    for line in lines {
        keys.entry(&line.key).or_default().push((*line).clone());
    }
    let newest = lines.iter().map(|line| order(line)).max().unwrap_or_default();
    let mut series: Vec<SeriesTrend> = keys.into_iter().map(|(key, points)| unsearched(key, points, newest)).collect();
    let searched = series.iter().filter(|series| series.key.metric.is_timed() && series.is_long_enough).count();
    let level = LEVEL / searched.max(1) as f64;
    let found = in_parallel(&series, |series| changes(series, level));
    for (series, changes) in series.iter_mut().zip(found) {
        series.changes = changes;
    }
    let count = |of: &dyn Fn(&Line) -> (u64, String)| lines.iter().map(|line| of(line)).collect::<BTreeSet<_>>().len();
    let times = || lines.iter().map(|line| line.commit_unix_s);
    MachineTrend {
        place: place.clone(),
        commits: count(&|line| (0, line.commit.clone())),
        runs: count(&|line| (line.run_unix_ms, String::new())),
        span: (times().min().unwrap_or(0), times().max().unwrap_or(0)),
        series,
        searched,
        level,
    }
}

fn unsearched(key: &Key, mut points: Vec<Line>, newest: (u64, u64)) -> SeriesTrend {
    points.sort_by_key(order);
    let is_long_enough = points.len() >= if key.metric.is_timed() { 2 * SHORTEST } else { 2 };
    let is_current = points.last().is_some_and(|last| order(last) == newest);
    SeriesTrend { key: key.clone(), points, changes: Vec::new(), is_long_enough, is_current }
}

/// Each by one of as many threads as there are processors: a search takes up to seconds, and knows nothing of the others.
fn in_parallel<T: Send>(series: &[SeriesTrend], of: impl Fn(&SeriesTrend) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(series.len()));
    let work = || {
        while let Some((at, series)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, series.get(at)?))) {
            let result = of(series);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, std::num::NonZero::get).min(series.len()) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn changes(series: &SeriesTrend, level: f64) -> Vec<Change> {
    if series.key.metric == Metric::TimeRatio { timed(series, level) } else { exact(series) }
}

fn timed(series: &SeriesTrend, level: f64) -> Vec<Change> {
    if !series.is_long_enough {
        return Vec::new();
    }
    let skipped = series.points.len().saturating_sub(LONGEST);
    let logs: Vec<f64> = series.points.iter().skip(skipped).map(|point| point.value.ln()).collect();
    // A history's figures are finite, and its ratios above zero: the reader and the writer see to it.
    let found = change_points(&logs, &Search { level, shortest: SHORTEST, seed: 1 }).unwrap_or_default();
    let ends: Vec<usize> = found.iter().map(|change| change.at).collect();
    let of = |place: usize| {
        let from = place.checked_sub(1).map_or(0, |before| ends[before]);
        median(&logs[from..ends.get(place).copied().unwrap_or(logs.len())]).exp()
    };
    let change = |(place, change): (usize, &super::ChangePoint)| Change {
        at: skipped + change.at,
        before: of(place),
        after: of(place + 1),
        p: Some(change.p),
    };
    found.iter().enumerate().map(change).collect()
}

fn exact(series: &SeriesTrend) -> Vec<Change> {
    let pairs = series.points.windows(2).enumerate().filter(|(_, pair)| pair[0].value != pair[1].value);
    pairs.map(|(place, pair)| Change { at: place + 1, before: pair[0].value, after: pair[1].value, p: None }).collect()
}

/// Of at least one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}
