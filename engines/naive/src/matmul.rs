//! C = alpha A B + beta C.
//!
//! Each element of C is the sum of its products in the order k = 0, 1, 2, ..., then `alpha * sum`, then `+ beta * c` unless beta is
//! 0, then one rounding. Only how many sums are under way at the same time is chosen for speed.

use crossover_core::check::MatmulSizes;
use crossover_core::ops::MatmulSpec;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::{NaiveBuffer, typed};
use crate::element::{Element, Real};
use crate::walk::pieces;

/// Columns of C, and columns of A, that are handled together.
pub(crate) const TILE: usize = 256;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) start: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

pub(crate) fn matmul<R: Real>(
    spec: MatmulSpec,
    sizes: MatmulSizes,
    a: View<'_, NaiveBuffer>,
    b: View<'_, NaiveBuffer>,
    c: ViewMut<'_, NaiveBuffer>,
) {
    typed!(b.buffer, values => batches::<R, _>(spec, sizes, a, values, b, c));
}

fn batches<R: Real, T: Element>(
    spec: MatmulSpec,
    sizes: MatmulSizes,
    a: View<'_, NaiveBuffer>,
    b_values: &[T],
    b: View<'_, NaiveBuffer>,
    mut c: ViewMut<'_, NaiveBuffer>,
) {
    if c.layout.is_empty() {
        return;
    }
    let lead = c.layout.rank() - 2;
    let (a_strides, b_strides, c_strides) = (&a.layout.strides()[lead..], &b.layout.strides()[lead..], &c.layout.strides()[lead..]);
    let (row_stride, column_stride) = (b_strides[0], b_strides[1]);
    let starts = a.layout.leading_offsets(2).zip(b.layout.leading_offsets(2)).zip(c.layout.leading_offsets(2));
    let c_strides = [c_strides[0], c_strides[1]];
    for ((a_start, b_start), c_start) in starts {
        let b = Matrix { values: b_values, start: b_start, row_stride, column_stride };
        for row in 0..sizes.m {
            let a_row = (a.buffer, a_start + row * a_strides[0], a_strides[1]);
            product_row::<R, T>(spec, sizes, a_row, b, &mut c, (c_start + row * c_strides[0], c_strides[1]));
        }
    }
}

/// One row of C from one row of A.
fn product_row<R: Real, T: Element>(
    spec: MatmulSpec,
    sizes: MatmulSizes,
    (a, a_start, a_stride): (&NaiveBuffer, usize, usize),
    b: Matrix<'_, T>,
    c: &mut ViewMut<'_, NaiveBuffer>,
    (c_start, c_stride): (usize, usize),
) {
    let (alpha, beta) = (R::from_f64(spec.alpha), R::from_f64(spec.beta));
    let (mut sums, mut factors, mut before) = ([R::ZERO; TILE], [R::ZERO; TILE], [R::ZERO; TILE]);
    for columns in pieces(sizes.n, TILE) {
        let sums = &mut sums[..columns.len()];
        sums.fill(R::ZERO);
        for inner in pieces(sizes.k, TILE) {
            let factors = &mut factors[..inner.len()];
            a.load(a_start + inner.start * a_stride, a_stride, factors);
            accumulate(sums, factors, b.from(inner.start, columns.start));
        }
        for sum in sums.iter_mut() {
            *sum = alpha * *sum;
        }
        let c_start = c_start + columns.start * c_stride;
        if spec.beta != 0.0 {
            let before = &mut before[..columns.len()];
            c.buffer.load(c_start, c_stride, before);
            for (sum, &before) in sums.iter_mut().zip(before.iter()) {
                *sum = *sum + beta * before;
            }
        }
        c.buffer.store(c_start, c_stride, sums);
    }
}

impl<T> Matrix<'_, T> {
    /// The part of the matrix from this row and column on.
    pub(crate) fn from(self, row: usize, column: usize) -> Self {
        Self { start: self.start + row * self.row_stride + column * self.column_stride, ..self }
    }
}

/// sums[j] += factors[p] * b[p, j] for p = 0, 1, 2, ...
///
/// Along rows of B where these are dense, else along its columns; each sum sees its products in the same order either way.
pub(crate) fn accumulate<R: Real, T: Element>(sums: &mut [R], factors: &[R], b: Matrix<'_, T>) {
    if b.column_stride == 1 {
        for (p, &factor) in factors.iter().enumerate() {
            let start = b.start + p * b.row_stride;
            for (sum, value) in sums.iter_mut().zip(&b.values[start..]) {
                *sum = *sum + factor * value.load();
            }
        }
        return;
    }
    for (j, sum) in sums.iter_mut().enumerate() {
        *sum = dot(*sum, factors, b.values, b.start + j * b.column_stride, b.row_stride);
    }
}

/// sum + factors[0] * values[0] + factors[1] * values[1] + ..., from the left.
pub(crate) fn dot<R: Real, T: Element>(mut sum: R, factors: &[R], values: &[T], start: usize, stride: usize) -> R {
    if factors.is_empty() {
        return sum;
    }
    if stride == 1 {
        for (&factor, value) in factors.iter().zip(&values[start..]) {
            sum = sum + factor * value.load();
        }
    } else {
        for (p, &factor) in factors.iter().enumerate() {
            sum = sum + factor * values[start + p * stride].load();
        }
    }
    sum
}
