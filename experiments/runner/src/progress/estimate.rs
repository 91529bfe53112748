//! How long cells will take: predicted by the cost model from the start, corrected by what cells of like size took on this engine.
//!
//! The prediction of a cell has two parts: its samples, which take the time that the budget gives them, and what is beside them (starting
//! two workers, drawing inputs, verifying, warming up). Cells are put into buckets by engine and by the power of two of their predicted
//! operations. A bucket in which cells have finished multiplies the parts by what it has seen of them over what was predicted; another
//! takes the factors of the nearest bucket that has seen some. No cell is predicted above what its limits allow.
//!
//! The constants are rough figures of a 2-core virtual machine; they only have to be right until the first cells have finished.

use std::collections::BTreeMap;
use std::time::Duration;

use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::registry::{self, Entry};
use crossover_variants::resolve::resolve;

use crate::definition::Measure;

use super::rough;

/// Starting and ending two workers, with all that does not depend on sizes.
const START: f64 = 0.09;
/// Drawing, rounding and checking, for each element of the inputs, in both workers.
const ELEMENT: f64 = 180e-9;
/// Calls beside the samples: two for memory, one to verify, two or three to warm up.
const CALLS_BESIDE: f64 = 6.0;
/// Operations in a second of one thread, of an engine of plain loops and of any other.
const PLAIN_LOOPS: f64 = 4e9;
const OTHERS: f64 = 3e10;
/// Calls with fewer operations say little about how fast an engine is.
const TELLING: u64 = 1 << 20;
/// How much faster than ever seen an engine is taken to be before a cell is called hopeless.
const BENEFIT_OF_DOUBT: f64 = 4.0;

/// Up to this many cells the cost model is asked for each; more would make the start of a run slow, for a better guess at its end.
pub const WEIGHED: u64 = 20_000;

/// What is known of a cell's size before it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    engine: String,
    flops: u64,
    elements: u64,
    threads: u32,
}

type Bucketed = (String, u32);

impl Weight {
    /// Of a cell of one thread with so many predicted operations and elements of input (0 where they are not known).
    pub fn new(engine: &str, flops: u64, elements: u64) -> Self {
        Self { engine: engine.to_owned(), flops, elements, threads: 1 }
    }

    /// Of a planned or finished cell, by the cost model.
    pub fn of(variant: &str, engine: &str, axes: &Axes) -> Self {
        // A cell that no axes fit has no cost.
        let runs = |entry: &Entry| resolve(entry.descriptor, axes).is_ok();
        let cost = || {
            let entry = registry::find(variant).filter(runs)?;
            Some((entry.cost(axes).ok()?.flops, entry.dry_run(axes).ok()?.elements))
        };
        let (flops, elements) = cost().unwrap_or_default();
        let threads = axes.get("threads").and_then(AxisValue::as_int).and_then(|threads| u32::try_from(threads).ok());
        Self { threads: threads.unwrap_or(1).max(1), ..Self::new(engine, flops, elements) }
    }

    /// Its operations, where all threads share them evenly.
    fn flops_a_thread(&self) -> f64 {
        self.flops as f64 / f64::from(self.threads)
    }

    fn bucket(&self) -> Bucketed {
        (self.engine.clone(), u64::BITS - self.flops.leading_zeros())
    }
}

/// Seconds in a cell's samples, and beside them.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    sampling: f64,
    beside: f64,
}

impl Parts {
    fn add(&mut self, other: Self) {
        *self = Self { sampling: self.sampling + other.sampling, beside: self.beside + other.beside };
    }

    fn remove(&mut self, other: Self) {
        *self = Self { sampling: (self.sampling - other.sampling).max(0.0), beside: (self.beside - other.beside).max(0.0) };
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Cells that are left, and what was predicted for them.
    left: u64,
    predicted_left: Parts,
    /// Cells that have been run, what was predicted for them, and what they took.
    done: u64,
    predicted: Parts,
    took: Parts,
}

/// A finished cell.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// All of its time; none at all where nothing was started for it.
    pub whole: Duration,
    /// Its samples.
    pub sampling: Duration,
    /// One call, where that was measured.
    pub call: Option<Duration>,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Estimate {
    buckets: BTreeMap<Bucketed, Bucket>,
    /// Most operations in a second that a thread of each engine has shown.
    fastest: BTreeMap<String, f64>,
    cell_budget: f64,
    deadlines: Measure,
    /// What one cell can take at most.
    ceiling: f64,
}

impl Estimate {
    /// No cells yet.
    pub fn new(measure: &Measure) -> Self {
        // Two preparations, the accounting and the verification at their deadlines, and the samples.
        let longest = measure.engine_timeouts.values().copied().fold(measure.step_timeout, Duration::max);
        let ceiling = (longest * 4 + measure.cell_budget.mul_f64(1.2)).as_secs_f64();
        let (cell_budget, deadlines) = (measure.cell_budget.as_secs_f64(), measure.clone());
        Self { buckets: BTreeMap::new(), fastest: BTreeMap::new(), cell_budget, deadlines, ceiling }
    }

