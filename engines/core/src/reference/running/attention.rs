//! Attention over a pattern, whole rows at a time, with the error propagated through the softmax as one function.
//!
//! Composed of primitives, each rescaling of a streaming softmax would count the error of the running maximum again, although it
//! cancels between numerator and denominator. Here o = sum p_j v_j with p = softmax(s) is taken to first order instead: an error e_j of
//! a score gives p_j e_j (v_j - o), so that
//!
//! ```text
//! var o = sum p_j^2 (g_j^2 (v_j - o)^2 + a v_j^2 + var v_j) + n u^2 (o^2 + sum (p_j v_j)^2)
//! ```
//!
//! with g_j the relative error of a numerator (its score, its shift, its exponential), a the rounding of p to the type of v, and the last
//! term for sums and rescalings over n keys. The shift by the maximum needs no term of its own, whichever maximum an engine uses.

use super::SLACK;
use super::buffer::{Block, RunningBuffer, read};
use super::elementwise::{self, chosen};
use super::estimate::{Estimate, scaled, square, summing};
use super::products::{Panel, multiply, overflowing};
use super::rows::growth;
use crate::backend::{AttentionOperands, ScoreBias};
use crate::check::AttentionSizes;
use crate::dtype::DType;
use crate::error::{Result, shape_error};
use crate::ops::{AttentionSpec, BinaryOp, UnaryOp};
use crate::pattern::TileState;

/// Queries whose scores are made together, and keys that the pattern may let us skip together.
const TILE: usize = 64;

/// What a call reads, densely, and what does not change from row to row.
pub(super) struct Call<'a> {
    spec: &'a AttentionSpec,
    sizes: AttentionSizes,
    q: Block,
    k: Block,
    v: Block,
    bias: Bias,
    mask: Option<Block>,
    compute: DType,
    /// The type to which numerators are rounded before they meet v, where that is narrower.
    narrow: Option<DType>,
    threads: usize,
}

enum Bias {
    None,
    /// [batch, heads, queries, keys].
    ByPair(Block),
    /// [heads, span].
    ByDistance(Block, usize),
}

/// One head of one batch entry.
#[derive(Clone, Copy)]
struct Head {
    batch: usize,
    head: usize,
    key_head: usize,
}

