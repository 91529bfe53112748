//! Causal attention in a low-dimensional encoding: queries, keys and values of `rank` channels, under a causal mask.
//!
//! Winata et al. 2020, section 2.1 (low-rank transformer; its decoder is masked); see [`super::low_rank_projection`] for what is mapped how.
//! Each token is encoded by itself, so nothing later reaches back, and the mask halves the pairs.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::low_rank_projection::{Encoded, LowRankProjection, RANK_FITS};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model, Placed};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LowRankProjectionCausal;

impl Variant for LowRankProjectionCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/low-rank-projection-causal",
        summary: "causal attention among queries, keys and values that are mapped to fewer channels and back",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, RANK_FITS],
        model: Model {
            flops: "batch*(4*rank*head_dim*(heads + kv_heads)*n + heads*n*(n + 1)/2*(4*rank + 5))",
            ..LowRankProjection::DESCRIPTOR.model
        },
        ..LowRankProjection::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Encoded<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Encoded<B>> {
        Encoded::bind(operands, axes, AttentionPattern::Causal)
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn drawn(axes: &Axes) -> Vec<Placed> {
        LowRankProjection::drawn(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dense_causal, identity, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::axes::AxisValue;

    #[test]
    fn identities_of_full_rank_are_causal_attention() {
        let parameters: [(&str, AxisValue); 2] = [("kv_heads", 2.into()), ("rank", 8.into())];
        let axes = axes::<LowRankProjectionCausal>(&with(&sized(4, 9, 8), &parameters));
        let mut drawn = drawn::<LowRankProjectionCausal>(&axes);
        for name in ["w_q", "w_v", "w_o"] {
            drawn.insert(name.into(), identity(8));
        }
        assert!(distance(&run::<LowRankProjectionCausal>(&axes, &drawn), &dense_causal(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        assert_causal::<LowRankProjectionCausal>(&sized(2, 19, 8), 11);
    }

    #[test]
    fn both_kinds_of_sharing_are_right_and_cost_what_they_say() {
        for sharing in ["qk", "none"] {
            let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("sharing", sharing.into())]);
            assert_eq!(judged::<LowRankProjectionCausal>(&given).complaint, None, "{sharing}");
            assert_closed_forms::<LowRankProjectionCausal>(&given);
        }
    }

    #[test]
    fn a_rank_above_the_dimension_is_refused() {
        let error = axis_error::<LowRankProjectionCausal>(&[("head_dim", 8.into()), ("rank", 9.into())]);
        assert!(error.contains("rank must be at most head_dim"), "{error}");
    }
}
