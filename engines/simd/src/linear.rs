//! y = activation(x W^T + bias) with a packed weight, on the products of [`crate::gemm`] or of [`crate::narrow`].
//!
//! The leading dimensions of x and y are rows of one product wherever their strides let them be merged; else each matrix of the last two
//! is a product of its own.

use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::gemm::{self, Engine, Epilogue, Source, Target, multiply};
use crate::matmul::last_two;
use crate::narrow::sparse::{self, Sparse};
use crate::narrow::{Choice, Code, Kind, Matrix, Panels, Product, Right, multiply as multiply_narrow};
use crate::pool::Shared;
use crate::vector::Lanes;
use crate::weight::SimdWeight;

/// A weight that is not panels of the compute type.
#[derive(Clone, Copy)]
pub(crate) enum Held<'a> {
    Panels(Panels<'a>),
    Sparse(&'a Sparse),
}

/// With operands and a weight of any types whose compute type is f32; `integer` if activations become codes.
pub(crate) fn narrow(
    engine: &Engine,
    (spec, integer): (LinearSpec, bool),
    x: View<'_, SimdBuffer>,
    (weight, held): (&SimdWeight, Held<'_>),
    bias: Option<View<'_, SimdBuffer>>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let place = |buffer: &SimdBuffer| {
        let wrong = EngineError::ElementType { operation: "linear", expected: DType::F32, found: buffer.dtype() };
        Kind::of(buffer).ok_or(wrong)
    };
    let (x_at, found) = (place(x.buffer)?, out.dtype());
    let out_at = Kind::of_mut(out.buffer).ok_or(EngineError::ElementType { operation: "linear", expected: DType::F32, found })?;
    let bias = match bias {
        Some(bias) => Some(Matrix::at(place(bias.buffer)?, bias.layout.offset(), [0, bias.layout.strides()[0]])),
        None => None,
    };
    let (x_layout, out_layout) = x.layout.rows_together(out.layout)?;
    let (batch, m) = (x_layout.shape()[..x_layout.rank() - 2].iter().product(), x_layout.dim_from_end(1));
    let template = Product {
        m,
        n: weight.outputs,
        k: weight.inputs,
        a: Matrix::at(x_at, 0, last_two(&x_layout)),
        right: (),
        c: Matrix::at(out_at, 0, last_two(&out_layout)),
        alpha: 1.0,
        beta: 0.0,
        bias,
        activation: spec.activation,
    };
    let product = |at: usize| template.moved([x_layout.leading_offset(2, at), out_layout.leading_offset(2, at)]);
    match held {
        Held::Sparse(sparse) => sparse::multiply(engine, batch, |at| product(at).with(sparse)),
        Held::Panels(panels) => {
            let choice = match panels.code {
                Code::Int8 if integer => Choice::int8(engine.isa, engine.extras),
                Code::Bf16 if x_at.0 == Kind::Bf16 => Choice::bf16(engine.isa, engine.extras),
                _ => Choice::Wide,
            };
            let right = Right::Panels(panels);
            multiply_narrow(engine, choice, batch, |at| product(at).with(right))
        }
    }
}

/// With a weight whose panels are of the compute type.
pub(crate) fn linear<E: Lanes + Plain>(
    engine: &Engine,
    spec: LinearSpec,
    x: View<'_, SimdBuffer>,
    (weight, panels): (&SimdWeight, &[E]),
    bias: Option<View<'_, SimdBuffer>>,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let wrong = |found: DType| EngineError::ElementType { operation: "linear", expected: E::DTYPE, found };
    let found = x.dtype();
    let (Some(x_values), Some(out_values)) = (E::slice(x.buffer), E::slice_mut(out.buffer)) else {
        return Err(wrong(found));
    };
    let bias = match bias {
        Some(bias) => {
            let values = E::slice(bias.buffer).ok_or_else(|| wrong(bias.dtype()))?;
            Some(Source { pointer: values.as_ptr().wrapping_add(bias.layout.offset()), row: 0, column: bias.layout.strides()[0] })
        }
        None => None,
    };
    let epilogue = Epilogue { alpha: E::ONE, beta: E::ZERO, bias, activation: spec.activation };
    let (x_layout, out_layout) = x.layout.rows_together(out.layout)?;
    let (batch, m) = (x_layout.shape()[..x_layout.rank() - 2].iter().product(), x_layout.dim_from_end(1));
    let to = Shared::new(out_values);
    multiply(engine, batch, |at| {
        let ([row, column], [out_row, out_column]) = (last_two(&x_layout), last_two(&out_layout));
        let a = Source { pointer: x_values.as_ptr().wrapping_add(x_layout.leading_offset(2, at)), row, column };
        let c = Target { pointer: to.pointer().wrapping_add(out_layout.leading_offset(2, at)), row: out_row, column: out_column };
        gemm::Product { m, n: weight.outputs, k: weight.inputs, a, b: gemm::Right::Panels(panels.as_ptr()), c, epilogue }
    })
}
