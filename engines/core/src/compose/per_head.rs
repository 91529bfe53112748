//! Operations on rows that exist for one head at a time: gathering and scattering by each head's own indices.

use crate::backend::TransformerBackend;
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::{View, ViewMut};

/// [batch, heads, ..] of one head of one sequence.
fn head_of(batch: usize, head: usize) -> impl Fn(&Layout) -> Result<Layout> {
    move |layout| layout.narrow(0, batch, 1)?.narrow(1, head, 1)?.merge(0)?.merge(0)
}

/// out[b, h, i] = table[b, h, indices[b, h, i]] for rows of a [batch, heads, rows, width] table.
pub fn gather<B: TransformerBackend>(
    backend: &B,
    table: View<'_, B::Buffer>,
    indices: View<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    for batch in 0..table.shape()[0] {
        for head in 0..table.shape()[1] {
            let own = head_of(batch, head);
            let row_indices = indices.with(|layout| one_dimension(&own(layout)?))?;
            backend.gather_rows(table.with(&own)?, row_indices, out.reborrow().with(&own)?)?;
        }
    }
    Ok(())
}

/// out[b, h, indices[b, h, i]] += rows[b, h, i].
pub fn scatter_add<B: TransformerBackend>(
    backend: &B,
    rows: View<'_, B::Buffer>,
    indices: View<'_, B::Buffer>,
    mut out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    for batch in 0..rows.shape()[0] {
        for head in 0..rows.shape()[1] {
            let own = head_of(batch, head);
            let row_indices = indices.with(|layout| one_dimension(&own(layout)?))?;
            backend.scatter_add_rows(rows.with(&own)?, row_indices, out.reborrow().with(&own)?)?;
        }
    }
    Ok(())
}

/// Indices may come in groups, [groups, count].
fn one_dimension(layout: &Layout) -> Result<Layout> {
    if layout.rank() > 1 { layout.merge(0) } else { Ok(*layout) }
}

/// [batch, heads, n, width] as [batch * heads, blocks, n / blocks, width]: each head a batch entry, each block a head.
pub fn blocks(count: usize) -> impl Fn(&Layout) -> Result<Layout> {
    move |layout| layout.split(2, count, layout.shape()[2].checked_div(count).unwrap_or(0))?.merge(0)
}
