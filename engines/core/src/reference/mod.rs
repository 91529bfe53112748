//! What an operation should give: exact dense operations in f64, row by row, and the error that a precision may make.
//!
//! Written directly over host arrays, without the backend trait, so that an engine is never checked against its own mistakes. Each
//! operation gives three things for one row of the output, at a cost of O(row), so that long sequences are checked on a sample of rows:
//!
//! * its exact value: f64 with compensated sums, far more accurate than any engine;
//! * its plain value at a precision: every product, sum and stored intermediate rounded as a straightforward dense implementation would.
//!   Its error is the yardstick of the *error ratio*: a variant that is worse than this pays for its speed in accuracy;
//! * a bound on the error of a correct implementation (CONFORMANCE.md, "Tolerance"), propagated through the composition to first
//!   order. Beyond it, an output is wrong.

mod arithmetic;
mod attention;
mod linear;
mod norm;
pub mod running;
mod softmax;

use std::collections::BTreeMap;

pub use arithmetic::{Arithmetic, gamma};
pub use norm::NormPosition;

use crate::activation::Activation;
use crate::dtype::Precision;
use crate::error::{Result, shape_error};
use crate::host::HostTensor;
use crate::pattern::AttentionPattern;

/// Host tensors by name.
pub type HostInputs = BTreeMap<String, HostTensor>;

/// An exact dense operation, over tensors with the names that `apply` uses.
#[derive(Debug, Clone, PartialEq)]
pub enum ExactOperation {
    /// softmax(q k^T / sqrt(head dim)) v over the pattern; fewer key heads than query heads are shared.
    Attention {
        /// Which pairs take part.
        pattern: AttentionPattern,
    },
    /// activation(x w1^T + b1) w2^T + b2.
    Ffn {
        /// Between the layers.
        activation: Activation,
    },
    /// Layer normalisation of rows, and where the residual joins.
    LayerNorm {
        /// Under the root.
        epsilon: f64,
        /// Where `residual` joins.
        position: NormPosition,
    },
    /// x + residual: no normalisation at all.
    ResidualAdd,
    /// Softmax over the last dimension.
    Softmax,
    /// activation(x w^T + b).
    Linear {
        /// After the product.
        activation: Activation,
    },
}

/// A row of the output with the error that it may have.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundedRow {
    /// Exact values.
    pub values: Vec<f64>,
    /// Largest admissible absolute error of each.
    pub bounds: Vec<f64>,
}

impl ExactOperation {
    /// Rows of the output.
    pub fn rows(&self, inputs: &HostInputs) -> Result<usize> {
        let tensor = input(inputs, self.leading_tensor())?;
        let lead = tensor.shape().len().saturating_sub(1);
        Ok(tensor.shape()[..lead].iter().product())
    }

    /// One row, by the given arithmetic.
    pub fn row(&self, inputs: &HostInputs, row: usize, arithmetic: Arithmetic) -> Result<Vec<f64>> {
        match self {
            Self::Attention { pattern } => attention::Operands::of(inputs)?.row(pattern, row, arithmetic),
            Self::Ffn { activation } => linear::Ffn::of(inputs)?.row(*activation, row, arithmetic),
            Self::LayerNorm { epsilon, position } => norm::Operands::of(inputs, *position)?.row(*epsilon, row, arithmetic),
            Self::ResidualAdd => norm::residual_row(inputs, row, arithmetic),
            Self::Softmax => softmax::row(input(inputs, "logits")?, row, arithmetic),
            Self::Linear { activation } => linear::Layer::of(inputs, "x", "w", "b")?.row(*activation, row, arithmetic),
        }
    }

    /// One exact row with the error that `precision` may make in it.
    pub fn bounded_row(&self, inputs: &HostInputs, row: usize, precision: Precision) -> Result<BoundedRow> {
        let arithmetic = Arithmetic::plain(precision);
        let values = self.row(inputs, row, arithmetic.made_exact())?;
        let bounds = match self {
            Self::Attention { pattern } => attention::Operands::of(inputs)?.bounds(pattern, row, arithmetic, &values),
            Self::Ffn { activation } => linear::Ffn::of(inputs)?.bounds(*activation, row, arithmetic, &values),
            Self::LayerNorm { epsilon, position } => norm::Operands::of(inputs, *position)?.bounds(*epsilon, row, arithmetic),
            Self::ResidualAdd => Ok(values.iter().map(|value| arithmetic.storing(*value)).collect()),
            Self::Softmax => softmax::bounds(input(inputs, "logits")?, row, arithmetic, &values),
            Self::Linear { activation } => linear::Layer::of(inputs, "x", "w", "b")?.bounds(*activation, row, arithmetic, &values),
        }?;
        Ok(BoundedRow { values, bounds })
    }

    /// Multiply-adds that one row costs here, to decide how many rows can be checked.
    pub fn row_terms(&self, inputs: &HostInputs) -> Result<usize> {
        let last = |name: &str| input(inputs, name).map(|tensor| tensor.shape().last().copied().unwrap_or(1));
        Ok(match self {
            Self::Attention { .. } => {
                let keys = input(inputs, "k")?.shape().get(2).copied().unwrap_or(1);
                keys * (last("q")? + last("v")?)
            }
            Self::Ffn { .. } => 2 * last("x")? * last("w2")?,
            Self::Linear { .. } => input(inputs, "w")?.len(),
            Self::LayerNorm { .. } | Self::ResidualAdd => last("x")?,
            Self::Softmax => last("logits")?,
        })
    }

    fn leading_tensor(&self) -> &'static str {
        match self {
            Self::Attention { .. } => "q",
            Self::Softmax => "logits",
            _ => "x",
        }
    }
}

fn input<'a>(inputs: &'a HostInputs, name: &str) -> Result<&'a HostTensor> {
    inputs.get(name).ok_or_else(|| shape_error("reference", format!("the tensor {name:?} is missing")))
}

/// The values of one row of a tensor, counted over all leading dimensions.
fn row_of(tensor: &HostTensor, row: usize) -> Result<&[f64]> {
    let width = tensor.shape().last().copied().unwrap_or(1);
    tensor
        .values()
        .get(row * width..(row + 1) * width)
        .ok_or_else(|| shape_error("reference", format!("row {row} of a tensor of shape {:?}", tensor.shape())))
}
