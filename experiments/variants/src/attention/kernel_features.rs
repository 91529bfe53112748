//! Linear attention over a feature map: what the kernel variants share.
//!
//! softmax(q k^T) is replaced by phi(q) phi(k)^T for some map phi, so that (phi(k)^T v) can be taken first: O(n) instead of O(n^2)
//! (Katharopoulos et al. 2020, section 3.2). The variants differ in phi alone, and each explains its own; here stands how phi is computed.
//! Features live in the compute type: they are arguments of exponentials and sums of a normaliser.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearAttentionSpec, MatmulSpec, NormKind, NormSpec, ReduceOp, UnaryOp};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::operands::Attended;
use crate::variant::Bound;

/// Added to positive features, as Choromanski et al. do in their published implementation: no normaliser may vanish.
const POSITIVE_FLOOR: f64 = 1e-6;
/// The same for rectified features, of which whole rows may be zero.
const RELU_FLOOR: f64 = 1e-3;
/// Most by which a later key's exponent may exceed that of the first, whose maximum shifts all keys of the causal form: beyond it keys
/// weigh alike. e^40 leaves a sum over any length in the range of f32, and what weighs less by e^40 does not show beside it.
const MOST_ABOVE_THE_FIRST: f64 = 40.0;
/// Under the root of a mean square.
const NORM_EPSILON: f64 = 1e-12;

/// A feature map.
pub(super) enum FeatureMap<B: TransformerBackend> {
    /// elu(x) + 1.
    EluPlusOne,
    /// exp(w x - |x|^2 / 2 - shift) + floor over directions w [features, head_dim]; `half` is what |x|^2 is multiplied by.
    Positive { directions: Tensor<B::Buffer>, half: f64 },
    /// (cos(w x), sin(w x)), times exp(half |x|^2 - shift) for keys; for queries that factor cancels.
    Trigonometric { directions: Tensor<B::Buffer>, half: f64 },
    /// relu(w x) + floor.
    Relu { directions: Tensor<B::Buffer> },
    /// (cos(w y), sin(w y)) of y = x / root mean square of x.
    Fourier { directions: Tensor<B::Buffer> },
    /// (relu(x) cos(angle), relu(x) sin(angle)) of the position's angle; tables [rows, 2].
    Cosine { query_angles: Tensor<B::Buffer>, key_angles: Tensor<B::Buffer> },
}

/// Whose features: a shift cancels in the normalisation as long as it is one for each query, and one for all keys.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Queries,
    Keys,
    /// The shift of all keys comes from the first, which every query sees: later tokens must not reach back.
    CausalKeys,
}

/// Linear attention by a feature map.
pub struct KernelAttention<B: TransformerBackend> {
    pub(super) name: &'static str,
    pub(super) map: FeatureMap<B>,
    /// Rows handled together in the causal form.
    pub(super) chunk: Option<usize>,
    /// Added to the normaliser.
    pub(super) epsilon: f64,
}

impl<B: TransformerBackend> Bound<B> for KernelAttention<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let Attended { q, k, v, batch, heads, key_heads, n, n_kv, width } = Attended::of(self.name, inputs)?;
        let features = self.map.features(width);
        let mut phi_q = scratch.take(backend, backend.compute(), &[batch, heads, n, features])?;
        let mut phi_k = scratch.take(backend, backend.compute(), &[batch, key_heads, n_kv, features])?;
        let keys = if self.chunk.is_some() { Side::CausalKeys } else { Side::Keys };
        self.map.apply(backend, Side::Queries, q, phi_q.view_mut(), scratch)?;
        self.map.apply(backend, keys, k, phi_k.view_mut(), scratch)?;
        let spec = LinearAttentionSpec { causal: self.chunk.is_some(), epsilon: self.epsilon, chunk: self.chunk.unwrap_or(1) };
        backend.linear_attention(spec, phi_q.view(), phi_k.view(), v, out, scratch)?;
        scratch.give(phi_k);
        scratch.give(phi_q);
        Ok(())
    }
}

impl<B: TransformerBackend> FeatureMap<B> {
    /// Features of one row.
    fn features(&self, head_dim: usize) -> usize {
        match self {
            Self::EluPlusOne => head_dim,
            Self::Positive { directions, .. } | Self::Relu { directions } => directions.shape()[0],
            Self::Trigonometric { directions, .. } | Self::Fourier { directions } => 2 * directions.shape()[0],
            Self::Cosine { .. } => 2 * head_dim,
        }
    }

