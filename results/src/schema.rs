//! The record: one tidy row per cell, as the journal and the Parquet files hold it.
//!
//! Raw facts only: integers in nanoseconds and bytes, errors as measured. Whatever can be derived (FLOP/s, shares, ratios) is
//! derived by the readers, so that a better formula never needs a new run. `RESULTS.md` beside this crate describes each field
//! for people; [`SCHEMA_VERSION`] changes when the meaning of a field does.

use crossover_core::axes::Axes;
use serde::{Deserialize, Serialize};

pub use crate::conditions::{Batch, Conditions};

/// The version of the record layout. Readers refuse versions above their own and say so.
pub const SCHEMA_VERSION: u32 = 6;

/// How a cell ended. Everything but `Ok` carries a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Verified and measured by a kernel of the asked precision.
    Ok,
    /// The engine says it cannot run this cell.
    Unsupported,
    /// Verified and measured, but computed in another precision than asked: kept out of speed rankings by default.
    Emulated,
    /// Measured by another program, and nobody checked the output: kept out of rankings. Since version 6.
    Unchecked,
    /// The output missed its tolerance; such a cell has no time.
    Wrong,
    /// The worker ran out of memory, or the problem cannot fit.
    Oom,
    /// A step took longer than its deadline.
    Timeout,
    /// The worker died, or stopped speaking the protocol.
    Crashed,
    /// Skipped because its predicted cost exceeds what the run may spend.
    OverBudget,
}

impl Status {
    /// Every status, in the order in which reports list them.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Emulated,
        Self::Unchecked,
        Self::Unsupported,
        Self::Wrong,
        Self::Oom,
        Self::Timeout,
        Self::Crashed,
        Self::OverBudget,
    ];

    /// Whether a run that is gone on with leaves the cell as it is: one for which there was no time gets another chance.
    pub fn is_final(self) -> bool {
        self != Self::OverBudget
    }

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unsupported => "unsupported",
            Self::Emulated => "emulated",
            Self::Unchecked => "unchecked",
            Self::Wrong => "wrong",
            Self::Oom => "oom",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::OverBudget => "over-budget",
        }
    }
}

/// One cell, finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema: u32,
    /// Hash of variant, engine and axes (16 hex digits).
    pub id: String,
    /// Hash of the problem alone: cells of one group solve the same problem and were interleaved.
    pub group: String,
    /// The experiment's name.
    pub experiment: String,
    /// `attention`, `ffn`, ...
    pub family: String,
    /// `family/kebab-name`.
    pub variant: String,
    /// The engine's name.
    pub engine: String,
    /// True for the variant that the experiment names as the baseline of its group.
    pub baseline: bool,
    /// Every axis by name.
    pub axes: Axes,
    /// How it ended.
    pub status: Status,
    /// Why, for everything but `ok`; for `ok` a reservation, where there is one.
    pub reason: Option<String>,
    /// The last lines that the worker wrote to stderr, where it failed.
    pub stderr_tail: Option<String>,
    /// `native`, `composed` or `emulated`, as the engine answered.
    pub support: Option<String>,
    /// When the cell was finished (Unix time).
    pub finished_unix_ms: u64,
    /// Time spent on the cell by the runner, all steps together.
    pub elapsed_ns: u64,
    /// Time and work, where it was measured.
    pub speed: Option<Speed>,
    /// Its baseline, as measured in the same rounds. Absent for baselines, and where there was none beside it. Since version 4.
    #[serde(default)]
    pub beside: Option<Beside>,
    /// Memory, where it was accounted.
    pub memory: Option<Memory>,
    /// Errors, where it was verified.
    pub accuracy: Option<Accuracy>,
    /// What its host transforms did to the weights, where it was prepared and has any. Since version 2.
    #[serde(default)]
    pub transform: Option<Transform>,
    /// The cost that it was to have, where its sweep compares variants at equal cost. Since version 2.
    #[serde(default)]
    pub matching: Option<Matching>,
    /// How the machine was while it was measured, and what that took beside time. Since version 3.
    #[serde(default)]
    pub conditions: Option<Conditions>,
    /// Raw samples, in the order taken.
    pub samples: Vec<Sample>,
    /// What the worker saw beside its clock, one entry for each round in which it was asked and told. Since version 3.
    #[serde(default)]
    pub batches: Vec<Batch>,
    /// Fingerprint of the machine; the manifest spells it out.
    pub machine: String,
    /// Fingerprint of the worker's build; the manifest spells it out.
    pub build: String,
}

/// What the timer saw, for one call of the variant. What is optional here is known of every cell that a worker measured; of an imported one
/// it may not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Median over the samples.
    pub median_ns: u64,
    /// Lower end of the 95 % confidence interval of the median (exact bootstrap). Absent where the samples are too few for one.
    pub ci_low_ns: Option<u64>,
    /// Upper end of it.
    pub ci_high_ns: Option<u64>,
    /// Fastest sample: an extra, never the headline.
    pub min_ns: u64,
    /// 95th percentile.
    pub p95_ns: u64,
    /// Samples used.
    pub samples: u64,
    /// Samples rejected for a gap or stolen time.
    pub rejected: u64,
    /// Calls before the first sample.
    pub warmup_calls: Option<u64>,
    /// Packing, quantising and uploading before the timer.
    pub prepare_ns: Option<u64>,
    /// One of the names of [`Stop`].
    pub stop: String,
    /// Floating-point operations of one call, from the cost model.
    pub flops: Option<u64>,
    /// Bytes that one call must move at least once: inputs, weights and output.
    pub bytes: Option<u64>,
    /// Threads that the engine really used.
    pub threads_used: Option<u64>,
    /// Instruction set that the engine dispatched to.
    pub isa: Option<String>,
}

