//! Writing a result through a view.
//!
//! A view that is the whole buffer takes the result's storage: no copy. A part is written in place by a candle in-place operation; in
//! training, where an in-place write would change what the graph remembers, a new tensor is made of the old elements and the new ones.

use candle_core::{CpuStorage, InplaceOp2, Tensor};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::tensor::{Buffer, ViewMut};

use crate::backend::Engine;
use crate::buffer::{CandleBuffer, candle_type};
use crate::error::During;
use crate::view::positions;

/// `result` has the view's shape and the buffer's type, and shares no storage with a buffer.
pub(crate) fn store(engine: &Engine, result: &Tensor, out: ViewMut<'_, CandleBuffer>) -> candle_core::Result<()> {
    let (layout, flat) = (out.layout, &out.buffer.tensor);
    if layout.is_empty() {
        return Ok(());
    }
    if layout.is_contiguous() && layout.len() == out.buffer.len() {
        let result = result.contiguous()?;
        // A dense result may still be a part of something larger, which must not be kept alive or be written beside.
        let result = if result.layout().start_offset() == 0 { result } else { result.force_contiguous()? };
        out.buffer.tensor = result.reshape(layout.len())?;
        return Ok(());
    }
    if engine.training {
        out.buffer.tensor = replaced(engine, flat, &result.flatten_all()?, &layout)?;
        return Ok(());
    }
    let result = result.contiguous()?;
    if engine.device.is_cpu() {
        flat.inplace_op2(&result, &Scatter(layout))
    } else if layout.is_contiguous() {
        flat.slice_set(&result.flatten_all()?, 0, layout.offset())
    } else {
        let index = engine.cache.borrow_mut().positions(&layout, &engine.device)?;
        flat.scatter_set(&index, &result.flatten_all()?, 0)
    }
}

/// Sets every element of a view that is inside its buffer.
pub(crate) fn fill(engine: &Engine, out: ViewMut<'_, CandleBuffer>, value: f64) -> Result<()> {
    let dtype = candle_type(out.dtype())?;
    let filled = Tensor::full(out.dtype().round(value), (), &engine.device).and_then(|number| {
        // Already on the grid of the type: this is exact.
        number.to_dtype(dtype)?.broadcast_as(out.shape())?.contiguous()
    });
    engine.write("fill", &filled.during("fill")?, out)
}

/// The old elements with the new ones among them, as a tensor of its own that passes gradients to both.
fn replaced(engine: &Engine, old: &Tensor, new: &Tensor, layout: &Layout) -> candle_core::Result<Tensor> {
    let total = old.elem_count();
    if layout.is_contiguous() {
        let (start, end) = (layout.offset(), layout.offset() + layout.len());
        let parts = [old.narrow(0, 0, start)?, new.clone(), old.narrow(0, end, total - end)?];
        let parts: Vec<&Tensor> = parts.iter().filter(|part| part.elem_count() > 0).collect();
        return Tensor::cat(&parts, 0);
    }
    let index = engine.cache.borrow_mut().positions(layout, &engine.device)?;
    let spread = old.zeros_like()?.index_add(&index, new, 0)?;
    let mut written = vec![0u8; total];
    positions(layout).for_each(|at| written[at] = 1);
    Tensor::from_vec(written, total, &engine.device)?.where_cond(&spread, old)
}

/// Copies dense elements to the places of a layout.
struct Scatter(Layout);

impl InplaceOp2 for Scatter {
    fn name(&self) -> &'static str {
        "scatter into a view"
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        _: &candle_core::Layout,
        from: &CpuStorage,
        from_layout: &candle_core::Layout,
    ) -> candle_core::Result<()> {
        let start = from_layout.start_offset();
        match (to, from) {
            (CpuStorage::F64(to), CpuStorage::F64(from)) => spread(to, &from[start..], &self.0),
            (CpuStorage::F32(to), CpuStorage::F32(from)) => spread(to, &from[start..], &self.0),
            (CpuStorage::BF16(to), CpuStorage::BF16(from)) => spread(to, &from[start..], &self.0),
            (CpuStorage::F16(to), CpuStorage::F16(from)) => spread(to, &from[start..], &self.0),
            (CpuStorage::I32(to), CpuStorage::I32(from)) => spread(to, &from[start..], &self.0),
            _ => candle_core::bail!("a result of another type than its output"),
        }
        Ok(())
    }
}

fn spread<T: Copy>(to: &mut [T], from: &[T], layout: &Layout) {
    let width = layout.dim_from_end(0);
    let stride = layout.strides().last().copied().unwrap_or(1);
    // A scalar has one row of one element.
    for (row, start) in from.chunks(width).zip(layout.leading_offsets(1)) {
        if stride == 1 {
            to[start..start + width].copy_from_slice(row);
        } else {
            for (at, &value) in row.iter().enumerate() {
                to[start + at * stride] = value;
            }
        }
    }
}
