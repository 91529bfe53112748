//! Attention in a layer: projections, heads, and the attention between them.
//!
//! Vaswani et al. (2017), section 3.2.2. Between the projections stands a variant of the family attention; a cross-attention takes keys and
//! values from another stream. Where scores carry a bias by distance, and in decoders that are called step by step, it is the engine's
//! streaming attention over the pattern that the variant stands for, with a cache of keys and values where the model has one.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::architecture::{Architecture, Attending};
use super::component::Component;
use super::projection::{self, Projection};
use crate::descriptor::{DrawRule, Placed, Role};
use crate::variant::{Bound, Operands};

/// What positions do inside self-attention.
pub(super) enum Relative<'a, S> {
    /// Nothing.
    None,
    /// Queries and keys turn.
    Rotation { cosines: View<'a, S>, sines: View<'a, S> },
    /// Scores get a value by distance: [heads, 2 n - 1].
    Bias(View<'a, S>),
}

/// Where a call's tokens stand.
pub(super) struct Place<'a, S> {
    /// Number of the first.
    pub(super) at: usize,
    pub(super) relative: Relative<'a, S>,
}

impl<S> Place<'_, S> {
    /// At the start, without relative positions: a cross-attention.
    pub(super) const START: Self = Self { at: 0, relative: Relative::None };
}

/// Names of the caches in a layer.
const CACHES: [&str; 2] = ["k_cache", "v_cache"];

/// The caches of a model that has them: [batch, kv_heads, n, head_dim] each.
pub(super) fn caches(model: &Architecture) -> Vec<Placed> {
    let shape = vec![model.batch, model.kv_heads, model.n, model.head_dim()];
    let names = (0..model.layers).flat_map(|layer| CACHES.map(|which| format!("{}layers.{layer}.{which}", model.prefix)));
    let place = |name: String| Placed { name: name.into(), role: Role::State, shape: shape.clone(), draw: DrawRule::FanIn, form: None };
    names.map(place).collect()
}

/// The attention between the projections.
enum Inner<B: TransformerBackend> {
    Component(Box<dyn Bound<B>>),
    /// The engine's streaming attention over the tokens of the call.
    Streamed(AttentionSpec),
    Cached(Box<Cached<B>>),
}

/// The engine's streaming attention over all tokens so far.
struct Cached<B: TransformerBackend> {
    spec: AttentionSpec,
    k: Tensor<B::Buffer>,
    v: Tensor<B::Buffer>,
}

/// Projections and the attention between them.
pub(super) struct AttentionBlock<B: TransformerBackend> {
    projections: [Projection<B>; 4],
    inner: Inner<B>,
}

impl<B: TransformerBackend> AttentionBlock<B> {
    /// Over the layer's own tokens; the prefix is the layer's.
    pub(super) fn bind_self(model: &Architecture, prefix: &str, operands: &mut Operands<B>) -> Result<Self> {
        let pattern = match &model.attending {
            Attending::Growing(pattern) | Attending::Cached(pattern) => pattern.clone(),
            Attending::Whole if !model.biases_scores() => {
                return Self::bind(model, prefix, (&model.attention, &format!("{prefix}attention.")), operands);
            }
            Attending::Whole if model.causal => AttentionPattern::Causal,
            Attending::Whole => AttentionPattern::Full,
        };
        let spec = AttentionSpec { pattern, scale: 1.0 / (model.head_dim() as f64).sqrt(), soft_cap: None, query_offset: 0 };
        let cached = matches!(model.attending, Attending::Cached(_));
        let mut take = |which: &str| operands.tensor(&format!("{prefix}{which}"));
        let inner =
            if cached { Inner::Cached(Box::new(Cached { spec, k: take(CACHES[0])?, v: take(CACHES[1])? })) } else { Inner::Streamed(spec) };
        Ok(Self { projections: projection::bind(model, prefix, operands)?, inner })
    }

