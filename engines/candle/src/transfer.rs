//! Whole buffers over the link between the host and a device, by candle's own copy.
//!
//! The elements go as they are. On the host they are in pageable memory, because candle has no other: what is timed is what a program
//! pays that uses candle plainly, and not the most that the link can carry.

use candle_core::Device;
use crossover_core::check;
use crossover_core::error::{Result, shape_error};
use crossover_core::layout::Layout;
use crossover_core::ops::Side;
use crossover_core::tensor::{Buffer, View, ViewMut};

use crate::backend::Engine;
use crate::buffer::CandleBuffer;
use crate::error::During;

/// Both operands are checked here.
pub(crate) fn transfer(engine: &Engine, to: Side, x: &View<'_, CandleBuffer>, out: ViewMut<'_, CandleBuffer>) -> Result<()> {
    check::same_shape("transfer", &x.layout, &out.layout)?;
    check::inside("transfer", x.buffer, &x.layout)?;
    check::inside("transfer", out.buffer, &out.layout)?;
    let whole = |layout: &Layout, buffer: &CandleBuffer| layout.is_contiguous() && layout.len() == buffer.len();
    if !whole(&x.layout, x.buffer) || !whole(&out.layout, out.buffer) || x.dtype() != out.dtype() {
        return Err(shape_error("transfer", "it is between whole buffers of one type"));
    }
    let target = match to {
        Side::Host => &Device::Cpu,
        Side::Device => &engine.device,
    };
    let from = &x.buffer.tensor;
    if from.device().same_device(target) {
        return Err(shape_error("transfer", format!("the tensor is on the {to:?} side already")));
    }
    out.buffer.tensor = from.to_device(target).during("transfer")?;
    Ok(())
}
