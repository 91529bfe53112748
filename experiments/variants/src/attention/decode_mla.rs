//! A decode step of multi-head latent attention: the cache holds one latent vector a token.
//!
//! DeepSeek-AI, "DeepSeek-V2" (2024), section 2.1.2; `latent.rs` says how a given problem is mapped. The cache has rank numbers a
//! token instead of 2 kv_heads head_dim, and the absorbed maps cost a little arithmetic that a step has to spare.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::HEADS_DIVIDE;
use super::cache::{DECODE, NEW_QUERY, ONE, STEP, brought, cached, without_last};
use super::latent::{Absorbed, Factors, RANK, RANK_FITS, UP_K, UP_V};
use super::patterns::attention_over;
use crate::descriptor::{Descriptor, Dim, Model};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct DecodeMla;

/// The cache of latents.
pub struct LatentStep<B: TransformerBackend> {
    absorbed: Absorbed<B>,
    cache: Tensor<B::Buffer>,
    slot: usize,
}

impl Variant for DecodeMla {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/decode-mla",
        summary: "one new token against a cache of one latent vector a token",
        citation: "DeepSeek-AI 2024 (DeepSeek-V2), section 2.1.2",
        task: "attention/decode",
        problem: DECODE,
        parameters: &[RANK],
        tensors: STEP,
        derived: &[
            brought("latent_new", &[Dim::Axis("batch"), ONE, Dim::Axis("rank")]),
            cached("latent_cache", &[Dim::Axis("batch"), Dim::Axis("n_kv"), Dim::Axis("rank")]),
            UP_K,
            UP_V,
        ],
        output: NEW_QUERY,
        conditions: &[HEADS_DIVIDE, RANK_FITS],
        model: Model { flops: "batch*heads*n_kv*(4*rank + 5) + 4*batch*heads*head_dim*rank", scratch: "2*batch*heads*rank" },
    };

    type Bound<B: TransformerBackend + 'static> = LatentStep<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<LatentStep<B>> {
        let absorbed = Absorbed::bind(operands, axes, AttentionPattern::Full)?;
        Ok(LatentStep { absorbed, cache: operands.tensor("latent_cache")?, slot: size(axes, "n_kv").saturating_sub(1) })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let Factors { latent, up_k, up_v, saving } = Factors::of(axes, drawn)?;
        let (cache, new) = without_last(&latent)?;
        let derived = Derived::default().saved(saving).tensor("latent_new", new).tensor("latent_cache", cache);
        derived.weight("up_k", &up_k, axes)?.weight("up_v", &up_v, axes)
    }
}

impl<B: TransformerBackend> Bound<B> for LatentStep<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, latent_new] = inputs else { return Err(wrong_inputs("attention/decode-mla", inputs)) };
        backend.copy(latent_new, self.cache.view_mut().narrow(1, self.slot, 1)?)?;
        self.absorbed.attend(backend, q, self.cache.view(), out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::Decode;
    use super::super::mla::Mla;
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::axes::AxisValue;

    fn given(rank: i64) -> Vec<(&'static str, AxisValue)> {
        let sizes = [("batch", 2), ("heads", 4), ("kv_heads", 2), ("n_kv", 9), ("head_dim", 4), ("rank", rank)];
        sizes.map(|(name, value)| (name, AxisValue::Int(value))).to_vec()
    }

    #[test]
    fn full_rank_equals_a_plain_step() {
        let (own, plain) = (axes::<DecodeMla>(&given(16)), axes::<Decode>(&given(16)[..5]));
        let tensors = drawn::<Decode>(&plain);
        assert!(distance(&run::<DecodeMla>(&own, &tensors), &run::<Decode>(&plain, &tensors)) < 1e-11);
    }

    #[test]
    fn a_step_is_a_row_of_latent_attention() {
        let own = axes::<DecodeMla>(&given(5));
        let tensors = drawn::<DecodeMla>(&own);
        let row = axes::<Mla>(&[&given(5)[..], &[("n", 1.into())]].concat());
        assert!(distance(&run::<DecodeMla>(&own, &tensors), &run::<Mla>(&row, &tensors)) < 1e-13);
    }

    #[test]
    fn a_rank_above_the_matrix_is_refused() {
        assert!(axis_error::<DecodeMla>(&given(17)).contains("at most 2 * kv_heads * head_dim"));
    }
}
