//! What happens to a row of scores between the product and the softmax: cap, bias, masks, in this order.

use std::ops::Range;

use crossover_core::backend::ScoreBias;
use crossover_core::check::{self, AttentionSizes};
use crossover_core::error::Result;
use crossover_core::layout::Layout;

use super::arithmetic::Arithmetic;
use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::sweep::map;
use crate::vector::{Exponential, Function, Lanes, Scalar, Vector, exp2, exp2_of_negative, exp2_of_negatives, tanh};

/// Rows of which a panel keeps maxima and sums: at least as many as it has, and whole vectors.
pub(super) const STATE: usize = 16;

/// The bias, with its layout worked out.
#[derive(Clone, Copy)]
pub(super) enum Bias<'a> {
    None,
    /// Stretched to [batch, heads, queries, keys].
    ByPair(&'a SimdBuffer, Layout),
    /// [heads, 2 reach + 1].
    ByDistance(&'a SimdBuffer, Layout, usize),
}

/// Which row of queries it is: its row, and its absolute position.
#[derive(Clone, Copy)]
pub(super) struct Query {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) row: usize,
    pub(super) position: usize,
}

impl<'a> Bias<'a> {
    pub(super) fn checked(bias: ScoreBias<'a, SimdBuffer>, sizes: AttentionSizes) -> Result<Self> {
        match bias {
            ScoreBias::None => Ok(Self::None),
            ScoreBias::ByPair(view) => {
                Ok(Self::ByPair(view.buffer, view.layout.broadcast(&[sizes.batch, sizes.heads, sizes.queries, sizes.keys])?))
            }
            ScoreBias::ByDistance(view) => Ok(Self::ByDistance(view.buffer, view.layout, check::distance_bias(view.shape(), sizes.heads)?)),
        }
    }

    /// Loads the biases of these keys; false where there is none.
    pub(super) fn load<E: Real>(&self, query: Query, keys: Range<usize>, into: &mut [E]) -> bool {
        match self {
            Self::None => return false,
            Self::ByPair(buffer, layout) => {
                let start = layout.position(&[query.batch, query.head, query.row, keys.start]);
                buffer.load(start, layout.strides()[3], into);
            }
            Self::ByDistance(buffer, layout, span) => {
                // Entry key - position + reach, clamped to the table: constant, rising, constant.
                let reach = span / 2;
                let rising = query.position.saturating_sub(reach).clamp(keys.start, keys.end);
                let top = (query.position + reach + 1).clamp(rising, keys.end);
                let at = |entry: usize| layout.position(&[query.head, entry]);
                let (low, rest) = into.split_at_mut(rising - keys.start);
                let (middle, high) = rest.split_at_mut(top - rising);
                low.fill(E::from_f64(buffer.get(at(0))));
                if !middle.is_empty() {
                    buffer.load(at(rising + reach - query.position), layout.strides()[1], middle);
                }
                high.fill(E::from_f64(buffer.get(at(span - 1))));
            }
        }
        true
    }
}

/// cap * tanh(s / cap) for each score.
#[inline(always)]
pub(super) fn cap_scores<V: Vector>(cap: V::Element, scores: &mut [V::Element]) {
    let at = scores.as_mut_ptr();
    // SAFETY: the slice is what is read and written.
    unsafe { map::<V, _>(Capped(cap), at, at, scores.len()) };
}

#[derive(Clone, Copy)]
struct Capped<E>(E);

impl<E: Lanes> Function<E> for Capped<E> {
    #[inline(always)]
    fn of<V: Vector<Element = E>>(self, score: V) -> V {
        let cap = V::splat(self.0);
        cap.mul(tanh(score.div(cap)))
    }
}

