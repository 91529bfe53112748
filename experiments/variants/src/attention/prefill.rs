//! Prefill: causal attention over a prompt that also leaves keys and values in the cache for the steps to come.
//!
//! Pope et al., "Efficiently Scaling Transformer Inference" (2022), section 2 (prefill and decode). Streaming causal attention plus one
//! pass of copying; attention reads the cache and not the inputs, so that what is cached is what is used. `capacity` is the room for later
//! tokens: it costs memory, and spreads the heads apart in it.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::cache::cached;
use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Dim, Model};
use crate::resolve::{shape_of, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Prefill;

/// The cache to fill.
pub struct Filling<B: TransformerBackend> {
    k: Tensor<B::Buffer>,
    v: Tensor<B::Buffer>,
    streamed: Streamed,
}

const CACHE: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), Dim::Axis("capacity"), Dim::Axis("head_dim")];

impl Variant for Prefill {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/prefill",
        summary: "causal attention over a prompt, keys and values left in a cache",
        citation: "Pope et al. 2022, section 2",
        task: "attention/prefill",
        problem: PROBLEM,
        parameters: &[count("capacity", "tokens that the cache has room for", AxisDefault::SameAs("n"))],
        tensors: TENSORS,
        derived: &[cached("k_cache", CACHE), cached("v_cache", CACHE)],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            SQUARE,
            Condition {
                text: "the cache must have room for the prompt: capacity >= n",
                holds: |axes: &Axes| size(axes, "capacity") >= size(axes, "n"),
            },
        ],
        model: Model { flops: "batch*heads*n*(n + 1)/2*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend + 'static> = Filling<B>;

    fn bind<B: TransformerBackend + 'static>(operands: &mut Operands<B>, axes: &Axes) -> Result<Filling<B>> {
        let streamed = Streamed::over(AttentionPattern::Causal, axes);
        Ok(Filling { k: operands.tensor("k_cache")?, v: operands.tensor("v_cache")?, streamed })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    /// An empty cache.
    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let shape = shape_of(CACHE, axes);
        let empty = HostTensor::new(&shape, vec![0.0; shape.iter().product()])?;
        Ok(Derived::default().tensor("k_cache", empty.clone()).tensor("v_cache", empty))
    }
}

impl<B: TransformerBackend> Bound<B> for Filling<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/prefill", inputs)) };
        let &[_, _, n, _] = k.shape() else { return Err(wrong_inputs("attention/prefill", inputs)) };
        backend.copy(k, self.k.view_mut().narrow(2, 0, n)?)?;
        backend.copy(v, self.v.view_mut().narrow(2, 0, n)?)?;
        let (k, v) = (self.k.view().narrow(2, 0, n)?, self.v.view().narrow(2, 0, n)?);
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.streamed.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn the_room_in_the_cache_changes_nothing() {
        for capacity in [16, 40] {
            assert_agree::<Prefill, FlashCausal>(&small(&[("capacity", capacity.into())]), &small(&[]));
        }
        assert_causal::<Prefill>(&small(&[("capacity", 20.into())]));
    }

    #[test]
    fn a_cache_that_is_too_small_is_refused() {
        assert!(axis_error::<Prefill>(&[("n", 8.into()), ("capacity", 7.into())]).contains("capacity >= n"));
    }
}
