//! The regression gate: is this build slower than that one?
//!
//! Two builds run side by side, as processes of one and the other in turns ([`pair`]); pairs become verdicts in two stages ([`stages`], [`verdict`]);
//! the worker of the revision to compare with is built beside ([`builds`]); what needs no clock is held against a committed table ([`exact`], [`size`]) or is counted under callgrind ([`instructions`]); the verdicts go to people and machines ([`outputs`]).
//!
//! Nothing of an earlier run is used for times: on a shared machine last week's figures say more about last week than about the code.

pub mod builds;
pub mod exact;
pub mod instructions;
pub mod outputs;
pub mod pair;
pub mod size;
pub mod stages;
#[cfg(test)]
mod tests;
pub mod verdict;

use stages::Judged;
use verdict::{Verdict, overall};

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
