//! Softmax and its logarithm, sums, running sums and scattered sums.
//!
//! Softmax errs in each numerator (the error of its score, of the shift and of the exponential) and in the denominator, which the row has
//! in common: the weighted mean of the same, and the roundings of a sum of n terms. The common part is added in full to each element,
//! as if it were its own. A later sum over the row adds such parts as independent ones, although they are the same. What that misses is
//! no more than what is counted anyway: the common part of the scores' errors is a mean of them, and the roundings of the denominator
//! are of the size of the later sum's own.

use super::SLACK;
use super::buffer::Block;
use super::elementwise::quotient;
use super::estimate::{Estimate, Rounding, square, summing};
use crate::dtype::DType;
use crate::ops::SoftmaxAlgorithm;

/// Softmax of rows of this width.
pub(super) fn softmax(algorithm: SoftmaxAlgorithm, x: &Block, width: usize, rounding: Rounding) -> Block {
    let mut out = Block::with_capacity(x.values.len());
    for (values, variances) in x.values.chunks(width.max(1)).zip(x.variances.chunks(width.max(1))) {
        softmax_row(algorithm, values, variances, rounding, &mut out);
    }
    out
}

fn softmax_row(algorithm: SoftmaxAlgorithm, values: &[f64], variances: &[f64], rounding: Rounding, out: &mut Block) {
    let compute = rounding.compute;
    if values.iter().all(|&value| value == f64::NEG_INFINITY) {
        let estimates =
            variances.iter().map(|&variance| if variance.is_finite() { Estimate::exact(0.0) } else { Estimate::undetermined(0.0) });
        estimates.for_each(|estimate| out.push(estimate));
        return;
    }
    let known = variances.iter().all(|&variance| variance < f64::INFINITY);
    let shift = match algorithm {
        SoftmaxAlgorithm::Naive => 0.0,
        SoftmaxAlgorithm::Stable | SoftmaxAlgorithm::Online => values.iter().copied().fold(f64::NEG_INFINITY, larger),
    };
    let exponential = |(&value, &variance): (&f64, &f64)| {
        let exponent = Estimate { value: value - shift, variance: if known { variance } else { 0.0 } };
        exponential(exponent, compute)
    };
    let numerators: Vec<Estimate> = values.iter().zip(variances).map(exponential).collect();
    let denominator = sum(numerators.iter().copied(), compute);
    if !known {
        numerators.iter().for_each(|numerator| out.push(Estimate::undetermined(numerator.value / denominator.value)));
        return;
    }
    // A streaming softmax multiplies its sum once for each new maximum: one more rounding a term.
    let rescaled = Estimate {
        variance: denominator.variance + square(compute.unit_roundoff() * denominator.value) * values.len() as f64,
        ..denominator
    };
    for numerator in numerators {
        out.push(rounding.apply(quotient(numerator, rescaled), 2.0));
    }
}

/// Log-softmax of rows of this width.
pub(super) fn log_softmax(x: &Block, width: usize, rounding: Rounding) -> Block {
    let mut out = Block::with_capacity(x.values.len());
    for (values, variances) in x.values.chunks(width.max(1)).zip(x.variances.chunks(width.max(1))) {
        log_softmax_row(values, variances, rounding, &mut out);
    }
    out
}

fn log_softmax_row(values: &[f64], variances: &[f64], rounding: Rounding, out: &mut Block) {
    let compute = rounding.compute;
    let known = variances.iter().all(|&variance| variance < f64::INFINITY);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, larger);
    if largest == f64::NEG_INFINITY {
        values.iter().for_each(|&value| out.push(Estimate::computed(value, 0.0, known)));
        return;
    }
    let difference = |(&value, &variance): (&f64, &f64)| Estimate::computed(value - largest, if known { variance } else { 0.0 }, true);
    let differences: Vec<Estimate> = values.iter().zip(variances).map(difference).collect();
    let numerators: Vec<Estimate> = differences.iter().map(|&difference| exponential(difference, compute)).collect();
    let denominator = sum(numerators.iter().copied(), compute);
    // One more rounding a term for a streaming form, as in softmax.
    let relative = denominator.variance / square(denominator.value) + square(compute.unit_roundoff()) * values.len() as f64;
    let logarithm = Estimate::computed(libm::log(denominator.value), relative, known).rounded_in(compute, 4.0);
    for (difference, numerator) in differences.into_iter().zip(numerators) {
        // An error of the own logit is in the difference, and this share of it in the logarithm.
        let share = numerator.value / denominator.value;
        let own = 2.0 * share * difference.variance;
        let difference = difference.rounded_in(compute, 1.0);
        let variance = (difference.variance + logarithm.variance - own).max(0.0);
        out.push(rounding.apply(Estimate::computed(difference.value - logarithm.value, variance, known), 1.0));
    }
}

