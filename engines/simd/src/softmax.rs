//! Softmax over rows, by exactly the recurrence that was asked for.
//!
//! Exponentials and sums are in the compute type and the quotient is rounded once; the exponential is computed again for the
//! quotient rather than kept, so that nothing narrow stands between. A row of only minus infinity gives zeros. Plus infinity is
//! whatever IEEE arithmetic makes of the recurrence: inf - inf is NaN, so the shifted forms give a row of NaN, and the naive form
//! gives NaN (inf / inf) at that place and 0 beside it. A NaN makes the whole row NaN.

use crossover_core::backend::Operand;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::tensor::ViewMut;

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::walk::{RowMut, for_each_row};

pub(crate) fn softmax<R: Real>(algorithm: SoftmaxAlgorithm, x: &Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    match algorithm {
        SoftmaxAlgorithm::Naive => for_each_row(x, out, naive::<R>),
        SoftmaxAlgorithm::Stable => for_each_row(x, out, stable::<R>),
        SoftmaxAlgorithm::Online => for_each_row(x, out, online::<R>),
    }
}

/// exp(x) / sum exp(x): overflows above 88.7 in f32, and divides 0 by 0 where everything underflows.
fn naive<R: Real>(mut row: RowMut<'_>) {
    let (sum, masked) = row.source().fold((R::ZERO, true), |(sum, masked), x: R| (sum + x.exp(), masked && x == R::NEG_INFINITY));
    row.map([], |x: R, []| if masked { R::ZERO } else { x.exp() / sum });
}

/// The maximum, the sum of shifted exponentials, the quotients.
fn stable<R: Real>(mut row: RowMut<'_>) {
    // From the lowest finite number: a masked row then has exp(-inf - lowest) = 0 everywhere, and no inf - inf.
    let maximum = row.source().fold(R::LOWEST, R::larger);
    let sum = row.source().fold(R::ZERO, |sum, x: R| sum + (x - maximum).exp());
    row.map([], |x: R, []| share((x - maximum).exp(), sum));
}

/// Maximum and sum in one pass: the sum is rescaled whenever the maximum grows.
fn online<R: Real>(mut row: RowMut<'_>) {
    let (maximum, sum) = row.source().fold((R::LOWEST, R::ZERO), |(maximum, sum), x: R| {
        let higher = maximum.larger(x);
        (higher, sum * (maximum - higher).exp() + (x - higher).exp())
    });
    row.map([], |x: R, []| share((x - maximum).exp(), sum));
}

/// The largest element contributes 1 to a shifted sum, so only a masked row has the sum 0.
fn share<R: Real>(exponential: R, sum: R) -> R {
    if sum == R::ZERO { R::ZERO } else { exponential / sum }
}