    /// One more cell is to be run.
    pub fn expect(&mut self, weight: &Weight) {
        let predicted = self.by_model(weight);
        let bucket = self.buckets.entry(weight.bucket()).or_default();
        bucket.left += 1;
        bucket.predicted_left.add(predicted);
    }

    /// A cell has ended.
    pub fn finished(&mut self, weight: &Weight, took: Took) {
        let predicted = self.by_model(weight);
        let bucket = self.buckets.entry(weight.bucket()).or_default();
        bucket.left = bucket.left.saturating_sub(1);
        bucket.predicted_left.remove(predicted);
        // A cell for which nothing was started says nothing about those that are.
        if !took.whole.is_zero() {
            bucket.done += 1;
            bucket.predicted.add(predicted);
            bucket.took.add(Parts {
                sampling: took.sampling.min(took.whole).as_secs_f64(),
                beside: took.whole.saturating_sub(took.sampling).as_secs_f64(),
            });
        }
        if let Some(call) = took.call.filter(|call| !call.is_zero() && weight.flops >= TELLING) {
            let fastest = self.fastest.entry(weight.engine.clone()).or_default();
            *fastest = fastest.max(weight.flops_a_thread() / call.as_secs_f64());
        }
    }

    /// Time for all cells that are left.
    pub fn left(&self) -> Duration {
        let waiting = self.buckets.iter().filter(|(_, bucket)| bucket.left > 0);
        seconds(waiting.map(|(at, bucket)| self.corrected(at, bucket.predicted_left, bucket.left as f64)).sum())
    }

    /// Time for one cell; nothing is claimed of it before the first one has been run.
    pub fn one(&self, weight: &Weight) -> Option<Duration> {
        self.buckets.values().find(|bucket| bucket.done > 0)?;
        Some(seconds(self.corrected(&weight.bucket(), self.by_model(weight), 1.0)))
    }

    /// Why a cell is not worth a try, where one call of it would be killed even if the engine were much faster than it has shown so far.
    pub fn hopeless(&self, weight: &Weight) -> Option<String> {
        let fastest = self.fastest.get(&weight.engine)?;
        let call = seconds(weight.flops_a_thread() / (fastest * BENEFIT_OF_DOUBT));
        let deadline = self.deadlines.deadline(&weight.engine);
        let (engine, speed, limit) = (&weight.engine, fastest / 1e9, deadline.as_secs_f64());
        let text = || {
            format!(
                "one call is predicted to take {} even at {BENEFIT_OF_DOUBT} times the best speed of engine {engine} in this run \
                 ({speed:.1} GFLOP/s a thread), and `step_timeout_s` allows {limit} s",
                rough(call)
            )
        };
        (call > deadline).then(text)
    }

    fn by_model(&self, weight: &Weight) -> Parts {
        let speed = if weight.engine == "naive" { PLAIN_LOOPS } else { OTHERS };
        let call = weight.flops_a_thread() / speed;
        Parts { sampling: self.cell_budget.max(call), beside: START + weight.elements as f64 * ELEMENT + CALLS_BESIDE * call }
    }

