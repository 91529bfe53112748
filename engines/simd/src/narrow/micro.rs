//! What makes the sums of a tile of C from a panel of A and a panel of B: vectors ([`ByVectors`]) or a unit of tiles
//! ([`super::tiles::ByTiles`]).
//!
//! Panels of B are the same for both. Panels of A are not: a vector unit wants all rows of a word beside each other, a tile the words of a
//! row. So each packs A in its own way, and [`super::part`] cuts a product by what it says of its tiles.

use std::marker::PhantomData;

use super::matrix::Matrix;
use super::pack::{PANEL_STEP, pack_rows, row_words};
use super::tile::{Sums, rows_made, tile_rows};
#[cfg(target_arch = "x86_64")]
use super::tiles_x86;
use super::unit::{Choice, Format, Unit, UnitKernel, Word};
use crate::isa::{Extras, Isa};

/// A micro-kernel with its panels of A. Like a unit, it is only to be used where its instructions are enabled.
pub(super) trait Micro: Format {
    /// Rows of C that are made together.
    const ROWS: usize;
    /// Rows that a panel of A has room for.
    const ROOM: usize;
    /// A panel of A is filled up to a multiple of so many words along k.
    const MULTIPLE: usize;
    /// What a thread holds while it multiplies.
    type Ready;

    /// Makes this thread ready.
    fn ready() -> Self::Ready;

    /// Packs at most `ROWS` rows of k elements, and gives each its scale (1 where the words are no codes).
    ///
    /// # Safety
    /// The rows must be readable. bf16 words are made of bf16 elements only.
    unsafe fn pack(a: &Matrix, rows: usize, k: usize, panel: &mut [u32], scratch: &mut [u32], scales: &mut [f32]);

    /// Multiplies a panel of A, so packed, with one of B, `words` long. Rows beyond `rows` may be made too, from what stands in the panel.
    ///
    /// # Safety
    /// Both panels must be readable, and the thread ready.
    unsafe fn multiply(sums: &mut Sums, rows: usize, words: usize, a: *const u32, b: *const u32);
}

/// Words of a panel of A.
pub(super) fn panel_words<M: Micro>(k: usize) -> usize {
    M::ROOM * k.div_ceil(M::WORD.steps()).next_multiple_of(M::MULTIPLE)
}

/// A unit of vectors.
pub(super) struct ByVectors<U>(PhantomData<U>);

impl<U: Unit> Format for ByVectors<U> {
    type V = U::V;
    const WORD: Word = U::WORD;
}

impl<U: Unit> Micro for ByVectors<U> {
    const ROWS: usize = tile_rows::<U>();
    const ROOM: usize = PANEL_STEP;
    const MULTIPLE: usize = 4;
    type Ready = ();

    #[inline(always)]
    fn ready() {}

    #[inline(always)]
    unsafe fn pack(a: &Matrix, rows: usize, k: usize, panel: &mut [u32], scratch: &mut [u32], scales: &mut [f32]) {
        debug_assert_eq!(panel.len(), PANEL_STEP * row_words(k, U::WORD)[1]);
        // SAFETY: the caller's promises are handed on.
        unsafe { pack_rows::<U>(a, rows, k, (panel, PANEL_STEP), rows_made(rows, Self::ROWS), scratch, scales) };
    }

    #[inline(always)]
    unsafe fn multiply(sums: &mut Sums, rows: usize, words: usize, a: *const u32, b: *const u32) {
        // SAFETY: the caller's promises are handed on.
        unsafe { sums.multiply::<U>(rows, words, a, b) };
    }
}

/// Work on any micro-kernel.
pub(super) trait MicroKernel {
    type Output;
    /// Must be `#[inline(always)]`.
    fn run<M: Micro>(self) -> Self::Output;
}

struct OnVectors<K>(K);

impl<K: MicroKernel> UnitKernel for OnVectors<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<U: Unit>(self) -> K::Output {
        self.0.run::<ByVectors<U>>()
    }
}

/// What a product is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maker {
    Vectors(Choice),
    #[cfg(target_arch = "x86_64")]
    Bf16Tiles,
    #[cfg(target_arch = "x86_64")]
    Int8Tiles,
}

/// Rows up to which vectors are taken where there are tiles: one step of theirs is four instructions at most for 128 bytes of B, which
/// come from memory then and take longer.
const FEW_ROWS: usize = 4;

impl Maker {
    /// Tiles in place of the vector unit of the same operands, where there are tiles and rows enough.
    pub(super) fn of(choice: Choice, extras: Extras, rows: usize) -> Self {
        match choice {
            _ if !extras.amx || rows <= FEW_ROWS => Self::Vectors(choice),
            #[cfg(target_arch = "x86_64")]
            Choice::Bf16Pairs => Self::Bf16Tiles,
            #[cfg(target_arch = "x86_64")]
            Choice::Vnni512 => Self::Int8Tiles,
            _ => Self::Vectors(choice),
        }
    }

    /// Runs a kernel on it.
    #[inline]
    pub(super) fn run<K: MicroKernel>(self, isa: Isa, kernel: K) -> K::Output {
        match self {
            Self::Vectors(choice) => choice.run(isa, OnVectors(kernel)),
            // SAFETY: only made where `Extras` has found the unit, which it looks for beside 512-bit vectors only.
            #[cfg(target_arch = "x86_64")]
            Self::Bf16Tiles => unsafe { tiles_x86::on_bf16(kernel) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Self::Int8Tiles => unsafe { tiles_x86::on_int8(kernel) },
        }
    }
}
