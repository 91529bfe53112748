//! The provided operations: rotary positions (property 18), linear attention, gated FFN, add+norm, softmax with top-k. Cross-entropy and
//! mixtures of experts have files of their own.

use crate::activation::Activation;
use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::host::HostTensor;
use crate::ops::{LinearAttentionSpec, LinearSpec, NormSpec, OpSpec};
use crate::reference::{Arithmetic, gamma};
use crate::support::Support;
use crate::weights::HostWeight;

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::norm::{Affine, kind_and_width};
use super::trial::{Outcome, Stop, Trial, fail};
use super::{linear, norm, softmax};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "rotary", operation: "rotary", check: rotary },
        Property { name: "rotary-distance", operation: "rotary", check: rotary_distance },
        Property { name: "linear-attention", operation: "linear-attention", check: linear_attention },
        Property { name: "gated-ffn", operation: "gated-ffn", check: gated_ffn },
        Property { name: "add-norm", operation: "add-norm", check: add_norm },
        Property { name: "softmax-top-k", operation: "softmax-top-k", check: softmax_top_k },
    ]
}

/// Cosines and sines of position times frequency (Su et al., 2021, equation 15), [positions, half].
fn tables(positions: &[f64], half: usize) -> [Vec<f64>; 2] {
    let angle = |at: usize| positions[at / half] * 10_000f64.powf(-((at % half) as f64) / half as f64);
    let angles: Vec<f64> = (0..positions.len() * half).map(angle).collect();
    [angles.iter().map(|&angle| libm::cos(angle)).collect(), angles.iter().map(|&angle| libm::sin(angle)).collect()]
}

/// Runs it at these positions: the values that it read, and what it wrote in which type.
struct Rotated {
    x: Vec<f64>,
    tables: [Vec<f64>; 2],
    dtype: DType,
    found: Vec<f64>,
}

fn rotate<B: TransformerBackend>(t: &mut Trial<'_, B>, shape: &[usize], x: &[f64], positions: &[f64]) -> Outcome<Rotated> {
    let (dtype, half) = (t.storage(), shape[shape.len() - 1] / 2);
    let [cosines, sines] = tables(positions, half);
    let x = t.given(dtype, shape, x)?;
    let cosines = t.given(dtype, &[positions.len(), half], &cosines)?;
    let sines = t.given(dtype, &[positions.len(), half], &sines)?;
    let mut out = t.output(dtype, shape)?;
    let result = t.engine.rotary(x.view(), cosines.view(), sines.view(), out.view_mut(), &mut t.scratch);
    let rows = shape[..shape.len() - 1].iter().product();
    t.done(&OpSpec::Rotary { rows, width: 2 * half }, result)?;
    Ok(Rotated { found: t.read(&out)?, x: x.values, tables: [cosines.values, sines.values], dtype })
}

fn rotary<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [heads, n, half] = t.source.sizes_within([0, 1, 1], 1 << 11);
    let shape = t.source.choose(&[vec![n, 2 * half], vec![heads.min(5), n, 2 * half], vec![2, heads.min(3), n, 2 * half]]);
    let first = t.source.choose(&[0.0, 7.0, 1e4]);
    let positions: Vec<f64> = (0..n).map(|at| first + at as f64).collect();
    let x = t.source.values(Fill::Normal(2.0), shape.iter().product());
    let Rotated { x, tables: [cosines, sines], dtype, found } = rotate(t, &shape, &x, &positions)?;
    let mut targets = Vec::with_capacity(found.len());
    for at in 0..found.len() {
        let (row, channel) = (at / (2 * half), at % (2 * half));
        let (pair, entry) = (row * 2 * half + channel % half, row % n * half + channel % half);
        let (own, crossed) = if channel < half {
            (x[pair] * cosines[entry], -x[pair + half] * sines[entry])
        } else {
            (x[pair + half] * cosines[entry], x[pair] * sines[entry])
        };
        // The products may pass through memory once.
        let error =
            (2.0 * t.u() + dtype.unit_roundoff()) * (own.abs() + crossed.abs()) + dtype.smallest_normal() * dtype.unit_roundoff() * 2.0;
        targets.push(Target::within(own + crossed, error + storing(dtype, own + crossed) + 2.0 * t.compute().smallest_normal()));
    }
    t.compare(dtype, &found, &targets)?;
    for (row, (before, after)) in x.chunks(2 * half).zip(found.chunks(2 * half)).enumerate() {
        if positions[row % n] == 0.0 && before != after {
            return fail(format!("position 0 turns row {row}: {before:?} became {after:?}"));
        }
        let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
        // Two rounded products, a rounded sum, rounded tables; and the norms taken here.
        let slack = (6.0 * dtype.unit_roundoff() + (half + 4) as f64 * f64::EPSILON) * norm(before) + 1e-6 * dtype.smallest_normal();
        if (norm(before) - norm(after)).abs() > slack {
            return fail(format!("row {row} had the norm {} and has {}", norm(before), norm(after)));
        }
    }
    Ok(())
}

