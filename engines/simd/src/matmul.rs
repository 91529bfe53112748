//! C = alpha A B + beta C over batches, on the products of [`crate::gemm`], or of [`crate::narrow`] where an operand is of 16 bits.

use crossover_core::activation::Activation;
use crossover_core::check::MatmulSizes;
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::ops::MatmulSpec;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::gemm::{Engine, Epilogue, Product, Right, Source, Target, multiply};
use crate::narrow::{self, Choice, Kind, Matrix};
use crate::pool::Shared;
use crate::vector::Lanes;

/// Views already checked to fit together and to stay inside their buffers.
pub(crate) fn matmul<E: Lanes + Plain>(
    engine: &Engine,
    spec: MatmulSpec,
    sizes: MatmulSizes,
    a: View<'_, SimdBuffer>,
    b: View<'_, SimdBuffer>,
    c: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let MatmulSizes { batch, m, n, k } = sizes;
    let types = [a.dtype(), b.dtype(), c.dtype()];
    if let Some(&found) = types.iter().find(|&&dtype| dtype != E::DTYPE) {
        if E::DTYPE == DType::F32 {
            return narrow(engine, spec, sizes, a, b, c);
        }
        return Err(EngineError::ElementType { operation: "matmul", expected: E::DTYPE, found });
    }
    let (Some(a_values), Some(b_values), Some(c_values)) = (E::slice(a.buffer), E::slice(b.buffer), E::slice_mut(c.buffer)) else {
        return Err(EngineError::ElementType { operation: "matmul", expected: E::DTYPE, found: types[0] });
    };
    let out = Shared::new(c_values);
    let epilogue = Epilogue { alpha: E::from_f64(spec.alpha), beta: E::from_f64(spec.beta), bias: None, activation: Activation::None };
    let of = |layout: &Layout, values: &[E], at: usize| {
        let [row, column] = last_two(layout);
        Source { pointer: values.as_ptr().wrapping_add(layout.leading_offset(2, at)), row, column }
    };
    multiply(engine, batch, |at| {
        let [row, column] = last_two(&c.layout);
        let c = Target { pointer: out.pointer().wrapping_add(c.layout.leading_offset(2, at)), row, column };
        Product { m, n, k, a: of(&a.layout, a_values, at), b: Right::Plain(of(&b.layout, b_values, at)), c, epilogue }
    })
}

/// Operands of any types whose compute type is f32.
fn narrow(
    engine: &Engine,
    spec: MatmulSpec,
    sizes: MatmulSizes,
    a: View<'_, SimdBuffer>,
    b: View<'_, SimdBuffer>,
    c: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let MatmulSizes { batch, m, n, k } = sizes;
    let found = [a.dtype(), b.dtype(), c.dtype()];
    let (Some(a_at), Some(b_at), Some(c_at)) = (Kind::of(a.buffer), Kind::of(b.buffer), Kind::of_mut(c.buffer)) else {
        let found = found.into_iter().find(|dtype| !dtype.is_float() || *dtype == DType::F64).unwrap_or(DType::I32);
        return Err(EngineError::ElementType { operation: "matmul", expected: DType::F32, found });
    };
    let choice = match (a_at.0, b_at.0) {
        (Kind::Bf16, Kind::Bf16) => Choice::bf16(engine.isa, engine.extras),
        _ => Choice::Wide,
    };
    let template = narrow::Product {
        m,
        n,
        k,
        a: Matrix::at(a_at, 0, last_two(&a.layout)),
        right: (),
        c: Matrix::at(c_at, 0, last_two(&c.layout)),
        alpha: spec.alpha as f32,
        beta: spec.beta as f32,
        bias: None,
        activation: Activation::None,
    };
    let b_matrix = Matrix::at(b_at, 0, last_two(&b.layout));
    narrow::multiply(engine, choice, batch, |at| {
        let right = narrow::Right::Plain(b_matrix.moved(b.layout.leading_offset(2, at)));
        template.moved([a.layout.leading_offset(2, at), c.layout.leading_offset(2, at)]).with(right)
    })
}

/// Distances of rows and of columns.
pub(crate) fn last_two(layout: &Layout) -> [usize; 2] {
    let strides = layout.strides();
    [strides[strides.len() - 2], strides[strides.len() - 1]]
}
