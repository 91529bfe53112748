//! Depthwise convolution along the sequence, as a sum of shifted sequences times one tap each.
//!
//! y[t, c] = sum over j of filter[c, j] x[t + j - left, c], with nothing outside the sequence. candle's convolution treats one channel a
//! group, by a product each: for the few taps of a depthwise filter the shifts are faster and need no layout of their own.

use candle_core::Tensor;
use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;

/// (batch, n, channels, kernel) as checked.
pub(crate) fn depthwise_conv(
    engine: &Engine,
    (_, n, _, kernel): (usize, usize, usize, usize),
    x: &View<'_, CandleBuffer>,
    filter: &View<'_, CandleBuffer>,
    causal: bool,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    let left = if causal { kernel - 1 } else { (kernel - 1) / 2 };
    let sum = engine.read_wide(x).and_then(|x| {
        let filter = engine.read_wide(filter)?;
        let mut sum = x.zeros_like()?;
        for tap in 0..kernel {
            // The outputs from `first` to `last` have an element under this tap.
            let (first, last) = (left.saturating_sub(tap).min(n), n.min((n + left).saturating_sub(tap)));
            if first >= last {
                continue;
            }
            let seen = x.narrow(1, first + tap - left, last - first)?;
            let factor = filter.narrow(1, tap, 1)?.squeeze(1)?.broadcast_as(seen.shape())?;
            let product = engine.binary_of_candle(&seen, &factor, Tensor::mul)?;
            let product = product.pad_with_zeros(1, first, n - last)?;
            sum = engine.binary_of_candle(&sum, &product, Tensor::add)?;
        }
        Ok(sum)
    });
    let sum = sum.during("depthwise convolution")?;
    engine.write("depthwise convolution", &sum, out)
}
