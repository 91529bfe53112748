//! One latent vector a token instead of keys and values for each head: what the multi-head latent attentions share.
//!
//! DeepSeek-AI, "DeepSeek-V2" (2024), section 2.1.2: k_h = c U_h^T and v_h = c W_h^T with one latent c [n, rank] for all heads. The
//! *absorbed* form never expands them: q_h k_h^T = (q_h U_h) c^T, and P v_h = (P c) W_h^T, so that attention is multi-query attention over
//! the latents, with the maps U and W applied to queries and outputs.
//!
//! How a given problem is mapped: the keys and values of all heads stand side by side in one matrix [batch n_kv, 2 kv_heads head_dim]; its
//! truncated singular value decomposition gives the latents and the maps, which all sequences share, as trained weights are. Full rank is
//! exact. The paper's separate rotary channels are left out: there are no positions here.

use crossover_compression::Saving;
use crossover_compression::low_rank::{Rank, Split, low_rank};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::{AttentionSpec, LinearSpec};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use crate::descriptor::{AxisDefault, AxisSpec, Condition, DerivedSpec, Dim, Role};
use crate::resolve::{precision, size};
use crate::variant::{Operands, source};

/// Width of the latents.
pub(super) const RANK: AxisSpec = super::count("rank", "width of the latent of a token", AxisDefault::Share { of: "head_dim", divisor: 2 });

/// A factorisation has no more ranks than its matrix has rows or columns.
pub(super) const RANK_FITS: Condition = Condition {
    text: "rank must be at most batch * n_kv and at most 2 * kv_heads * head_dim",
    holds: |axes: &Axes| {
        let of = |name| size(axes, name);
        let columns = of("kv_heads").saturating_mul(of("head_dim")).saturating_mul(2);
        of("rank") <= columns && of("rank") <= of("batch").saturating_mul(of("n_kv"))
    },
};

/// From queries to latents, for each head.
pub(super) const UP_K: DerivedSpec =
    DerivedSpec { name: "up_k", role: Role::Weight, shape: &[Dim::Axis("kv_heads"), Dim::Axis("rank"), Dim::Axis("head_dim")], form: None };

/// From latents to values, for each head.
pub(super) const UP_V: DerivedSpec =
    DerivedSpec { name: "up_v", role: Role::Weight, shape: &[Dim::Axis("kv_heads"), Dim::Axis("head_dim"), Dim::Axis("rank")], form: None };

/// The given keys and values, factored.
pub(super) struct Factors {
    /// [batch, n_kv, rank].
    pub(super) latent: HostTensor,
    /// [kv_heads, rank, head_dim].
    pub(super) up_k: HostTensor,
    /// [kv_heads, head_dim, rank].
    pub(super) up_v: HostTensor,
    /// Of the keys and values side by side, which are what is compressed.
    pub(super) saving: Saving,
}

impl Factors {
    /// Of the drawn k and v.
    pub(super) fn of(axes: &Axes, drawn: &HostInputs) -> Result<Self> {
        let (k, v) = (source(drawn, "k")?, source(drawn, "v")?);
        let &[batch, heads, n, width] = k.shape() else {
            return Err(shape_error("latent attention", format!("k is {:?}, expected [batch, heads, rows, width]", k.shape())));
        };
        let rank = size(axes, "rank");
        let mut rows = Vec::with_capacity(k.len() + v.len());
        for (sequence, token) in (0..batch).flat_map(|sequence| (0..n).map(move |token| (sequence, token))) {
            for tensor in [k, v] {
                for head in 0..heads {
                    rows.extend_from_slice(&tensor.values()[((sequence * heads + head) * n + token) * width..][..width]);
                }
            }
        }
        let matrix = HostTensor::new(&[batch * n, 2 * heads * width], rows)?;
        // Balanced, so that narrow types hold latents and maps equally well.
        let factors = low_rank(&matrix, Rank::Number(rank), Split::Balanced, precision(axes).storage());
        let factors = factors.map_err(|error| shape_error("latent attention", error.to_string()))?;
        let entry = |at: usize, head: usize, channel: usize| factors.b.values()[at * 2 * heads * width + head * width + channel];
        let (mut up_k, mut up_v) = (Vec::with_capacity(heads * rank * width), Vec::with_capacity(heads * rank * width));
        for head in 0..heads {
            up_k.extend(
                (0..rank).flat_map(|at| (0..width).map(move |channel| (at, channel))).map(|(at, channel)| entry(at, head, channel)),
            );
            let values = (0..width).flat_map(|channel| (0..rank).map(move |at| (at, channel)));
            up_v.extend(values.map(|(at, channel)| entry(at, heads + head, channel)));
        }
        Ok(Self {
            latent: factors.a.reshaped(&[batch, n, rank])?,
            up_k: HostTensor::new(&[heads, rank, width], up_k)?,
            up_v: HostTensor::new(&[heads, width, rank], up_v)?,
            saving: factors.saving,
        })
    }
}

/// The maps of all heads, and what is seen.
pub struct Absorbed<B: TransformerBackend> {
    up_k: Vec<B::Weight>,
    up_v: Vec<B::Weight>,
    spec: AttentionSpec,
}

impl<B: TransformerBackend> Absorbed<B> {
    /// Takes the maps.
    pub(super) fn bind(operands: &mut Operands<B>, axes: &Axes, pattern: AttentionPattern) -> Result<Self> {
        let scale = 1.0 / (size(axes, "head_dim") as f64).sqrt();
        let spec = AttentionSpec { pattern, scale, soft_cap: None, query_offset: 0 };
        Ok(Self { up_k: operands.weights("up_k")?, up_v: operands.weights("up_v")?, spec })
    }

    /// Attention of q [batch, heads, n, head_dim] over latents [batch, n_kv, rank].
    pub(super) fn attend(
        &self,
        backend: &B,
        q: View<'_, B::Buffer>,
        latent: View<'_, B::Buffer>,
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (&[batch, heads, n, _], &[_, _, rank], key_heads) = (q.shape(), latent.shape(), self.up_k.len()) else {
            return Err(shape_error("latent attention", format!("q {:?}, latents {:?}", q.shape(), latent.shape())));
        };
        let group = heads / key_heads.max(1);
        let linear = LinearSpec { activation: Activation::None };
        let mut queries = scratch.take(backend, backend.storage(), &[batch, heads, n, rank])?;
        let mut mixed = scratch.take(backend, backend.storage(), &[batch, heads, n, rank])?;
        for (head, weight) in self.up_k.iter().enumerate() {
            let own = q.narrow(1, head * group, group)?;
            backend.linear(linear, own, weight, None, queries.view_mut().narrow(1, head * group, group)?)?;
        }
        let latent = latent.with(|layout| layout.unsqueeze(1))?;
        let operands = AttentionOperands { q: queries.view(), k: latent, v: latent, bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out: mixed.view_mut(), log_sum_exp: None }, scratch)?;
        for (head, weight) in self.up_v.iter().enumerate() {
            let own = mixed.view().narrow(1, head * group, group)?;
            backend.linear(linear, own, weight, None, out.reborrow().narrow(1, head * group, group)?)?;
        }
        scratch.give(mixed);
        scratch.give(queries);
        Ok(())
    }
}
