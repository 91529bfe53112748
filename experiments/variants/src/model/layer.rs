//! One layer: self-attention, in a decoder over an encoder also cross-attention, and feed-forward, each with its norm and residual.
//!
//! Vaswani et al. (2017), section 3.1 (post-norm); Xiong et al. (2020) (pre-norm).

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::tensor::{Tensor, View};

use super::architecture::Architecture;
use super::attention_block::{AttentionBlock, Place};
use super::projection::own_tensors as projections;
use super::swapped::{self, TwoSwapped};
use crate::descriptor::Placed;
use crate::variant::{Bound, Operands};

/// A bound layer.
pub(super) struct Layer<B: TransformerBackend> {
    sublayers: Vec<(Sublayer<B>, Box<dyn Bound<B>>)>,
}

enum Sublayer<B: TransformerBackend> {
    SelfAttention(AttentionBlock<B>),
    CrossAttention(AttentionBlock<B>),
    FeedForward(Box<dyn Bound<B>>),
}

/// The tensors of a layer that are not its components'.
pub(super) fn own_tensors(model: &Architecture, layer: usize) -> Vec<Placed> {
    let mut tensors = projections(model, &format!("{}layers.{layer}.", model.prefix));
    if model.cross.is_some() {
        tensors.extend(projections(model, &format!("{}layers.{layer}.cross_", model.prefix)));
    }
    tensors
}

impl<B: TransformerBackend> Layer<B> {
    pub(super) fn bind(model: &Architecture, layer: usize, operands: &mut Operands<B>) -> Result<Self> {
        let prefix = |part: &str| format!("{}layers.{layer}.{part}", model.prefix);
        let norm = |part: &str, operands: &mut Operands<B>| model.norm.bind(&prefix(part), operands);
        let own = AttentionBlock::bind_self(model, &prefix(""), operands)?;
        let mut sublayers = vec![(Sublayer::SelfAttention(own), norm("attention_norm.", operands)?)];
        if let Some(cross) = &model.cross {
            let block = AttentionBlock::bind(model, &prefix("cross_"), (cross, &prefix("cross_attention.")), operands)?;
            sublayers.push((Sublayer::CrossAttention(block), norm("cross_norm.", operands)?));
        }
        let ffn = match swapped::ffn(model, &prefix("ffn.")) {
            Some(layers) => Box::new(TwoSwapped::bind(layers, operands)?),
            None => model.ffn.bind(&prefix("ffn."), operands)?,
        };
        sublayers.push((Sublayer::FeedForward(ffn), norm("ffn_norm.", operands)?));
        Ok(Self { sublayers })
    }

    /// Keys and values of the tokens so far.
    pub(super) fn cache(&self) -> Option<[&Tensor<B::Buffer>; 2]> {
        self.sublayers.iter().find_map(|(sublayer, _)| if let Sublayer::SelfAttention(block) = sublayer { block.cache() } else { None })
    }

    /// The stream, a layer further; `memory` is the encoder's output, where there is one.
    pub(super) fn run(
        &mut self,
        backend: &B,
        model: &Architecture,
        place: &Place<'_, B::Buffer>,
        memory: Option<View<'_, B::Buffer>>,
        stream: &mut Tensor<B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let mut branch = scratch.take(backend, backend.storage(), stream.shape())?;
        let mut normed = scratch.take(backend, backend.storage(), stream.shape())?;
        for (sublayer, norm) in &mut self.sublayers {
            if model.pre_norm {
                norm.run(backend, &[stream.view()], normed.view_mut(), scratch)?;
            }
            let x = if model.pre_norm { normed.view() } else { stream.view() };
            match sublayer {
                Sublayer::SelfAttention(block) => block.run(backend, model, place, [x, x], branch.view_mut(), scratch)?,
                Sublayer::CrossAttention(block) => {
                    block.run(backend, model, &Place::START, [x, memory.unwrap_or(x)], branch.view_mut(), scratch)?
                }
                Sublayer::FeedForward(ffn) => ffn.run(backend, &[x], branch.view_mut(), scratch)?,
            }
            if model.pre_norm {
                backend.binary(BinaryOp::Add, Operand::InPlace, branch.view(), stream.view_mut())?;
            } else {
                backend.binary(BinaryOp::Add, Operand::InPlace, stream.view(), branch.view_mut())?;
                norm.run(backend, &[branch.view()], stream.view_mut(), scratch)?;
            }
        }
        scratch.give(normed);
        scratch.give(branch);
        Ok(())
    }
}
