//! From what was found out about a cell to its record.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossover_protocol::{AccuracyFigures, MemoryFigures, PreparedReply, SupportLevel, TransformFigures};
use crossover_results::schema::{
    Accuracy, Beside, Conditions, Matching, Memory, Record, SCHEMA_VERSION, Saved, Speed, Status, Stop, Transform,
};

use crate::plan::{Match, PlannedCell};
use crate::schedule::sampling::Sampling;
use crate::worker::failure::WorkerFailure;

/// What the record says where no worker lived long enough to name its build.
pub const UNKNOWN_BUILD: &str = "unknown";

/// A record in the making: the parts found so far. Each ending is a method that consumes it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The cell.
    pub cell: PlannedCell,
    /// Fingerprint of the machine.
    pub machine: String,
    /// Fingerprint of the worker's build, once it is known.
    pub build: Option<String>,
    /// Time spent on this cell so far.
    pub elapsed: Duration,
    /// The answer to `prepare`.
    pub prepared: Option<PreparedReply>,
    /// The memory pass.
    pub memory: Option<MemoryFigures>,
    /// The verification.
    pub accuracy: Option<AccuracyFigures>,
}

impl Draft {
    /// Nothing found yet.
    pub fn new(cell: PlannedCell, machine: String) -> Self {
        Self { cell, machine, build: None, elapsed: Duration::ZERO, prepared: None, memory: None, accuracy: None }
    }

    /// A step failed.
    pub fn failed(self, failure: &WorkerFailure) -> Record {
        let tail = failure.stderr_tail.clone();
        Record { stderr_tail: tail, ..self.ended(failure.status(), Some(failure.to_string())) }
    }

    /// The cell was not run at all.
    pub fn not_run(self, status: Status, reason: String) -> Record {
        self.ended(status, Some(reason))
    }

    /// The output missed its tolerance: there is no time to report.
    pub fn wrong(self, stderr_tail: Option<String>) -> Record {
        let complaint = self.accuracy.as_ref().and_then(|figures| figures.complaint.clone());
        let reason = complaint.unwrap_or_else(|| "the output misses its tolerance".to_owned());
        Record { stderr_tail, ..self.ended(Status::Wrong, Some(reason)) }
    }

    /// Verified and measured, with its baseline beside it where there was one.
    pub fn measured(self, sampling: Sampling, stop: Stop, beside: Option<Beside>) -> Record {
        let speed = self.prepared.as_ref().and_then(|prepared| speed(prepared, &sampling, stop));
        let (status, reason) = match &self.prepared {
            Some(PreparedReply { support: SupportLevel::Emulated, reason, .. }) => (Status::Emulated, reason.clone()),
            _ => (Status::Ok, sampling.all_disturbed().then(|| "every sample was disturbed: the figures are of all of them".to_owned())),
        };
        let conditions = Conditions::over(&sampling.batches);
        Record { speed, beside, conditions, samples: sampling.samples, batches: sampling.batches, ..self.ended(status, reason) }
    }

    fn ended(self, status: Status, reason: Option<String>) -> Record {
        Record {
            schema: SCHEMA_VERSION,
            id: self.cell.id,
            group: self.cell.group,
            experiment: self.cell.experiment,
            family: self.cell.family,
            variant: self.cell.variant,
            engine: self.cell.engine,
            baseline: self.cell.baseline,
            axes: self.cell.axes,
            status,
            reason,
            stderr_tail: None,
            support: self.prepared.as_ref().map(|prepared| support_name(prepared.support).to_owned()),
            finished_unix_ms: unix_ms(),
            elapsed_ns: nanoseconds(self.elapsed),
            speed: None,
            beside: None,
            memory: self.memory.map(memory),
            accuracy: self.accuracy.map(accuracy),
            transform: self.prepared.as_ref().and_then(transform),
            matching: self.cell.matched.as_ref().map(matching),
            conditions: None,
            samples: Vec::new(),
            batches: Vec::new(),
            machine: self.machine,
            build: self.build.unwrap_or_else(|| UNKNOWN_BUILD.to_owned()),
        }
    }
}

