//! Scratch of one value a row, and reductions into it: what recurrences that are written over primitives share.
//!
//! Everything here is in the compute type: maxima, sums and exponentials decide about the result, and a narrow storage type would spoil
//! them.

use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::error::{Result, shape_error};
use crate::layout::MAX_RANK;
use crate::ops::{BinaryOp, ReduceOp};
use crate::tensor::{Tensor, View};

/// A scratch tensor in the compute type: the shape with another last extent.
pub fn wide<B: TransformerBackend>(backend: &B, like: &[usize], width: usize, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
    let Some(last) = like.len().checked_sub(1).filter(|last| *last < MAX_RANK) else {
        return Err(shape_error("rows", format!("{like:?} has no rows")));
    };
    let mut shape = [0; MAX_RANK];
    shape[..last].copy_from_slice(&like[..last]);
    shape[last] = width;
    scratch.take(backend, backend.compute(), &shape[..=last])
}

/// One value a row: [.., 1].
pub fn column<B: TransformerBackend>(backend: &B, like: &[usize], scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
    wide(backend, like, 1, scratch)
}

/// Reduces [.., width] into [.., 1].
pub fn reduce<B: TransformerBackend>(backend: &B, op: ReduceOp, x: View<'_, B::Buffer>, column: &mut Tensor<B::Buffer>) -> Result<()> {
    let lead = x.layout.rank().saturating_sub(1);
    backend.reduce(op, x, column.view_mut().with(|layout| layout.reshape(&x.shape()[..lead]))?)
}

/// Raises every value to at least this one, by way of a tensor of one element.
pub fn at_least<B: TransformerBackend>(
    backend: &B,
    least: f64,
    column: &mut Tensor<B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let mut floor = scratch.take(backend, backend.compute(), &[1])?;
    backend.fill(floor.view_mut(), least)?;
    backend.binary(BinaryOp::Maximum, Operand::InPlace, floor.view(), column.view_mut())?;
    scratch.give(floor);
    Ok(())
}
