//! The one mechanism by which every norm runs in every position: where it stands to its sublayer and to the residual stream.
//!
//! With x what a sublayer gave (or takes; the sublayer itself is left out, as everywhere in this family):
//!
//! | position | output | source |
//! |---|---|---|
//! | plain | norm(x) | |
//! | post | norm(x + residual) | Vaswani et al. 2017, section 3.1 |
//! | pre | residual + norm(x) | Xiong et al. 2020, section 3 |
//! | sandwich | residual + norm_out(norm(x)) | Ding et al. 2021 (CogView), section 2.4 |
//! | parallel | residual + norm(x) + other | Wang and Komatsuzaki 2021; Chowdhery et al. 2022, section 2 |
//! | deep-norm | norm(alpha residual + x), alpha = (2 depth)^(1/4) | Wang et al. 2022, section 3 |
//!
//! The position is part of the problem, not a parameter: norms are compared with each other in one position, and no norm is compared
//! with itself in another one, which is another function. In its position each replaces layer norm, and the error of the method is
//! against layer norm there, also that of no norm at all: what leaving it out changes.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::ops::{BinaryOp, NormSpec, UnaryOp};
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::X;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Dim, DrawRule, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::{name, number, size};
use crate::variant::{Bound, Operands, Reference, wrong_inputs};

/// Task of the norms; the position, an axis of the problem, tells one comparison from another.
pub(super) const TASK: &str = "norm";

/// The sizes of the problem, and the function that is asked for.
pub(super) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("d_model", "width of the stream", 768), POSITION, DEPTH];

const POSITION: AxisSpec = AxisSpec {
    name: "position",
    doc: "where the norm stands to its sublayer and to the residual stream",
    kind: AxisKind::Choice { of: POSITIONS },
    default: AxisDefault::Text("plain"),
};

/// Their names.
pub(super) const POSITIONS: &[&str] = &["plain", "post", "pre", "sandwich", "parallel", "deep-norm"];

const DEPTH: AxisSpec = AxisSpec {
    name: "depth",
    doc: "layers of the stack that deep-norm is for, whose stream it enlarges by (2 depth)^(1/4); other positions do not read it, so set it \
          for deep-norm only, or they are run once for each value",
    kind: AxisKind::Int { min: 1, max: 1 << 16 },
    default: AxisDefault::Int(12),
};

/// Under the root.
pub(super) const EPS: AxisSpec =
    AxisSpec { name: "eps", doc: "added to the variance", kind: AxisKind::Float { min: 0.0, max: 1.0 }, default: AxisDefault::Float(1e-5) };

/// The stream, where the position has it.
pub(super) const RESIDUAL: TensorSpec =
    TensorSpec { name: "residual", only_with: Some(&[("position", &["post", "pre", "sandwich", "parallel", "deep-norm"])]), ..X };

/// What the sublayer side by side gave.
pub(super) const OTHER: TensorSpec = TensorSpec { name: "other", only_with: Some(&[("position", &["parallel"])]), ..X };

/// The stream, in every case.
pub(super) const STREAM_IN: TensorSpec = TensorSpec { name: "residual", ..X };

/// A trained value for each channel.
pub(super) const fn channels(name: &'static str, mean: f64, deviation: f64) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape: &[Dim::Axis("d_model")], draw: DrawRule::Around(mean, deviation), only_with: None }
}

/// The same for the second norm of a sandwich.
pub(super) const fn of_exit(tensor: TensorSpec) -> TensorSpec {
    TensorSpec { only_with: Some(&[("position", &["sandwich"])]), ..tensor }
}

/// The scale.
pub(super) const GAMMA: TensorSpec = channels("gamma", 1.0, 0.1);

/// The shift.
pub(super) const BETA: TensorSpec = channels("beta", 0.0, 0.1);

/// The scale of the second norm.
pub(super) const GAMMA_OUT: TensorSpec = of_exit(channels("gamma_out", 1.0, 0.1));

/// The shift of the second norm.
pub(super) const BETA_OUT: TensorSpec = of_exit(channels("beta_out", 0.0, 0.1));

/// What a norm with a scale and a shift takes.
pub(super) const TENSORS: &[TensorSpec] = &[X, RESIDUAL, OTHER, GAMMA, BETA, GAMMA_OUT, BETA_OUT];

/// A scale and shift that the engine never sees as such.
pub(super) const fn source(tensor: TensorSpec) -> TensorSpec {
    TensorSpec { role: Role::Source, ..tensor }
}

/// Operations of a norm that takes so many an element, with its joins.
macro_rules! joined_flops {
    ($each:literal) => {
        concat!(
            "batch*n*d_model*(",
            $each,
            "*(1 + is(position, sandwich)) + 1 - is(position, plain) + is(position, parallel) + is(position, deep-norm))"
        )
    };
}
pub(super) use joined_flops;

/// The position of these axes, whose names are those of [`POSITION`].
pub(super) fn position(axes: &Axes) -> Result<NormPosition> {
    match name(axes, "position") {
        "plain" => Ok(NormPosition::Plain),
        "post" => Ok(NormPosition::Post),
        "pre" => Ok(NormPosition::Pre),
        "sandwich" => Ok(NormPosition::Sandwich),
        "parallel" => Ok(NormPosition::Parallel),
        "deep-norm" => Ok(NormPosition::DeepNorm { alpha: (2.0 * size(axes, "depth") as f64).powf(0.25) }),
        other => Err(shape_error("norm", format!("no position {other:?}"))),
    }
}