/// The keys that some query of a tile sees: keys^T and values, dense.
struct Visible {
    keys: Vec<usize>,
    panel: Panel,
    values: Block,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        spec: &'a AttentionSpec,
        sizes: AttentionSizes,
        operands: &AttentionOperands<'_, RunningBuffer>,
        (compute, threads): (DType, usize),
    ) -> Result<Self> {
        let [q, k, v] = [&operands.q, &operands.k, &operands.v].map(|view| read("attention", view));
        let narrow = operands.v.buffer.dtype;
        let narrow = (narrow != compute).then_some(narrow);
        let mask = operands.key_mask.map(|mask| read("attention", &mask)).transpose()?;
        Ok(Self { spec, sizes, q: q?, k: k?, v: v?, bias: Bias::of(operands.bias, sizes)?, mask, compute, narrow, threads })
    }

    /// Outputs [batch, heads, queries, value dim] and log-sum-exps [batch, heads, queries], not stored yet.
    pub(super) fn run(&self) -> [Block; 2] {
        let AttentionSizes { batch, heads, key_heads, queries, value_dim, .. } = self.sizes;
        let mut out = Block::with_capacity(batch * heads * queries * value_dim);
        let mut logs = Block::with_capacity(batch * heads * queries);
        for batch in 0..batch {
            for head in 0..heads {
                let head = Head { batch, head, key_head: head / (heads / key_heads) };
                for start in (0..queries).step_by(TILE) {
                    self.tile(head, start..queries.min(start + TILE), &mut out, &mut logs);
                }
            }
        }
        [out, logs]
    }

    fn tile(&self, head: Head, rows: std::ops::Range<usize>, out: &mut Block, logs: &mut Block) {
        let AttentionSizes { heads, queries, head_dim, .. } = self.sizes;
        let visible = self.visible(head, rows.clone());
        let count = visible.keys.len();
        let first = ((head.batch * heads + head.head) * queries + rows.start) * head_dim;
        let products = if head_dim == 0 {
            Block { values: vec![0.0; rows.len() * count], variances: vec![0.0; rows.len() * count] }
        } else {
            multiply(&part(&self.q, first, rows.len() * head_dim), &visible.panel, self.threads)
        };
        for (at, row) in rows.enumerate() {
            let scores: Vec<Estimate> = visible
                .keys
                .iter()
                .enumerate()
                .map(|(column, &key)| self.score(products.get(at * count + column), head, row, key))
                .collect();
            self.row(&scores, &visible.values, out, logs);
        }
    }

    fn visible(&self, head: Head, rows: std::ops::Range<usize>) -> Visible {
        let AttentionSizes { key_heads, keys, head_dim, value_dim, .. } = self.sizes;
        let positions = self.spec.query_offset + rows.start..self.spec.query_offset + rows.end;
        let tiles = (0..keys).step_by(TILE).map(|first| first..keys.min(first + TILE));
        let seen = tiles.filter(|tile| self.spec.pattern.tile(positions.clone(), tile.clone()) != TileState::Skip);
        let chosen: Vec<usize> = seen.flatten().collect();
        let first = (head.batch * key_heads + head.key_head) * keys;
        let mut transposed = Block::with_capacity(chosen.len() * head_dim);
        for channel in 0..head_dim {
            chosen.iter().for_each(|key| transposed.push(self.k.get((first + key) * head_dim + channel)));
        }
        let mut values = Block::with_capacity(chosen.len() * value_dim);
        for key in &chosen {
            let row = part(&self.v, (first + key) * value_dim, value_dim);
            values.values.extend(row.values);
            values.variances.extend(row.variances);
        }
        let panel = Panel::new(head_dim, chosen.len(), transposed, self.compute.unit_roundoff(), 0.0);
        Visible { keys: chosen, panel, values }
    }

    /// scale * product, capped, biased and masked.
    fn score(&self, product: Estimate, head: Head, row: usize, key: usize) -> Estimate {
        let masked = Estimate::exact(f64::NEG_INFINITY);
        let position = self.spec.query_offset + row;
        let permitted = self.mask.as_ref().map(|mask| chosen(mask.get(head.batch * self.sizes.keys + key)));
        if !self.spec.pattern.allows(position, key) || permitted == Some(Some(false)) {
            return masked;
        }
        let (scale, compute) = (self.spec.scale, self.compute);
        let times = |x: Estimate, factor: f64| {
            Estimate::computed(factor * x.value, scaled(factor, x.variance), x.is_known()).rounded_in(compute, 2.0)
        };
        let mut score = times(overflowing(product, compute), scale);
        if let Some(cap) = self.spec.soft_cap {
            score = times(elementwise::unary(UnaryOp::Tanh, times(score, 1.0 / cap), compute), cap);
        }
        if let Some(bias) = self.bias.of_pair(self.sizes, head, row, position, key) {
            score = elementwise::binary(BinaryOp::Add, score, bias, compute);
        }
        if permitted == Some(None) { Estimate::undetermined(score.value) } else { score }
    }

    /// The output row and its log-sum-exp.
    fn row(&self, scores: &[Estimate], values: &Block, out: &mut Block, logs: &mut Block) {
        let width = self.sizes.value_dim;
        let unknown = scores.iter().any(|score| !score.is_known());
        let known = |value| if unknown { Estimate::undetermined(value) } else { Estimate::exact(value) };
        let maximum =
            scores.iter().fold(f64::NEG_INFINITY, |most, score| if score.value.is_nan() { f64::NAN } else { most.max(score.value) });
        if maximum == f64::NEG_INFINITY {
            (0..width).for_each(|_| out.push(known(0.0)));
            logs.push(known(f64::NEG_INFINITY));
            return;
        }
        let exponentials: Vec<f64> = scores.iter().map(|score| libm::exp(score.value - maximum)).collect();
        let sum: f64 = exponentials.iter().sum();
        if unknown || !sum.is_finite() {
            let value = if sum.is_finite() { 0.0 } else { f64::NAN };
            (0..width).for_each(|_| out.push(known(value)));
            logs.push(known(value));
            return;
        }
        let u = self.compute.unit_roundoff();
        let (mut weights, mut of_scores) = (Vec::with_capacity(scores.len()), Vec::with_capacity(scores.len()));
        for (score, exponential) in scores.iter().zip(exponentials) {
            let weight = exponential / sum;
            let relative = if weight > 0.0 { growth(score.variance + square(u * (score.value - maximum))) + 4.0 * u } else { 0.0 };
            weights.push(weight);
            of_scores.push(square(weight * relative));
        }
        self.weighted_sum(&weights, &of_scores, sum, values, out);
        let carried: f64 = of_scores.iter().sum();
        let log = maximum + libm::log(sum);
        let own = summing(weights.len(), u, 1.0, 1.0) + square(4.0 * u * log.abs().max(maximum.abs()).max(1.0));
        logs.push(Estimate::computed(log, carried + own, true).rounded_in(self.compute, 1.0));
    }

    /// sum of weights times rows of values, to the formula of the module's head.
    fn weighted_sum(&self, weights: &[f64], of_scores: &[f64], sum: f64, values: &Block, out: &mut Block) {
        let width = self.sizes.value_dim;
        let u = self.compute.unit_roundoff();
        let of_sums = weights.iter().filter(|weight| **weight > 0.0).count() as f64 * u * u;
        // A numerator is at most 1 when it is rounded; far below, its error is half of the smallest step.
        let narrow = self
            .narrow
            .map_or([0.0; 2], |dtype| [square(dtype.unit_roundoff()), square(dtype.unit_roundoff() * dtype.smallest_normal() / sum)]);
        let mut sums = vec![0.0; width];
        for (&weight, row) in weights.iter().zip(values.values.chunks(width.max(1))).filter(|(weight, _)| **weight > 0.0) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        let mut variances: Vec<f64> = sums.iter().map(|sum| (of_sums + square(4.0 * u)) * square(*sum)).collect();
        let rows = values.values.chunks(width.max(1)).zip(values.variances.chunks(width.max(1)));
        for ((&weight, &of_score), (row, row_variances)) in weights.iter().zip(of_scores).zip(rows) {
            if weight == 0.0 {
                continue;
            }
            let squared = weight * weight;
            let of_term = squared * (narrow[0] + of_sums) + narrow[1];
            for (((variance, sum), value), value_variance) in variances.iter_mut().zip(&sums).zip(row).zip(row_variances) {
                *variance += of_score * square(value - sum) + of_term * value * value + squared * value_variance;
            }
        }
        let floor = square(self.compute.smallest_normal() * SLACK);
        for (column, (&sum, &variance)) in sums.iter().zip(&variances).enumerate() {
            let of_column = || values.variances.iter().skip(column).step_by(width);
            let known = sum.is_finite() || of_column().all(|variance| variance.is_finite());
            let own = if sum == 0.0 && variance == 0.0 { 0.0 } else { floor };
            out.push(overflowing(Estimate::computed(sum, variance + own, known), self.compute));
        }
    }
}

