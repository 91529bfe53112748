//! Softmax: against f64, and properties 8 (shifts), 9 (a distribution that keeps the order), 10 (extremes).

use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::ops::{OpSpec, SoftmaxAlgorithm};
use crate::reference::gamma;

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::place::Placed;
use super::trial::{Outcome, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let softmax = |name, check| Property { name, operation: "softmax", check };
    vec![
        softmax("softmax", against_f64),
        softmax("softmax-shift", invariant_under_shifts),
        softmax("softmax-distribution", is_a_distribution),
        softmax("softmax-extremes", extremes),
    ]
}

const ALGORITHMS: [SoftmaxAlgorithm; 3] = [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online];
const SHIFTED: [SoftmaxAlgorithm; 2] = [SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online];

/// Exact weights of a row, with the largest score taken out. Only minus infinity gives zeros.
pub(super) fn weights(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    let weights: Vec<f64> = scores.iter().map(|score| libm::exp(score - largest)).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Relative error of each weight if score j is off by `errors[j]`, before it is stored; and that of their sum.
///
/// The shift is rounded and enters the exponent. A streaming form multiplies its sum once for each new maximum: three roundings a term.
pub(super) fn relative_errors(scores: &[f64], weights: &[f64], errors: &[f64], u: f64) -> (Vec<f64>, f64) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponent = |(score, error): (&f64, &f64)| (error + 2.0 * u * (score - largest).abs()).exp_m1() + 4.0 * u;
    let numerators: Vec<f64> = scores.iter().zip(errors).map(exponent).collect();
    let seen = weights.iter().zip(&numerators).filter(|(weight, _)| **weight > 0.0);
    let sum = seen.map(|(weight, error)| weight * error).sum::<f64>() + gamma(3 * scores.len() + 4, u);
    (numerators.into_iter().zip(weights).map(|(error, weight)| if *weight > 0.0 { error + sum } else { 0.0 }).collect(), sum)
}

pub(super) fn targets(row: &[f64], [compute, out]: [DType; 2]) -> Vec<Target> {
    let weights = weights(row);
    let (relative, _) = relative_errors(row, &weights, &vec![0.0; row.len()], compute.unit_roundoff());
    let bound =
        |(&weight, relative): (&f64, &f64)| Target::within(weight, relative * weight + storing(out, weight) + compute.smallest_normal());
    weights.iter().zip(&relative).map(bound).collect()
}

fn softmax<B: TransformerBackend>(t: &mut Trial<'_, B>, algorithm: SoftmaxAlgorithm, x: &Placed<B::Buffer>) -> Outcome<(DType, Vec<f64>)> {
    let (lead, classes) = x.shape().split_at(x.shape().len() - 1);
    let operation = OpSpec::Softmax { rows: lead.iter().product(), classes: classes[0], algorithm };
    t.map(&operation, x, |engine, x, out| engine.softmax(algorithm, x, out))
}

/// Random rows, some of whose elements are masked.
pub(super) fn rows<B: TransformerBackend>(t: &mut Trial<'_, B>, least: usize, spread: f64, masks: bool) -> Outcome<Placed<B::Buffer>> {
    let [outer, rows, width] = t.source.sizes([least.min(1), least.min(1), least]);
    let shape = t.source.choose(&[vec![width], vec![rows, width], vec![outer.min(3), rows, width]]);
    let dtype = t.float_type();
    let mut values = t.source.values(Fill::Normal(spread), shape.iter().product());
    if masks {
        values.iter_mut().for_each(|value| *value = if t.source.one_in(5) { f64::NEG_INFINITY } else { *value });
    }
    t.given(dtype, &shape, &values)
}

fn against_f64<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let algorithm = t.source.choose(&ALGORITHMS);
    // The unshifted form has its range: e^24 is in every type.
    let spread = if algorithm == SoftmaxAlgorithm::Naive { 8.0 } else { t.source.choose(&[0.01, 1.0, 8.0, 100.0]) };
    let masks = t.source.one_in(3);
    let x = rows(t, 0, spread, masks)?;
    let (dtype, found) = softmax(t, algorithm, &x)?;
    let width = x.shape().last().copied().unwrap_or(1);
    let expected: Vec<Target> = x.values.chunks(width.max(1)).flat_map(|row| targets(row, [t.compute(), dtype])).collect();
    t.compare(dtype, &found, &expected)
}