/// q at m times k at n depends on m - n only, wherever they are.
fn rotary_distance<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let width = 2 * t.source.size(1, 33);
    let distance = t.source.below(200) as f64;
    let rows = [0.0, 5.0, 1000.0, 1e6];
    let [q, k] = [t.source.values(Fill::Normal(1.0), width), t.source.values(Fill::Normal(1.0), width)];
    let here: Vec<f64> = rows.to_vec();
    let there: Vec<f64> = rows.iter().map(|row| row + distance).collect();
    let shape = [rows.len(), width];
    let repeated = |row: &[f64]| std::iter::repeat_n(row, rows.len()).flatten().copied().collect::<Vec<f64>>();
    let (q, k) = (rotate(t, &shape, &repeated(&q), &there)?, rotate(t, &shape, &repeated(&k), &here)?);
    let score = |row: usize| q.found[row * width..][..width].iter().zip(&k.found[row * width..]).map(|(q, k)| q * k).sum::<f64>();
    let magnitude = |values: &[f64]| values[..width].iter().map(|value| value * value).sum::<f64>().sqrt();
    // Rounded tables and outputs; and angles of a million have lost twenty bits of their fraction before the table was made.
    let allowed = magnitude(&q.x) * magnitude(&k.x) * (24.0 * t.storage().unit_roundoff() + 1e6 * f64::EPSILON);
    match (1..rows.len()).find(|&row| (score(row) - score(0)).abs() > allowed) {
        None => Ok(()),
        Some(row) => fail(format!("distance {distance}: the score is {} at 0 and {} at {}", score(0), score(row), rows[row])),
    }
}

fn linear_attention<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let work = t.options.work / 16;
    let [n, keys, features, value_dim] = t.source.sizes_within([0, 1, 1, 1], work);
    let causal = t.source.one_in(2);
    let keys = if causal { n } else { keys };
    let (batch, key_heads, group) = (1 + t.source.below(2), 1 + t.source.below(2), 1 + t.source.below(2));
    let heads = key_heads * group;
    let spec = LinearAttentionSpec { causal, epsilon: t.source.choose(&[1e-6, 0.1]), chunk: t.source.choose(&[1, 3, 16, 64]) };
    let (storage, dtype) = (t.storage(), t.float_type());
    let lead = batch * key_heads;
    let operation = OpSpec::LinearAttention { batch_heads: lead, queries: group * n, keys, features, value_dim, causal };
    if n == 0 && matches!(t.engine.supports(&operation), Support::Unsupported(_)) {
        // A composition of nothing asks for nothing that could be refused.
        return Err(Stop::Refused);
    }
    let q = t.input(storage, &[batch, heads, n, features], Fill::Positive(1.0))?;
    let k = t.input(storage, &[batch, key_heads, keys, features], Fill::Positive(1.0))?;
    let v = t.input(storage, &[batch, key_heads, keys, value_dim], Fill::Normal(1.0))?;
    let mut out = t.output(dtype, &[batch, heads, n, value_dim])?;
    let result = t.engine.linear_attention(spec, q.view(), k.view(), v.view(), out.view_mut(), &mut t.scratch);
    t.done(&operation, result)?;
    let found = t.read(&out)?;
    let u = t.u();
    let rounding = gamma(keys + features + keys.div_ceil(spec.chunk) + 8, u);
    let mut targets = Vec::with_capacity(found.len());
    for row in 0..batch * heads * n {
        let (head, query) = (row / n / group, row % n);
        let seen = if causal { query + 1 } else { keys };
        let q = &q.values[row * features..(row + 1) * features];
        let score = |key: usize| q.iter().zip(&k.values[(head * keys + key) * features..]).map(|(q, k)| q * k).sum::<f64>();
        let scores: Vec<f64> = (0..seen).map(score).collect();
        let normaliser = scores.iter().sum::<f64>() + spec.epsilon;
        for channel in 0..value_dim {
            let terms = || scores.iter().enumerate().map(|(key, &score)| (score, v.values[(head * keys + key) * value_dim + channel]));
            let magnitude: f64 = terms().map(|(score, v)| (score * v).abs()).sum();
            let value = Arithmetic::EXACT.dot(terms()) / normaliser;
            let error = rounding * (magnitude / normaliser + 2.0 * value.abs());
            targets.push(Target::within(value, error + storing(dtype, value) + t.compute().smallest_normal() / spec.epsilon));
        }
    }
    t.compare(dtype, &found, &targets)
}

