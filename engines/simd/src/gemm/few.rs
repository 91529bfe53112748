//! Products with few rows, as a decoder's steps are: bound by reading B once, so nothing is packed, and k is not blocked for a cache unless there are more
//! sums than registers.
//!
//! Three kernels by the way B lies. Packed panels and rows that are dense along k stream as they are; a B that is dense along n is read a
//! few rows at a time over its whole width, with C in the first-level cache as the sum, because walking down a column strip would touch a
//! page for every row.

use std::ops::Range;

use super::along::Panels;
use super::micro::{COLUMN_VECTORS, FEW_ROWS, Stage, strided_tile, tile_rows};
use super::{Product, Right, Source};
use crate::activation::activate;
use crate::element::Real;
use crate::isa::Kernel;
use crate::vector::{Lanes, Scalar, Vector};

/// Rows of B that are added to C together.
const ROWS_TOGETHER: usize = 16;
/// Steps along a panel that several groups of rows take after each other.
const STEPS_TOGETHER: usize = 256;
/// Tiles by which it reads ahead.
const AHEAD: usize = 8;
/// Dot products that run beside each other, to cover the latency of the multiply-add.
const DOTS: usize = 4;

/// Some columns of a product with few rows.
pub(super) struct FewRows<'a, E> {
    pub(super) product: &'a Product<E>,
    pub(super) columns: Range<usize>,
}

/// Can it be done by these kernels?
pub(super) fn suits<E>(product: &Product<E>) -> bool {
    let dense = match &product.b {
        Right::Panels(_) => true,
        Right::Plain(b) => b.column == 1 || (b.row == 1 && product.a.column == 1),
    };
    product.m <= FEW_ROWS && dense
}

impl<E: Lanes> Kernel<E> for FewRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        // SAFETY: whoever made the product has checked that its matrices are inside their buffers; `suits` has chosen the kernel.
        unsafe {
            match &self.product.b {
                Right::Panels(panels) => self.panels::<V>(*panels),
                Right::Plain(b) if b.column == 1 => self.rows::<V>(b),
                Right::Plain(b) => self.dots::<V>(b),
            }
        }
    }
}

impl<E: Lanes> FewRows<'_, E> {
    /// Through packed panels; the columns start on one.
    #[inline(always)]
    unsafe fn panels<V: Vector<Element = E>>(&self, panels: *const E) {
        let Product { m, k, a, c, epilogue, .. } = self.product;
        let width = V::LANES * COLUMN_VECTORS;
        // Equal groups of rows whose sums fit into the registers. Where there are several, a piece of the panel stays in the first-level cache for all
        // of them, and each asks for its share of the next piece: memory is never waited for by one group alone.
        let groups = m.div_ceil(tile_rows::<V>());
        let (height, together) = (m.div_ceil(groups), if groups == 1 { (*k).max(1) } else { STEPS_TOGETHER });
        for column in self.columns.clone().step_by(width) {
            let columns = width.min(self.columns.end - column);
            for first in (0..(*k).max(1)).step_by(together) {
                let steps = together.min(k - first);
                let mut stage = Stage::of(epilogue, first == 0, first + together >= *k);
                stage.bias = stage.bias.map(|bias| bias.from(0, column));
                let b = panels.wrapping_add(column * k + first * width);
                for (group, row) in (0..*m).step_by(height).enumerate() {
                    let mut panels = Panels::new(steps, a.from(row, first).pointer, [a.row, a.column], b, width);
                    if groups > 1 {
                        panels.fetch = b.wrapping_add((steps + group * steps / groups) * width);
                        panels.fetch_step = width / groups;
                    }
                    let extents = [height.min(m - row), columns];
                    // SAFETY: the caller's promises; panels are whole vectors wide.
                    unsafe { strided_tile::<V, false>(&panels, extents, &c.from(row, column), &stage) };
                }
            }
        }
    }

    /// Along dense rows of B.
    #[inline(always)]
    unsafe fn rows<V: Vector<Element = E>>(&self, b: &Source<E>) {
        let Product { m, k, a, c, epilogue, .. } = self.product;
        let width = V::LANES * COLUMN_VECTORS;
        for first in (0..(*k).max(1)).step_by(ROWS_TOGETHER) {
            let together = ROWS_TOGETHER.min(k - first);
            for column in self.columns.clone().step_by(width) {
                let mut stage = Stage::of(epilogue, first == 0, first + ROWS_TOGETHER >= *k);
                stage.bias = stage.bias.map(|bias| bias.from(0, column));
                let (left, right) = (a.from(0, first), b.from(first, column));
                let panels = Panels::new(together, left.pointer, [a.row, a.column], right.pointer, b.row);
                let columns = width.min(self.columns.end - column);
                let c = c.from(0, column);
                for row in 0..together {
                    // So many rows are more streams than the processor follows by itself.
                    let ahead = right.pointer.wrapping_add(row * b.row + AHEAD * width);
                    V::prefetch(ahead);
                    V::prefetch(ahead.wrapping_add(V::LANES));
                }
                // SAFETY: the caller's promises; beyond the last column nothing is read.
                unsafe {
                    if columns == width {
                        strided_tile::<V, false>(&panels, [*m, columns], &c, &stage);
                    } else {
                        strided_tile::<V, true>(&panels, [*m, columns], &c, &stage);
                    }
                }
            }
        }
    }

    /// Along columns of B that are dense, as rows of A are.
    #[inline(always)]
    unsafe fn dots<V: Vector<Element = E>>(&self, b: &Source<E>) {
        for first in self.columns.clone().step_by(DOTS) {
            let mut row = 0;
            while row < self.product.m {
                let rows = self.product.m - row;
                // SAFETY: the caller's promises are handed on.
                unsafe {
                    match rows {
                        1 => self.dots_of_rows::<V, 1>(b, row, first),
                        2 | 3 => self.dots_of_rows::<V, 2>(b, row, first),
                        _ => self.dots_of_rows::<V, 4>(b, row, first),
                    }
                }
                row += [1, 2, 2, 4][rows.min(4) - 1];
            }
        }
    }

    /// `ROWS` rows of A with `DOTS` columns of B.
    #[inline(always)]
    unsafe fn dots_of_rows<V: Vector<Element = E>, const ROWS: usize>(&self, b: &Source<E>, row: usize, first: usize) {
        let count = DOTS.min(self.columns.end - first);
        // The last group repeats its last column instead of reading beyond it.
        let columns: [*const E; DOTS] = std::array::from_fn(|at| b.from(0, first + at.min(count - 1)).pointer);
        let rows: [*const E; ROWS] = std::array::from_fn(|at| self.product.a.from(row + at, 0).pointer);
        // SAFETY: k dense elements each, by the caller's promise.
        let sums = unsafe { dot::<V, ROWS>(self.product.k, rows, columns) };
        for (at, sums) in sums.iter().enumerate() {
            for (column, &sum) in sums[..count].iter().enumerate() {
                // SAFETY: an element of C.
                unsafe { self.write(row + at, first + column, sum) };
            }
        }
    }

    #[inline(always)]
    unsafe fn write(&self, row: usize, column: usize, sum: E) {
        let epilogue = &self.product.epilogue;
        let to = self.product.c.from(row, column).pointer;
        let mut value = epilogue.alpha * sum;
        // SAFETY: an element of C (and of the bias) by the caller's promise.
        unsafe {
            if epilogue.beta != E::ZERO {
                value = value + epilogue.beta * *to;
            }
            if let Some(bias) = epilogue.bias {
                value = value + *bias.from(0, column).pointer;
            }
            activate(epilogue.activation, Scalar::splat(value)).store(to);
        }
    }
}

