//! No normalisation: x + residual, the floor of the family.
//!
//! What a block costs that has nothing but its residual connection (as in normaliser-free networks; Zhang et al., "Fixup", 2019).

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, ViewMut};

use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, TensorSpec};
use crate::variant::{Bound, Operands, Variant};

/// The variant.
pub struct NoNorm;

/// The stream and what joins it.
pub struct Sum<B: TransformerBackend> {
    x: Tensor<B::Buffer>,
    residual: Tensor<B::Buffer>,
}

impl Variant for NoNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/none",
        summary: "x + residual: the residual connection alone",
        citation: "Zhang et al. 2019 (Fixup)",
        task: "norm",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, TensorSpec { name: "residual", ..X }],
        output: STREAM,
        conditions: &[],
    };

    type Bound<B: TransformerBackend> = Sum<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Sum<B>> {
        Ok(Sum { x: operands.tensor("x")?, residual: operands.tensor("residual")? })
    }

    fn exact(_axes: &Axes) -> ExactOperation {
        ExactOperation::ResidualAdd
    }
}

impl<B: TransformerBackend> Bound<B> for Sum<B> {
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, _scratch: &mut Arena<B::Buffer>) -> Result<()> {
        backend.binary(BinaryOp::Add, Operand::Of(self.x.view()), self.residual.view(), out)
    }
}
