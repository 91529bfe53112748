//! Pairs of bf16 numbers as the words of attention: [`crate::narrow`]'s unit behind [`Arithmetic`].
//!
//! A pair takes its neighbour along. Where a panel of rows sees an odd number of keys, or begins on an odd one, one value that it does not
//! see is multiplied by a weight of zero: no finite value shows, but an infinity or NaN there makes its sums NaN, which single numbers
//! would not have read. Telling the halves apart would cost a mask for each panel.

use std::marker::PhantomData;

use half::bf16;

use super::arithmetic::{Arithmetic, ByVectors, Family, Task, products_by_vectors};
use super::product::Product;
use super::rows;
use crate::buffer::SimdBuffer;
use crate::isa::Isa;
use crate::narrow::{Format, Unit, UnitKernel};
use crate::vector::{MOST_LANES, Vector};

/// Operands in bf16, where the processor multiplies pairs of them.
pub(super) struct Bf16Operands;

impl Bf16Operands {
    /// Are there instructions for it?
    pub(super) fn are_native(isa: Isa, extras: crate::isa::Extras) -> bool {
        crate::narrow::Choice::bf16(isa, extras) == crate::narrow::Choice::Bf16Pairs
    }
}

impl Family for Bf16Operands {
    type E = f32;
    const STEPS: usize = 2;

    fn run(_: Isa, task: impl Task<f32>) {
        // SAFETY: this family is chosen only where `are_native` has found the instructions.
        unsafe { crate::narrow::on_bf16_pairs(OnPairs(task)) };
    }
}

struct OnPairs<T>(T);

impl<T: Task<f32>> UnitKernel for OnPairs<T> {
    type Output = ();

    #[inline(always)]
    fn run<U: Unit>(self) {
        self.0.run::<Pair<U>>();
    }
}

/// Products of pairs.
#[derive(Clone, Copy)]
struct Pair<U>(PhantomData<U>);

impl<U: Unit> Arithmetic for Pair<U> {
    type E = f32;
    type V = U::V;
    type Word = u32;
    const STEPS: usize = 2;

    products_by_vectors!();

    #[inline(always)]
    fn load_row(buffer: &SimdBuffer, start: usize, stride: usize, count: usize, into: &mut [f32]) {
        load_row(buffer, start, stride, count, into);
    }
    #[inline(always)]
    unsafe fn store_values(rows: *const f32, distance: usize, column: usize, to: *mut f32) {
        // SAFETY: promised by the caller.
        unsafe { store_values::<U::V>(rows, distance, column, to) };
    }
    #[inline(always)]
    unsafe fn store_weights(weights: U::V, row: *mut f32, at: usize) {
        // SAFETY: promised by the caller.
        unsafe { store_weights::<U>(weights, row, at) };
    }
}

impl<U: Unit> ByVectors for Pair<U> {
    type Words = U::Words;
    type Sums = U::Sums;

    #[inline(always)]
    fn zero() -> U::Sums {
        U::zero()
    }
    #[inline(always)]
    fn splat(word: u32) -> U::Words {
        U::splat(word)
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> U::Words {
        // SAFETY: promised by the caller.
        unsafe { U::load(from) }
    }
    #[inline(always)]
    fn dot(sums: U::Sums, left: U::Words, right: U::Words) -> U::Sums {
        U::dot(sums, left, right)
    }
    #[inline(always)]
    fn values(sums: U::Sums) -> U::V {
        let mut lanes = [0u32; MOST_LANES];
        // SAFETY: the array has room for the lanes of every vector.
        unsafe {
            U::store(sums, lanes.as_mut_ptr());
            U::V::load(lanes.as_ptr().cast())
        }
    }
}

/// [`Arithmetic::load_row`] into pairs.
#[inline(always)]
pub(super) fn load_row(buffer: &SimdBuffer, start: usize, stride: usize, count: usize, into: &mut [f32]) {
    into.fill(0.0);
    // SAFETY: two numbers of 16 bits in each of 32, which have the stricter alignment.
    let into = unsafe { std::slice::from_raw_parts_mut(into.as_mut_ptr().cast::<bf16>(), 2 * into.len()) };
    rows::copy_bf16(buffer, start, stride, &mut into[..count]);
}

/// [`Arithmetic::store_values`] as pairs of neighbouring keys.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn store_values<V: Vector>(rows: *const f32, distance: usize, column: usize, to: *mut f32) {
    for lane in 0..V::LANES {
        let at = column + lane;
        // SAFETY: promised by the caller.
        unsafe {
            let (even, odd) = (*rows.cast::<u16>().add(at), *rows.add(distance).cast::<u16>().add(at));
            *to.cast::<u32>().add(lane) = u32::from(even) | u32::from(odd) << 16;
        }
    }
}

/// [`Arithmetic::store_weights`], two to a word.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn store_weights<F: Format>(weights: F::V, row: *mut f32, at: usize) {
    // SAFETY: promised by the caller; 16 bits a weight.
    unsafe { F::store_bf16(weights, row.cast::<u16>().add(at)) };
}
