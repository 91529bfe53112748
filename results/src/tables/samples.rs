//! The columns of `samples`, in their order: those of the sample itself, then what the worker saw while it took the sample's batch.

use super::column::{Column, Kind, Value};
use crate::schema::{Batch, Sample};

/// A column that all samples of a batch have the same value in.
struct OfBatch {
    name: &'static str,
    kind: Kind,
    get: fn(&Batch) -> Value<'static>,
}

const OF_SAMPLE: [(&str, Kind); 5] =
    [("id", Kind::Text), ("round", Kind::Int), ("calls", Kind::Int), ("ns", Kind::Int), ("rejected", Kind::Flag)];

const OF_BATCH: [OfBatch; 8] = [
    OfBatch { name: "batch_steal_ns", kind: Kind::Int, get: |batch| count(batch.steal_ns) },
    OfBatch { name: "batch_load_average", kind: Kind::Double, get: |batch| batch.load_average.map_or(Value::Absent, Value::Double) },
    OfBatch { name: "batch_involuntary_switches", kind: Kind::Int, get: |batch| count(batch.involuntary_switches) },
    OfBatch { name: "batch_frequency_khz", kind: Kind::Int, get: |batch| count(batch.frequency_khz) },
    OfBatch { name: "batch_energy_uj", kind: Kind::Int, get: |batch| count(batch.energy_uj) },
    OfBatch { name: "batch_instructions", kind: Kind::Int, get: |batch| count(batch.instructions) },
    OfBatch { name: "batch_cycles", kind: Kind::Int, get: |batch| count(batch.cycles) },
    OfBatch { name: "batch_cache_misses", kind: Kind::Int, get: |batch| count(batch.cache_misses) },
];

fn count(figure: Option<u64>) -> Value<'static> {
    figure.map_or(Value::Absent, Value::Count)
}

/// All of them, empty.
pub(super) fn sample_columns() -> Vec<Column> {
    let own = OF_SAMPLE.iter().map(|(name, kind)| Column::new(name, *kind, false));
    own.chain(OF_BATCH.iter().map(|column| Column::new(column.name, column.kind, true))).collect()
}

/// The row of a sample.
pub(super) fn sample_row<'a>(id: &'a str, sample: &Sample, batch: Option<&Batch>) -> impl Iterator<Item = Value<'a>> {
    let own = [
        Value::text(id),
        Value::Count(sample.round.into()),
        Value::Count(sample.calls.into()),
        Value::Count(sample.ns),
        Value::Flag(sample.rejected),
    ];
    own.into_iter().chain(OF_BATCH.iter().map(move |column| batch.map_or(Value::Absent, column.get)))
}

/// Says what of a batch cannot be stored, if something cannot.
pub(crate) fn check_batch(batch: &Batch) -> Result<(), String> {
    let all = OF_BATCH.iter().map(|column| (column.name, (column.get)(batch)));
    let calls = ("calls of a batch", Value::Count(batch.calls));
    all.chain([calls]).try_for_each(|(name, value)| value.check().map_err(|reason| format!("`{name}` is {reason}")))
}
