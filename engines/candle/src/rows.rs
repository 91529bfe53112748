//! Rows by index: candle's `index_select` and `index_add`.
//!
//! candle takes indices as u32 and names no position when one is wrong, so they are read and checked on the host first; on a device that
//! is a transfer and a wait, which `supports` says.

use candle_core::{DType as Candle, Tensor};
use crossover_core::check;
use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;

/// The indices as candle wants them, every one checked to be in 0..bound.
fn checked(engine: &Engine, operation: &'static str, index: &View<'_, CandleBuffer>, bound: usize) -> Result<Tensor> {
    let index = engine.read(index).and_then(|index| index.contiguous()).during(operation)?;
    let values = index.to_vec1::<i32>().during(operation)?;
    values.iter().enumerate().try_for_each(|(at, &value)| check::index(operation, at, value, bound).map(drop))?;
    index.to_dtype(Candle::U32).during(operation)
}

/// out[i] = table[indices[i]].
pub(crate) fn gather_rows(
    engine: &Engine,
    table: &View<'_, CandleBuffer>,
    index: &View<'_, CandleBuffer>,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    let index = checked(engine, "gather", index, table.shape()[0])?;
    if out.layout.is_empty() {
        return Ok(());
    }
    let table = engine.read(table).and_then(|table| table.contiguous());
    let rows = table.and_then(|table| table.index_select(&index, 0)).during("gather")?;
    engine.write("gather", &rows, out)
}

/// `out[indices[i]] += x[i]`, in order of i.
pub(crate) fn scatter_add_rows(
    engine: &Engine,
    x: &View<'_, CandleBuffer>,
    index: &View<'_, CandleBuffer>,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    let index = checked(engine, "scatter", index, out.shape()[0])?;
    if out.layout.is_empty() || x.layout.is_empty() {
        return Ok(());
    }
    let sums = engine.read_wide(&out.as_view()).and_then(|before| {
        let (before, x) = (before.contiguous()?, engine.read_wide(x)?.contiguous()?);
        before.index_add(&index, &x, 0)
    });
    let sums = sums.during("scatter")?;
    engine.write("scatter", &sums, out)
}