    /// What the model says of some cells, corrected by the nearest bucket that has seen any.
    fn corrected(&self, at: &Bucketed, model: Parts, cells: f64) -> f64 {
        let known = self.buckets.iter().filter(|(_, bucket)| bucket.done > 0);
        // The same engine first, then the nearest size.
        let distance = |other: &Bucketed| (other.0 != at.0, other.1.abs_diff(at.1));
        let Some((nearest, bucket)) = known.min_by_key(|(other, _)| distance(other)) else {
            return (model.sampling + model.beside).min(self.ceiling * cells);
        };
        let factor = |took: f64, predicted: f64| if predicted > 0.0 { took / predicted } else { 1.0 };
        let sampling = model.sampling * factor(bucket.took.sampling, bucket.predicted.sampling);
        let corrected = sampling + model.beside * factor(bucket.took.beside, bucket.predicted.beside);
        // What has been seen is possible, whatever the limits say.
        if nearest == at { corrected } else { corrected.min(self.ceiling * cells) }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn estimate() -> Estimate {
        Estimate::new(&Measure { cell_budget: SECOND, step_timeout: 60 * SECOND, ..Measure::default() })
    }

    fn took(whole: Duration, sampling: Duration) -> Took {
        Took { whole, sampling, call: None }
    }

    fn close(found: Duration, wanted: f64) -> bool {
        (found.as_secs_f64() - wanted).abs() <= 1e-6 * wanted
    }

    #[test]
    fn before_anything_is_known_the_model_speaks_of_the_whole_and_not_of_one() {
        let mut estimate = estimate();
        assert_eq!(estimate.left(), Duration::ZERO);
        let weight = Weight::new("simd", 30_000_000_000, 1_000_000);
        (0..10).for_each(|_| estimate.expect(&weight));
        // A call of one second: one sample, and six calls beside it.
        assert!(close(estimate.left(), 10.0 * (1.0 + START + 0.18 + 6.0)), "{:?}", estimate.left());
        assert_eq!(estimate.one(&weight), None);
        let slower = Weight::new("naive", 30_000_000_000, 0);
        estimate.expect(&slower);
        assert!(estimate.left() > 10 * 7 * SECOND + 7 * 7 * SECOND, "plain loops are slower: {:?}", estimate.left());
    }

    #[test]
    fn like_cells_are_taken_to_take_alike() {
        let mut estimate = estimate();
        let weight = Weight::new("a", 1000, 10);
        (0..10).for_each(|_| estimate.expect(&weight));
        estimate.finished(&weight, took(SECOND, SECOND / 2));
        estimate.finished(&weight, took(3 * SECOND, SECOND));
        assert!(close(estimate.left(), 16.0), "{:?}", estimate.left());
    }

    #[test]
    fn larger_cells_are_scaled_by_the_model_up_to_the_ceiling() {
        let mut estimate = estimate();
        let (small, large) = (Weight::new("a", 30_000_000, 0), Weight::new("a", 30_000_000_000, 0));
        // Beside its samples it took twice what the model says, and the samples half of the budget.
        let beside = 2.0 * (START + 6e-3);
        estimate.finished(&small, took(seconds(0.5 + beside), SECOND / 2));
        assert!(close(estimate.one(&large).unwrap(), 0.5 + 2.0 * (START + 6.0)), "{:?}", estimate.one(&large));
        assert!(close(estimate.one(&Weight::new("a", 1 << 60, 0)).unwrap(), 241.2));
        // Its own engine says more than a nearer size on another one.
        estimate.finished(&Weight::new("b", 30_000_000_000, 0), took(50 * SECOND, SECOND));
        assert!(close(estimate.one(&large).unwrap(), 0.5 + 2.0 * (START + 6.0)));
        assert!(close(estimate.one(&Weight::new("b", 30_000_000_000, 0)).unwrap(), 50.0));
    }

    #[test]
    fn cells_that_were_not_started_teach_nothing() {
        let mut estimate = estimate();
        let weight = Weight::new("a", 1000, 10);
        (0..3).for_each(|_| estimate.expect(&weight));
        estimate.finished(&weight, took(SECOND, SECOND));
        estimate.finished(&weight, took(Duration::ZERO, Duration::ZERO));
        assert!(close(estimate.left(), 1.0), "{:?}", estimate.left());
    }

    #[test]
    fn at_the_end_nothing_is_left() {
        let mut estimate = estimate();
        estimate.expect(&Weight::new("a", 1, 0));
        estimate.finished(&Weight::new("a", 1, 0), took(SECOND, SECOND));
        assert_eq!(estimate.left(), Duration::ZERO);
    }

    #[test]
    fn a_call_that_no_speed_seen_so_far_can_bring_below_the_limit_is_hopeless() {
        let mut estimate = estimate();
        let of = |flops| Weight::new("naive", flops, 0);
        assert_eq!(estimate.hopeless(&of(1 << 60)), None, "nothing has been seen");
        let millisecond = Some(SECOND / 1000);
        // Too small to tell, then 5 GFLOP/s.
        estimate.finished(&of(1000), Took { whole: SECOND, sampling: SECOND, call: millisecond });
        assert_eq!(estimate.hopeless(&of(1 << 60)), None);
        estimate.finished(&of(5_000_000), Took { whole: SECOND, sampling: SECOND, call: millisecond });
        assert_eq!(estimate.hopeless(&of(1_199_000_000_000)), None);
        let reason = estimate.hopeless(&of(12_000_000_000_000)).unwrap();
        assert!(reason.starts_with("one call is predicted to take 10 min even at 4 times the best speed of engine naive"), "{reason}");
        assert!(reason.contains("5.0 GFLOP/s") && reason.ends_with("allows 60 s"), "{reason}");
        let many = Weight { threads: 64, ..of(12_000_000_000_000) };
        assert_eq!(estimate.hopeless(&many), None, "with so many threads there is hope");
        assert_eq!(estimate.hopeless(&Weight::new("simd", 1 << 60, 0)), None, "another engine has shown nothing");
    }
}
