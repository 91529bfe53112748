//! A variant on an engine behind one dynamic call.
//!
//! Types are erased here, once: outside the timer everything is a [`dyn PreparedCell`](PreparedCell), inside it everything is static.

use std::time::Instant;

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::error::{EngineError, Result};
use crossover_core::host::HostTensor;
use crossover_core::ops::{OpSpec, WeightForm};
use crossover_core::shape_only::{ShapeOnly, ShapeWeight};
use crossover_core::support::Support;
use crossover_core::tensor::Tensor;

use crate::descriptor::Role;
use crate::inputs::CellInputs;
use crate::resolve::{precision, shape_of, size};
use crate::variant::{Bound, Operands, Variant};

/// Bytes by name, as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeclaredBytes {
    /// Prepared weights.
    pub weights: usize,
    /// Inputs, vectors and output.
    pub activations: usize,
    /// The arena at its fullest so far.
    pub scratch: usize,
    /// State that outlives a call.
    pub state: usize,
}

/// A cell that is ready to be called.
pub trait PreparedCell {
    /// One call, until the device is done.
    fn call(&mut self) -> Result<()>;
    /// One call with output and scratch full of NaN before it, so that nothing unwritten can pass.
    fn call_poisoned(&mut self) -> Result<()>;
    /// The output of the last call.
    fn output(&self) -> Result<HostTensor>;
    /// Bytes by name.
    fn declared_bytes(&self) -> DeclaredBytes;
    /// Threads that the engine really uses.
    fn threads_used(&self) -> usize;
    /// Time that packing and uploading the weights took.
    fn prepare_ns(&self) -> u64;
}

struct TypedCell<B: TransformerBackend, V: Variant> {
    backend: B,
    bound: V::Bound<B>,
    out: Tensor<B::Buffer>,
    scratch: Arena<B::Buffer>,
    declared: DeclaredBytes,
    prepare_ns: u64,
}

/// The engine configuration of resolved axes.
pub fn config(axes: &Axes) -> EngineConfig {
    EngineConfig { precision: precision(axes), threads: size(axes, "threads").max(1) }
}

/// Builds the engine and puts the variant on it.
pub fn prepare<B: TransformerBackend + 'static, V: Variant>(axes: &Axes, inputs: &CellInputs) -> Result<Box<dyn PreparedCell>> {
    let backend = B::new(&config(axes))?;
    let mut operands = Operands::new();
    let mut weights = Vec::new();
    for tensor in V::DESCRIPTOR.tensors.iter().filter(|tensor| tensor.takes_part(axes)) {
        match (tensor.role, inputs.weights.get(tensor.name), inputs.activation(tensor.name)) {
            (Role::Weight, Some(weight), _) => weights.push((tensor.name, weight)),
            (_, _, Some(values)) => operands.add_tensor(tensor.name, backend.upload(values, backend.storage())?),
            // `bind` names the tensor that is missing.
            _ => {}
        }
    }
    let start = Instant::now();
    for (name, weight) in weights {
        operands.add_weight(name, backend.prepare_weight(weight)?);
    }
    backend.synchronize()?;
    let prepare_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let out = backend.tensor(backend.storage(), &shape_of(V::DESCRIPTOR.output, axes))?;
    let mut declared =
        DeclaredBytes { weights: operands.weight_bytes(), activations: operands.tensor_bytes() + out.bytes(), scratch: 0, state: 0 };
    let bound = V::bind(&mut operands, axes)?;
    declared.state = bound.state_bytes();
    Ok(Box::new(TypedCell::<B, V> { backend, bound, out, scratch: Arena::new(), declared, prepare_ns }))
}

impl<B: TransformerBackend, V: Variant> PreparedCell for TypedCell<B, V> {
    fn call(&mut self) -> Result<()> {
        self.bound.run(&self.backend, self.out.view_mut(), &mut self.scratch)?;
        self.backend.synchronize()
    }

    fn call_poisoned(&mut self) -> Result<()> {
        self.backend.fill(self.out.view_mut(), f64::NAN)?;
        self.scratch.set_poison(true);
        let result = self.call();
        self.scratch.set_poison(false);
        result?;
        if self.scratch.outstanding() != 0 {
            return Err(EngineError::Shape {
                operation: "scratch arena",
                detail: format!("{} scratch tensors were not given back", self.scratch.outstanding()),
            });
        }
        Ok(())
    }

    fn output(&self) -> Result<HostTensor> {
        self.backend.download(self.out.view())
    }

    fn declared_bytes(&self) -> DeclaredBytes {
        DeclaredBytes { scratch: self.scratch.peak_bytes(), ..self.declared }
    }

    fn threads_used(&self) -> usize {
        self.backend.threads_used()
    }

    fn prepare_ns(&self) -> u64 {
        self.prepare_ns
    }
}

/// What running a variant on shapes alone tells.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The operations of one call.
    pub operations: Vec<OpSpec>,
    /// Bytes that weights, activations, output and the variant's own scratch will take (an engine's own scratch comes on top).
    pub bytes: u64,
    /// Elements of all inputs and weights: the harness holds each twice in f64 while it prepares.
    pub elements: u64,
}

/// Runs the variant on shapes alone.
pub fn dry_run<V: Variant>(axes: &Axes) -> Result<DryRun> {
    let backend = ShapeOnly::new(&config(axes))?;
    let form = WeightForm::of(precision(axes));
    let (mut operands, mut elements) = (Operands::new(), 0u64);
    for tensor in V::DESCRIPTOR.tensors.iter().filter(|tensor| tensor.takes_part(axes)) {
        let shape = shape_of(tensor.shape, axes);
        elements = elements.saturating_add(shape.iter().product::<usize>() as u64);
        match (tensor.role, &shape[..]) {
            (Role::Weight, &[outputs, inputs]) => operands.add_weight(tensor.name, ShapeWeight::new(form, outputs, inputs)),
            _ => operands.add_tensor(tensor.name, backend.tensor(backend.storage(), &shape)?),
        }
    }
    let mut out = backend.tensor(backend.storage(), &shape_of(V::DESCRIPTOR.output, axes))?;
    let placed = operands.weight_bytes().saturating_add(operands.tensor_bytes()).saturating_add(out.bytes());
    let (bound, mut scratch) = (V::bind(&mut operands, axes)?, Arena::new());
    bound.run(&backend, out.view_mut(), &mut scratch)?;
    let bytes = placed.saturating_add(scratch.peak_bytes()).saturating_add(bound.state_bytes());
    Ok(DryRun { operations: backend.take_log(), bytes: bytes as u64, elements })
}

/// How the engine would run these operations: as its weakest answer.
pub fn support<B: TransformerBackend>(operations: &[OpSpec], config: &EngineConfig) -> Result<Support> {
    let backend = B::new(config)?;
    Ok(operations.iter().map(|operation| backend.supports(operation)).fold(Support::Native, Support::and))
}
