//! Multi-query attention under a causal mask: all query heads share one key head and one value head.
//!
//! Shazeer, "Fast Transformer Decoding" (2019), section 3. The cache and its traffic shrink by the number of heads, which is what decoding
//! waits for; a prefill saves next to nothing. The one head is the mean of the given ones (Ainslie et al. 2023, section 2.1).

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::flash::Streamed;
use super::mqa::Mqa;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct MqaCausal;

impl Variant for MqaCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/mqa-causal",
        summary: "one key head and one value head for all queries, causal",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: "batch*heads*n*(n + 1)/2*(4*head_dim + 5)", scratch: "0" },
        ..Mqa::DESCRIPTOR
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
        Mqa::derive(axes, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, small};
    use super::super::flash_causal::FlashCausal;
    use super::super::grouped::pooled;
    use super::*;
    use crate::testing::{axes, distance, drawn, run};

    /// With equal heads there is nothing to average away.
    #[test]
    fn equal_heads_lose_nothing() {
        let given = small(&[("kv_heads", 1.into())]);
        assert_agree::<MqaCausal, FlashCausal>(&given, &given);
    }

    #[test]
    fn the_one_head_is_the_mean() {
        let own = axes::<MqaCausal>(&small(&[("heads", 4.into())]));
        let tensors = drawn::<MqaCausal>(&own);
        let mut mean = tensors.clone();
        for name in ["k", "v"] {
            mean.insert(name.into(), pooled(&tensors, name, 1).unwrap());
        }
        let one = axes::<FlashCausal>(&small(&[("heads", 4.into()), ("kv_heads", 1.into())]));
        assert!(distance(&run::<MqaCausal>(&own, &tensors), &run::<FlashCausal>(&one, &mean)) < 1e-14);
    }

    #[test]
    fn later_tokens_do_not_matter() {
        assert_causal::<MqaCausal>(&small(&[]));
    }
}