/// What stands in for a record that the store refuses (a figure beyond what its columns hold): the same cell, the reason, no figures.
pub fn without_figures(record: Record, reason: String) -> Record {
    Record {
        status: Status::Crashed,
        reason: Some(reason),
        speed: None,
        beside: None,
        memory: None,
        accuracy: None,
        transform: None,
        matching: None,
        conditions: None,
        samples: Vec::new(),
        batches: Vec::new(),
        ..record
    }
}

/// Unix time in milliseconds.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The baseline as sampled so far, for the record of a cell that was in all the same rounds.
pub fn beside(baseline: &PlannedCell, sampling: &Sampling) -> Option<Beside> {
    let summary = sampling.summary()?;
    Some(Beside {
        id: baseline.id.clone(),
        median_ns: whole(summary.median),
        ci_low_ns: summary.interval().map(|(low, _)| whole(low)),
        ci_high_ns: summary.interval().map(|(_, high)| whole(high)),
        samples: summary.count as u64,
    })
}

fn whole(ns: f64) -> u64 {
    ns.round() as u64
}

fn speed(prepared: &PreparedReply, sampling: &Sampling, stop: Stop) -> Option<Speed> {
    let summary = sampling.summary()?;
    Some(Speed {
        median_ns: whole(summary.median),
        ci_low_ns: summary.interval().map(|(low, _)| whole(low)),
        ci_high_ns: summary.interval().map(|(_, high)| whole(high)),
        min_ns: whole(summary.min),
        p95_ns: whole(summary.p95),
        samples: summary.count as u64,
        rejected: sampling.rejected(),
        warmup_calls: Some(sampling.warmup_calls),
        prepare_ns: Some(prepared.prepare_ns),
        stop: stop.name().to_owned(),
        flops: Some(prepared.flops),
        bytes: Some(prepared.bytes),
        threads_used: Some(prepared.threads_used),
        isa: Some(prepared.isa.clone()),
    })
}

fn memory(figures: MemoryFigures) -> Memory {
    Memory {
        weight_bytes: figures.weight_bytes,
        activation_bytes: figures.activation_bytes,
        scratch_bytes: figures.scratch_bytes,
        state_bytes: figures.state_bytes,
        allocator_peak_bytes: figures.allocator_peak_bytes,
        warm_allocations: figures.warm_allocations,
        high_water_bytes: figures.high_water_bytes,
        device_peak_bytes: figures.device_peak_bytes,
    }
}

fn accuracy(figures: AccuracyFigures) -> Accuracy {
    Accuracy {
        err_impl: figures.err_impl,
        err_impl_rel: figures.err_impl_rel,
        tolerance_used: figures.tolerance_used,
        err_method: figures.err_method,
        err_method_rel: figures.err_method_rel,
        cosine: figures.cosine,
        error_ratio: figures.error_ratio,
        divergence: figures.divergence,
        top_1_agreement: figures.top_1_agreement,
        nonfinite: figures.nonfinite,
        rows_checked: figures.rows_checked,
        rows_total: figures.rows_total,
    }
}

fn transform(prepared: &PreparedReply) -> Option<Transform> {
    let saved = |figures: &TransformFigures| Saved {
        parameters_before: figures.parameters_before,
        parameters_after: figures.parameters_after,
        bytes_before: figures.bytes_before,
        bytes_after: figures.bytes_after,
        error: figures.error,
    };
    Some(Transform { derive_ns: prepared.derive_ns?, saved: prepared.transform.as_ref().map(saved) })
}

fn matching(matched: &Match) -> Matching {
    let Match { mode, share, target, cost, .. } = *matched;
    Matching { mode: mode.name().to_owned(), share, target, cost }
}

/// The name used in records.
pub fn support_name(support: SupportLevel) -> &'static str {
    match support {
        SupportLevel::Native => "native",
        SupportLevel::Composed => "composed",
        SupportLevel::Emulated => "emulated",
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
