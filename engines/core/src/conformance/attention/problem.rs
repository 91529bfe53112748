//! One attention call on the host: operands that can be changed and run again, and the exact answer with its tolerance.

use crate::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crate::check::AttentionSizes;
use crate::compose;
use crate::dtype::DType;
use crate::layout::Layout;
use crate::ops::{AttentionSpec, OpSpec};
use crate::pattern::AttentionPattern;
use crate::reference::{Arithmetic, gamma};

use super::super::cases::Fill;
use super::super::compare::{Target, storing};
use super::super::place::Placed;
use super::super::softmax::{relative_errors, weights};
use super::super::trial::{Outcome, Trial};

/// What a drawn problem may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    pub(super) patterns: bool,
    pub(super) masks: bool,
    pub(super) biases: bool,
}

impl Features {
    pub(super) const ALL: Self = Self { patterns: true, masks: true, biases: true };
    /// Every key is seen by every query, and by what it holds alone.
    pub(super) const PLAIN: Self = Self { patterns: false, masks: false, biases: false };
}

/// What is added to the scores; values in row-major order.
#[derive(Debug, Clone)]
pub(super) enum Bias {
    None,
    /// Of this shape, which broadcasts to [batch, heads, queries, keys].
    ByPair(Vec<usize>, Vec<f64>),
    /// [heads, 2 reach + 1].
    ByDistance(usize, Vec<f64>),
}

/// See the module. Values are rounded as they stand in memory.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) sizes: AttentionSizes,
    pub(super) spec: AttentionSpec,
    pub(super) q: Vec<f64>,
    pub(super) k: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) bias: Bias,
    /// [batch, keys].
    pub(super) key_mask: Option<Vec<f64>>,
    pub(super) out_type: DType,
    /// Two runs place their operands alike: one kernel may follow another order of sums for another layout.
    pub(super) layouts: u64,
}

/// What a call wrote.
pub(super) struct Found {
    pub(super) dtype: DType,
    pub(super) out: Vec<f64>,
    pub(super) log_sum_exp: Vec<f64>,
}

/// What it should have written.
pub(super) struct Exact {
    pub(super) out: Vec<Target>,
    pub(super) log_sum_exp: Vec<Target>,
    /// The largest magnitude of a score that is not masked.
    pub(super) largest_score: f64,
}

/// Output and log-sum-exp.
type Written<B> = [Placed<<B as TransformerBackend>::Buffer>; 2];

impl Problem {
    pub(super) fn draw<B: TransformerBackend>(t: &mut Trial<'_, B>, features: Features) -> Self {
        let work = t.options.work / 16;
        let [queries, keys, head_dim, value_dim] = t.source.sizes_within([0, 0, 0, 0], work);
        // Widths matter less than lengths, and a head narrower than 2 is no head.
        Self::of_sizes(t, features, [queries, keys, head_dim.min(65), value_dim.min(65)])
    }

    /// With at least one key and one query.
    pub(super) fn draw_filled<B: TransformerBackend>(t: &mut Trial<'_, B>, features: Features) -> Self {
        let work = t.options.work / 16;
        let sizes = t.source.sizes_within([1, 2, 1, 1], work);
        Self::of_sizes(t, features, sizes)
    }