    /// Binds the projections under the prefix, and the component under its own.
    pub(super) fn bind(
        model: &Architecture,
        prefix: &str,
        (component, own): (&Component, &str),
        operands: &mut Operands<B>,
    ) -> Result<Self> {
        let inner = Inner::Component(component.bind(own, operands)?);
        Ok(Self { projections: projection::bind(model, prefix, operands)?, inner })
    }

    /// Keys and values of the tokens so far.
    pub(super) fn cache(&self) -> Option<[&Tensor<B::Buffer>; 2]> {
        if let Inner::Cached(cached) = &self.inner { Some([&cached.k, &cached.v]) } else { None }
    }

    /// Queries from x; keys and values from `memory` (which is x in self-attention).
    pub(super) fn run(
        &mut self,
        backend: &B,
        model: &Architecture,
        place: &Place<'_, B::Buffer>,
        [x, memory]: [View<'_, B::Buffer>; 2],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let [to_q, to_k, to_v, to_o] = &mut self.projections;
        let (queries, keys, width) = (x.layout.dim_from_end(1), memory.layout.dim_from_end(1), model.head_dim());
        let mut q = scratch.take(backend, backend.storage(), &[model.batch, model.heads, queries, width])?;
        to_q.by_head(backend, &place.relative, x, q.view_mut(), scratch)?;
        let attended = if let Inner::Cached(cached) = &mut self.inner {
            let Cached { spec, k, v } = cached.as_mut();
            to_k.by_head(backend, &place.relative, memory, k.view_mut().narrow(2, place.at, keys)?, scratch)?;
            to_v.by_head(backend, &Relative::None, memory, v.view_mut().narrow(2, place.at, keys)?, scratch)?;
            spec.query_offset = place.at;
            let seen = place.at + keys;
            let operands = [q.view(), k.view().narrow(2, 0, seen)?, v.view().narrow(2, 0, seen)?];
            let mut attended = scratch.take(backend, backend.storage(), q.shape())?;
            streamed(backend, spec, &place.relative, operands, attended.view_mut(), scratch)?;
            attended
        } else {
            let shape = [model.batch, model.kv_heads, keys, width];
            let mut k = scratch.take(backend, backend.storage(), &shape)?;
            to_k.by_head(backend, &place.relative, memory, k.view_mut(), scratch)?;
            let mut v = scratch.take(backend, backend.storage(), &shape)?;
            to_v.by_head(backend, &Relative::None, memory, v.view_mut(), scratch)?;
            let mut attended = scratch.take(backend, backend.storage(), q.shape())?;
            let operands = [q.view(), k.view(), v.view()];
            match &mut self.inner {
                Inner::Component(component) => component.run(backend, &operands, attended.view_mut(), scratch)?,
                Inner::Streamed(spec) => streamed(backend, spec, &place.relative, operands, attended.view_mut(), scratch)?,
                Inner::Cached(_) => return Err(shape_error("model", "a block with a cache has no keys of its own")),
            }
            scratch.give(k);
            scratch.give(v);
            attended
        };
        scratch.give(q);
        let mut joined = scratch.take(backend, backend.storage(), x.shape())?;
        let by_head = joined.view_mut().with(|layout| layout.split(2, model.heads, width)?.swap(1, 2))?;
        backend.copy(attended.view(), by_head)?;
        scratch.give(attended);
        to_o.run(backend, joined.view(), out, scratch)?;
        scratch.give(joined);
        Ok(())
    }
}

/// The engine's streaming attention, with the bias by distance where positions are one.
fn streamed<B: TransformerBackend>(
    backend: &B,
    spec: &AttentionSpec,
    relative: &Relative<'_, B::Buffer>,
    [q, k, v]: [View<'_, B::Buffer>; 3],
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let bias = if let Relative::Bias(bias) = relative { ScoreBias::ByDistance(*bias) } else { ScoreBias::None };
    backend.attention(spec, AttentionOperands { q, k, v, bias, key_mask: None }, AttentionOutputs { out, log_sum_exp: None }, scratch)
}
