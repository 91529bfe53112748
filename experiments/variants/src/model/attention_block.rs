//! Attention in a layer: projections, heads, and the attention variant between them.
//!
//! Vaswani et al. (2017), section 3.2.2. Queries, keys and values are laid out head by head before attention, as every attention variant
//! expects them; a cross-attention takes keys and values from another stream.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, LinearSpec};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::architecture::{Architecture, Position};
use super::component::Component;
use crate::descriptor::{DrawRule, Placed, Role};
use crate::variant::{Bound, Operands};

/// A projection with its bias.
struct Projection<B: TransformerBackend> {
    weight: B::Weight,
    bias: Option<Tensor<B::Buffer>>,
}

impl<B: TransformerBackend> Projection<B> {
    fn bind(operands: &mut Operands<B>) -> Result<Self> {
        Ok(Self { weight: operands.weight("weight")?, bias: operands.optional_tensor("bias") })
    }

    fn run(&self, backend: &B, x: View<'_, B::Buffer>, out: ViewMut<'_, B::Buffer>) -> Result<()> {
        let spec = LinearSpec { activation: Activation::None };
        backend.linear(spec, x, &self.weight, self.bias.as_ref().map(Tensor::view), out)
    }
}

/// What positions do inside self-attention.
pub(super) enum Relative<'a, S> {
    /// Nothing.
    None,
    /// Queries and keys turn.
    Rotation { cosines: View<'a, S>, sines: View<'a, S> },
    /// Scores get a value by distance: [heads, 2 n - 1].
    Bias(View<'a, S>),
}

const PROJECTIONS: [&str; 4] = ["q", "k", "v", "o"];

/// The tensors of the projections under a prefix such as `layers.0.`.
pub(super) fn own_tensors(model: &Architecture, prefix: &str) -> Vec<Placed> {
    let mut tensors = Vec::new();
    for which in PROJECTIONS {
        let outputs = if which == "k" || which == "v" { model.kv_heads * model.head_dim() } else { model.d_model };
        let place =
            |name: &str, role, shape, draw| Placed { name: format!("{prefix}{which}.{name}").into(), role, shape, draw, form: None };
        // T5 does not scale its scores; its queries start smaller instead (Raffel et al. 2020, in the published code).
        let small_queries = which == "q" && model.position == Position::T5;
        let deviation = 1.0 / ((model.d_model * model.head_dim()) as f64).sqrt();
        let draw = if small_queries { DrawRule::Around(0.0, deviation) } else { DrawRule::FanIn };
        tensors.push(place("weight", Role::Weight, vec![outputs, model.d_model], draw));
        if model.biases {
            tensors.push(place("bias", Role::Vector, vec![outputs], DrawRule::Around(0.0, 0.02)));
        }
    }
    tensors
}

/// Projections and the attention between them.
pub(super) struct AttentionBlock<B: TransformerBackend> {
    projections: [Projection<B>; 4],
    attention: Box<dyn Bound<B>>,
}

impl<B: TransformerBackend> AttentionBlock<B> {
    /// Binds the projections under the prefix, and the component under its own.
    pub(super) fn bind(prefix: &str, component: &Component, component_prefix: &str, operands: &mut Operands<B>) -> Result<Self> {
        let mut projection = |which: &str| operands.within(&format!("{prefix}{which}."), Projection::bind);
        let projections = [projection("q")?, projection("k")?, projection("v")?, projection("o")?];
        Ok(Self { projections, attention: component.bind(component_prefix, operands)? })
    }

    /// Queries from x; keys and values from `memory` (which is x in self-attention).
    pub(super) fn run(
        &mut self,
        backend: &B,
        model: &Architecture,
        relative: &Relative<'_, B::Buffer>,
        [x, memory]: [View<'_, B::Buffer>; 2],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let q = self.projected(backend, model, 0, relative, x, scratch)?;
        let k = self.projected(backend, model, 1, relative, memory, scratch)?;
        let v = self.projected(backend, model, 2, &Relative::None, memory, scratch)?;
        let mut attended = scratch.take(backend, backend.storage(), q.shape())?;
        match relative {
            Relative::Bias(bias) => {
                let operands =
                    AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::ByDistance(*bias), key_mask: None };
                let outputs = AttentionOutputs { out: attended.view_mut(), log_sum_exp: None };
                backend.attention(&biased(model), operands, outputs, scratch)?;
            }
            _ => self.attention.run(backend, &[q.view(), k.view(), v.view()], attended.view_mut(), scratch)?,
        }
        for part in [q, k, v] {
            scratch.give(part);
        }
        let mut joined = scratch.take(backend, backend.storage(), x.shape())?;
        let by_head = joined.view_mut().with(|layout| layout.split(2, model.heads, model.head_dim())?.swap(1, 2))?;
        backend.copy(attended.view(), by_head)?;
        scratch.give(attended);
        self.projections[3].run(backend, joined.view(), out)?;
        scratch.give(joined);
        Ok(())
    }

    /// A projection of x as [batch, heads, n, head_dim], rotated where positions are.
    fn projected(
        &self,
        backend: &B,
        model: &Architecture,
        which: usize,
        relative: &Relative<'_, B::Buffer>,
        x: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let (batch, n, width) = (model.batch, x.layout.dim_from_end(1), model.head_dim());
        let heads = if which == 0 { model.heads } else { model.kv_heads };
        let mut flat = scratch.take(backend, backend.storage(), &[batch, n, heads * width])?;
        self.projections[which].run(backend, x, flat.view_mut())?;
        let mut by_head = scratch.take(backend, backend.storage(), &[batch, heads, n, width])?;
        let view = flat.view().with(|layout| layout.split(2, heads, width)?.swap(1, 2))?;
        match relative {
            Relative::Rotation { cosines, sines } => backend.rotary(view, *cosines, *sines, by_head.view_mut(), scratch)?,
            _ => backend.copy(view, by_head.view_mut())?,
        }
        scratch.give(flat);
        Ok(by_head)
    }
}

/// The streaming attention of a stack whose scores carry a bias. T5 leaves the scores unscaled.
fn biased(model: &Architecture) -> AttentionSpec {
    let scale = if model.position == Position::T5 { 1.0 } else { 1.0 / (model.head_dim() as f64).sqrt() };
    let pattern = if model.causal { AttentionPattern::Causal } else { AttentionPattern::Full };
    AttentionSpec { pattern, scale, soft_cap: None, query_offset: 0 }
}
