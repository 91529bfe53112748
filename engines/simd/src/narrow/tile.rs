//! The micro-kernel over words, and how its sums become results.
//!
//! A tile of sums stays in registers over the whole of k: a step loads two vectors of words of B and, for each row, one word of A into all
//! lanes. k is not cut into blocks as it is for singles (see [`crate::gemm`]): panels of narrow numbers are short, they stream from the
//! second-level cache at a tenth of what it delivers, and sums are finished and rounded once.

use crossover_core::activation::Activation;

use super::matrix::{Kind, Matrix};
use super::pack::PANEL_STEP;
use super::unit::Unit;
use crate::activation::activate;
use crate::vector::{ROWS_OF_SIXTEEN, Vector};

/// The most rows of any tile that vectors make.
const MOST_ROWS: usize = 14;
/// The most rows that anything makes together (see [`super::tiles`]).
const MOST_ROOM: usize = 32;
/// The most columns of any tile.
const MOST_COLUMNS: usize = 32;

/// Rows of a tile: as many as the registers hold.
pub(super) const fn tile_rows<U: Unit>() -> usize {
    match U::V::REGISTERS {
        32 => MOST_ROWS,
        _ if U::V::LANES == 1 => 4,
        _ => ROWS_OF_SIXTEEN,
    }
}

/// Rows that are made for so many: see [`Sums::multiply`].
pub(super) const fn rows_made(rows: usize, most: usize) -> usize {
    match rows {
        1..=4 => 4,
        5..=8 if most > 8 => 8,
        _ => most,
    }
}

/// What happens to sums: alpha sum + beta C + bias, activation, one rounding; or for codes sum scale_row scale_column + bias.
pub(super) struct Finish<'a> {
    pub(super) alpha: f32,
    /// C is not read where it is 0.
    pub(super) beta: f32,
    pub(super) activation: Activation,
    /// One row.
    pub(super) bias: Option<Matrix>,
    /// One for each row of the tile, where sums are of codes.
    pub(super) row_scales: Option<&'a [f32]>,
    /// Of the tile's columns: scales, and what the bias of A's codes has added.
    pub(super) columns: Option<(*const f32, *const i32)>,
}

/// Sums of a tile in memory.
#[repr(C, align(64))]
pub(super) struct Sums([u32; MOST_ROOM * MOST_COLUMNS]);

impl Sums {
    pub(super) fn zeros() -> Self {
        Self([0; MOST_ROOM * MOST_COLUMNS])
    }

    /// Where row and vector of a tile stand.
    #[inline(always)]
    pub(super) fn place<V: Vector>(&mut self, row: usize, vector: usize) -> *mut u32 {
        self.0[(2 * row + vector) * V::LANES..][..V::LANES].as_mut_ptr()
    }

    /// Multiplies a panel of A with one of B, `words` long. Rows beyond `rows` may be made too, from what stands in the panel.
    ///
    /// # Safety
    /// Both panels must be readable.
    #[inline(always)]
    pub(super) unsafe fn multiply<U: Unit>(&mut self, rows: usize, words: usize, a: *const u32, b: *const u32) {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            match rows {
                1 => self.rows::<U, 1>(words, a, b),
                2 => self.rows::<U, 2>(words, a, b),
                3 | 4 => self.rows::<U, 4>(words, a, b),
                5..=ROWS_OF_SIXTEEN if tile_rows::<U>() <= ROWS_OF_SIXTEEN => self.rows::<U, ROWS_OF_SIXTEEN>(words, a, b),
                5..=8 => self.rows::<U, 8>(words, a, b),
                _ => self.rows::<U, MOST_ROWS>(words, a, b),
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<U: Unit, const ROWS: usize>(&mut self, words: usize, a: *const u32, b: *const u32) {
        // Steps by which it reads ahead: with few rows the panel comes from memory, else from the second-level cache.
        let ahead = if ROWS <= 4 { 32 } else { 12 };
        let width = 2 * U::V::LANES;
        let mut sums = [[U::zero(); 2]; ROWS];
        let (mut a, mut b) = (a, b);
        for _ in 0..words {
            // SAFETY: a step of each panel by the caller's promise.
            unsafe {
                U::V::prefetch(b.wrapping_add(ahead * width).cast());
                U::V::prefetch(b.wrapping_add(ahead * width + U::V::LANES).cast());
                let right = [U::load(b), U::load(b.add(U::V::LANES))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let left = U::splat(*a.add(row));
                    sums[0] = U::dot(sums[0], left, right[0]);
                    sums[1] = U::dot(sums[1], left, right[1]);
                }
            }
            (a, b) = (a.wrapping_add(PANEL_STEP), b.wrapping_add(width));
        }
        for (row, sums) in sums.iter().enumerate() {
            for (vector, &sum) in sums.iter().enumerate() {
                // SAFETY: room for a vector.
                unsafe { U::store(sum, self.place::<U::V>(row, vector)) };
            }
        }
    }

    /// Finishes `rows x columns` into C.
    ///
    /// # Safety
    /// They must be writable, and bias, scales and corrections of the columns readable, the latter for the whole width of a tile.
    #[inline(always)]
    pub(super) unsafe fn finish<V: Vector<Element = f32>>(
        &mut self,
        [rows, columns]: [usize; 2],
        integer: bool,
        c: &Matrix,
        finish: &Finish<'_>,
    ) {
        let width = 2 * V::LANES;
        // Whole rows of singles go straight to C.
        let direct = columns == width && c.kind == Kind::F32 && c.column == 1;
        let (mut values, mut bias, mut before) = ([0f32; MOST_COLUMNS], [0f32; MOST_COLUMNS], [0f32; MOST_COLUMNS]);
        // SAFETY: the caller's promises, and arrays as wide as any tile.
        unsafe {
            if let Some(row) = finish.bias {
                row.load::<V>(0, &mut bias[..columns]);
            }
            for row in 0..rows {
                if finish.beta != 0.0 {
                    c.load::<V>(row, &mut before[..columns]);
                }
                for vector in 0..2 {
                    let at = vector * V::LANES;
                    let sums = self.place::<V>(row, vector);
                    let mut value =
                        if integer { codes::<V>(sums, row, at, finish) } else { V::load(sums.cast()).mul(V::splat(finish.alpha)) };
                    if finish.beta != 0.0 {
                        value = V::load(before.as_ptr().add(at)).mul_add(V::splat(finish.beta), value);
                    }
                    if finish.bias.is_some() {
                        value = value.add(V::load(bias.as_ptr().add(at)));
                    }
                    if finish.activation != Activation::None {
                        value = activate(finish.activation, value);
                    }
                    value.store(if direct { c.from(row, at).pointer.cast() } else { values.as_mut_ptr().add(at) });
                }
                if !direct {
                    c.store::<V>(row, &values[..columns]);
                }
            }
        }
    }
}

/// Sums of products of codes, as numbers.
#[inline(always)]
unsafe fn codes<V: Vector<Element = f32>>(sums: *const u32, row: usize, at: usize, finish: &Finish<'_>) -> V {
    let (Some((scales, corrections)), Some(row_scales)) = (finish.columns, finish.row_scales) else { return V::zero() };
    // SAFETY: a vector of sums, of scales and of corrections by the caller's promise.
    unsafe {
        let sums = V::difference_of_i32(sums.cast(), corrections.add(at));
        sums.mul(V::splat(row_scales[row]).mul(V::load(scales.add(at))))
    }
}
