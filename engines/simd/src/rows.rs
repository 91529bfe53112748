//! Rows by index. Every index is checked before the first row moves: a wrong one leaves the output as it was.

use crossover_core::backend::Operand;
use crossover_core::check;
use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::elementwise::copy;
use crate::gemm::Engine;
use crate::walk::{for_each_row, rows_of};

/// Indices [count] as positions in 0..bound.
fn check_all(operation: &'static str, values: &[i32], indices: &View<'_, SimdBuffer>, bound: usize) -> Result<()> {
    indices.layout.leading_offsets(0).enumerate().try_for_each(|(at, place)| check::index(operation, at, values[place], bound).map(drop))
}

/// out[i] = table[indices[i]].
pub(crate) fn gather_rows(
    engine: &Engine,
    table: View<'_, SimdBuffer>,
    values: &[i32],
    indices: View<'_, SimdBuffer>,
    mut out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let rows = table.layout.shape()[0];
    check_all("gather", values, &indices, rows)?;
    for (at, place) in indices.layout.leading_offsets(0).enumerate() {
        let row = check::index("gather", at, values[place], rows)?;
        copy(engine, table.narrow(0, row, 1)?, out.reborrow().narrow(0, at, 1)?);
    }
    Ok(())
}

/// out[indices[i]] += x[i], in order of i; rounded after each addition, as the sums stand in the output.
pub(crate) fn scatter_add_rows<R: Real>(
    x: View<'_, SimdBuffer>,
    values: &[i32],
    indices: View<'_, SimdBuffer>,
    mut out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let rows = out.layout.shape()[0];
    check_all("scatter", values, &indices, rows)?;
    for ((at, place), addend) in indices.layout.leading_offsets(0).enumerate().zip(rows_of(&x)) {
        let row = check::index("scatter", at, values[place], rows)?;
        let target = out.reborrow().narrow(0, row, 1)?;
        for_each_row(&Operand::InPlace, target, |mut sums| sums.map([addend], |sum: R, [x]| sum + x));
    }
    Ok(())
}