    /// phi(x) for x [batch, heads, rows, head_dim].
    fn apply(
        &self,
        backend: &B,
        side: Side,
        x: View<'_, B::Buffer>,
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match self {
            Self::EluPlusOne => backend.unary(UnaryOp::EluPlusOne, Operand::Of(x), out),
            Self::Positive { directions, half } => {
                project(backend, x, directions, out.reborrow())?;
                let norms = half_norms(backend, x, -half, scratch)?;
                backend.binary(BinaryOp::Add, Operand::InPlace, column(norms.view())?, out.reborrow())?;
                scratch.give(norms);
                subtract_shift(backend, side, out.reborrow(), scratch)?;
                backend.unary(UnaryOp::Exp, Operand::InPlace, out.reborrow())?;
                backend.unary(UnaryOp::Affine { scale: 1.0, shift: POSITIVE_FLOOR }, Operand::InPlace, out)
            }
            Self::Trigonometric { directions, half } => {
                waves(backend, x, directions, out.reborrow(), scratch)?;
                if side == Side::Queries {
                    return Ok(());
                }
                let norms = half_norms(backend, x, *half, scratch)?;
                let mut factors = Tensor { layout: norms.layout.unsqueeze(3)?, buffer: norms.buffer };
                subtract_shift(backend, side, factors.view_mut(), scratch)?;
                backend.unary(UnaryOp::Exp, Operand::InPlace, factors.view_mut())?;
                backend.binary(BinaryOp::Multiply, Operand::InPlace, factors.view(), out)?;
                scratch.give(factors);
                Ok(())
            }
            Self::Relu { directions } => {
                project(backend, x, directions, out.reborrow())?;
                backend.unary(UnaryOp::Activation(Activation::Relu), Operand::InPlace, out.reborrow())?;
                backend.unary(UnaryOp::Affine { scale: 1.0, shift: RELU_FLOOR }, Operand::InPlace, out)
            }
            Self::Fourier { directions } => {
                let mut unit = scratch.take(backend, backend.compute(), x.shape())?;
                let spec = NormSpec { kind: NormKind::Rms, epsilon: NORM_EPSILON };
                backend.normalize(spec, Operand::Of(x), NormWeights { gamma: None, beta: None }, unit.view_mut())?;
                waves(backend, unit.view(), directions, out, scratch)?;
                scratch.give(unit);
                Ok(())
            }
            Self::Cosine { query_angles, key_angles } => {
                let angles = if side == Side::Queries { query_angles } else { key_angles };
                let width = x.shape()[3];
                let mut rectified = scratch.take(backend, backend.compute(), x.shape())?;
                backend.unary(UnaryOp::Activation(Activation::Relu), Operand::Of(x), rectified.view_mut())?;
                for part in 0..2 {
                    let table = angles.view().narrow(1, part, 1)?;
                    let target = out.reborrow().narrow(3, part * width, width)?;
                    backend.binary(BinaryOp::Multiply, Operand::Of(rectified.view()), table, target)?;
                }
                scratch.give(rectified);
                Ok(())
            }
        }
    }
}

/// x w^T for directions w [features, head_dim], the same for all heads.
fn project<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    directions: &Tensor<B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let &[features, width] = directions.shape() else { return Err(crate::variant::wrong_inputs("feature map", &[directions.view()])) };
    let wide = [x.shape()[0], x.shape()[1], width, features];
    let directions = directions.view().with(|layout| layout.transposed()?.broadcast(&wide))?;
    backend.matmul(MatmulSpec::PLAIN, x, directions, out)
}

/// (cos(w x), sin(w x)).
fn waves<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    directions: &Tensor<B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let &[batch, heads, rows, features] = out.shape() else { return Err(crate::variant::wrong_inputs("feature map", &[x])) };
    let mut phases = scratch.take(backend, backend.compute(), &[batch, heads, rows, features / 2])?;
    project(backend, x, directions, phases.view_mut())?;
    for (part, op) in [UnaryOp::Cos, UnaryOp::Sin].into_iter().enumerate() {
        backend.unary(op, Operand::Of(phases.view()), out.reborrow().narrow(3, part * features / 2, features / 2)?)?;
    }
    scratch.give(phases);
    Ok(())
}

/// factor |x|^2 of each row, [batch, heads, rows].
fn half_norms<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    factor: f64,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut norms = scratch.take(backend, backend.compute(), &x.shape()[..3])?;
    let mut squares = scratch.take(backend, backend.compute(), x.shape())?;
    backend.unary(UnaryOp::Square, Operand::Of(x), squares.view_mut())?;
    backend.reduce(ReduceOp::Sum, squares.view(), norms.view_mut())?;
    scratch.give(squares);
    backend.unary(UnaryOp::Affine { scale: factor, shift: 0.0 }, Operand::InPlace, norms.view_mut())?;
    Ok(norms)
}

/// Subtracts a maximum before the exponential: that of each query, or one for all keys of a head. Where that is only the first key's, what
/// later ones have above it is cut off before the exponential overflows.
fn subtract_shift<B: TransformerBackend>(
    backend: &B,
    side: Side,
    mut exponents: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let &[batch, heads, rows, _] = exponents.shape() else {
        return Err(crate::variant::wrong_inputs("feature map", &[exponents.as_view()]));
    };
    let shifts = if side == Side::Queries { rows } else { 1 };
    let mut shift = scratch.take(backend, backend.compute(), &[batch, heads, shifts])?;
    match side {
        Side::Queries => backend.reduce(ReduceOp::Max, exponents.as_view(), shift.view_mut())?,
        Side::Keys => {
            let all = exponents.as_view().with(|layout| layout.merge(2)?.unsqueeze(2))?;
            backend.reduce(ReduceOp::Max, all, shift.view_mut())?;
        }
        Side::CausalKeys => backend.reduce(ReduceOp::Max, exponents.as_view().narrow(2, 0, 1)?, shift.view_mut())?,
    }
    backend.binary(BinaryOp::Subtract, Operand::InPlace, column(shift.view())?, exponents.reborrow())?;
    if side == Side::CausalKeys {
        backend.fill(shift.view_mut(), MOST_ABOVE_THE_FIRST)?;
        backend.binary(BinaryOp::Minimum, Operand::InPlace, column(shift.view())?, exponents.reborrow())?;
    }
    scratch.give(shift);
    Ok(())
}

/// One value a row as a column, to be stretched over the row.
fn column<S>(rows: View<'_, S>) -> Result<View<'_, S>> {
    rows.with(|layout| layout.unsqueeze(layout.rank()))
}
