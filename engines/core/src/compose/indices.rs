//! Numbers from the data that must be below a bound, or an order, looked at over primitives: fetching rows by them says where one is not.

use super::per_head::gather;
use super::places::places;
use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::check;
use crate::dtype::DType;
use crate::error::{EngineError, Result};
use crate::ops::BinaryOp;
use crate::tensor::{Tensor, View};

/// Each of `indices` [..], in i32, must be one of 0..bound; the error names the operation that needs them. Positions count row by row.
pub fn below<B: TransformerBackend>(
    backend: &B,
    operation: &'static str,
    indices: View<'_, B::Buffer>,
    bound: usize,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    check::of_type(operation, DType::I32, indices.dtype())?;
    let count = indices.layout.len();
    let found = scratch.scope(|scratch| {
        let mut flat = scratch.take(backend, DType::I32, &[count])?;
        let mut rows = scratch.take(backend, backend.compute(), &[count, 1])?;
        let mut row = scratch.take(backend, backend.compute(), &[1, 1])?;
        backend.fill(row.view_mut(), 0.0)?;
        backend.copy(indices, flat.view_mut().with(|layout| layout.reshape(indices.shape()))?)?;
        // One row that stands for all.
        let table = row.view().with(|layout| layout.broadcast(&[bound, 1]))?;
        let found = backend.gather_rows(table, flat.view(), rows.view_mut());
        for done in [row, rows, flat] {
            scratch.give(done);
        }
        found
    });
    found.map_err(|error| match error {
        EngineError::Index { index, position, bound, .. } => EngineError::Index { operation, index, position, bound },
        other => other,
    })
}

/// Each row of `order` [batch, heads, n] must name every number below n once. Returns the place at which it does: [batch, heads, n]. At most
/// [`MOST_POSITIONS`](crate::check::MOST_POSITIONS) numbers, which pass through the compute type.
pub fn permutation<B: TransformerBackend>(
    backend: &B,
    operation: &'static str,
    order: View<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let n = order.layout.dim_from_end(0);
    below(backend, operation, order, n, scratch)?;
    let mut at = scratch.take(backend, DType::I32, order.shape())?;
    backend.stable_argsort(order, at.view_mut())?;
    scratch
        .scope(|scratch| {
            // In the order of their places numbers are 0, 1, ..: what is left of them is 0, unless one is missing.
            let [mut given, mut sorted] =
                [scratch.take(backend, backend.compute(), order.shape())?, scratch.take(backend, backend.compute(), order.shape())?];
            let (whole, mut numbers) = (places(backend, n, scratch)?, scratch.take(backend, backend.compute(), &[n])?);
            backend.copy(order, given.view_mut())?;
            gather(
                backend,
                given.view().with(|layout| layout.unsqueeze(3))?,
                at.view(),
                sorted.view_mut().with(|layout| layout.unsqueeze(3))?,
            )?;
            backend.copy(whole.view(), numbers.view_mut())?;
            let all = numbers.view().with(|layout| layout.broadcast(order.shape()))?;
            backend.binary(BinaryOp::Subtract, Operand::InPlace, all, sorted.view_mut())?;
            let mut left = scratch.take(backend, DType::I32, order.shape())?;
            backend.copy(sorted.view(), left.view_mut())?;
            let found = below(backend, operation, left.view(), 1, scratch);
            for done in [left, numbers, whole, sorted, given] {
                scratch.give(done);
            }
            found
        })
        .map_err(|error| if matches!(error, EngineError::Index { .. }) { check::named_twice(operation) } else { error })?;
    Ok(at)
}
