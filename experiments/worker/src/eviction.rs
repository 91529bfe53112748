//! Cold caches: a call that finds neither inputs nor weights where the one before left them.
//!
//! Before each such call, outside the timer, a buffer larger than the last-level cache is read from end to end. That pushes everything else
//! out, wherever the engine keeps it: packed weights are the engine's own and have no address here that one could flush line by line.
//! An engine with several threads has used the private caches of several cores, so the buffer is then read on every core that this
//! process may use.
//!
//! What it trades away: some milliseconds a call; exactness, as a cache does not replace its lines strictly in order; and the program's
//! own code and page tables are pushed out as well, as they would be between two layers of a large model.

use std::collections::TryReserveError;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use crossover_core::caches::eviction_bytes;
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};

/// The distance of two reads: no machine has shorter lines.
const LINE: usize = 64;

/// What is read to push everything else out.
pub struct Eviction {
    buffer: Vec<u8>,
    /// On every core, or on the calling one alone?
    everywhere: bool,
}

impl Eviction {
    /// For an engine with so many threads. Every page of the buffer is memory of its own, not the system's one page of zeros.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn new(threads: usize) -> Result<Self> {
        let (elements, mut buffer) = (eviction_bytes(), Vec::new());
        let refused = |error: TryReserveError| EngineError::Allocation { elements, dtype: DType::I8, reason: error.to_string() };
        buffer.try_reserve_exact(elements).map_err(refused)?;
        buffer.resize(elements, 1);
        Ok(Self { buffer, everywhere: threads > 1 })
    }

    /// Empties the caches. Gives how many lines were read, on all cores together.
    pub fn evict(&self) -> u64 {
        if !self.everywhere {
            return self.read();
        }
        let lines = &AtomicU64::new(0);
        std::thread::scope(|scope| {
            for core in cores() {
                scope.spawn(move || {
                    stay_on(core);
                    lines.fetch_add(self.read(), Ordering::Relaxed);
                });
            }
        });
        lines.load(Ordering::Relaxed)
    }

    /// Each element is one, so the sum is how many were read.
    fn read(&self) -> u64 {
        let sum = self.buffer.iter().step_by(LINE).fold(0u64, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        black_box(sum)
    }
}

/// The cores that this process may use.
#[cfg(target_os = "linux")]
fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None);
    allowed.map_or_else(|_| vec![0], |allowed| (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect())
}

/// As many as threads may run at once: where threads cannot be bound to cores, they at least run side by side.
#[cfg(not(target_os = "linux"))]
fn cores() -> Vec<usize> {
    (0..crate::process::processors()).collect()
}

#[cfg(target_os = "linux")]
fn stay_on(core: usize) {
    let mut only = rustix::thread::CpuSet::new();
    only.set(core);
    // A core that was taken away in the meantime has no caches of ours: then any core will do.
    let _ = rustix::thread::sched_setaffinity(None, &only);
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_core: usize) {}

#[cfg(test)]
mod tests {
    use crossover_core::caches::last_level_bytes;

    use super::*;

    #[test]
    fn the_buffer_is_larger_than_every_cache_and_read_whole_on_each_core() {
        let (alone, together) = (Eviction::new(1).unwrap(), Eviction::new(2).unwrap());
        assert!(alone.buffer.len() >= 2 * last_level_bytes().unwrap_or(0));
        let lines = alone.buffer.len().div_ceil(LINE) as u64;
        assert!(lines > 0 && !cores().is_empty());
        assert_eq!((alone.evict(), together.evict()), (lines, lines * cores().len() as u64));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_stays_on_the_core_that_it_reads_on() {
        for core in cores() {
            let seen = std::thread::spawn(move || {
                stay_on(core);
                (cores(), rustix::thread::sched_getcpu())
            });
            assert_eq!(seen.join().unwrap(), (vec![core], core));
        }
    }
}
