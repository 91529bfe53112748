//! Attention over a pattern: one query row at a time, streamed over the keys (Dao et al., 2022, algorithm 1, with tiles of one row).
//!
//! ```text
//! s = scale q.k (soft cap, + bias)      m' = max(m, s)      p = exp(s - m')
//! l = l exp(m - m') + p                 O = O exp(m - m') + p v
//! ```
//!
//! and finally O / l, or zeros for a row that saw no key. Only pairs that the pattern and the key mask let through are visited, so
//! what stands in masked keys and values, NaN included, cannot matter; a score that comes out as minus infinity, by a bias, counts as
//! masked too, whatever its value is. p is rounded to
//! the type of v before it meets v; m, l and O are in the compute type. The output row is the only scratch, with the query row
//! beside it.

use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias};
use crossover_core::check::{self, AttentionSizes};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::TileState;
use crossover_core::tensor::View;

use crate::buffer::{NaiveBuffer, typed};
use crate::element::{Element, Real};
use crate::matmul::dot;

/// Keys whose scores are made before the recurrence sees them, and which the pattern may let us skip together.
const KEY_TILE: usize = 64;

/// One call, with everything that does not change from row to row.
struct Call<'a, R> {
    spec: &'a AttentionSpec,
    operands: AttentionOperands<'a, NaiveBuffer>,
    sizes: AttentionSizes,
    bias: Bias<'a>,
    scale: R,
    soft_cap: Option<R>,
}

enum Bias<'a> {
    None,
    /// Stretched to [batch, heads, queries, keys].
    ByPair(&'a NaiveBuffer, Layout),
    /// [heads, 2 reach + 1].
    ByDistance(&'a NaiveBuffer, Layout, usize),
}

/// The state of the recurrence.
struct Running<'a, R> {
    maximum: R,
    sum: R,
    output: &'a mut [R],
}

/// Which row this is.
#[derive(Clone, Copy)]
struct Query {
    batch: usize,
    head: usize,
    row: usize,
}

/// `scratch` is a query row and an output row.
pub(crate) fn attention<R: Real>(
    spec: &AttentionSpec,
    sizes: AttentionSizes,
    operands: AttentionOperands<'_, NaiveBuffer>,
    mut outputs: AttentionOutputs<'_, NaiveBuffer>,
    [q, output]: [&mut [R]; 2],
) -> Result<()> {
    let bias = Bias::checked(operands.bias, sizes)?;
    let call = Call { spec, operands, sizes, bias, scale: R::from_f64(spec.scale), soft_cap: spec.soft_cap.map(R::from_f64) };
    for batch in 0..sizes.batch {
        for head in 0..sizes.heads {
            for row in 0..sizes.queries {
                call.row(Query { batch, head, row }, q, output, &mut outputs);
            }
        }
    }
    Ok(())
}

impl<R: Real> Call<'_, R> {
    fn row(&self, query: Query, q: &mut [R], output: &mut [R], outputs: &mut AttentionOutputs<'_, NaiveBuffer>) {
        let Query { batch, head, row } = query;
        load_row(&self.operands.q, [batch, head, row], q);
        output.fill(R::ZERO);
        let mut running = Running { maximum: R::LOWEST, sum: R::ZERO, output };
        let position = self.spec.query_offset + row;
        let mut scores = [R::ZERO; KEY_TILE];
        for first in (0..self.sizes.keys).step_by(KEY_TILE) {
            let keys = first..self.sizes.keys.min(first + KEY_TILE);
            let state = self.spec.pattern.tile(position..position + 1, keys.clone());
            if state == TileState::Skip {
                continue;
            }
            let scores = &mut scores[..keys.len()];
            typed!(self.operands.k.buffer, k => self.score(query, q, k, first, state, scores));
            let v = &self.operands.v.layout;
            let start = v.offset() + batch * v.strides()[0] + self.key_head(head) * v.strides()[1] + first * v.strides()[2];
            typed!(self.operands.v.buffer, v_values => running.absorb(scores, v_values, start, [v.strides()[2], v.strides()[3]]));
        }
        running.finish(query, outputs);
    }

    fn key_head(&self, head: usize) -> usize {
        head / (self.sizes.heads / self.sizes.key_heads)
    }

    /// The scores of a tile of keys; minus infinity for those that this query does not see.
    fn score<T: Element>(&self, query: Query, q: &[R], k: &[T], first: usize, state: TileState, scores: &mut [R]) {
        let layout = &self.operands.k.layout;
        let start = layout.offset() + query.batch * layout.strides()[0] + self.key_head(query.head) * layout.strides()[1];
        let position = self.spec.query_offset + query.row;
        for (key, score) in (first..).zip(scores) {
            let visible = (state == TileState::Full || self.spec.pattern.allows(position, key)) && self.permitted(query.batch, key);
            *score = if visible {
                let product = dot(R::ZERO, q, k, start + key * layout.strides()[2], layout.strides()[3]);
                let scaled = self.scale * product;
                let capped = self.soft_cap.map_or(scaled, |cap| cap * (scaled / cap).tanh());
                self.bias.add_to(capped, query, position, key)
            } else {
                R::NEG_INFINITY
            };
        }
    }

    fn permitted(&self, batch: usize, key: usize) -> bool {
        self.operands.key_mask.is_none_or(|mask| mask.buffer.get(mask.layout.position(&[batch, key])) != 0.0)
    }
}

