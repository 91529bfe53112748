//! Causal talking-heads attention: heads are mixed before and after the softmax, over past keys.
//!
//! Shazeer et al. (2020), section 4; see [`super::talking_heads`]. The mask comes after the first mixture, which minus infinities would not
//! survive, and before the softmax; the second mixture leaves zeros zero. A chunk of query rows is held against the keys up to its own
//! last, in two copies: half the work of the full form.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::scores::{chunk_scores, chunked_pairs};
use super::talking_heads::{Mixing, TalkingHeads};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct TalkingHeadsCausal;

impl Variant for TalkingHeadsCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/talking-heads-causal",
        summary: "causal, heads are mixed by learned maps before and after the softmax",
        task: "attention/talking-heads-causal",
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model {
            flops: concat!("batch*heads*", chunked_pairs!(), "*(4*head_dim + 5 + 4*heads)"),
            scratch: concat!("2*batch*heads*", chunk_scores!(), " + heads^2"),
        },
        ..TalkingHeads::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Mixing<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Mixing<B>> {
        Mixing::bind(operands, axes, true)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::{assert_closed_forms, identity};
    use super::super::checks::{assert_causal, output, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::axes::AxisValue;

    fn given(chunk: i64) -> Vec<(&'static str, AxisValue)> {
        small(&[("heads", 4.into()), ("kv_heads", 2.into()), ("chunk", chunk.into())])
    }

    #[test]
    fn identity_maps_give_exact_causal_attention() {
        let axes = axes::<TalkingHeadsCausal>(&given(5));
        let mut tensors = drawn::<TalkingHeadsCausal>(&axes);
        for name in ["mix_logits", "mix_weights"] {
            tensors.insert(name.into(), identity(4));
        }
        let plain = output::<FlashCausal>(&small(&[("heads", 4.into()), ("kv_heads", 2.into())]));
        assert!(distance(&run::<TalkingHeadsCausal>(&axes, &tensors), &plain) < 1e-13);
    }

    #[test]
    fn later_tokens_do_not_reach_back_and_the_chunk_changes_nothing() {
        for chunk in [1, 5, 16] {
            assert_causal::<TalkingHeadsCausal>(&given(chunk));
            assert_closed_forms::<TalkingHeadsCausal>(&given(chunk));
            let (some, all) = (output::<TalkingHeadsCausal>(&given(chunk)), output::<TalkingHeadsCausal>(&given(64)));
            assert!(distance(&some, &all) < 1e-12, "{chunk}");
        }
    }

    /// The last row sees all keys, whatever the maps are.
    #[test]
    fn the_last_row_is_that_of_the_full_form() {
        let (causal, full) = (output::<TalkingHeadsCausal>(&given(5)), output::<TalkingHeads>(&given(5)));
        let last = |out| super::super::checks::rows_of(out, 15..16);
        assert!(last(&causal).iter().zip(last(&full)).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<TalkingHeadsCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
