//! What must not change an output, or only within its tolerance: properties 12 to 15 and 17.

use crate::backend::TransformerBackend;
use crate::pattern::AttentionPattern;

use super::super::trial::{Outcome, Trial, fail};
use super::problem::{Bias, Features, Problem};

/// Property 12: keys and values that nobody sees may be anything.
pub(super) fn masked_operands_do_not_matter<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let problem = Problem::draw_filled(t, Features::ALL);
    let before = problem.run(t)?;
    let sizes = problem.sizes;
    for poison in [1e3, f64::NAN] {
        let mut poisoned = problem.clone();
        for (batch, key) in (0..sizes.batch).flat_map(|batch| (0..sizes.keys).map(move |key| (batch, key))) {
            if (0..sizes.queries).any(|query| problem.sees(batch, query, key)) {
                continue;
            }
            let by_key_mask = problem.key_mask.as_ref().is_some_and(|mask| mask[batch * sizes.keys + key] == 0.0);
            // A product of tiles computes 0 times a value that only the pattern hides.
            let value = if poison.is_nan() && !by_key_mask && !t.options.skips_single_pairs { 1e3 } else { poison };
            for head in (0..sizes.key_heads).map(|head| batch * sizes.key_heads + head) {
                let row = head * sizes.keys + key;
                poisoned.k[row * sizes.head_dim..(row + 1) * sizes.head_dim].fill(poison);
                poisoned.v[row * sizes.value_dim..(row + 1) * sizes.value_dim].fill(value);
            }
        }
        let after = poisoned.run(t)?;
        let what = format!("keys and values that nobody sees set to {poison}, {:?}", problem.spec);
        t.identical(&what, &after.out, &before.out)?;
        t.identical(&what, &after.log_sum_exp, &before.log_sum_exp)?;
    }
    Ok(())
}

/// Property 13: outputs up to t do not know what comes after t.
pub(super) fn later_tokens_do_not_matter<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut problem = Problem::draw_filled(t, Features { patterns: false, masks: true, biases: true });
    problem.spec.pattern = AttentionPattern::Causal;
    let sizes = problem.sizes;
    let last = t.source.below(sizes.keys.min(sizes.queries));
    let before = problem.run(t)?;
    let mut changed = problem.clone();
    let rewrite = |values: &mut [f64], rows: usize, width: usize| {
        for (at, value) in values.iter_mut().enumerate().filter(|(at, _)| at / width.max(1) % rows > last) {
            *value = 2.0 - *value + (at % 5) as f64;
        }
    };
    let storage = t.storage();
    rewrite(&mut changed.q, sizes.queries, sizes.head_dim);
    rewrite(&mut changed.k, sizes.keys, sizes.head_dim);
    rewrite(&mut changed.v, sizes.keys, sizes.value_dim);
    for values in [&mut changed.q, &mut changed.k, &mut changed.v] {
        values.iter_mut().for_each(|value| *value = storage.round(*value));
    }
    let after = changed.run(t)?;
    let early = |values: &[f64], width: usize| -> Vec<f64> {
        values.iter().enumerate().filter(|(at, _)| at / width.max(1) % sizes.queries <= last).map(|(_, value)| *value).collect()
    };
    let what = format!("tokens after {last} changed");
    t.identical(&what, &early(&after.out, sizes.value_dim), &early(&before.out, sizes.value_dim))?;
    t.identical(&what, &early(&after.log_sum_exp, 1), &early(&before.log_sum_exp, 1))
}

