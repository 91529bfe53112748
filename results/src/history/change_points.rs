//! Where a series of noisy figures changed: E-divisive (Matteson and James 2014, "A nonparametric approach for multiple change point analysis of
//! multivariate data", JASA 109), which MongoDB's performance tests go by (Daly et al. 2020, "The use of change point detection to identify software
//! performance regressions in a continuous integration system", ICPE).
//!
//! # How
//!
//! Of two neighbouring stretches A (m points) and B (k points) the *energy* is, with distances as they are (the paper's exponent 1),
//!
//! ```text
//! Q = mk/(m+k) * ( 2 mean|a - b| - mean|a - a'| - mean|b - b'| )
//! ```
//!
//! It is near zero where both come from one distribution, whatever that is, and grows with any difference between them. The split is sought
//! over all places of the border *and of the end of B*, so that a regression which was put right later is not hidden by the quiet after it.
//! Whether the best split is more than chance is asked of the points in random orders: p is the share of orders, the observed one among
//! them, whose best split is as good. Where it is at most [`Search::level`], the stretch is cut there and both parts are searched likewise.
//!
//! # What is sure, and what is not
//!
//! * A series that did not change is said to have changed with a probability of at most [`Search::level`], *whatever the distribution of its noise*, as
//!   long as any order of its points was equally likely. Drift and noise that hangs together over days break that: then it is one more finding
//!   about the machine.
//! * Every further cut within a part has the same level again: it bounds each answer, and not their number.
//! * A split leaves at least [`Search::shortest`] points on either side, so a change is seen that many commits after it was made, and single outliers are none.
//! * The place is an estimate: a change of three standard deviations is found at its place or a neighbour's, a smaller one somewhere about it.
//!
//! The paper cuts the best of all parts first, and tests it with orders within all parts at once; here each part is tested by itself, which
//! finds the same cuts and needs fewer orders. These are drawn from a seed, so the same series has the same answer for ever.
//!
//! The search takes time as n² and memory as n: two million steps for 2,000 points, some milliseconds for each order of them.

use std::fmt;

/// Ties that differ in the last digits only are ties.
const TIED: f64 = 1e-9;
/// Orders that are drawn at least, where the series may turn out to have changed.
const FEWEST_ORDERS: f64 = 999.0;

/// How it is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Probability with which a series without a change may be said to have one.
    pub level: f64,
    /// Points on either side of a change at least; not below 2.
    pub shortest: usize,
    /// Decides the orders that are drawn.
    pub seed: u64,
}

/// A border between two stretches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// The first point of the later stretch.
    pub at: usize,
    /// Probability of so good a split by chance.
    pub p: f64,
}

/// A figure that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// Its place in the series.
    pub at: usize,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "figure {} of the series is not finite", self.at + 1)
    }
}

impl std::error::Error for NotFinite {}

/// The changes of a series, in its order.
///
/// # Errors
/// When a figure is not finite: it has no distance from the others.
pub fn change_points(series: &[f64], search: &Search) -> Result<Vec<ChangePoint>, NotFinite> {
    if let Some(at) = series.iter().position(|figure| !figure.is_finite()) {
        return Err(NotFinite { at });
    }
    let shortest = search.shortest.max(2);
    let mut random = Random(search.seed);
    let mut sums = Sums::default();
    let mut found = Vec::new();
    let mut waiting = vec![(0, series.len())];
    while let Some((from, to)) = waiting.pop() {
        if let Some(change) = significant(&series[from..to], shortest, search.level, &mut random, &mut sums) {
            let at = from + change.at;
            found.push(ChangePoint { at, ..change });
            waiting.extend([(at, to), (from, at)]);
        }
    }
    found.sort_by_key(|change| change.at);
    Ok(found)
}

/// The best split of a stretch, where it is better than chance.
fn significant(stretch: &[f64], shortest: usize, level: f64, random: &mut Random, sums: &mut Sums) -> Option<ChangePoint> {
    let (observed, at) = sums.best_split(stretch, shortest)?;
    // Twice as many as the level needs, so that it can be reached with one order as good as the observed one.
    let orders = FEWEST_ORDERS.max((2.0 / level).ceil() - 1.0);
    let allowed = level * (orders + 1.0) - 1.0;
    let mut shuffled = stretch.to_vec();
    let mut as_good = 0.0;
    for _ in 0..orders as u64 {
        random.shuffle(&mut shuffled);
        let best = sums.best_split(&shuffled, shortest).map_or(0.0, |(best, _)| best);
        as_good += f64::from(u8::from(best >= observed - TIED * observed.abs()));
        // However the others come out, it is no change: most series end here after a few orders.
        if as_good > allowed {
            return None;
        }
    }
    Some(ChangePoint { at, p: (1.0 + as_good) / (1.0 + orders) })
}

/// Sums of distances, kept from order to order for their memory.
#[derive(Debug, Default)]
struct Sums {
    /// Of all pairs before each point.
    within: Vec<f64>,
    /// Of all pairs across each border, up to the end that is looked at.
    across: Vec<f64>,
    /// 1/i.
    inverse: Vec<f64>,
}

impl Sums {
    /// The largest energy and its border; none where there is no room for a split.
    fn best_split(&mut self, points: &[f64], shortest: usize) -> Option<(f64, usize)> {
        let n = points.len();
        if n < 2 * shortest {
            return None;
        }
        self.within.clear();
        self.within.resize(n + 1, 0.0);
        self.across.clear();
        self.across.resize(n, 0.0);
        if self.inverse.len() <= n {
            self.inverse = (0..=n).map(|i| 1.0 / i as f64).collect();
        }
        let mut best = (f64::NEG_INFINITY, 0);
        for (last, point) in points.iter().enumerate() {
            // Distances from the new end to everything before each border.
            let mut so_far = 0.0;
            for (across, other) in self.across[..=last].iter_mut().zip(points) {
                *across += so_far;
                so_far += (point - other).abs();
            }
            self.within[last + 1] = self.within[last] + so_far;
            let end = last + 1;
            for border in shortest..(end + 1).saturating_sub(shortest) {
                let energy = self.energy(border, end);
                if energy > best.0 {
                    best = (energy, border);
                }
            }
        }
        Some(best)
    }

    /// Of the stretches before and after the border, up to the end.
    fn energy(&self, border: usize, end: usize) -> f64 {
        let (m, k) = (border, end - border);
        let (before, across) = (self.within[border], self.across[border]);
        let after = self.within[end] - before - across;
        let apart = across - before * k as f64 * self.inverse[m - 1] - after * m as f64 * self.inverse[k - 1];
        2.0 * self.inverse[end] * apart
    }
}

#[cfg(test)]
pub(super) fn best_split(points: &[f64], shortest: usize) -> Option<(f64, usize)> {
    Sums::default().best_split(points, shortest)
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same for ever.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`. What the remainder favours is far below what any order could show.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Fisher and Yates.
    fn shuffle(&mut self, points: &mut [f64]) {
        for last in (1..points.len()).rev() {
            points.swap(last, self.below(last + 1));
        }
    }
}
