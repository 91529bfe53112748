//! Reductions and running sums over rows.
//!
//! Sums and extremes run in several chains of lanes that are joined at the end, so that the order of a sum depends on the vectors' width
//! (its error is smaller than that of one chain, not larger). Running sums go from the first element to the last.
//!
//! # What bounds it
//! Reading the input once; of running sums, the latency of one addition for each element.

use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::ReduceOp;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::gemm::Engine;
use crate::pool::Shared;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::sweep::{Fold, Sum, fold};
use crate::vector::{Lanes, MOST_LANES, Vector};
use crate::walk::{last_stride, rows_of};

/// x [.., width], out [..]; rows are not empty. Positions are i32, everything else is of the compute type or the storage type.
pub(crate) fn reduce<E: Lanes + Plain>(engine: &Engine, op: ReduceOp, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
    if let (ReduceOp::ArgMax, SimdBuffer::I32(positions)) = (op, &mut *out.buffer) {
        let kernel = ArgMax { positions: Shared::new(positions), layout: out.layout };
        return for_each_row::<E, _, 1>(engine, &kernel, [Part::Read(x)]);
    }
    // A row of one element for each result.
    let rank = out.layout.rank();
    let out = out.with(|layout| layout.unsqueeze(rank))?;
    for_each_row::<E, _, 2>(engine, &Reduction(op), [Part::Write(out), Part::Read(x)])
}

struct Reduction(ReduceOp);

impl<E: Lanes> RowKernel<E, 2> for Reduction {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, x]: [*mut E; 2], width: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            *out = match self.0 {
                ReduceOp::Sum => fold::<V, _>(Sum, x, width).sum(),
                ReduceOp::Mean => fold::<V, _>(Sum, x, width).sum() / E::from_f64(width as f64),
                ReduceOp::Max | ReduceOp::ArgMax => extreme::<V, true>(x, width),
                ReduceOp::Min => extreme::<V, false>(x, width),
            }
        }
    }
}

/// The largest (or smallest) of a row; NaN if there is one.
///
/// # Safety
/// The row must be readable.
#[inline(always)]
unsafe fn extreme<V: Vector, const MAX: bool>(x: *const V::Element, width: usize) -> V::Element {
    let mut lanes = [V::Element::ZERO; MOST_LANES];
    // SAFETY: the caller's promise; the array has room for the lanes of every vector.
    unsafe { fold::<V, _>(Extreme::<MAX>, x, width).store(lanes.as_mut_ptr()) };
    let mut best = lanes[0];
    for &lane in &lanes[1..V::LANES] {
        best = if MAX { best.larger(lane) } else { best.smaller(lane) };
    }
    best
}

/// The largest or the smallest lanes, or NaN.
#[derive(Clone, Copy)]
struct Extreme<const MAX: bool>;

impl<E: Lanes, const MAX: bool> Fold<E> for Extreme<MAX> {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::splat(if MAX { E::NEG_INFINITY } else { -E::NEG_INFINITY }); 2]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        // The instruction gives the state where one is NaN, so that a NaN in x is put in its place.
        x.where_equal(x, if MAX { x.max(state) } else { x.min(state) }, x)
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        self.step(state, other)
    }
}

/// Elements that are searched for their largest together.
const SEARCHED: usize = 512;

struct ArgMax {
    positions: Shared<i32>,
    layout: Layout,
}

impl<E: Lanes> RowKernel<E, 1> for ArgMax {
    /// The largest of every part, then its place in the first part that has the largest. A NaN counts as the largest, so that it shows, as
    /// it does in the maximum.
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, [x]: [*mut E; 1], width: usize) {
        let (mut best, mut part) = (E::NEG_INFINITY, 0);
        for first in (0..width).step_by(SEARCHED) {
            // SAFETY: a part of the row that the caller promises.
            let largest = unsafe { extreme::<V, true>(x.add(first), SEARCHED.min(width - first)) };
            if largest > best || (largest.is_nan() && !best.is_nan()) {
                (best, part) = (largest, first);
            }
        }
        // SAFETY: likewise; the position is inside of its view and belongs to this task.
        unsafe {
            let searched = std::slice::from_raw_parts(x.add(part), SEARCHED.min(width - part));
            let found = searched.iter().position(|&value| value == best || (value.is_nan() && best.is_nan()));
            *self.positions.pointer().add(self.layout.leading_offset(0, row)) = (part + found.unwrap_or(0)) as i32;
        }
    }
}

/// The running sum itself is never rounded to the storage type, only what is written.
pub(crate) fn cumulative_sum<E: Lanes + Plain>(engine: &Engine, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) -> Result<()> {
    for_each_row::<E, _, 2>(engine, &Running, [Part::Write(out), Part::Read(x)])
}

struct Running;

impl<E: Lanes> RowKernel<E, 2> for Running {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, x]: [*mut E; 2], width: usize) {
        let mut sum = E::ZERO;
        for at in 0..width {
            // SAFETY: the caller's promise.
            unsafe {
                sum = sum + *x.add(at);
                *out.add(at) = sum;
            }
        }
    }
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