    pub(super) fn of_sizes<B: TransformerBackend>(
        t: &mut Trial<'_, B>,
        features: Features,
        [queries, keys, head_dim, value_dim]: [usize; 4],
    ) -> Self {
        let (batch, key_heads, group) = (1 + t.source.below(2), 1 + t.source.below(2), t.source.choose(&[1, 1, 2, 3]));
        let sizes = AttentionSizes { batch, heads: key_heads * group, key_heads, queries, keys, head_dim, value_dim };
        let storage = t.storage();
        let mut draw = |count, spread| t.source.values(Fill::Normal(spread), count).iter().map(|v| storage.round(*v)).collect::<Vec<f64>>();
        let q = draw(batch * sizes.heads * queries * head_dim, 1.5);
        let k = draw(batch * key_heads * keys * head_dim, 1.5);
        let v = draw(batch * key_heads * keys * value_dim, 1.0);
        let scale = t.source.choose(&[1.0, 1.0, 0.3]) / (head_dim.max(1) as f64).sqrt();
        let soft_cap = if t.source.one_in(3) { Some(t.source.choose(&[1.0, 3.0])) } else { None };
        let query_offset = if features.patterns && t.source.one_in(2) { t.source.below(70) } else { 0 };
        let pattern = if features.patterns { t.source.pattern() } else { AttentionPattern::Full };
        let spec = AttentionSpec { pattern, scale, soft_cap, query_offset };
        let bias = if features.biases { Self::draw_bias(t, sizes) } else { Bias::None };
        let key_mask = if features.masks && t.source.one_in(2) { Some(Self::draw_mask(t, sizes)) } else { None };
        let (out_type, layouts) = (t.float_type(), t.source.seed());
        Self { sizes, spec, q, k, v, bias, key_mask, out_type, layouts }
    }

