//! Where estimates stand: buffers of two arrays, dense copies of views, and weights.
//!
//! Every operation copies its operands into dense blocks first and writes a dense block back. That costs memory traffic which nobody
//! times, and makes strides, broadcasts and in-place operation nothing special.

use super::estimate::Estimate;
use crate::backend::{Operand, PreparedWeight};
use crate::check;
use crate::dtype::DType;
use crate::error::{EngineError, Result};
use crate::layout::Layout;
use crate::tensor::{Buffer, View, ViewMut};

/// Values in f64 and the variances of their errors. The type is the one in which the checked engine keeps them.
#[derive(Debug, Clone)]
pub struct RunningBuffer {
    pub(super) dtype: DType,
    pub(super) values: Vec<f64>,
    pub(super) variances: Vec<f64>,
}

impl Buffer for RunningBuffer {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn len(&self) -> usize {
        self.values.len()
    }
}

impl RunningBuffer {
    pub(super) fn zeros(dtype: DType, elements: usize) -> Result<Self> {
        Ok(Self { dtype, values: zeros(dtype, elements)?, variances: zeros(dtype, elements)? })
    }
}

fn zeros(dtype: DType, elements: usize) -> Result<Vec<f64>> {
    let mut vector = Vec::new();
    let failure = |error: std::collections::TryReserveError| EngineError::Allocation { elements, dtype, reason: error.to_string() };
    vector.try_reserve_exact(elements).map_err(failure)?;
    vector.resize(elements, 0.0);
    Ok(vector)
}

/// A weight [outputs, inputs]: the values that its codes stand for.
#[derive(Debug, Clone)]
pub struct RunningWeight {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// [inputs, outputs]: transposed, as the products want it.
    pub(super) transposed: Vec<f64>,
    pub(super) bytes: usize,
}

impl PreparedWeight for RunningWeight {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }
}

/// A dense row-major copy of a view.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) values: Vec<f64>,
    pub(super) variances: Vec<f64>,
}

impl Block {
    pub(super) fn with_capacity(elements: usize) -> Self {
        Self { values: Vec::with_capacity(elements), variances: Vec::with_capacity(elements) }
    }

    pub(super) fn get(&self, at: usize) -> Estimate {
        Estimate { value: self.values[at], variance: self.variances[at] }
    }

    pub(super) fn set(&mut self, at: usize, estimate: Estimate) {
        (self.values[at], self.variances[at]) = (estimate.value, estimate.variance);
    }

    pub(super) fn push(&mut self, estimate: Estimate) {
        self.values.push(estimate.value);
        self.variances.push(estimate.variance);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Estimate> + '_ {
        self.values.iter().zip(&self.variances).map(|(&value, &variance)| Estimate { value, variance })
    }

    /// True if no element has an error.
    pub(super) fn is_exact(&self) -> bool {
        self.variances.iter().all(|&variance| variance == 0.0)
    }
}

/// A copy of a view, which must lie inside its buffer.
pub(super) fn read(operation: &'static str, view: &View<'_, RunningBuffer>) -> Result<Block> {
    check::inside(operation, view.buffer, &view.layout)?;
    let mut block = Block::with_capacity(view.layout.len());
    if view.layout.is_empty() {
        return Ok(block);
    }
    let (width, stride) = last_dimension(&view.layout);
    for start in view.layout.leading_offsets(1) {
        for at in (0..width).map(|column| start + column * stride) {
            block.values.push(view.buffer.values[at]);
            block.variances.push(view.buffer.variances[at]);
        }
    }
    Ok(block)
}

/// The rows of a view where they stand, which must lie inside its buffer.
pub(super) struct Rows<'a> {
    buffer: &'a RunningBuffer,
    starts: Vec<usize>,
    stride: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn of(operation: &'static str, view: &View<'a, RunningBuffer>) -> Result<Self> {
        check::inside(operation, view.buffer, &view.layout)?;
        let (_, stride) = last_dimension(&view.layout);
        Ok(Self { buffer: view.buffer, starts: view.layout.leading_offsets(1).collect(), stride })
    }

    pub(super) fn get(&self, row: usize, column: usize) -> Estimate {
        let at = self.starts[row] + column * self.stride;
        Estimate { value: self.buffer.values[at], variance: self.buffer.variances[at] }
    }
}

/// What an operation reads that may work in place.
pub(super) fn read_operand(operation: &'static str, x: Operand<'_, RunningBuffer>, out: &ViewMut<'_, RunningBuffer>) -> Result<Block> {
    match x {
        Operand::Of(view) => read(operation, &view),
        Operand::InPlace => read(operation, &out.as_view()),
    }
}

/// Writes results that are already rounded, in row-major order.
pub(super) fn write(operation: &'static str, out: ViewMut<'_, RunningBuffer>, results: impl IntoIterator<Item = Estimate>) -> Result<()> {
    check::output(operation, out.buffer, &out.layout)?;
    for (at, result) in out.layout.leading_offsets(0).zip(results) {
        (out.buffer.values[at], out.buffer.variances[at]) = (result.value, result.variance);
    }
    Ok(())
}

/// An operand must have this type.
pub(super) fn expect(operation: &'static str, expected: DType, found: DType) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(EngineError::ElementType { operation, expected, found })
}

/// An operand must have a floating type.
pub(super) fn expect_float(operation: &'static str, expected: DType, found: DType) -> Result<()> {
    if found.is_float() { Ok(()) } else { Err(EngineError::ElementType { operation, expected, found }) }
}

/// Extent and stride of the last dimension; a scalar is a row of one.
fn last_dimension(layout: &Layout) -> (usize, usize) {
    (layout.dim_from_end(0), layout.strides().last().copied().unwrap_or(1))
}
