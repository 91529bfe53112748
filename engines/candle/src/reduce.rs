//! Reductions and running sums over rows.
//!
//! Sums are candle's. Its maximum and minimum lose a NaN that does not come first, so on the CPU those, and the position of the largest,
//! are kernels of ours. Composed, a NaN is found by a second reduction. Running sums are candle's on other devices and in training:
//! a product with a triangle, quadratic in the length.

use candle_core::{D, DType as Candle, Tensor};
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::ReduceOp;
use crossover_core::tensor::{View, ViewMut};

use crate::backend::{Engine, NAME};
use crate::buffer::CandleBuffer;
use crate::error::During;
use crate::kernel::{self, Real, in_type_of};

/// x [.., width], out [..]; rows are not empty.
pub(crate) fn reduce(engine: &Engine, op: ReduceOp, x: &View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    let result = engine.read_wide(x).and_then(|x| reduced(engine, op, &x)?.reshape(out.shape())).during("reduce")?;
    engine.write("reduce", &result, out)
}

fn reduced(engine: &Engine, op: ReduceOp, x: &Tensor) -> candle_core::Result<Tensor> {
    match op {
        ReduceOp::Sum => x.sum_keepdim(D::Minus1),
        ReduceOp::Mean => x.sum_keepdim(D::Minus1)?.affine(1.0 / x.dim(D::Minus1)? as f64, 0.0),
        ReduceOp::Max => engine.extreme(x, true),
        ReduceOp::Min => engine.extreme(x, false),
        ReduceOp::ArgMax => engine.on_host(x, |x| {
            let width = x.dim(D::Minus1)?;
            let work = |x: &Tensor| in_type_of!(x, R => kernel::rows("argmax", x, (width, 1), first_largest::<R>));
            engine.workers.run(|| work(x))
        }),
    }
}

impl Engine {
    /// The largest (or smallest) of each row, [.., 1]; NaN if any is.
    pub(crate) fn extreme(&self, x: &Tensor, largest: bool) -> candle_core::Result<Tensor> {
        if !self.fused() {
            let found = if largest { x.max_keepdim(D::Minus1)? } else { x.min_keepdim(D::Minus1)? };
            let nans = x.ne(x)?.to_dtype(x.dtype())?.sum_keepdim(D::Minus1)?;
            return nans.ne(&nans.zeros_like()?)?.where_cond(&self.constant(f64::NAN, &found)?, &found);
        }
        let (width, dense) = (x.dim(D::Minus1)?, x.contiguous()?);
        let mut shape = x.dims().to_vec();
        shape[x.rank() - 1] = 1;
        let found = self.workers.run(|| {
            in_type_of!(dense, R => kernel::rows("extreme", &dense, (width, 1), |row: &[R], out: &mut [R]| {
                let choose = if largest { R::larger } else { R::smaller };
                out[0] = row[1..].iter().fold(row[0], |chosen, &x| choose(chosen, x));
            }))
        })?;
        found.reshape(shape)
    }

    /// Runs a CPU kernel on a dense copy in the host's memory, and brings the result back. On the CPU nothing moves.
    pub(crate) fn on_host(&self, x: &Tensor, work: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> candle_core::Result<Tensor> {
        let host = x.to_device(&candle_core::Device::Cpu)?.contiguous()?;
        work(&host)?.to_device(&self.device)
    }
}

/// A NaN counts as the largest, so that it shows, as it does in the maximum.
fn first_largest<R: Real>(row: &[R], out: &mut [i32]) {
    let (mut at, mut largest) = (0, row[0]);
    for (place, &x) in row.iter().enumerate() {
        if !largest.is_nan() && (x > largest || x.is_nan()) {
            (at, largest) = (place, x);
        }
    }
    // Rows too long for i32 are refused before.
    out[0] = at as i32;
}

/// Inclusive sums along rows; integers wrap.
pub(crate) fn cumulative_sum(engine: &Engine, x: &View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    let integers = out.dtype() == DType::I32;
    if engine.training && !integers && x.layout.dim_from_end(0) > LONGEST_TRIANGLE {
        let reason = format!("candle records a running sum as a product with a triangle; rows are limited to {LONGEST_TRIANGLE}");
        return Err(EngineError::Unsupported { engine: NAME, operation: "cumulative sum in training".into(), reason });
    }
    let result = if integers { engine.read(x) } else { engine.read_wide(x) }.and_then(|x| sums(engine, &x)).during("cumulative sum")?;
    engine.write("cumulative sum", &result, out)
}

/// Beyond it the triangle takes more memory than anything that is trained here.
const LONGEST_TRIANGLE: usize = 1 << 13;

fn sums(engine: &Engine, x: &Tensor) -> candle_core::Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if x.dtype() == Candle::I32 {
        let sums = engine.on_host(x, |x| {
            engine.workers.run(|| {
                kernel::rows("running sum", x, (width, width), |row: &[i32], out: &mut [i32]| {
                    row.iter().zip(out).fold(0i32, |sum, (&x, out)| {
                        *out = sum.wrapping_add(x);
                        *out
                    });
                })
            })
        })?;
        return sums.reshape(x.shape());
    }
    if !engine.fused() {
        return x.cumsum(D::Minus1);
    }
    let dense = x.contiguous()?;
    let sums = engine.workers.run(|| {
        in_type_of!(dense, R => kernel::rows("running sum", &dense, (width, width), |row: &[R], out: &mut [R]| {
            row.iter().zip(out).fold(R::ZERO, |sum, (&x, out)| {
                *out = sum + x;
                *out
            });
        }))
    })?;
    sums.reshape(x.shape())
}
