//! What every operation checks of its operands before it touches them: their types, and that views stay inside their buffers.

use crossover_core::backend::{NormWeights, Operand};
use crossover_core::check;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result, shape_error};
use crossover_core::layout::Layout;
use crossover_core::ops::{NormKind, NormSpec};
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::buffer::SimdBuffer;

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

    /// Floating operands that are read.
    pub(crate) fn inputs<const N: usize>(self, operation: &'static str, views: [&View<'_, SimdBuffer>; N]) -> Result<()> {
        views.into_iter().try_for_each(|view| self.floating(operation, view.buffer, &view.layout))
    }

    /// A floating operand that is written.
    pub(crate) fn output(self, operation: &'static str, view: &ViewMut<'_, SimdBuffer>) -> Result<()> {
        self.floating(operation, view.buffer, &view.layout)?;
        check::output(operation, view.buffer, &view.layout)
    }

    /// An operand that has the output's shape, and the output.
    pub(crate) fn like_output<'a>(
        self,
        operation: &'static str,
        x: Operand<'a, SimdBuffer>,
        out: &ViewMut<'_, SimdBuffer>,
    ) -> Result<Operand<'a, SimdBuffer>> {
        self.output(operation, out)?;
        if let Operand::Of(x) = &x {
            check::same_shape(operation, &x.layout, &out.layout)?;
            self.inputs(operation, [x])?;
        }
        Ok(x)
    }

    /// A normalisation against the width of its output.
    pub(crate) fn norm(self, spec: NormSpec, weights: NormWeights<'_, SimdBuffer>, out: &ViewMut<'_, SimdBuffer>) -> Result<()> {
        let (_, width) = check::rows("normalize", &out.layout)?;
        check::norm_weights(width, [&weights.gamma, &weights.beta].map(|weight| weight.as_ref().map(|view| &view.layout)))?;
        if let NormKind::Group { groups } = spec.kind {
            check::norm_groups(width, groups)?;
        }
        [&weights.gamma, &weights.beta].into_iter().flatten().try_for_each(|weight| self.inputs("normalize", [weight]))
    }

    fn floating(self, operation: &'static str, buffer: &SimdBuffer, layout: &Layout) -> Result<()> {
        let found = buffer.dtype();
        if found != self.storage && found != self.compute {
            return Err(EngineError::ElementType { operation, expected: self.storage, found });
        }
        check::inside(operation, buffer, layout)
    }
}

/// The slice of an operand of indices.
pub(crate) fn indices<'a>(operation: &'static str, view: &View<'a, SimdBuffer>) -> Result<&'a [i32]> {
    check::inside(operation, view.buffer, &view.layout)?;
    match view.buffer {
        SimdBuffer::I32(values) => Ok(values),
        other => Err(EngineError::ElementType { operation, expected: DType::I32, found: other.dtype() }),
    }
}

/// The slice of an output of indices into rows of `width`.
pub(crate) fn indices_mut<'a>(operation: &'static str, view: ViewMut<'a, SimdBuffer>, width: usize) -> Result<&'a mut [i32]> {
    check::output(operation, view.buffer, &view.layout)?;
    if i32::try_from(width).is_err() {
        return Err(shape_error(operation, format!("rows of {width} elements are too long for i32 indices")));
    }
    match view.buffer {
        SimdBuffer::I32(values) => Ok(values),
        other => Err(EngineError::ElementType { operation, expected: DType::I32, found: other.dtype() }),
    }
}
