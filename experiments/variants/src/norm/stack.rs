//! A stack of `layers` pre-norm joins, h <- h + norm_l(h), from which variants take something away: residuals, strength, or whole layers.
//!
//! The norm stands for its layer (what a sublayer would do in between is left out, as everywhere in this family), so that a layer depends
//! on what came before it, as it must if dropping one is to mean anything.

use crossover_core::arena::Arena;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::X;
use super::joined::EPS;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::variant::{Bound, wrong_inputs};

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
    pub(super) layers: Vec<Layer>,
    /// [layers, d_model].
    pub(super) gamma: Tensor<B::Buffer>,
    /// [layers, d_model].
    pub(super) beta: Tensor<B::Buffer>,
    pub(super) spec: NormSpec,
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
        let &[x] = inputs else { return Err(wrong_inputs("norm/stack", inputs)) };
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
