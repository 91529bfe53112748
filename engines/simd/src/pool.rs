//! Threads: a pool of the engine's own, of exactly the size that the cell grants.
//!
//! Work is dealt out by a shared counter, so that a thread that is held up (by a neighbour on its core) takes less of it. The caller works
//! too, beside a pool of one thread less: had the pool to take the work over, a call would wait for one thread to wake, for that one to wake
//! the next, and for the caller to wake at the end (NOTES.md, "Threads": three times the time at 128 cubed). Sending the others to work takes
//! a box from the allocator for each, the only allocation of a warm call. Idle threads sleep.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossover_core::error::{EngineError, Result};

use crate::backend::NAME;

/// Multiply-adds below which waking a thread costs more than it saves.
pub(crate) const LEAST_FOR_THREADS: usize = 1 << 20;
/// Elements of a weight below which the same holds where they are read once.
pub(crate) const LEAST_READ_FOR_THREADS: usize = 1 << 15;
/// Parts for each thread, where parts cost nothing.
pub(crate) const PARTS: usize = 4;

/// The threads of one engine; with one thread everything runs on the caller's.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: usize,
    /// Beside the caller's.
    others: Option<rayon::ThreadPool>,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        if threads <= 1 {
            return Ok(Self { threads: 1, others: None });
        }
        let built = rayon::ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(|at| format!("{NAME}-{at}")).build();
        let others = built.map_err(|error| EngineError::Unsupported {
            engine: NAME,
            operation: format!("a pool of {threads} threads"),
            reason: error.to_string(),
        })?;
        Ok(Self { threads, others: Some(others) })
    }

    /// Threads that work.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// [`Pool::for_each_on`] all threads.
    pub(crate) fn for_each(&self, tasks: usize, work: impl Fn(usize, usize) + Sync) {
        self.for_each_on(self.threads, tasks, work);
    }

    /// Calls `work(participant, task)` for each task in 0..tasks, on so many of the threads. Participants are numbered below `threads()`, and one participant's calls
    /// follow each other: what it holds of its own (packing buffers) is never shared.
    pub(crate) fn for_each_on(&self, threads: usize, tasks: usize, work: impl Fn(usize, usize) + Sync) {
        let participants = self.threads.min(threads).min(tasks);
        match &self.others {
            Some(others) if participants > 1 => {
                let next = AtomicUsize::new(0);
                let participate = |participant: usize| {
                    loop {
                        let task = next.fetch_add(1, Ordering::Relaxed);
                        if task >= tasks {
                            break;
                        }
                        work(participant, task);
                    }
                };
                others.in_place_scope(|scope| {
                    for participant in 1..participants {
                        let participate = &participate;
                        scope.spawn(move |_| participate(participant));
                    }
                    participate(0);
                });
            }
            _ => (0..tasks).for_each(|task| work(0, task)),
        }
    }
}

/// The address of an output that threads write disjoint parts of.
#[derive(Debug)]
pub(crate) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: it is an address only; who writes through it says why nobody else touches the same elements.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: likewise.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(values: &mut [T]) -> Self {
        Self(values.as_mut_ptr())
    }

    /// The address of values that are only read.
    pub(crate) fn reading(values: &[T]) -> Self {
        Self(values.as_ptr().cast_mut())
    }

    /// Seen as values of the type that they have.
    pub(crate) fn cast<U>(self) -> Shared<U> {
        Shared(self.0.cast())
    }

    pub(crate) fn pointer(self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_by_a_known_participant() {
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads).unwrap();
            for tasks in [0, 1, 2, 5, 100] {
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.for_each(tasks, |participant, task| {
                    assert!(participant < threads);
                    done[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{threads} threads, {tasks} tasks");
            }
        }
    }
}
