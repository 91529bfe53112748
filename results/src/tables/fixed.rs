//! The fixed columns of `cells`, in their order: the one list that the writer, the checks and the documentation's test go by.

use super::column::{Kind, Value};
use crate::schema::{Accuracy, Beside, Conditions, Matching, Memory, Record, Saved, Speed};

/// A column that every table has.
pub(crate) struct Fixed {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    get: for<'a> fn(&'a Record) -> Value<'a>,
}

impl Fixed {
    pub(crate) fn value<'a>(&self, record: &'a Record) -> Value<'a> {
        (self.get)(record)
    }
}

const fn always(name: &'static str, kind: Kind, get: for<'a> fn(&'a Record) -> Value<'a>) -> Fixed {
    Fixed { name, kind, nullable: false, get }
}

const fn sometimes(name: &'static str, kind: Kind, get: for<'a> fn(&'a Record) -> Value<'a>) -> Fixed {
    Fixed { name, kind, nullable: true, get }
}

fn speed<'a>(record: &'a Record, get: impl FnOnce(&'a Speed) -> Value<'a>) -> Value<'a> {
    record.speed.as_ref().map_or(Value::Absent, get)
}

fn beside<'a>(record: &'a Record, get: impl FnOnce(&'a Beside) -> Value<'a>) -> Value<'a> {
    record.beside.as_ref().map_or(Value::Absent, get)
}

fn memory(record: &Record, get: impl FnOnce(&Memory) -> u64) -> Value<'_> {
    counted(record, |memory| Some(get(memory)))
}

fn counted(record: &Record, get: impl FnOnce(&Memory) -> Option<u64>) -> Value<'_> {
    record.memory.as_ref().and_then(get).map_or(Value::Absent, Value::Count)
}

fn error(record: &Record, get: impl FnOnce(&Accuracy) -> Option<f64>) -> Value<'_> {
    record.accuracy.as_ref().and_then(get).map_or(Value::Absent, Value::Double)
}

fn rows(record: &Record, get: impl FnOnce(&Accuracy) -> u64) -> Value<'_> {
    record.accuracy.as_ref().map_or(Value::Absent, |accuracy| Value::Count(get(accuracy)))
}

fn saved<'a>(record: &'a Record, get: impl FnOnce(&'a Saved) -> Value<'a>) -> Value<'a> {
    record.transform.as_ref().and_then(|transform| transform.saved.as_ref()).map_or(Value::Absent, get)
}

fn matching<'a>(record: &'a Record, get: impl FnOnce(&'a Matching) -> Value<'a>) -> Value<'a> {
    record.matching.as_ref().map_or(Value::Absent, get)
}

fn tally(record: &Record, get: impl FnOnce(&Conditions) -> Option<u64>) -> Value<'_> {
    record.conditions.as_ref().and_then(get).map_or(Value::Absent, Value::Count)
}

fn reading(record: &Record, get: impl FnOnce(&Conditions) -> Option<f64>) -> Value<'_> {
    record.conditions.as_ref().and_then(get).map_or(Value::Absent, Value::Double)
}

fn optional(text: &Option<String>) -> Value<'_> {
    text.as_deref().map_or(Value::Absent, Value::text)
}

/// Every fixed column of `cells`; the axes follow behind them.
pub(crate) fn fixed_columns() -> &'static [Fixed] {
    FIXED
}

