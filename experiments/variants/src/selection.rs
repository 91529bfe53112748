//! Which values of each row are among its k largest: what top-k attention and top-k activations share.
//!
//! The limit is half-way between the k-th and the next value, so that a value is compared with something that it is not itself and no
//! rounding of the limit decides; values that tie with the k-th all count.

use crossover_core::arena::Arena;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::layout::MAX_RANK;
use crossover_core::ops::{BinaryOp, UnaryOp};
use crossover_core::tensor::{Tensor, View};

use crate::softmax::columns::{column, wide};

/// 1 where a value of x [.., width] is among the k largest of its row and 0 elsewhere, in the compute type; k < width.
pub(crate) fn among_largest<B: TransformerBackend>(
    backend: &B,
    k: usize,
    x: View<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let last = x.layout.rank().saturating_sub(1);
    let mut limit = column(backend, x.shape(), scratch)?;
    let mut values = wide(backend, x.shape(), k + 1, scratch)?;
    let mut shape = [0; MAX_RANK];
    shape[..=last].copy_from_slice(values.shape());
    let mut places = scratch.take(backend, DType::I32, &shape[..=last])?;
    backend.top_k(x, values.view_mut(), places.view_mut())?;
    scratch.give(places);
    // Where fewer than k values are above minus infinity, so is the limit, below which nothing is.
    let (smallest, next) = (values.view().narrow(last, k.saturating_sub(1), 1)?, values.view().narrow(last, k, 1)?);
    backend.binary(BinaryOp::Add, Operand::Of(smallest), next, limit.view_mut())?;
    backend.unary(UnaryOp::Affine { scale: 0.5, shift: 0.0 }, Operand::InPlace, limit.view_mut())?;
    scratch.give(values);
    let mut among = wide(backend, x.shape(), x.layout.dim_from_end(0), scratch)?;
    backend.binary(BinaryOp::Less, Operand::Of(x), limit.view(), among.view_mut())?;
    // Those that are not less count: a comparison again, which cannot round.
    backend.fill(limit.view_mut(), 0.0)?;
    backend.binary(BinaryOp::Equal, Operand::InPlace, limit.view(), among.view_mut())?;
    scratch.give(limit);
    Ok(among)
}
