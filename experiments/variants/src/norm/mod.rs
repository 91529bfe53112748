//! Normalisation, and where the residual stream joins it.
//!
//! In a post-norm block the sum is normalised, norm(x + residual); in a pre-norm block the stream passes by, residual + norm(x). The
//! family measures exactly these joins: what a sublayer would do in between is left out (it is the same for all).

pub mod layer_norm;
pub mod none;

use crate::descriptor::{AxisSpec, Dim, DrawRule, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};

/// The sizes of the problem.
pub(crate) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("d_model", "width of the stream", 768)];

/// Rows of channels.
pub(crate) const STREAM: &[Dim] = &[Dim::Rows, Dim::Axis("d_model")];

/// The input.
pub(crate) const X: TensorSpec =
    TensorSpec { name: "x", role: Role::Activation, shape: STREAM, draw: DrawRule::Distribution, only_with: None };
