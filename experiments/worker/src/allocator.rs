//! A counting allocator: what a cell really asks the system for.
//!
//! Counting disturbs time, so it is switched on only in the accounting pass; switched off it costs one relaxed load a call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ENABLED: AtomicBool = AtomicBool::new(false);
static HELD: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

/// What happened while counting was on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Most bytes held at once, above what was held at the start.
    pub peak_bytes: u64,
    /// Bytes still held at the end, likewise.
    pub held_bytes: u64,
    /// Allocations, including those that grew an older one.
    pub allocations: u64,
}

/// Runs `work` and counts what it allocates, on all threads.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, Counted) {
    for counter in [&HELD, &PEAK] {
        counter.store(0, Ordering::SeqCst);
    }
    CALLS.store(0, Ordering::SeqCst);
    ENABLED.store(true, Ordering::SeqCst);
    let result = work();
    ENABLED.store(false, Ordering::SeqCst);
    let peak_bytes = PEAK.load(Ordering::SeqCst).unsigned_abs();
    let held_bytes = HELD.load(Ordering::SeqCst).max(0).unsigned_abs();
    (result, Counted { peak_bytes, held_bytes, allocations: CALLS.load(Ordering::SeqCst) })
}

fn gained(bytes: usize) {
    if ENABLED.load(Ordering::Relaxed) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let held = HELD.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
        PEAK.fetch_max(held, Ordering::Relaxed);
    }
}

fn lost(bytes: usize) {
    if ENABLED.load(Ordering::Relaxed) {
        HELD.fetch_sub(bytes as i64, Ordering::Relaxed);
    }
}

// SAFETY: every method hands its arguments unchanged to the system allocator and returns what that returned; the counters beside it
// are atomics and never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        gained(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        gained(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        lost(layout.size());
        // SAFETY: the pointer came from this allocator, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        lost(layout.size());
        gained(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// Counting is for a whole process, and the threads of other tests allocate and free in this one, the probe's many megabytes at a time.
    /// So the figure must come out right once in some attempts; a wrong count (a sum, say, which would be 4 MiB) never does.
    #[test]
    fn the_peak_is_what_was_held_at_once() {
        let attempt = || {
            let ((), counted) = counted(|| {
                drop(black_box(vec![0u8; 1 << 20]));
                drop(black_box(vec![0u8; 3 << 20]));
            });
            counted
        };
        let is_right =
            |counted: &Counted| (3 << 20) - 4096 <= counted.peak_bytes && counted.peak_bytes < (3 << 20) + 4096 && counted.allocations >= 2;
        let attempts: Vec<Counted> = (0..200)
            .map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                attempt()
            })
            .collect();
        assert!(attempts.iter().any(is_right), "{attempts:?}");
    }
}
