//! Attention: against f64, against the composition (11), and what must not matter (12 to 17). And that inside of chunks of a sorted sequence.

mod buckets;
mod cache;
mod invariance;
mod problem;
mod refusals;

use crate::backend::TransformerBackend;

use super::Property;
use super::trial::{Outcome, Trial, fail};
use problem::{Features, Problem};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let attention = |name, check| Property { name, operation: "attention", check };
    vec![
        attention("attention", against_f64),
        attention("attention-tiles", over_several_tiles),
        attention("attention-composed", against_the_composition),
        attention("attention-masked", invariance::masked_operands_do_not_matter),
        attention("attention-causal", invariance::later_tokens_do_not_matter),
        attention("attention-order", invariance::order_does_not_matter),
        attention("attention-convex", invariance::outputs_are_averages),
        attention("attention-shared", invariance::shared_heads_and_wide_windows),
        attention("attention-decode", cache::decode_steps_continue_a_prefill),
        attention("attention-split", cache::split_keys_merge),
        Property { name: "bucket-attention", operation: "bucket-attention", check: buckets::against_f64 },
        Property { name: "bucket-attention-causal", operation: "bucket-attention", check: buckets::later_tokens_do_not_matter },
        Property { name: "bucket-attention-order", operation: "bucket-attention", check: buckets::tokens_are_in_range_and_named_once },
        Property { name: "bucket-attention-chunks", operation: "bucket-attention", check: buckets::chunks_fit },
        Property { name: "attention-positions", operation: "refusals", check: refusals::positions_are_numbers },
        Property { name: "attention-types", operation: "refusals", check: refusals::types_are_of_the_precision },
    ]
}

fn against_f64<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let problem = Problem::draw(t, Features::ALL);
    let found = problem.run(t)?;
    let exact = problem.exact(t, found.dtype);
    t.compare(found.dtype, &found.out, &exact.out)?;
    t.compare_as("log-sum-exp", t.compute(), &found.log_sum_exp, &exact.log_sum_exp)
}

/// Few queries and channels, so that there is work left for more keys than a tile has; and keys that grow, so that the running
/// maximum does, too.
fn over_several_tiles<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let long = t.source.size(63, usize::MAX).max(63);
    let (queries, keys) = if t.source.one_in(4) { (long, 9) } else { (1 + t.source.below(3), long) };
    let widths = [1 + t.source.below(4), 1 + t.source.below(5)];
    let mut problem = Problem::of_sizes(t, Features::ALL, [queries, keys, widths[0], widths[1]]);
    let storage = t.storage();
    for (at, k) in problem.k.iter_mut().enumerate() {
        *k = storage.round(*k * (0.25 + (at / widths[0] % keys) as f64 / 32.0));
    }
    let found = problem.run(t)?;
    let exact = problem.exact(t, found.dtype);
    t.compare(found.dtype, &found.out, &exact.out)?;
    t.compare_as("log-sum-exp", t.compute(), &found.log_sum_exp, &exact.log_sum_exp)
}

/// Property 11. Below the floor, twice nothing is nothing: one rounding of the largest value, and what one rounding of the largest score
/// makes of a weight on it. Where outputs are few, the composition may by luck have made neither.
fn against_the_composition<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut problem = Problem::draw(t, Features::ALL);
    problem.out_type = t.storage();
    let exact = problem.exact(t, problem.out_type);
    let error = |out: &[f64]| out.iter().zip(&exact.out).map(|(out, exact)| (out - exact.value).abs()).fold(0.0, f64::max);
    let (own, composed) = (error(&problem.run(t)?.out), error(&problem.run_composed(t)?.out));
    let largest = problem.v.iter().fold(0.0f64, |largest, v| largest.max(v.abs()));
    let floor = 2.0 * (t.storage().unit_roundoff() + t.compute().unit_roundoff() * exact.largest_score) * largest;
    if own > 2.0 * composed + floor {
        return fail(format!("an error of {own:e}, where the composition makes one of {composed:e}: {:?}", problem.spec));
    }
    Ok(())
}
