//! Positions: how attention learns where a token stands, each measured at the place where it costs.
//!
//! Three places, three tasks. *Embedding*: a table is added to the input once (sinusoidal, learned). *Rotary*: queries (and keys alike) are
//! rotated by their position before each attention. *Attention*: streaming attention with a bias by distance (ALiBi, T5), next to the same
//! attention without one (`none`).

pub mod alibi;
pub mod attended;
pub mod learned;
pub mod none;
pub mod rope;
pub mod rope_linear;
pub mod rope_ntk;
pub mod rotated;
pub mod sinusoidal;
pub mod t5_bias;

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Dim, DrawRule, Role, TensorSpec};
use crate::registry::VariantVisitor;

const fn count(name: &'static str, doc: &'static str, default: i64) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 40 }, default: AxisDefault::Int(default) }
}

pub(crate) const BATCH: AxisSpec = count("batch", "sequences handled together", 1);
pub(crate) const HEADS: AxisSpec = count("heads", "heads", 8);
pub(crate) const LENGTH: AxisSpec = count("n", "sequence length", 128);
pub(crate) const HEAD_DIM: AxisSpec = count("head_dim", "channels of one head", 64);

/// Shape of queries, keys, values and whatever is made of them.
pub(crate) const PER_HEAD: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("heads"), Dim::Axis("n"), Dim::Axis("head_dim")];

/// An input with heads.
pub(crate) const fn per_head(name: &'static str) -> TensorSpec {
    TensorSpec { name, role: Role::Activation, shape: PER_HEAD, draw: DrawRule::Distribution, only_with: None }
}

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<none::NoPositions>();
    visitor.visit::<sinusoidal::Sinusoidal>();
    visitor.visit::<learned::Learned>();
    visitor.visit::<rope::Rope>();
    visitor.visit::<rope_linear::RopeLinear>();
    visitor.visit::<rope_ntk::RopeNtk>();
    visitor.visit::<alibi::Alibi>();
    visitor.visit::<t5_bias::T5Bias>();
}
