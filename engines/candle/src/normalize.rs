//! Layer, RMS and group normalisation over rows.
//!
//! The variance is the mean of squared differences from the mean, in a second pass: the one-pass form cancels when the mean is large.
//! On the CPU one kernel does a row; composed (other devices, training) each step is a candle operation.

use candle_core::{D, Tensor};
use crossover_core::backend::{NormWeights, Operand};
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};
use crossover_core::tensor::{View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;
use crate::kernel::{self, Real, in_type_of};

pub(crate) fn normalize(
    engine: &Engine,
    spec: NormSpec,
    x: &Operand<'_, CandleBuffer>,
    weights: NormWeights<'_, CandleBuffer>,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    #[cfg(feature = "cuda")]
    if let Some((result, _)) = crate::cuda::engine::add_norm(engine, spec, x, None, weights, false, &out).during("normalize")? {
        return engine.write("normalize", &result, out);
    }
    let result = normalized(engine, spec, x, weights, &out).during("normalize")?;
    engine.write("normalize", &result, out)
}

/// norm(x + residual) by one kernel where there is one; composed where not, also where something is repeated over rows.
#[cfg(feature = "cuda")]
pub(crate) fn add_norm<P: crate::place::Place>(
    engine: &crate::backend::Backend<P>,
    spec: NormSpec,
    x: View<'_, CandleBuffer>,
    residual: View<'_, CandleBuffer>,
    weights: NormWeights<'_, CandleBuffer>,
    mut sum: Option<ViewMut<'_, CandleBuffer>>,
    out: ViewMut<'_, CandleBuffer>,
) -> Result<()> {
    use crossover_core::check;
    let fits = [x.shape(), residual.shape(), sum.as_ref().map_or(out.shape(), |sum| sum.shape())].iter().all(|shape| *shape == out.shape());
    if fits && !out.layout.is_empty() {
        let (_, width) = check::rows("add+norm", &out.layout)?;
        check::norm_weights(width, [&weights.gamma, &weights.beta].map(|weight| weight.as_ref().map(|view| &view.layout)))?;
        if let NormKind::Group { groups } = spec.kind {
            check::norm_groups(width, groups)?;
        }
        for view in [&weights.gamma, &weights.beta].into_iter().flatten().chain([&x, &residual]) {
            engine.types.inputs("add+norm", [view])?;
        }
        [Some(&out), sum.as_ref()].into_iter().flatten().try_for_each(|view| engine.types.output("add+norm", view))?;
        let made = crate::cuda::engine::add_norm(engine, spec, &Operand::Of(x), Some(&residual), weights, sum.is_some(), &out);
        if let Some((normal, total)) = made.during("add+norm")? {
            if let (Some(total), Some(target)) = (total, &mut sum) {
                engine.write("add+norm", &total, target.reborrow())?;
            }
            return engine.write("add+norm", &normal, out);
        }
    }
    crossover_core::compose::fused::add_norm(engine, spec, x, residual, weights, sum, out)
}

fn normalized(
    engine: &Engine,
    spec: NormSpec,
    x: &Operand<'_, CandleBuffer>,
    weights: NormWeights<'_, CandleBuffer>,
    out: &ViewMut<'_, CandleBuffer>,
) -> candle_core::Result<Tensor> {
    let x = engine.operand(x, out)?;
    let read = |view: Option<View<'_, CandleBuffer>>| view.map(|view| engine.read_wide(&view)).transpose();
    let (gamma, beta) = (read(weights.gamma)?, read(weights.beta)?);
    if !engine.fused() {
        return composed(spec, &x, gamma, beta);
    }
    let (width, dense) = (x.dim(D::Minus1)?, x.contiguous()?);
    let result = in_type_of!(dense, R => {
        // Widths are small beside the rows: the weights are copied, so that the kernel sees plain slices.
        let values = |weight: Option<Tensor>| weight.map(|weight| weight.to_vec1::<R>()).transpose();
        let (gamma, beta) = (values(gamma)?, values(beta)?);
        let row = |x: &[R], out: &mut [R]| of_row(spec, x, out, gamma.as_deref(), beta.as_deref());
        engine.workers.run(|| kernel::rows("normalize", &dense, (width, width), row))?
    });
    result.reshape(x.shape())
}

/// Number of groups already checked to divide the width.
fn of_row<R: Real>(spec: NormSpec, x: &[R], out: &mut [R], gamma: Option<&[R]>, beta: Option<&[R]>) {
    let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
    let width = x.len() / groups;
    for (x, out) in x.chunks(width).zip(out.chunks_mut(width)) {
        let count = R::from_f64(width as f64);
        let mean = if spec.kind == NormKind::Rms { R::ZERO } else { sum_of(x, |x| x) / count };
        let variance = sum_of(x, |x| (x - mean) * (x - mean)) / count;
        let deviation = (variance + R::from_f64(spec.epsilon)).sqrt();
        x.iter().zip(out).for_each(|(&x, out)| *out = (x - mean) / deviation);
    }
    if let Some(gamma) = gamma {
        out.iter_mut().zip(gamma).for_each(|(out, &gamma)| *out = *out * gamma);
    }
    if let Some(beta) = beta {
        out.iter_mut().zip(beta).for_each(|(out, &beta)| *out = *out + beta);
    }
}

/// In eight partial sums, so that the additions do not wait for each other.
pub(crate) fn sum_of<R: Real>(values: &[R], function: impl Fn(R) -> R) -> R {
    let mut partial = [R::ZERO; 8];
    let pieces = values.chunks_exact(8);
    let rest = pieces.remainder();
    for piece in pieces {
        partial.iter_mut().zip(piece).for_each(|(sum, &value)| *sum = *sum + function(value));
    }
    let sum = partial.into_iter().fold(R::ZERO, |sum, part| sum + part);
    rest.iter().fold(sum, |sum, &value| sum + function(value))
}

fn composed(spec: NormSpec, x: &Tensor, gamma: Option<Tensor>, beta: Option<Tensor>) -> candle_core::Result<Tensor> {
    let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
    let width = x.dim(D::Minus1)? / groups;
    let grouped = x.reshape(((), groups, width))?;
    let mean = |x: &Tensor| x.sum_keepdim(D::Minus1)?.affine(1.0 / width as f64, 0.0);
    let centred = if spec.kind == NormKind::Rms { grouped } else { grouped.broadcast_sub(&mean(&grouped)?)? };
    let deviation = mean(&centred.sqr()?)?.affine(1.0, spec.epsilon)?.sqrt()?;
    let mut normal = centred.broadcast_div(&deviation)?.reshape(x.shape())?;
    if let Some(gamma) = gamma {
        normal = normal.broadcast_mul(&gamma)?;
    }
    match beta {
        Some(beta) => normal.broadcast_add(&beta),
        None => Ok(normal),
    }
}
