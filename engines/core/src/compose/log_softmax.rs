//! Log-softmax, composed of reductions and of what is done to each element.
//!
//! Differences from the largest entry stand in the output, their exponentials in scratch. An output of a narrower type than the compute type
//! would round the differences, so they have scratch of their own then, and are rounded once, at the end.

use super::columns::{at_least, column, reduce, wide};
use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::check;
use crate::error::Result;
use crate::operands::Types;
use crate::ops::{BinaryOp, ReduceOp, UnaryOp};
use crate::tensor::ViewMut;

/// See the module, and [`TransformerBackend::log_softmax`].
pub fn composed<B: TransformerBackend>(
    backend: &B,
    x: Operand<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let (_, width) = check::rows("log-softmax", &out.layout)?;
    Types::of(backend.config().precision).like_output("log-softmax", &x, &out)?;
    // There is no largest of nothing.
    if out.layout.is_empty() {
        return Ok(());
    }
    scratch.scope(|scratch| {
        if out.dtype() == backend.compute() {
            return in_compute_type(backend, x, out, scratch);
        }
        let rows = match x {
            Operand::Of(x) => x,
            Operand::InPlace => out.as_view(),
        };
        let mut wider = wide(backend, out.shape(), width, scratch)?;
        in_compute_type(backend, Operand::Of(rows), wider.view_mut(), scratch)?;
        backend.copy(wider.view(), out)?;
        scratch.give(wider);
        Ok(())
    })
}

/// The same, into an output that keeps the differences as they are.
fn in_compute_type<B: TransformerBackend>(
    backend: &B,
    x: Operand<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let (compute, width) = (backend.compute(), out.layout.dim_from_end(0));
    let mut largest = column(backend, out.shape(), scratch)?;
    let rows = match &x {
        Operand::Of(x) => *x,
        Operand::InPlace => out.as_view(),
    };
    reduce(backend, ReduceOp::Max, rows, &mut largest)?;
    // A row of only minus infinity keeps it: -inf minus a number, and minus the logarithm of a number.
    at_least(backend, -compute.largest(), &mut largest, scratch)?;
    backend.binary(BinaryOp::Subtract, x, largest.view(), out.reborrow())?;
    // The largest are no longer needed.
    let (mut sum, mut exponentials) = (largest, wide(backend, out.shape(), width, scratch)?);
    backend.unary(UnaryOp::Exp, Operand::Of(out.as_view()), exponentials.view_mut())?;
    reduce(backend, ReduceOp::Sum, exponentials.view(), &mut sum)?;
    scratch.give(exponentials);
    at_least(backend, compute.smallest_normal(), &mut sum, scratch)?;
    backend.unary(UnaryOp::Log, Operand::InPlace, sum.view_mut())?;
    backend.binary(BinaryOp::Subtract, Operand::InPlace, sum.view(), out)?;
    scratch.give(sum);
    Ok(())
}