fn part(block: &Block, start: usize, length: usize) -> Block {
    Block { values: block.values[start..start + length].to_vec(), variances: block.variances[start..start + length].to_vec() }
}

impl Bias {
    fn of(bias: ScoreBias<'_, RunningBuffer>, sizes: AttentionSizes) -> Result<Self> {
        match bias {
            ScoreBias::None => Ok(Self::None),
            ScoreBias::ByPair(view) => {
                let wide = view.with(|layout| layout.broadcast(&[sizes.batch, sizes.heads, sizes.queries, sizes.keys]))?;
                Ok(Self::ByPair(read("attention", &wide)?))
            }
            ScoreBias::ByDistance(view) => match *view.shape() {
                [heads, span] if heads == sizes.heads && span % 2 == 1 => Ok(Self::ByDistance(read("attention", &view)?, span)),
                _ => {
                    let detail = format!("the distance bias is {:?}, expected [{}, 2 reach + 1]", view.shape(), sizes.heads);
                    Err(shape_error("attention", detail))
                }
            },
        }
    }

    fn of_pair(&self, sizes: AttentionSizes, head: Head, row: usize, position: usize, key: usize) -> Option<Estimate> {
        match self {
            Self::None => None,
            Self::ByPair(bias) => Some(bias.get(((head.batch * sizes.heads + head.head) * sizes.queries + row) * sizes.keys + key)),
            // key - position + reach, clamped to the table.
            Self::ByDistance(table, span) => Some(table.get(head.head * span + (key + span / 2).saturating_sub(position).min(span - 1))),
        }
    }
}
