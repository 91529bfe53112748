//! The slices of operands of indices, checked as the core checks them.

use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::operands;
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::buffer::NaiveBuffer;

/// Of indices that are read.
pub(crate) fn indices<'a>(operation: &'static str, view: &View<'a, NaiveBuffer>) -> Result<&'a [i32]> {
    operands::indices(operation, view)?;
    match view.buffer {
        NaiveBuffer::I32(values) => Ok(values),
        other => Err(EngineError::ElementType { operation, expected: DType::I32, found: other.dtype() }),
    }
}

/// Of indices that are written, into rows of `width`.
pub(crate) fn indices_mut<'a>(operation: &'static str, view: ViewMut<'a, NaiveBuffer>, width: usize) -> Result<&'a mut [i32]> {
    operands::indices_out(operation, &view, width)?;
    match view.buffer {
        NaiveBuffer::I32(values) => Ok(values),
        other => Err(EngineError::ElementType { operation, expected: DType::I32, found: other.dtype() }),
    }
}
