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
    /// Before the cell was ready to be timed, with none between that came so far.
    early: u32,
    /// While cells were timed, with none between that was timed to its end.
    timed: u32,
    last: String,
    /// The user knows that it is given up.
    told: bool,
}

/// Counts failures by engine.
#[derive(Debug, Default)]
pub(super) struct Reluctance(BTreeMap<String, Faults>);

impl Reluctance {
    /// The engine's worker said hello.
    pub(super) fn said_hello(&mut self, engine: &str) {
        self.0.entry(engine.to_owned()).or_default().starts = 0;
    }

    /// It did not.
    pub(super) fn start_failed(&mut self, engine: &str, failure: &WorkerFailure) {
        self.note(engine, failure, |faults| faults.starts += 1);
    }

    /// A cell of the engine is ready to be timed. What was held against its timing stays: an engine may crash whenever it is timed.
    pub(super) fn came_up(&mut self, engine: &str) {
        self.0.entry(engine.to_owned()).or_default().early = 0;
    }

    /// A worker of the engine got through a cell: it was timed to its end, or judged wrong.
    pub(super) fn got_through(&mut self, engine: &str) {
        self.0.remove(engine);
    }

    /// A cell of the engine failed before it was ready to be timed.
    pub(super) fn failed_early(&mut self, engine: &str, failure: &WorkerFailure) {
        if is_crash(failure) {
            self.note(engine, failure, |faults| faults.early += 1);
        }
    }

    /// A cell of the engine failed while it was timed.
    pub(super) fn failed_timed(&mut self, engine: &str, failure: &WorkerFailure) {
        if is_crash(failure) {
            self.note(engine, failure, |faults| faults.timed += 1);
        }
    }

    fn note(&mut self, engine: &str, failure: &WorkerFailure, count: impl FnOnce(&mut Faults)) {
        let faults = self.0.entry(engine.to_owned()).or_default();
        count(faults);
        faults.last = failure.to_string();
    }

    /// The same as [`Self::given_up`] where the user has not been told yet. Cells that are timed together may crash in any order, so this is
    /// for the moment when another would be started.
    pub(super) fn news(&mut self, engine: &str) -> Option<String> {
        let reason = self.given_up(engine)?;
        let told = std::mem::replace(&mut self.0.get_mut(engine)?.told, true);
        (!told).then_some(reason)
    }

    /// Why the engine is not to be started again, where it is not.
    pub(super) fn given_up(&self, engine: &str) -> Option<String> {
        let Faults { starts, early, timed, last, .. } = self.0.get(engine)?;
        let crashes = early.max(timed);
        if *starts >= STARTS {
            return Some(format!("the worker of engine {engine} failed {starts} times in a row before it said hello; last: {last}"));
        }
        (*crashes >= CRASHES).then(|| format!("the worker of engine {engine} crashed in {crashes} cells in a row; last: {last}"))
    }
}

/// What a worker says, and what memory or time put an end to, is no crash.
fn is_crash(failure: &WorkerFailure) -> bool {
    failure.status() == Status::Crashed && !failure.leaves_worker_alive()
}
