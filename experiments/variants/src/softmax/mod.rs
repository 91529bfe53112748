//! Softmax over the last dimension, by different recurrences. They compute the same function; they differ in passes over memory and in
//! the range of logits that they survive.

pub mod naive;
pub mod online;
pub mod stable;

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::tensor::{Tensor, ViewMut};

use crate::descriptor::{AxisSpec, Descriptor, Dim, DrawRule, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::variant::{Bound, Operands};

const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("classes", "entries of a row", 1024)];
const LOGITS: &[Dim] = &[Dim::Rows, Dim::Axis("classes")];

/// The parts that all recurrences share.
const fn description(name: &'static str, summary: &'static str, citation: &'static str) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation,
        task: "softmax",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[TensorSpec { name: "logits", role: Role::Activation, shape: LOGITS, draw: DrawRule::Distribution, only_with: None }],
        output: LOGITS,
        conditions: &[],
    }
}

/// Logits, and the recurrence that the engine must follow.
pub struct Rows<B: TransformerBackend> {
    logits: Tensor<B::Buffer>,
    algorithm: SoftmaxAlgorithm,
}

impl<B: TransformerBackend> Rows<B> {
    fn bind(operands: &mut Operands<B>, algorithm: SoftmaxAlgorithm) -> Result<Self> {
        Ok(Self { logits: operands.tensor("logits")?, algorithm })
    }
}

impl<B: TransformerBackend> Bound<B> for Rows<B> {
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, _scratch: &mut Arena<B::Buffer>) -> Result<()> {
        backend.softmax(self.algorithm, Operand::Of(self.logits.view()), out)
    }
}
