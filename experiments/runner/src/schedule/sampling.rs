//! How many calls make a sample, how many samples a batch, and when there are enough: plain functions of what was measured so far.

use std::time::Duration;

use crossover_protocol::{Conditions, MeasuredReply, MeasuredSample};
use crossover_results::schema::{Batch, Sample, Stop};

use crate::definition::Measure;
use crate::statistics::Summary;

/// How long one batch should last: long beside a round trip between runner and worker (0.1 to 0.3 ms), so that the harness costs less
/// than 1 %, and short beside the drift of a machine, so that a round shows the same machine to all.
const BATCH: Duration = Duration::from_millis(50);
/// Samples in one batch at most, so that the records of very short calls stay small.
const LARGEST_BATCH: u32 = 256;
/// Rounds before a cell may leave. One long batch can look converged and yet have seen one moment of the machine only; interleaving
/// means something from several rounds on.
const FEWEST_ROUNDS: u32 = 5;

/// The samples of one cell and what follows from them.
#[derive(Debug, Clone, Default)]
pub struct Sampling {
    /// Every sample after warm-up, in order.
    pub samples: Vec<Sample>,
    /// What the worker saw beside its clock, where it told.
    pub batches: Vec<Batch>,
    /// Calls before the first sample.
    pub warmup_calls: u64,
    /// Calls in a sample.
    pub calls: u32,
    /// Estimated time of one sample.
    sample_ns: f64,
    /// Wall time of the measure requests, without warm-up.
    pub spent: Duration,
    rounds: u32,
}

impl Sampling {
    /// Fixes the calls per sample from the time that one call took when warm.
    pub fn settle(&mut self, call_ns: f64, sample_time: Duration) {
        self.calls = calls_per_sample(call_ns, sample_time);
        self.sample_ns = (call_ns * f64::from(self.calls)).max(1.0);
    }

    /// Samples to ask for next: a batch, but not more than the budget has room for, and at least one.
    pub fn batch(&self, measure: &Measure) -> u32 {
        // Small budgets still make several rounds.
        let usual = BATCH.min(measure.cell_budget / FEWEST_ROUNDS);
        let left = measure.cell_budget.saturating_sub(self.spent);
        // A cell that stays as its group's baseline goes on with batches of the usual size.
        let time = if left.is_zero() { usual } else { left.min(usual) };
        ((time.as_nanos() as f64 / self.sample_ns) as u32).clamp(1, LARGEST_BATCH)
    }

    /// Takes in a batch.
    pub fn add(&mut self, round: u32, taken: &MeasuredReply, passed: Duration) {
        let keep = |sample: &MeasuredSample| Sample { round, calls: sample.calls, ns: sample.ns, rejected: sample.disturbed };
        self.samples.extend(taken.samples.iter().map(keep));
        self.batches.extend(taken.conditions.map(|conditions| batch(round, taken, conditions)));
        self.spent += passed;
        self.rounds += 1;
    }

    /// Whether there is enough, and why.
    pub fn verdict(&self, measure: &Measure) -> Option<Stop> {
        let converged = || {
            let summary = Summary::of(self.accepted())?;
            let enough = self.rounds >= FEWEST_ROUNDS && summary.count >= measure.min_samples as usize;
            (enough && summary.relative_half_width()? <= measure.half_width).then_some(Stop::Converged)
        };
        converged().or_else(|| (self.spent >= measure.cell_budget).then(|| self.cut_short(measure)))
    }

    /// What to call it if nothing more is taken, although the interval is not yet as narrow as asked.
    pub fn cut_short(&self, measure: &Measure) -> Stop {
        match self.accepted().count() {
            0 => Stop::Disturbed,
            few if few < measure.min_samples as usize => Stop::Few,
            _ => Stop::Budget,
        }
    }

    /// The figures: of the undisturbed samples, or of all where every one was disturbed (the record's `rejected` tells).
    pub fn summary(&self) -> Option<Summary> {
        Summary::of(self.accepted()).or_else(|| Summary::of(self.samples.iter().map(per_call)))
    }

    /// True if there is no undisturbed sample.
    pub fn all_disturbed(&self) -> bool {
        self.samples.iter().all(|sample| sample.rejected)
    }

    /// Samples that were disturbed.
    pub fn rejected(&self) -> u64 {
        self.samples.iter().filter(|sample| sample.rejected).count() as u64
    }

    fn accepted(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().filter(|sample| !sample.rejected).map(per_call)
    }
}

fn batch(round: u32, taken: &MeasuredReply, conditions: Conditions) -> Batch {
    let Conditions { steal_ns, load_average, involuntary_switches, frequency_khz, energy_uj, instructions, cycles, cache_misses } =
        conditions;
    let calls = taken.samples.iter().map(|sample| u64::from(sample.calls)).sum();
    Batch { round, calls, steal_ns, load_average, involuntary_switches, frequency_khz, energy_uj, instructions, cycles, cache_misses }
}

fn per_call(sample: &Sample) -> f64 {
    sample.ns as f64 / f64::from(sample.calls)
}

