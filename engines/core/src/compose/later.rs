//! Hiding the future from attention between tokens that were moved: a bias from the places where they came from.
//!
//! Kitaev et al. 2020, section 2 ("Causal masking for LSH attention"): every token keeps its position index through the reordering, and
//! a comparison of indices makes the mask. It is as large as the scores of all blocks together, which a pattern would not be: the
//! price of an order that is data.

use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::error::Result;
use crate::ops::{BinaryOp, UnaryOp};
use crate::tensor::{View, ViewMut};

/// Sets bias [.., rows, columns] to minus infinity where the key's position [.., columns] lies behind the query's [.., rows]; the other
/// entries stay. Positions are i32, and compared in the compute type ([`MOST_POSITIONS`](crate::check::MOST_POSITIONS)).
pub fn hide_later<B: TransformerBackend>(
    backend: &B,
    queries: View<'_, B::Buffer>,
    keys: View<'_, B::Buffer>,
    bias: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let mut behind = scratch.take(backend, backend.compute(), queries.shape())?;
    let mut places = scratch.take(backend, backend.compute(), keys.shape())?;
    let mut visible = scratch.take(backend, backend.compute(), bias.shape())?;
    // Half a place behind the query: no two numbers are then so near that rounding could decide.
    backend.copy(queries, behind.view_mut())?;
    backend.unary(UnaryOp::Affine { scale: 1.0, shift: 0.5 }, Operand::InPlace, behind.view_mut())?;
    backend.copy(keys, places.view_mut())?;
    let last = places.layout.rank();
    let row = places.view().with(|layout| layout.unsqueeze(last - 1)?.broadcast(bias.shape()))?;
    let column = behind.view().with(|layout| layout.unsqueeze(last)?.broadcast(bias.shape()))?;
    backend.binary(BinaryOp::Less, Operand::Of(row), column, visible.view_mut())?;
    backend.select(visible.view(), f64::NEG_INFINITY, bias)?;
    for tensor in [visible, places, behind] {
        scratch.give(tensor);
    }
    Ok(())
}
