//! What multiplies in both products of attention: the words in which operands lie, and the instruction on vectors of them.
//!
//! Scores, maxima and sums are always vectors of the compute type; only the operands of the two products differ. A word is a number of that
//! type, or a pair of bf16 numbers that are neighbours along the sum (channels for scores, keys for the sum over values), and is as long as
//! a number of the compute type, so that scratch has one type. Pairs stand in `pairs.rs`; weights are rounded to bf16 before they
//! meet the values, as everything that multiplies bf16 numbers must.

use std::marker::PhantomData;

use super::product::Product;
use super::rows;
use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::gemm::{TileRows, tile_rows};
use crate::isa::{Isa, Kernel};
use crate::vector::{Lanes, Vector};

/// An arithmetic. Like vectors, it is only to be used inside of a function that has its instructions enabled.
pub(super) trait Arithmetic: Copy {
    /// In what scores are computed.
    type E: Lanes + Plain;
    /// Vectors of them.
    type V: Vector<Element = Self::E>;
    /// What operands lie in: as long as an `E`.
    type Word: Copy;
    /// Steps of the sum in a word.
    const STEPS: usize;
    /// Rows of a panel, at most [`STATE`](super::scores::STATE).
    const ROWS: usize = tile_rows::<Self::V>();
    /// Rows of words are filled up with zeros to a multiple of so many.
    const MULTIPLE: usize = 1;

    /// Writes the scaled product, [`DISTANCE`](super::product::DISTANCE) from row to row.
    ///
    /// # Safety
    /// A must be readable over `words`, filled up, of every row of a panel, and the target writable; B over the wanted vectors of each step,
    /// and where rows are filled up, over the whole panel.
    unsafe fn scaled<const VECTORS: usize>(product: &Product<Self>, scale: Self::E, to: *mut Self::E);
    /// C = C * factor + product, a factor for each row; `distance` from row to row of C.
    ///
    /// # Safety
    /// As [`Arithmetic::scaled`], and there must be a factor for every row of a panel.
    unsafe fn added<const VECTORS: usize>(product: &Product<Self>, factors: *const Self::E, to: *mut Self::E, distance: usize);

    /// Loads a row of `count` elements, and zeros behind them. What is narrower than the arithmetic is widened, what is not is never
    /// rounded.
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

/// An arithmetic that multiplies a vector of words at a time.
pub(super) trait ByVectors: Arithmetic {
    /// A vector of words.
    type Words: Copy;
    /// A vector of sums.
    type Sums: Copy;

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
}

/// The products of an [`Arithmetic`] that is [`ByVectors`].
macro_rules! products_by_vectors {
    () => {
        #[inline(always)]
        unsafe fn scaled<const VECTORS: usize>(product: &Product<Self>, scale: Self::E, to: *mut Self::E) {
            // SAFETY: the caller's promises are handed on.
            unsafe { product.scaled::<VECTORS>(scale, to) }
        }
        #[inline(always)]
        unsafe fn added<const VECTORS: usize>(product: &Product<Self>, factors: *const Self::E, to: *mut Self::E, distance: usize) {
            // SAFETY: the caller's promises are handed on.
            unsafe { product.added::<VECTORS>(factors, to, distance) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) use products_by_vectors;

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

    /// Rows of a panel on this path.
    fn rows(isa: Isa) -> usize {
        isa.run::<Self::E, _>(TileRows)
    }
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
    const STEPS: usize = 1;

    products_by_vectors!();

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

impl<V: Vector<Element: Plain>> ByVectors for Number<V> {
    type Words = V;
    type Sums = V;

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
}
