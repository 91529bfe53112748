//! Threads: a pool of the engine's own, of exactly the size that the cell grants.
//!
//! Work is dealt out by a shared counter, so that a thread that is held up (by a neighbour on its core) takes less of it. The caller works
//! too; the others are a [`Crew`]. A call allocates nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossover_core::error::{EngineError, Result};

use crate::backend::NAME;
use crate::crew::Crew;

/// The threads of one engine; with one thread everything runs on the caller's.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: usize,
    crew: Option<Crew>,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        if threads <= 1 {
            return Ok(Self { threads: 1, crew: None });
        }
        let crew = Crew::new(threads - 1, NAME).map_err(|error| EngineError::Unsupported {
            engine: NAME,
            operation: format!("a pool of {threads} threads"),
            reason: error.to_string(),
        })?;
        Ok(Self { threads, crew: Some(crew) })
    }

    /// Threads that work.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `work(participant, task)` for each task in 0..tasks. Participants are numbered below `threads()`, and one participant's calls
    /// follow each other: what it holds of its own (packing buffers) is never shared.
    pub(crate) fn for_each(&self, tasks: usize, work: impl Fn(usize, usize) + Sync) {
        let participants = self.threads.min(tasks);
        match &self.crew {
            Some(crew) if participants > 1 => {
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
                crew.run(participants, &participate);
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
