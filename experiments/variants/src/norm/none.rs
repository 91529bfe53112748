//! No normalisation: x + residual, the floor of the family.
//!
//! What a block costs that has nothing but its residual connection (as in normaliser-free networks; Zhang et al., "Fixup", 2019).

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{View, ViewMut};

use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, Model, TensorSpec};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct NoNorm;

/// Nothing to bind.
pub struct Sum;

impl Variant for NoNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/none",
        summary: "x + residual: the residual connection alone",
        citation: "Zhang et al. 2019 (Fixup)",
        task: "norm",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, TensorSpec { name: "residual", ..X }],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Sum;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Sum> {
        Ok(Sum)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::ResidualAdd)
    }
}

impl<B: TransformerBackend> Bound<B> for Sum {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual] = inputs else { return Err(wrong_inputs("norm/none", inputs)) };
        backend.binary(BinaryOp::Add, Operand::Of(x), residual, out)
    }
}
