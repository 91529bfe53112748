//! Causal head pruning: only some of the query heads are computed, over past keys, the others give zero.
//!
//! Michel et al. (2019), sections 3 and 4; see [`super::head_pruning`] for which heads stay. The score by norms is taken of whole
//! sequences, as pruning is decided once and before the timer; for given heads nothing later reaches back.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::head_pruning::{HEADS_LISTED, HeadPruning, KEEP_FITS, Pruned};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct HeadPruningCausal;

impl Variant for HeadPruningCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/head-pruning-causal",
        summary: "causal attention of the kept heads only, zeros for the others",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, KEEP_FITS, HEADS_LISTED],
        model: Model {
            flops: "batch*(is(keep_heads,)*keep + listed(keep_heads))*n*((n + 1)/2*(4*head_dim + 5) + head_dim)",
            ..HeadPruning::DESCRIPTOR.model
        },
        ..HeadPruning::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Pruned<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Pruned<B>> {
        Pruned::bind(operands, axes, AttentionPattern::Causal)
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        HeadPruning::derive(axes, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::assert_closed_forms;
    use super::super::checks::{assert_agree, assert_causal, output, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;
    use crossover_core::axes::AxisValue;

    fn given(more: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
        let heads: [(&'static str, AxisValue); 2] = [("heads", 4.into()), ("kv_heads", 2.into())];
        small(&[heads.as_slice(), more].concat())
    }

    #[test]
    fn all_heads_kept_is_causal_attention() {
        assert_agree::<HeadPruningCausal, FlashCausal>(&given(&[("keep", 4.into())]), &given(&[]));
    }

    #[test]
    fn listed_heads_are_exact_and_the_others_zero() {
        let full = output::<FlashCausal>(&given(&[]));
        let pruned = given(&[("keep_heads", "0,3".into())]);
        for (at, (value, exact)) in output::<HeadPruningCausal>(&pruned).values().iter().zip(full.values()).enumerate() {
            let expected = if [0, 3].contains(&(at / (16 * 8) % 4)) { *exact } else { 0.0 };
            assert!((value - expected).abs() < 1e-13, "{at}");
        }
        assert_causal::<HeadPruningCausal>(&pruned);
        assert_closed_forms::<HeadPruningCausal>(&pruned);
    }

    #[test]
    fn a_head_that_is_not_there_is_refused() {
        let error = axis_error::<HeadPruningCausal>(&given(&[("keep_heads", "0,4".into())]));
        assert!(error.contains("entry 2 is head 4, and the 4 heads are 0..=3"), "{error}");
    }
}
