//! Multi-head latent attention under a causal mask.
//!
//! DeepSeek-AI, "DeepSeek-V2" (2024), section 2.1.2; see `latent.rs` for the absorbed form and for how a given problem is mapped.
//! The causal form is that of training and prefill; [`super::decode_mla`] is where the small cache pays.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;

use super::latent::{Absorbed, RANK_FITS};
use super::mla::{Latent, Mla};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct MlaCausal;

impl Variant for MlaCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/mla-causal",
        summary: "causal attention over one shared latent a token, maps absorbed into queries and outputs",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, RANK_FITS],
        model: Model { flops: "batch*heads*n*(n + 1)/2*(4*rank + 5) + 4*batch*heads*n*head_dim*rank", scratch: "2*batch*heads*n*rank" },
        ..Mla::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Latent<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Latent<B>> {
        Ok(Latent { absorbed: Absorbed::bind(operands, axes, AttentionPattern::Causal)? })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        Mla::derive(axes, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{changed, rows_of, seen_above, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, relative_error, run};

    fn error(rank: i64) -> f64 {
        let own = axes::<MlaCausal>(&small(&[("rank", rank.into())]));
        let tensors = drawn::<MlaCausal>(&own);
        relative_error(&run::<MlaCausal>(&own, &tensors), &run::<FlashCausal>(&axes::<FlashCausal>(&small(&[])), &tensors))
    }

    /// Two sequences of 16 tokens, two heads with 8 channels for keys and as many for values: the matrix is 32 x 32.
    #[test]
    fn full_rank_equals_exact_attention_and_less_is_worse() {
        let errors = [32, 24, 8, 1].map(error);
        assert!(errors[0] < 1e-11, "{errors:?}");
        assert!(errors.is_sorted() && errors[1] > 1e-3, "{errors:?}");
    }

    #[test]
    fn a_rank_above_the_matrix_is_refused() {
        let error = axis_error::<MlaCausal>(&small(&[("rank", 33.into())]));
        assert!(error.contains("rank must be at most batch * n_kv"), "{error}");
    }

    #[test]
    fn later_queries_do_not_matter_and_later_latents_neither() {
        // All keys take part in the factorisation, so causality holds for given latents: a change of later queries only.
        let axes = axes::<MlaCausal>(&small(&[("rank", 4.into())]));
        let mut tensors = drawn::<MlaCausal>(&axes);
        let before = run::<MlaCausal>(&axes, &tensors);
        tensors.insert("q".into(), changed(&tensors["q"], 8..16, |value| 3.0 - value));
        let after = run::<MlaCausal>(&axes, &tensors);
        assert_eq!(rows_of(&before, 0..8), rows_of(&after, 0..8));
        // At full rank the latents hold everything, and the mask must still hide the future.
        let given = small(&[("rank", 32.into())]);
        assert_eq!(seen_above::<MlaCausal>(&given, 3, 1e-9), [0, 1, 2, 3]);
    }
}
