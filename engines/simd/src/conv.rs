//! Depthwise convolution along the sequence.
//!
//! y[t, c] = sum over j of filter[c, j] x[t + j - left, c], with nothing outside the sequence: the filter is not flipped. `left` is
//! kernel - 1 if causal, else (kernel - 1) / 2, so that an even kernel reaches one further to the right.

use crossover_core::tensor::{View, ViewMut};

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::walk::{PIECE, pieces};

/// (batch, n, channels, kernel) as checked.
pub(crate) fn depthwise_conv<R: Real>(
    (batch, n, channels, kernel): (usize, usize, usize, usize),
    x: View<'_, SimdBuffer>,
    filter: View<'_, SimdBuffer>,
    causal: bool,
    out: ViewMut<'_, SimdBuffer>,
) {
    if out.layout.is_empty() {
        return;
    }
    let left = if causal { kernel - 1 } else { (kernel - 1) / 2 };
    let (x_stride, filter_stride, out_stride) = (x.layout.strides()[2], filter.layout.strides()[0], out.layout.strides()[2]);
    let (mut sums, mut values, mut factors) = ([R::ZERO; PIECE], [R::ZERO; PIECE], [R::ZERO; PIECE]);
    for (b, t) in (0..batch).flat_map(|b| (0..n).map(move |t| (b, t))) {
        for piece in pieces(channels, PIECE) {
            let count = piece.len();
            sums[..count].fill(R::ZERO);
            // The taps j for which t + j - left is inside 0..n.
            for j in left.saturating_sub(t)..kernel.min(n + left - t) {
                x.buffer.load(x.layout.position(&[b, t + j - left, piece.start]), x_stride, &mut values[..count]);
                filter.buffer.load(filter.layout.position(&[piece.start, j]), filter_stride, &mut factors[..count]);
                for ((sum, &value), &factor) in sums[..count].iter_mut().zip(&values).zip(&factors) {
                    *sum = *sum + factor * value;
                }
            }
            out.buffer.store(out.layout.position(&[b, t, piece.start]), out_stride, &sums[..count]);
        }
    }
}
