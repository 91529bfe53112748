//! Products by a unit of tiles: registers of 16 rows of 64 bytes, and an instruction that multiplies two of them and adds to a third.
//!
//! Four tiles of C stay in registers over the whole of k, 2 x 2 of them (or one row of two, where 16 rows are all that is left); a step
//! takes two tiles of A and two of B, 16 words along k. Panels of B are those of the vector units: a row of words is 16 columns and 16 more,
//! so that either half of 16 rows is a tile whose rows lie one panel's width apart. A is packed so that a tile is one piece of memory.
//! Words behind the last one of k are zeros in A; those of B are copied to where zeros stand behind them, since 0 times whatever comes
//! next need not be 0.
//!
//! # What tiles compute
//! int8: signed codes on both sides, sums in i32 modulo 2^32, exact where the result fits. bf16 (`tdpbf16ps`): even and odd steps of a
//! tile are summed apart, each product and addition rounded once, and both sums are added to C's element, all to nearest; subnormal
//! operands and results are taken for zeros whatever the control register says. No element takes more roundings than a loop over f32 gives
//! it: the error is at most that of k of them and k times the smallest normal number.
//!
//! # What it trades away
//! Sums pass through memory between the tiles and the vectors that finish them. k is not cut into blocks (see [`super::tile`]), so that
//! panels longer than the first-level cache come from the second one.

use std::marker::PhantomData;

use super::matrix::Matrix;
use super::micro::Micro;
use super::pack::{row_as_words, row_words};
use super::tile::Sums;
use super::unit::{Format, Word};
use crate::vector::Vector;

/// Rows of a tile, and its words along k.
pub(crate) const TILE: usize = 16;
/// The most columns of two tiles.
const MOST_COLUMNS: usize = 32;

/// What one call multiplies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands {
    /// A's tiles of the first step, each of 16 rows of 16 words: of the first 16 rows, and of the next.
    pub(super) a: [*const u32; 2],
    /// Words from row to row of such a tile, and from a step to the next.
    pub(super) a_strides: [usize; 2],
    /// A panel of B.
    pub(super) b: *const u32,
    /// Steps of which the panel has all 16 rows.
    pub(super) steps: usize,
    /// 16 rows for one step more, or null.
    pub(super) last: *const u32,
}

/// A unit of tiles. The panels' width is two of its tiles.
pub(crate) trait Tiles: Format {
    /// Holds the registers; gives them back when it is dropped.
    type Ready;
    /// Configures them for this thread: all of 16 rows.
    fn ready() -> Self::Ready;
    /// Sums of `16 HEIGHT` rows and the panel's columns, row by row; HEIGHT is 1 or 2.
    ///
    /// # Safety
    /// Operands must be readable as said, sums writable, and the thread ready.
    unsafe fn products<const HEIGHT: usize>(operands: &Operands, sums: *mut u32);
}

/// The micro-kernel on them.
pub(super) struct ByTiles<T>(PhantomData<T>);

impl<T: Tiles> Format for ByTiles<T> {
    type V = T::V;
    const WORD: Word = T::WORD;
}

impl<T: Tiles> Micro for ByTiles<T> {
    const ROWS: usize = 2 * TILE;
    const ROOM: usize = 2 * TILE;
    const MULTIPLE: usize = TILE;
    type Ready = T::Ready;

    #[inline(always)]
    fn ready() -> T::Ready {
        T::ready()
    }

    #[inline(always)]
    unsafe fn pack(a: &Matrix, rows: usize, k: usize, panel: &mut [u32], scratch: &mut [u32], scales: &mut [f32]) {
        let [words, distance] = row_words(k, T::WORD);
        let steps = words.div_ceil(TILE);
        // Scratch is made for 16 rows, and so long enough for one that is filled up to whole tiles.
        let (row_of_words, singles) = scratch.split_at_mut(TILE * distance);
        for (row, scale) in scales[..rows].iter_mut().enumerate() {
            // SAFETY: the caller's promises are handed on.
            *scale = unsafe { row_as_words::<T>(&a.from(row, 0), k, &mut row_of_words[..words], singles) };
            row_of_words[words..steps * TILE].fill(0);
            let first = row / TILE * steps * TILE * TILE + row % TILE * TILE;
            for (step, piece) in row_of_words[..steps * TILE].as_chunks::<TILE>().0.iter().enumerate() {
                panel[first + step * TILE * TILE..][..TILE].copy_from_slice(piece);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(sums: &mut Sums, rows: usize, words: usize, a: *const u32, b: *const u32) {
        let second = a.wrapping_add(words.div_ceil(TILE) * TILE * TILE);
        let strip = Strip { a: [a, second], a_strides: [TILE, TILE * TILE], words, b };
        // SAFETY: panels as they were packed, and room for 32 rows of sums.
        unsafe {
            if rows > TILE {
                strip.multiply::<T, 2>(sums.place::<T::V>(0, 0));
            } else {
                strip.multiply::<T, 1>(sums.place::<T::V>(0, 0));
            }
        }
    }
}

/// One or two tiles high of A, and a panel of B. Behind the last word of A stand zeros up to a whole tile.
pub(crate) struct Strip {
    /// The first 16 rows, and the next.
    pub(crate) a: [*const u32; 2],
    /// Words from row to row, and from 16 words to the next.
    pub(crate) a_strides: [usize; 2],
    /// Words along k.
    pub(crate) words: usize,
    pub(crate) b: *const u32,
}

impl Strip {
    /// Sums of `16 HEIGHT` rows and the panel's columns, row by row.
    ///
    /// # Safety
    /// Operands must be readable, sums writable, and the thread ready.
    #[inline(always)]
    pub(crate) unsafe fn multiply<T: Tiles, const HEIGHT: usize>(&self, sums: *mut u32) {
        let width = 2 * T::V::LANES;
        let (steps, rest) = (self.words / TILE, self.words % TILE);
        let behind;
        let last = if rest == 0 {
            std::ptr::null()
        } else {
            // SAFETY: the rows of the panel that are left, by the caller's promise.
            behind = unsafe { Rows::copied(self.b.wrapping_add(steps * TILE * width), rest * width) };
            behind.0.as_ptr()
        };
        let operands = Operands { a: self.a, a_strides: self.a_strides, b: self.b, steps, last };
        // SAFETY: the caller's promises are handed on.
        unsafe { T::products::<HEIGHT>(&operands, sums) };
    }
}

/// Rows of a panel with zeros behind them.
#[repr(C, align(64))]
struct Rows([u32; TILE * MOST_COLUMNS]);

impl Rows {
    /// # Safety
    /// So many words must be readable, at most as many as there is room for.
    #[inline(always)]
    unsafe fn copied(from: *const u32, words: usize) -> Self {
        let mut rows = Self([0; TILE * MOST_COLUMNS]);
        // SAFETY: readable by the caller's promise; the slice is cut to the length.
        unsafe { std::ptr::copy_nonoverlapping(from, rows.0[..words].as_mut_ptr(), words) };
        rows
    }
}

#[cfg(test)]
#[path = "tiles_tests.rs"]
pub(crate) mod tests;
