//! Multi-head latent attention: one latent vector a token in place of the keys and values of all heads.
//!
//! DeepSeek-AI, "DeepSeek-V2" (2024), section 2.1.2; see `latent.rs` for the absorbed form and for how a given problem is mapped.
//! The cache shrinks from 2 kv_heads head_dim to rank numbers a token; the arithmetic grows where rank is above head_dim, and the accuracy
//! is that of a low-rank approximation of all keys and values together.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::grouped::GIVEN;
use super::latent::{Absorbed, Factors, RANK, RANK_FITS, UP_K, UP_V};
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES};
use crate::descriptor::{DerivedSpec, Descriptor, Dim, Model, Role};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Mla;

/// Attention over given latents.
pub struct Latent<B: TransformerBackend> {
    pub(super) absorbed: Absorbed<B>,
}

/// What a token brings instead of keys and values.
pub(super) const LATENT: DerivedSpec =
    DerivedSpec { name: "latent", role: Role::Activation, shape: &[Dim::Axis("batch"), Dim::Axis("n_kv"), Dim::Axis("rank")], form: None };

impl Variant for Mla {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/mla",
        summary: "attention over one shared latent a token, maps absorbed into queries and outputs",
        citation: "DeepSeek-AI 2024 (DeepSeek-V2), section 2.1.2",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[RANK],
        tensors: GIVEN,
        derived: &[LATENT, UP_K, UP_V],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, RANK_FITS],
        model: Model { flops: "batch*heads*n*n_kv*(4*rank + 5) + 4*batch*heads*n*head_dim*rank", scratch: "2*batch*heads*n*rank" },
    };

    type Bound<B: TransformerBackend + 'static> = Latent<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Latent<B>> {
        Ok(Latent { absorbed: Absorbed::bind(operands, axes, AttentionPattern::Full)? })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let Factors { latent, up_k, up_v, saving } = Factors::of(axes, drawn)?;
        Derived::default().saved(saving).tensor("latent", latent).weight("up_k", &up_k, axes)?.weight("up_v", &up_v, axes)
    }
}

impl<B: TransformerBackend> Bound<B> for Latent<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, latent] = inputs else { return Err(wrong_inputs("attention/mla", inputs)) };
        self.absorbed.attend(backend, q, latent, out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::small;
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::{axes, axis_error, drawn, relative_error, run};

    fn error(rank: i64) -> f64 {
        let own = axes::<Mla>(&small(&[("rank", rank.into())]));
        let tensors = drawn::<Mla>(&own);
        relative_error(&run::<Mla>(&own, &tensors), &run::<Flash>(&axes::<Flash>(&small(&[])), &tensors))
    }

    /// Two sequences of 16 tokens, two heads with 8 channels for keys and as many for values: the matrix is 32 x 32.
    #[test]
    fn full_rank_equals_exact_attention_and_less_is_worse() {
        let errors = [32, 24, 8, 1].map(error);
        assert!(errors[0] < 1e-11, "{errors:?}");
        assert!(errors.is_sorted() && errors[1] > 1e-3, "{errors:?}");
    }

    /// A latent of 8 numbers and its two maps in place of a matrix of 32 x 32.
    #[test]
    fn what_is_saved_of_keys_and_values_is_told() {
        let axes = axes::<Mla>(&small(&[("rank", 8.into())]));
        let [saving] = Mla::derive(&axes, &drawn::<Mla>(&axes)).unwrap().savings[..] else { panic!("one matrix is compressed") };
        assert_eq!((saving.parameters_before, saving.parameters_after), (32 * 32, 2 * 8 * 32));
        assert!(saving.relative_error > 0.1 && saving.relative_error < 1.0, "{saving:?}");
    }

    #[test]
    fn a_rank_above_the_matrix_is_refused() {
        let error = axis_error::<Mla>(&small(&[("rank", 33.into())]));
        assert!(error.contains("rank must be at most batch * n_kv"), "{error}");
    }
}