/// Layer normalisation in the same position.
pub(super) fn layer_norm(axes: &Axes) -> Reference {
    layer_norm_with(axes, number(axes, "eps"))
}

/// Likewise, for a norm that has no epsilon of its own.
pub(super) fn layer_norm_with(axes: &Axes, epsilon: f64) -> Reference {
    // Axes are resolved here, so that their position is one of the list; any other would fail where the variant is bound.
    position(axes).map_or(Reference::Itself, |position| Reference::Operation(ExactOperation::LayerNorm { epsilon, position }))
}

/// A norm of any kind, with its trained tensors.
pub trait Norm<B: TransformerBackend> {
    /// The norm of x, which may be what `out` holds.
    fn normalize(&self, backend: &B, x: Operand<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()>;

    /// The norm of x + residual.
    fn normalize_sum(&self, backend: &B, [x, residual]: [View<'_, B::Buffer>; 2], mut out: ViewMut<'_, B::Buffer>) -> Result<()> {
        backend.binary(BinaryOp::Add, Operand::Of(x), residual, out.reborrow())?;
        self.normalize(backend, Operand::InPlace, out)
    }
}

/// A norm by the statistics of the row.
pub struct Statistics<B: TransformerBackend> {
    /// One value a channel, or one for all.
    gamma: Tensor<B::Buffer>,
    beta: Option<Tensor<B::Buffer>>,
    spec: NormSpec,
}

impl<B: TransformerBackend> Statistics<B> {
    /// With a scale and a shift for each channel.
    pub(super) fn affine(spec: NormSpec, operands: &mut Operands<B>, suffix: &str) -> Result<Self> {
        let (gamma, beta) = (operands.tensor(&format!("gamma{suffix}"))?, operands.tensor(&format!("beta{suffix}"))?);
        Ok(Self { gamma, beta: Some(beta), spec })
    }

    /// With one scale and no shift.
    pub(super) fn scaled(spec: NormSpec, scale: Tensor<B::Buffer>) -> Self {
        Self { gamma: scale, beta: None, spec }
    }
}

/// A scale for channels as wide as the output, and perhaps a shift.
fn weights<'a, S>(gamma: &'a Tensor<S>, beta: Option<&'a Tensor<S>>, out: &ViewMut<'_, S>) -> Result<NormWeights<'a, S>> {
    let width = out.layout.dim_from_end(0);
    Ok(NormWeights { gamma: Some(gamma.view().with(|layout| layout.broadcast(&[width]))?), beta: beta.map(Tensor::view) })
}

impl<B: TransformerBackend> Norm<B> for Statistics<B> {
    fn normalize(&self, backend: &B, x: Operand<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
        backend.normalize(self.spec, x, weights(&self.gamma, self.beta.as_ref(), &out)?, out)
    }

    fn normalize_sum(&self, backend: &B, [x, residual]: [View<'_, B::Buffer>; 2], out: ViewMut<'_, B::Buffer>) -> Result<()> {
        backend.add_norm(self.spec, x, residual, weights(&self.gamma, self.beta.as_ref(), &out)?, None, out)
    }
}

/// A norm in a position.
pub struct Joined<N> {
    name: &'static str,
    position: NormPosition,
    norm: N,
    /// The second norm of a sandwich.
    exit: Option<N>,
}

impl<N> Joined<N> {
    /// Binds the norm, whose tensors' names end in the suffix (`_out` for the second one of a sandwich).
    pub(super) fn bind<B: TransformerBackend>(
        name: &'static str,
        position: NormPosition,
        operands: &mut Operands<B>,
        mut norm: impl FnMut(&mut Operands<B>, &'static str) -> Result<N>,
    ) -> Result<Self> {
        let exit = (position == NormPosition::Sandwich).then(|| norm(operands, "_out")).transpose()?;
        Ok(Self { name, position, norm: norm(operands, "")?, exit })
    }
}

impl<B: TransformerBackend, N: Norm<B>> Bound<B> for Joined<N> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match (self.position, inputs) {
            (NormPosition::Plain, &[x]) => self.norm.normalize(backend, Operand::Of(x), out),
            (NormPosition::Post, &[x, residual]) => self.norm.normalize_sum(backend, [x, residual], out),
            (NormPosition::Pre, &[x, residual]) => {
                self.norm.normalize(backend, Operand::Of(x), out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
            }
            (NormPosition::Sandwich, &[x, residual]) => {
                let exit = self.exit.as_ref().ok_or_else(|| shape_error(self.name, "a sandwich without its second norm"))?;
                self.norm.normalize(backend, Operand::Of(x), out.reborrow())?;
                exit.normalize(backend, Operand::InPlace, out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
            }
            (NormPosition::Parallel, &[x, residual, other]) => {
                self.norm.normalize(backend, Operand::Of(x), out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, other, out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
            }
            (NormPosition::DeepNorm { alpha }, &[x, residual]) => {
                enlarged_sum(backend, alpha, [x, residual], out.reborrow())?;
                self.norm.normalize(backend, Operand::InPlace, out)
            }
            _ => Err(wrong_inputs(self.name, inputs)),
        }
    }
}

/// alpha residual + x.
pub(super) fn enlarged_sum<B: TransformerBackend>(
    backend: &B,
    alpha: f64,
    [x, residual]: [View<'_, B::Buffer>; 2],
    mut out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    backend.unary(UnaryOp::Affine { scale: alpha, shift: 0.0 }, Operand::Of(residual), out.reborrow())?;
    backend.binary(BinaryOp::Add, Operand::InPlace, x, out)
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
