//! Warm-up: from the first call to a settled estimate of how long one takes.
//!
//! Batches of samples are taken until two medians in a row lie within 10 % of each other, or a tenth of the cell's budget is spent.
//! The first call alone is often ten times slower than the rest (page faults, cold caches, lazy loading), so at least two are made.

use std::time::Duration;

use crossover_protocol::MeasuredSample;

use crate::statistics::Summary;

use super::sampling::calls_per_sample;

/// Two medians in a row this close are settled.
const CLOSE: f64 = 0.1;
/// How long one batch of warm-up should last, and how many samples it has at most.
const BATCH: Duration = Duration::from_millis(2);
const LARGEST_BATCH: u32 = 5;

/// What warm-up found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmedUp {
    /// Time of one call.
    pub call_ns: f64,
    /// The same with all that the worker did around it, off the clock too.
    pub wall_ns: f64,
    /// Calls made.
    pub calls: u64,
}

/// Warms a cell up that may be measured for `cell_budget`; `take` takes samples (how many, calls in each, to fill the `sample_time`) and
/// tells how long the request took.
pub fn warm_up<E>(
    cell_budget: Duration,
    sample_time: Duration,
    mut take: impl FnMut(u32, u32) -> Result<(Vec<MeasuredSample>, Duration), E>,
) -> Result<WarmedUp, E> {
    let budget = cell_budget / 10;
    let (mut spent, mut made, mut last) = (Duration::ZERO, 0u64, None::<f64>);
    loop {
        let (samples, calls) = last.map_or((1, 1), |call_ns| next_batch(call_ns, sample_time));
        let (taken, passed) = take(samples, calls)?;
        spent += passed;
        made += u64::from(samples) * u64::from(calls);
        let median = Summary::of(taken.iter().map(|sample| sample.ns as f64 / f64::from(calls))).map_or(0.0, |summary| summary.median);
        let settled = last.is_some_and(|last| (median - last).abs() <= CLOSE * median.max(last));
        if made >= 2 && (settled || spent >= budget) {
            let wall_ns = passed.as_nanos() as f64 / (f64::from(samples) * f64::from(calls));
            return Ok(WarmedUp { call_ns: median, wall_ns, calls: made });
        }
        last = Some(median);
    }
}

fn next_batch(call_ns: f64, sample_time: Duration) -> (u32, u32) {
    let calls = calls_per_sample(call_ns, sample_time);
    let sample_ns = (call_ns * f64::from(calls)).max(1.0);
    (((BATCH.as_nanos() as f64 / sample_ns) as u32).clamp(1, LARGEST_BATCH), calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls whose time is a function of how many were made before.
    fn run(call_ns: impl Fn(u64) -> u64) -> (WarmedUp, Vec<(u32, u32)>) {
        let (mut made, mut asked) = (0, Vec::new());
        let warm = warm_up::<()>(Duration::from_secs(1), Duration::from_micros(100), |samples, calls| {
            asked.push((samples, calls));
            let mut passed = 0;
            let taken = (0..samples).map(|_| {
                let ns = (0..calls).map(|n| call_ns(made + u64::from(n))).sum();
                made += u64::from(calls);
                passed += ns;
                MeasuredSample { calls, ns, disturbed: false }
            });
            let taken = taken.collect();
            Ok((taken, Duration::from_nanos(passed)))
        });
        (warm.unwrap(), asked)
    }

    #[test]
    fn a_steady_cell_takes_two_calls() {
        let (warm, asked) = run(|_| 5_000_000);
        assert_eq!((warm, asked), (WarmedUp { call_ns: 5e6, wall_ns: 5e6, calls: 2 }, vec![(1, 1), (1, 1)]));
    }

    #[test]
    fn a_slow_first_call_is_not_believed() {
        let (warm, asked) = run(|n| if n == 0 { 3_000_000 } else { 10_000 });
        assert_eq!(warm.call_ns, 10_000.0);
        // The second look is still sized by the first call; then samples are filled up.
        assert_eq!(asked[..2], [(1, 1), (1, 1)]);
        assert_eq!(asked[2], (5, 10));
    }

    #[test]
    fn a_cell_that_never_settles_stops_at_a_tenth_of_the_budget() {
        let (warm, asked) = run(|n| if n % 2 == 0 { 4_000_000 } else { 9_000_000 });
        assert!((12..=20).contains(&asked.len()), "{}", asked.len());
        assert!(warm.calls as usize >= asked.len());
    }

    #[test]
    fn a_very_slow_cell_is_called_twice_all_the_same() {
        assert_eq!(run(|_| 900_000_000).0.calls, 2);
    }

    #[test]
    fn a_call_that_the_clock_cannot_see_ends_too() {
        assert_eq!(run(|_| 0).0.call_ns, 0.0);
    }

    #[test]
    fn a_failure_comes_through() {
        assert_eq!(warm_up::<&str>(Duration::from_secs(1), Duration::ZERO, |_, _| Err("gone")), Err("gone"));
    }
}
