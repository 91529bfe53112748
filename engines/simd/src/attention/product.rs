//! The micro-kernel of both products: a few rows times a panel of columns, with the sums in registers.
//!
//! It is that of [`crate::gemm`] over any [`Arithmetic`], and three things differ. A panel of columns comes from the second-level cache for
//! each panel of rows, so it is asked for ahead. Scores leave it scaled. And the sum over values meets what stands in the output with a
//! factor for each row, which is how the recurrence shrinks it without a pass of its own.

use super::SEGMENT;
use super::arithmetic::{Arithmetic, ByVectors};
use crate::aligned::LINE;
use crate::gemm::tile_rows;
use crate::vector::{ROWS_OF_SIXTEEN, Vector};

/// From row to row of queries and of scores, in words: room for a segment and a vector, and an odd number of cache lines.
pub(super) const DISTANCE: usize = SEGMENT + 16;
/// Steps by which it reads ahead: the first panel of rows of a block finds it in the third-level cache only.
const AHEAD: usize = 32;
/// Steps that are written out in a turn of the loop: what a turn needs to go on is shared by as many (see `vector/along_x86.rs`).
const WRITTEN_OUT: usize = 4;

// The heights of tiles are written out below.
const _: () = assert!(ROWS_OF_SIXTEEN == 6);

/// Evaluates an expression with a constant bound to as many rows as are made for these: more than asked for, so that few are compiled.
macro_rules! by_rows {
    ($most:expr, $rows:expr, $constant:ident => $call:expr) => {
        by_rows!(@ $most, $rows, $constant, $call, [4, 4] [6, 4] [6, 6] [14, 4] [14, 8] [14, 14])
    };
    (@ $most:expr, $rows:expr, $constant:ident, $call:expr, $([$tile:literal, $count:literal])*) => {
        'made: {
            $(if $most == $tile && $rows <= $count {
                const $constant: usize = $count;
                $call;
                break 'made;
            })*
            unreachable!("no product is compiled for {} of {} rows", $rows, $most);
        }
    };
}

/// A panel of rows, [`DISTANCE`] apart, times a panel of columns.
pub(super) struct Product<A: Arithmetic> {
    /// Rows that are wanted; up to a whole panel may be made.
    pub(super) rows: usize,
    pub(super) words: usize,
    pub(super) a: *const A::Word,
    /// A panel of B.
    pub(super) b: *const A::Word,
    /// From step to step of B.
    pub(super) b_step: usize,
    /// The first of the panel's vectors that are wanted.
    pub(super) first: usize,
}

impl<A: ByVectors> Product<A> {
    /// Writes the scaled product, [`DISTANCE`] from row to row.
    ///
    /// # Safety
    /// A must be readable over `words` of every row of a panel, B likewise over `VECTORS` vectors of each step, and the target writable.
    #[inline(always)]
    pub(super) unsafe fn scaled<const VECTORS: usize>(&self, scale: A::E, to: *mut A::E) {
        let scale = A::V::splat(scale);
        // SAFETY: the caller's promises are handed on.
        unsafe {
            by_rows!(tile_rows::<A::V>(), self.rows, ROWS => {
                let sums = self.sums::<ROWS, VECTORS>();
                for (row, sums) in sums.iter().enumerate() {
                    for (vector, &sum) in sums.iter().enumerate() {
                        A::values(sum).mul(scale).store(to.add(row * DISTANCE + vector * A::V::LANES));
                    }
                }
            });
        }
    }

    /// Target = target * factor of its row + product.
    ///
    /// # Safety
    /// As above; there must be a factor for every row of a panel, and `distance` from row to row of the target.
    #[inline(always)]
    pub(super) unsafe fn added<const VECTORS: usize>(&self, factors: *const A::E, to: *mut A::E, distance: usize) {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            by_rows!(tile_rows::<A::V>(), self.rows, ROWS => {
                let sums = self.sums::<ROWS, VECTORS>();
                for (row, sums) in sums.iter().enumerate() {
                    let factor = A::V::splat(*factors.add(row));
                    for (vector, &sum) in sums.iter().enumerate() {
                        let place = to.add(row * distance + vector * A::V::LANES);
                        A::V::load(place).mul_add(factor, A::values(sum)).store(place);
                    }
                }
            });
        }
    }

    #[inline(always)]
    unsafe fn sums<const ROWS: usize, const VECTORS: usize>(&self) -> [[A::Sums; VECTORS]; ROWS] {
        let mut sums = [[A::zero(); VECTORS]; ROWS];
        let (mut a, mut b) = (self.a, self.b.wrapping_add(self.first * A::V::LANES));
        let mut left = self.words;
        // SAFETY: as many steps of both panels by the caller's promise.
        unsafe {
            while left >= WRITTEN_OUT {
                for step in 0..WRITTEN_OUT {
                    self.step(a.wrapping_add(step), b, &mut sums);
                    b = b.wrapping_add(self.b_step);
                }
                (a, left) = (a.wrapping_add(WRITTEN_OUT), left - WRITTEN_OUT);
            }
            for _ in 0..left {
                self.step(a, b, &mut sums);
                (a, b) = (a.wrapping_add(1), b.wrapping_add(self.b_step));
            }
        }
        sums
    }

    /// One step along the sum.
    #[inline(always)]
    unsafe fn step<const ROWS: usize, const VECTORS: usize>(
        &self,
        a: *const A::Word,
        b: *const A::Word,
        sums: &mut [[A::Sums; VECTORS]; ROWS],
    ) {
        let lanes = A::V::LANES;
        // A line is asked for once, and not with each of its vectors. (Of values in place whose rows are no whole lines some steps lie in two, and the
        // second one is not asked for.)
        for vector in (0..VECTORS).step_by((LINE / size_of::<A::V>()).max(1)) {
            A::V::prefetch(b.wrapping_add(AHEAD * self.b_step + vector * lanes).cast());
        }
        // SAFETY: a step of both panels by the caller's promise.
        unsafe {
            let mut right = [A::load(b); VECTORS];
            for (vector, right) in right.iter_mut().enumerate().skip(1) {
                *right = A::load(b.add(vector * lanes));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let left = A::splat(*a.add(row * DISTANCE));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = A::dot(*sum, left, right);
                }
            }
        }
    }
}
