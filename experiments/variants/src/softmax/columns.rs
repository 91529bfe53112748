//! What the recurrences that are written over primitives share: the core's columns of one value a row, and log-sum-exps into them.
//!
//! Everything here is in the compute type: maxima, sums and exponentials decide about the result, and a narrow storage type would spoil
//! them.

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
pub(crate) use crossover_core::compose::columns::{at_least, column, reduce, wide};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, ReduceOp, UnaryOp};
use crossover_core::tensor::{Tensor, View};

/// log sum exp of each row as [.., 1], by the largest entry: never overflows, and a row of minus infinity gives a finite number.
pub(crate) fn log_sum_exp<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut numerators = wide(backend, x.shape(), x.layout.dim_from_end(0), scratch)?;
    let logarithm = log_sum_exp_through(backend, Some(x), &mut numerators, scratch)?;
    scratch.give(numerators);
    Ok(logarithm)
}

/// The same, with the exponentials left in `numerators`, over the logits if these stand there already.
pub(crate) fn log_sum_exp_through<B: TransformerBackend>(
    backend: &B,
    x: Option<View<'_, B::Buffer>>,
    numerators: &mut Tensor<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let compute = backend.compute();
    let mut largest = column(backend, numerators.shape(), scratch)?;
    let mut sum = column(backend, numerators.shape(), scratch)?;
    reduce(backend, ReduceOp::Max, x.unwrap_or(numerators.view()), &mut largest)?;
    at_least(backend, -compute.largest(), &mut largest, scratch)?;
    let logits = x.map_or(Operand::InPlace, Operand::Of);
    backend.binary(BinaryOp::Subtract, logits, largest.view(), numerators.view_mut())?;
    backend.unary(UnaryOp::Exp, Operand::InPlace, numerators.view_mut())?;
    reduce(backend, ReduceOp::Sum, numerators.view(), &mut sum)?;
    at_least(backend, compute.smallest_normal(), &mut sum, scratch)?;
    backend.unary(UnaryOp::Log, Operand::InPlace, sum.view_mut())?;
    backend.binary(BinaryOp::Add, Operand::InPlace, sum.view(), largest.view_mut())?;
    scratch.give(sum);
    Ok(largest)
}