/// scores += summands.
#[inline(always)]
pub(super) fn add<V: Vector>(scores: &mut [V::Element], summands: &[V::Element]) {
    let count = scores.len().min(summands.len());
    for at in (0..count).step_by(V::LANES) {
        let width = V::LANES.min(count - at);
        // SAFETY: `width` elements from `at` on are inside both.
        unsafe {
            let sum = V::load_first(scores.as_ptr().add(at), width).add(V::load_first(summands.as_ptr().add(at), width));
            sum.store_first(scores.as_mut_ptr().add(at), width);
        }
    }
}

/// The largest of whole vectors of scores; a NaN may be passed over (the exponentials keep it).
#[inline(always)]
pub(super) fn maximum<V: Vector>(scores: &[V::Element]) -> V::Element {
    assert!(scores.len().is_multiple_of(V::LANES));
    let mut largest = [V::splat(V::Element::LOWEST); 4];
    let (row, mut at) = (scores.as_ptr(), 0);
    // SAFETY: the length is whole vectors.
    unsafe {
        while at + 4 * V::LANES <= scores.len() {
            for (part, largest) in largest.iter_mut().enumerate() {
                *largest = V::load(row.add(at + part * V::LANES)).max(*largest);
            }
            at += 4 * V::LANES;
        }
        while at < scores.len() {
            largest[0] = V::load(row.add(at)).max(largest[0]);
            at += V::LANES;
        }
    }
    largest[0].max(largest[1]).max(largest[2].max(largest[3])).largest()
}

/// Hides whole vectors of scores whose positions lie behind that of their row, and returns the largest of the others.
#[inline(always)]
pub(super) fn maximum_of_earlier<V: Vector>(scores: &mut [V::Element], positions: &[V::Element], row: V::Element) -> V::Element {
    assert!(scores.len() == positions.len() && scores.len().is_multiple_of(V::LANES));
    let (row, hidden, mut largest) = (V::splat(row), V::splat(V::Element::NEG_INFINITY), [V::splat(V::Element::LOWEST); 2]);
    let (count, scores, positions, mut at) = (scores.len(), scores.as_mut_ptr(), positions.as_ptr(), 0);
    // SAFETY: the length is a multiple of a vector.
    unsafe {
        while at + 2 * V::LANES <= count {
            for (part, largest) in largest.iter_mut().enumerate() {
                let at = at + part * V::LANES;
                let kept = row.where_less(V::load(positions.add(at)), hidden, V::load(scores.add(at)));
                kept.store(scores.add(at));
                *largest = kept.max(*largest);
            }
            at += 2 * V::LANES;
        }
        while at < count {
            let kept = row.where_less(V::load(positions.add(at)), hidden, V::load(scores.add(at)));
            kept.store(scores.add(at));
            largest[0] = kept.max(largest[0]);
            at += V::LANES;
        }
    }
    largest[0].max(largest[1]).largest()
}

/// Does a maximum lie so far out that log2 e times as much, rounded, is off by more than a sixteenth? That error becomes an exponent:
/// from some 10^9 on in singles the greatest weight is infinite or nothing. Scores are an eighth apart here themselves. A row that has
/// seen nothing does not lie so.
#[inline(always)]
fn is_far<E: Lanes>(maximum: E) -> bool {
    maximum != E::LOWEST && (maximum < E::ZERO - E::FAR || maximum > E::FAR)
}

/// `log2 e` times a maximum; 0 for a row that has seen nothing, whose scores are all minus infinity.
#[inline(always)]
fn shift_of<E: Lanes>(maximum: E) -> E {
    if maximum == E::LOWEST { E::ZERO } else { maximum * E::LOG2_E }
}

/// Turns whole vectors of scores into e^(s - maximum), as 2^(s log2 e - maximum log2 e) in one step, in the form in which they meet values;
/// returns their sum. No score is above the maximum.
#[inline(always)]
pub(super) fn weights<A: Arithmetic>(scores: &mut [A::E], maximum: A::E) -> A::E {
    let shift = if is_far(maximum) {
        lower(scores, maximum);
        A::E::ZERO
    } else {
        shift_of(maximum)
    };
    weights_below::<A>(scores, shift)
}

