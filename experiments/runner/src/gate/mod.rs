//! The regression gate: is this build slower than that one?
//!
//! Both are built in one way ([`builds`]) and run side by side, as processes of one and the other in turns ([`pair`]); pairs become verdicts in two
//! stages ([`stages`], [`verdict`]), and those that failed say what they can ([`failures`]). What needs no clock is held against a committed table
//! ([`exact`], [`size`]) or is counted under callgrind ([`instructions`]). Benchmarks that
//! only `cargo bench` can start are judged by runs that they were imported to ([`runs`]). The verdicts go to people and machines ([`outputs`]).
//!
//! Nothing of an earlier run is used for times: on a shared machine last week's figures say more about last week than about the code.

pub mod builds;
pub mod exact;
pub mod failures;
pub mod instructions;
pub mod outputs;
pub mod pair;
pub mod runs;
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

/// All that a gate found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What is compared with, in words.
    pub base: String,
    /// What is judged, in words.
    pub head: String,
    /// The experiment whose cells these are.
    pub experiment: String,
    /// The change that is worth a failed build.
    pub min_effect: f64,
    /// Every cell, in the order of the plan.
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
