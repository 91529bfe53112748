//! Engines that do nothing but fail: one whose worker does not come up in three attempts in a row, or whose workers crash in ten cells in a
//! row, is given up, so that a broken installation costs some cells' patience and not an experiment's. The other engines go on.

use std::collections::BTreeMap;

use crossover_results::schema::Status;

use crate::worker::failure::WorkerFailure;

/// Attempts in a row.
const STARTS: u32 = 3;
/// Cells in a row. More than the variants of a family that share a kernel, fewer than a group of most experiments.
const CRASHES: u32 = 10;

/// What is held against one engine.
#[derive(Debug, Default)]
struct Faults {
    starts: u32,
    crashes: u32,
    last: String,
}

/// Counts failures by engine.
#[derive(Debug, Default)]
pub(super) struct Reluctance(BTreeMap<String, Faults>);

impl Reluctance {
    /// The engine's worker said hello.
    pub(super) fn said_hello(&mut self, engine: &str) {
        self.0.entry(engine.to_owned()).or_default().starts = 0;
    }

    /// It did not. Returns the notice to give where that was once too often.
    pub(super) fn start_failed(&mut self, engine: &str, failure: &WorkerFailure) -> Option<String> {
        self.note(engine, failure, |faults| faults.starts += 1)
    }

    /// A worker of the engine got through a cell, right or wrong.
    pub(super) fn came_up(&mut self, engine: &str) {
        self.0.remove(engine);
    }

    /// A cell of the engine failed in the middle. Returns the notice to give where that was once too often.
    pub(super) fn cell_failed(&mut self, engine: &str, failure: &WorkerFailure) -> Option<String> {
        // What a worker says, and what memory or time put an end to, is no crash.
        let crashed = failure.status() == Status::Crashed && !failure.leaves_worker_alive();
        if crashed { self.note(engine, failure, |faults| faults.crashes += 1) } else { None }
    }

    fn note(&mut self, engine: &str, failure: &WorkerFailure, count: impl FnOnce(&mut Faults)) -> Option<String> {
        let before = self.given_up(engine).is_some();
        let faults = self.0.entry(engine.to_owned()).or_default();
        count(faults);
        faults.last = failure.to_string();
        if before { None } else { self.given_up(engine) }
    }

    /// Why the engine is not to be started again, where it is not.
    pub(super) fn given_up(&self, engine: &str) -> Option<String> {
        let Faults { starts, crashes, last } = self.0.get(engine)?;
        if *starts >= STARTS {
            return Some(format!("the worker of engine {engine} failed {starts} times in a row before it said hello; last: {last}"));
        }
        (*crashes >= CRASHES).then(|| format!("the worker of engine {engine} crashed in {crashes} cells in a row; last: {last}"))
    }
}
