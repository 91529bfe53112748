//! Reductions and running sums over rows, from the first element to the last.

use crossover_core::backend::Operand;
use crossover_core::layout::Layout;
use crossover_core::ops::ReduceOp;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::walk::{Row, for_each_row, last_stride, rows_of};

/// x [.., width], out [..]; rows are not empty.
pub(crate) fn reduce<R: Real>(op: ReduceOp, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    for (row, place) in rows_of(&x).zip(out.layout.leading_offsets(0)) {
        match op {
            ReduceOp::Sum => out.buffer.set(place, sum::<R>(row)),
            ReduceOp::Mean => out.buffer.set(place, sum::<R>(row) / R::from_f64(row.width as f64)),
            ReduceOp::Max => out.buffer.set(place, extreme(row, R::larger)),
            ReduceOp::Min => out.buffer.set(place, extreme(row, R::smaller)),
            ReduceOp::ArgMax => out.buffer.set(place, first_largest::<R>(row) as f64),
        }
    }
}

fn sum<R: Real>(row: Row<'_>) -> R {
    row.fold(R::ZERO, |sum, x| sum + x)
}

fn extreme<R: Real>(row: Row<'_>, choose: impl Fn(R, R) -> R) -> R {
    let chosen = row.fold(None, |chosen: Option<R>, x| Some(chosen.map_or(x, |chosen| choose(chosen, x))));
    chosen.unwrap_or(R::ZERO)
}

/// A NaN counts as the largest, so that it shows, as it does in the maximum.
fn first_largest<R: Real>(row: Row<'_>) -> usize {
    let mut best: Option<(usize, R)> = None;
    row.fold(0, |at, x: R| {
        let better = best.is_none_or(|(_, largest)| !largest.is_nan() && (x > largest || x.is_nan()));
        if better {
            best = Some((at, x));
        }
        at + 1
    });
    best.map_or(0, |(at, _)| at)
}

/// The running sum itself is never rounded to the storage type, only what is written.
pub(crate) fn cumulative_sum<R: Real>(x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    for_each_row(&Operand::Of(x), out, |mut row| {
        let mut sum = R::ZERO;
        row.map([], |x: R, []| {
            sum = sum + x;
            sum
        });
    });
}

/// Of integers, exactly (modulo 2^32), as routing counts with them.
pub(crate) fn cumulative_sum_of_integers(x: &View<'_, SimdBuffer>, values: &[i32], out: &mut [i32], layout: &Layout) {
    let (stride, width) = (last_stride(layout), layout.dim_from_end(0));
    for (row, start) in rows_of(x).zip(layout.leading_offsets(1)) {
        let mut sum = 0i32;
        for at in 0..width {
            sum = sum.wrapping_add(values[row.start + at * row.stride]);
            out[start + at * stride] = sum;
        }
    }
}
