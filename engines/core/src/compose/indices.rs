//! Numbers from the data that must be below a bound, looked at over primitives: fetching rows by them says where one is not.

use crate::arena::Arena;
use crate::backend::TransformerBackend;
use crate::check;
use crate::dtype::DType;
use crate::error::{EngineError, Result};
use crate::tensor::View;

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
