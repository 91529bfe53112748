//! A definition as the rest of the runner sees it: every name known, every number in its range.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crossover_core::axes::AxisValue;
use crossover_variants::descriptor::Descriptor;
use crossover_variants::matching::MatchMode;

/// One experiment.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The file it was read from.
    pub file: PathBuf,
    /// Its name, fit for a folder.
    pub name: String,
    /// The question that it answers.
    pub description: String,
    /// Seeds the order in which cells are interleaved.
    pub seed: u64,
    /// Axis values for every sweep, for the variants that have the axis.
    pub defaults: Vec<AxisSetting>,
    /// The grids.
    pub sweeps: Vec<Sweep>,
    /// How to measure.
    pub measure: Measure,
    /// Engines in other processes than ours, by the engine's name.
    pub workers: BTreeMap<String, WorkerCommand>,
}

/// One grid of cells.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Where it stands, for messages: `quick.toml:12`.
    pub place: String,
    /// The variants, in the order of the file.
    pub variants: Vec<&'static Descriptor>,
    /// The engines, in the order of the file.
    pub engines: Vec<EngineChoice>,
    /// The variants that the others are compared with, at most one for each task.
    pub baselines: Vec<&'static str>,
    /// What the variants are to cost alike, where they are.
    pub matching: Option<Matching>,
    /// The axes, in the order of the file.
    pub axes: Vec<AxisSetting>,
}

/// Variants of one sweep compared at equal cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// What is made equal.
    pub mode: MatchMode,
    /// The share of the baseline's cost that every other variant is to have.
    pub share: f64,
    /// Where it was asked for.
    pub place: String,
}

/// One entry of a sweep's `engines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineChoice {
    /// `"*"`: every engine of our own worker.
    Ours,
    /// One engine, and where it was named.
    Named {
        /// Its name.
        name: String,
        /// Where it was named.
        place: String,
    },
}

/// The values of one axis, as given; whether they fit is up to each variant.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisSetting {
    /// The axis.
    pub name: String,
    /// Its values: one where the axis is fixed.
    pub values: Vec<AxisValue>,
    /// Where they were given: `quick.toml:14:1` or `--set n=1,2`.
    pub place: String,
}

/// How cells are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Stop when the confidence interval's half-width is below this share of the median.
    pub half_width: f64,
    /// Samples to take at least.
    pub min_samples: u32,
    /// Time to spend on the samples of one cell at most.
    pub cell_budget: Duration,
    /// How long a sample should take: short calls are repeated until they fill it.
    pub sample_time: Duration,
    /// A worker that needs longer for one answer is killed.
    pub step_timeout: Duration,
    /// Workers that are kept alive at once.
    pub live_workers: usize,
    /// Memory that one worker may take, in bytes.
    pub memory_limit: Option<u64>,
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            half_width: 0.02,
            min_samples: 10,
            cell_budget: Duration::from_secs(1),
            sample_time: Duration::from_micros(100),
            step_timeout: Duration::from_secs(60),
            live_workers: 8,
            memory_limit: None,
        }
    }
}

/// How an engine's worker is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
}
