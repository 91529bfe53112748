//! Normalisation, and where the residual stream joins it.
//!
//! In a post-norm block the sum is normalised, norm(x + residual); in a pre-norm block the stream passes by, residual + norm(x). The
//! family measures exactly these joins: what a sublayer would do in between is left out (it is the same for all).
//!
//! What is compared with what (a task is one function, or what stands in for it in a model):
//!
//! * `norm`: every norm, and none, in one position; the position is an axis of the problem ([`joined`]), so that each value of it is a
//!   comparison of its own. The error of the method is against layer norm in that position;
//! * `norm/add-norm`: add and norm as one operation against two;
//! * `norm/residual`: kinds of joins of x and the stream without a norm; they replace each other as trained, and each is its own truth;
//! * `norm/stack`: stacks of joins with something left out, against the whole stack.

pub mod add_norm;
pub mod batch_norm;
pub mod dyt;
#[cfg(test)]
mod family_tests;
pub mod group_norm;
pub mod joined;
pub mod layer_drop;
pub mod layer_norm;
pub mod none;
pub mod residual_dynamic;
pub mod residual_layer_scale;
pub mod residual_plain;
pub mod residual_pruned;
pub mod residual_rezero;
pub mod residual_stochastic_depth;
pub mod rms_norm;
pub mod scale_norm;
pub mod stack;

use crate::descriptor::{AxisSpec, Dim, DrawRule, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::registry::VariantVisitor;

/// The sizes of the problem.
pub(crate) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("d_model", "width of the stream", 768)];

/// Rows of channels.
pub(crate) const STREAM: &[Dim] = &[Dim::Rows, Dim::Axis("d_model")];

/// The input.
pub(crate) const X: TensorSpec =
    TensorSpec { name: "x", role: Role::Activation, shape: STREAM, draw: DrawRule::Distribution, only_with: None };

/// How something joins the residual stream, without a norm.
pub(crate) const RESIDUAL_TASK: &str = "norm/residual";

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<layer_norm::LayerNorm>();
    visitor.visit::<none::NoNorm>();
    visitor.visit::<rms_norm::RmsNorm>();
    visitor.visit::<group_norm::GroupNorm>();
    visitor.visit::<scale_norm::ScaleNorm>();
    visitor.visit::<dyt::DynamicTanh>();
    visitor.visit::<batch_norm::BatchNorm>();
    visitor.visit::<add_norm::AddNormFused>();
    visitor.visit::<add_norm::AddNormUnfused>();
    visitor.visit::<residual_plain::ResidualPlain>();
    visitor.visit::<residual_dynamic::ResidualDynamic>();
    visitor.visit::<residual_rezero::ReZero>();
    visitor.visit::<residual_layer_scale::LayerScale>();
    visitor.visit::<residual_pruned::ResidualPruned>();
    visitor.visit::<residual_stochastic_depth::StochasticDepth>();
    visitor.visit::<layer_drop::LayerDrop>();
}
