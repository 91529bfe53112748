//! No normalisation: the joins of a position alone, the floor of the family.
//!
//! What a block costs that has nothing but its residual connection (as in normaliser-free networks; Zhang et al., "Fixup", 2019):
//! x + residual, in parallel x + other + residual, in DeepNorm's place alpha residual + x, and a copy of x where nothing joins. Its task is
//! that of the norms, so that each is set against it in its own position; it approximates none of them, and its accuracy is against
//! the sum that it is.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{View, ViewMut};

use super::joined::{OTHER, PROBLEM, RESIDUAL, TASK, enlarged_sum, joined_flops, position};
use super::{STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct NoNorm;

/// Nothing to bind but the position.
pub struct Sum {
    /// The variant that runs, for messages.
    pub(super) name: &'static str,
    pub(super) position: NormPosition,
}

impl Variant for NoNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/none",
        summary: "no norm: what joins in a position (x + residual, or x alone where nothing does)",
        citation: "Zhang et al. 2019 (Fixup)",
        task: TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, RESIDUAL, OTHER],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("0"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Sum;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Sum> {
        Ok(Sum { name: Self::DESCRIPTOR.name, position: position(axes)? })
    }

    fn exact(axes: &Axes) -> Reference {
        match position(axes) {
            Ok(NormPosition::Post | NormPosition::Pre | NormPosition::Sandwich) => Reference::Operation(ExactOperation::ResidualAdd),
            _ => Reference::Itself,
        }
    }
}

impl<B: TransformerBackend> Bound<B> for Sum {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match (self.position, inputs) {
            (NormPosition::Plain, &[x]) => backend.copy(x, out),
            (NormPosition::Parallel, &[x, residual, other]) => {
                backend.binary(BinaryOp::Add, Operand::Of(x), other, out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
            }
            (NormPosition::DeepNorm { alpha }, &[x, residual]) => enlarged_sum(backend, alpha, [x, residual], out),
            (NormPosition::Post | NormPosition::Pre | NormPosition::Sandwich, &[x, residual]) => {
                backend.binary(BinaryOp::Add, Operand::Of(x), residual, out)
            }
            _ => Err(wrong_inputs(self.name, inputs)),
        }
    }
}
