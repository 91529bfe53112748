//! Softmax over rows, by exactly the recurrence that was asked for.
//!
//! On the CPU one kernel a recurrence, like the fused softmax that candle's own neural-network crate brings. Composed (on other devices
//! and in training) each step is a candle operation; the online form then advances by blocks of columns: maximum and sum of a block,
//! the sum so far rescaled. A row of only minus infinity gives zeros, a NaN or plus infinity what IEEE arithmetic makes of it.

use candle_core::{D, Tensor};
use crossover_core::backend::Operand;
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, SoftmaxAlgorithm};
use crossover_core::tensor::ViewMut;

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;
use crate::kernel::{self, Real, in_type_of};

/// Columns of a block of the composed online form.
const BLOCK: usize = 64;

pub(crate) fn softmax(
    engine: &Engine,
    algorithm: SoftmaxAlgorithm,
    x: &Operand<'_, CandleBuffer>,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    #[cfg(feature = "cuda")]
    if let Some(result) = crate::cuda::engine::softmax(engine, algorithm, x, &out).during("softmax")? {
        return engine.write("softmax", &result, out);
    }
    let result = engine.operand(x, &out).and_then(|x| rows(engine, algorithm, &x)).during("softmax")?;
    engine.write("softmax", &result, out)
}

fn rows(engine: &Engine, algorithm: SoftmaxAlgorithm, x: &Tensor) -> candle_core::Result<Tensor> {
    if !engine.fused() {
        return composed(engine, algorithm, x);
    }
    let (width, dense) = (x.dim(D::Minus1)?, x.contiguous()?);
    let result = engine.workers.run(|| in_type_of!(dense, R => kernel::rows("softmax", &dense, (width, width), of_row::<R>(algorithm))))?;
    result.reshape(x.shape())
}

fn of_row<R: Real>(algorithm: SoftmaxAlgorithm) -> fn(&[R], &mut [R]) {
    match algorithm {
        SoftmaxAlgorithm::Naive => naive,
        SoftmaxAlgorithm::Stable => stable,
        SoftmaxAlgorithm::Online => online,
    }
}

/// exp(x) / sum exp(x): overflows above 88.7 in f32, and divides 0 by 0 where everything underflows.
fn naive<R: Real>(x: &[R], out: &mut [R]) {
    let (mut sum, mut masked) = (R::ZERO, true);
    for (&x, out) in x.iter().zip(out.iter_mut()) {
        *out = x.exp();
        sum = sum + *out;
        masked = masked && x.to_f64() == f64::NEG_INFINITY;
    }
    out.iter_mut().for_each(|out| *out = if masked { R::ZERO } else { *out / sum });
}

/// The maximum, the sum of shifted exponentials, the quotients.
fn stable<R: Real>(x: &[R], out: &mut [R]) {
    // From the lowest finite number: a masked row then has exp(-inf - lowest) = 0 everywhere, and no inf - inf.
    let maximum = x.iter().fold(R::LOWEST, |maximum, &x| maximum.larger(x));
    let mut sum = R::ZERO;
    for (&x, out) in x.iter().zip(out.iter_mut()) {
        *out = (x - maximum).exp();
        sum = sum + *out;
    }
    out.iter_mut().for_each(|out| *out = share(*out, sum));
}

/// Maximum and sum in one pass: the sum is rescaled whenever the maximum grows.
fn online<R: Real>(x: &[R], out: &mut [R]) {
    let (mut maximum, mut sum) = (R::LOWEST, R::ZERO);
    for &x in x {
        let higher = maximum.larger(x);
        // The factor is 1 unless the maximum has grown (a NaN is unequal to itself and must spread).
        if higher != maximum {
            sum = sum * (maximum - higher).exp();
        }
        sum = sum + (x - higher).exp();
        maximum = higher;
    }
    for (&x, out) in x.iter().zip(out.iter_mut()) {
        *out = share((x - maximum).exp(), sum);
    }
}

/// The largest element contributes 1 to a shifted sum, so only a masked row has the sum 0.
fn share<R: Real>(exponential: R, sum: R) -> R {
    if sum == R::ZERO { R::ZERO } else { exponential / sum }
}

fn composed(engine: &Engine, algorithm: SoftmaxAlgorithm, x: &Tensor) -> candle_core::Result<Tensor> {
    let lowest = if x.dtype() == candle_core::DType::F64 { f64::MIN } else { f64::from(f32::MIN) };
    let (exponentials, sum) = match algorithm {
        SoftmaxAlgorithm::Naive => {
            let exponentials = x.exp()?;
            let sum = exponentials.sum_keepdim(D::Minus1)?;
            // A row that underflows is 0 / 0; only a masked one is zeros.
            let masked = engine.extreme(x, true)?.eq(f64::NEG_INFINITY)?;
            let sum = masked.where_cond(&engine.constant(1.0, &sum)?, &sum)?;
            return exponentials.broadcast_div(&sum);
        }
        SoftmaxAlgorithm::Stable => {
            let maximum = engine.extreme(x, true)?.maximum(lowest)?;
            let exponentials = x.broadcast_sub(&maximum)?.exp()?;
            let sum = exponentials.sum_keepdim(D::Minus1)?;
            (exponentials, sum)
        }
        SoftmaxAlgorithm::Online => {
            let (maximum, sum) = running(engine, x, lowest)?;
            (x.broadcast_sub(&maximum)?.exp()?, sum)
        }
    };
    let empty = sum.eq(&sum.zeros_like()?)?;
    exponentials.broadcast_div(&empty.where_cond(&engine.constant(1.0, &sum)?, &sum)?)
}

/// The maximum and the shifted sum of each row, block by block.
fn running(engine: &Engine, x: &Tensor, lowest: f64) -> candle_core::Result<(Tensor, Tensor)> {
    let width = x.dim(D::Minus1)?;
    let first = x.narrow(D::Minus1, 0, 1)?;
    let (mut maximum, mut sum) = (engine.constant(lowest, &first)?.contiguous()?, first.zeros_like()?);
    for start in (0..width).step_by(BLOCK) {
        let block = x.narrow(D::Minus1, start, BLOCK.min(width - start))?;
        let higher = engine.zip(BinaryOp::Maximum, &maximum, &engine.extreme(&block, true)?)?;
        let of_block = block.broadcast_sub(&higher)?.exp()?.sum_keepdim(D::Minus1)?;
        sum = sum.mul(&maximum.sub(&higher)?.exp()?)?.add(&of_block)?;
        maximum = higher;
    }
    Ok((maximum, sum))
}
