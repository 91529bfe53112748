//! The ceilings of this machine, measured: multiply-adds a second, and bytes a second by working-set size.
//!
//! A ceiling is the best of several short runs (noise only ever lowers it), on as many threads as asked, all started together. The
//! arithmetic loops are plain Rust compiled for the widest instruction set that the processor has, so no figure depends on an engine.
//! Bandwidths are measured at half of each cache, and at several times the last one for main memory.

mod arithmetic;
mod bandwidth;
mod narrow;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crossover_core::caches::cache_bytes;
use crossover_protocol::{Bandwidth, Ceilings, Fault};

use crate::process;
use crate::serve::bad_request;

/// One timed run.
const RUN: Duration = Duration::from_millis(8);
/// Runs of which the best counts.
const REPEATS: usize = 5;

/// Measures everything.
pub fn probe(threads: u32) -> Result<Ceilings, Fault> {
    if threads == 0 {
        return Err(bad_request("cannot probe with no thread: ask for 1 or more"));
    }
    if threads as usize > process::processors() {
        return Err(bad_request(process::crowded(threads as usize)));
    }
    let bandwidth = levels(threads as usize).into_iter().map(|(level, bytes)| measure_level(level, bytes, threads as usize)).collect();
    Ok(Ceilings {
        threads,
        isa: arithmetic::isa().into(),
        f64_flops_per_s: together(threads as usize, || (), |()| arithmetic::f64_round()),
        f32_flops_per_s: together(threads as usize, || (), |()| arithmetic::f32_round()),
        narrow: narrow::measure(|round| together(threads as usize, || (), |()| round())),
        bandwidth,
    })
}

fn measure_level(level: &str, bytes: usize, threads: usize) -> Bandwidth {
    Bandwidth {
        level: level.into(),
        working_set_bytes: bytes as u64,
        read_bytes_per_s: together(threads, || bandwidth::Buffers::new(bytes), bandwidth::Buffers::read),
        copy_bytes_per_s: together(threads, || bandwidth::Buffers::new(bytes), bandwidth::Buffers::copy),
    }
}

/// Working sets of one thread for each level: half a private cache; a quarter of the shared one, and several times it for main memory,
/// divided by the threads.
fn levels(threads: usize) -> Vec<(&'static str, usize)> {
    let cache = |index: usize, otherwise: usize| cache_bytes(index).unwrap_or(otherwise);
    // index0 is the first-level data cache, index2 and index3 the second and third level.
    let (first, second, third) = (cache(0, 32 << 10), cache(2, 512 << 10), cache(3, 8 << 20));
    vec![("L1", first / 2), ("L2", second / 2), ("L3", third / 4 / threads), ("memory", (third * 4).clamp(64 << 20, 256 << 20) / threads)]
}

/// Units of work a second, all threads together, in the best of several runs. `round` does some work and says how much.
fn together<S>(threads: usize, state: impl Fn() -> S + Sync, round: impl Fn(&mut S) -> u64 + Sync) -> u64 {
    let barrier = Barrier::new(threads);
    let one_thread = || {
        let mut state = state();
        // Touch everything once, and let the clock come up.
        round(&mut state);
        let run = |_| {
            barrier.wait();
            let (start, mut done) = (Instant::now(), 0u64);
            while start.elapsed() < RUN {
                done += round(&mut state);
            }
            done as f64 / start.elapsed().as_secs_f64()
        };
        (0..REPEATS).map(run).collect::<Vec<f64>>()
    };
    let rates: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    });
    let totals = (0..REPEATS).map(|repeat| rates.iter().map(|rates| rates[repeat]).sum::<f64>());
    totals.fold(0.0, f64::max) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_plausible() {
        let ceilings = probe(1).unwrap();
        assert!(ceilings.f32_flops_per_s > 1_000_000, "{ceilings:?}");
        assert!(ceilings.bandwidth.iter().all(|level| level.read_bytes_per_s > 1_000_000 && level.copy_bytes_per_s > 1_000_000));
        assert_eq!(ceilings.bandwidth.last().map(|level| &*level.level), Some("memory"));
        assert!(probe(0).is_err());
    }

    #[test]
    fn every_unit_for_narrow_numbers_outruns_a_scalar_one() {
        for ceiling in probe(1).unwrap().narrow {
            assert!(ceiling.ops_per_s > 10_000_000_000, "{ceiling:?}");
        }
    }

    /// A vector holds twice as many f32 as f64, and one that was left scalar is tens of times slower; a neighbour costs less than that.
    #[test]
    fn single_precision_is_measured_in_vectors_too() {
        let ceilings = probe(1).unwrap();
        assert!(ceilings.f32_flops_per_s > ceilings.f64_flops_per_s / 4, "{ceilings:?}");
    }
}
