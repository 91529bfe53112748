//! Softmax over rows, by exactly the recurrence that was asked for: stable is three passes over a row (maximum, shifted sum, quotient),
//! online is one for maximum and sum together and one for the quotient (Milakov and Gimelshein, 2018), naive does not shift.
//!
//! Exponentials and sums are in the compute type. The stable form keeps the exponentials of its second pass in a row of scratch (not in the
//! output, whose lines would have to come from memory first); the online form has none to keep and computes them again.
//! The online recurrence runs in every lane on its own, a block of vectors a step, and the lanes are merged by the same rule: one
//! exponential for the rescaling of each block.
//!
//! A row is too long for the processor to look past it: while one is worked on, the lines of its output and of the next row are asked for.
//!
//! A row of only minus infinity gives zeros. Plus infinity is whatever IEEE arithmetic makes of the recurrence: inf - inf is NaN, so the
//! shifted forms give a row of NaN, and the naive form gives NaN (inf / inf) at that place and 0 beside it. A NaN makes the whole row NaN.
//!
//! # What bounds it
//! Reading the input once and writing the output once: a row stays in the first-level cache between its passes. Beside it stand, for the
//! widest vectors, some 15 instructions of an exponential for 16 elements (twice for the online form): about 8 of the 25 cycles that
//! moving them takes at 20 GB/s.

use crossover_core::backend::Operand;
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::tensor::ViewMut;

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::sweep::{Fold, Largest, fold, fold_and_ask, load_last, map, map_and_ask};
use crate::vector::{Function, Lanes, Over, Times, Vector, exp, exp_of_negative, exp_of_negatives};

/// Vectors whose maximum is taken together by the online form.
const BLOCK: usize = 8;

pub(crate) fn softmax<E: Lanes + Plain>(
    engine: &Engine,
    algorithm: SoftmaxAlgorithm,
    x: Operand<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    for_each_row::<E, _, 3>(engine, &Softmax(algorithm), [Part::Write(out), x.into(), Part::Scratch])
}

struct Softmax(SoftmaxAlgorithm);

impl<E: Lanes> RowKernel<E, 3> for Softmax {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, x, powers]: [*mut E; 3], width: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.0 {
                SoftmaxAlgorithm::Naive => naive::<V>(x, powers, out, width),
                SoftmaxAlgorithm::Stable => {
                    let maximum = fold_and_ask::<V, _, true>(Largest, x, out, width).largest();
                    let sum = shifted::<V>(maximum, x, powers, width);
                    map::<V, _>(Times(share(sum)), powers, out, width);
                }
                SoftmaxAlgorithm::Online => {
                    let (maximum, sum) = online::<V>(x, out, width);
                    let next = x.wrapping_add(width);
                    map_and_ask::<V, _, true>(ShiftedTimes { maximum, share: share(sum) }, x, out, next, width);
                }
            }
        }
    }
}

/// exp(x) / sum exp(x): overflows above 88.7 in f32, and divides 0 by 0 where everything underflows.
#[inline(always)]
unsafe fn naive<V: Vector>(x: *const V::Element, powers: *mut V::Element, out: *mut V::Element, width: usize) {
    let zero = V::Element::ZERO;
    // SAFETY: the caller's promise.
    unsafe {
        let sum = exponentials::<V>(zero, x, powers, width);
        let masked = sum == zero && fold::<V, _>(Unmasked, x, width).sum() == zero;
        map::<V, _>(Over(if masked { V::Element::ONE } else { sum }), powers, out, width);
    }
}

/// out = exp(x - shift), and the sum of it.
///
/// The shift is the largest from the lowest finite number on: a masked row then has exp(-inf - lowest) = 0 everywhere, and no inf - inf.
///
/// # Safety
/// The rows must be readable and writable; they may be the same.
#[inline(always)]
pub(crate) unsafe fn exponentials<V: Vector>(shift: V::Element, x: *const V::Element, out: *mut V::Element, width: usize) -> V::Element {
    let (shift, mut sums, mut at) = (V::splat(shift), [V::zero(); 2], 0);
    // SAFETY: all accesses are below `width`, by the caller's promise.
    unsafe {
        while at + 2 * V::LANES <= width {
            for (chain, sum) in sums.iter_mut().enumerate() {
                // The next row, most likely: the processor does not look past this one by itself.
                V::prefetch(x.wrapping_add(width + at + chain * V::LANES));
                let power = exp(V::load(x.add(at + chain * V::LANES)).sub(shift));
                power.store(out.add(at + chain * V::LANES));
                *sum = sum.add(power);
            }
            at += 2 * V::LANES;
        }
        while at < width {
            let count = V::LANES.min(width - at);
            let power = exp(load_last(x.add(at), count, V::splat(V::Element::NEG_INFINITY)).sub(shift));
            power.store_first(out.add(at), count);
            sums[0] = sums[0].add(power);
            at += count;
        }
    }
    sums[0].add(sums[1]).sum()
}