/// Eighths plus a whole number: every sum is exact in every type.
fn invariant_under_shifts<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let algorithm = t.source.choose(&SHIFTED);
    let [rows, width] = t.source.sizes([1, 1]);
    let dtype = t.storage();
    let row: Vec<f64> = t.source.values(Fill::Integers(12), rows * width).iter().map(|value| value / 8.0).collect();
    let shift = t.source.choose(&[1.0, -2.0, 4.0, -8.0, 12.0]);
    let mut found = Vec::new();
    for shift in [0.0, shift] {
        let values: Vec<f64> = row.iter().map(|value| value + shift).collect();
        let x = t.given(dtype, &[rows, width], &values)?;
        found.push(softmax(t, algorithm, &x)?);
    }
    let coarser = if found[0].0 == found[1].0 { found[0].0 } else { t.storage() };
    let targets: Vec<Target> = row.chunks(width).flat_map(|row| targets(row, [t.compute(), coarser])).collect();
    t.agree(&format!("a shift by {shift}"), &found[1].1, &found[0].1, &targets)
}

fn is_a_distribution<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let algorithm = t.source.choose(&ALGORITHMS);
    let x = rows(t, 1, 3.0, false)?;
    let (dtype, found) = softmax(t, algorithm, &x)?;
    let width = x.shape().last().copied().unwrap_or(1);
    let u = t.u();
    for (row, weights) in x.values.chunks(width).zip(found.chunks(width)) {
        let sum: f64 = weights.iter().sum();
        let slack = gamma(3 * width + 8, u) + weights.iter().map(|&weight| storing(dtype, weight)).sum::<f64>();
        if weights.iter().any(|weight| !(0.0..=1.0 + slack).contains(weight)) || (sum - 1.0).abs() > slack {
            return fail(format!("weights sum to {sum} (within {slack:e} of 1 expected), or one is outside [0, 1]: {weights:?}"));
        }
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
        // Exponentials are good to a few units, so near neighbours may change places by as much.
        if let Some(pair) = order.windows(2).find(|pair| weights[pair[0]] > weights[pair[1]] * (1.0 + 8.0 * u)) {
            let [a, b] = [pair[0], pair[1]];
            return fail(format!("scores {} <= {} got weights {} > {}", row[a], row[b], weights[a], weights[b]));
        }
    }
    Ok(())
}

fn extremes<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let dtype = t.storage();
    let (largest, masked) = (dtype.largest(), f64::NEG_INFINITY);
    let tiny = 2.0 * dtype.unit_roundoff() * dtype.smallest_normal();
    let width = t.source.size(3, 65);
    let algorithm = t.source.choose(&ALGORITHMS);
    let mut cases: Vec<Vec<f64>> = vec![vec![masked], vec![tiny, -tiny, 0.0], vec![0.0, masked], vec![80.0, -80.0], vec![-80.0, masked]];
    if algorithm != SoftmaxAlgorithm::Naive {
        cases.extend([vec![88.0, -88.0], vec![89.0, 88.0], vec![-89.0, -88.0], vec![89.0], vec![-89.0], vec![-200.0, masked]]);
        cases.extend([vec![largest, -largest, 0.0], vec![-largest], vec![-largest, masked], vec![largest]]);
    }
    for pattern in cases {
        let row: Vec<f64> = (0..width).map(|at| pattern[at % pattern.len()]).collect();
        let x = t.given(dtype, &[1, width], &row)?;
        let (out, found) = softmax(t, algorithm, &x)?;
        t.compare(out, &found, &targets(&x.values, [t.compute(), out]))?;
    }
    // One plus infinity: the limit, or an honest NaN; no number that looks as if all were well.
    let at = t.source.below(width);
    let mut row = vec![0.0; width];
    row[at] = f64::INFINITY;
    let x = t.given(dtype, &[1, width], &row)?;
    let (_, found) = softmax(t, algorithm, &x)?;
    let honest = |(place, value): (usize, &f64)| value.is_nan() || *value == if place == at { 1.0 } else { 0.0 };
    if !found.iter().enumerate().all(honest) {
        return fail(format!("one infinity among zeros, at {at}, gives {found:?}"));
    }
    Ok(())
}