/// Why the sampling of a cell ended: the words of [`Speed::stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The interval is as narrow as asked.
    Converged,
    /// The cell's time was spent before.
    Budget,
    /// It was spent before there were as many undisturbed samples as asked for. Since version 5; `Budget` before.
    Few,
    /// It was spent, and every sample was disturbed: the figures are of these. Since version 5; `Budget` before.
    Disturbed,
    /// Another program took as many as it was set to. Since version 6.
    Fixed,
}

impl Stop {
    /// The name used in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Budget => "budget",
            Self::Few => "few-samples",
            Self::Disturbed => "all-disturbed",
            Self::Fixed => "fixed",
        }
    }
}

/// What the timer saw of a cell's baseline in the rounds in which the cell itself was sampled.
///
/// The baseline's own record may be of other rounds, or of another day: a group that is measured in parts has the baseline in each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The baseline's cell.
    pub id: String,
    /// Median over its samples of these rounds.
    pub median_ns: u64,
    /// Lower end of the 95 % confidence interval of the median. Absent where the samples are too few for one.
    pub ci_low_ns: Option<u64>,
    /// Upper end of it.
    pub ci_high_ns: Option<u64>,
    /// Samples that this comes from.
    pub samples: u64,
}

/// The three named memory figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Declared: prepared weights.
    pub weight_bytes: u64,
    /// Declared: inputs and output.
    pub activation_bytes: u64,
    /// Declared: the scratch arena at its fullest.
    pub scratch_bytes: u64,
    /// Declared: state that outlives a call, such as a key/value cache.
    pub state_bytes: u64,
    /// Peak of the counting allocator over prepare and one call, above what the process held before. Absent where nobody counted.
    pub allocator_peak_bytes: Option<u64>,
    /// Allocations made by one call after warm-up. Absent where nobody counted.
    pub warm_allocations: Option<u64>,
    /// The fresh process's high-water mark of resident memory.
    pub high_water_bytes: u64,
    /// The most that the process held at once of its device's memory while calling. Absent where the engine computes in the host's
    /// memory. Since version 4.
    #[serde(default)]
    pub device_peak_bytes: Option<u64>,
}

/// How far the output is from what it should be. A figure that is not finite is absent, and counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// Largest absolute error against the same variant in f64 on the same rounded inputs.
    pub err_impl: Option<f64>,
    /// The same error as a relative Frobenius norm.
    pub err_impl_rel: Option<f64>,
    /// Largest error as a share of its tolerance: above 1 the cell is wrong.
    pub tolerance_used: Option<f64>,
    /// Largest absolute error against the exact dense operation in f64 on the inputs as drawn.
    pub err_method: Option<f64>,
    /// The same error as a relative Frobenius norm.
    pub err_method_rel: Option<f64>,
    /// Mean cosine between output rows and exact rows.
    pub cosine: Option<f64>,
    /// `err_method_rel` over that of the plain dense operation at the same precision.
    pub error_ratio: Option<f64>,
    /// Mean Kullback-Leibler divergence of the output rows from the exact ones in nats. Absent where they are not about classes, or where
    /// the output gives nothing to a class that has a share. Since version 3.
    #[serde(default)]
    pub divergence: Option<f64>,
    /// Share of the rows whose first class is that of the exact row. Absent where they are not about classes. Since version 3.
    #[serde(default)]
    pub top_1_agreement: Option<f64>,
    /// Output values that are NaN or infinite where the exact ones are not.
    pub nonfinite: u64,
    /// Rows compared.
    pub rows_checked: u64,
    /// Rows that the output has.
    pub rows_total: u64,
}

/// What host transforms (factors, masks, codes) made of a variant's weights before the engine saw them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// Time that the transforms took, all together.
    pub derive_ns: u64,
    /// What they saved. Absent where they make tensors without compressing weights.
    pub saved: Option<Saved>,
}

/// Sums over the compressed weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Entries of the weights as given.
    pub parameters_before: u64,
    /// Entries or codes that are left of them.
    pub parameters_after: u64,
    /// Bytes of the weights as given, dense in the cell's weight type.
    pub bytes_before: u64,
    /// Bytes of what became of them, with scales, tables and indices.
    pub bytes_after: u64,
    /// The largest relative error of a weight in the Frobenius norm. Absent where it is not finite.
    pub error: Option<f64>,
}

/// How a cell stands to the cost that it was to have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matching {
    /// What was to be equal: `parameters` or `flops`.
    pub mode: String,
    /// The share of the baseline's cost that was wanted.
    pub share: f64,
    /// The cost that was wanted.
    pub target: u64,
    /// The cost that the cell has.
    pub cost: u64,
}

/// One timed sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The interleaving round in which it was taken.
    pub round: u32,
    /// Calls in this sample.
    pub calls: u32,
    /// Wall time of all its calls.
    pub ns: u64,
    /// True where a gap or stolen time disqualified it; kept all the same.
    pub rejected: bool,
}
