//! What is done row by row or element by element.

use crossover_core::arena::Arena;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec, ReduceOp};
use crossover_core::tensor::{View, ViewMut};

use super::{Call, indices, operand, output};
use crate::list::INDEX;

const EPSILON: f64 = 1e-5;

/// What makes one tensor of one.
pub(super) fn of_one<'e, B: TransformerBackend>(
    engine: &'e B,
    shape: [usize; 2],
    call: impl Fn(View<'_, B::Buffer>, ViewMut<'_, B::Buffer>) -> Result<()> + 'e,
) -> Result<Call<'e>> {
    let (x, mut out) = (operand(engine, &shape)?, output(engine, engine.storage(), &shape)?);
    Ok(Box::new(move || call(x.view(), out.view_mut())))
}

pub(super) fn log_softmax<B: TransformerBackend>(engine: &B, shape: [usize; 2]) -> Result<Call<'_>> {
    let (x, mut out, mut scratch) = (operand(engine, &shape)?, output(engine, engine.storage(), &shape)?, Arena::new());
    Ok(Box::new(move || engine.log_softmax(Operand::Of(x.view()), out.view_mut(), &mut scratch)))
}

pub(super) fn binary<B: TransformerBackend>(engine: &B, shape: [usize; 2], op: BinaryOp) -> Result<Call<'_>> {
    let (x, y, mut out) = (operand(engine, &shape)?, operand(engine, &shape)?, output(engine, engine.storage(), &shape)?);
    Ok(Box::new(move || engine.binary(op, Operand::Of(x.view()), y.view(), out.view_mut())))
}

/// Of zeros: every element is replaced, so that as much is written as the cost says.
pub(super) fn select<B: TransformerBackend>(engine: &B, shape: [usize; 2]) -> Result<Call<'_>> {
    let condition = output(engine, engine.storage(), &shape)?;
    let mut out = output(engine, engine.storage(), &shape)?;
    Ok(Box::new(move || engine.select(condition.view(), -1.0, out.view_mut())))
}

pub(super) fn norm<'e, B: TransformerBackend>(engine: &'e B, shape: [usize; 2], kind: NormKind) -> Result<Call<'e>> {
    let spec = NormSpec { kind, epsilon: EPSILON };
    let (x, gamma, mut out) = (operand(engine, &shape)?, operand(engine, &shape[1..])?, output(engine, engine.storage(), &shape)?);
    Ok(Box::new(move || {
        let weights = NormWeights { gamma: Some(gamma.view()), beta: (spec.kind == NormKind::Layer).then(|| gamma.view()) };
        engine.normalize(spec, Operand::Of(x.view()), weights, out.view_mut())
    }))
}

pub(super) fn add_norm<B: TransformerBackend>(engine: &B, shape: [usize; 2]) -> Result<Call<'_>> {
    let (x, residual, gamma) = (operand(engine, &shape)?, operand(engine, &shape)?, operand(engine, &shape[1..])?);
    let mut out = output(engine, engine.storage(), &shape)?;
    let spec = NormSpec { kind: NormKind::Layer, epsilon: EPSILON };
    Ok(Box::new(move || {
        let weights = NormWeights { gamma: Some(gamma.view()), beta: Some(gamma.view()) };
        engine.add_norm(spec, x.view(), residual.view(), weights, None, out.view_mut())
    }))
}

/// As many rows are taken as the table has.
pub(super) fn by_index<B: TransformerBackend>(engine: &B, shape: [usize; 2], is_gather: bool) -> Result<Call<'_>> {
    let (x, order) = (operand(engine, &shape)?, indices(engine, &shape[..1], shape[0])?);
    let mut out = output(engine, engine.storage(), &shape)?;
    Ok(Box::new(move || match is_gather {
        true => engine.gather_rows(x.view(), order.view(), out.view_mut()),
        false => engine.scatter_add_rows(x.view(), order.view(), out.view_mut()),
    }))
}

pub(super) fn largest<B: TransformerBackend>(engine: &B, shape: [usize; 2], k: usize, is_softmax: bool) -> Result<Call<'_>> {
    let x = operand(engine, &shape)?;
    let (mut best, mut places) = (output(engine, engine.storage(), &[shape[0], k])?, output(engine, INDEX, &[shape[0], k])?);
    let mut scratch = Arena::new();
    Ok(Box::new(move || match is_softmax {
        true => engine.softmax_top_k(x.view(), best.view_mut(), places.view_mut(), &mut scratch),
        false => engine.top_k(x.view(), best.view_mut(), places.view_mut()),
    }))
}

/// Keys of which some are equal, as those of buckets are.
pub(super) fn argsort<B: TransformerBackend>(engine: &B, shape: [usize; 2]) -> Result<Call<'_>> {
    let (keys, mut out) = (indices(engine, &shape, shape[1] / 4)?, output(engine, INDEX, &shape)?);
    Ok(Box::new(move || engine.stable_argsort(keys.view(), out.view_mut())))
}

pub(super) fn depthwise_conv<B: TransformerBackend>(engine: &B, [n, channels]: [usize; 2], kernel: usize) -> Result<Call<'_>> {
    let (x, filter) = (operand(engine, &[1, n, channels])?, operand(engine, &[channels, kernel])?);
    let mut out = output(engine, engine.storage(), &[1, n, channels])?;
    Ok(Box::new(move || engine.depthwise_conv(x.view(), filter.view(), true, out.view_mut())))
}

pub(super) fn reduce<B: TransformerBackend>(engine: &B, shape: [usize; 2], op: ReduceOp) -> Result<Call<'_>> {
    let dtype = if op == ReduceOp::ArgMax { INDEX } else { engine.storage() };
    let (x, mut out) = (operand(engine, &shape)?, output(engine, dtype, &shape[..1])?);
    Ok(Box::new(move || engine.reduce(op, x.view(), out.view_mut())))
}
