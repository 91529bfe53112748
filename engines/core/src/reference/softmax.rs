//! Exact softmax of one row.

use super::{Arithmetic, gamma, row_of};
use crate::error::Result;
use crate::host::HostTensor;

pub(super) fn row(logits: &HostTensor, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
    Ok(of_row(row_of(logits, row)?, arithmetic))
}

/// Softmax by three passes. A row of only minus infinity has nothing to weigh: zeros.
pub(super) fn of_row(row: &[f64], arithmetic: Arithmetic) -> Vec<f64> {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if maximum == f64::NEG_INFINITY {
        return vec![0.0; row.len()];
    }
    let weights: Vec<f64> = row.iter().map(|value| arithmetic.round(libm::exp(arithmetic.round(value - maximum)))).collect();
    let sum = arithmetic.sum(weights.iter().copied());
    weights.into_iter().map(|weight| arithmetic.store(arithmetic.round(weight / sum))).collect()
}

/// Relative error of each weight when score j is off by `score_errors[j]`, before it is stored.
///
/// Numerator: the score's error and the rounding of the shift enter the exponent. Denominator: the weighted mean of the same, and a sum
/// of n terms. A streaming softmax multiplies its sum once for each new maximum, so that three roundings a term are allowed for.
pub(super) fn relative_errors(scores: &[f64], weights: &[f64], score_errors: &[f64], arithmetic: Arithmetic) -> Vec<f64> {
    let u = arithmetic.compute.unit_roundoff();
    let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponent = |(score, error): (&f64, &f64)| (error + 2.0 * u * (score - maximum).abs()).exp_m1() + 4.0 * u;
    let numerators: Vec<f64> = scores.iter().zip(score_errors).map(exponent).collect();
    // Weights of exactly zero are out of the sum even where their own relative error is not finite.
    let visible = weights.iter().zip(&numerators).filter(|(weight, _)| **weight > 0.0);
    let denominator: f64 = visible.map(|(weight, error)| weight * error).sum::<f64>() + gamma(3 * scores.len() + 4, u);
    // (1 + a) / (1 - b) - 1 = (a + b) / (1 - b); with b beyond 1 nothing is known.
    let quotient = |error: f64| if denominator < 1.0 { (error + denominator) / (1.0 - denominator) } else { f64::INFINITY };
    numerators.into_iter().zip(weights).map(|(error, weight)| if *weight > 0.0 { quotient(error) } else { 0.0 }).collect()
}

pub(super) fn bounds(logits: &HostTensor, row: usize, arithmetic: Arithmetic, exact: &[f64]) -> Result<Vec<f64>> {
    let scores = row_of(logits, row)?;
    let relative = relative_errors(scores, exact, &vec![0.0; scores.len()], arithmetic);
    // exp underflows in the compute type before the quotient does.
    let underflow = arithmetic.compute.smallest_normal();
    Ok(exact.iter().zip(relative).map(|(value, relative)| relative * value + arithmetic.storing(*value) + underflow).collect())
}