const FIXED: &[Fixed] = &[
    always("schema", Kind::Int, |r| Value::Count(r.schema.into())),
    always("id", Kind::Text, |r| Value::text(&r.id)),
    always("group", Kind::Text, |r| Value::text(&r.group)),
    always("experiment", Kind::Text, |r| Value::text(&r.experiment)),
    always("family", Kind::Text, |r| Value::text(&r.family)),
    always("variant", Kind::Text, |r| Value::text(&r.variant)),
    always("engine", Kind::Text, |r| Value::text(&r.engine)),
    always("baseline", Kind::Flag, |r| Value::Flag(r.baseline)),
    always("status", Kind::Text, |r| Value::text(r.status.name())),
    sometimes("reason", Kind::Text, |r| optional(&r.reason)),
    sometimes("stderr_tail", Kind::Text, |r| optional(&r.stderr_tail)),
    sometimes("support", Kind::Text, |r| optional(&r.support)),
    always("finished_unix_ms", Kind::Int, |r| Value::Count(r.finished_unix_ms)),
    always("elapsed_ns", Kind::Int, |r| Value::Count(r.elapsed_ns)),
    sometimes("median_ns", Kind::Int, |r| speed(r, |s| Value::Count(s.median_ns))),
    sometimes("ci_low_ns", Kind::Int, |r| speed(r, |s| s.ci_low_ns.map_or(Value::Absent, Value::Count))),
    sometimes("ci_high_ns", Kind::Int, |r| speed(r, |s| s.ci_high_ns.map_or(Value::Absent, Value::Count))),
    sometimes("min_ns", Kind::Int, |r| speed(r, |s| Value::Count(s.min_ns))),
    sometimes("p95_ns", Kind::Int, |r| speed(r, |s| Value::Count(s.p95_ns))),
    sometimes("samples", Kind::Int, |r| speed(r, |s| Value::Count(s.samples))),
    sometimes("rejected", Kind::Int, |r| speed(r, |s| Value::Count(s.rejected))),
    sometimes("warmup_calls", Kind::Int, |r| speed(r, |s| s.warmup_calls.map_or(Value::Absent, Value::Count))),
    sometimes("prepare_ns", Kind::Int, |r| speed(r, |s| s.prepare_ns.map_or(Value::Absent, Value::Count))),
    sometimes("stop", Kind::Text, |r| speed(r, |s| Value::text(&s.stop))),
    sometimes("flops", Kind::Int, |r| speed(r, |s| s.flops.map_or(Value::Absent, Value::Count))),
    sometimes("bytes", Kind::Int, |r| speed(r, |s| s.bytes.map_or(Value::Absent, Value::Count))),
    sometimes("threads_used", Kind::Int, |r| speed(r, |s| s.threads_used.map_or(Value::Absent, Value::Count))),
    sometimes("isa", Kind::Text, |r| speed(r, |s| optional(&s.isa))),
    sometimes("beside_id", Kind::Text, |r| beside(r, |b| Value::text(&b.id))),
    sometimes("beside_median_ns", Kind::Int, |r| beside(r, |b| Value::Count(b.median_ns))),
    sometimes("beside_ci_low_ns", Kind::Int, |r| beside(r, |b| b.ci_low_ns.map_or(Value::Absent, Value::Count))),
    sometimes("beside_ci_high_ns", Kind::Int, |r| beside(r, |b| b.ci_high_ns.map_or(Value::Absent, Value::Count))),
    sometimes("beside_samples", Kind::Int, |r| beside(r, |b| Value::Count(b.samples))),
    sometimes("weight_bytes", Kind::Int, |r| memory(r, |m| m.weight_bytes)),
    sometimes("activation_bytes", Kind::Int, |r| memory(r, |m| m.activation_bytes)),
    sometimes("scratch_bytes", Kind::Int, |r| memory(r, |m| m.scratch_bytes)),
    sometimes("state_bytes", Kind::Int, |r| memory(r, |m| m.state_bytes)),
    sometimes("allocator_peak_bytes", Kind::Int, |r| counted(r, |m| m.allocator_peak_bytes)),
    sometimes("warm_allocations", Kind::Int, |r| counted(r, |m| m.warm_allocations)),
    sometimes("high_water_bytes", Kind::Int, |r| memory(r, |m| m.high_water_bytes)),
    sometimes("device_peak_bytes", Kind::Int, |r| counted(r, |m| m.device_peak_bytes)),
    sometimes("err_impl", Kind::Double, |r| error(r, |a| a.err_impl)),
    sometimes("err_impl_rel", Kind::Double, |r| error(r, |a| a.err_impl_rel)),
    sometimes("tolerance_used", Kind::Double, |r| error(r, |a| a.tolerance_used)),
    sometimes("err_method", Kind::Double, |r| error(r, |a| a.err_method)),
    sometimes("err_method_rel", Kind::Double, |r| error(r, |a| a.err_method_rel)),
    sometimes("cosine", Kind::Double, |r| error(r, |a| a.cosine)),
    sometimes("error_ratio", Kind::Double, |r| error(r, |a| a.error_ratio)),
    sometimes("divergence", Kind::Double, |r| error(r, |a| a.divergence)),
    sometimes("top_1_agreement", Kind::Double, |r| error(r, |a| a.top_1_agreement)),
    sometimes("nonfinite", Kind::Int, |r| rows(r, |a| a.nonfinite)),
    sometimes("rows_checked", Kind::Int, |r| rows(r, |a| a.rows_checked)),
    sometimes("rows_total", Kind::Int, |r| rows(r, |a| a.rows_total)),
    sometimes("derive_ns", Kind::Int, |r| r.transform.as_ref().map_or(Value::Absent, |t| Value::Count(t.derive_ns))),
    sometimes("transform_parameters_before", Kind::Int, |r| saved(r, |s| Value::Count(s.parameters_before))),
    sometimes("transform_parameters_after", Kind::Int, |r| saved(r, |s| Value::Count(s.parameters_after))),
    sometimes("transform_bytes_before", Kind::Int, |r| saved(r, |s| Value::Count(s.bytes_before))),
    sometimes("transform_bytes_after", Kind::Int, |r| saved(r, |s| Value::Count(s.bytes_after))),
    sometimes("transform_error", Kind::Double, |r| saved(r, |s| s.error.map_or(Value::Absent, Value::Double))),
    sometimes("match_mode", Kind::Text, |r| matching(r, |m| Value::text(&m.mode))),
    sometimes("match_share", Kind::Double, |r| matching(r, |m| Value::Double(m.share))),
    sometimes("match_target", Kind::Int, |r| matching(r, |m| Value::Count(m.target))),
    sometimes("match_cost", Kind::Int, |r| matching(r, |m| Value::Count(m.cost))),
    sometimes("steal_ns", Kind::Int, |r| tally(r, |c| c.steal_ns)),
    sometimes("load_average", Kind::Double, |r| reading(r, |c| c.load_average)),
    sometimes("involuntary_switches", Kind::Int, |r| tally(r, |c| c.involuntary_switches)),
    sometimes("frequency_khz", Kind::Int, |r| tally(r, |c| c.frequency_khz)),
    sometimes("energy_j", Kind::Double, |r| reading(r, |c| c.energy_j)),
    sometimes("instructions", Kind::Double, |r| reading(r, |c| c.instructions)),
    sometimes("cycles", Kind::Double, |r| reading(r, |c| c.cycles)),
    sometimes("cache_misses", Kind::Double, |r| reading(r, |c| c.cache_misses)),
    always("machine", Kind::Text, |r| Value::text(&r.machine)),
    always("build", Kind::Text, |r| Value::text(&r.build)),
];
