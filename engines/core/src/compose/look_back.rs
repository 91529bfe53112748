//! Attention of each chunk of a sorted sequence to its own chunk and the one before.
//!
//! Kitaev et al. 2020, section 2, figure 2. The first chunk has none before it, and is a call of its own; for the others the two chunks of
//! keys are laid side by side, so that all of them are one call in which chunks take the place of heads.

use crate::arena::Arena;
use crate::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crate::error::Result;
use crate::layout::Layout;
use crate::ops::AttentionSpec;
use crate::tensor::{Tensor, View, ViewMut};

use super::per_head::blocks;

/// How a sorted sequence is attended to.
pub(super) struct Sorted {
    /// Tokens of a chunk.
    pub(super) chunk: usize,
    /// Scale; the pattern is full.
    pub(super) spec: AttentionSpec,
}

/// Sorted q, k, v [batch, heads, n, width] to outputs of that shape and log-sum-exps [batch, heads, n]; a bias
/// [batch heads, chunks, chunk, 2 chunk] is for the chunk before and the own one.
pub(super) fn look_back<B: TransformerBackend>(
    sorted: &Sorted,
    backend: &B,
    operands: [View<'_, B::Buffer>; 3],
    bias: Option<View<'_, B::Buffer>>,
    [mut out, mut logs]: [ViewMut<'_, B::Buffer>; 2],
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let chunk = sorted.chunk;
    let count = out.shape()[2].checked_div(chunk).unwrap_or(0);
    let in_chunks = blocks(count);
    let logs_in_chunks = |layout: &Layout| layout.split(2, count, chunk)?.merge(0);
    let pick = |first: usize, length: usize| {
        let in_chunks = &in_chunks;
        move |layout: &Layout| in_chunks(layout)?.narrow(1, first, length)
    };
    let [q, k, v] = operands;
    let bias_of = |chunks: (usize, usize), columns: (usize, usize)| -> Result<ScoreBias<'_, B::Buffer>> {
        bias.map_or(Ok(ScoreBias::None), |bias| Ok(ScoreBias::ByPair(bias.narrow(1, chunks.0, chunks.1)?.narrow(3, columns.0, columns.1)?)))
    };
    let first = AttentionOperands {
        q: q.with(pick(0, 1))?,
        k: k.with(pick(0, 1))?,
        v: v.with(pick(0, 1))?,
        bias: bias_of((0, 1), (chunk, chunk))?,
        key_mask: None,
    };
    let outputs = AttentionOutputs {
        out: out.reborrow().with(pick(0, 1))?,
        log_sum_exp: Some(logs.reborrow().with(|layout| logs_in_chunks(layout)?.narrow(1, 0, 1))?),
    };
    backend.attention(&sorted.spec, first, outputs, scratch)?;
    if count <= 1 {
        return Ok(());
    }
    let keys = side_by_side(backend, k.with(&in_chunks)?, scratch)?;
    let values = side_by_side(backend, v.with(&in_chunks)?, scratch)?;
    let others = AttentionOperands {
        q: q.with(pick(1, count - 1))?,
        k: keys.view(),
        v: values.view(),
        bias: bias_of((1, count - 1), (0, 2 * chunk))?,
        key_mask: None,
    };
    let outputs = AttentionOutputs {
        out: out.with(pick(1, count - 1))?,
        log_sum_exp: Some(logs.with(|layout| logs_in_chunks(layout)?.narrow(1, 1, count - 1))?),
    };
    backend.attention(&sorted.spec, others, outputs, scratch)?;
    scratch.give(values);
    scratch.give(keys);
    Ok(())
}

/// Chunks [batch, count, chunk, width] as [batch, count - 1, 2 chunk, width]: each but the first behind the one before it.
fn side_by_side<B: TransformerBackend>(
    backend: &B,
    chunks: View<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let (batch, others, chunk, width) = (chunks.shape()[0], chunks.shape()[1] - 1, chunks.shape()[2], chunks.shape()[3]);
    // Of the operand's own type: the compute type is admitted, and must not be rounded to that of storage.
    let mut pairs = scratch.take(backend, chunks.dtype(), &[batch, others, 2 * chunk, width])?;
    for part in 0..2 {
        backend.copy(chunks.narrow(1, part, others)?, pairs.view_mut().narrow(2, part * chunk, chunk)?)?;
    }
    Ok(pairs)
}
