//! Causal attention with capped scores: cap tanh(s / cap) before the mask.
//!
//! Gemma Team, "Gemma 2" (2024), section 2 (logit soft-capping), as its decoder uses it; see [`super::soft_cap`]. The mask comes after the
//! cap: a cap would turn minus infinity into -cap and let the future in.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::soft_cap::SoftCap;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SoftCapCausal;

impl Variant for SoftCapCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/soft-cap-causal",
        summary: "causal, scores pass through cap * tanh(s / cap), streamed",
        task: "attention/soft-cap-causal",
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: "batch*heads*n*(n + 1)/2*(4*head_dim + 5)", scratch: "0" },
        ..SoftCap::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        let Streamed { spec } = Streamed::over(AttentionPattern::Causal, axes);
        Ok(Streamed { spec: AttentionSpec { soft_cap: Some(number(axes, "cap")), ..spec } })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_causal, output, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::{axis_error, distance};

    #[test]
    fn the_higher_the_cap_the_nearer_to_plain_attention() {
        let plain = output::<FlashCausal>(&small(&[]));
        let errors = [1e8, 50.0, 5.0, 0.5].map(|cap| distance(&output::<SoftCapCausal>(&small(&[("cap", cap.into())])), &plain));
        assert!(errors[0] < 1e-12 && errors[1] > 1e-9 && errors.is_sorted(), "{errors:?}");
    }

    #[test]
    fn a_tiny_cap_makes_all_visible_keys_equal() {
        let axes = crate::testing::axes::<SoftCapCausal>(&small(&[("cap", 0.001.into())]));
        let tensors = crate::testing::drawn::<SoftCapCausal>(&axes);
        let out = crate::testing::run::<SoftCapCausal>(&axes, &tensors);
        // Query 3 of the first head: the mean of the first four values, but for a thousandth.
        let mean = |channel: usize| (0..4).map(|key| tensors["v"].values()[key * 8 + channel]).sum::<f64>() / 4.0;
        assert!((0..8).all(|channel| (out.values()[3 * 8 + channel] - mean(channel)).abs() < 1e-2));
        assert_eq!(seen::<SoftCapCausal>(&small(&[("cap", 1.0.into())]), 3), [0, 1, 2, 3]);
        assert_causal::<SoftCapCausal>(&small(&[]));
    }

    #[test]
    fn no_cap_is_refused() {
        assert!(axis_error::<SoftCapCausal>(&[("cap", 0.0.into())]).contains("cap = 0.0 must be a number in 0.001.."));
    }
}
