//! Faults of the provided operations.

use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{NormWeights, Operand, PreparedWeight, TransformerBackend};
use crate::check;
use crate::error::{EngineError, Result};
use crate::ops::{LinearAttentionSpec, LinearSpec, NormSpec, UnaryOp};
use crate::tensor::{View, ViewMut};

use super::{Fault, Mutant};

pub(super) fn linear_attention<B: TransformerBackend>(
    m: &Mutant<B>,
    fault: Fault,
    mut spec: LinearAttentionSpec,
    [q, k, v]: [View<'_, B::Buffer>; 3],
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    match fault {
        Fault::LinearAttentionIsNotCausal => spec.causal = false,
        Fault::LinearAttentionIgnoresEpsilon => spec.epsilon = 0.0,
        Fault::LinearAttentionIsStrict | Fault::LinearAttentionIsNotNormalised => {
            let (n, keys, features, width) = (q.shape()[2], k.shape()[2], q.shape()[3], v.shape()[3]);
            let group = q.shape()[1] / k.shape()[1].max(1);
            let (q, k, v) = (m.get(q)?, m.get(k)?, m.get(v)?);
            let mut values = Vec::with_capacity(out.layout.len());
            for row in 0..out.layout.len() / width.max(1) {
                let (head, query) = (row / n / group, row % n);
                let strict = usize::from(fault == Fault::LinearAttentionIsStrict);
                let seen = if spec.causal { query + 1 - strict } else { keys };
                let score = |key: usize| (0..features).map(|f| q[row * features + f] * k[(head * keys + key) * features + f]).sum::<f64>();
                let scores: Vec<f64> = (0..seen).map(score).collect();
                let normaliser = if strict == 1 { scores.iter().sum::<f64>() + spec.epsilon } else { 1.0 };
                let channel = |channel: usize| {
                    let terms = scores.iter().enumerate().map(|(key, score)| score * v[(head * keys + key) * width + channel]);
                    terms.sum::<f64>() / normaliser
                };
                values.extend((0..width).map(channel));
            }
            return m.put(values, out);
        }
        _ => {}
    }
    m.inner.linear_attention(spec, q, k, v, out, scratch)
}

pub(super) fn add_norm<B: TransformerBackend>(
    m: &Mutant<B>,
    spec: NormSpec,
    [x, residual]: [View<'_, B::Buffer>; 2],
    weights: NormWeights<'_, B::Buffer>,
    sum: Option<ViewMut<'_, B::Buffer>>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    match (m.fault, sum) {
        (Some(Fault::AddNormDropsResidual), sum) => {
            if let Some(sum) = sum {
                m.inner.copy(x, sum)?;
            }
            m.inner.normalize(spec, Operand::Of(x), weights, out)
        }
        (Some(Fault::AddNormKeepsWrongSum), Some(sum)) => {
            m.inner.add_norm(spec, x, residual, weights, None, out)?;
            m.inner.copy(x, sum)
        }
        (_, sum) => m.inner.add_norm(spec, x, residual, weights, sum, out),
    }
}

pub(super) fn softmax_top_k<B: TransformerBackend>(
    m: &Mutant<B>,
    x: View<'_, B::Buffer>,
    mut values: ViewMut<'_, B::Buffer>,
    indices: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let k = values.layout.dim_from_end(0).max(1);
    match m.fault {
        Some(Fault::SoftmaxTopKReturnsLogits) => m.inner.top_k(x, values, indices),
        Some(Fault::SoftmaxTopKNormalisesTheChosen) => {
            m.inner.softmax_top_k(x, values.reborrow(), indices, scratch)?;
            m.spoil(
                values,
                |_| Ok(()),
                |_, after| {
                    for row in after.chunks_mut(k) {
                        let sum: f64 = row.iter().sum();
                        row.iter_mut().for_each(|value| *value /= sum);
                    }
                },
            )
        }
        _ => m.inner.softmax_top_k(x, values, indices, scratch),
    }
}

pub(super) fn cross_entropy<B: TransformerBackend>(
    m: &Mutant<B>,
    [x, targets]: [View<'_, B::Buffer>; 2],
    tiles: &[B::Weight],
    mut logits: ViewMut<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let Some(fault) = m.fault.filter(|fault| fault.operation() == "cross-entropy") else {
        return m.inner.cross_entropy(x, tiles, targets, logits, out, scratch);
    };
    let classes: usize = tiles.iter().map(PreparedWeight::outputs).sum();
    if fault != Fault::CrossEntropyTakesAnyLogits {
        check::of_type("cross-entropy", m.inner.compute(), logits.dtype())?;
    }
    let targets = m.get(targets)?;
    let is_word = |target: f64| (0.0..classes as f64).contains(&target);
    if let Some(position) = targets.iter().position(|&target| !is_word(target)).filter(|_| fault != Fault::CrossEntropyTakesAnyTarget) {
        return Err(EngineError::Index { operation: "cross-entropy", index: targets[position] as i64, position, bound: classes });
    }
    let next = usize::from(fault == Fault::CrossEntropyTakesNextWord);
    // Maximum, sum and the target's logit of each row.
    let mut states = vec![(f64::MIN, 0.0, 0.0); targets.len()];
    let (mut start, last) = (0, logits.layout.rank().saturating_sub(1));
    for (at, tile) in tiles.iter().enumerate() {
        let words = tile.outputs();
        let mut part = logits.reborrow().narrow(last, 0, words)?;
        m.inner.linear(LinearSpec { activation: Activation::None }, x, tile, None, part.reborrow())?;
        let counts = fault != Fault::CrossEntropySkipsLastTile || at == 0 || at + 1 < tiles.len();
        let rows = m.get(part.as_view())?;
        for (row, ((maximum, sum, picked), &target)) in rows.chunks(words).zip(states.iter_mut().zip(&targets)) {
            let largest = row.iter().copied().fold(*maximum, f64::max);
            let rescaling = if fault == Fault::CrossEntropyDoesNotRescale { 1.0 } else { (*maximum - largest).exp() };
            if counts {
                *sum = *sum * rescaling + row.iter().map(|logit| (logit - largest).exp()).sum::<f64>();
                *maximum = largest;
            }
            let word = (target as usize + next) % classes;
            let own = if fault == Fault::CrossEntropyCountsFromEachTile { word } else { word.wrapping_sub(start) };
            *picked = row.get(own).copied().unwrap_or(*picked);
        }
        start += words;
    }
    let shift = if fault == Fault::CrossEntropyForgetsMaximum { 0.0 } else { 1.0 };
    m.put(states.into_iter().map(|(maximum, sum, picked)| sum.ln() + shift * maximum - picked).collect(), out)
}

pub(super) fn rotary<B: TransformerBackend>(
    m: &Mutant<B>,
    x: View<'_, B::Buffer>,
    [cosines, sines]: [View<'_, B::Buffer>; 2],
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let dtype = x.dtype();
    match m.fault {
        Some(Fault::RotaryTurnsBackwards) => {
            let mut negated = m.inner.tensor(dtype, sines.shape())?;
            m.inner.unary(UnaryOp::Negate, Operand::Of(sines), negated.view_mut())?;
            m.inner.rotary(x, cosines, negated.view(), out, scratch)
        }
        Some(Fault::RotaryIsOffByOne) if cosines.shape()[0] > 1 => {
            // The tables of rows 1, 2, .. and, for want of another, the first at the end.
            let shifted = |table: View<'_, B::Buffer>| {
                let mut values = m.get(table)?;
                values.rotate_left(table.shape()[1]);
                m.inner.upload(&crate::host::HostTensor::new(table.shape(), values)?, dtype)
            };
            let (cosines, sines) = (shifted(cosines)?, shifted(sines)?);
            m.inner.rotary(x, cosines.view(), sines.view(), out, scratch)
        }
        Some(Fault::RotaryInterleaves) => {
            let (width, rows) = (x.layout.dim_from_end(0), cosines.shape()[0]);
            let (cosines, sines, half) = (m.get(cosines)?, m.get(sines)?, width / 2);
            m.replace(&Operand::Of(x), out, |x| {
                let element = |at: usize| {
                    let (row, channel) = (at / width, at % width);
                    let entry = row % rows * half + channel / 2;
                    let (first, second) = (x[row * width + channel / 2 * 2], x[row * width + channel / 2 * 2 + 1]);
                    let (own, other) = if channel % 2 == 0 { (first, -second) } else { (second, first) };
                    own * cosines[entry] + other * sines[entry]
                };
                (0..x.len()).map(element).collect()
            })
        }
        _ => m.inner.rotary(x, cosines, sines, out, scratch),
    }
}
