//! Attention: softmax(q k^T / sqrt(head_dim)) v, exactly or by some cheaper route.
//!
//! All variants of the family solve the same problem: q [batch, heads, n, head_dim] against k and v [batch, kv_heads, n_kv, head_dim].
//! Fewer key heads than query heads are shared by neighbouring query heads (grouped-query attention).

pub mod causal;
pub mod dense;
pub mod flash;
pub mod flash_causal;

use crossover_core::axes::Axes;

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::size;

const LARGEST: i64 = 1 << 40;

const fn count(name: &'static str, doc: &'static str, default: AxisDefault) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: LARGEST }, default }
}

/// The sizes of the problem.
pub(crate) const PROBLEM: &[AxisSpec] = &[
    count("batch", "sequences handled together", AxisDefault::Int(1)),
    count("heads", "query heads", AxisDefault::Int(8)),
    count("kv_heads", "key and value heads; divides heads", AxisDefault::SameAs("heads")),
    count("n", "sequence length: query rows", AxisDefault::Int(128)),
    count("n_kv", "key and value rows", AxisDefault::SameAs("n")),
    count("head_dim", "channels of one head", AxisDefault::Int(64)),
];

const KEYS: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), Dim::Axis("n_kv"), Dim::Axis("head_dim")];

/// Shape of q and of the output.
pub(crate) const QUERIES: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("heads"), Dim::Axis("n"), Dim::Axis("head_dim")];

const fn activation(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Activation, shape, draw: DrawRule::Distribution, only_with: None }
}

/// q, k and v.
pub(crate) const TENSORS: &[TensorSpec] = &[activation("q", QUERIES), activation("k", KEYS), activation("v", KEYS)];

pub(crate) const HEADS_DIVIDE: Condition = Condition {
    text: "kv_heads must divide heads",
    holds: |axes: &Axes| size(axes, "heads").is_multiple_of(size(axes, "kv_heads").max(1)),
};

/// Causal forms number queries and keys alike; a decode step is a variant of its own.
pub(crate) const SQUARE: Condition = Condition {
    text: "a causal variant needs as many keys as queries: n_kv = n",
    holds: |axes: &Axes| size(axes, "n") == size(axes, "n_kv"),
};