    fn draw_bias<B: TransformerBackend>(t: &mut Trial<'_, B>, sizes: AttentionSizes) -> Bias {
        let AttentionSizes { batch, heads, queries, keys, .. } = sizes;
        let storage = t.storage();
        let draw = |t: &mut Trial<'_, B>, count: usize| {
            t.source.values(Fill::Normal(1.0), count).iter().map(|v| storage.round(*v)).collect::<Vec<f64>>()
        };
        match t.source.below(6) {
            0 | 1 => {
                let reach = t.source.choose(&[0, 1, 5, 40]);
                Bias::ByDistance(reach, draw(t, heads * (2 * reach + 1)))
            }
            2 => {
                let all =
                    [vec![batch, heads, queries, keys], vec![heads, 1, keys], vec![queries, keys], vec![keys], vec![batch, 1, queries, 1]];
                let shape = t.source.choose(&all);
                let mut values = draw(t, shape.iter().product());
                if t.source.one_in(4) {
                    values.iter_mut().for_each(|value| *value = if t.source.one_in(4) { f64::NEG_INFINITY } else { *value });
                }
                Bias::ByPair(shape, values)
            }
            _ => Bias::None,
        }
    }

    /// Some keys masked, or all of a batch.
    fn draw_mask<B: TransformerBackend>(t: &mut Trial<'_, B>, sizes: AttentionSizes) -> Vec<f64> {
        let often = t.source.choose(&[1, 2, 4]);
        let mut mask: Vec<f64> = (0..sizes.batch * sizes.keys).map(|_| f64::from(!t.source.one_in(often.max(2)))).collect();
        if often == 1 {
            mask[..sizes.keys].fill(0.0);
        }
        mask
    }

    pub(super) fn operation(&self) -> OpSpec {
        let AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = self.sizes;
        let pairs = self.spec.pattern.visible_pairs(self.spec.query_offset, queries, keys);
        OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries, keys, pairs }
    }

    pub(super) fn run<B: TransformerBackend>(&self, t: &mut Trial<'_, B>) -> Outcome<Found> {
        self.run_by(t, |t, operands, outputs| t.engine.attention(&self.spec, operands, outputs, &mut t.scratch))
    }

    /// The answer alone, with queries of this type: of a call that must be refused.
    pub(super) fn answer<B: TransformerBackend>(&self, t: &mut Trial<'_, B>, q_type: DType) -> Outcome<crate::error::Result<()>> {
        let (result, written) =
            self.called(t, q_type, |t, operands, outputs| t.engine.attention(&self.spec, operands, outputs, &mut t.scratch))?;
        written.iter().try_for_each(|placed| t.read(placed).map(drop))?;
        Ok(result)
    }

    /// By the engine's primitives, whatever it has of its own.
    pub(super) fn run_composed<B: TransformerBackend>(&self, t: &mut Trial<'_, B>) -> Outcome<Found> {
        self.run_by(t, |t, operands, outputs| compose::attention::streamed(t.engine, &self.spec, operands, outputs, &mut t.scratch))
    }

    fn run_by<B: TransformerBackend>(
        &self,
        t: &mut Trial<'_, B>,
        call: impl FnOnce(&mut Trial<'_, B>, AttentionOperands<'_, B::Buffer>, AttentionOutputs<'_, B::Buffer>) -> crate::error::Result<()>,
    ) -> Outcome<Found> {
        let storage = t.storage();
        let (result, [out, logs]) = self.called(t, storage, call)?;
        t.done(&self.operation(), result)?;
        Ok(Found { dtype: self.out_type, out: t.read(&out)?, log_sum_exp: t.read(&logs)? })
    }

    /// What a call answers, and its output and log-sum-exp.
    fn called<B: TransformerBackend>(
        &self,
        t: &mut Trial<'_, B>,
        q_type: DType,
        call: impl FnOnce(&mut Trial<'_, B>, AttentionOperands<'_, B::Buffer>, AttentionOutputs<'_, B::Buffer>) -> crate::error::Result<()>,
    ) -> Outcome<(crate::error::Result<()>, Written<B>)> {
        let AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim } = self.sizes;
        t.restart_layouts(self.layouts);
        let (storage, compute) = (t.storage(), t.compute());
        let q = t.given(q_type, &[batch, heads, queries, head_dim], &self.q)?;
        let k = t.given(storage, &[batch, key_heads, keys, head_dim], &self.k)?;
        let v = t.given(storage, &[batch, key_heads, keys, value_dim], &self.v)?;
        let bias = match &self.bias {
            Bias::None => None,
            Bias::ByPair(shape, values) => Some(t.given(storage, shape, values)?),
            Bias::ByDistance(reach, values) => Some(t.given(storage, &[heads, 2 * reach + 1], values)?),
        };
        let mask = self.key_mask.as_ref().map(|mask| t.given(storage, &[batch, keys], mask)).transpose()?;
        let mut out = t.output(self.out_type, &[batch, heads, queries, value_dim])?;
        let mut logs = t.output(compute, &[batch, heads, queries])?;
        let bias = match (&self.bias, &bias) {
            (Bias::ByPair(..), Some(bias)) => ScoreBias::ByPair(bias.view()),
            (Bias::ByDistance(..), Some(bias)) => ScoreBias::ByDistance(bias.view()),
            _ => ScoreBias::None,
        };
        let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias, key_mask: mask.as_ref().map(Placed::view) };
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
        let result = call(t, operands, outputs);
        Ok((result, [out, logs]))
    }

    /// First row of the keys that a head reads, counted over all of k.
    pub(super) fn first_key(&self, batch: usize, head: usize) -> usize {
        let AttentionSizes { heads, key_heads, keys, .. } = self.sizes;
        (batch * key_heads + head / (heads / key_heads)) * keys
    }

    /// Does the key take part, as far as pattern and key mask say?
    pub(super) fn sees(&self, batch: usize, query: usize, key: usize) -> bool {
        let permitted = self.key_mask.as_ref().is_none_or(|mask| mask[batch * self.sizes.keys + key] != 0.0);
        permitted && self.spec.pattern.allows(self.spec.query_offset + query, key)
    }

    /// The exact output, and how far off it may be in this precision when it is stored in `out_type`.
    pub(super) fn exact<B: TransformerBackend>(&self, t: &Trial<'_, B>, out_type: DType) -> Exact {
        let AttentionSizes { batch, heads, queries, .. } = self.sizes;
        let bias = self.stretched_bias();
        let mut exact = Exact { out: Vec::new(), log_sum_exp: Vec::new(), largest_score: 0.0 };
        for at in 0..batch * heads * queries {
            let (batch, head, query) = (at / (heads * queries), at / queries % heads, at % queries);
            let row = Row { problem: self, bias: &bias, batch, head, query, types: [t.storage(), t.compute(), out_type] };
            row.append_to(&mut exact);
        }
        exact
    }

    /// Where in a pair bias each (batch, head, query, key) is found.
    fn stretched_bias(&self) -> Option<Layout> {
        let AttentionSizes { batch, heads, queries, keys, .. } = self.sizes;
        match &self.bias {
            Bias::ByPair(shape, _) => Layout::contiguous(shape).and_then(|layout| layout.broadcast(&[batch, heads, queries, keys])).ok(),
            _ => None,
        }
    }
}

