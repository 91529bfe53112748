//! Loops over dense rows: the first whole vectors, and what is left in one masked step.
//!
//! Bodies are values of traits and not closures, for the reason given in `vector/function.rs`.

use crate::element::Real;
use crate::vector::{Function, Vector};

/// Accumulators of a fold: enough to hide the latency of an addition.
const CHAINS: usize = 4;

/// Vectors whose function is taken together: one alone is a chain of instructions too long for the processor to look past it at the next.
const TOGETHER: usize = 2;

/// A fold of a row, lane by lane.
pub(crate) trait Fold<E>: Copy {
    /// What to begin with, and what stands for elements beyond the end: neither may change a result.
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2];
    /// Takes some elements in. Must be `#[inline(always)]`.
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V;
    /// Takes another state in. Must be `#[inline(always)]`.
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V;
}

/// The last `count` elements of a row, and `others` in the other lanes.
///
/// # Safety
/// They must be readable.
#[inline(always)]
pub(crate) unsafe fn load_last<V: Vector>(from: *const V::Element, count: usize, others: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::load_first(from, count).first_or(count, others) }
}

/// Folds a row; the lanes of the result are still to be joined.
///
/// # Safety
/// The row must be readable.
#[inline(always)]
pub(crate) unsafe fn fold<V: Vector, F: Fold<V::Element>>(fold: F, x: *const V::Element, width: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { fold_and_ask::<V, F, false>(fold, x, x, width) }
}

/// The same, asking for the lines of another row on the way (if `ASK`), which may be anywhere.
///
/// # Safety
/// The row must be readable.
#[inline(always)]
pub(crate) unsafe fn fold_and_ask<V: Vector, F: Fold<V::Element>, const ASK: bool>(
    fold: F,
    x: *const V::Element,
    ask: *const V::Element,
    width: usize,
) -> V {
    let [start, beyond] = fold.neutral::<V>();
    let mut states = [start; CHAINS];
    let mut at = 0;
    // SAFETY: all accesses are below `width`, by the caller's promise.
    unsafe {
        while at + CHAINS * V::LANES <= width {
            for (chain, state) in states.iter_mut().enumerate() {
                if ASK && V::begins_line(chain) {
                    V::prefetch(ask.wrapping_add(at + chain * V::LANES));
                }
                *state = fold.step(*state, V::load(x.add(at + chain * V::LANES)));
            }
            at += CHAINS * V::LANES;
        }
        while at + V::LANES <= width {
            states[0] = fold.step(states[0], V::load(x.add(at)));
            at += V::LANES;
        }
        if at < width {
            states[1] = fold.step(states[1], load_last(x.add(at), width - at, beyond));
        }
    }
    fold.join(fold.join(states[0], states[1]), fold.join(states[2], states[3]))
}

/// out = f(x); they may be the same row.
///
/// # Safety
/// The rows must be readable and writable.
#[inline(always)]
pub(crate) unsafe fn map<V: Vector, F: Function<V::Element>>(function: F, x: *const V::Element, out: *mut V::Element, width: usize) {
    // SAFETY: the caller's promise.
    unsafe { map_and_ask::<V, F, false>(function, x, out, x, width) }
}

/// The same, asking for the lines of another row on the way (if `ASK`), which may be anywhere.
///
/// # Safety
/// The rows must be readable and writable.
#[inline(always)]
pub(crate) unsafe fn map_and_ask<V: Vector, F: Function<V::Element>, const ASK: bool>(
    function: F,
    x: *const V::Element,
    out: *mut V::Element,
    ask: *const V::Element,
    width: usize,
) {
    let mut at = 0;
    // SAFETY: all accesses are below `width`, by the caller's promise.
    unsafe {
        while at + TOGETHER * V::LANES <= width {
            let mut results = [V::zero(); TOGETHER];
            for (place, result) in results.iter_mut().enumerate() {
                if ASK && V::begins_line(place) {
                    V::prefetch(ask.wrapping_add(at + place * V::LANES));
                }
                *result = function.of(V::load(x.add(at + place * V::LANES)));
            }
            for (place, result) in results.into_iter().enumerate() {
                result.store(out.add(at + place * V::LANES));
            }
            at += TOGETHER * V::LANES;
        }
        while at + V::LANES <= width {
            if ASK {
                V::prefetch(ask.wrapping_add(at));
            }
            function.of(V::load(x.add(at))).store(out.add(at));
            at += V::LANES;
        }
        if at < width {
            function.of(V::load_first(x.add(at), width - at)).store_first(out.add(at), width - at);
        }
    }
}

/// The sum.
#[derive(Clone, Copy)]
pub(crate) struct Sum;

impl<E: Real> Fold<E> for Sum {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::zero(); 2]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        state.add(x)
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        state.add(other)
    }
}

/// The sum of squared differences from this value.
#[derive(Clone, Copy)]
pub(crate) struct SquaresAround<E>(pub(crate) E);

impl<E: Real> Fold<E> for SquaresAround<E> {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::zero(), V::splat(self.0)]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        let difference = x.sub(V::splat(self.0));
        difference.mul_add(difference, state)
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        state.add(other)
    }
}

/// The largest from the lowest finite number on; a NaN may be passed over.
#[derive(Clone, Copy)]
pub(crate) struct Largest;

impl<E: Real> Fold<E> for Largest {
    #[inline(always)]
    fn neutral<V: Vector<Element = E>>(self) -> [V; 2] {
        [V::splat(E::LOWEST); 2]
    }
    #[inline(always)]
    fn step<V: Vector<Element = E>>(self, state: V, x: V) -> V {
        state.max(x)
    }
    #[inline(always)]
    fn join<V: Vector<Element = E>>(self, state: V, other: V) -> V {
        state.max(other)
    }
}
