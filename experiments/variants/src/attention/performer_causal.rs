//! Causal Performer: random features with running sums instead of a sum over all keys.
//!
//! Choromanski et al. 2021, section 2.5 and appendix B.1 (prefix sums), in the chunked form: what came before a chunk is in a running
//! [features, head_dim] state, what is inside it is a small masked product. The shift of the keys' exponents is the first key's maximum
//! instead of that over all keys, so that later tokens cannot reach back even through rounding. What a later key's exponents have above
//! the first key's is cut off at 40, where all weighs alike: nothing overflows, and keys that differ so much are told apart no more. It
//! takes activations far larger than a trained layer's. (Trigonometric features have normalisers of either sign: where one comes near zero,
//! the estimate itself may be beyond the range of f16.) See [`super::performer`] for the estimate and its price.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use super::kernel_features::KernelAttention;
use super::linear_causal::CHUNK;
use super::operands::REDRAW;
use super::performer::{FEATURES, KIND, ORTHOGONAL, SCRATCH, TENSORS_AND_NORMALS, bound, derived};
use super::random_directions::DIRECTIONS;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct PerformerCausal;

impl Variant for PerformerCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/performer-causal",
        summary: "causal attention estimated by random features with running sums",
        citation: "Choromanski et al. 2021, sections 2.3 to 2.5",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[FEATURES, KIND, ORTHOGONAL, REDRAW, CHUNK],
        tensors: TENSORS_AND_NORMALS,
        derived: &[DIRECTIONS],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        // That of the full form, but the shift is found in one row, and exponents are cut off.
        model: Model {
            flops: "batch*((heads*n + kv_heads*n_kv)*(2*features*(head_dim + 1) \
                    + 2*features*(1 + is(kind, trigonometric))*(head_dim + 1) + is(kind, positive)*(3*features + 2*head_dim + 1)) \
                    + is(kind, positive)*kv_heads*features + is(kind, trigonometric)*kv_heads*(n_kv*(2*features + 2*head_dim + 4) + 1))",
            scratch: SCRATCH,
        },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<KernelAttention<B>> {
        bound(Self::DESCRIPTOR.name, operands, axes, Some(size(axes, "chunk")))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Causal })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        derived(axes, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dense_causal, sized, softened, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, relative_error, run};
    use crossover_core::axes::AxisValue;

    #[test]
    fn later_tokens_do_not_reach_back() {
        for kind in ["positive", "trigonometric", "relu"] {
            for chunk in [1, 4, 64] {
                assert_causal::<PerformerCausal>(&with(&sized(2, 19, 8), &[("kind", kind.into()), ("chunk", chunk.into())]), 11);
            }
        }
    }

    #[test]
    fn the_chunk_does_not_change_the_result() {
        let at = |chunk: i64| {
            let axes = axes::<PerformerCausal>(&with(&sized(2, 19, 8), &[("chunk", chunk.into())]));
            run::<PerformerCausal>(&axes, &drawn::<PerformerCausal>(&axes))
        };
        assert!(distance(&at(1), &at(19)) < 1e-12 && distance(&at(5), &at(19)) < 1e-12);
    }

    #[test]
    fn many_features_come_close_to_dense() {
        let error = |features: i64| {
            let axes = axes::<PerformerCausal>(&with(&sized(2, 32, 8), &[("features", features.into())]));
            let drawn = softened(drawn::<PerformerCausal>(&axes), 0.5);
            relative_error(&run::<PerformerCausal>(&axes, &drawn), &dense_causal(&axes, &drawn))
        };
        let (few, many) = (error(16), error(2048));
        assert!(many < 0.1 && many < 0.4 * few, "{few} {many}");
    }

    #[test]
    fn query_heads_that_share_keys_are_right() {
        let shared: [(&str, AxisValue); 2] = [("kv_heads", 2.into()), ("chunk", 4.into())];
        assert_eq!(judged::<PerformerCausal>(&with(&sized(4, 16, 8), &shared)).complaint, None);
    }

    #[test]
    fn shared_keys_are_summed_once() {
        for kind in ["positive", "trigonometric", "relu"] {
            let shared: [(&str, AxisValue); 3] = [("kv_heads", 2.into()), ("chunk", 4.into()), ("kind", kind.into())];
            assert_closed_forms::<PerformerCausal>(&with(&sized(4, 16, 8), &shared));
        }
    }

    /// Activations of sixty-four times the usual size, whose exponents spread over thousands. Not trigonometric features in f16: their
    /// normalisers come near zero, so that the estimate itself is beyond that type's range.
    #[test]
    fn extreme_activations_do_not_overflow() {
        for (kind, precisions) in [("positive", &["f32", "bf16", "f16"][..]), ("trigonometric", &["f32", "bf16"])] {
            for precision in precisions {
                let more: [(&str, AxisValue); 3] =
                    [("kind", kind.into()), ("distribution", "extreme".into()), ("precision", (*precision).into())];
                let given = with(&sized(2, 64, 16), &more);
                let axes = axes::<PerformerCausal>(&given);
                let out = run::<PerformerCausal>(&axes, &drawn::<PerformerCausal>(&axes));
                assert!(out.values().iter().all(|value| value.is_finite()), "{kind} {precision}");
            }
        }
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<PerformerCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
