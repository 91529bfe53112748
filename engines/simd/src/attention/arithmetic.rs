//! What multiplies in both products of attention: the words in which operands lie, and the instruction on vectors of them.
//!
//! Scores, maxima and sums are always vectors of the compute type; only the operands of the two products differ. A word is a number of that
//! type, or a pair of bf16 numbers that are neighbours along the sum (channels for scores, keys for the sum over values), and is as long as a
//! number of the compute type, so that scratch has one type. Pairs are [`crate::narrow`]'s unit; weights are rounded to bf16 before they
//! meet the values, as everything that multiplies bf16 numbers must.

use std::marker::PhantomData;

use half::bf16;

use super::rows;
use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::isa::{Isa, Kernel};
use crate::narrow::{Unit, UnitKernel};
use crate::vector::{Lanes, MOST_LANES, Vector};

/// An arithmetic. Like vectors, it is only to be used inside of a function that has its instructions enabled.
pub(super) trait Arithmetic: Copy {
    /// In what scores are computed.
    type E: Lanes + Plain;
    /// Vectors of them.
    type V: Vector<Element = Self::E>;
    /// What operands lie in: as long as an `E`.
    type Word: Copy;
    /// A vector of words.
    type Words: Copy;
    /// A vector of sums.
    type Sums: Copy;
    /// Steps of the sum in a word.
    const STEPS: usize;

    fn zero() -> Self::Sums;
    /// The same word in every lane.
    fn splat(word: Self::Word) -> Self::Words;
    /// # Safety
    /// As many words as there are lanes must be readable.
    unsafe fn load(from: *const Self::Word) -> Self::Words;
    /// sums + left * right
    fn dot(sums: Self::Sums, left: Self::Words, right: Self::Words) -> Self::Sums;
    /// Sums as numbers.
    fn values(sums: Self::Sums) -> Self::V;
    /// Loads a row of `count` elements, and zeros behind them. What is narrower than the arithmetic is widened, what is not is never rounded.
    fn load_row(buffer: &SimdBuffer, start: usize, stride: usize, count: usize, into: &mut [Self::E]);
    /// Writes a vector of words of values: the elements from `column` on of `STEPS` loaded rows, `distance` from row to row.
    ///
    /// # Safety
    /// Both must be accessible.
    unsafe fn store_values(rows: *const Self::E, distance: usize, column: usize, to: *mut Self::E);
    /// Stores weights `at..at + LANES` of a row that begins there, in the form in which they meet the values.
    ///
    /// # Safety
    /// The row must be writable so far.
    unsafe fn store_weights(weights: Self::V, row: *mut Self::E, at: usize);
}

/// Work on any arithmetic.
pub(super) trait Task<E> {
    /// Must be `#[inline(always)]`.
    fn run<A: Arithmetic<E = E>>(self);
}

/// The arithmetics of one form of operands on all instruction sets.
pub(super) trait Family {
    /// In what scores are computed.
    type E: Lanes + Plain;
    /// Steps of the sum in a word.
    const STEPS: usize;

    /// Runs a task on the best that this path has.
    fn run(isa: Isa, task: impl Task<Self::E>);
}

/// Operands in the compute type, or widened to it.
pub(super) struct Numbers<E>(PhantomData<E>);

impl<E: Lanes + Plain> Family for Numbers<E> {
    type E = E;
    const STEPS: usize = 1;

    fn run(isa: Isa, task: impl Task<E>) {
        isa.run(OnNumbers(task));
    }
}

struct OnNumbers<T>(T);

impl<E: Lanes + Plain, T: Task<E>> Kernel<E> for OnNumbers<T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        self.0.run::<Number<V>>();
    }
}

/// Multiply-adds of numbers.
#[derive(Clone, Copy)]
pub(super) struct Number<V>(PhantomData<V>);

impl<V: Vector<Element: Plain>> Arithmetic for Number<V> {
    type E = V::Element;
    type V = V;
    type Word = V::Element;
    type Words = V;
    type Sums = V;
    const STEPS: usize = 1;

    #[inline(always)]
    fn zero() -> V {
        V::zero()
    }
    #[inline(always)]
    fn splat(word: V::Element) -> V {
        V::splat(word)
    }
    #[inline(always)]
    unsafe fn load(from: *const V::Element) -> V {
        // SAFETY: promised by the caller.
        unsafe { V::load(from) }
    }
    #[inline(always)]
    fn dot(sums: V, left: V, right: V) -> V {
        left.mul_add(right, sums)
    }
    #[inline(always)]
    fn values(sums: V) -> V {
        sums
    }
    #[inline(always)]
    fn load_row(buffer: &SimdBuffer, start: usize, stride: usize, count: usize, into: &mut [V::Element]) {
        rows::load::<V>(buffer, start, stride, &mut into[..count]);
        into[count..].fill(V::Element::ZERO);
    }
    #[inline(always)]
    unsafe fn store_values(rows: *const V::Element, _: usize, column: usize, to: *mut V::Element) {
        // SAFETY: promised by the caller.
        unsafe { V::load(rows.add(column)).store(to) };
    }
    #[inline(always)]
    unsafe fn store_weights(weights: V, row: *mut V::Element, at: usize) {
        // SAFETY: promised by the caller.
        unsafe { weights.store(row.add(at)) };
    }
}

/// Operands in bf16, where the processor multiplies pairs of them.
#[cfg(target_arch = "x86_64")]
pub(super) struct Bf16Operands;

#[cfg(target_arch = "x86_64")]
impl Bf16Operands {
    /// Are there instructions for it?
    pub(super) fn are_native(isa: Isa, extras: crate::isa::Extras) -> bool {
        crate::narrow::Choice::bf16(isa, extras) == crate::narrow::Choice::Bf16Pairs
    }
}

#[cfg(target_arch = "x86_64")]
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
pub(super) struct Pair<U>(PhantomData<U>);

impl<U: Unit> Arithmetic for Pair<U> {
    type E = f32;
    type V = U::V;
    type Word = u32;
    type Words = U::Words;
    type Sums = U::Sums;
    const STEPS: usize = 2;

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
    #[inline(always)]
    fn load_row(buffer: &SimdBuffer, start: usize, stride: usize, count: usize, into: &mut [f32]) {
        into.fill(0.0);
        // SAFETY: two numbers of 16 bits in each of 32, which have the stricter alignment.
        let into = unsafe { std::slice::from_raw_parts_mut(into.as_mut_ptr().cast::<bf16>(), 2 * into.len()) };
        rows::copy_bf16(buffer, start, stride, &mut into[..count]);
    }
    #[inline(always)]
    unsafe fn store_values(rows: *const f32, distance: usize, column: usize, to: *mut f32) {
        for lane in 0..U::V::LANES {
            let at = column + lane;
            // SAFETY: promised by the caller.
            unsafe {
                let (even, odd) = (*rows.cast::<u16>().add(at), *rows.add(distance).cast::<u16>().add(at));
                *to.cast::<u32>().add(lane) = u32::from(even) | u32::from(odd) << 16;
            }
        }
    }
    #[inline(always)]
    unsafe fn store_weights(weights: U::V, row: *mut f32, at: usize) {
        // SAFETY: promised by the caller; 16 bits a weight.
        unsafe { U::store_bf16(weights, row.cast::<u16>().add(at)) };
    }
}
