//! A variant on an engine behind one dynamic call.
//!
//! Types are erased here, once: outside the timer everything is a [`dyn PreparedCell`](PreparedCell), inside it everything is static.

use std::time::Instant;

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{OpSpec, WeightForm};
use crossover_core::reference::running::RunningError;
use crossover_core::shape_only::{ShapeOnly, ShapeWeight};
use crossover_core::support::Support;
use crossover_core::tensor::{Tensor, View};

use crate::descriptor::{Placed, Role};
use crate::inputs::CellInputs;
use crate::resolve::{expect_resolved, name, precision, shape_of, size};
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
    /// See [`TransformerBackend::take_device_peak`].
    fn take_device_peak(&self) -> Result<Option<u64>>;
    /// Threads that the engine really uses.
    fn threads_used(&self) -> usize;
    /// The instruction set that the engine really uses.
    fn isa(&self) -> String;
    /// Time that packing and uploading the weights took.
    fn prepare_ns(&self) -> u64;
}

/// Most activations that a variant may take: their views are put on the stack for each call.
const MOST_INPUTS: usize = 8;

struct TypedCell<B: TransformerBackend, V: Variant> {
    backend: B,
    bound: V::Bound<B>,
    inputs: Vec<Tensor<B::Buffer>>,
    out: Tensor<B::Buffer>,
    scratch: Arena<B::Buffer>,
    declared: DeclaredBytes,
    prepare_ns: u64,
}

/// The engine configuration of resolved axes.
///
/// # Errors
/// When they name no instruction set: nothing is chosen in the place of what was asked for.
pub fn config(axes: &Axes) -> Result<EngineConfig> {
    let given = name(axes, "isa");
    let unknown = || shape_error("engine", format!("isa = {given:?} is no instruction set: the axes are not resolved"));
    let isa = IsaChoice::from_name(given).ok_or_else(unknown)?;
    Ok(EngineConfig { isa, ..EngineConfig::new(precision(axes), size(axes, "threads").max(1)) })
}

fn check_resolved<V: Variant>(axes: &Axes) -> Result<()> {
    expect_resolved(&V::DESCRIPTOR, axes).map_err(|error| shape_error(V::DESCRIPTOR.name, error.to_string()))
}

/// The error under the name of the variant that runs, where code that it shares with others of its family gave another of their names.
fn named(variant: &'static str, error: EngineError) -> EngineError {
    let family = |name: &'static str| name.split_once('/').map(|(family, _)| family);
    match error {
        EngineError::Shape { operation, detail } if family(operation).is_some() && family(operation) == family(variant) => {
            EngineError::Shape { operation: variant, detail }
        }
        other => other,
    }
}

/// Builds the engine and puts the variant on it.
pub fn prepare<B: TransformerBackend, V: Variant>(axes: &Axes, inputs: &CellInputs) -> Result<Box<dyn PreparedCell>> {
    check_resolved::<V>(axes)?;
    Ok(Box::new(TypedCell::<B, V>::new(B::new(&config(axes)?)?, axes, inputs)?))
}

/// Runs the variant on the reference engine: its output in f64, and how far rounding may throw each value.
pub fn run_reference<V: Variant>(axes: &Axes, inputs: &CellInputs) -> Result<(HostTensor, HostTensor)> {
    let mut cell = TypedCell::<RunningError, V>::new(RunningError::new(&config(axes)?)?, axes, inputs)?;
    cell.call()?;
    cell.backend.download_with_deviation(cell.out.view())
}

impl<B: TransformerBackend, V: Variant> TypedCell<B, V> {
    fn new(backend: B, axes: &Axes, inputs: &CellInputs) -> Result<Self> {
        let OnEngine { mut operands, mut activations, state } = placed(&backend, inputs)?;
        expect_inputs(V::DESCRIPTOR.name, activations.len())?;
        let start = Instant::now();
        pack(&backend, inputs, &mut operands)?;
        backend.synchronize()?;
        let prepare_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let out = backend.tensor(backend.storage(), &shape_of(V::DESCRIPTOR.output, axes))?;
        let activation_bytes: usize = activations.iter().map(Tensor::bytes).sum();
        let mut declared = DeclaredBytes {
            weights: operands.weight_bytes(),
            activations: operands.tensor_bytes() - state + activation_bytes + out.bytes(),
            scratch: 0,
            state: 0,
        };
        let mut bound = V::bind(&mut operands, axes).map_err(|error| named(V::DESCRIPTOR.name, error))?;
        bound.place(&backend, &mut activations)?;
        declared.state = bound.state_bytes() + state;
        Ok(Self { backend, bound, inputs: activations, out, scratch: Arena::new(), declared, prepare_ns })
    }
}

