//! Stable argsort of integer keys.
//!
//! Key and index are packed into one number, key above, so that the order of numbers is the stable order of keys, and the standard
//! library's unstable sort, which needs no memory, sorts them.

use crossover_core::error::Result;
use crossover_core::layout::Layout;

use crate::gemm::Engine;
use crate::pool::Shared;
use crate::walk::last_stride;

/// keys and out have one shape; rows are short enough for i32 indices.
pub(crate) fn stable_argsort(engine: &Engine, keys: (&[i32], &Layout), out: (&mut [i32], &Layout)) -> Result<()> {
    let ((values, layout), (out, out_layout)) = (keys, out);
    let (width, stride, out_stride) = (layout.dim_from_end(0), last_stride(layout), last_stride(out_layout));
    if layout.is_empty() {
        return Ok(());
    }
    engine.workspace.reserve::<u64>([width, 0])?;
    let (rows, out) = (layout.len() / width, Shared::new(out));
    engine.pool.for_each(rows, |participant, row| {
        let mut piece = engine.workspace.piece(participant);
        let (packed, _) = piece.split::<u64>([width, 0]);
        let (start, out_start) = (layout.leading_offset(1, row), out_layout.leading_offset(1, row));
        for (at, packed) in packed.iter_mut().enumerate() {
            // The sign bit turned over carries the order of i32 to that of u32.
            let key = values[start + at * stride] as u32 ^ (1 << 31);
            *packed = u64::from(key) << 32 | at as u64;
        }
        packed.sort_unstable();
        for (at, &packed) in packed.iter().enumerate() {
            // SAFETY: the row is inside of its view, and belongs to this task.
            unsafe { *out.pointer().wrapping_add(out_start + at * out_stride) = packed as u32 as i32 };
        }
    });
    Ok(())
}
