//! Copy and fill.
//!
//! Between views of one element type, bits are moved; between two types, values pass through one that holds both exactly, and are rounded
//! once, element by element.

use crossover_core::backend::Operand;
use crossover_core::dtype::DType;
use crossover_core::layout::Layout;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::element::Element;
use crate::gemm::Engine;
use crate::pool::Shared;
use crate::rowwise::for_each_run;
use crate::walk::for_each_row;

/// Copies, converting with one rounding.
pub(crate) fn copy(engine: &Engine, x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    let layouts = [out.layout, x.layout];
    match (SharedBuffer::reading(x.buffer), SharedBuffer::new(out.buffer)) {
        (SharedBuffer::F64(x), SharedBuffer::F64(out)) => same(engine, x, out, layouts),
        (SharedBuffer::F32(x), SharedBuffer::F32(out)) => same(engine, x, out, layouts),
        (SharedBuffer::Bf16(x), SharedBuffer::Bf16(out)) => same(engine, x, out, layouts),
        (SharedBuffer::F16(x), SharedBuffer::F16(out)) => same(engine, x, out, layouts),
        (SharedBuffer::I32(x), SharedBuffer::I32(out)) => same(engine, x, out, layouts),
        _ => convert(x, out),
    }
}

fn same<T: Copy + Send>(engine: &Engine, x: Shared<T>, out: Shared<T>, layouts: [Layout; 2]) {
    for_each_run(engine, layouts, |[to, from], [to_stride, from_stride], count| {
        let (to, from) = (out.pointer().wrapping_add(to), x.pointer().wrapping_add(from));
        // SAFETY: a run of both views, which are inside of their buffers; the buffers differ, and nobody else writes this run.
        unsafe {
            if to_stride == 1 && from_stride == 1 {
                std::ptr::copy_nonoverlapping(from, to, count);
            } else {
                (0..count).for_each(|at| *to.wrapping_add(at * to_stride) = *from.wrapping_add(at * from_stride));
            }
        }
    });
}

fn convert(x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    let narrow = |dtype| matches!(dtype, DType::F32 | DType::Bf16 | DType::F16);
    let both_narrow = narrow(x.dtype()) && narrow(out.dtype());
    let x = Operand::Of(x);
    if both_narrow {
        for_each_row(&x, out, |mut row| row.map([], |value: f32, []| value));
    } else {
        for_each_row(&x, out, |mut row| row.map([], |value: f64, []| value));
    }
}

/// Sets every element.
pub(crate) fn fill(engine: &Engine, out: ViewMut<'_, SimdBuffer>, value: f64) {
    let layout = out.layout;
    match SharedBuffer::new(out.buffer) {
        SharedBuffer::F64(out) => set(engine, out, layout, value),
        SharedBuffer::F32(out) => set(engine, out, layout, value),
        SharedBuffer::Bf16(out) => set(engine, out, layout, value),
        SharedBuffer::F16(out) => set(engine, out, layout, value),
        SharedBuffer::I32(out) => set(engine, out, layout, value),
    }
}

fn set<T: Element + Send + Sync>(engine: &Engine, out: Shared<T>, layout: Layout, value: f64) {
    let value = T::store(value);
    for_each_run(engine, [layout], |[first], [stride], count| {
        let first = out.pointer().wrapping_add(first);
        // SAFETY: a run of the view, which is inside of its buffer; nobody else writes it.
        unsafe {
            if stride == 1 {
                std::slice::from_raw_parts_mut(first, count).fill(value);
            } else {
                (0..count).for_each(|at| *first.wrapping_add(at * stride) = value);
            }
        }
    });
}
