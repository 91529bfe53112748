//! Grouped-query attention under a causal mask: each of `groups` key and value heads serves a group of query heads.
//!
//! Ainslie et al., "GQA" (2023), sections 2.1 and 2.2. Between dense attention (groups = kv_heads) and [`super::mqa_causal`] (groups = 1)
//! in memory and in accuracy; the arithmetic stays the same. The given heads are mean-pooled before the timer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::flash::Streamed;
use super::gqa::Gqa;
use super::grouped::GROUPS_DIVIDE;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct GqaCausal;

impl Variant for GqaCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/gqa-causal",
        summary: "groups of query heads share mean-pooled key and value heads, causal",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, GROUPS_DIVIDE, SQUARE],
        model: Model { flops: "batch*heads*n*(n + 1)/2*(4*head_dim + 5)", scratch: "0" },
        ..Gqa::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(AttentionPattern::Causal, axes))
    }

    /// Over the given heads; as the reference, over the pooled ones, which take their names.
    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        Gqa::derive(axes, drawn)
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::host::HostTensor;

    use super::super::checks::{assert_agree, assert_causal, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, relative_error, run};

    #[test]
    fn as_many_groups_as_heads_equal_exact_attention() {
        let given = |groups: i64| small(&[("heads", 4.into()), ("kv_heads", 2.into()), ("groups", groups.into())]);
        assert_agree::<GqaCausal, FlashCausal>(&given(2), &given(0)[..5]);
    }

    #[test]
    fn equal_heads_lose_nothing_and_others_lose_something() {
        let own = axes::<GqaCausal>(&small(&[("heads", 4.into()), ("groups", 2.into())]));
        let full = axes::<FlashCausal>(&small(&[("heads", 4.into())]));
        let mut tensors = drawn::<GqaCausal>(&own);
        assert!(relative_error(&run::<GqaCausal>(&own, &tensors), &run::<FlashCausal>(&full, &tensors)) > 0.1);
        for name in ["k", "v"] {
            let area = 16 * 8;
            // Heads 1 and 3 become copies of 0 and 2.
            let values = tensors[name].values().chunks(2 * area).flat_map(|pair| [&pair[..area], &pair[..area]].concat()).collect();
            tensors.insert(name.into(), HostTensor::new(tensors[name].shape(), values).unwrap());
        }
        assert!(distance(&run::<GqaCausal>(&own, &tensors), &run::<FlashCausal>(&full, &tensors)) < 1e-13);
    }

    #[test]
    fn groups_that_do_not_divide_are_refused() {
        assert!(axis_error::<GqaCausal>(&[("heads", 8.into()), ("groups", 3.into())]).contains("groups must divide kv_heads"));
        assert!(axis_error::<GqaCausal>(&[("heads", 2.into()), ("groups", 4.into())]).contains("groups must divide kv_heads"));
    }

    #[test]
    fn later_tokens_do_not_matter() {
        assert_causal::<GqaCausal>(&small(&[]));
    }
}
