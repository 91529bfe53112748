//! How long the suite takes and what it may ask of an engine.

use crate::dtype::{PRECISION_PRESETS, Precision};
use crate::isa::IsaChoice;
use crate::testing::slow_tier;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Random cases for each property and precision.
    pub cases: usize,
    /// Where the random numbers start.
    pub seed: u64,
    /// At which precisions.
    pub precisions: Vec<Precision>,
    /// Names of properties or operations to run; all where empty.
    pub only: Vec<&'static str>,
    /// Largest extent of a dimension.
    pub largest: usize,
    /// Most multiply-adds of one case.
    pub work: usize,
    /// Threads that engines are given.
    pub threads: usize,
    /// Instruction set that engines are given.
    pub isa: IsaChoice,
    /// Stop at the first failure.
    pub stop_at_first: bool,
    /// Look for a smaller case that fails too.
    pub shrink: bool,
    /// True for engines that visit single pairs, so that a NaN in a value outside the pattern cannot matter. Engines that multiply
    /// tiles compute 0 times that value where a tile is partly visible, and keep this false.
    pub skips_single_pairs: bool,
}

impl Options {
    /// Some 10,000 cases: seconds for the naive engine. Far fewer and smaller ones without optimisation.
    pub fn quick() -> Self {
        let optimised = !cfg!(debug_assertions);
        Self {
            cases: if optimised { 32 } else { 4 },
            seed: 1,
            precisions: PRECISION_PRESETS.iter().map(|(_, precision)| *precision).collect(),
            only: Vec::new(),
            largest: 129,
            work: if optimised { 1 << 16 } else { 1 << 13 },
            threads: 3,
            isa: IsaChoice::Auto,
            stop_at_first: false,
            shrink: true,
            skips_single_pairs: false,
        }
    }

    /// More cases, and larger ones.
    pub fn slow() -> Self {
        Self { cases: 64, work: 1 << 18, seed: 2, ..Self::quick() }
    }

    /// The slow tier if CROSSOVER_SLOW is 1, else the quick one.
    pub fn from_environment() -> Self {
        if slow_tier() { Self::slow() } else { Self::quick() }
    }

    /// For planted faults: the first detection ends a run, and only properties of the operation that is at fault are tried, but in the
    /// slow tier.
    pub fn for_mutants() -> Self {
        let names = ["f32", "bf16", "f16", "int8", "int8-weight", "int4"];
        let named = |name: &str| PRECISION_PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, precision)| *precision);
        let cases = if slow_tier() { 24 } else { 12 };
        Self {
            cases,
            work: 1 << 13,
            precisions: names.into_iter().filter_map(named).collect(),
            stop_at_first: true,
            shrink: false,
            ..Self::quick()
        }
    }

    /// For a look at a build: every property at every precision with a few cases, seconds for each engine.
    pub fn brief() -> Self {
        Self { cases: 12, work: 1 << 13, shrink: false, ..Self::quick() }
    }

    pub(super) fn wants(&self, property: &str, operation: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|&name| name == property || name == operation)
    }
}