/// Property 14: keys and values may come in any order; queries, heads and batches take their outputs with them.
pub(super) fn order_does_not_matter<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let problem = Problem::draw_filled(t, Features::PLAIN);
    let sizes = problem.sizes;
    let found = problem.run(t)?;
    let exact = problem.exact(t, found.dtype);
    let (keys, queries) = (t.source.permutation(sizes.keys), t.source.permutation(sizes.queries));
    let batches = t.source.permutation(sizes.batch);
    let heads = t.source.permutation(sizes.key_heads);
    let group = sizes.heads / sizes.key_heads;
    let query_heads: Vec<usize> = heads.iter().flat_map(|head| (0..group).map(move |member| head * group + member)).collect();
    let mut mixed = problem.clone();
    mixed.q = reordered(&problem.q, [&batches, &query_heads, &queries], sizes.head_dim);
    mixed.k = reordered(&problem.k, [&batches, &heads, &keys], sizes.head_dim);
    mixed.v = reordered(&problem.v, [&batches, &heads, &keys], sizes.value_dim);
    let after = mixed.run(t)?;
    let expected = reordered(&found.out, [&batches, &query_heads, &queries], sizes.value_dim);
    let targets = reordered(&exact.out, [&batches, &query_heads, &queries], sizes.value_dim);
    t.agree("another order", &after.out, &expected, &targets)
}

/// [a, b, c, width] with its three leading dimensions permuted.
fn reordered<T: Copy>(values: &[T], [outer, middle, inner]: [&[usize]; 3], width: usize) -> Vec<T> {
    let mut reordered = Vec::with_capacity(values.len());
    for (&a, &b) in outer.iter().flat_map(|a| middle.iter().map(move |b| (a, b))) {
        for &c in inner {
            let row = (a * middle.len() + b) * inner.len() + c;
            reordered.extend_from_slice(&values[row * width..(row + 1) * width]);
        }
    }
    reordered
}

/// Property 15: an output is an average of the values that its query sees.
pub(super) fn outputs_are_averages<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut problem = Problem::draw_filled(t, Features::ALL);
    let sizes = problem.sizes;
    let constant = t.source.one_in(2);
    if constant {
        problem.v.iter_mut().enumerate().for_each(|(at, value)| *value = (at % sizes.value_dim) as f64 % 16.0 - 4.0);
    }
    let found = problem.run(t)?;
    let exact = problem.exact(t, found.dtype);
    for (at, (&out, target)) in found.out.iter().zip(&exact.out).enumerate() {
        let (row, channel) = (at / sizes.value_dim, at % sizes.value_dim);
        let (batch, head, query) = (row / sizes.queries / sizes.heads, row / sizes.queries % sizes.heads, row % sizes.queries);
        let first = problem.first_key(batch, head);
        let seen = (0..sizes.keys).filter(|&key| problem.sees(batch, query, key));
        let values = seen.map(|key| problem.v[(first + key) * sizes.value_dim + channel]);
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), v| (least.min(v), most.max(v)));
        // A row that sees nothing, also by biases of minus infinity, gives zeros.
        let nothing = least > most || exact.log_sum_exp[row].value == f64::NEG_INFINITY;
        let (least, most) = if nothing { (0.0, 0.0) } else { (least, most) };
        if !(least - target.hard..=most + target.hard).contains(&out) {
            return fail(format!("element {at} is {out}, an average of values between {least} and {most}"));
        }
    }
    Ok(())
}

/// Property 17: shared key heads are repeated key heads, and a window over everything is no window.
pub(super) fn shared_heads_and_wide_windows<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut problem = Problem::draw_filled(t, Features { patterns: false, masks: true, biases: true });
    if matches!(problem.bias, Bias::ByPair(..)) {
        problem.bias = Bias::None;
    }
    let found = problem.run(t)?;
    let exact = problem.exact(t, found.dtype);
    let sizes = problem.sizes;
    let reach = sizes.queries.max(sizes.keys);
    let mut windowed = problem.clone();
    windowed.spec.pattern = AttentionPattern::Window { left: reach, right: reach };
    let wide = windowed.run(t)?;
    t.agree("a window over everything", &wide.out, &found.out, &exact.out)?;
    let repeated = |values: &[f64], width: usize| -> Vec<f64> {
        let heads = values.chunks((sizes.keys * width).max(1));
        heads.flat_map(|head| std::iter::repeat_n(head, sizes.heads / sizes.key_heads).flatten().copied()).collect()
    };
    let mut separate = problem.clone();
    (separate.k, separate.v) = (repeated(&problem.k, sizes.head_dim), repeated(&problem.v, sizes.value_dim));
    separate.sizes.key_heads = sizes.heads;
    let apart = separate.run(t)?;
    t.agree("repeated key heads", &apart.out, &found.out, &exact.out)
}
