//! Exact linear layers: one, and two with an activation between.

use super::arithmetic::quantisation_step;
use super::{Arithmetic, HostInputs, gamma, input, row_of};
use crate::activation::Activation;
use crate::dtype::DType;
use crate::error::{Result, shape_error};
use crate::host::HostTensor;

pub(super) struct Layer<'a> {
    x: Option<&'a HostTensor>,
    w: &'a HostTensor,
    b: &'a HostTensor,
}

impl<'a> Layer<'a> {
    pub(super) fn of(inputs: &'a HostInputs, x: &str, w: &str, b: &str) -> Result<Self> {
        let layer = Self::without_input(inputs, w, b)?;
        Ok(Self { x: Some(input(inputs, x)?), ..layer })
    }

    fn without_input(inputs: &'a HostInputs, w: &str, b: &str) -> Result<Self> {
        let (w, b) = (input(inputs, w)?, input(inputs, b)?);
        if w.shape().len() != 2 || b.shape() != [w.shape()[0]] {
            return Err(shape_error("reference linear", format!("weight {:?}, bias {:?}", w.shape(), b.shape())));
        }
        Ok(Self { x: None, w, b })
    }

    fn x(&self, row: usize) -> Result<&'a [f64]> {
        let x = row_of(self.x.ok_or_else(|| shape_error("reference linear", "no input"))?, row)?;
        if x.len() != self.w.shape()[1] {
            return Err(shape_error("reference linear", format!("rows of {} for a weight {:?}", x.len(), self.w.shape())));
        }
        Ok(x)
    }

    pub(super) fn row(&self, activation: Activation, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        Ok(self.apply(self.x(row)?, activation, arithmetic))
    }

    fn apply(&self, x: &[f64], activation: Activation, arithmetic: Arithmetic) -> Vec<f64> {
        let x = arithmetic.quantised(x);
        let output = |(w, b): (&[f64], &f64)| {
            let product = arithmetic.dot(x.iter().copied().zip(w.iter().copied()));
            let sum = arithmetic.round(product + b);
            arithmetic.store(arithmetic.round(activation.apply(sum)))
        };
        self.w.values().chunks(self.w.shape()[1].max(1)).zip(self.b.values()).map(output).collect()
    }

    pub(super) fn bounds(&self, activation: Activation, row: usize, arithmetic: Arithmetic, exact: &[f64]) -> Result<Vec<f64>> {
        let x = self.x(row)?;
        Ok(self.propagate(x, &vec![0.0; x.len()], activation, arithmetic, exact))
    }

    /// Errors of the output, given those of the input.
    fn propagate(&self, x: &[f64], errors: &[f64], activation: Activation, arithmetic: Arithmetic, exact: &[f64]) -> Vec<f64> {
        let u = arithmetic.compute.unit_roundoff();
        let product = gamma(x.len() + 2, u);
        let (x, errors) = (&arithmetic.quantised(x), &input_errors(x, errors, arithmetic));
        let bound = |((w, b), exact): ((&[f64], &f64), &f64)| {
            let magnitude: f64 = w.iter().zip(x).map(|(w, x)| (w * x).abs()).sum::<f64>() + b.abs();
            let carried: f64 = w.iter().zip(errors).map(|(w, error)| w.abs() * error).sum();
            let sum_error = product * (magnitude + carried) + carried;
            let sum = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
            let evaluation = activation.evaluation_error(magnitude, *exact, u);
            activation.steepest(sum, sum_error) * sum_error + evaluation + arithmetic.storing(*exact)
        };
        self.w.values().chunks(self.w.shape()[1].max(1)).zip(self.b.values()).zip(exact).map(bound).collect()
    }
}

/// Errors of a row as the weight meets it. Without quantisation they are those of the row. With it, an error (of the row, or of the
/// division that makes the code) shows only where a value lies so near the middle between two codes that it may flip the code, and
/// through the step, which is made from the row's largest value.
fn input_errors(x: &[f64], errors: &[f64], arithmetic: Arithmetic) -> Vec<f64> {
    let step = quantisation_step(x);
    if !arithmetic.quantises_rows || step == 0.0 {
        return errors.to_vec();
    }
    let step_error = errors.iter().copied().fold(0.0, f64::max) / DType::I8.largest();
    let u = arithmetic.compute.unit_roundoff();
    let error = |(x, error): (&f64, &f64)| {
        let quotient = (x / step).abs();
        let doubt = (error + quotient * step_error) / step + 4.0 * u * quotient;
        let flips = (quotient.fract() - 0.5).abs() <= doubt;
        quotient * step_error + if flips { step * doubt.ceil().max(1.0) } else { 0.0 }
    };
    x.iter().zip(errors).map(error).collect()
}

pub(super) struct Ffn<'a> {
    first: Layer<'a>,
    second: Layer<'a>,
}

impl<'a> Ffn<'a> {
    pub(super) fn of(inputs: &'a HostInputs) -> Result<Self> {
        Ok(Self { first: Layer::of(inputs, "x", "w1", "b1")?, second: Layer::without_input(inputs, "w2", "b2")? })
    }

    pub(super) fn row(&self, activation: Activation, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        let hidden = self.first.row(activation, row, arithmetic)?;
        if hidden.len() != self.second.w.shape()[1] {
            return Err(shape_error("reference ffn", format!("{} hidden units for w2 {:?}", hidden.len(), self.second.w.shape())));
        }
        Ok(self.second.apply(&hidden, Activation::None, arithmetic))
    }

    pub(super) fn bounds(&self, activation: Activation, row: usize, arithmetic: Arithmetic, exact: &[f64]) -> Result<Vec<f64>> {
        let x = self.first.x(row)?;
        let hidden = self.first.apply(x, activation, arithmetic.made_exact());
        let errors = self.first.propagate(x, &vec![0.0; x.len()], activation, arithmetic, &hidden);
        Ok(self.second.propagate(&hidden, &errors, Activation::None, arithmetic, exact))
    }
}
