//! Exact layer normalisation of one row, and where the residual joins it.

use super::{Arithmetic, HostInputs, gamma, input, row_of};
use crate::error::{Result, shape_error};
use crate::host::HostTensor;

/// Where the residual stream joins a normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormPosition {
    /// norm(x): no residual.
    Plain,
    /// norm(x + residual), as in the original Transformer.
    Post,
    /// residual + norm(x).
    Pre,
    /// residual + norm_out(norm(x)): a second norm, with `gamma_out` and `beta_out`, before the stream.
    Sandwich,
    /// residual + norm(x) + other: two sublayers join at once.
    Parallel,
    /// norm(alpha residual + x).
    DeepNorm {
        /// Factor of the stream.
        alpha: f64,
    },
}

/// A row on its way through the composition: exact values, and how far an implementation may be from each.
struct Bounded {
    values: Vec<f64>,
    errors: Vec<f64>,
}

/// A scale and a shift for each channel: 1 and 0 where the inputs have none (a norm without a shift, or no norm at all).
#[derive(Clone, Copy)]
struct Affine<'a> {
    gamma: Option<&'a [f64]>,
    beta: Option<&'a [f64]>,
}

impl Affine<'_> {
    fn at(&self, channel: usize) -> (f64, f64) {
        (self.gamma.map_or(1.0, |gamma| gamma[channel]), self.beta.map_or(0.0, |beta| beta[channel]))
    }
}

pub(super) struct Operands<'a> {
    x: &'a HostTensor,
    weights: Affine<'a>,
    /// Of the second norm, where there is one.
    outer: Option<Affine<'a>>,
    residual: Option<&'a HostTensor>,
    /// What the second sublayer gave, where there is one.
    other: Option<&'a HostTensor>,
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
        let width = x.shape().last().copied().unwrap_or(1);
        let channels = |name: &str| match inputs.get(name).map(HostTensor::values) {
            Some(values) if values.len() != width => {
                Err(shape_error("reference norm", format!("x {:?}, {name} [{}]", x.shape(), values.len())))
            }
            values => Ok(values),
        };
        let affine = |gamma: &str, beta: &str| -> Result<Affine<'a>> { Ok(Affine { gamma: channels(gamma)?, beta: channels(beta)? }) };
        let stream = |name: &str| -> Result<&'a HostTensor> {
            let tensor = input(inputs, name)?;
            if tensor.shape() == x.shape() {
                return Ok(tensor);
            }
            Err(shape_error("reference norm", format!("x {:?}, {name} {:?}", x.shape(), tensor.shape())))
        };
        let weights = affine("gamma", "beta")?;
        let outer = (position == NormPosition::Sandwich).then(|| affine("gamma_out", "beta_out")).transpose()?;
        let residual = (position != NormPosition::Plain).then(|| stream("residual")).transpose()?;
        let other = (position == NormPosition::Parallel).then(|| stream("other")).transpose()?;
        Ok(Self { x, weights, outer, residual, other, position })
    }

    /// What is normalised: x, or the stored sum with the residual.
    fn normalised_input(&self, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let x = row_of(self.x, row)?;
        let Some(factor) = self.factor_before() else { return Ok(x.to_vec()) };
        let scaled = |value: f64| if factor == 1.0 { value } else { arithmetic.store(arithmetic.round(factor * value)) };
        let sum = |(a, b): (&f64, &f64)| arithmetic.store(arithmetic.round(a + scaled(*b)));
        Ok(x.iter().zip(self.stream(row)?).map(sum).collect())
    }

    /// The factor of the stream where it joins before the norm.
    fn factor_before(&self) -> Option<f64> {
        match self.position {
            NormPosition::Post => Some(1.0),
            NormPosition::DeepNorm { alpha } => Some(alpha),
            _ => None,
        }
    }

    /// The row of the residual; only asked for in positions that have one.
    fn stream(&self, row: usize) -> Result<&'a [f64]> {
        row_of(self.residual.ok_or_else(|| shape_error("reference norm", "the tensor \"residual\" is missing"))?, row)
    }

    /// What is added after the norm, in order.
    fn joined_after(&self, row: usize) -> Result<Vec<&'a [f64]>> {
        let residual = self.residual.filter(|_| self.factor_before().is_none());
        self.other.into_iter().chain(residual).map(|tensor| row_of(tensor, row)).collect()
    }

    pub(super) fn row(&self, epsilon: f64, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let mut values = normed(&self.normalised_input(row, arithmetic)?, self.weights, epsilon, arithmetic);
        if let Some(outer) = self.outer {
            values = normed(&values, outer, epsilon, arithmetic);
        }
        for joined in self.joined_after(row)? {
            values.iter_mut().zip(joined).for_each(|(a, b)| *a = arithmetic.store(arithmetic.round(*a + b)));
        }
        Ok(values)
    }

    pub(super) fn bounds(&self, epsilon: f64, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let u = arithmetic.compute.unit_roundoff();
        let rounding = |value: f64| arithmetic.storing(value) + u * value.abs();
        let values = self.normalised_input(row, Arithmetic::EXACT)?;
        let errors = match self.factor_before() {
            None => vec![0.0; values.len()],
            Some(factor) => {
                let scaling = |stream: f64| if factor == 1.0 { 0.0 } else { rounding(factor * stream) };
                values.iter().zip(self.stream(row)?).map(|(sum, stream)| rounding(*sum) + scaling(*stream)).collect()
            }
        };
        let mut bounded = bounded_norm(&Bounded { values, errors }, self.weights, epsilon, arithmetic);
        if let Some(outer) = self.outer {
            bounded = bounded_norm(&bounded, outer, epsilon, arithmetic);
        }
        for joined in self.joined_after(row)? {
            for ((value, error), joined) in bounded.values.iter_mut().zip(&mut bounded.errors).zip(joined) {
                *value += joined;
                *error += rounding(*value);
            }
        }
        Ok(bounded.errors)
    }
}

