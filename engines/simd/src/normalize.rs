//! Layer, RMS and group normalisation over rows.
//!
//! The variance is the mean of squared differences from the mean, in a second pass: the one-pass form mean(x^2) - mean(x)^2 cancels
//! when the mean is large. Then (x - mean) / sqrt(variance + eps) * gamma + beta, rounded once.

use crossover_core::backend::{NormWeights, Operand};
use crossover_core::ops::{NormKind, NormSpec};
use crossover_core::tensor::ViewMut;

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::walk::{Row, RowMut, for_each_row, rows_of};

/// Number of groups already checked to divide the width.
pub(crate) fn normalize<R: Real>(
    spec: NormSpec,
    x: &Operand<'_, SimdBuffer>,
    weights: NormWeights<'_, SimdBuffer>,
    out: ViewMut<'_, SimdBuffer>,
) {
    let [gamma, beta] = [weights.gamma, weights.beta].map(|weight| weight.and_then(|view| rows_of(&view).next()));
    for_each_row(x, out, |mut row| {
        let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
        let width = row.width() / groups;
        for group in 0..groups {
            let [gamma, beta] = [gamma, beta].map(|weight| weight.map(|row| row.part(group * width, width)));
            normalize_part::<R>(spec, row.part(group * width, width), gamma, beta);
        }
    });
}

fn normalize_part<R: Real>(spec: NormSpec, mut part: RowMut<'_>, gamma: Option<Row<'_>>, beta: Option<Row<'_>>) {
    let count = R::from_f64(part.width() as f64);
    let mean = match spec.kind {
        NormKind::Layer | NormKind::Group { .. } => part.source().fold(R::ZERO, |sum, x: R| sum + x) / count,
        NormKind::Rms => R::ZERO,
    };
    let square = |x: R| (x - mean) * (x - mean);
    let variance = part.source().fold(R::ZERO, |sum, x| sum + square(x)) / count;
    let deviation = (variance + R::from_f64(spec.epsilon)).sqrt();
    let normal = |x: R| (x - mean) / deviation;
    match (gamma, beta) {
        (None, None) => part.map([], |x, []| normal(x)),
        (Some(gamma), None) => part.map([gamma], |x, [gamma]| normal(x) * gamma),
        (None, Some(beta)) => part.map([beta], |x, [beta]| normal(x) + beta),
        (Some(gamma), Some(beta)) => part.map([gamma, beta], |x, [gamma, beta]| normal(x) * gamma + beta),
    }
}
