//! The k largest of each row, and the k most probable classes.
//!
//! The best so far are a heap of indices, in the output itself, with the worst of them at its root. Most of a long row is passed over a few
//! vectors at a time: only where their largest beats the root are elements looked at. With a softmax, the probabilities of a row are never
//! written: its maximum and sum are taken, and the logits that won are turned into probabilities.
//!
//! # What bounds it
//! Reading the input once; for large k or rising rows, the heap's sifting.

use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::gemm::Engine;
use crate::pool::Shared;
use crate::reduce::extreme;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::softmax::share;
use crate::sweep::{Fold, Largest, fold};
use crate::vector::{Lanes, Scalar, Vector, exp};
use crate::walk::last_stride;

/// Vectors that are passed over together.
const PASSED: usize = 8;

/// The k first of each row in the order "larger value, then lower index"; a NaN counts as larger than every number. With `softmax`, values
/// are probabilities.
pub(crate) fn top_k<E: Lanes + Plain>(
    engine: &Engine,
    softmax: bool,
    x: View<'_, SimdBuffer>,
    values: ViewMut<'_, SimdBuffer>,
    (indices, layout): (&mut [i32], Layout),
) -> Result<()> {
    let kernel = TopK { softmax, k: values.layout.dim_from_end(0), indices: Shared::new(indices), layout };
    for_each_row::<E, _, 2>(engine, &kernel, [Part::Write(values), Part::Read(x)])
}

struct TopK {
    softmax: bool,
    k: usize,
    indices: Shared<i32>,
    layout: Layout,
}

impl<E: Lanes> RowKernel<E, 2> for TopK {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, [values, x]: [*mut E; 2], width: usize) {
        let first = self.indices.pointer().wrapping_add(self.layout.leading_offset(1, row));
        // SAFETY: a row that the caller promises; its indices are inside of their view, and belong to this task.
        unsafe {
            let mut best = Heap { row: std::slice::from_raw_parts(x, width), first, stride: last_stride(&self.layout) };
            best.fill::<V>(self.k);
            let values = std::slice::from_raw_parts_mut(values, self.k);
            for (at, value) in values.iter_mut().enumerate() {
                *value = best.row[best.get(at)];
            }
            if self.softmax {
                let maximum = fold::<V, _>(Largest, x, width).largest();
                let sum = fold::<V, _>(ShiftedSum(maximum), x, width).sum();
                probabilities(values, maximum, share(sum));
            }
        }
    }
}

/// Logits, descending, to probabilities. Exponentials of neighbours may be out of order by a unit in the last place: none is let rise.
#[inline(always)]
fn probabilities<E: Lanes>(values: &mut [E], maximum: E, share: E) {
    let mut last = E::ONE;
    for value in values {
        let probability = exp(Scalar::splat(*value - maximum)).sum() * share;
        last = if probability > last { last } else { probability };
        *value = last;
    }
}

/// The sum of exp(x - this).
#[derive(Clone, Copy)]
struct ShiftedSum<E>(E);

impl<E: Lanes> Fold<E> for ShiftedSum<E> {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::zero(), V::splat(E::NEG_INFINITY)]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        state.add(exp(x.sub(V::splat(self.0))))
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        state.add(other)
    }
}

/// Indices into a row, strided.
struct Heap<'a, E> {
    row: &'a [E],
    first: *mut i32,
    stride: usize,
}

impl<E: Real> Heap<'_, E> {
    fn get(&self, at: usize) -> usize {
        // SAFETY: whoever makes a heap owns as many places as are used, and each holds an index.
        unsafe { *self.first.wrapping_add(at * self.stride) as usize }
    }

    fn set(&mut self, at: usize, index: usize) {
        // SAFETY: likewise.
        unsafe { *self.first.wrapping_add(at * self.stride) = index as i32 }
    }

    /// Does the first come before the second in the order?
    fn before(&self, first: usize, second: usize) -> bool {
        let (a, b) = (self.row[first], self.row[second]);
        let larger = a > b || (a.is_nan() && !b.is_nan());
        let equal = a == b || (a.is_nan() && b.is_nan());
        larger || (equal && first < second)
    }

    /// Lets the element at `root` sink until no child comes after it in the order.
    fn sift_down(&mut self, mut root: usize, length: usize) {
        loop {
            let mut last = root;
            for child in [2 * root + 1, 2 * root + 2] {
                if child < length && self.before(self.get(last), self.get(child)) {
                    last = child;
                }
            }
            if last == root {
                return;
            }
            self.swap(root, last);
            root = last;
        }
    }

    fn swap(&mut self, first: usize, second: usize) {
        let (a, b) = (self.get(first), self.get(second));
        self.set(first, b);
        self.set(second, a);
    }

    /// Takes the element in if it comes before the worst of k.
    fn offer(&mut self, candidate: usize, k: usize) {
        if self.before(candidate, self.get(0)) {
            self.set(0, candidate);
            self.sift_down(0, k);
        }
    }

    /// The best k of the row in their order.
    #[inline(always)]
    unsafe fn fill<V: Vector<Element = E>>(&mut self, k: usize) {
        for at in 0..k {
            self.set(at, at);
        }
        for root in (0..k / 2).rev() {
            self.sift_down(root, k);
        }
        for first in (k..self.row.len()).step_by(PASSED * V::LANES) {
            let count = (PASSED * V::LANES).min(self.row.len() - first);
            // SAFETY: a part of the row.
            let largest = unsafe { extreme::<V, true>(self.row.as_ptr().add(first), count) };
            let worst = self.row[self.get(0)];
            // An equal element has a higher index, and comes after.
            if largest > worst || (largest.is_nan() && !worst.is_nan()) {
                (first..first + count).for_each(|candidate| self.offer(candidate, k));
            }
        }
        for end in (1..k).rev() {
            self.swap(0, end);
            self.sift_down(0, end);
        }
    }
}
