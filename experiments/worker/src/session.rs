//! One worker's state: at most one prepared cell.

use std::path::Path;

use crossover_core::axes::Axes;
use crossover_core::device::is_on_device;
use crossover_core::error::EngineError;
use crossover_core::support::Support;
use crossover_protocol::{
    AccuracyFigures, Cell, FailureKind, Fault, Instrument, MeasuredReply, MemoryFigures, PreparedReply, Response, SupportLevel,
    TransformFigures,
};
use crossover_variants::cell::{DryRun, PreparedCell};
use crossover_variants::inputs::{CellInputs, Transform};
use crossover_variants::registry::{self, Entry};
use crossover_variants::resolve::{is_cold, precision, resolve, shape_of, size};
use crossover_variants::verify::{self, Judgement};

use crate::eviction::Eviction;
use crate::instruments::Instruments;
use crate::serve::bad_request;
use crate::{dispatch, memory, process, tensor_file, timing};

/// The state between requests.
pub struct Session {
    instruments: Instruments,
    ready: Option<Ready>,
}

struct Ready {
    problem: Problem,
    inputs: CellInputs,
    cell: Box<dyn PreparedCell>,
    engine: String,
    /// Of a cell whose calls begin with empty caches: made when it is first measured, so that no memory figure has it.
    eviction: Option<Eviction>,
}

/// A cell's variant with its axes resolved.
struct Problem {
    entry: Entry,
    axes: Axes,
}

impl Problem {
    fn of(cell: &Cell) -> Result<Self, Fault> {
        let entry = registry::find(&cell.variant).ok_or_else(|| unknown_variant(&cell.variant))?;
        let axes = resolve(entry.descriptor, &cell.axes).map_err(|error| bad_request(error.to_string()))?;
        Ok(Self { entry, axes })
    }

    fn draw(&self) -> Result<CellInputs, Fault> {
        let drawn = self.entry.draw(&self.axes).map_err(fault)?;
        CellInputs::new(&self.entry, &self.axes, drawn).map_err(fault)
    }

    /// Weights, activations and output once each; of tables that are read by index, as much as there are indices.
    fn compulsory_bytes(&self, inputs: &CellInputs, dry: &DryRun) -> u64 {
        let output: usize = shape_of(self.entry.descriptor.output, &self.axes).iter().product();
        let output = precision(&self.axes).storage().bytes(output).unwrap_or(usize::MAX);
        (inputs.bytes().saturating_add(output) as u64).saturating_sub(dry.unread_bytes)
    }
}

impl Session {
    /// Nothing prepared; the instruments see every thread from here on.
    pub fn open() -> Self {
        Self { instruments: Instruments::open(), ready: None }
    }

    /// What is read beside the clock.
    pub fn instruments(&self) -> Vec<Instrument> {
        self.instruments.list()
    }

    /// Everything that must not be timed.
    pub fn prepare(&mut self, cell: Cell, inputs: Option<&Path>) -> Result<PreparedReply, Fault> {
        self.ready = None;
        if inputs.is_some() {
            return Err(bad_request("this worker draws its inputs itself: send `inputs` as null"));
        }
        let problem = Problem::of(&cell)?;
        refuse_crowding(size(&problem.axes, "threads"))?;
        refuse_cold_devices(&cell.engine, &problem.axes)?;
        let dry = problem.entry.dry_run(&problem.axes).map_err(fault)?;
        let support =
            dispatch::support(&cell.engine, &dry.operations, &problem.axes).ok_or_else(|| unknown_engine(&cell.engine))?.map_err(fault)?;
        let (support, reason) = level(support)?;
        refuse_what_cannot_fit(problem.entry.footprint(&problem.axes).map_err(fault)?.on_host(&cell.engine))?;
        let inputs = problem.draw()?;
        let prepared =
            dispatch::prepare(&cell.engine, &cell.variant, &problem.axes, &inputs).ok_or_else(|| unknown_engine(&cell.engine))?;
        let prepared = prepared.map_err(fault)?;
        #[cfg(feature = "planted")]
        let prepared = crate::planted::slowed(prepared).map_err(|error| bad_request(error.to_string()))?;
        let reply = PreparedReply {
            support,
            reason,
            prepare_ns: prepared.prepare_ns(),
            derive_ns: inputs.transform.map(|transform| transform.derive_ns),
            transform: inputs.transform.and_then(saved),
            flops: problem.entry.cost(&problem.axes).map_err(fault)?.flops,
            bytes: problem.compulsory_bytes(&inputs, &dry),
            threads_used: prepared.threads_used() as u64,
            isa: prepared.isa(),
        };
        self.ready = Some(Ready { problem, inputs, cell: prepared, engine: cell.engine, eviction: None });
        Ok(reply)
    }

