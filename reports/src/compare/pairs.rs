//! Cells that both runs measured: ratio, interval, verdict.

use crossover_results::schema::Status;
use polars::prelude::*;

use crate::columns::Typed;
use crossover_results::statistics::{Estimate, holm};

/// The error that all verdicts of a comparison have together, at most.
pub(crate) const LEVEL: f64 = 0.05;

/// Two rows of one cell, both with the status `ok` and a time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) a: usize,
    pub(crate) b: usize,
    /// Time of B over that of A.
    pub(crate) ratio: f64,
    /// The 95 % interval of this one ratio; none where one of the medians has none (below six samples).
    pub(crate) interval: Option<(f64, f64)>,
    /// Probability of such a ratio by chance, corrected for the number of cells.
    pub(crate) p: Option<f64>,
    /// The same ratio with each time divided by that of the baseline in the same rounds.
    pub(crate) beside: Option<Beside>,
    pub(crate) verdict: Verdict,
}

/// A ratio of ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Beside {
    pub(crate) ratio: f64,
    pub(crate) interval: Option<(f64, f64)>,
}

/// See [`crate::compare`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Slower,
    Faster,
    Apart,
    Noise,
    NotShown,
}

impl Verdict {
    pub(crate) const ALL: [Self; 5] = [Self::Faster, Self::Slower, Self::Apart, Self::Noise, Self::NotShown];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::Apart => "apart",
            Self::Noise => "noise",
            Self::NotShown => "not-shown",
        }
    }
}

/// All pairs with two times, the largest changes first: those that something is claimed of before the others.
pub(super) fn pairs(cells: &DataFrame, both: &[(usize, usize)], floor: f64) -> PolarsResult<Vec<Pair>> {
    let times = Times::of(cells)?;
    let mut pairs: Vec<Pair> = both.iter().filter_map(|(a, b)| times.pair(*a, *b)).collect();
    let tested: Vec<f64> = pairs.iter().filter_map(|pair| pair.p).collect();
    let mut corrected = holm(&tested).into_iter();
    for pair in &mut pairs {
        pair.p = pair.p.and_then(|_| corrected.next());
        pair.verdict = verdict(pair, floor);
    }
    // Faster and slower are one rank: what counts is by how much.
    let rank = |pair: &Pair| pair.verdict.max(Verdict::Faster);
    pairs.sort_by(|one, other| {
        let by_size = other.ratio.ln().abs().total_cmp(&one.ratio.ln().abs());
        rank(one).cmp(&rank(other)).then(by_size).then(one.a.cmp(&other.a))
    });
    Ok(pairs)
}

fn verdict(pair: &Pair, floor: f64) -> Verdict {
    let is_beyond = |ratio: f64| ratio > 1.0 + floor || ratio < 1.0 / (1.0 + floor);
    if pair.p.is_none_or(|p| p >= LEVEL) {
        return Verdict::NotShown;
    }
    if !is_beyond(pair.ratio) {
        return Verdict::Noise;
    }
    let is_slower = pair.ratio > 1.0;
    let bears_out = |beside: Beside| {
        let is_shown = beside.interval.is_some_and(|(low, high)| low > 1.0 || high < 1.0);
        is_shown && is_beyond(beside.ratio) && (beside.ratio > 1.0) == is_slower
    };
    match pair.beside {
        Some(beside) if !bears_out(beside) => Verdict::Apart,
        _ if is_slower => Verdict::Slower,
        _ => Verdict::Faster,
    }
}

/// The columns that times come from.
struct Times<'a> {
    status: &'a StringChunked,
    own: [&'a Int64Chunked; 3],
    beside_id: &'a StringChunked,
    beside: [&'a Int64Chunked; 3],
}

/// By how much a figure of a record may be off that is a whole number of nanoseconds.
const ROUNDED: f64 = 0.5;

/// A median with its interval, where it has one.
#[derive(Debug, Clone, Copy)]
struct Median {
    figure: f64,
    estimate: Option<Estimate>,
}

impl<'a> Times<'a> {
    fn of(cells: &'a DataFrame) -> PolarsResult<Self> {
        let ints = |name: &str| cells.ints(name);
        Ok(Self {
            status: cells.texts("status")?,
            own: [ints("median_ns")?, ints("ci_low_ns")?, ints("ci_high_ns")?],
            beside_id: cells.texts("beside_id")?,
            beside: [ints("beside_median_ns")?, ints("beside_ci_low_ns")?, ints("beside_ci_high_ns")?],
        })
    }

    fn pair(&self, a: usize, b: usize) -> Option<Pair> {
        // Unchecked in both is as good as checked in both for a ratio of times; what was checked in one alone is not compared.
        let status = self.status.get(a)?;
        if ![Status::Ok.name(), Status::Unchecked.name()].contains(&status) || self.status.get(b) != Some(status) {
            return None;
        }
        let (own_a, own_b) = (median(&self.own, a)?, median(&self.own, b)?);
        let (ratio, estimate) = quotient(own_b, own_a);
        Some(Pair {
            a,
            b,
            ratio,
            interval: estimate.map(Estimate::interval),
            p: estimate.map(Estimate::p_value),
            beside: self.beside(a, b, own_a, own_b),
            verdict: Verdict::NotShown,
        })
    }

    fn beside(&self, a: usize, b: usize, own_a: Median, own_b: Median) -> Option<Beside> {
        if self.beside_id.get(a)? != self.beside_id.get(b)? {
            return None;
        }
        let over = |own: Median, row: usize| {
            let baseline = median(&self.beside, row)?;
            let (figure, estimate) = quotient(own, baseline);
            Some(Median { figure, estimate })
        };
        // A cell and its baseline in the same rounds rise and fall together, so this interval is rather too wide than too narrow.
        let (ratio, estimate) = quotient(over(own_b, b)?, over(own_a, a)?);
        Some(Beside { ratio, interval: estimate.map(Estimate::interval) })
    }
}

fn quotient(upper: Median, lower: Median) -> (f64, Option<Estimate>) {
    let estimate = upper.estimate.zip(lower.estimate).map(|(upper, lower)| upper.over(lower));
    (upper.figure / lower.figure, estimate)
}

/// None where there is no time, or one that the clock was too coarse for.
fn median(columns: &[&Int64Chunked; 3], row: usize) -> Option<Median> {
    let [figure, low, high] = columns.map(|column| column.get(row).map(|ns| ns as f64));
    let figure = figure.filter(|figure| *figure > 0.0)?;
    // Records have whole nanoseconds. Of a call of two of them that is most of the figure, and an interval from 2 to 2 knows nothing as well as it says.
    let wide = low.zip(high).map(|(low, high)| (low - ROUNDED, high + ROUNDED));
    Some(Median { figure, estimate: wide.and_then(|(low, high)| Estimate::of(figure, low, high)) })
}
