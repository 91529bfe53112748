//! Causal Reformer: attention inside chunks of tokens sorted by their hash, of which each query sees those that came before it.
//!
//! Kitaev et al. 2020, section 2 ("Causal masking for LSH attention"): positions travel through the sort with their tokens, and a comparison
//! of positions makes the mask; see [`super::reformer`] for the rest. What is hidden is the content of later tokens: which earlier ones
//! share a chunk with a query depends on how all tokens of the sequence sort, as it does in the paper, so that a later token may change the
//! choice though never show itself. One chunk is causal to the last bit. With `shared_qk` a token that sees nothing else sees
//! itself; without, a query whose chunks hold no earlier key, in any round, gives zeros.
//!
//! Masked pairs are computed like the others. Engines without a kernel of their own make a mask of the size of all chunks' scores, two
//! copies while it is made: the price against a pattern that is known beforehand.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::HEADS_DIVIDE;
use super::operands::{EQUAL_HEADS, EQUAL_LENGTHS, TOLD_APART};
use super::patterns::attention_over;
use super::reformer::{CHUNK_DIVIDES, EVEN_BUCKETS, Hashed, Reformer, SCRATCH};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct ReformerCausal;

impl Variant for ReformerCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/reformer-causal",
        summary: "causal attention inside chunks of tokens sorted by a hash of their direction",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, EQUAL_HEADS, EQUAL_LENGTHS, EVEN_BUCKETS, CHUNK_DIVIDES, TOLD_APART],
        model: Model {
            flops: "batch*heads*(hashes*((1 + is(shared_qk, no))*n*(buckets*(2*head_dim + 1) + floor(log2(max(n, 2)))) \
                    + chunk*(2*n - chunk)*(4*head_dim + 6) + n*(2*head_dim + 5)) + is(shared_qk, yes)*4*n*head_dim)",
            scratch: SCRATCH,
        },
        ..Reformer::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Hashed<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Hashed<B>> {
        Hashed::bind(operands, axes, true)
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::{assert_causal, assert_closed_forms, dense_causal, dot, row, sized, weighted, with};
    use super::super::checks::{changed, rows_of, seen};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;

    fn given(n: i64, chunk: i64, shared: &'static str) -> Vec<(&'static str, AxisValue)> {
        let parameters: [(&'static str, AxisValue); 4] =
            [("hashes", 2.into()), ("buckets", 4.into()), ("chunk", chunk.into()), ("shared_qk", shared.into())];
        with(&sized(2, n, 8), &parameters)
    }

    #[test]
    fn one_chunk_is_causal_attention_to_the_last_bit() {
        let axes = axes::<ReformerCausal>(&given(10, 10, "no"));
        let drawn = drawn::<ReformerCausal>(&axes);
        assert!(distance(&run::<ReformerCausal>(&axes, &drawn), &dense_causal(&axes, &drawn)) < 1e-12);
        // A round's order of the tokens may change, and with it the order of sums: two tokens sum alike in any order.
        for shared in ["no", "yes"] {
            let more: [(&'static str, AxisValue); 2] = [("hashes", 1.into()), ("n", 4.into())];
            let given: Vec<_> = given(4, 4, shared).into_iter().filter(|(name, _)| *name != "hashes" && *name != "n").chain(more).collect();
            assert_causal::<ReformerCausal>(&given, 2);
        }
    }

    #[test]
    fn one_chunk_of_shared_queries_sees_the_past_without_itself() {
        let axes = axes::<ReformerCausal>(&given(10, 10, "yes"));
        let drawn = drawn::<ReformerCausal>(&axes);
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let (q, k) = (row(&drawn["q"], head, i), row(&drawn["q"], head, j));
            // The first token is alone.
            if j < i || (i, j) == (0, 0) { (dot(q, k) / dot(k, k).sqrt()).exp() } else { 0.0 }
        });
        assert!(distance(&run::<ReformerCausal>(&axes, &drawn), &expected) < 1e-10);
    }

    /// Values take no part in the sort, so they must not show at all.
    #[test]
    fn no_value_of_a_later_token_reaches_back() {
        for shared in ["no", "yes"] {
            let given = given(16, 4, shared);
            let axes = axes::<ReformerCausal>(&given);
            let mut tensors = drawn::<ReformerCausal>(&axes);
            let before = run::<ReformerCausal>(&axes, &tensors);
            tensors.insert("v".into(), changed(&tensors["v"], 9..16, |value| 3.0 - value));
            let after = run::<ReformerCausal>(&axes, &tensors);
            assert_eq!(rows_of(&before, 0..9), rows_of(&after, 0..9), "{shared}");
            assert_ne!(rows_of(&before, 9..16), rows_of(&after, 9..16), "{shared}");
            assert!(seen::<ReformerCausal>(&given, 7).iter().all(|key| *key <= 7), "{shared}");
        }
    }

    #[test]
    fn a_query_without_any_earlier_key_gives_zeros() {
        // Two chunks of two keys each: some early query finds only later ones there.
        let axes = axes::<ReformerCausal>(&given(64, 2, "no"));
        let out = run::<ReformerCausal>(&axes, &drawn::<ReformerCausal>(&axes));
        let zeros = out.values().chunks(8).filter(|row| row.iter().all(|value| *value == 0.0)).count();
        assert!(zeros > 0 && zeros < 100 && out.values().iter().all(|value| value.is_finite()), "{zeros}");
    }

    #[test]
    fn both_forms_are_right_and_cost_what_they_say() {
        for shared in ["no", "yes"] {
            for chunk in [4, 16] {
                let given = with(&given(16, chunk, shared), &[("batch", 2.into())]);
                assert_eq!(judged::<ReformerCausal>(&given).complaint, None, "{shared} {chunk}");
                assert_closed_forms::<ReformerCausal>(&given);
            }
        }
    }

    #[test]
    fn a_chunk_that_does_not_divide_is_refused() {
        assert!(
            axis_error::<ReformerCausal>(&[("n", 16.into()), ("chunk", 5.into()), ("buckets", 2.into())]).contains("chunk must divide n")
        );
    }
}
