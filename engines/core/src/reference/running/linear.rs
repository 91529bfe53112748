//! y = activation(x W^T + bias), with rows quantised to int8 where the precision says so.
//!
//! Quantisation is part of what is asked, its roundings are not: the codes are those of x, and where the error of x (or the division by
//! the step) may move a value over the middle between two codes, a quarter of a squared step is added for it. A moved code errs by a whole
//! step, so this is on the safe side of one flip and of many. The error of the row's largest value moves all codes together and is
//! added as a common factor.

use super::SLACK;
use super::buffer::{Block, RunningWeight};
use super::elementwise::activated;
use super::estimate::{Estimate, square};
use super::products::{Panel, multiply, overflowing};
use crate::activation::Activation;
use crate::dtype::{DType, Precision};
use crate::reference::arithmetic::quantisation_step;

/// Rows of x as they meet the weight.
struct Rows {
    block: Block,
    /// Relative variance of each row that all its elements have in common.
    common: Vec<f64>,
}

/// The rows [rows, inputs] times a prepared weight, stored as `dtype`.
pub(super) fn linear(
    activation: Activation,
    (rows, x): (usize, Block),
    weight: &RunningWeight,
    bias: Option<&Block>,
    (precision, dtype): (Precision, DType),
    threads: usize,
) -> Block {
    let (inputs, outputs, compute) = (weight.inputs, weight.outputs, precision.compute());
    let u = compute.unit_roundoff();
    let quantises = precision.activation == DType::I8;
    let rows_of_x = if quantises { quantised(&x, rows, inputs, u) } else { Rows { block: x, common: vec![0.0; rows] } };
    let matrix = Block { values: weight.transposed.clone(), variances: vec![0.0; weight.transposed.len()] };
    // Codes are multiplied and added exactly; otherwise each dequantised weight is rounded once.
    let panel = Panel::new(inputs, outputs, matrix, if quantises { 0.0 } else { u }, 1.0);
    let product = if inputs == 0 {
        Block { values: vec![0.0; rows * outputs], variances: vec![0.0; rows * outputs] }
    } else {
        multiply(&rows_of_x.block, &panel, threads)
    };
    let mut out = Block::with_capacity(rows * outputs);
    for (at, mut sum) in product.iter().enumerate() {
        if quantises {
            let variance = sum.variance + square(sum.value) * (rows_of_x.common[at / outputs] + square(4.0 * u));
            sum = Estimate::computed(sum.value, variance, sum.is_known() && rows_of_x.common[at / outputs].is_finite());
        }
        let mut result = overflowing(sum, compute);
        if let Some(bias) = bias {
            let bias = bias.get(at % outputs);
            let variance = result.variance + bias.variance;
            result = Estimate::computed(result.value + bias.value, variance, result.is_known() && bias.is_known()).rounded_in(compute, 1.0);
        }
        out.push(activated(activation, result, compute).stored_as(dtype));
    }
    out
}

fn quantised(x: &Block, rows: usize, inputs: usize, u: f64) -> Rows {
    let mut quantised = Rows { block: Block::with_capacity(x.values.len()), common: Vec::with_capacity(rows) };
    for row in 0..rows {
        let range = row * inputs..(row + 1) * inputs;
        let common = quantise_row(&x.values[range.clone()], &x.variances[range], u, &mut quantised.block);
        quantised.common.push(common);
    }
    quantised
}

/// Appends one row and returns the relative variance of its step. A row that is not finite has no step, and gives NaN.
fn quantise_row(values: &[f64], variances: &[f64], u: f64, into: &mut Block) -> f64 {
    let known = variances.iter().all(|&variance| variance < f64::INFINITY);
    if !known || !values.iter().all(|value| value.is_finite()) {
        let variance = if known { 0.0 } else { f64::INFINITY };
        values.iter().for_each(|_| into.push(Estimate { value: f64::NAN, variance }));
        return variance;
    }
    let step = quantisation_step(values);
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    // Of the values that may be the largest, the least certain.
    let leading = values.iter().zip(variances).filter(|(value, variance)| value.abs() + SLACK * variance.sqrt() >= largest);
    let of_largest = leading.fold(0.0f64, |most, (_, &variance)| most.max(variance));
    if step == 0.0 {
        // Zeros stay zeros; an error in one of them would become the step of the whole row.
        values.iter().for_each(|_| into.push(Estimate { value: 0.0, variance: of_largest }));
        return 0.0;
    }
    let common = of_largest / square(largest);
    for (&value, &variance) in values.iter().zip(variances) {
        let code = value / step;
        let rounded = DType::I8.round(code);
        let to_middle = 0.5 - (code - rounded).abs();
        let reach = SLACK * (variance.sqrt() / step + code.abs() * common.sqrt()) + 4.0 * u * code.abs();
        let moved = if to_middle <= reach { 0.25 * square(step) + variance } else { 0.0 };
        into.push(Estimate { value: rounded * step, variance: moved });
    }
    common
}