/// One row of the exact output.
struct Row<'a> {
    problem: &'a Problem,
    bias: &'a Option<Layout>,
    batch: usize,
    head: usize,
    query: usize,
    /// Storage, compute, output.
    types: [DType; 3],
}

impl Row<'_> {
    fn append_to(&self, exact: &mut Exact) {
        let [storage, compute, out_type] = self.types;
        let (problem, u) = (self.problem, compute.unit_roundoff());
        let (mut keys, mut scores, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for key in (0..problem.sizes.keys).filter(|&key| problem.sees(self.batch, self.query, key)) {
            let (score, error) = self.score(key, u);
            // A bias of minus infinity masks, too.
            if score != f64::NEG_INFINITY {
                keys.push(key);
                scores.push(score);
                errors.push(error);
            }
        }
        exact.largest_score = scores.iter().fold(exact.largest_score, |largest, score| largest.max(score.abs()));
        let weights = weights(&scores);
        let (relative, sum_error) = relative_errors(&scores, &weights, &errors, u);
        let (first, width) = (problem.first_key(self.batch, self.head), problem.sizes.value_dim);
        let u_weight = storage.unit_roundoff();
        let products = gamma(3 * keys.len() + 4, u);
        for channel in 0..width {
            let value = |key: usize| problem.v[(first + key) * width + channel];
            let sum = Arithmetic::EXACT.dot(keys.iter().zip(&weights).map(|(&key, &weight)| (weight, value(key))));
            let terms = keys.iter().zip(&weights).zip(&relative).map(|((&key, weight), relative)| {
                value(key).abs() * (weight * (relative + u_weight + products) + u_weight * storage.smallest_normal())
            });
            exact.out.push(Target::within(sum, terms.sum::<f64>() + storing(out_type, sum)));
        }
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| libm::exp(score - largest)).sum();
        let logs = if scores.is_empty() { f64::NEG_INFINITY } else { largest + libm::log(sum) };
        let rounding = 2.0 * u * largest.abs() + 4.0 * u * libm::log(sum).abs() + 2.0 * u * logs.abs() + 4.0 * u;
        exact.log_sum_exp.push(if scores.is_empty() { Target::exact(logs) } else { Target::within(logs, sum_error + rounding) });
    }

    /// A score and the error that it may have.
    fn score(&self, key: usize, u: f64) -> (f64, f64) {
        let Problem { sizes, spec, .. } = self.problem;
        let dim = sizes.head_dim;
        let q = &self.problem.q[((self.batch * sizes.heads + self.head) * sizes.queries + self.query) * dim..][..dim];
        let k = &self.problem.k[(self.problem.first_key(self.batch, self.head) + key) * dim..][..dim];
        let magnitude: f64 = q.iter().zip(k).map(|(q, k)| (q * k).abs()).sum();
        let scaled = spec.scale * Arithmetic::EXACT.dot(q.iter().copied().zip(k.iter().copied()));
        let error = gamma(dim + 2, u) * spec.scale.abs() * magnitude;
        let (capped, error) = match spec.soft_cap {
            None => (scaled, error),
            Some(cap) => {
                let capped = cap * libm::tanh(scaled / cap);
                // The slope of tanh is at most 1, and it is good to a few units.
                (capped, error + 3.0 * u * scaled.abs() + 6.0 * u * capped.abs())
            }
        };
        let bias = self.bias_of(key);
        (capped + bias, error + if bias == 0.0 { 0.0 } else { u * (capped + bias).abs() })
    }

    fn bias_of(&self, key: usize) -> f64 {
        match (&self.problem.bias, self.bias) {
            (Bias::ByPair(_, values), Some(layout)) => values[layout.position(&[self.batch, self.head, self.query, key])],
            (Bias::ByDistance(reach, values), _) => {
                let (query, reach) = ((self.problem.spec.query_offset + self.query) as i64, *reach as i64);
                let entry = (key as i64 - query).clamp(-reach, reach) + reach;
                values[self.head * (2 * reach as usize + 1) + entry as usize]
            }
            _ => 0.0,
        }
    }
}