impl<R: Real> Running<'_, R> {
    fn absorb<T: Element>(&mut self, scores: &[R], v: &[T], start: usize, [key_stride, stride]: [usize; 2]) {
        for (at, &score) in scores.iter().enumerate() {
            if score == R::NEG_INFINITY {
                continue;
            }
            let maximum = self.maximum.larger(score);
            if maximum != self.maximum {
                let shrink = (self.maximum - maximum).exp();
                self.sum = self.sum * shrink;
                for output in self.output.iter_mut() {
                    *output = *output * shrink;
                }
                self.maximum = maximum;
            }
            let probability = (score - maximum).exp();
            self.sum = self.sum + probability;
            let factor: R = T::store(probability).load();
            add_scaled(self.output, factor, v, start + at * key_stride, stride);
        }
    }

    fn finish(self, query: Query, outputs: &mut AttentionOutputs<'_, NaiveBuffer>) {
        let Query { batch, head, row } = query;
        for output in self.output.iter_mut() {
            *output = if self.sum == R::ZERO { R::ZERO } else { *output / self.sum };
        }
        let out = &mut outputs.out;
        if !out.layout.is_empty() {
            let (start, stride) = (out.layout.position(&[batch, head, row, 0]), out.layout.strides()[3]);
            out.buffer.store(start, stride, self.output);
        }
        if let Some(log_sum_exp) = &mut outputs.log_sum_exp {
            // A row that saw nothing has log 0 = minus infinity, as merging wants it.
            log_sum_exp.buffer.set(log_sum_exp.layout.position(&[batch, head, row]), self.maximum + self.sum.log());
        }
    }
}

fn add_scaled<R: Real, T: Element>(output: &mut [R], factor: R, v: &[T], start: usize, stride: usize) {
    if output.is_empty() {
        return;
    }
    if stride == 1 {
        for (output, value) in output.iter_mut().zip(&v[start..]) {
            *output = *output + factor * value.load();
        }
    } else {
        for (at, output) in output.iter_mut().enumerate() {
            *output = *output + factor * v[start + at * stride].load();
        }
    }
}

fn load_row<R: Real>(view: &View<'_, NaiveBuffer>, [batch, head, row]: [usize; 3], into: &mut [R]) {
    if !into.is_empty() {
        view.buffer.load(view.layout.position(&[batch, head, row, 0]), view.layout.strides()[3], into);
    }
}

impl<'a> Bias<'a> {
    fn checked(bias: ScoreBias<'a, NaiveBuffer>, sizes: AttentionSizes) -> Result<Self> {
        match bias {
            ScoreBias::None => Ok(Self::None),
            ScoreBias::ByPair(view) => {
                let layout = view.layout.broadcast(&[sizes.batch, sizes.heads, sizes.queries, sizes.keys])?;
                Ok(Self::ByPair(view.buffer, layout))
            }
            ScoreBias::ByDistance(view) => Ok(Self::ByDistance(view.buffer, view.layout, check::distance_bias(view.shape(), sizes.heads)?)),
        }
    }

    fn add_to<R: Real>(&self, score: R, query: Query, position: usize, key: usize) -> R {
        match self {
            Self::None => score,
            Self::ByPair(buffer, layout) => score + R::from_f64(buffer.get(layout.position(&[query.batch, query.head, query.row, key]))),
            Self::ByDistance(buffer, layout, span) => {
                // key - position + reach, clamped to the table.
                let entry = (key + span / 2).saturating_sub(position).min(span - 1);
                score + R::from_f64(buffer.get(layout.position(&[query.head, entry])))
            }
        }
    }
}
