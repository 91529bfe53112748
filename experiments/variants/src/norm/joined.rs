//! What the statistics-based norms share: their axes, their tensors, and the joins with the residual stream.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormSpec};
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::X;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::{name, number};
use crate::variant::{Bound, Reference, wrong_inputs};

/// Where the residual joins.
pub(super) const POSITION: AxisSpec = AxisSpec {
    name: "position",
    doc: "where the residual joins: nowhere, before or after the norm",
    kind: AxisKind::Choice { of: &["plain", "post", "pre"] },
    default: AxisDefault::Text("plain"),
};

/// Under the root.
pub(super) const EPS: AxisSpec =
    AxisSpec { name: "eps", doc: "added to the variance", kind: AxisKind::Float { min: 0.0, max: 1.0 }, default: AxisDefault::Float(1e-5) };

/// The stream, where the position has it.
pub(super) const RESIDUAL: TensorSpec = TensorSpec { name: "residual", only_with: Some(("position", &["post", "pre"])), ..X };

/// The stream, in every case.
pub(super) const STREAM_IN: TensorSpec = TensorSpec { name: "residual", ..X };

/// A trained value for each channel.
pub(super) const fn channels(name: &'static str, mean: f64, deviation: f64) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape: &[Dim::Axis("d_model")], draw: DrawRule::Around(mean, deviation), only_with: None }
}

/// The scale.
pub(super) const GAMMA: TensorSpec = channels("gamma", 1.0, 0.1);

/// The shift.
pub(super) const BETA: TensorSpec = channels("beta", 0.0, 0.1);

/// A scale and shift that the engine never sees as such.
pub(super) const fn source(tensor: TensorSpec) -> TensorSpec {
    TensorSpec { role: Role::Source, ..tensor }
}

/// The position of these axes.
pub(super) fn position(axes: &Axes) -> NormPosition {
    NormPosition::from_name(name(axes, "position")).unwrap_or(NormPosition::Plain)
}

/// Layer normalisation joined in the same place.
pub(super) fn layer_norm(axes: &Axes) -> Reference {
    Reference::Operation(ExactOperation::LayerNorm { epsilon: number(axes, "eps"), position: position(axes) })
}

/// A norm with its scale and shift, and where the residual joins.
pub struct Joined<B: TransformerBackend> {
    pub(super) name: &'static str,
    /// One value a channel, or one for all.
    pub(super) gamma: Tensor<B::Buffer>,
    pub(super) beta: Option<Tensor<B::Buffer>>,
    pub(super) spec: NormSpec,
    pub(super) position: NormPosition,
}

impl<B: TransformerBackend> Bound<B> for Joined<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let width = out.layout.dim_from_end(0);
        let gamma = self.gamma.view().with(|layout| layout.broadcast(&[width]))?;
        let weights = NormWeights { gamma: Some(gamma), beta: self.beta.as_ref().map(Tensor::view) };
        match (self.position, inputs) {
            (NormPosition::Post, &[x, residual]) => backend.add_norm(self.spec, x, residual, weights, None, out),
            (NormPosition::Pre, &[x, residual]) => {
                backend.normalize(self.spec, Operand::Of(x), weights, out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
            }
            (NormPosition::Plain, &[x]) => backend.normalize(self.spec, Operand::Of(x), weights, out),
            _ => Err(wrong_inputs(self.name, inputs)),
        }
    }
}

/// Layer norm of rows, written down once more for tests.
#[cfg(test)]
pub(super) fn plain_layer_norm(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    let width = gamma.len();
    let row = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        row.iter()
            .zip(gamma)
            .zip(beta)
            .map(|((x, gamma), beta)| (x - mean) / (variance + epsilon).sqrt() * gamma + beta)
            .collect::<Vec<_>>()
    };
    x.chunks(width).flat_map(row).collect()
}