    /// One poisoned call, compared with the references; or its output left in a file.
    pub fn verify(&mut self, output: Option<&Path>) -> Result<Response, Fault> {
        let ready = self.ready()?;
        ready.cell.call_poisoned().map_err(fault)?;
        let values = ready.cell.output().map_err(fault)?;
        if let Some(path) = output {
            let storage = precision(&ready.problem.axes).storage();
            tensor_file::write(path, &[("out", &values)], storage).map_err(internal)?;
            return Ok(Response::Written {});
        }
        let judgement = verify::judge(&ready.problem.entry, &ready.problem.axes, &ready.inputs, &values).map_err(fault)?;
        Ok(Response::Verified(figures(judgement)))
    }

    /// Samples of the prepared cell.
    pub fn measure(&mut self, samples: u32, calls: u32) -> Result<MeasuredReply, Fault> {
        let Self { instruments, ready } = self;
        let Ready { problem, cell, eviction, .. } = ready.as_mut().ok_or_else(out_of_order)?;
        if is_cold(&problem.axes) && eviction.is_none() {
            *eviction = Some(Eviction::new(cell.threads_used()).map_err(fault)?);
        }
        let evict = eviction.as_ref().map(|eviction| || _ = eviction.evict());
        let evict = evict.as_ref().map(|evict| evict as &dyn Fn());
        timing::measure(cell.as_mut(), samples, calls, evict, instruments).map_err(fault)
    }

    /// The memory pass. It ends the cell: another `prepare` must follow before the next measurement.
    pub fn account(&mut self) -> Result<MemoryFigures, Fault> {
        let ready = self.ready.take().ok_or_else(out_of_order)?;
        let Ready { problem, inputs, cell, engine, .. } = ready;
        drop(cell);
        let inputs = std::cell::RefCell::new(Some(inputs));
        let prepare = || {
            let borrowed = inputs.borrow();
            let inputs = borrowed.as_ref().ok_or_else(|| anyhow::anyhow!("the inputs are gone"))?;
            let prepared = dispatch::prepare(&engine, problem.entry.descriptor.name, &problem.axes, inputs);
            Ok(prepared.ok_or_else(|| anyhow::anyhow!("the engine is gone"))??)
        };
        memory::account(prepare, || drop(inputs.take())).map_err(|error| match error.downcast_ref::<EngineError>() {
            Some(error) => fault(error.clone()),
            None => internal(error),
        })
    }

    /// Writes the inputs of a cell, rounded to its storage type, for a worker that does not draw them.
    pub fn materialize(cell: &Cell, path: &Path) -> Result<(), Fault> {
        let problem = Problem::of(cell)?;
        let inputs = problem.draw()?;
        let storage = precision(&problem.axes).storage();
        let tensors: Vec<_> = inputs.rounded.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        tensor_file::write(path, &tensors, storage).map_err(internal)
    }

    /// Compares an output that another worker wrote.
    pub fn judge(cell: &Cell, path: &Path) -> Result<AccuracyFigures, Fault> {
        let problem = Problem::of(cell)?;
        let inputs = problem.draw()?;
        let file = tensor_file::read(path).map_err(|error| bad_request(format!("{error:#}")))?;
        let output = file.get("out").ok_or_else(|| bad_request(format!("{} holds no tensor named \"out\"", path.display())))?;
        let promised = shape_of(problem.entry.descriptor.output, &problem.axes);
        if output.values.shape() != promised {
            return Err(bad_request(format!("the output has shape {:?}, expected {promised:?}", output.values.shape())));
        }
        verify::judge(&problem.entry, &problem.axes, &inputs, &output.values).map(figures).map_err(fault)
    }

    fn ready(&mut self) -> Result<&mut Ready, Fault> {
        self.ready.as_mut().ok_or_else(out_of_order)
    }
}

/// An engine's answer as the protocol tells it.
pub fn level(support: Support) -> Result<(SupportLevel, Option<String>), Fault> {
    match support {
        Support::Native => Ok((SupportLevel::Native, None)),
        Support::Composed => Ok((SupportLevel::Composed, None)),
        Support::Emulated(reason) => Ok((SupportLevel::Emulated, Some(reason))),
        Support::Unsupported(reason) => Err(Fault { kind: FailureKind::Unsupported, message: reason }),
    }
}