/// e^x with the change that an error in x makes of it, the rounding of the shift included; minus infinity gives an exact zero.
pub(super) fn exponential(x: Estimate, compute: DType) -> Estimate {
    let value = libm::exp(x.value);
    if x.value == f64::NEG_INFINITY || !value.is_finite() {
        return Estimate::computed(value, 0.0, x.is_known());
    }
    let shifted = Estimate { variance: x.variance + square(compute.unit_roundoff() * x.value), ..x };
    Estimate::computed(value, square(value * growth(shifted.variance)), x.is_known()).rounded_in(compute, 4.0)
}

/// Deviation of e^x relative to e^x, such that [`SLACK`] times it is what SLACK deviations of x can make of it.
pub(super) fn growth(variance: f64) -> f64 {
    (SLACK * variance.sqrt()).exp_m1() / SLACK
}

/// The larger, or NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// A sum in the compute type.
pub(super) fn sum(terms: impl Iterator<Item = Estimate>, compute: DType) -> Estimate {
    let mut running = RunningSum::default();
    terms.for_each(|term| running.add(term));
    running.estimate(compute)
}

/// Running sums along rows of this width.
pub(super) fn cumulative_sum(x: &Block, width: usize, rounding: Rounding) -> Block {
    let mut out = Block::with_capacity(x.values.len());
    let mut running = RunningSum::default();
    for (at, term) in x.iter().enumerate() {
        if at % width == 0 {
            running = RunningSum::default();
        }
        running.add(term);
        out.push(running.estimate(rounding.compute).stored_as(rounding.storage));
    }
    out
}

/// Running sums of integers, modulo 2^32.
pub(super) fn cumulative_sum_of_integers(x: &Block, width: usize) -> Block {
    let mut out = Block::with_capacity(x.values.len());
    let (mut sum, mut known) = (0i32, true);
    for (at, term) in x.iter().enumerate() {
        if at % width == 0 {
            (sum, known) = (0, true);
        }
        sum = sum.wrapping_add(term.value as i32);
        known &= term.is_known();
        out.push(Estimate::computed(f64::from(sum), 0.0, known));
    }
    out
}

#[derive(Default)]
struct RunningSum {
    sum: f64,
    squares: f64,
    carried: f64,
    terms: usize,
    unknown: bool,
}

impl RunningSum {
    fn add(&mut self, term: Estimate) {
        self.sum += term.value;
        self.squares += term.value * term.value;
        self.carried += term.variance;
        self.terms += 1;
        self.unknown |= !term.is_known();
    }

    fn estimate(&self, compute: DType) -> Estimate {
        // The first term is not added to anything; exact zeros stay exact.
        let rounding = summing(self.terms.saturating_sub(1), compute.unit_roundoff(), self.sum, self.squares);
        let sum = Estimate::computed(self.sum, self.carried + rounding, !self.unknown);
        if sum.variance == 0.0 { sum.rounded_in(compute, 1.0) } else { super::products::overflowing(sum, compute) }
    }
}

/// out[indices[i]] += x[i], rounded after each addition as the sums stand in the output. Where a row may go anywhere, every row may
/// have got it.
pub(super) fn scatter_add(x: &Block, rows: &[(usize, bool)], width: usize, out: &mut Block, rounding: Rounding) {
    for (at, &(row, _)) in rows.iter().enumerate() {
        for column in 0..width {
            let (sum, term) = (out.get(row * width + column), x.get(at * width + column));
            let known = sum.is_known() && term.is_known();
            let added = Estimate::computed(sum.value + term.value, sum.variance + term.variance, known);
            out.set(row * width + column, rounding.apply(added, 1.0));
        }
    }
    if rows.iter().any(|&(_, known)| !known) {
        out.variances.fill(f64::INFINITY);
    }
}
