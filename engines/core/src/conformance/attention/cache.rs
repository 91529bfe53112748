//! Property 16: a prefill and cached decode steps give what one long call gives; keys that are split are merged by log-sum-exp.

use crate::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crate::check::AttentionSizes;
use crate::ops::{AttentionSpec, OpSpec};
use crate::pattern::AttentionPattern;
use crate::tensor::Tensor;

use super::super::compare::{Target, storing};
use super::super::trial::{Outcome, Trial, fail};
use super::problem::{Bias, Features, Problem};

/// The cache is longer than the sequence and full of NaN; rows are appended by `copy` into narrowed views.
pub(super) fn decode_steps_continue_a_prefill<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let work = t.options.work / 16;
    let [n, head_dim, value_dim] = t.source.sizes_within([2, 1, 1], work / 4);
    let n = n.min(33);
    let mut problem = Problem::of_sizes(t, Features { patterns: false, masks: false, biases: true }, [n, n, head_dim, value_dim]);
    problem.spec.pattern = t.source.choose(&[AttentionPattern::Causal, AttentionPattern::Window { left: 5, right: 0 }]);
    if matches!(problem.bias, Bias::ByPair(..)) {
        problem.bias = Bias::None;
    }
    let found = problem.run(t)?;
    let exact = problem.exact(t, found.dtype);
    let sizes = problem.sizes;
    let storage = t.storage();
    let room = n + 3;
    let mut cache = Vec::new();
    for (values, width) in [(&problem.k, head_dim), (&problem.v, value_dim)] {
        let new = t.given(storage, &[sizes.batch, sizes.key_heads, n, width], values)?;
        let mut room = t.engine.tensor(storage, &[sizes.batch, sizes.key_heads, room, width])?;
        t.engine.fill(room.view_mut(), f64::NAN)?;
        cache.push((new, room));
    }
    let start = n - (1 + t.source.below(4)).min(n - 1);
    let mut assembled = vec![f64::NAN; found.out.len()];
    for (first, end) in std::iter::once((0, start)).chain((start..n).map(|step| (step, step + 1))) {
        for (new, room) in &mut cache {
            let part = new.view().narrow(2, first, end - first)?;
            t.engine.copy(part, room.view_mut().narrow(2, first, end - first)?)?;
        }
        let part = step(t, &problem, [&cache[0].1, &cache[1].1], (first, end))?;
        for head in 0..sizes.batch * sizes.heads {
            let rows = (end - first) * value_dim;
            assembled[(head * n + first) * value_dim..][..rows].copy_from_slice(&part[head * rows..(head + 1) * rows]);
        }
    }
    t.agree(&format!("{} decode steps after {start}", n - start), &assembled, &found.out, &exact.out)
}

/// Queries first..end over what the cache holds up to end.
fn step<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    problem: &Problem,
    [k, v]: [&Tensor<B::Buffer>; 2],
    (first, end): (usize, usize),
) -> Outcome<Vec<f64>> {
    let AttentionSizes { batch, heads, key_heads, queries, head_dim, value_dim, .. } = problem.sizes;
    let storage = t.storage();
    let q = t.given(storage, &[batch, heads, queries, head_dim], &problem.q)?;
    let bias = match &problem.bias {
        Bias::ByDistance(reach, values) => Some(t.given(storage, &[heads, 2 * reach + 1], values)?),
        _ => None,
    };
    let mut out = t.output(problem.out_type, &[batch, heads, end - first, value_dim])?;
    let spec = AttentionSpec { query_offset: first, ..problem.spec.clone() };
    let bias = bias.as_ref().map_or(ScoreBias::None, |bias| ScoreBias::ByDistance(bias.view()));
    let (q, k, v) = (q.view().narrow(2, first, end - first)?, k.view().narrow(2, 0, end)?, v.view().narrow(2, 0, end)?);
    let operands = AttentionOperands { q, k, v, bias, key_mask: None };
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: None };
    let result = t.engine.attention(&spec, operands, outputs, &mut t.scratch);
    let pairs = spec.pattern.visible_pairs(first, end - first, end);
    t.done(&OpSpec::Attention { batch, heads, key_heads, head_dim, value_dim, queries: end - first, keys: end, pairs }, result)?;
    t.read(&out)
}

/// Each part of the keys gives an output and a log-sum-exp; outputs weighted by exp(lse - total) are the whole.
pub(super) fn split_keys_merge<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut problem = Problem::draw_filled(t, Features { patterns: false, masks: true, biases: false });
    problem.out_type = t.compute();
    let sizes = problem.sizes;
    let whole = problem.exact(t, problem.out_type);
    let cut = t.source.below(sizes.keys + 1);
    let mut parts = Vec::new();
    for (first, end) in [(0, cut), (cut, sizes.keys)] {
        let part = narrowed(&problem, first, end);
        let found = part.run(t)?;
        let exact = part.exact(t, part.out_type);
        parts.push((found, exact));
    }
    for (row, total) in whole.log_sum_exp.iter().enumerate() {
        for at in row * sizes.value_dim..(row + 1) * sizes.value_dim {
            // exp(-inf - -inf) is NaN, and a row that sees nothing is zero.
            let share = |lse: f64| if total.value == f64::NEG_INFINITY { 0.0 } else { (lse - total.value).exp() };
            let merged: f64 = parts.iter().map(|(found, _)| share(found.log_sum_exp[row]) * found.out[at]).sum();
            let allowed: f64 = parts.iter().map(|(_, exact)| part_error(exact, row, at, share(exact.log_sum_exp[row].value))).sum();
            let Target { value, hard, .. } = whole.out[at];
            let allowed = allowed + hard + storing(t.compute(), value);
            let close = (merged - value).abs() <= allowed;
            if !close {
                return fail(format!("keys split at {cut}: element {at} is {merged:e}, expected {value:e} within {allowed:e}"));
            }
        }
    }
    Ok(())
}

/// How far a part's contribution may be off: its own error, and that of its share.
fn part_error(exact: &super::problem::Exact, row: usize, at: usize, share: f64) -> f64 {
    let (out, logs) = (exact.out[at], exact.log_sum_exp[row]);
    share * (out.hard + (out.value.abs() + out.hard) * logs.hard.exp_m1())
}

fn narrowed(problem: &Problem, first: usize, end: usize) -> Problem {
    let keys = problem.sizes.keys;
    let rows = |values: &[f64], width: usize| -> Vec<f64> {
        values.chunks((keys * width).max(1)).flat_map(|head| head[first * width..end * width].iter().copied()).collect()
    };
    let mut part = problem.clone();
    part.k = rows(&problem.k, problem.sizes.head_dim);
    part.v = rows(&problem.v, problem.sizes.value_dim);
    part.key_mask = problem.key_mask.as_ref().map(|mask| rows(mask, 1));
    part.sizes.keys = end - first;
    part
}