/// Subtracts the maximum from whole vectors of scores.
#[cold]
fn lower<E: Lanes>(scores: &mut [E], maximum: E) {
    scores.iter_mut().for_each(|score| *score = *score - maximum);
}

/// What is left of a sum of weights, or of values by weights, when a maximum has grown.
#[inline(always)]
pub(super) fn shrink<E: Lanes>(old: E, new: E) -> E {
    if old == new {
        E::ONE
    } else if old == E::LOWEST {
        E::ZERO
    } else if is_far(new) {
        exp2(Scalar::splat((old - new) * E::LOG2_E)).sum()
    } else {
        exp2(Scalar::splat(shift_of(old) - shift_of(new))).sum()
    }
}

/// Vectors of weights that are made together.
const TOGETHER: usize = 4;

/// Turns whole vectors of scores into 2^(s log2 e - shift); no score is above the shift.
#[inline(always)]
fn weights_below<A: Arithmetic>(scores: &mut [A::E], shift: A::E) -> A::E {
    assert!(scores.len().is_multiple_of(A::V::LANES));
    let (factor, shift) = (A::V::splat(A::E::LOG2_E), A::V::splat(A::E::ZERO - shift));
    let mut sums = [A::V::zero(); TOGETHER];
    let (count, row, mut at) = (scores.len(), scores.as_mut_ptr(), 0);
    // Weights may be shorter than scores and stand where these stood, never behind what is still to be read.
    // SAFETY: the length is a multiple of a vector.
    unsafe {
        while at + TOGETHER * A::V::LANES <= count {
            let mut made = [A::V::zero(); TOGETHER];
            for (vector, made) in made.iter_mut().enumerate() {
                *made = A::V::load(row.add(at + vector * A::V::LANES)).mul_add(factor, shift);
            }
            exp2_of_negatives(&mut made);
            for (vector, (made, sum)) in made.into_iter().zip(&mut sums).enumerate() {
                A::store_weights(made, row, at + vector * A::V::LANES);
                *sum = sum.add(made);
            }
            at += TOGETHER * A::V::LANES;
        }
        while at < count {
            let last = exp2_of_negative(A::V::load(row.add(at)).mul_add(factor, shift));
            A::store_weights(last, row, at);
            sums[0] = sums[0].add(last);
            at += A::V::LANES;
        }
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}

/// What a block's maxima do to running ones: the new maxima, and the factors that earlier weights shrink by.
#[inline(always)]
pub(super) fn advance<V: Vector>(maxima: &mut [V::Element], found: &[V::Element]) -> [V::Element; STATE] {
    let mut factors = [V::Element::ZERO; STATE];
    // A row that has seen nothing stands at the lowest number, whose shift is no number; any that is far below all scores does for it.
    let floor = V::splat(V::Element::from_f64(0.5 * V::Element::LOWEST.to_f64()));
    let log2_e = V::splat(V::Element::LOG2_E);
    assert!(maxima.len() == STATE && found.len() == STATE);
    let mut old = [V::Element::ZERO; STATE];
    old.copy_from_slice(maxima);
    for at in (0..STATE).step_by(V::LANES) {
        // SAFETY: all of these are as long as the widest vectors.
        unsafe {
            let old = V::load(old.as_ptr().add(at));
            let new = V::load(found.as_ptr().add(at)).max(old);
            new.store(maxima.as_mut_ptr().add(at));
            let (before, after) = (old.max(floor).mul(log2_e), new.max(floor).mul(log2_e));
            exp2_of_negative(before.sub(after)).store(factors.as_mut_ptr().add(at));
        }
    }
    if maxima.iter().any(|&maximum| is_far(maximum)) {
        for ((factor, &old), &new) in factors.iter_mut().zip(&old).zip(&*maxima).filter(|(_, new)| is_far(**new)) {
            *factor = shrink(old, new);
        }
    }
    factors
}
