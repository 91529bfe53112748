//! Stable argsort and top-k: kernels of ours in the host's memory.
//!
//! candle's sort promises no order among equals, and panics on a NaN where the standard library notices that the comparison is no order.
//! Comparing (key, index) pairs makes every order strict.

use std::cmp::Ordering;

use candle_core::{D, DType as Candle, Tensor};
use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;
use crate::kernel::{self, Real, in_type_of};

/// keys and out have one shape.
pub(crate) fn stable_argsort(engine: &Engine, keys: &View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    let width = keys.layout.dim_from_end(0);
    let sort = |keys: &Tensor| engine.workers.run(|| kernel::rows("argsort", keys, (width, width), order));
    let order = engine.read(keys).and_then(|keys| engine.on_host(&keys, sort)?.reshape(out.shape())).during("argsort")?;
    engine.write("argsort", &order, out)
}

fn order(keys: &[i32], out: &mut [i32]) {
    // Rows too long for i32 are refused before.
    out.iter_mut().enumerate().for_each(|(at, index)| *index = at as i32);
    out.sort_unstable_by_key(|&index| (keys[index as usize], index));
}

/// The k first of each row in the order "larger value, then lower index"; a NaN counts as larger than every number.
pub(crate) fn top_k(
    engine: &Engine,
    x: &View<'_, CandleBuffer>,
    k: usize,
    values: ViewMut<'_, CandleBuffer>,
    indices: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    if values.layout.is_empty() {
        return Ok(());
    }
    let width = x.layout.dim_from_end(0);
    let shape = values.shape().to_vec();
    let found = engine.read_wide(x).and_then(|x| {
        let x = x.contiguous()?;
        let select = |x: &Tensor| in_type_of!(x, R => kernel::rows("top-k", x, (width, k), largest::<R>));
        // The kernel has no gradient and needs none: the values are gathered by its indices, and that has.
        let order = engine.on_host(&x.detach(), |x| engine.workers.run(|| select(x)))?.reshape(shape.as_slice())?;
        let best = x.gather(&order.to_dtype(Candle::U32)?, D::Minus1)?;
        Ok((best, order))
    });
    let (best, order) = found.during("top-k")?;
    engine.write("top-k", &best, values)?;
    engine.write("top-k", &order, indices)
}

fn largest<R: Real>(row: &[R], out: &mut [i32]) {
    let before = |&a: &i32, &b: &i32| descending(row[a as usize], row[b as usize]).then(a.cmp(&b));
    let mut order: Vec<i32> = (0..row.len() as i32).collect();
    if out.len() < order.len() {
        order.select_nth_unstable_by(out.len(), before);
        order.truncate(out.len());
    }
    order.sort_unstable_by(before);
    out.copy_from_slice(&order);
}

/// A total order: NaN first, then from large to small (both zeros are equal).
fn descending<R: Real>(a: R, b: R) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_keep_their_order_and_nan_comes_first() {
        let mut out = [0; 4];
        largest(&[1.0f64, f64::NAN, 3.0, -0.0, 3.0, f64::NAN, 0.0], &mut out);
        assert_eq!(out, [1, 5, 2, 4]);
        let mut all = [0; 3];
        largest(&[-0.0f32, 0.0, 1.0], &mut all);
        assert_eq!(all, [2, 0, 1]);
        let mut sorted = [0; 5];
        order(&[2, -1, 2, -1, 0], &mut sorted);
        assert_eq!(sorted, [1, 3, 4, 0, 2]);
    }
}
