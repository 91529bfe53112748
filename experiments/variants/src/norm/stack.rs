//! A stack of `layers` pre-norm joins, h <- h + norm_l(h), from which variants take something away: residuals, strength, or whole layers.
//!
//! The norm stands for its layer (what a sublayer would do in between is left out, as everywhere in this family), so that a layer depends
//! on what came before it, as it must if dropping one is to mean anything.

use crossover_core::arena::Arena;
use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::ops::{BinaryOp, NormKind, NormSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::X;
use super::joined::EPS;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::formula::items;
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::{name, number, size};
use crate::variant::{Bound, Operands, Reference, wrong_inputs};

/// What becomes of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// h + norm(h).
    Joined,
    /// norm(h): without its residual.
    Bare,
    /// h: not there at all.
    Dropped,
}

/// The layers with their scales and shifts.
pub struct Stack<B: TransformerBackend> {
    /// The variant that runs, for messages.
    name: &'static str,
    layers: Vec<Layer>,
    /// [layers, d_model].
    gamma: Tensor<B::Buffer>,
    /// [layers, d_model].
    beta: Tensor<B::Buffer>,
    spec: NormSpec,
}

impl<B: TransformerBackend> Stack<B> {
    /// The layers, with what the operands hold for them.
    pub(super) fn bind(name: &'static str, layers: Vec<Layer>, operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
        Ok(Self { name, layers, gamma: operands.tensor("gamma")?, beta: operands.tensor("beta")?, spec })
    }
}

/// Layers by number.
pub(super) const fn skip(doc: &'static str) -> AxisSpec {
    AxisSpec { name: "skip", doc, kind: AxisKind::Text, default: AxisDefault::Text("") }
}

/// That `skip` names layers of the stack.
pub(super) const SKIPS_LAYERS: Condition = Condition {
    text: "skip must be empty or numbers of layers, each above the one before it and below layers, such as 1+3",
    holds: |axes| named_layers(axes).is_some(),
};

/// The numbers in `skip`, from 0 on; `None` where it is anything else than rising numbers of layers.
fn named_layers(axes: &Axes) -> Option<Vec<usize>> {
    let numbers = items(name(axes, "skip")).map(|item| item.parse().ok()).collect::<Option<Vec<usize>>>()?;
    let rising = numbers.array_windows().all(|[one, next]| one < next);
    let below = numbers.last().is_none_or(|last| *last < size(axes, "layers"));
    (rising && below).then_some(numbers)
}

/// The stack in which the layers named by `skip` or, where it is empty, those that `by_every` (number, every) chooses are `instead`.
pub(super) fn pruned(axes: &Axes, instead: Layer, by_every: fn(usize, usize) -> bool) -> Result<Vec<Layer>> {
    let named = named_layers(axes).ok_or_else(|| shape_error("norm/stack", SKIPS_LAYERS.text))?;
    let every = size(axes, "every");
    let leaves = |at: usize| if name(axes, "skip").is_empty() { by_every(at, every) } else { named.contains(&at) };
    Ok((0..size(axes, "layers")).map(|at| if leaves(at) { instead } else { Layer::Joined }).collect())
}

/// The stack with nothing left out.
pub(super) fn whole(axes: &Axes) -> Reference {
    let mut whole = axes.clone();
    whole.insert("skip".to_owned(), AxisValue::from(""));
    whole.insert("every".to_owned(), AxisValue::Int(1));
    if whole == *axes { Reference::Itself } else { Reference::ItselfWith(whole) }
}

/// Every so many layers something is kept.
pub(super) const fn every(doc: &'static str) -> AxisSpec {
    AxisSpec { name: "every", doc, kind: AxisKind::Int { min: 1, max: 1 << 16 }, default: AxisDefault::Int(2) }
}

/// Scale or shift of each layer.
const fn of_layers(name: &'static str, mean: f64) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape: LAYERS, draw: DrawRule::Around(mean, 0.1), only_with: None }
}

/// Shape of scales and shifts.
pub(super) const LAYERS: &[Dim] = &[Dim::Axis("layers"), Dim::Axis("d_model")];

const PROBLEM: &[AxisSpec] = &[
    BATCH,
    ROWS,
    width("d_model", "width of the stream", 768),
    AxisSpec { name: "layers", doc: "joins of the stack", kind: AxisKind::Int { min: 1, max: 1 << 16 }, default: AxisDefault::Int(12) },
    EPS,
];

const TENSORS: &[TensorSpec] = &[X, of_layers("gamma", 1.0), of_layers("beta", 0.0)];

/// What the variants share.
pub(super) const fn description(
    name: &'static str,
    summary: &'static str,
    citation: &'static str,
    parameters: &'static [AxisSpec],
    model: Model,
) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation,
        task: "norm/stack",
        problem: PROBLEM,
        parameters,
        tensors: TENSORS,
        derived: &[],
        output: super::STREAM,
        conditions: &[],
        model,
    }
}

/// One row of [layers, d_model].
fn row<S>(table: &Tensor<S>, layer: usize) -> Result<View<'_, S>> {
    table.view().with(|layout| layout.narrow(0, layer, 1)?.merge(0))
}

impl<B: TransformerBackend> Bound<B> for Stack<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(self.name, inputs)) };
        // The stream is x until the first layer has written to the output.
        let mut written = false;
        for (at, layer) in self.layers.iter().enumerate() {
            let weights = NormWeights { gamma: Some(row(&self.gamma, at)?), beta: Some(row(&self.beta, at)?) };
            let stream = if written { Operand::InPlace } else { Operand::Of(x) };
            match layer {
                Layer::Dropped => continue,
                Layer::Bare => backend.normalize(self.spec, stream, weights, out.reborrow())?,
                Layer::Joined => {
                    let mut normed = scratch.take(backend, backend.storage(), x.shape())?;
                    let read = if written { out.as_view() } else { x };
                    backend.normalize(self.spec, Operand::Of(read), weights, normed.view_mut())?;
                    backend.binary(BinaryOp::Add, stream, normed.view(), out.reborrow())?;
                    scratch.give(normed);
                }
            }
            written = true;
        }
        if written { Ok(()) } else { backend.copy(x, out) }
    }
}

/// The stack in plain f64, for tests: h + strength norm(h), norm(h) or h for each layer.
#[cfg(test)]
pub(super) fn plain(inputs: &crossover_core::reference::HostInputs, layers: &[(Layer, f64)]) -> crossover_core::host::HostTensor {
    use super::joined::plain_layer_norm;
    let mut stream = inputs["x"].values().to_vec();
    let width = inputs["x"].shape()[2];
    let weights = inputs["gamma"].values().chunks(width).zip(inputs["beta"].values().chunks(width));
    for (&(layer, strength), (gamma, beta)) in layers.iter().zip(weights) {
        let normed = plain_layer_norm(&stream, gamma, beta, 1e-5);
        match layer {
            Layer::Dropped => {}
            Layer::Bare => stream = normed,
            Layer::Joined => stream.iter_mut().zip(normed).for_each(|(h, n)| *h += strength * n),
        }
    }
    crossover_core::host::HostTensor::new(inputs["x"].shape(), stream).unwrap()
}
