//! A step of the streaming softmax for a panel of rows, whatever its scores come from: scores become weights, and running maxima, sums
//! and outputs follow.
//!
//! The recurrence is that of the module above. A panel's scores lie [`DISTANCE`] apart, and its maxima and sums are [`STATE`] each.

use super::arithmetic::Arithmetic;
use super::product::{DISTANCE, Product};
use super::scores::{STATE, advance, weights};
use crate::element::Real;
use crate::gemm::COLUMN_VECTORS;
use crate::vector::{Lanes, Vector};

/// What a panel keeps from segment to segment of keys.
pub(super) struct Running<'a, E> {
    pub(super) maxima: &'a mut [E],
    pub(super) sums: &'a mut [E],
}

impl<E: Lanes> Running<'_, E> {
    /// Turns `made` scores of each of these rows, whose largest ones were `found`, into weights. Returns the factors that outputs shrink by.
    #[inline(always)]
    pub(super) fn absorb<A: Arithmetic<E = E>>(&mut self, scores: &mut [E], rows: usize, made: usize, found: &[E; STATE]) -> [E; STATE] {
        let factors = advance::<A::V>(self.maxima, found);
        for at in 0..rows {
            let row = &mut scores[at * DISTANCE..][..DISTANCE];
            let sum = weights::<A>(&mut row[..made], self.maxima[at]);
            if A::MULTIPLE > 1 {
                // What is left of the scores behind their weights could be read as anything.
                row[made / A::STEPS..][..A::MULTIPLE].fill(E::ZERO);
            }
            self.sums[at] = self.sums[at] * factors[at] + sum;
        }
        factors
    }
}

/// Values by which weights are multiplied, and what they are added to.
pub(super) struct Weighted<'a, E> {
    /// Rows that are wanted.
    pub(super) rows: usize,
    /// Words of weights in a row.
    pub(super) words: usize,
    pub(super) weights: *const E,
    /// From step to step of values.
    pub(super) step: usize,
    /// For each row of a panel.
    pub(super) factors: &'a [E; STATE],
    /// Width of a row of output: whole vectors.
    pub(super) wide: usize,
}

impl<E: Lanes> Weighted<'_, E> {
    /// O = O * factor + P V, where `panel` says where each panel of values begins.
    ///
    /// # Safety
    /// Weights must be readable over these words of every row of a panel, [`DISTANCE`] apart, and filled up to [`Arithmetic::MULTIPLE`];
    /// each panel of values over as many steps. The output must be writable over every row of a panel, `wide` apart, which is whole
    /// vectors.
    #[inline(always)]
    pub(super) unsafe fn add<A: Arithmetic<E = E>>(&self, output: &mut [E], panel: impl Fn(usize) -> *const E) {
        let (lanes, tile, wide) = (A::V::LANES, A::V::LANES * COLUMN_VECTORS, self.wide);
        for (number, column) in (0..wide).step_by(tile).enumerate() {
            let to = output[column..].as_mut_ptr();
            let (a, b) = (self.weights.cast::<A::Word>(), panel(number).cast());
            let product = Product::<A> { rows: self.rows, words: self.words, a, b, b_step: self.step, first: 0 };
            // SAFETY: the caller's promises; there is a factor for each row of a panel.
            unsafe {
                if wide - column > lanes {
                    A::added::<COLUMN_VECTORS>(&product, self.factors.as_ptr(), to, wide);
                } else {
                    A::added::<1>(&product, self.factors.as_ptr(), to, wide);
                }
            }
        }
    }
}

/// A row of output, whole vectors of it, over the sum of its weights; zeros where it saw nothing.
#[inline(always)]
pub(super) fn divide<V: Vector>(output: &mut [V::Element], sum: V::Element) {
    if sum == V::Element::ZERO {
        output.fill(V::Element::ZERO);
        return;
    }
    // Divided, not multiplied by an inverse, which would round once more.
    for part in output.chunks_exact_mut(V::LANES) {
        // SAFETY: a whole vector.
        unsafe { V::load(part.as_ptr()).div(V::splat(sum)).store(part.as_mut_ptr()) };
    }
}