fn gated_ffn<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width, hidden] = t.source.sizes_within([0, 1, 1], t.options.work / 8);
    let precision = t.engine.config().precision;
    let spec = LinearSpec { activation: t.source.choose(&Activation::ALL) };
    let (x_type, dtype) = (t.storage(), t.storage());
    let x = t.input(x_type, &[rows, width], Fill::Normal(1.0))?;
    let operation = OpSpec::GatedFfn { rows, width, hidden, activation: spec.activation };
    let mut hosts = Vec::new();
    for (outputs, inputs) in [(hidden, width), (hidden, width), (width, hidden)] {
        let values = t.source.values(Fill::Normal(1.0 / (inputs as f64).sqrt()), outputs * inputs);
        hosts.push(HostWeight::for_precision(&HostTensor::new(&[outputs, inputs], values)?, precision)?);
    }
    let prepared: crate::error::Result<Vec<B::Weight>> = hosts.iter().map(|host| t.engine.prepare_weight(host)).collect();
    let Ok(prepared) = prepared else {
        let refused = matches!(t.engine.supports(&operation), Support::Unsupported(_));
        return if refused { Err(Stop::Refused) } else { fail(format!("{operation:?} is said to be supported, but has no weights")) };
    };
    let mut out = t.output(dtype, &[rows, width])?;
    let weights = [&prepared[0], &prepared[1], &prepared[2]];
    let result = t.engine.gated_ffn(spec, x.view(), weights, out.view_mut(), &mut t.scratch);
    t.done(&operation, result)?;
    let found = t.read(&out)?;
    let [gate, up, down] = [0, 1, 2].map(|at| hosts[at].dequantized());
    let mut targets = Vec::with_capacity(found.len());
    for x in x.values.chunks(width) {
        let of = |w: &HostTensor, activation| layer(t, x, &vec![0.0; width], w, activation, x_type);
        let (gates, ups) = (of(&gate, spec.activation), of(&up, Activation::None));
        let product = |(gate, up): (&Target, &Target)| {
            let value = gate.value * up.value;
            let carried = gate.hard * up.value.abs() + up.hard * gate.value.abs() + gate.hard * up.hard;
            (value, carried + t.u() * value.abs() + storing(x_type, value))
        };
        let (values, errors): (Vec<f64>, Vec<f64>) = gates.iter().zip(&ups).map(product).unzip();
        targets.extend(layer(t, &values, &errors, &down, Activation::None, dtype));
    }
    t.compare(dtype, &found, &targets)
}

/// Outputs of a layer whose inputs are known up to `errors`; int8 activations add half a step to each.
pub(super) fn layer<B: TransformerBackend>(
    t: &Trial<'_, B>,
    x: &[f64],
    errors: &[f64],
    w: &HostTensor,
    activation: Activation,
    out: DType,
) -> Vec<Target> {
    let outputs = w.values().len() / x.len();
    biased_layer(t, x, errors, (w, &vec![0.0; outputs]), activation, out)
}

