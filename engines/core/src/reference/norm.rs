//! Exact layer normalisation of one row, and where the residual joins it.

use super::{Arithmetic, HostInputs, gamma, input, row_of};
use crate::error::{Result, shape_error};
use crate::host::HostTensor;

/// Where the residual stream joins a normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormPosition {
    /// norm(x): no residual.
    Plain,
    /// norm(x + residual), as in the original Transformer.
    Post,
    /// residual + norm(x).
    Pre,
}

impl NormPosition {
    /// The position of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "plain" => Some(Self::Plain),
            "post" => Some(Self::Post),
            "pre" => Some(Self::Pre),
            _ => None,
        }
    }
}

pub(super) struct Operands<'a> {
    x: &'a HostTensor,
    gamma: &'a [f64],
    beta: &'a [f64],
    residual: Option<&'a HostTensor>,
    position: NormPosition,
}

/// The statistics of a row with their errors.
struct Centred {
    values: Vec<f64>,
    errors: Vec<f64>,
    deviation: f64,
    /// Relative error of 1 / deviation.
    deviation_error: f64,
}

impl<'a> Operands<'a> {
    pub(super) fn of(inputs: &'a HostInputs, position: NormPosition) -> Result<Self> {
        let x = input(inputs, "x")?;
        let (gamma, beta) = (input(inputs, "gamma")?.values(), input(inputs, "beta")?.values());
        let residual = if position == NormPosition::Plain { None } else { Some(input(inputs, "residual")?) };
        let width = x.shape().last().copied().unwrap_or(1);
        if gamma.len() != width || beta.len() != width || residual.is_some_and(|residual| residual.shape() != x.shape()) {
            return Err(shape_error("reference norm", format!("x {:?}, gamma [{}], beta [{}]", x.shape(), gamma.len(), beta.len())));
        }
        Ok(Self { x, gamma, beta, residual, position })
    }

    /// What is normalised: x, or the stored sum with the residual.
    fn normalised_input(&self, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let x = row_of(self.x, row)?;
        match (self.position, self.residual) {
            (NormPosition::Post, Some(residual)) => {
                Ok(x.iter().zip(row_of(residual, row)?).map(|(a, b)| arithmetic.store(arithmetic.round(a + b))).collect())
            }
            _ => Ok(x.to_vec()),
        }
    }

    pub(super) fn row(&self, epsilon: f64, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let x = self.normalised_input(row, arithmetic)?;
        let count = x.len() as f64;
        let mean = arithmetic.round(arithmetic.sum(x.iter().copied()) / count);
        let centred: Vec<f64> = x.iter().map(|value| arithmetic.round(value - mean)).collect();
        let variance = arithmetic.round(arithmetic.dot(centred.iter().map(|value| (*value, *value))) / count);
        let scale = arithmetic.round(1.0 / arithmetic.round(arithmetic.round(variance + epsilon).sqrt()));
        let output = |((value, gamma), beta): ((&f64, &f64), &f64)| {
            let scaled = arithmetic.round(arithmetic.round(value * scale) * gamma);
            arithmetic.store(arithmetic.round(scaled + beta))
        };
        let normed: Vec<f64> = centred.iter().zip(self.gamma).zip(self.beta).map(output).collect();
        match (self.position, self.residual) {
            (NormPosition::Pre, Some(residual)) => {
                Ok(normed.iter().zip(row_of(residual, row)?).map(|(a, b)| arithmetic.store(arithmetic.round(a + b))).collect())
            }
            _ => Ok(normed),
        }
    }

    pub(super) fn bounds(&self, epsilon: f64, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let x = self.normalised_input(row, Arithmetic::EXACT)?;
        let u = arithmetic.compute.unit_roundoff();
        let centred = self.centred(&x, epsilon, arithmetic);
        let residual = self.residual.filter(|_| self.position == NormPosition::Pre).map(|residual| row_of(residual, row)).transpose()?;
        let bound = |at: usize| {
            let scaled = centred.values[at] / centred.deviation;
            let (gamma, beta) = (self.gamma[at], self.beta[at]);
            let scaled_error = if centred.deviation_error.is_finite() {
                centred.errors[at] / centred.deviation * (1.0 + centred.deviation_error)
                    + scaled.abs() * (centred.deviation_error + 3.0 * u)
            } else {
                // The variance has no correct digit left: all that is known is that a normalised value stays below sqrt(n).
                2.0 * (x.len() as f64).sqrt()
            };
            let value = scaled * gamma + beta;
            let normed = gamma.abs() * scaled_error + 2.0 * u * ((scaled * gamma).abs() + value.abs()) + arithmetic.storing(value);
            normed + residual.map_or(0.0, |residual| arithmetic.storing(value + residual[at]) + u * (value + residual[at]).abs())
        };
        Ok((0..x.len()).map(bound).collect())
    }

    /// A large mean is the hard case: its own rounding error is shared by all centred values.
    fn centred(&self, x: &[f64], epsilon: f64, arithmetic: Arithmetic) -> Centred {
        let (u, count) = (arithmetic.compute.unit_roundoff(), x.len() as f64);
        let mean = Arithmetic::EXACT.sum(x.iter().copied()) / count;
        let stored = |value: &f64| if self.position == NormPosition::Post { arithmetic.storing(*value) + u * value.abs() } else { 0.0 };
        let mean_error =
            gamma(x.len() + 1, u) * x.iter().map(|value| value.abs()).sum::<f64>() / count + x.iter().map(stored).sum::<f64>() / count;
        let values: Vec<f64> = x.iter().map(|value| value - mean).collect();
        let errors: Vec<f64> = x.iter().zip(&values).map(|(value, centred)| stored(value) + mean_error + u * centred.abs()).collect();
        let square_sum = Arithmetic::EXACT.dot(values.iter().map(|value| (*value, *value)));
        let moved: f64 = values.iter().zip(&errors).map(|(value, error)| 2.0 * value.abs() * error + error * error).sum();
        let variance = square_sum / count + epsilon;
        let relative = (moved / count + gamma(x.len() + 2, u) * square_sum / count) / variance + u;
        let deviation_error = if relative < 1.0 { (1.0 - relative).powf(-0.5) - 1.0 + 2.0 * u } else { f64::INFINITY };
        Centred { values, errors, deviation: variance.sqrt(), deviation_error }
    }
}

pub(super) fn residual_row(inputs: &HostInputs, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
    let (x, residual) = (input(inputs, "x")?, input(inputs, "residual")?);
    if x.shape() != residual.shape() {
        return Err(shape_error("reference residual", format!("x {:?}, residual {:?}", x.shape(), residual.shape())));
    }
    Ok(row_of(x, row)?.iter().zip(row_of(residual, row)?).map(|(a, b)| arithmetic.store(arithmetic.round(a + b))).collect())
}