/// A cell's tensors on an engine.
pub(crate) struct OnEngine<B: TransformerBackend> {
    pub(crate) operands: Operands<B>,
    pub(crate) activations: Vec<Tensor<B::Buffer>>,
    /// Bytes of the operands that are state.
    state: usize,
}

/// The tensors, without the weights.
fn placed<B: TransformerBackend>(backend: &B, inputs: &CellInputs) -> Result<OnEngine<B>> {
    let (mut operands, mut activations, mut state) = (Operands::new(), Vec::new(), 0);
    for (name, role, dtype, values) in &inputs.tensors {
        let tensor = backend.upload(values, *dtype)?;
        match role {
            Role::Activation => activations.push(tensor),
            role => {
                state += if *role == Role::State { tensor.bytes() } else { 0 };
                operands.add_tensor(name.clone(), tensor);
            }
        }
    }
    Ok(OnEngine { operands, activations, state })
}

/// The weights in the engine's packing.
fn pack<B: TransformerBackend>(backend: &B, inputs: &CellInputs, operands: &mut Operands<B>) -> Result<()> {
    for (name, weights) in &inputs.weights {
        let packed = weights.iter().map(|weight| backend.prepare_weight(weight)).collect::<Result<_>>()?;
        operands.add_weights(name.clone(), packed);
    }
    Ok(())
}

/// Everything that a variant binds, and its activations: for a host transform that runs another variant.
pub(crate) fn on_engine<B: TransformerBackend>(backend: &B, inputs: &CellInputs) -> Result<OnEngine<B>> {
    let mut placed = placed(backend, inputs)?;
    pack(backend, inputs, &mut placed.operands)?;
    Ok(placed)
}

fn expect_inputs(variant: &'static str, count: usize) -> Result<()> {
    if (1..=MOST_INPUTS).contains(&count) {
        return Ok(());
    }
    Err(shape_error(variant, format!("{count} activations; a call takes 1 to {MOST_INPUTS}")))
}

