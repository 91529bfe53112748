//! How long the rest will take: from what cells of like size took on this engine.
//!
//! Cells are put into buckets by engine and by the power of two of their predicted operations. A bucket in which cells have finished
//! is predicted by their mean; another by the nearest bucket that has some. Where it is larger than that, the time beside the samples
//! (preparing, verifying) is scaled by the operations; the samples are not, as they take what the budget gives them. No cell is
//! predicted above what its limits allow, and nothing is said before the first one has finished.

use std::collections::BTreeMap;
use std::time::Duration;

/// Which bucket a cell belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    engine: String,
    magnitude: u32,
}

impl Weight {
    /// Of a cell with so many predicted operations (0 where that is not known).
    pub fn new(engine: &str, flops: u64) -> Self {
        Self { engine: engine.to_owned(), magnitude: u64::BITS - flops.leading_zeros() }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    left: u64,
    done: u32,
    /// In the samples, and beside them.
    sampling: Duration,
    beside: Duration,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Estimate {
    buckets: BTreeMap<Weight, Bucket>,
    /// What one cell can take at most.
    ceiling: Duration,
}

impl Estimate {
    /// No cells yet; none will take longer than `ceiling`.
    pub fn new(ceiling: Duration) -> Self {
        Self { buckets: BTreeMap::new(), ceiling }
    }

    /// One more cell is to be run.
    pub fn expect(&mut self, weight: &Weight) {
        self.buckets.entry(weight.clone()).or_default().left += 1;
    }

    /// A cell has been run: the time it took, and how much of that was samples.
    pub fn finished(&mut self, weight: &Weight, took: Duration, sampling: Duration) {
        let bucket = self.buckets.entry(weight.clone()).or_default();
        bucket.left = bucket.left.saturating_sub(1);
        bucket.done += 1;
        bucket.sampling += sampling.min(took);
        bucket.beside += took.saturating_sub(sampling);
    }

    /// Time for all cells that are left.
    pub fn left(&self) -> Option<Duration> {
        self.buckets.values().find(|bucket| bucket.done > 0)?;
        let waiting = self.buckets.iter().filter(|(_, bucket)| bucket.left > 0);
        waiting.map(|(weight, bucket)| Some(self.one(weight)?.as_secs_f64() * bucket.left as f64)).sum::<Option<f64>>().map(seconds)
    }

    /// Time for one cell.
    pub fn one(&self, weight: &Weight) -> Option<Duration> {
        let known = self.buckets.iter().filter(|(_, bucket)| bucket.done > 0);
        // The same engine first, then the nearest size.
        let distance = |other: &Weight| (other.engine != weight.engine, other.magnitude.abs_diff(weight.magnitude));
        let (nearest, bucket) = known.min_by_key(|(other, _)| distance(other))?;
        let mean = |time: Duration| time.as_secs_f64() / f64::from(bucket.done);
        let (sampling, beside) = (mean(bucket.sampling), mean(bucket.beside));
        // Smaller cells are not taken for quicker: what they take is mostly fixed.
        let steps = weight.magnitude.saturating_sub(nearest.magnitude);
        let scaled = sampling + beside * 2f64.powi(steps as i32);
        Some(seconds(scaled.min(self.ceiling.as_secs_f64().max(sampling + beside))))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_claimed_before_something_is_known() {
        let mut estimate = Estimate::new(100 * SECOND);
        estimate.expect(&Weight::new("a", 10));
        assert_eq!(estimate.left(), None);
    }

    #[test]
    fn like_cells_are_taken_to_take_alike() {
        let mut estimate = Estimate::new(100 * SECOND);
        let weight = Weight::new("a", 1000);
        (0..10).for_each(|_| estimate.expect(&weight));
        estimate.finished(&weight, SECOND, SECOND / 2);
        estimate.finished(&weight, 3 * SECOND, SECOND);
        assert_eq!(estimate.left(), Some(16 * SECOND));
    }

    #[test]
    fn larger_cells_are_scaled_up_to_the_ceiling() {
        let mut estimate = Estimate::new(20 * SECOND);
        estimate.finished(&Weight::new("a", 1 << 10), 2 * SECOND, SECOND);
        assert_eq!(estimate.one(&Weight::new("a", 1 << 13)), Some(9 * SECOND), "one of samples, eight beside");
        assert_eq!(estimate.one(&Weight::new("a", 1 << 40)), Some(20 * SECOND));
        assert_eq!(estimate.one(&Weight::new("a", 1)), Some(2 * SECOND));
        // Its own engine says more than a nearer size on another one.
        estimate.finished(&Weight::new("b", 1 << 13), 50 * SECOND, SECOND);
        assert_eq!(estimate.one(&Weight::new("a", 1 << 13)), Some(9 * SECOND));
        assert_eq!(estimate.one(&Weight::new("b", 1 << 13)), Some(50 * SECOND));
    }

    #[test]
    fn at_the_end_nothing_is_left() {
        let mut estimate = Estimate::new(SECOND);
        estimate.finished(&Weight::new("a", 1), SECOND, SECOND);
        assert_eq!(estimate.left(), Some(Duration::ZERO));
    }
}
