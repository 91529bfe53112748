//! Pairs of bf16 numbers multiplied by tiles (AMX on x86): both products of attention, 16 rows at a time.
//!
//! Nothing is packed again for them. A tile of A is loaded with any distance from row to row, so that queries and weights are multiplied as
//! they lie in the thread's scratch, and panels of keys and values are those of the vector unit (see [`crate::narrow::Strip`]). Sums pass
//! through memory on their way to the vectors that scale scores and shrink the output.
//!
//! # What bounds it
//! 16 x 32 scores of heads of 64 are 4 products of tiles, and as many for the sum over values: 128 cycles, where the softmax on their 32
//! vectors takes some 350, and loading 8 KiB of keys and values from the second-level cache some 170. A quarter of the tiles' peak is what
//! can be had. No speed was measured: see NOTES.md, "Tiles".

use std::marker::PhantomData;

use super::arithmetic::{Arithmetic, Family, Task};
use super::pairs;
use super::product::{DISTANCE, Product};
use crate::buffer::SimdBuffer;
use crate::gemm::COLUMN_VECTORS;
use crate::isa::Isa;
use crate::narrow::{Strip, TILE, TileKernel, Tiles, on_bf16_tiles};
use crate::vector::{MOST_LANES, Vector};

/// Operands in bf16, where the processor has tiles for them.
pub(super) struct Bf16OnTiles;

impl Family for Bf16OnTiles {
    type E = f32;
    const STEPS: usize = 2;

    fn rows(_: Isa) -> usize {
        TILE
    }

    fn run(_: Isa, task: impl Task<f32>) {
        // SAFETY: this family is chosen only where `Extras` has found tiles.
        unsafe { on_bf16_tiles(OnTiles(task)) };
    }
}

pub(super) struct OnTiles<K>(pub(super) K);

impl<K: Task<f32>> TileKernel for OnTiles<K> {
    #[inline(always)]
    fn run<T: Tiles>(self) {
        self.0.run::<Tiled<T>>();
    }
}

/// Products by tiles.
struct Tiled<T>(PhantomData<T>);

impl<T> Clone for Tiled<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Tiled<T> {}

/// What tiles leave behind: 16 rows of a panel's columns.
#[repr(C, align(64))]
struct Sums([u32; TILE * COLUMN_VECTORS * MOST_LANES]);

impl<T: Tiles> Tiled<T> {
    /// # Safety
    /// As [`Arithmetic::scaled`] has it, on a thread whose tiles are ready.
    #[inline(always)]
    unsafe fn sums(product: &Product<Self>) -> Sums {
        debug_assert_eq!(product.b_step, COLUMN_VECTORS * T::V::LANES);
        let mut sums = Sums([0; TILE * COLUMN_VECTORS * MOST_LANES]);
        let strip = Strip { a: [product.a; 2], a_strides: [DISTANCE, TILE], words: product.words, b: product.b };
        // SAFETY: the caller's promises are handed on; one tile is high.
        unsafe { strip.multiply::<T, 1>(sums.0.as_mut_ptr()) };
        sums
    }

    /// A vector of them.
    #[inline(always)]
    fn vector(sums: &Sums, row: usize, vector: usize) -> T::V {
        let part = &sums.0[(row * COLUMN_VECTORS + vector) * T::V::LANES..][..T::V::LANES];
        // SAFETY: the part is a whole vector; singles are as long as words.
        unsafe { T::V::load(part.as_ptr().cast()) }
    }
}

impl<T: Tiles> Arithmetic for Tiled<T> {
    type E = f32;
    type V = T::V;
    type Word = u32;
    const STEPS: usize = 2;
    const ROWS: usize = TILE;
    const MULTIPLE: usize = TILE;

    #[inline(always)]
    unsafe fn scaled<const VECTORS: usize>(product: &Product<Self>, scale: f32, to: *mut f32) {
        let scale = T::V::splat(scale);
        // SAFETY: the caller's promises are handed on.
        unsafe {
            let sums = Self::sums(product);
            for (row, vector) in (0..product.rows).flat_map(|row| (0..VECTORS).map(move |vector| (row, vector))) {
                let sums = Self::vector(&sums, row, product.first + vector);
                sums.mul(scale).store(to.add(row * DISTANCE + vector * T::V::LANES));
            }
        }
    }
    #[inline(always)]
    unsafe fn added<const VECTORS: usize>(product: &Product<Self>, factors: *const f32, to: *mut f32, distance: usize) {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            let sums = Self::sums(product);
            for row in 0..product.rows {
                let factor = T::V::splat(*factors.add(row));
                for vector in 0..VECTORS {
                    let place = to.add(row * distance + vector * T::V::LANES);
                    let sums = Self::vector(&sums, row, product.first + vector);
                    T::V::load(place).mul_add(factor, sums).store(place);
                }
            }
        }
    }

    #[inline(always)]
    fn load_row(buffer: &SimdBuffer, start: usize, stride: usize, count: usize, into: &mut [f32]) {
        pairs::load_row(buffer, start, stride, count, into);
    }
    #[inline(always)]
    unsafe fn store_values(rows: *const f32, distance: usize, column: usize, to: *mut f32) {
        // SAFETY: promised by the caller.
        unsafe { pairs::store_values::<T::V>(rows, distance, column, to) };
    }
    #[inline(always)]
    unsafe fn store_weights(weights: T::V, row: *mut f32, at: usize) {
        // SAFETY: promised by the caller.
        unsafe { pairs::store_weights::<T>(weights, row, at) };
    }
}
