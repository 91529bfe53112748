//! What happens to a row of scores between the product and the softmax: cap, bias, masks, in this order.

use std::ops::Range;

use crossover_core::backend::ScoreBias;
use crossover_core::check::{self, AttentionSizes};
use crossover_core::error::Result;
use crossover_core::layout::Layout;

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::vector::{Exponential, Lanes, Vector};

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
pub(super) fn cap_scores<E: Real>(cap: E, scores: &mut [E]) {
    for score in scores {
        *score = cap * (*score / cap).tanh();
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
    let mut largest = [V::splat(V::Element::LOWEST); 2];
    for at in (0..scores.len()).step_by(2 * V::LANES) {
        // SAFETY: the length is a multiple of two vectors.
        unsafe {
            largest[0] = largest[0].max(V::load(scores.as_ptr().add(at)));
            largest[1] = largest[1].max(V::load(scores.as_ptr().add(at + V::LANES)));
        }
    }
    largest[0].max(largest[1]).largest()
}

/// Turns whole vectors of scores into 2^((s - maximum) log2 e), and returns their sum.
#[inline(always)]
pub(super) fn exponentials<V: Vector>(scores: &mut [V::Element], shift: V::Element) -> V {
    let (factor, shift) = (V::splat(V::Element::LOG2_E), V::splat(V::Element::ZERO - shift));
    let mut sums = [V::zero(); 2];
    for at in (0..scores.len()).step_by(2 * V::LANES) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the length is a multiple of two vectors.
            unsafe {
                let place = scores.as_mut_ptr().add(at + part * V::LANES);
                let power = crate::vector::exp2(V::load(place).mul_add(factor, shift));
                power.store(place);
                *sum = sum.add(power);
            }
        }
    }
    sums[0].add(sums[1])
}

/// `log2 e` times a maximum; 0 for a row that has seen nothing, whose scores are all minus infinity.
#[inline(always)]
pub(super) fn shift_of<E: Lanes>(maximum: E) -> E {
    if maximum == E::LOWEST { E::ZERO } else { maximum * E::LOG2_E }
}
