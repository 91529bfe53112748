//! Cold caches: a call that finds neither inputs nor weights where the one before left them.
//!
//! Before each such call, outside the timer, a buffer of twice the last-level cache is read from end to end. That pushes everything else
//! out, wherever the engine keeps it: packed weights are the engine's own and have no address here that one could flush line by line.
//! An engine with several threads has used the private caches of several cores, so the buffer is then read on every core that this
//! process may use.
//!
//! What it trades away: some milliseconds a call; exactness, as a cache does not replace its lines strictly in order; and the program's
//! own code and page tables are pushed out as well, as they would be between two layers of a large model.

use std::collections::TryReserveError;
use std::hint::black_box;

use crossover_core::caches::last_level_bytes;
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};

/// The buffer is so many times the cache: at once its size, lines that are still older than all of it would stay.
const TIMES: usize = 2;
/// Where the machine does not tell its caches.
const USUAL: usize = 32 << 20;
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
        let (elements, mut buffer) = (TIMES.saturating_mul(last_level_bytes().unwrap_or(USUAL)), Vec::new());
        let refused = |error: TryReserveError| EngineError::Allocation { elements, dtype: DType::I8, reason: error.to_string() };
        buffer.try_reserve_exact(elements).map_err(refused)?;
        buffer.resize(elements, 1);
        Ok(Self { buffer, everywhere: threads > 1 })
    }

    /// Empties the caches.
    pub fn evict(&self) {
        if !self.everywhere {
            return self.read();
        }
        std::thread::scope(|scope| {
            for core in cores() {
                scope.spawn(move || {
                    stay_on(core);
                    self.read();
                });
            }
        });
    }

    fn read(&self) {
        let sum = self.buffer.iter().step_by(LINE).fold(0u64, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        black_box(sum);
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
    use super::*;

    #[test]
    fn the_buffer_is_larger_than_every_cache_and_read_on_all_cores_alike() {
        let (alone, together) = (Eviction::new(1).unwrap(), Eviction::new(2).unwrap());
        assert!(alone.buffer.len() >= 2 * last_level_bytes().unwrap_or(USUAL));
        assert_eq!((alone.everywhere, together.everywhere), (false, true));
        assert!(!cores().is_empty());
        alone.evict();
        together.evict();
    }
}
