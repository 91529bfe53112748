//! Layer, RMS and group normalisation.
//!
//! y = (x - m) r gamma + beta with r = 1 / sqrt(v + eps). To first order an error e of x gives, before gamma,
//! r (e_i - mean e - xhat_i mean(xhat e)), xhat = (x - m) r: the three terms are taken as independent. The mean and the mean square
//! bring their own roundings, which the row has in common; the second order of the mean's error, which is the first that shows in
//! the variance, is added. Where r may be off by a quarter of itself, nothing is known.

use super::SLACK;
use super::buffer::Block;
use super::estimate::{Estimate, Rounding, scaled, square, summing};
use crate::ops::{NormKind, NormSpec};

/// The statistics of a part of a row.
struct Statistics {
    mean: f64,
    /// Variance of the error of the mean.
    mean_variance: f64,
    /// 1 / sqrt(variance + epsilon).
    scale: f64,
    /// Relative variance of the scale.
    scale_variance: f64,
}

/// Rows of this width; gamma and beta have one value a channel.
pub(super) fn normalize(spec: NormSpec, x: &Block, width: usize, weights: [Option<&Block>; 2], rounding: Rounding) -> Block {
    let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
    let part = (width / groups.max(1)).max(1);
    let mut out = Block::with_capacity(x.values.len());
    for start in (0..x.values.len()).step_by(part) {
        let (values, variances) = (&x.values[start..start + part], &x.variances[start..start + part]);
        let statistics = statistics(spec, values, variances, rounding);
        for (at, (&value, &variance)) in values.iter().zip(variances).enumerate() {
            let channel = (start + at) % width;
            let [gamma, beta] = weights.map(|weight| weight.map(|weight| weight.get(channel)));
            out.push(element(Estimate { value, variance }, &statistics, gamma, beta, rounding));
        }
    }
    out
}

fn statistics(spec: NormSpec, values: &[f64], variances: &[f64], rounding: Rounding) -> Statistics {
    let (count, u) = (values.len() as f64, rounding.compute.unit_roundoff());
    let sum: f64 = values.iter().sum();
    let centred = spec.kind != NormKind::Rms;
    let mean = if centred { sum / count } else { 0.0 };
    let total_variance: f64 = variances.iter().sum();
    let squares: f64 = values.iter().map(|value| square(*value)).sum();
    let mean_rounding = (summing(values.len(), u, sum, squares) + square(u * sum)) / square(count);
    let mean_variance = if centred { mean_rounding + total_variance / square(count) } else { 0.0 };
    let centred_squares: f64 = values.iter().map(|value| square(value - mean)).sum();
    let under_root = centred_squares / count + spec.epsilon;
    // Through x: d v = 2 mean((x - m) e); its second order, and that of the mean's error, are SLACK times as large at SLACK deviations.
    let carried: f64 = values.iter().zip(variances).map(|(value, &variance)| scaled(value - mean, variance)).sum();
    let second = SLACK * (total_variance / count + mean_variance);
    let of_square = 4.0 * carried / square(count) + square(second);
    let own = summing(values.len(), u, 1.0, 1.0) + square(4.0 * u);
    let relative = 0.25 * (of_square / square(under_root) + own);
    let overflows = centred_squares > rounding.compute.largest();
    let worst = SLACK * relative.sqrt();
    // Up to a quarter the tangent is off by less than a factor of two, which is allowed for; beyond, nothing is known.
    let known = !overflows && worst < 0.25;
    let scale_variance = if known { relative / square(1.0 - 2.0 * worst) } else { f64::INFINITY };
    Statistics { mean, mean_variance, scale: 1.0 / under_root.sqrt(), scale_variance }
}

fn element(x: Estimate, statistics: &Statistics, gamma: Option<Estimate>, beta: Option<Estimate>, rounding: Rounding) -> Estimate {
    let compute = rounding.compute;
    let u = compute.unit_roundoff();
    let Statistics { mean, mean_variance, scale, scale_variance } = *statistics;
    let normal = (x.value - mean) * scale;
    let known = x.is_known() && scale_variance < f64::INFINITY || !x.value.is_finite() && x.is_known();
    let variance = square(scale) * (x.variance + mean_variance) + scaled(normal, scale_variance + square(3.0 * u));
    let mut result = Estimate::computed(normal, variance, known);
    if let Some(gamma) = gamma {
        result = super::elementwise::product(result, gamma).rounded_in(compute, 1.0);
    }
    if let Some(beta) = beta {
        let known = result.is_known() && beta.is_known();
        result = Estimate::computed(result.value + beta.value, result.variance + beta.variance, known);
    }
    rounding.apply(result, 1.0)
}
