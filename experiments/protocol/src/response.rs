//! What a worker answers.

use crossover_core::axes::Axes;
use serde::{Deserialize, Serialize};

/// One response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Response {
    /// To `hello`.
    Hello(HelloReply),
    /// To `prepare`.
    Prepared(PreparedReply),
    /// To `verify`, from a worker that judges itself, and to `judge`.
    Verified(AccuracyFigures),
    /// To `verify`, from a worker that left its output in the file; to `materialize`.
    Written {},
    /// To `apply`.
    Applied(Applied),
    /// To `probe`.
    Probed(Ceilings),
    /// To `measure`.
    Measured(MeasuredReply),
    /// To `account`.
    Accounted(MemoryFigures),
    /// To `quit`.
    Bye {},
    /// To any request that could not be done; the worker stays alive.
    Failed(Fault),
}

/// Who the worker is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloReply {
    /// The protocol it speaks.
    pub protocol: u32,
    /// Its name, e.g. `crossover-worker`.
    pub worker: String,
    /// Its version.
    pub version: String,
    /// Fingerprint of the build: compiler, flags, revision.
    pub build: String,
    /// The engines in it.
    pub engines: Vec<EngineInfo>,
    /// What it does by itself.
    pub capabilities: Capabilities,
    /// What it reads beside the clock, and why not where it cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instruments: Vec<Instrument>,
}

/// A figure of [`Conditions`] that a worker looks for on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// The field's name.
    pub name: String,
    /// Why it is always `null` here; `null` where it is not.
    pub absent: Option<String>,
}

/// One engine in a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineInfo {
    /// Its name, as cells use it.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// The instruction set it dispatches to on this machine.
    pub isa: String,
    /// Precisions with kernels of their own.
    pub native: Vec<String>,
}

/// What a worker does by itself, so that the runner knows what to do for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// It draws the inputs of a cell from the seed; otherwise it wants them in a file.
    pub draws_inputs: bool,
    /// It compares its own output with the reference; otherwise it writes the output to a file.
    pub judges: bool,
    /// It empties the processor's caches before each call of a cell with `cache` = `cold`; others are not given such cells.
    #[serde(default)]
    pub empties_caches: bool,
}

/// How the engine will run the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupportLevel {
    /// By kernels of the asked precision.
    Native,
    /// By composing its own primitives.
    Composed,
    /// In another precision than asked.
    Emulated,
}

/// The cell is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedReply {
    /// How it will be run.
    pub support: SupportLevel,
    /// The reason, where `support` is `emulated`.
    pub reason: Option<String>,
    /// Time spent on packing, quantising and uploading weights. (Our own worker has quantised before, with the inputs.)
    pub prepare_ns: u64,
    /// Time spent on the variant's host transforms, where it has any and the worker makes them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derive_ns: Option<u64>,
    /// What they saved, where they compress weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformFigures>,
    /// Operations of one call, by the cost model.
    pub flops: u64,
    /// Bytes that one call must move at least once.
    pub bytes: u64,
    /// Threads that the engine uses.
    pub threads_used: u64,
    /// The instruction set it dispatched to.
    pub isa: String,
}

/// What a variant's host transforms made of its weights: sums over all that they compress.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformFigures {
    /// Entries of the weights as given.
    pub parameters_before: u64,
    /// Entries or codes that are left.
    pub parameters_after: u64,
    /// Bytes of the weights as given, dense in the cell's weight type.
    pub bytes_before: u64,
    /// Bytes of what became of them, with scales, tables and indices.
    pub bytes_after: u64,
    /// The largest relative error of a weight in the Frobenius norm; `null` where it is not finite.
    pub error: Option<f64>,
}

/// A batch of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredReply {
    /// The samples, in the order taken.
    pub samples: Vec<MeasuredSample>,
    /// What the worker saw beside its clock while it took them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Conditions>,
}

/// One timed sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredSample {
    /// Calls in it.
    pub calls: u32,
    /// Wall time of all of them.
    pub ns: u64,
    /// True where the worker saw itself being disturbed (an involuntary switch, stolen time).
    pub disturbed: bool,
}

/// What a worker saw beside its clock while it took a batch of samples; each figure `null` where the machine does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Time that the hypervisor gave to others, all cores together, in steps of ten milliseconds.
    pub steal_ns: Option<u64>,
    /// Load average over a minute at the end of the batch.
    pub load_average: Option<f64>,
    /// Involuntary context switches of all threads of the worker.
    pub involuntary_switches: Option<u64>,
    /// Frequency of the processor that the batch ended on.
    pub frequency_khz: Option<u64>,
    /// Energy that the processor's packages and their memory took, whoever used them.
    pub energy_uj: Option<u64>,
    /// Instructions of all calls, in user space, on all threads of the worker.
    pub instructions: Option<u64>,
    /// Cycles, likewise.
    pub cycles: Option<u64>,
    /// Misses of the last cache, likewise.
    pub cache_misses: Option<u64>,
}