/// The same with something added to each output.
pub(super) fn biased_layer<B: TransformerBackend>(
    t: &Trial<'_, B>,
    x: &[f64],
    errors: &[f64],
    (w, bias): (&HostTensor, &[f64]),
    activation: Activation,
    out: DType,
) -> Vec<Target> {
    let largest = x.iter().zip(errors).fold(0.0f64, |largest, (x, error)| largest.max(x.abs() + error));
    let quantises = t.engine.config().precision.activation == DType::I8;
    let step = if quantises { 0.501 * largest / DType::I8.largest() } else { 0.0 };
    let doubt: Vec<f64> = errors.iter().map(|error| error + step).collect();
    let rows = w.values().chunks(x.len()).zip(bias);
    rows.map(|(w, &bias)| linear::target(x, &doubt, w, bias, activation, [t.compute(), out])).collect()
}

fn add_norm<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, width] = t.source.sizes_within([0, 1], 1 << 12);
    let (kind, width) = kind_and_width(t, width);
    let spec = NormSpec { kind, epsilon: t.source.choose(&[1e-5, 0.1]) };
    let dtype = t.storage();
    let x = t.input(dtype, &[rows, width], Fill::Normal(1.0))?;
    let residual = t.input(dtype, &[rows, width], Fill::Around(0.5))?;
    let weights = Affine::draw(t, width)?;
    let mut out = t.output(dtype, &[rows, width])?;
    let mut sum = if t.source.one_in(2) { Some(t.output(dtype, &[rows, width])?) } else { None };
    let kept = sum.as_mut().map(|sum| sum.view_mut());
    let result = t.engine.add_norm(spec, x.view(), residual.view(), weights.weights(), kept, out.view_mut());
    t.done(&OpSpec::AddNorm { rows, width, kind }, result)?;
    let sums: Vec<f64> = x.values.iter().zip(&residual.values).map(|(x, residual)| x + residual).collect();
    // The sum may be normalised as it is stored, or before it is.
    let doubts: Vec<f64> = sums.iter().map(|&sum| storing(dtype, sum) + t.u() * sum.abs()).collect();
    if let Some(sum) = &sum {
        let targets: Vec<Target> = sums.iter().zip(&doubts).map(|(&sum, &doubt)| Target::within(sum, doubt)).collect();
        let found = t.read(sum)?;
        t.compare(dtype, &found, &targets)?;
    }
    let found = t.read(&out)?;
    let parts = sums.chunks(width).zip(doubts.chunks(width));
    let targets: Vec<Target> = parts.flat_map(|(row, doubt)| norm::targets(spec, row, doubt, &weights, [t.compute(), dtype])).collect();
    t.compare(dtype, &found, &targets)
}

/// Values descend, belong to their classes, and no class that was left out is more probable than one that was not.
fn softmax_top_k<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [rows, classes] = t.source.sizes_within([0, 1], 1 << 12);
    let k = t.source.choose(&[1, 2, 5, classes]).min(classes);
    let dtype = t.storage();
    let x = t.input(dtype, &[rows, classes], Fill::Normal(3.0))?;
    let (mut values, mut indices) = (t.output(dtype, &[rows, k])?, t.output(DType::I32, &[rows, k])?);
    let result = t.engine.softmax_top_k(x.view(), values.view_mut(), indices.view_mut(), &mut t.scratch);
    t.done(&OpSpec::SoftmaxTopK { rows, classes, k }, result)?;
    let (values, indices) = (t.read(&values)?, t.read(&indices)?);
    for (row, logits) in x.values.chunks(classes).enumerate() {
        let exact = softmax::targets(logits, [t.compute(), dtype]);
        let (values, indices) = (&values[row * k..][..k], &indices[row * k..][..k]);
        let mut chosen = vec![false; classes];
        for &index in indices {
            if !(0.0..classes as f64).contains(&index) || std::mem::replace(&mut chosen[index as usize], true) {
                return fail(format!("row {row}: {indices:?} are not {k} different classes of {classes}"));
            }
        }
        let targets: Vec<Target> = indices.iter().map(|&index| exact[index as usize]).collect();
        t.compare(dtype, values, &targets)?;
        if values.windows(2).any(|pair| pair[0] < pair[1]) {
            return fail(format!("row {row}: {values:?} do not descend"));
        }
        let last = values.last().copied().unwrap_or(f64::INFINITY);
        if let Some(better) = (0..classes).find(|&class| !chosen[class] && exact[class].value - exact[class].hard > last) {
            return fail(format!("row {row}: class {better} has {}, but {last} was chosen", exact[better].value));
        }
    }
    Ok(())
}
