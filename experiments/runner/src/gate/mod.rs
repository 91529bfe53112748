//! The regression gate: is this build slower than that one?
//!
//! Both are built in one way ([`builds`]) and run side by side, as processes of one and the other in turns ([`pair`]), on [`one_core`]; pairs become verdicts in two
//! stages ([`stages`], [`verdict`]), of as many as is [`asked`], and those that failed say what they can ([`failures`]). What needs no clock is held against a committed table
//! ([`exact`], [`size`]) or is counted under callgrind ([`instructions`]); neither waits longer than its [`limits`]. Benchmarks that
//! only `cargo bench` can start are judged by runs that they were imported to ([`runs`]). The verdicts go to people and machines ([`sheet`], [`outputs`]).
//!
//! Times are of pairs that lie close to each other, never of last week: on a shared machine those say more about last week than about the code. What
//! the gate starts itself lies side by side; of runs that were taken before ([`runs`]) whoever took them has to see to that.

pub mod asked;
pub mod builds;
pub mod csv_table;
pub mod exact;
pub mod failures;
pub mod instructions;
pub mod limits;
pub mod one_core;
pub mod outputs;
pub mod pair;
pub mod runs;
pub mod sheet;
pub mod size;
pub mod stages;
#[cfg(test)]
mod tests;
pub mod verdict;

use crate::definition::Definition;
use crate::plan::PlannedCell;

use stages::Judged;
use verdict::{Verdict, overall};

/// Why a cell is not compared, although the plan has it; none of one that the two builds compute.
pub fn left_out(cell: &PlannedCell, definition: &Definition) -> Option<String> {
    if definition.workers.contains_key(&cell.engine) {
        return Some(format!("{} is another program ([workers.{}]), the same beside both builds", cell.engine, cell.engine));
    }
    cell.unfit.clone()
}

/// What was held against each other: it decides what can be advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Two builds, whose processes the gate started, in two stages.
    Builds,
    /// Runs that were measured already; all their cells in one stage.
    Runs,
}

/// All that a gate found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What was compared.
    pub compared: Compared,
    /// What is compared with, in words.
    pub base: String,
    /// What is judged, in words.
    pub head: String,
    /// The experiment whose cells these are.
    pub experiment: String,
    /// The change that is worth a failed build.
    pub min_effect: f64,
    /// What decided the orders, cores and heaps of the pairs; none of runs.
    pub seed: Option<u64>,
    /// Every cell: of builds in the order of the plan, of runs by variant, engine and id.
    pub judged: Vec<Judged>,
    /// What is to be known beside the verdicts.
    pub notes: Vec<String>,
}

impl Findings {
    /// Cells with that verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.judged.iter().filter(|judged| judged.outcome.verdict() == verdict).count()
    }

    /// The verdict over all.
    pub fn overall(&self) -> Verdict {
        overall(self.judged.iter().map(|judged| judged.outcome.verdict()))
    }
}
