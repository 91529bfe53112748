//! Engines whose worker does not come up: after three attempts in a row they are given up, so that a broken installation costs
//! three cells' patience and not an experiment's.

use std::collections::BTreeMap;

use crate::worker::failure::WorkerFailure;

/// Attempts in a row.
const PATIENCE: u32 = 3;

/// Counts failed starts by engine.
#[derive(Debug, Default)]
pub(super) struct Reluctance(BTreeMap<String, (u32, String)>);

impl Reluctance {
    /// The engine's worker said hello.
    pub(super) fn forgive(&mut self, engine: &str) {
        self.0.remove(engine);
    }

    /// It did not.
    pub(super) fn note(&mut self, engine: &str, failure: &WorkerFailure) {
        let (count, last) = self.0.entry(engine.to_owned()).or_default();
        *count += 1;
        *last = failure.to_string();
    }

    /// Why the engine is not to be started again, where it is not.
    pub(super) fn given_up(&self, engine: &str) -> Option<String> {
        let (count, last) = self.0.get(engine)?;
        let text = || format!("not tried: the worker of engine {engine} failed {count} times in a row before it said hello; last: {last}");
        (*count >= PATIENCE).then(text)
    }
}
