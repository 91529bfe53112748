//! Softmax by other exponentials: f(x - max) / sum f(x - max), where f is a chain of elementwise functions in place of e^x.
//!
//! The numerators stand in scratch in the compute type. An engine with one fused kernel would not need them; here they are what a chain
//! of primitives costs.

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, ReduceOp, UnaryOp};
use crossover_core::tensor::{View, ViewMut};

use super::columns::{at_least, column, reduce, wide};
use crate::variant::{Bound, wrong_inputs};

/// Rows normalised by the sum of what `steps` makes of them.
pub struct Exponentials {
    /// Functions, the first first.
    pub(super) steps: Vec<UnaryOp>,
    /// Subtract the largest entry first? A function that is good near zero only must not have it.
    pub(super) shifted: bool,
}

impl<B: TransformerBackend> Bound<B> for Exponentials {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[logits] = inputs else { return Err(wrong_inputs("softmax/rows", inputs)) };
        let compute = backend.compute();
        let mut of_row = column(backend, logits.shape(), scratch)?;
        let mut numerators = wide(backend, logits.shape(), logits.layout.dim_from_end(0), scratch)?;
        if self.shifted {
            reduce(backend, ReduceOp::Max, logits, &mut of_row)?;
            // A fully masked row gives zeros: no minus infinity is subtracted from itself here, no 0 divided by 0 below.
            at_least(backend, -compute.largest(), &mut of_row, scratch)?;
            backend.binary(BinaryOp::Subtract, Operand::Of(logits), of_row.view(), numerators.view_mut())?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            let x = if at == 0 && !self.shifted { Operand::Of(logits) } else { Operand::InPlace };
            backend.unary(*step, x, numerators.view_mut())?;
        }
        reduce(backend, ReduceOp::Sum, numerators.view(), &mut of_row)?;
        at_least(backend, compute.smallest_normal(), &mut of_row, scratch)?;
        backend.binary(BinaryOp::Divide, Operand::Of(numerators.view()), of_row.view(), out)?;
        scratch.give(numerators);
        scratch.give(of_row);
        Ok(())
    }
}