/// Calls with views on the stack: a warm call must not allocate.
fn run<B: TransformerBackend>(
    bound: &mut impl Bound<B>,
    backend: &B,
    inputs: &[Tensor<B::Buffer>],
    out: &mut Tensor<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    // One to eight, by `expect_inputs`.
    let views: [View<'_, B::Buffer>; MOST_INPUTS] = std::array::from_fn(|at| inputs[at.min(inputs.len() - 1)].view());
    bound.run(backend, &views[..inputs.len()], out.view_mut(), scratch)
}

impl<B: TransformerBackend, V: Variant> PreparedCell for TypedCell<B, V> {
    fn call(&mut self) -> Result<()> {
        run(&mut self.bound, &self.backend, &self.inputs, &mut self.out, &mut self.scratch)
            .map_err(|error| named(V::DESCRIPTOR.name, error))?;
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

    fn take_device_peak(&self) -> Result<Option<u64>> {
        self.backend.take_device_peak()
    }

    fn threads_used(&self) -> usize {
        self.backend.threads_used()
    }

    fn isa(&self) -> String {
        self.backend.isa().into_owned()
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
    /// The variant's own scratch at its fullest.
    pub scratch_bytes: u64,
    /// Elements of all inputs and weights: the harness holds each twice in f64 while it prepares.
    pub elements: u64,
    /// Bytes of inputs that a call need not read: rows of tables that no index of so few can name.
    pub unread_bytes: u64,
}

/// Runs the variant on shapes alone.
pub fn dry_run<V: Variant>(axes: &Axes) -> Result<DryRun> {
    check_resolved::<V>(axes)?;
    let backend = ShapeOnly::new(&config(axes)?)?;
    let (mut operands, mut inputs, mut elements) = (Operands::new(), Vec::new(), 0u64);
    let derived = V::derived(axes);
    let drawn = V::drawn(axes);
    for tensor in kept(&drawn, &derived) {
        place(&backend, tensor, axes, &mut operands, &mut inputs)?;
    }
    for tensor in drawn.iter().chain(&derived) {
        elements = elements.saturating_add(tensor.shape.iter().product::<usize>() as u64);
    }
    expect_inputs(V::DESCRIPTOR.name, inputs.len())?;
    let mut out = backend.tensor(backend.storage(), &shape_of(V::DESCRIPTOR.output, axes))?;
    let input_bytes: usize = inputs.iter().map(Tensor::bytes).sum();
    let placed = operands.weight_bytes().saturating_add(operands.tensor_bytes()).saturating_add(input_bytes).saturating_add(out.bytes());
    let name_error = |error| named(V::DESCRIPTOR.name, error);
    let (mut bound, mut scratch) = (V::bind(&mut operands, axes).map_err(name_error)?, Arena::new());
    let given = backend.buffers();
    run(&mut bound, &backend, &inputs, &mut out, &mut scratch).map_err(name_error)?;
    let unread_bytes = backend.unread_bytes(given) as u64;
    let bytes = placed.saturating_add(scratch.peak_bytes()).saturating_add(bound.state_bytes());
    Ok(DryRun { operations: backend.take_log(), bytes: bytes as u64, scratch_bytes: scratch.peak_bytes() as u64, elements, unread_bytes })
}

/// What the engine gets of a cell: the drawn tensors that no transform consumes or replaces, then the derived ones.
pub(crate) fn kept<'a>(drawn: &'a [Placed], derived: &'a [Placed]) -> impl Iterator<Item = &'a Placed> {
    let stays = |tensor: &&Placed| tensor.role != Role::Source && !derived.iter().any(|other| other.name == tensor.name);
    drawn.iter().filter(stays).chain(derived)
}

/// A tensor or weight of which only the shape exists.
fn place(
    backend: &ShapeOnly,
    tensor: &Placed,
    axes: &Axes,
    operands: &mut Operands<ShapeOnly>,
    inputs: &mut Vec<Tensor<crossover_core::shape_only::ShapeBuffer>>,
) -> Result<()> {
    let form = tensor.form.unwrap_or(WeightForm::of(precision(axes)));
    let weights = |count: usize, outputs: usize, rows: usize| vec![ShapeWeight::new(form, outputs, rows); count];
    match (tensor.role, &tensor.shape[..]) {
        (Role::Weight, &[outputs, rows]) => operands.add_weights(tensor.name.clone(), weights(1, outputs, rows)),
        (Role::Weight, &[count, outputs, rows]) => operands.add_weights(tensor.name.clone(), weights(count, outputs, rows)),
        (role, shape) => {
            let dtype = if tensor.is_index() { DType::I32 } else { backend.storage() };
            let placed = backend.tensor(dtype, shape)?;
            if role == Role::Activation { inputs.push(placed) } else { operands.add_tensor(tensor.name.clone(), placed) }
        }
    }
    Ok(())
}

/// How the engine would run these operations: as its weakest answer.
pub fn support<B: TransformerBackend>(operations: &[OpSpec], config: &EngineConfig) -> Result<Support> {
    let backend = B::new(config)?;
    if let Some(refusal) = nothing_to_narrow(operations, config.precision) {
        return Ok(refusal);
    }
    Ok(operations.iter().map(|operation| backend.supports(operation)).fold(Support::Native, Support::and))
}

/// A precision whose weights are narrower than everything else says something only where such a weight is multiplied; elsewhere the row
/// would carry its name and be plain `f32`.
fn nothing_to_narrow(operations: &[OpSpec], precision: Precision) -> Option<Support> {
    let asked = WeightForm::of(precision);
    let takes_part = |operation: &OpSpec| match operation {
        OpSpec::Linear { form, .. } | OpSpec::CrossEntropy { form, .. } | OpSpec::Mixture { form, .. } => *form == asked,
        // Its three weights have no form of their own.
        OpSpec::GatedFfn { .. } => true,
        _ => false,
    };
    let everywhere = precision.weight.is_float() && precision.weight == precision.activation;
    if everywhere || operations.iter().any(takes_part) {
        return None;
    }
    let plain = precision.storage();
    let reason = format!("no weight of this variant is held in {precision}: it would be {plain} under another name, so ask for {plain}");
    Some(Support::Unsupported(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::wrong_inputs;
    use crossover_core::activation::Activation;
    use crossover_core::ops::LinearSpec;

    #[test]
    fn tables_that_are_read_by_index_are_not_read_whole() {
        let unread = |variant: &str, axes: &[(&str, i64)]| {
            let entry = crate::registry::find(variant).unwrap();
            let given = axes.iter().map(|(axis, value)| ((*axis).to_owned(), (*value).into())).collect();
            entry.dry_run(&crate::resolve::resolve(entry.descriptor, &given).unwrap()).unwrap().unread_bytes
        };
        assert_eq!(unread("linear/dense", &[("n", 2)]), 0);
        // 4 rows of at most 6 nodes among 63: at least 39 vectors of 32 channels in f32 stay where they are.
        let few = unread("softmax/huffman", &[("n", 4), ("vocabulary", 64), ("d_model", 32)]);
        assert!((39 * 32 * 4..64 * 32 * 4 + 64 * 64 * 8).contains(&few), "{few}");
        assert_eq!(unread("softmax/huffman", &[("n", 4096), ("vocabulary", 64), ("d_model", 32)]), 0);
    }

    #[test]
    fn a_precision_of_weights_needs_a_weight() {
        let form =
            |form| OpSpec::Linear { rows: 1, inputs: 8, outputs: 8, form, spec: LinearSpec { activation: Activation::None }, bias: false };
        let refused = |operations: &[OpSpec], name: &str| nothing_to_narrow(operations, name.parse().unwrap()).is_some();
        for narrow in ["int8", "int8-weight", "int4", "bf16-weight"] {
            let precision: Precision = narrow.parse().unwrap();
            assert!(refused(&[], narrow), "{narrow}");
            assert!(!refused(&[form(WeightForm::of(precision))], narrow), "{narrow}");
            // A weight with a form of its own, such as a mask's, is not what was asked for.
            assert!(refused(&[form(WeightForm::Dense(DType::F64))], narrow), "{narrow}");
        }
        for plain in ["f64", "f32", "bf16", "f16"] {
            assert!(!refused(&[], plain), "{plain}");
        }
        // Of the whole registry: layers that hold weights take a narrow form of them, and what has none is refused.
        let takes_int4 = |variant: &str| {
            let entry = crate::registry::find(variant).unwrap();
            let given = [("precision".to_owned(), "int4".into())].into();
            let axes = crate::resolve::resolve(entry.descriptor, &given).unwrap();
            nothing_to_narrow(&entry.dry_run(&axes).unwrap().operations, "int4".parse().unwrap()).is_none()
        };
        for variant in
            ["linear/dense", "ffn/dense", "ffn/glu", "ffn/swiglu", "ffn/bilinear", "ffn/low-rank", "model/encoder", "softmax/output-dense"]
        {
            assert!(takes_int4(variant), "{variant}");
        }
        for variant in ["attention/flash", "attention/decode", "norm/layer-norm", "softmax/stable", "position/rope"] {
            assert!(!takes_int4(variant), "{variant}");
        }
    }

    #[test]
    fn errors_name_the_variant_that_runs() {
        let of = |variant, helper| named(variant, wrong_inputs::<crossover_core::shape_only::ShapeBuffer>(helper, &[])).to_string();
        assert_eq!(of("attention/top-k-causal", "attention/top-k"), of("attention/top-k-causal", "attention/top-k-causal"));
        assert!(of("attention/top-k-causal", "attention/top-k").contains("attention/top-k-causal"));
        // A model's component, or an engine's operation, is not the model.
        assert!(of("model/encoder", "attention/dense").contains("attention/dense"));
        assert!(of("model/encoder", "matmul").contains("matmul"));
    }
}
