//! Attention inside the chunks of a sorted sequence: that of a bias which hides everything else, and the future hidden whatever it is.
//! Orders that are none are refused.

use crate::backend::{AttentionOutputs, BucketOperands, TransformerBackend};
use crate::check::BucketSizes;
use crate::dtype::DType;
use crate::error::EngineError;
use crate::ops::BucketSpec;
use crate::support::Support;

use super::super::cases::Fill;
use super::super::place::Placed;
use super::super::trial::{Outcome, Stop, Trial, fail};
use super::problem::{Bias, Features, Problem};

/// A case. The problem has no bias yet.
struct Drawn {
    problem: Problem,
    spec: BucketSpec,
    sizes: BucketSizes,
    /// Of queries and keys: [batch, heads, n].
    orders: [Vec<f64>; 2],
    /// Of queries, keys and values.
    types: [DType; 3],
}

type Answer<B> = (crate::error::Result<()>, [Placed<<B as TransformerBackend>::Buffer>; 2]);

impl Drawn {
    fn of<B: TransformerBackend>(t: &mut Trial<'_, B>, least: usize) -> Self {
        let [chunk, width] = t.source.sizes_within([1, 0], t.options.work / 64);
        let width = width.min(65);
        // Sequences of nothing, of one chunk, of several, as long as there is work for them.
        let most = (t.options.work / (16 * chunk * chunk * width.max(1))).isqrt().clamp(1, 9);
        let n = chunk * (least + t.source.below(most + 1 - least));
        let mut problem = Problem::of_sizes(t, Features::PLAIN, [n, n, width, width]);
        problem.sizes.key_heads = problem.sizes.heads;
        problem.spec.soft_cap = None;
        let (heads, types) = (problem.sizes.batch * problem.sizes.heads, [t.storage(), t.float_type(), t.float_type()]);
        let mut draw = |spread, dtype: DType| {
            let values = t.source.values(Fill::Normal(spread), heads * n * width);
            values.into_iter().map(|value| dtype.round(value)).collect::<Vec<f64>>()
        };
        (problem.k, problem.v) = (draw(1.5, types[1]), draw(1.0, types[2]));
        let orders = [(); 2].map(|()| (0..heads).flat_map(|_| t.source.permutation(n)).map(|token| token as f64).collect());
        let orders_apart = t.source.below(2);
        // What vanishes beside anything, and what shows.
        let self_bias = if orders_apart == 0 { t.source.choose(&[None, Some(-1e4), Some(-0.75), Some(2.0)]) } else { None };
        let spec = BucketSpec { chunk, scale: problem.spec.scale, causal: t.source.one_in(2), self_bias };
        let (batch, heads) = (problem.sizes.batch, problem.sizes.heads);
        let sizes = BucketSizes { batch, heads, n, width, chunk, orders: 1 + orders_apart };
        Self { problem, spec, sizes, orders, types }
    }

    fn order_of_keys(&self) -> &[f64] {
        &self.orders[self.sizes.orders - 1]
    }

    fn run<B: TransformerBackend>(&self, t: &mut Trial<'_, B>) -> Outcome<Answer<B>> {
        let BucketSizes { batch, heads, n, width, orders, .. } = self.sizes;
        let ([q, k, v], compute, rows) = (self.types, t.compute(), [batch, heads, n, width]);
        t.restart_layouts(self.problem.layouts);
        let (q, k) = (t.given(q, &rows, &self.problem.q)?, t.given(k, &rows, &self.problem.k)?);
        let v = t.given(v, &rows, &self.problem.v)?;
        let given = [t.given(DType::I32, &rows[..3], &self.orders[0])?, t.given(DType::I32, &rows[..3], &self.orders[1])?];
        let (mut out, mut logs) = (t.output(self.problem.out_type, &rows)?, t.output(compute, &rows[..3])?);
        let key_order = (orders > 1).then(|| given[1].view());
        let operands = BucketOperands { q: q.view(), k: k.view(), v: v.view(), query_order: given[0].view(), key_order };
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
        let result = t.engine.bucket_attention(self.spec, operands, outputs, &mut t.scratch);
        Ok((result, [out, logs]))
    }

    /// [batch, heads, n, n]: minus infinity but where a query sees a key.
    fn bias(&self) -> Bias {
        let BucketSizes { batch, heads, n, chunk, .. } = self.sizes;
        let mut bias = vec![f64::NEG_INFINITY; batch * heads * n * n];
        for (head, bias) in bias.chunks_mut((n * n).max(1)).enumerate() {
            let own = |order: &[f64]| order[head * n..][..n].iter().map(|token| *token as usize).collect::<Vec<usize>>();
            let (queries, keys) = (own(&self.orders[0]), own(self.order_of_keys()));
            for (at, &query) in queries.iter().enumerate() {
                let first = (at / chunk).saturating_sub(1) * chunk;
                for &key in keys[first..(at / chunk + 1) * chunk].iter().filter(|key| !self.spec.causal || **key <= query) {
                    bias[query * n + key] = self.spec.self_bias.filter(|_| key == query).unwrap_or(0.0);
                }
            }
        }
        Bias::ByPair(vec![batch, heads, n, n], bias)
    }
}