/// The same, where no element is above the shift.
#[inline(always)]
pub(crate) unsafe fn shifted<V: Vector>(shift: V::Element, x: *const V::Element, out: *mut V::Element, width: usize) -> V::Element {
    const TOGETHER: usize = 4;
    let (shift, mut sums, mut at) = (V::splat(shift), [V::zero(); TOGETHER], 0);
    // SAFETY: all accesses are below `width`, by the caller's promise.
    unsafe {
        while at + TOGETHER * V::LANES <= width {
            let mut powers = [V::zero(); TOGETHER];
            for (chain, power) in powers.iter_mut().enumerate() {
                if V::begins_line(chain) {
                    // The next row, most likely: the processor does not look past this one by itself.
                    V::prefetch(x.wrapping_add(width + at + chain * V::LANES));
                }
                *power = V::load(x.add(at + chain * V::LANES)).sub(shift);
            }
            exp_of_negatives(&mut powers);
            for (chain, (sum, power)) in sums.iter_mut().zip(powers).enumerate() {
                power.store(out.add(at + chain * V::LANES));
                *sum = sum.add(power);
            }
            at += TOGETHER * V::LANES;
        }
        while at < width {
            let count = V::LANES.min(width - at);
            let power = exp_of_negative(load_last(x.add(at), count, V::splat(V::Element::NEG_INFINITY)).sub(shift));
            power.store_first(out.add(at), count);
            sums[0] = sums[0].add(power);
            at += count;
        }
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}

/// Maximum and sum of shifted exponentials in one pass: the sum is rescaled whenever the maximum may have grown. The maximum is at least the
/// lowest finite number; the lines from `ask` on are asked for, which may be anywhere.
///
/// # Safety
/// The row must be readable.
#[inline(always)]
pub(crate) unsafe fn online<V: Vector>(x: *const V::Element, ask: *const V::Element, width: usize) -> (V::Element, V::Element) {
    let masked = V::splat(V::Element::NEG_INFINITY);
    let (mut maxima, mut sums, mut at) = (V::splat(V::Element::LOWEST), V::zero(), 0);
    // SAFETY: all accesses are below `width`, by the caller's promise.
    unsafe {
        while at + BLOCK * V::LANES <= width {
            let (mut block, mut higher) = ([masked; BLOCK], maxima);
            for (vector, part) in block.iter_mut().enumerate() {
                V::prefetch(ask.wrapping_add(at + vector * V::LANES));
                *part = V::load(x.add(at + vector * V::LANES));
                higher = higher.max(*part);
            }
            let mut fresh = V::zero();
            for part in block {
                fresh = fresh.add(exp_of_negative(part.sub(higher)));
            }
            (sums, maxima) = (sums.mul_add(exp_of_negative(maxima.sub(higher)), fresh), higher);
            at += BLOCK * V::LANES;
        }
        while at < width {
            let count = V::LANES.min(width - at);
            let part = load_last(x.add(at), count, masked);
            let higher = maxima.max(part);
            (sums, maxima) = (sums.mul_add(exp_of_negative(maxima.sub(higher)), exp_of_negative(part.sub(higher))), higher);
            at += count;
        }
    }
    let maximum = maxima.largest();
    (maximum, sums.mul(exp_of_negative(maxima.sub(V::splat(maximum)))).sum())
}

/// What shifted exponentials are multiplied by. The largest element contributes 1 to their sum, so only a masked row has the sum 0.
#[inline(always)]
pub(crate) fn share<E: Lanes>(sum: E) -> E {
    if sum == E::ZERO { E::ZERO } else { E::ONE / sum }
}

/// exp(x - maximum) times a factor.
#[derive(Clone, Copy)]
struct ShiftedTimes<E> {
    maximum: E,
    share: E,
}

impl<E: Lanes> Function<E> for ShiftedTimes<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, x: V) -> V {
        exp_of_negative(x.sub(V::splat(self.maximum))).mul(V::splat(self.share))
    }
}

/// Counts what is not minus infinity.
#[derive(Clone, Copy)]
struct Unmasked;

impl<E: Lanes> Fold<E> for Unmasked {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::zero(), V::splat(E::NEG_INFINITY)]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        state.add(x.where_equal(V::splat(E::NEG_INFINITY), V::zero(), V::splat(E::ONE)))
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        state.add(other)
    }
}