/// More threads than processors take turns: the figures would be those of the scheduler.
fn refuse_crowding(threads: usize) -> Result<(), Fault> {
    match threads > process::processors() {
        true => Err(Fault { kind: FailureKind::Unsupported, message: process::crowded(threads) }),
        false => Ok(()),
    }
}

/// Better refused with figures than killed by the kernel.
pub fn refuse_what_cannot_fit(needed: u64) -> Result<(), Fault> {
    match memory::available_bytes() {
        Some(available) if needed > available => {
            let mebibytes = |bytes: u64| bytes >> 20;
            let message =
                format!("preparing, checking and one call need {} MiB, {} MiB are available", mebibytes(needed), mebibytes(available));
            Err(Fault { kind: FailureKind::OutOfMemory, message })
        }
        _ => Ok(()),
    }
}

/// An engine's error as the protocol tells it.
pub fn fault(error: EngineError) -> Fault {
    let kind = match error {
        EngineError::Unsupported { ref reason, .. } if speaks_of_device_memory(reason) => FailureKind::OutOfMemory,
        EngineError::Unsupported { .. } => FailureKind::Unsupported,
        EngineError::Allocation { .. } => FailureKind::OutOfMemory,
        EngineError::Shape { .. } | EngineError::ElementType { .. } | EngineError::Index { .. } => FailureKind::Internal,
    };
    Fault { kind, message: error.to_string() }
}

/// The driver's own name of it and cuBLAS's, which come through a library that has no kind for them.
fn speaks_of_device_memory(reason: &str) -> bool {
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"].iter().any(|name| reason.contains(name))
}

/// Anything else that went wrong inside.
pub fn internal(error: anyhow::Error) -> Fault {
    Fault { kind: FailureKind::Internal, message: format!("{error:#}") }
}

/// A variant that is not there.
pub fn unknown_variant(name: &str) -> Fault {
    let hint = registry::closest(name).map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
    bad_request(format!("there is no variant {name:?}{hint}; `crossover list variants` shows all"))
}

/// An engine that is not there.
pub fn unknown_engine(name: &str) -> Fault {
    let engines: Vec<&str> = crossover_registry::descriptions().iter().map(|engine| engine.name).collect();
    bad_request(format!("this worker has no engine {name:?}; it has {}", engines.join(", ")))
}

/// Cold is about the processor's caches: a device has its own, which nothing here empties.
fn refuse_cold_devices(engine: &str, axes: &Axes) -> Result<(), Fault> {
    if !is_cold(axes) || !is_on_device(engine) {
        return Ok(());
    }
    let message = format!("{engine} computes on a device whose caches cannot be emptied from here: ask for cache = warm");
    Err(Fault { kind: FailureKind::Unsupported, message })
}

fn out_of_order() -> Fault {
    bad_request("no cell is prepared: send `prepare` first")
}

fn saved(transform: Transform) -> Option<TransformFigures> {
    let saving = transform.saved?;
    Some(TransformFigures {
        parameters_before: saving.parameters_before as u64,
        parameters_after: saving.parameters_after as u64,
        bytes_before: saving.bytes_before as u64,
        bytes_after: saving.bytes_after as u64,
        error: saving.relative_error.is_finite().then_some(saving.relative_error),
    })
}

fn figures(judgement: Judgement) -> AccuracyFigures {
    AccuracyFigures {
        passed: judgement.complaint.is_none(),
        complaint: judgement.complaint,
        err_impl: judgement.implementation.largest,
        err_impl_rel: judgement.implementation.relative,
        tolerance_used: judgement.tolerance_used,
        err_method: judgement.method.largest,
        err_method_rel: judgement.method.relative,
        cosine: judgement.cosine,
        error_ratio: judgement.error_ratio,
        divergence: judgement.divergence,
        top_1_agreement: judgement.top_1_agreement,
        nonfinite: judgement.nonfinite,
        rows_checked: judgement.rows_checked,
        rows_total: judgement.rows_total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_memory_is_out_of_memory_and_one_without_a_driver_is_not() {
        let kind =
            |reason: &str| fault(EngineError::Unsupported { engine: "candle", operation: "tensor".into(), reason: reason.into() }).kind;
        assert_eq!(kind("candle: DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"), FailureKind::OutOfMemory);
        assert_eq!(kind("candle: CublasError(CUBLAS_STATUS_ALLOC_FAILED)"), FailureKind::OutOfMemory);
        assert_eq!(kind("no CUDA device could be opened (DriverError(CUDA_ERROR_NO_DEVICE, ..))"), FailureKind::Unsupported);
    }
}
