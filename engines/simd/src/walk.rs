//! Walking through views row by row, in pieces that fit on the stack.
//!
//! A row is the last dimension of a view. Its elements are loaded into the compute type a piece at a time, worked on, and stored with
//! one rounding. That keeps the types out of the arithmetic, needs no allocation at any width, and makes "in place" nothing special:
//! a piece is read before it is overwritten. The price is a second trip through the first-level cache.

use std::ops::Range;

use crossover_core::backend::Operand;
use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::SimdBuffer;
use crate::element::Real;

/// Elements of a row that are handled together.
pub(crate) const PIECE: usize = 64;

/// A row to read.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) buffer: &'a SimdBuffer,
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) width: usize,
}

/// A row to write, and the row that it is made from: `None` means itself.
pub(crate) struct RowMut<'a> {
    source: Option<Row<'a>>,
    out: &'a mut SimdBuffer,
    start: usize,
    stride: usize,
    width: usize,
}

/// 0..width in pieces of at most `size`.
pub(crate) fn pieces(width: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..width).step_by(size).map(move |start| start..width.min(start + size))
}

/// Distance between neighbours of the last dimension (whatever, for a scalar).
pub(crate) fn last_stride(layout: &Layout) -> usize {
    layout.strides().last().copied().unwrap_or(1)
}

/// Where the rows of a view start; none if there are no elements.
fn row_starts(layout: &Layout) -> impl Iterator<Item = usize> + use<> {
    let rows = if layout.is_empty() { 0 } else { usize::MAX };
    layout.leading_offsets(1).take(rows)
}

/// The rows of a view; a scalar is one row of one element.
pub(crate) fn rows_of<'a>(view: &View<'a, SimdBuffer>) -> impl Iterator<Item = Row<'a>> + use<'a> {
    let (buffer, width, stride) = (view.buffer, view.layout.dim_from_end(0), last_stride(&view.layout));
    row_starts(&view.layout).map(move |start| Row { buffer, start, stride, width })
}

/// Calls `work` for each row of `out`, with the row of `x` (of the same shape) that it is made from.
pub(crate) fn for_each_row(x: &Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>, mut work: impl FnMut(RowMut<'_>)) {
    let (width, stride) = (out.layout.dim_from_end(0), last_stride(&out.layout));
    match x {
        Operand::InPlace => {
            for start in row_starts(&out.layout) {
                work(RowMut { source: None, out: out.buffer, start, stride, width });
            }
        }
        Operand::Of(x) => {
            for (start, row) in row_starts(&out.layout).zip(rows_of(x)) {
                work(RowMut { source: Some(row), out: out.buffer, start, stride, width });
            }
        }
    }
}

impl<'a> Row<'a> {
    fn load<R: Real>(&self, first: usize, into: &mut [R]) {
        self.buffer.load(self.start + first * self.stride, self.stride, into);
    }

    /// Folds the elements from the first to the last.
    pub(crate) fn fold<R: Real, T>(&self, initial: T, mut step: impl FnMut(T, R) -> T) -> T {
        let mut values = [R::ZERO; PIECE];
        let mut state = initial;
        for piece in pieces(self.width, PIECE) {
            let values = &mut values[..piece.len()];
            self.load(piece.start, values);
            for &value in values.iter() {
                state = step(state, value);
            }
        }
        state
    }
}

impl RowMut<'_> {
    /// What the row is made from.
    pub(crate) fn source(&self) -> Row<'_> {
        self.source.unwrap_or(Row { buffer: self.out, start: self.start, stride: self.stride, width: self.width })
    }

    /// Sets each element, from the first to the last, to a function of its source and of the elements of other rows beside it.
    pub(crate) fn map<R: Real, const N: usize>(&mut self, others: [Row<'_>; N], mut function: impl FnMut(R, [R; N]) -> R) {
        let mut values = [R::ZERO; PIECE];
        let mut beside = [[R::ZERO; PIECE]; N];
        for piece in pieces(self.width, PIECE) {
            let values = &mut values[..piece.len()];
            self.source().load(piece.start, values);
            for (row, loaded) in others.iter().zip(&mut beside) {
                row.load(piece.start, &mut loaded[..piece.len()]);
            }
            for (at, value) in values.iter_mut().enumerate() {
                *value = function(*value, std::array::from_fn(|row| beside[row][at]));
            }
            self.out.store(self.start + piece.start * self.stride, self.stride, values);
        }
    }
}
