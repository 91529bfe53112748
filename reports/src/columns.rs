//! The columns that this crate goes by: those of `cells.parquet`, and how axes are told from them.
//!
//! Inside, every axis column is called `axis:NAME`, so that no axis can ever collide with a fixed or derived column, whatever
//! people call their axes.

use polars::prelude::*;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Double,
    Text,
    Flag,
}

impl Kind {
    pub(crate) fn dtype(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Text => DataType::String,
            Self::Flag => DataType::Boolean,
        }
    }
}

/// Which run the cell is from: an index into the runs as they were named.
pub(crate) const RUN: &str = "run";
/// Before the name of every axis column.
pub(crate) const AXIS: &str = "axis:";
/// The axes that have places of their own in the tables.
pub(crate) const PRECISION: &str = "axis:precision";
pub(crate) const THREADS: &str = "axis:threads";

/// The parts of what an engine declares to hold; their sum is the declared memory.
pub(crate) const DECLARED_BYTES: [&str; 4] = ["weight_bytes", "activation_bytes", "scratch_bytes", "state_bytes"];

/// The fixed columns of `cells.parquet` in their order. A test holds this against what the store writes.
pub(crate) const CELL_COLUMNS: &[(&str, Kind)] = &[
    ("schema", Kind::Int),
    ("id", Kind::Text),
    ("group", Kind::Text),
    ("experiment", Kind::Text),
    ("family", Kind::Text),
    ("variant", Kind::Text),
    ("engine", Kind::Text),
    ("baseline", Kind::Flag),
    ("status", Kind::Text),
    ("reason", Kind::Text),
    ("stderr_tail", Kind::Text),
    ("support", Kind::Text),
    ("finished_unix_ms", Kind::Int),
    ("elapsed_ns", Kind::Int),
    ("median_ns", Kind::Int),
    ("ci_low_ns", Kind::Int),
    ("ci_high_ns", Kind::Int),
    ("min_ns", Kind::Int),
    ("p95_ns", Kind::Int),
    ("samples", Kind::Int),
    ("rejected", Kind::Int),
    ("warmup_calls", Kind::Int),
    ("prepare_ns", Kind::Int),
    ("stop", Kind::Text),
    ("flops", Kind::Int),
    ("bytes", Kind::Int),
    ("threads_used", Kind::Int),
    ("isa", Kind::Text),
    ("beside_id", Kind::Text),
    ("beside_median_ns", Kind::Int),
    ("beside_ci_low_ns", Kind::Int),
    ("beside_ci_high_ns", Kind::Int),
    ("beside_samples", Kind::Int),
    ("weight_bytes", Kind::Int),
    ("activation_bytes", Kind::Int),
    ("scratch_bytes", Kind::Int),
    ("state_bytes", Kind::Int),
    ("allocator_peak_bytes", Kind::Int),
    ("warm_allocations", Kind::Int),
    ("high_water_bytes", Kind::Int),
    ("device_peak_bytes", Kind::Int),
    ("err_impl", Kind::Double),
    ("err_impl_rel", Kind::Double),
    ("tolerance_used", Kind::Double),
    ("err_method", Kind::Double),
    ("err_method_rel", Kind::Double),
    ("cosine", Kind::Double),
    ("error_ratio", Kind::Double),
    ("divergence", Kind::Double),
    ("top_1_agreement", Kind::Double),
    ("nonfinite", Kind::Int),
    ("rows_checked", Kind::Int),
    ("rows_total", Kind::Int),
    ("derive_ns", Kind::Int),
    ("transform_parameters_before", Kind::Int),
    ("transform_parameters_after", Kind::Int),
    ("transform_bytes_before", Kind::Int),
    ("transform_bytes_after", Kind::Int),
    ("transform_error", Kind::Double),
    ("match_mode", Kind::Text),
    ("match_share", Kind::Double),
    ("match_target", Kind::Int),
    ("match_cost", Kind::Int),
    ("steal_ns", Kind::Int),
    ("load_average", Kind::Double),
    ("involuntary_switches", Kind::Int),
    ("frequency_khz", Kind::Int),
    ("energy_j", Kind::Double),
    ("instructions", Kind::Double),
    ("cycles", Kind::Double),
    ("cache_misses", Kind::Double),
    ("machine", Kind::Text),
    ("build", Kind::Text),
];

/// The axis columns of a schema, in their order.
pub(crate) fn axis_columns(schema: &Schema) -> Vec<String> {
    schema.iter_names().filter(|name| name.starts_with(AXIS)).map(|name| name.to_string()).collect()
}

/// The name that people know an axis column by.
pub(crate) fn axis_name(column: &str) -> &str {
    column.strip_prefix(AXIS).unwrap_or(column)
}

/// Typed access to the columns of a collected frame; a wrong name or type is an error, not an empty table.
pub(crate) trait Typed {
    fn ints(&self, name: &str) -> PolarsResult<&Int64Chunked>;
    fn doubles(&self, name: &str) -> PolarsResult<&Float64Chunked>;
    fn texts(&self, name: &str) -> PolarsResult<&StringChunked>;
    fn flags(&self, name: &str) -> PolarsResult<&BooleanChunked>;
    /// A value of any of these types as people write it; absent where it is null.
    fn shown(&self, name: &str, row: usize) -> PolarsResult<Option<String>>;
}

impl Typed for DataFrame {
    fn ints(&self, name: &str) -> PolarsResult<&Int64Chunked> {
        self.column(name)?.i64()
    }

    fn doubles(&self, name: &str) -> PolarsResult<&Float64Chunked> {
        self.column(name)?.f64()
    }

    fn texts(&self, name: &str) -> PolarsResult<&StringChunked> {
        self.column(name)?.str()
    }

    fn flags(&self, name: &str) -> PolarsResult<&BooleanChunked> {
        self.column(name)?.bool()
    }

    fn shown(&self, name: &str, row: usize) -> PolarsResult<Option<String>> {
        let column = self.column(name)?;
        Ok(match column.dtype() {
            DataType::Int64 => column.i64()?.get(row).map(|value| value.to_string()),
            // Debug keeps the point of 1.0, and writes the shortest digits that read back the same.
            DataType::Float64 => column.f64()?.get(row).map(|value| format!("{value:?}")),
            DataType::Boolean => column.bool()?.get(row).map(|value| value.to_string()),
            _ => column.str()?.get(row).map(str::to_owned),
        })
    }
}
