//! The small fusable operations, composed: add+norm, gated FFN, softmax+top-k, rotary positions.

use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{NormWeights, Operand, PreparedWeight, TransformerBackend};
use crate::error::{Result, shape_error};
use crate::layout::MAX_RANK;
use crate::ops::{BinaryOp, LinearSpec, NormSpec, SoftmaxAlgorithm};
use crate::tensor::{View, ViewMut};

/// norm(x + residual), through the output (or through `sum`, where the caller keeps it).
pub fn add_norm<B: TransformerBackend>(
    backend: &B,
    spec: NormSpec,
    x: View<'_, B::Buffer>,
    residual: View<'_, B::Buffer>,
    weights: NormWeights<'_, B::Buffer>,
    sum: Option<ViewMut<'_, B::Buffer>>,
    mut out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    match sum {
        Some(mut sum) => {
            backend.binary(BinaryOp::Add, Operand::Of(x), residual, sum.reborrow())?;
            backend.normalize(spec, Operand::Of(sum.as_view()), weights, out)
        }
        None => {
            backend.binary(BinaryOp::Add, Operand::Of(x), residual, out.reborrow())?;
            backend.normalize(spec, Operand::InPlace, weights, out)
        }
    }
}

/// (activation(x Wg^T) * (x Wu^T)) Wd^T with two hidden tensors in scratch.
pub fn gated_ffn<B: TransformerBackend>(
    backend: &B,
    spec: LinearSpec,
    x: View<'_, B::Buffer>,
    [gate, up, down]: [&B::Weight; 3],
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let lead = x.layout.rank().checked_sub(1).ok_or_else(|| shape_error("gated ffn", "a scalar has no rows"))?;
    // The hidden tensors have the leading dimensions of x, whose own layout may be anything.
    let mut shape = [0; MAX_RANK];
    shape[..lead].copy_from_slice(&x.shape()[..lead]);
    shape[lead] = gate.outputs();
    let shape = &shape[..=lead];
    let plain = LinearSpec { activation: Activation::None };
    scratch.scope(|scratch| {
        let mut hidden = scratch.take(backend, x.dtype(), shape)?;
        let mut linear = scratch.take(backend, x.dtype(), shape)?;
        backend.linear(spec, x, gate, None, hidden.view_mut())?;
        backend.linear(plain, x, up, None, linear.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, linear.view(), hidden.view_mut())?;
        backend.linear(plain, hidden.view(), down, None, out)?;
        scratch.give(linear);
        scratch.give(hidden);
        Ok(())
    })
}

/// Softmax of whole rows, then the k largest.
pub fn softmax_top_k<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    values: ViewMut<'_, B::Buffer>,
    indices: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    scratch.scope(|scratch| {
        let mut probabilities = scratch.take(backend, x.dtype(), x.shape())?;
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::Of(x), probabilities.view_mut())?;
        backend.top_k(probabilities.view(), values, indices)?;
        scratch.give(probabilities);
        Ok(())
    })
}

/// first' = first cos - second sin, second' = second cos + first sin, over the two halves of the last dimension.
pub fn rotary<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    cosines: View<'_, B::Buffer>,
    sines: View<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let width = x.layout.dim_from_end(0);
    if x.layout.rank() < 2 || !width.is_multiple_of(2) {
        return Err(shape_error("rotary", format!("{:?} needs rows of an even width", x.shape())));
    }
    let (half, last) = (width / 2, x.layout.rank() - 1);
    let (first, second) = (x.narrow(last, 0, half)?, x.narrow(last, half, half)?);
    let wide = |table: View<'_, B::Buffer>| -> Result<crate::layout::Layout> { table.layout.broadcast(first.shape()) };
    let cosines = View { layout: wide(cosines)?, ..cosines };
    let sines = View { layout: wide(sines)?, ..sines };
    scratch.scope(|scratch| {
        let mut crossed = scratch.take(backend, x.dtype(), first.shape())?;
        for (own, other, start, sign) in [(first, second, 0, BinaryOp::Subtract), (second, first, half, BinaryOp::Add)] {
            backend.binary(BinaryOp::Multiply, Operand::Of(other), sines, crossed.view_mut())?;
            let mut target = out.reborrow().narrow(last, start, half)?;
            backend.binary(BinaryOp::Multiply, Operand::Of(own), cosines, target.reborrow())?;
            backend.binary(sign, Operand::InPlace, crossed.view(), target)?;
        }
        scratch.give(crossed);
        Ok(())
    })
}