/// The norm of a row, by the given arithmetic.
fn normed(x: &[f64], weights: Affine<'_>, epsilon: f64, arithmetic: Arithmetic) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = arithmetic.round(arithmetic.sum(x.iter().copied()) / count);
    let centred: Vec<f64> = x.iter().map(|value| arithmetic.round(value - mean)).collect();
    let variance = arithmetic.round(arithmetic.dot(centred.iter().map(|value| (*value, *value))) / count);
    let scale = arithmetic.round(1.0 / arithmetic.round(arithmetic.round(variance + epsilon).sqrt()));
    let output = |(channel, value): (usize, &f64)| {
        let (gamma, beta) = weights.at(channel);
        let scaled = arithmetic.round(arithmetic.round(value * scale) * gamma);
        arithmetic.store(arithmetic.round(scaled + beta))
    };
    centred.iter().enumerate().map(output).collect()
}

/// The exact norm of a row, and the error of one that is computed from values with errors.
fn bounded_norm(x: &Bounded, weights: Affine<'_>, epsilon: f64, arithmetic: Arithmetic) -> Bounded {
    let u = arithmetic.compute.unit_roundoff();
    let centred = centred(x, epsilon, arithmetic);
    let (values, errors) = (0..x.values.len())
        .map(|at| {
            let scaled = centred.values[at] / centred.deviation;
            let (gamma, beta) = weights.at(at);
            let scaled_error = if centred.deviation_error.is_finite() {
                centred.errors[at] / centred.deviation * (1.0 + centred.deviation_error)
                    + scaled.abs() * (centred.deviation_error + 3.0 * u)
            } else {
                // The variance has no correct digit left: all that is known is that a normalised value stays below sqrt(n).
                2.0 * (x.values.len() as f64).sqrt()
            };
            let value = scaled * gamma + beta;
            let error = gamma.abs() * scaled_error + 2.0 * u * ((scaled * gamma).abs() + value.abs()) + arithmetic.storing(value);
            (value, error)
        })
        .unzip();
    Bounded { values, errors }
}

/// A large mean is the hard case: its own rounding error is shared by all centred values.
fn centred(x: &Bounded, epsilon: f64, arithmetic: Arithmetic) -> Centred {
    let (u, count) = (arithmetic.compute.unit_roundoff(), x.values.len() as f64);
    let mean = Arithmetic::EXACT.sum(x.values.iter().copied()) / count;
    let mean_error =
        gamma(x.values.len() + 1, u) * x.values.iter().map(|value| value.abs()).sum::<f64>() / count + x.errors.iter().sum::<f64>() / count;
    let values: Vec<f64> = x.values.iter().map(|value| value - mean).collect();
    let errors: Vec<f64> = x.errors.iter().zip(&values).map(|(error, centred)| error + mean_error + u * centred.abs()).collect();
    let square_sum = Arithmetic::EXACT.dot(values.iter().map(|value| (*value, *value)));
    let moved: f64 = values.iter().zip(&errors).map(|(value, error)| 2.0 * value.abs() * error + error * error).sum();
    let variance = square_sum / count + epsilon;
    let relative = (moved / count + gamma(x.values.len() + 2, u) * square_sum / count) / variance + u;
    let deviation_error = if relative < 1.0 { (1.0 - relative).powf(-0.5) - 1.0 + 2.0 * u } else { f64::INFINITY };
    Centred { values, errors, deviation: variance.sqrt(), deviation_error }
}

pub(super) fn residual_row(inputs: &HostInputs, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
    let (x, residual) = (input(inputs, "x")?, input(inputs, "residual")?);
    if x.shape() != residual.shape() {
        return Err(shape_error("reference residual", format!("x {:?}, residual {:?}", x.shape(), residual.shape())));
    }
    Ok(row_of(x, row)?.iter().zip(row_of(residual, row)?).map(|(a, b)| arithmetic.store(arithmetic.round(a + b))).collect())
}
