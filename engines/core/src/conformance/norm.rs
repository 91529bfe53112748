//! Normalisation against f64, and property 19: scale invariance, a large mean, squares that overflow f16.

use crate::backend::{NormWeights, TransformerBackend};
use crate::dtype::DType;
use crate::ops::{NormKind, NormSpec, OpSpec};
use crate::reference::{Arithmetic, gamma};

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::place::Placed;
use super::trial::{Outcome, Trial};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let norm = |name, check| Property { name, operation: "normalize", check };
    vec![norm("norm", against_f64), norm("norm-scale", scale_invariance), norm("norm-hard", large_means_and_squares)]
}

/// Scale and shift as the suite draws them.
pub(super) struct Affine<S> {
    gamma: Option<Placed<S>>,
    beta: Option<Placed<S>>,
}

impl<S> Affine<S> {
    pub(super) fn draw<B: TransformerBackend<Buffer = S>>(t: &mut Trial<'_, B>, width: usize) -> Outcome<Self> {
        let types = [t.float_type(), t.float_type()];
        let gamma = if t.source.one_in(3) { None } else { Some(t.input(types[0], &[width], Fill::Around(1.0))?) };
        let beta = if t.source.one_in(3) { None } else { Some(t.input(types[1], &[width], Fill::Normal(1.0))?) };
        Ok(Self { gamma, beta })
    }

    fn none() -> Self {
        Self { gamma: None, beta: None }
    }

    pub(super) fn weights(&self) -> NormWeights<'_, S> {
        NormWeights { gamma: self.gamma.as_ref().map(Placed::view), beta: self.beta.as_ref().map(Placed::view) }
    }
}

/// What a row should become; its elements may each be off by `doubt` already.
pub(super) fn targets<S>(spec: NormSpec, row: &[f64], doubt: &[f64], weights: &Affine<S>, [compute, out]: [DType; 2]) -> Vec<Target> {
    let groups = if let NormKind::Group { groups } = spec.kind { groups } else { 1 };
    let part = (row.len() / groups).max(1);
    let u = compute.unit_roundoff();
    let channel = |weight: &Option<Placed<S>>, at: usize, otherwise: f64| weight.as_ref().map_or(otherwise, |w| w.values[at]);
    let mut targets = Vec::with_capacity(row.len());
    for (values, doubts) in row.chunks(part).zip(doubt.chunks(part)) {
        let statistics = Statistics::of(spec, values, doubts, u);
        for (centred, error) in statistics.centred.iter().zip(&statistics.errors) {
            let at = targets.len();
            let (gamma, beta) = (channel(&weights.gamma, at, 1.0), channel(&weights.beta, at, 0.0));
            let scaled = centred / statistics.deviation;
            let scaled_error = if statistics.relative.is_finite() {
                error / statistics.deviation * (1.0 + statistics.relative) + scaled.abs() * (statistics.relative + 3.0 * u)
            } else {
                // The variance has no correct digit left: a normalised value stays below sqrt(n) all the same.
                2.0 * (part as f64).sqrt()
            };
            let value = scaled * gamma + beta;
            let rounding = 2.0 * u * ((scaled * gamma).abs() + value.abs()) + storing(out, value);
            targets.push(Target::within(value, gamma.abs() * scaled_error + rounding));
        }
    }
    targets
}

/// Of one group of channels, with the errors that its two sums may have.
struct Statistics {
    centred: Vec<f64>,
    errors: Vec<f64>,
    deviation: f64,
    /// Relative error of 1 / deviation.
    relative: f64,
}

impl Statistics {
    fn of(spec: NormSpec, values: &[f64], doubts: &[f64], u: f64) -> Self {
        let count = values.len() as f64;
        let centres = spec.kind != NormKind::Rms;
        let mean = if centres { Arithmetic::EXACT.sum(values.iter().copied()) / count } else { 0.0 };
        let magnitude: f64 = values.iter().map(|value| value.abs()).sum();
        // The rounding error of a large mean is shared by all centred values.
        let shift = if centres { (gamma(values.len() + 1, u) * magnitude + doubts.iter().sum::<f64>()) / count } else { 0.0 };
        let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
        let errors: Vec<f64> = centred.iter().zip(doubts).map(|(value, doubt)| doubt + shift + u * value.abs()).collect();
        let squares = Arithmetic::EXACT.dot(centred.iter().map(|value| (*value, *value)));
        let moved: f64 = centred.iter().zip(&errors).map(|(value, error)| 2.0 * value.abs() * error + error * error).sum();
        let variance = squares / count + spec.epsilon;
        let relative = (moved + gamma(values.len() + 2, u) * squares) / count / variance + u;
        let relative = if relative < 1.0 { (1.0 - relative).powf(-0.5) - 1.0 + 2.0 * u } else { f64::INFINITY };
        Self { centred, errors, deviation: variance.sqrt(), relative }
    }
}

