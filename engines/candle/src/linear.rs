//! y = activation(x W^T + bias) with a prepared weight.
//!
//! candle's product reads the weight transposed where it stands: held as [inputs, outputs] it was slower at every size tried
//! (`NOTES.md`). Bias, activation and the one rounding follow as steps of their own, because candle has no epilogue.
//!
//! int8 activations: rows of x are quantised as they come (scale = max |x| / 127, codes rounded half to even), and the codes multiplied
//! in f64, where their sum is exact, as candle has no integer product: acc (scale_x scale_w) + bias in f32, as the definition says.

use candle_core::{DType as Candle, Tensor};
use crossover_core::activation::Activation;
use crossover_core::backend::PreparedWeight;
use crossover_core::error::Result;
use crossover_core::ops::UnaryOp;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;
use crate::kernel::{self, Real};
use crate::weight::{CandleWeight, Held};

pub(crate) fn linear(
    engine: &Engine,
    activation: Activation,
    x: View<'_, CandleBuffer>,
    weight: &CandleWeight,
    bias: Option<View<'_, CandleBuffer>>,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    let sums = sums(engine, &x, weight, bias.as_ref(), out.shape()).during("linear")?;
    let result = match activation {
        Activation::None => sums,
        activation => engine.map(UnaryOp::Activation(activation), &sums)?,
    };
    engine.write("linear", &result, out)
}

fn sums(
    engine: &Engine,
    x: &View<'_, CandleBuffer>,
    weight: &CandleWeight,
    bias: Option<&View<'_, CandleBuffer>>,
    shape: &[usize],
) -> candle_core::Result<Tensor> {
    let (outputs, inputs) = (weight.outputs(), weight.inputs());
    let rows = shape.iter().product::<usize>() / outputs;
    let read = || engine.read_wide(x)?.reshape((rows, inputs));
    let product = match &weight.held {
        _ if inputs == 0 => Tensor::zeros((rows, outputs), engine.wide(), &engine.device)?,
        Held::Codes { codes, scales } => of_codes(engine, &read()?, codes, scales)?,
        #[cfg(feature = "cuda")]
        Held::Int4(packed) => return packed.product(engine, x, bias, [rows, inputs, outputs])?.reshape(shape),
        Held::Values(values) => {
            let (x, transposed) = (read()?, values.t()?);
            engine.workers.run(|| x.matmul(&transposed))?
        }
    };
    let sums = match bias {
        None => product,
        Some(bias) => engine.binary_of_candle(&product, &engine.read_wide(bias)?.broadcast_as((rows, outputs))?, Tensor::add)?,
    };
    sums.reshape(shape)
}

/// Rows of f32 quantised, and multiplied as codes.
fn of_codes(engine: &Engine, x: &Tensor, codes: &Tensor, scales: &Tensor) -> candle_core::Result<Tensor> {
    let (rows, inputs) = x.dims2()?;
    let (x, transposed) = (x.contiguous()?, codes.t()?);
    let (sums, scale) = engine.workers.run(|| {
        // The scale of a row stands behind its codes.
        let quantised = kernel::rows("quantise", &x, (inputs, inputs + 1), quantise)?.reshape((rows, inputs + 1))?;
        let sums = quantised.narrow(1, 0, inputs)?.matmul(&transposed)?;
        candle_core::Result::Ok((sums, quantised.narrow(1, inputs, 1)?))
    })?;
    let factors = scale.to_dtype(Candle::F32)?.broadcast_mul(scales)?;
    engine.binary_of_candle(&sums.to_dtype(Candle::F32)?, &factors, Tensor::mul)
}

/// A row with a NaN or an infinity has no scale; a row of zeros has scale 0 and codes 0.
fn quantise(row: &[f32], out: &mut [f64]) {
    let largest = row.iter().fold(0f32, |largest, value| largest.larger(value.abs()));
    let scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
    let (codes, last) = out.split_at_mut(row.len());
    for (code, &value) in codes.iter_mut().zip(row) {
        *code = if scale > 0.0 { f64::from((value / scale).round_ties_even().clamp(-127.0, 127.0)) } else { 0.0 };
    }
    last.fill(f64::from(scale));
}