/// One dense vector times rows of B that are dense, a score for each.
///
/// # Safety
/// `k` elements of the vector and of as many rows as there are sums must be readable.
#[inline(always)]
pub(crate) unsafe fn dots_with<V: Vector>(k: usize, a: *const V::Element, b: &Source<V::Element>, sums: &mut [V::Element]) {
    let count = sums.len();
    for first in (0..count).step_by(DOTS) {
        let together = DOTS.min(count - first);
        // The last group repeats its last row instead of reading beyond it.
        let rows: [*const V::Element; DOTS] = std::array::from_fn(|at| b.from(first + at.min(together - 1), 0).pointer);
        // SAFETY: the caller's promises.
        let [dots] = unsafe { dot::<V, 1>(k, [a], rows) };
        sums[first..first + together].copy_from_slice(&dots[..together]);
    }
}

/// Dense vectors times dense vectors.
#[inline(always)]
unsafe fn dot<V: Vector, const ROWS: usize>(
    k: usize,
    a: [*const V::Element; ROWS],
    b: [*const V::Element; DOTS],
) -> [[V::Element; DOTS]; ROWS] {
    // Two sets of sums cover the latency of the multiply-add where there are few of them.
    let mut sums = [[[V::zero(); DOTS]; ROWS]; 2];
    let sets = if ROWS >= 4 { 1 } else { 2 };
    let mut at = 0;
    // SAFETY: all within k elements of each, by the caller's promise.
    unsafe {
        while at + sets * V::LANES <= k {
            for (set, sums) in sums.iter_mut().take(sets).enumerate() {
                let right = b.map(|b| V::load(b.wrapping_add(at + set * V::LANES)));
                for (sums, a) in sums.iter_mut().zip(a) {
                    let left = V::load(a.wrapping_add(at + set * V::LANES));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = left.mul_add(right, *sum);
                    }
                }
            }
            at += sets * V::LANES;
        }
        while at < k {
            let count = V::LANES.min(k - at);
            let right = b.map(|b| V::load_first(b.wrapping_add(at), count));
            for (sums, a) in sums[0].iter_mut().zip(a) {
                let left = V::load_first(a.wrapping_add(at), count);
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = left.mul_add(right, *sum);
                }
            }
            at += V::LANES;
        }
    }
    let ([first, second], mut dots) = (sums, [[V::Element::ZERO; DOTS]; ROWS]);
    for ((mut row, second), dots) in first.into_iter().zip(second).zip(&mut dots) {
        for (sum, second) in row.iter_mut().zip(second) {
            *sum = sum.add(second);
        }
        *dots = V::sums(row);
    }
    dots
}
