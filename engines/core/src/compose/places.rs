//! The numbers 0, 1, .., made over primitives.

use crate::arena::Arena;
use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;

/// 0, 1, .. as i32.
pub fn places<B: TransformerBackend>(backend: &B, count: usize, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
    let mut steps = scratch.take(backend, DType::I32, &[count])?;
    let mut places = scratch.take(backend, DType::I32, &[count])?;
    backend.fill(steps.view_mut(), 1.0)?;
    backend.fill(steps.view_mut().narrow(0, 0, count.min(1))?, 0.0)?;
    backend.cumulative_sum(steps.view(), places.view_mut())?;
    scratch.give(steps);
    Ok(places)
}
