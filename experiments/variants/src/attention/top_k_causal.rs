//! Causal top-k attention: each query keeps its `k` largest scores among the keys up to its own.
//!
//! Gupta et al., "Memory-efficient Transformers via Top-k Attention" (2021), section 2, under a causal mask; see [`super::top_k`]. Early
//! queries that see no more than k keys keep them all.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::patterns::attention_over;
use super::top_k::{K_FITS, Selected, TopK};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct TopKCausal;

impl Variant for TopKCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/top-k-causal",
        summary: "each query keeps its k largest past scores",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, K_FITS],
        ..TopK::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Selected;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Selected> {
        Ok(Selected::over(AttentionPattern::Causal, axes))
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
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn all_keys_kept_is_causal_attention() {
        assert_agree::<TopKCausal, FlashCausal>(&small(&[("k", 16.into())]), &small(&[]));
        // One fewer than all: only the last query has something to forget, in a chunk of its own.
        let given = small(&[("k", 15.into()), ("chunk", 5.into())]);
        assert_eq!(seen::<TopKCausal>(&given, 14).len(), 15);
    }

    #[test]
    fn a_query_keeps_k_past_keys_or_what_there_is() {
        let given = small(&[("k", 3.into()), ("chunk", 5.into()), ("batch", 1.into()), ("heads", 1.into())]);
        assert_eq!(seen::<TopKCausal>(&given, 1), [0, 1]);
        let kept = seen::<TopKCausal>(&given, 9);
        assert!(kept.len() == 3 && kept.iter().all(|key| *key <= 9), "{kept:?}");
        assert_causal::<TopKCausal>(&given);
    }

    #[test]
    fn more_keys_than_there_are_cannot_be_kept() {
        assert!(axis_error::<TopKCausal>(&[("n", 8.into()), ("k", 9.into())]).contains("k <= n_kv"));
    }
}
