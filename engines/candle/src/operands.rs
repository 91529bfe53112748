//! What every operation checks of its operands before it touches them: their types, and that views stay inside their buffers.

use crossover_core::backend::Operand;
use crossover_core::check;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::layout::Layout;
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;

/// The floating types that operands may have: the storage type of the precision, or its compute type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Types {
    storage: DType,
    compute: DType,
}

impl Types {
    pub(crate) fn of(precision: Precision) -> Self {
        Self { storage: precision.storage(), compute: precision.compute() }
    }

    /// A floating operand.
    pub(crate) fn floating(self, operation: &'static str, buffer: &CandleBuffer, layout: &Layout) -> Result<()> {
        let found = buffer.dtype();
        if found != self.storage && found != self.compute {
            return Err(EngineError::ElementType { operation, expected: self.storage, found });
        }
        check::inside(operation, buffer, layout)
    }
}

impl Engine {
    /// Floating operands that are read.
    pub(crate) fn inputs<const N: usize>(&self, operation: &'static str, views: [&View<'_, CandleBuffer>; N]) -> Result<()> {
        views.into_iter().try_for_each(|view| self.types.floating(operation, view.buffer, &view.layout))
    }

    /// A floating operand that is written.
    pub(crate) fn output(&self, operation: &'static str, view: &ViewMut<'_, CandleBuffer>) -> Result<()> {
        self.types.floating(operation, view.buffer, &view.layout)
    }

    /// Checks an operand that has the output's shape, and the output.
    pub(crate) fn like_output(
        &self,
        operation: &'static str,
        x: &Operand<'_, CandleBuffer>,
        out: &ViewMut<'_, CandleBuffer>,
    ) -> Result<()> {
        self.output(operation, out)?;
        if let Operand::Of(x) = x {
            check::same_shape(operation, &x.layout, &out.layout)?;
            self.inputs(operation, [x])?;
        }
        Ok(())
    }
}

/// An operand of indices.
pub(crate) fn indices(operation: &'static str, buffer: &CandleBuffer, layout: &Layout) -> Result<()> {
    if buffer.dtype() != DType::I32 {
        return Err(EngineError::ElementType { operation, expected: DType::I32, found: buffer.dtype() });
    }
    check::inside(operation, buffer, layout)
}

/// Indices into rows of this width must be numbers that i32 has.
pub(crate) fn indexable(operation: &'static str, width: usize) -> Result<()> {
    match i32::try_from(width) {
        Ok(_) => Ok(()),
        Err(_) => Err(shape_error(operation, format!("rows of {width} elements are too long for i32 indices"))),
    }
}