/// The three named memory figures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryFigures {
    /// Declared: prepared weights.
    pub weight_bytes: u64,
    /// Declared: inputs and output.
    pub activation_bytes: u64,
    /// Declared: the scratch arena at its fullest.
    pub scratch_bytes: u64,
    /// Declared: state that outlives a call.
    pub state_bytes: u64,
    /// Peak of the counting allocator, above what was held before; `null` from a worker that does not count.
    pub allocator_peak_bytes: Option<u64>,
    /// Allocations by one call after warm-up; `null` from a worker that does not count.
    pub warm_allocations: Option<u64>,
    /// The process's high-water mark of resident memory.
    pub high_water_bytes: u64,
    /// The most that it held at once of its device's memory while calling, as the device tells; `null` where the engine computes in the
    /// host's memory, and from a worker that does not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_peak_bytes: Option<u64>,
}

/// What comparing with the references gave.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccuracyFigures {
    /// Within tolerance?
    pub passed: bool,
    /// What missed it and by how much, where it did.
    pub complaint: Option<String>,
    /// Largest absolute error against the same variant in f64.
    pub err_impl: Option<f64>,
    /// The same, as a relative Frobenius norm.
    pub err_impl_rel: Option<f64>,
    /// Largest error as a share of its tolerance.
    pub tolerance_used: Option<f64>,
    /// Largest absolute error against the exact dense operation in f64.
    pub err_method: Option<f64>,
    /// The same, as a relative Frobenius norm.
    pub err_method_rel: Option<f64>,
    /// Mean cosine between output rows and exact rows.
    pub cosine: Option<f64>,
    /// `err_method_rel` over that of the plain dense operation at the same precision.
    pub error_ratio: Option<f64>,
    /// Mean Kullback-Leibler divergence of the output rows from the exact ones in nats; absent where they are not about classes.
    #[serde(default)]
    pub divergence: Option<f64>,
    /// Share of the rows whose first class is that of the exact row; absent likewise.
    #[serde(default)]
    pub top_1_agreement: Option<f64>,
    /// Output values that are not finite where the exact ones are.
    pub nonfinite: u64,
    /// Rows compared.
    pub rows_checked: u64,
    /// Rows that the output has.
    pub rows_total: u64,
}

/// What `apply` did, and what its caller should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// How the engine ran it.
    pub support: SupportLevel,
    /// The reason, where `support` is `emulated`.
    pub reason: Option<String>,
    /// The axes as run: sizes read off the tensors, defaults filled in.
    pub axes: Axes,
    /// Values of the output that are NaN or infinite.
    pub nonfinite: u64,
    /// Values of the output.
    pub values: u64,
}

/// What this machine can do at most, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceilings {
    /// Threads that took part.
    pub threads: u32,
    /// Instruction set of the arithmetic loops.
    pub isa: String,
    /// Double-precision multiply-adds, as operations a second (two each).
    pub f64_flops_per_s: u64,
    /// Single-precision multiply-adds, likewise.
    pub f32_flops_per_s: u64,
    /// Products of narrow numbers, one entry for each unit of the processor that does them; none where it has none.
    #[serde(default)]
    pub narrow: Vec<NarrowCeiling>,
    /// Bandwidth by working-set size, smallest first; the last is main memory.
    pub bandwidth: Vec<Bandwidth>,
}

/// What one unit of the processor makes of narrow numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NarrowCeiling {
    /// `bf16` (summed in f32) or `int8` (summed in i32).
    pub precision: String,
    /// The unit: `avx512_bf16`, `avx512_vnni`, `avx_vnni`, `amx_bf16`, `amx_int8`.
    pub isa: String,
    /// Multiplications and additions a second, all threads together.
    pub ops_per_s: u64,
}

/// Bandwidth at one working-set size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// `L1`, `L2`, `L3` or `memory`.
    pub level: String,
    /// Bytes that each thread went over.
    pub working_set_bytes: u64,
    /// Bytes read a second, all threads together.
    pub read_bytes_per_s: u64,
    /// Bytes read plus bytes written a second by a copy, all threads together.
    pub copy_bytes_per_s: u64,
}

/// Why a request could not be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FailureKind,
    /// For people: what happened and what to do.
    pub message: String,
}

/// The kinds of failure that a worker can report and live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The engine cannot run this cell; the message says why.
    Unsupported,
    /// The request made no sense: an unknown variant, a bad shape, messages out of order.
    BadRequest,
    /// There is not enough memory for it.
    OutOfMemory,
    /// Anything else that went wrong inside.
    Internal,
}