/// Kind, and a width that it divides.
pub(super) fn kind_and_width<B: TransformerBackend>(t: &mut Trial<'_, B>, width: usize) -> (NormKind, usize) {
    match t.source.below(4) {
        0 | 1 => (NormKind::Layer, width),
        2 => (NormKind::Rms, width),
        _ => {
            let groups = t.source.choose(&[1, 2, 3, 4]);
            (NormKind::Group { groups }, width.div_ceil(groups) * groups)
        }
    }
}

fn normalize<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    spec: NormSpec,
    x: &Placed<B::Buffer>,
    weights: &Affine<B::Buffer>,
) -> Outcome<(DType, Vec<f64>)> {
    let (lead, width) = x.shape().split_at(x.shape().len() - 1);
    let operation = OpSpec::Normalize { rows: lead.iter().product(), width: width[0], kind: spec.kind };
    t.map(&operation, x, |engine, x, out| engine.normalize(spec, x, weights.weights(), out))
}

/// Runs it and compares row by row.
fn check<B: TransformerBackend>(t: &mut Trial<'_, B>, spec: NormSpec, x: &Placed<B::Buffer>, weights: &Affine<B::Buffer>) -> Outcome {
    let (dtype, found) = normalize(t, spec, x, weights)?;
    let width = x.shape().last().copied().unwrap_or(1).max(1);
    let doubt = vec![0.0; width];
    let rows = x.values.chunks(width);
    let expected: Vec<Target> = rows.flat_map(|row| targets(spec, row, &doubt, weights, [t.compute(), dtype])).collect();
    t.compare(dtype, &found, &expected)
}

fn against_f64<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes([0, 1]);
    let (kind, width) = kind_and_width(t, width);
    let spec = NormSpec { kind, epsilon: t.source.choose(&[1e-5, 1e-2, 0.5]) };
    let shape = t.source.choose(&[vec![width], vec![rows, width], vec![2, rows.min(9), width]]);
    let (dtype, deviation) = (t.float_type(), t.source.choose(&[0.1, 1.0, 30.0]));
    let mean = t.source.choose(&[0.0, 2.0]);
    let mut values = t.source.values(Fill::Around(0.0), shape.iter().product());
    values.iter_mut().for_each(|value| *value = mean + deviation * *value);
    let x = t.given(dtype, &shape, &values)?;
    let weights = Affine::draw(t, width)?;
    check(t, spec, &x, &weights)
}

/// Without epsilon, a factor that is a power of two changes nothing.
fn scale_invariance<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes([1, 7]);
    let (kind, width) = kind_and_width(t, width);
    let width = if width < 7 { 8 } else { width };
    let spec = NormSpec { kind: if matches!(kind, NormKind::Group { .. }) { NormKind::Group { groups: 1 } } else { kind }, epsilon: 0.0 };
    let factor = t.source.choose(&[0.25, 2.0, 32.0]);
    let values = t.source.values(Fill::Normal(2.0), rows * width);
    let mut found = Vec::new();
    for factor in [1.0, factor] {
        let scaled: Vec<f64> = values.iter().map(|value| factor * t.storage().round(*value)).collect();
        let x = t.given(t.storage(), &[rows, width], &scaled)?;
        found.push(normalize(t, spec, &x, &Affine::none())?.1);
    }
    let (doubt, types) = (vec![0.0; width], [t.compute(), t.storage()]);
    let rounded: Vec<f64> = values.iter().map(|value| t.storage().round(*value)).collect();
    let targets: Vec<Target> =
        rounded.chunks(width).flat_map(|row| targets(spec, row, &doubt, &Affine::<B::Buffer>::none(), types)).collect();
    t.agree(&format!("a factor of {factor}"), &found[1], &found[0], &targets)
}

/// 1e4 + N(0, 1), whose variance a one-pass form loses, and values whose squares are beyond f16.
fn large_means_and_squares<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes([1, 7]);
    let (kind, width) = kind_and_width(t, width);
    let spec = NormSpec { kind, epsilon: 1e-5 };
    let values = if t.source.one_in(2) {
        t.source.values(Fill::Around(1e4), rows * width)
    } else {
        t.source.values(Fill::Normal(2000.0), rows * width)
    };
    let x = t.given(t.storage(), &[rows, width], &values)?;
    let weights = Affine::draw(t, width)?;
    check(t, spec, &x, &weights)
}
