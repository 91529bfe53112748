//! Faults of attention: some change what the engine is asked for, the others compute on the host, a tile of keys at a time.

use crate::arena::Arena;
use crate::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crate::check::{self, AttentionSizes};
use crate::compose;
use crate::dtype::DType;
use crate::error::Result;
use crate::operands::Types;
use crate::ops::AttentionSpec;
use crate::pattern::{AttentionPattern, TileState};

use super::{Fault, Mutant};

/// Keys that the host handles together.
const TILE: usize = 16;

pub(super) fn attention<B: TransformerBackend>(
    m: &Mutant<B>,
    fault: Fault,
    spec: &AttentionSpec,
    mut operands: AttentionOperands<'_, B::Buffer>,
    mut outputs: AttentionOutputs<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let mut spec = spec.clone();
    let sizes = check::attention(&operands, &outputs)?;
    // Also where the rest is done on the host.
    match Types::of(m.inner.config().precision).attention(&spec, sizes, &operands, &outputs) {
        Err(_) if fault == Fault::PositionsWrap && check::positions("attention", spec.query_offset, sizes.queries).is_err() => {
            return Ok(());
        }
        checked => checked?,
    }
    match (fault, spec.pattern.clone()) {
        (Fault::AttentionDropsPattern, _) => spec.pattern = AttentionPattern::Full,
        (Fault::AttentionCausalSeesNext, AttentionPattern::Causal) => {
            spec.pattern = AttentionPattern::Window { left: usize::MAX, right: 1 };
        }
        (Fault::AttentionWindowLeftOff, AttentionPattern::Window { left, right }) => {
            spec.pattern = AttentionPattern::Window { left: left + 1, right };
        }
        (Fault::AttentionWindowRightOff, AttentionPattern::Window { left, right }) if right > 0 => {
            spec.pattern = AttentionPattern::Window { left, right: right - 1 };
        }
        (Fault::AttentionForgetsScale, _) => spec.scale = 1.0,
        (Fault::AttentionSquaresScale, _) => spec.scale *= spec.scale,
        (Fault::AttentionIgnoresSoftCap, _) => spec.soft_cap = None,
        (Fault::AttentionIgnoresKeyMask, _) => operands.key_mask = None,
        (Fault::AttentionReusesKeyMask, _) => {
            let first =
                |mask: crate::tensor::View<'_, B::Buffer>| mask.layout.narrow(0, 0, mask.shape()[0].min(1))?.broadcast(mask.shape());
            if let Some(mask) = &mut operands.key_mask {
                mask.layout = first(*mask)?;
            }
        }
        (Fault::AttentionIgnoresOffset, _) => spec.query_offset = 0,
        (Fault::AttentionIgnoresBias, _) => operands.bias = ScoreBias::None,
        (Fault::AttentionSkipsLastChannel, _) if outputs.out.shape()[3] % 4 != 0 => {
            let channels = outputs.out.shape()[3] - 1;
            operands.v = operands.v.narrow(3, 0, channels)?;
            outputs.out = outputs.out.narrow(3, 0, channels)?;
        }
        (Fault::HarmlessComposition, _) => return compose::attention::streamed(m, &spec, operands, outputs, scratch),
        (Fault::ArenaLeaks, _) => drop(scratch.take(&m.inner, m.inner.compute(), &[1])?),
        (Fault::AttentionTrustsScratch, _) => return trusting_scratch(m, &spec, operands, outputs, scratch),
        (
            Fault::HarmlessAttention
            | Fault::AttentionCausalIsStrict
            | Fault::AttentionMasksBeforeSoftCap
            | Fault::AttentionCapsBias
            | Fault::AttentionMixesHeads
            | Fault::AttentionLogsWithoutMaximum
            | Fault::AttentionLogsToBaseTwo
            | Fault::AttentionScalesBias
            | Fault::AttentionShiftsDistance
            | Fault::AttentionEndsDistance
            | Fault::AttentionSkipsLastKey
            | Fault::AttentionKeepsOldOutput
            | Fault::AttentionKeepsOldSum
            | Fault::AttentionSpreadsMaskedRows
            | Fault::AttentionScoresInF16
            | Fault::AttentionSkipsPartialTiles
            | Fault::AttentionFillsPartialTiles
            | Fault::AttentionKeepsStaleKeys,
            _,
        ) => return Host::of(m, fault, spec, operands, &outputs)?.write(m, outputs),
        _ => {}
    }
    m.inner.attention(&spec, operands, outputs, scratch)
}