pub(super) fn against_f64<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut drawn = Drawn::of(t, 0);
    let operation = drawn.sizes.operation(drawn.spec.causal);
    if drawn.sizes.n == 0 && matches!(t.engine.supports(&operation), Support::Unsupported(_)) {
        // A composition of nothing asks for nothing that could be refused.
        return Err(Stop::Refused);
    }
    let (result, [out, logs]) = drawn.run(t)?;
    t.done(&operation, result)?;
    t.nothing_is_kept()?;
    let (found, found_logs) = (t.read(&out)?, t.read(&logs)?);
    drawn.problem.bias = drawn.bias();
    let exact = drawn.problem.exact(t, drawn.problem.out_type);
    t.compare(drawn.problem.out_type, &found, &exact.out)?;
    t.compare_as("log-sum-exp", t.compute(), &found_logs, &exact.log_sum_exp)
}

/// Property 13: what tokens behind a token are changes none of its bits.
pub(super) fn later_tokens_do_not_matter<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut drawn = Drawn::of(t, 1);
    drawn.spec.causal = true;
    let BucketSizes { n, width, .. } = drawn.sizes;
    let operation = drawn.sizes.operation(true);
    let kept = 1 + t.source.below((n - 1).max(1));
    let (result, [out, logs]) = drawn.run(t)?;
    t.done(&operation, result)?;
    let before = [t.read(&out)?, t.read(&logs)?];
    let Problem { q, k, v, .. } = &mut drawn.problem;
    for (rows, dtype) in [q, k, v].into_iter().zip(drawn.types) {
        for at in (0..rows.len()).filter(|at| at / width.max(1) % n >= kept) {
            rows[at] = dtype.round(2.0 - 3.0 * rows[at]);
        }
    }
    let (result, [out, logs]) = drawn.run(t)?;
    t.done(&operation, result)?;
    let after = [t.read(&out)?, t.read(&logs)?];
    let what = format!("tokens before {kept} of {n}, where those behind changed, in chunks of {}", drawn.spec.chunk);
    for ((before, after), width) in before.iter().zip(&after).zip([width, 1]) {
        let sequence = (n * width).max(1);
        for (before, after) in before.chunks(sequence).zip(after.chunks(sequence)) {
            t.identical(&what, &after[..kept * width], &before[..kept * width])?;
        }
    }
    Ok(())
}

/// A token out of range is an index error, one that is named twice a shape error, wherever it stands and whose order it is.
pub(super) fn tokens_are_in_range_and_named_once<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut drawn = Drawn::of(t, 1);
    let n = drawn.sizes.n;
    for whose in 0..drawn.sizes.orders {
        let at = t.source.below(drawn.orders[whose].len());
        let right = drawn.orders[whose][at];
        let out_of_range = t.source.choose(&[-1.0, n as f64, n as f64 + 7.0]);
        let twice = (n > 1).then(|| drawn.orders[whose][at / n * n + (at + 1) % n]);
        for (wrong, twice) in [(Some(out_of_range), false), (twice, true)] {
            let Some(wrong) = wrong else { continue };
            drawn.orders[whose][at] = wrong;
            refused(t, &drawn, [whose, at], twice)?;
        }
        drawn.orders[whose][at] = right;
    }
    Ok(())
}

/// The place of the wrong token is told, or that it is named twice.
fn refused<B: TransformerBackend>(t: &mut Trial<'_, B>, drawn: &Drawn, [whose, at]: [usize; 2], twice: bool) -> Outcome {
    let (result, written) = drawn.run(t)?;
    written.iter().try_for_each(|placed| t.read(placed).map(drop))?;
    let (operation, n, wrong) = ("bucket attention", drawn.sizes.n, drawn.orders[whose][at]);
    match result {
        Err(EngineError::Shape { detail, .. }) if twice && detail.contains("names a token twice") => t.nothing_is_kept(),
        Err(error) if !twice && error == EngineError::Index { operation, index: wrong as i64, position: at, bound: n } => {
            t.nothing_is_kept()
        }
        Err(EngineError::Unsupported { .. }) => t.done(&drawn.sizes.operation(drawn.spec.causal), result),
        other => fail(format!("token {wrong} at {at} of {n}, twice {twice}: {other:?}, expected an error of the order")),
    }
}

/// Chunks that do not divide the tokens, or are empty, and a view of oneself where keys have an order of their own.
pub(super) fn chunks_fit<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut drawn = Drawn::of(t, 1);
    let wrong_chunk = t.source.one_in(2);
    if wrong_chunk {
        drawn.spec.chunk = t.source.choose(&[0, drawn.sizes.n + 1, 2 * drawn.sizes.n]);
    } else {
        (drawn.spec.self_bias, drawn.sizes.orders) = (Some(-1.0), 2);
    }
    let (result, written) = drawn.run(t)?;
    written.iter().try_for_each(|placed| t.read(placed).map(drop))?;
    match result {
        Err(EngineError::Shape { .. }) => t.nothing_is_kept(),
        Err(EngineError::Unsupported { .. }) => t.done(&drawn.sizes.operation(drawn.spec.causal), result),
        other => fail(format!("chunks of {} of {} tokens: {other:?}, expected a shape error", drawn.spec.chunk, drawn.sizes.n)),
    }
}
