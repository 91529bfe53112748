//! Median, percentile, and the confidence interval of the median.
//!
//! The interval is the bootstrap's percentile interval, but without resampling: the bootstrap distribution of a sample median is
//! known in closed form (Efron 1979, section 3; Maritz and Jarrett 1978). The median of a resample of n = 2m - 1 values is at
//! most the k-th smallest sample exactly when at least m of the n draws are among the k smallest, so
//!
//! ```text
//! P(median* <= x(k)) = P(Bin(n, k/n) >= m)
//! ```
//!
//! It costs no random numbers, has no noise of its own, and is the limit of infinitely many resamples.
//!
//! Simplification for even n = 2m: the median of a resample is the mean of its m-th and (m+1)-th value. The lower end is taken from
//! the distribution of the m-th and the upper end from that of the (m+1)-th, so the interval can only be a little too wide.
//!
//! What this trades away: the samples are taken for independent. Samples of one process in a row are not quite, and stopping as
//! soon as the interval is narrow enough makes it a little too narrow (the interval is looked at after each round). The process
//! launch stays the unit of evidence where two builds are compared.

/// The level of the interval.
const LEVEL: f64 = 0.95;
/// Below this many samples an interval says nothing: even the whole range of five covers the median with 94 % only.
pub const FEWEST_FOR_AN_INTERVAL: usize = 6;

/// The figures of one set of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many values.
    pub count: usize,
    /// The middle value; of an even number of values the mean of the two in the middle.
    pub median: f64,
    /// Lower end of the 95 % interval of the median.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// The smallest value.
    pub min: f64,
    /// 95th percentile, by nearest rank.
    pub p95: f64,
}

impl Summary {
    /// Of these values; none where there are none. The values are finite.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let count = sorted.len();
        let (&min, _) = sorted.split_first()?;
        let (low, high) = interval_ranks(count);
        Some(Self {
            count,
            median: f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]),
            low: sorted[low - 1],
            high: sorted[high - 1],
            min,
            p95: sorted[nearest_rank(count, 95) - 1],
        })
    }

    /// The 95 % interval of the median; none where there are too few samples for one.
    pub fn interval(&self) -> Option<(f64, f64)> {
        (self.count >= FEWEST_FOR_AN_INTERVAL).then_some((self.low, self.high))
    }

    /// Half the interval's width over the median.
    pub fn relative_half_width(&self) -> Option<f64> {
        let (low, high) = self.interval()?;
        let half = (high - low) / 2.0;
        // All samples alike is as narrow as it gets, also where the clock saw nothing at all.
        Some(if half == 0.0 { 0.0 } else { half / self.median })
    }
}

/// The rank (from 1) of the p-th percentile by nearest rank.
fn nearest_rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100).max(1)
}

/// The ranks (from 1) of the interval's ends.
fn interval_ranks(count: usize) -> (usize, usize) {
    let tail = (1.0 - LEVEL) / 2.0;
    let (lower_median, upper_median) = (count.div_ceil(2), count / 2 + 1);
    (quantile_rank(count, lower_median, tail), quantile_rank(count, upper_median, 1.0 - tail))
}

/// The smallest rank k at which the bootstrap distribution of the `order`-th value reaches `probability`.
fn quantile_rank(count: usize, order: usize, probability: f64) -> usize {
    // The distribution grows with k, and reaches 1 at k = n.
    let (mut below, mut reached) = (0, count);
    while reached - below > 1 {
        let middle = below + (reached - below) / 2;
        if binomial_at_least(count, middle as f64 / count as f64, order) >= probability {
            reached = middle;
        } else {
            below = middle;
        }
    }
    reached
}

/// P(Bin(n, p) >= j) for 0 < p < 1 and 1 <= j <= n.
fn binomial_at_least(n: usize, p: f64, j: usize) -> f64 {
    // Sum the side on which the terms fall off from the first on: none is then lost beside larger ones.
    if j as f64 > n as f64 * p {
        let ratios = (j + 1..=n).map(|k| (n - k + 1) as f64 / k as f64 * p / (1.0 - p));
        falling_sum(binomial_term(n, p, j), ratios)
    } else {
        let ratios = (0..j - 1).rev().map(|k| (k + 1) as f64 / (n - k) as f64 * (1.0 - p) / p);
        1.0 - falling_sum(binomial_term(n, p, j - 1), ratios)
    }
}

/// The first term and those that follow from it, until they no longer count.
fn falling_sum(first: f64, ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut term, mut sum) = (first, first);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}

/// P(Bin(n, p) = k) for 0 < p < 1.
fn binomial_term(n: usize, p: f64, k: usize) -> f64 {
    let choose = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    (choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp()
}

/// ln(n!): a product for small n, Stirling's series (absolute error below 1e-13) for the others.
fn ln_factorial(n: usize) -> f64 {
    if n < 16 {
        return (2..=n).map(|k| k as f64).product::<f64>().ln();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5)) - 1.0 / (1680.0 * x.powi(7));
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + series
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