/// Adds what stands in scratch that nobody has written.
fn trusting_scratch<B: TransformerBackend>(
    m: &Mutant<B>,
    spec: &AttentionSpec,
    operands: AttentionOperands<'_, B::Buffer>,
    AttentionOutputs { mut out, log_sum_exp }: AttentionOutputs<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    m.inner.attention(spec, operands, AttentionOutputs { out: out.reborrow(), log_sum_exp }, scratch)?;
    let stale = scratch.take(&m.inner, out.dtype(), out.shape())?;
    let added = m.get(stale.view())?;
    scratch.give(stale);
    m.spoil(out, |_| Ok(()), |_, after| after.iter_mut().zip(&added).for_each(|(out, stale)| *out += stale))
}

/// Everything on the host.
struct Host {
    fault: Fault,
    spec: AttentionSpec,
    sizes: AttentionSizes,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    by_pair: Option<Vec<f64>>,
    by_distance: Option<Vec<f64>>,
    mask: Option<Vec<f64>>,
}

impl Host {
    fn of<B: TransformerBackend>(
        m: &Mutant<B>,
        fault: Fault,
        spec: AttentionSpec,
        operands: AttentionOperands<'_, B::Buffer>,
        outputs: &AttentionOutputs<'_, B::Buffer>,
    ) -> Result<Self> {
        let sizes = check::attention(&operands, outputs)?;
        let AttentionSizes { batch, heads, queries, keys, .. } = sizes;
        let by_pair = match operands.bias {
            ScoreBias::ByPair(bias) => Some(m.get(bias.with(|layout| layout.broadcast(&[batch, heads, queries, keys]))?)?),
            _ => None,
        };
        let by_distance = match operands.bias {
            ScoreBias::ByDistance(table) => Some(m.get(table)?),
            _ => None,
        };
        let mut k = m.get(operands.k)?;
        if fault == Fault::AttentionKeepsStaleKeys {
            let mut memory = m.memory.borrow_mut();
            if memory.len() == k.len() {
                k.clone_from(&memory);
            } else {
                memory.clone_from(&k);
            }
        }
        let mask = operands.key_mask.map(|mask| m.get(mask)).transpose()?;
        Ok(Self { fault, spec, sizes, q: m.get(operands.q)?, k, v: m.get(operands.v)?, by_pair, by_distance, mask })
    }

    fn write<B: TransformerBackend>(&self, m: &Mutant<B>, outputs: AttentionOutputs<'_, B::Buffer>) -> Result<()> {
        let AttentionSizes { batch, heads, queries, .. } = self.sizes;
        let (mut out, mut logs) = (Vec::new(), Vec::new());
        for row in 0..batch * heads * queries {
            let (values, log) = self.row(row / (heads * queries), row / queries % heads, row % queries);
            out.extend(values);
            logs.push(log);
        }
        m.put(out, outputs.out)?;
        outputs.log_sum_exp.map_or(Ok(()), |target| m.put(logs, target))
    }

    /// The first key row of a head.
    fn first_key(&self, batch: usize, head: usize) -> usize {
        let AttentionSizes { heads, key_heads, keys, .. } = self.sizes;
        let own = if self.fault == Fault::AttentionMixesHeads { head % key_heads } else { head / (heads / key_heads) };
        (batch * key_heads + own) * keys
    }