/// Calls that fill the sample time.
pub fn calls_per_sample(call_ns: f64, sample_time: Duration) -> u32 {
    (sample_time.as_nanos() as f64 / call_ns.max(0.5)).ceil().clamp(1.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(call_ns: f64) -> Sampling {
        let mut sampling = Sampling::default();
        sampling.settle(call_ns, Duration::from_micros(100));
        sampling
    }

    fn add(sampling: &mut Sampling, ns: &[u64], disturbed: bool, passed: Duration) {
        let calls = sampling.calls;
        let samples = ns.iter().map(|&ns| MeasuredSample { calls, ns: ns * u64::from(calls), disturbed }).collect();
        sampling.add(sampling.rounds, &MeasuredReply { samples, conditions: None }, passed);
    }

    #[test]
    fn short_calls_are_repeated_until_they_fill_a_sample() {
        for (call_ns, calls) in [(0.0, 200_000), (1.0, 100_000), (30_000.0, 4), (99_999.0, 2), (100_000.0, 1), (5e9, 1)] {
            assert_eq!(sampling(call_ns).calls, calls, "{call_ns}");
        }
    }

    #[test]
    fn what_was_seen_beside_the_clock_is_kept_by_round() {
        let mut sampling = sampling(1e6);
        let sample = MeasuredSample { calls: 3, ns: 3_000_000, disturbed: false };
        let conditions = Conditions { involuntary_switches: Some(2), cycles: Some(12), ..Conditions::default() };
        sampling.add(0, &MeasuredReply { samples: vec![sample; 2], conditions: Some(conditions) }, Duration::from_millis(6));
        sampling.add(1, &MeasuredReply { samples: vec![sample], conditions: None }, Duration::from_millis(3));
        let [batch] = sampling.batches[..] else { panic!("{:?}", sampling.batches) };
        assert_eq!((batch.round, batch.calls, batch.involuntary_switches, batch.cycles), (0, 6, Some(2), Some(12)));
    }

    #[test]
    fn a_batch_lasts_some_fifty_milliseconds() {
        let measure = Measure::default();
        for (call_ns, samples) in [(10.0, 256), (1e6, 50), (4e6, 12), (1e8, 1), (1e12, 1)] {
            assert_eq!(sampling(call_ns).batch(&measure), samples, "{call_ns}");
        }
    }

    #[test]
    fn the_last_batch_fits_the_budget() {
        let measure = Measure::default();
        let mut sampling = sampling(1e6);
        sampling.spent = Duration::from_millis(990);
        assert_eq!(sampling.batch(&measure), 10);
        sampling.spent = Duration::from_millis(1500);
        assert_eq!(sampling.batch(&measure), 50, "a baseline goes on");
    }

    #[test]
    fn convergence_takes_rounds_samples_and_a_narrow_interval() {
        let measure = Measure::default();
        let mut steady = sampling(1e6);
        for round in 0..FEWEST_ROUNDS {
            assert_eq!(steady.verdict(&measure), None, "round {round}");
            add(&mut steady, &[1_000_000, 1_001_000, 1_002_000], false, Duration::from_millis(3));
        }
        assert_eq!(steady.verdict(&measure), Some(Stop::Converged));
        let mut wild = sampling(1e6);
        for _ in 0..8 {
            add(&mut wild, &[1_000_000, 2_000_000, 3_000_000, 4_000_000], false, Duration::from_millis(10));
            assert_eq!(wild.verdict(&measure), None);
        }
        wild.spent = Duration::from_secs(1);
        assert_eq!(wild.verdict(&measure), Some(Stop::Budget));
    }

    #[test]
    fn disturbed_samples_are_kept_but_do_not_count() {
        let measure = Measure::default();
        let mut mixed = sampling(1e6);
        for _ in 0..FEWEST_ROUNDS {
            add(&mut mixed, &[1_000_000, 1_000_500], false, Duration::from_millis(3));
            add(&mut mixed, &[90_000_000], true, Duration::from_millis(90));
        }
        assert_eq!(mixed.verdict(&measure), Some(Stop::Converged));
        let summary = mixed.summary().unwrap();
        assert_eq!((summary.count, summary.median, mixed.rejected(), mixed.samples.len()), (10, 1_000_250.0, 5, 15));
        // Where nothing but disturbed samples came, the budget runs out, and all of them are the figure.
        let mut disturbed = sampling(1e6);
        for _ in 0..20 {
            add(&mut disturbed, &[1_000_000], true, Duration::from_millis(40));
            assert_eq!(disturbed.verdict(&measure), None);
        }
        add(&mut disturbed, &[1_000_000], true, Duration::from_millis(200));
        assert_eq!(disturbed.verdict(&measure), Some(Stop::Disturbed));
        add(&mut disturbed, &[1_000_000], false, Duration::from_millis(1));
        assert_eq!(disturbed.verdict(&measure), Some(Stop::Few));
        let (_, all) = (disturbed.samples.pop(), disturbed.samples.len());
        assert_eq!((disturbed.summary().unwrap().count, disturbed.rejected()), (all, 21));
    }
}
