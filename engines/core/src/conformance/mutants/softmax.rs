//! Faults of softmax and of normalisation.

use crate::backend::{NormWeights, Operand, TransformerBackend};
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Layout;
use crate::ops::{NormKind, NormSpec, SoftmaxAlgorithm};
use crate::tensor::{View, ViewMut};

use super::{Fault, Mutant};

/// (1 + x / 1024)^1024: three digits.
pub(super) fn rough_exp(x: f64) -> f64 {
    (1.0 + x / 1024.0).max(0.0).powi(1024)
}

pub(super) fn softmax<B: TransformerBackend>(
    m: &Mutant<B>,
    algorithm: SoftmaxAlgorithm,
    x: Operand<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (width, compute) = (out.layout.dim_from_end(0), m.inner.compute());
    let by_rows = |row: &dyn Fn(&[f64]) -> Vec<f64>, out: ViewMut<'_, B::Buffer>| {
        m.replace(&x, out, |values| values.chunks(width.max(1)).flat_map(row).collect())
    };
    match m.fault {
        Some(Fault::SoftmaxIsNotShifted) => m.inner.softmax(SoftmaxAlgorithm::Naive, x, out),
        Some(Fault::SoftmaxTakesWrongAxis) if out.layout.rank() > 1 => {
            let x = match x {
                Operand::Of(x) => Operand::Of(x.transposed()?),
                Operand::InPlace => Operand::InPlace,
            };
            m.inner.softmax(algorithm, x, out.with(Layout::transposed)?)
        }
        Some(
            fault @ (Fault::HarmlessSoftmax
            | Fault::SoftmaxIsNotNormalised
            | Fault::SoftmaxDoesNotRescale
            | Fault::SoftmaxSpreadsMaskedRows
            | Fault::SoftmaxSkipsTail
            | Fault::SoftmaxTakesBaseTwo
            | Fault::SoftmaxStartsMaximumAtZero
            | Fault::SoftmaxApproximatesExp
            | Fault::SoftmaxClampsScores),
        ) => by_rows(&|row| wrong_softmax(fault, row, compute), out),
        _ => m.inner.softmax(algorithm, x, out),
    }
}

fn wrong_softmax(fault: Fault, row: &[f64], compute: DType) -> Vec<f64> {
    let first = if fault == Fault::SoftmaxStartsMaximumAtZero { 0.0 } else { f64::NEG_INFINITY };
    let score = |x: f64| if fault == Fault::SoftmaxClampsScores { x.min(80.0) } else { x };
    let largest = row.iter().map(|&x| score(x)).fold(first, f64::max);
    if row.iter().all(|&x| x == f64::NEG_INFINITY) {
        let spread = if fault == Fault::SoftmaxSpreadsMaskedRows { 1.0 / row.len() as f64 } else { 0.0 };
        return vec![spread; row.len()];
    }
    let exp = |x: f64| match fault {
        Fault::SoftmaxTakesBaseTwo => x.exp2(),
        Fault::SoftmaxApproximatesExp => rough_exp(x),
        _ => compute.round(x.exp()),
    };
    let weights: Vec<f64> = row.iter().map(|&x| exp(score(x) - largest)).collect();
    let sum: f64 = match fault {
        Fault::SoftmaxIsNotNormalised => 1.0,
        Fault::SoftmaxSkipsTail if row.len() > 8 => weights[..row.len() / 8 * 8].iter().sum(),
        Fault::SoftmaxDoesNotRescale => {
            let mut maximum = f64::MIN;
            row.iter().fold(0.0, |sum, &x| {
                maximum = maximum.max(x);
                sum + (x - maximum).exp()
            })
        }
        _ => weights.iter().sum(),
    };
    weights.into_iter().map(|weight| weight / sum).collect()
}

pub(super) fn normalize<B: TransformerBackend>(
    m: &Mutant<B>,
    mut spec: NormSpec,
    x: Operand<'_, B::Buffer>,
    mut weights: NormWeights<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    match m.fault {
        Some(Fault::NormIgnoresEpsilon) => spec.epsilon = 0.0,
        Some(Fault::NormSwapsWeights) => weights = NormWeights { gamma: weights.beta, beta: weights.gamma },
        Some(Fault::NormCentresRms) if spec.kind == NormKind::Rms => spec.kind = NormKind::Layer,
        Some(
            fault @ (Fault::HarmlessNorm
            | Fault::NormDividesByOneLess
            | Fault::NormAddsEpsilonOutside
            | Fault::NormTakesOnePass
            | Fault::NormShiftsGroups
            | Fault::NormSquaresInStorage
            | Fault::NormSkipsTail),
        ) => return wrong_normalize(m, fault, spec, &x, weights, out),
        _ => {}
    }
    m.inner.normalize(spec, x, weights, out)
}

fn wrong_normalize<B: TransformerBackend>(
    m: &Mutant<B>,
    fault: Fault,
    spec: NormSpec,
    x: &Operand<'_, B::Buffer>,
    weights: NormWeights<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let width = out.layout.dim_from_end(0).max(1);
    let get = |weight: Option<View<'_, B::Buffer>>, otherwise: f64| weight.map_or(Ok(vec![otherwise; width]), |weight| m.get(weight));
    let (gamma, beta) = (get(weights.gamma, 1.0)?, get(weights.beta, 0.0)?);
    let (storage, compute) = (m.inner.storage(), m.inner.compute());
    let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
    let part = width / groups;
    let shift = usize::from(fault == Fault::NormShiftsGroups && groups > 1);
    let row = |row: &[f64]| {
        let of_group = |group: usize| {
            let values: Vec<f64> = (0..part).map(|at| row[(group * part + at + shift) % width]).collect();
            statistics(fault, spec, &values, [storage, compute])
        };
        let statistics: Vec<(f64, f64)> = (0..groups).map(of_group).collect();
        let normal = |at: usize| {
            let (mean, deviation) = statistics[(at + width - shift) % width / part];
            (row[at] - mean) / deviation * gamma[at] + beta[at]
        };
        (0..width).map(normal).collect::<Vec<f64>>()
    };
    m.replace(x, out, |values| values.chunks(width).flat_map(row).collect())
}

/// Mean and deviation of a group, with one of them wrong.
fn statistics(fault: Fault, spec: NormSpec, values: &[f64], [storage, compute]: [DType; 2]) -> (f64, f64) {
    let seen = if fault == Fault::NormSkipsTail && values.len() > 8 { &values[..values.len() / 8 * 8] } else { values };
    let count = seen.len() as f64;
    let centres = spec.kind != NormKind::Rms;
    let mean = if centres { seen.iter().sum::<f64>() / count } else { 0.0 };
    let square =
        |x: f64| if fault == Fault::NormSquaresInStorage { storage.round((x - mean) * (x - mean)) } else { (x - mean) * (x - mean) };
    let squares: f64 = seen.iter().map(|&x| square(x)).sum();
    let variance = match fault {
        Fault::NormDividesByOneLess => squares / (count - 1.0).max(1.0),
        Fault::NormTakesOnePass if centres => {
            let sum = |terms: &mut dyn Iterator<Item = f64>| terms.fold(0.0, |sum, term| compute.round(sum + compute.round(term)));
            let mean = compute.round(sum(&mut seen.iter().copied()) / count);
            compute.round(compute.round(sum(&mut seen.iter().map(|x| x * x)) / count) - compute.round(mean * mean))
        }
        _ => squares / count,
    };
    let deviation = if fault == Fault::NormAddsEpsilonOutside { variance.sqrt() + spec.epsilon } else { (variance + spec.epsilon).sqrt() };
    (mean, deviation)
}