    fn row(&self, batch: usize, head: usize, query: usize) -> (Vec<f64>, f64) {
        let AttentionSizes { keys, value_dim, .. } = self.sizes;
        let keys = if self.fault == Fault::AttentionSkipsLastKey && keys % 8 != 0 { keys - 1 } else { keys };
        let (mut maximum, mut sum, mut output) = (f64::MIN, 0.0, vec![0.0; value_dim]);
        for start in (0..keys).step_by(TILE) {
            let tile = start..keys.min(start + TILE);
            let scores: Vec<f64> = tile.clone().map(|key| self.score([batch, head, query, key], tile.clone())).collect();
            let next = scores.iter().copied().fold(maximum, f64::max);
            let shrink = (maximum - next).exp();
            maximum = next;
            if self.fault != Fault::AttentionKeepsOldSum {
                sum *= shrink;
            }
            if self.fault != Fault::AttentionKeepsOldOutput {
                output.iter_mut().for_each(|out| *out *= shrink);
            }
            for (key, score) in tile.zip(scores).filter(|(_, score)| *score > f64::NEG_INFINITY) {
                let weight = (score - maximum).exp();
                sum += weight;
                let v = (self.first_key(batch, head) + key) * value_dim;
                output.iter_mut().zip(&self.v[v..]).for_each(|(out, v)| *out += weight * v);
            }
        }
        let divisor = if sum == 0.0 { 1.0 } else { sum };
        output.iter_mut().for_each(|out| *out /= divisor);
        let logs = match self.fault {
            Fault::AttentionLogsWithoutMaximum => sum.ln(),
            Fault::AttentionLogsToBaseTwo => (maximum + sum.ln()) * std::f64::consts::LOG2_E,
            _ => maximum + sum.ln(),
        };
        (output, if sum == 0.0 { f64::NEG_INFINITY } else { logs })
    }

    fn score(&self, [batch, head, query, key]: [usize; 4], tile: std::ops::Range<usize>) -> f64 {
        let AttentionSizes { heads, queries, head_dim, .. } = self.sizes;
        let q = &self.q[((batch * heads + head) * queries + query) * head_dim..][..head_dim];
        let k = &self.k[(self.first_key(batch, head) + key) * head_dim..];
        let product: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
        let bias = self.bias([batch, head, query, key]);
        let mut scaled = self.spec.scale * product;
        let visible = self.visible([batch, query, key], tile);
        if self.fault == Fault::AttentionMasksBeforeSoftCap && !visible {
            scaled = f64::NEG_INFINITY;
        }
        if self.fault == Fault::AttentionScoresInF16 {
            scaled = DType::F16.round(scaled);
        }
        let cap = |score: f64| self.spec.soft_cap.map_or(score, |cap| cap * (score / cap).tanh());
        let score = match self.fault {
            Fault::AttentionScalesBias => cap(scaled) + self.spec.scale * bias,
            Fault::AttentionCapsBias => cap(scaled + bias),
            _ => cap(scaled) + bias,
        };
        match self.fault {
            Fault::AttentionMasksBeforeSoftCap => score,
            // Low enough to vanish beside anything, but not alone.
            Fault::AttentionSpreadsMaskedRows if !visible => -1e4,
            _ if visible => score,
            _ => f64::NEG_INFINITY,
        }
    }

    fn visible(&self, [batch, query, key]: [usize; 3], tile: std::ops::Range<usize>) -> bool {
        let permitted = self.mask.as_ref().is_none_or(|mask| mask[batch * self.sizes.keys + key] != 0.0);
        let position = self.spec.query_offset + query;
        let partial = || self.spec.pattern.tile(position..position + 1, tile) == TileState::Partial;
        let allowed = match self.fault {
            Fault::AttentionCausalIsStrict if self.spec.pattern == AttentionPattern::Causal => key < position,
            Fault::AttentionSkipsPartialTiles => self.spec.pattern.allows(position, key) && !partial(),
            Fault::AttentionFillsPartialTiles => self.spec.pattern.allows(position, key) || partial(),
            _ => self.spec.pattern.allows(position, key),
        };
        permitted && allowed
    }

    fn bias(&self, [batch, head, query, key]: [usize; 4]) -> f64 {
        let AttentionSizes { heads, queries, keys, .. } = self.sizes;
        let by_pair = self.by_pair.as_ref().map(|bias| bias[((batch * heads + head) * queries + query) * keys + key]);
        let by_distance = self.by_distance.as_ref().map(|table| {
            let span = table.len() / heads;
            let shift = i64::from(self.fault == Fault::AttentionShiftsDistance);
            let entry = key as i64 - (self.spec.query_offset + query) as i64 + (span / 2) as i64 + shift;
            let inside = (0..span as i64).contains(&entry);
            let ends = self.fault == Fault::AttentionEndsDistance && !inside;
            if ends { 0.0 } else { table[head * span + entry.clamp(0, span as i64 - 1) as usize] }
        });
        by_pair.or(by_distance).unwrap_or(0.0)
    }
}
