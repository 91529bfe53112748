//! Attention to two disjoint sets of keys, joined into attention to both.
//!
//! A softmax over two sets is the two softmaxes, weighted by their sums of exponentials (Milakov and Gimelshein 2018, section 3.1, use this
//! within a row). With the logarithms a and b of these sums, the first one's share is e^a / (e^a + e^b) = sigmoid(a - b). So a pattern with
//! holes can be asked for as two without: a kernel spends its time on keys that are seen.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, Operand, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::{AttentionSpec, BinaryOp, UnaryOp};
use crossover_core::tensor::{Tensor, View, ViewMut};

/// Outputs [batch, heads, rows, width] in the compute type (rounding parts would be seen in the whole) and the logarithms of their sums of
/// exponentials [batch, heads, rows].
pub(super) struct Part<B: TransformerBackend> {
    pub(super) out: Tensor<B::Buffer>,
    pub(super) logs: Tensor<B::Buffer>,
}

impl<B: TransformerBackend> Part<B> {
    /// Room for one, of which nothing is computed yet.
    pub(super) fn take(backend: &B, [batch, heads, rows, width]: [usize; 4], scratch: &mut Arena<B::Buffer>) -> Result<Self> {
        Ok(Self {
            out: scratch.take(backend, backend.compute(), &[batch, heads, rows, width])?,
            logs: scratch.take(backend, backend.compute(), &[batch, heads, rows])?,
        })
    }
}

/// Does the work on `out` in the compute type: on itself where that is its type, else on scratch that is rounded into it once.
pub(super) fn widened<B: TransformerBackend>(
    backend: &B,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
    work: impl FnOnce(ViewMut<'_, B::Buffer>, &mut Arena<B::Buffer>) -> Result<()>,
) -> Result<()> {
    if backend.storage() == backend.compute() {
        return work(out, scratch);
    }
    let mut wide = scratch.take(backend, backend.compute(), out.shape())?;
    work(wide.view_mut(), scratch)?;
    backend.copy(wide.view(), out)?;
    scratch.give(wide);
    Ok(())
}

/// `out`, with its `logs`, becomes attention to its own keys and those of the other part. The logs are used up, and so is the part.
pub(super) fn join<B: TransformerBackend>(
    backend: &B,
    [mut out, mut logs]: [ViewMut<'_, B::Buffer>; 2],
    other: Part<B>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    backend.binary(BinaryOp::Subtract, Operand::InPlace, other.logs.view(), logs.reborrow())?;
    backend.unary(UnaryOp::Sigmoid, Operand::InPlace, logs.reborrow())?;
    let last = logs.layout.rank();
    let share = logs.as_view().with(|layout| layout.unsqueeze(last)?.broadcast(out.shape()))?;
    backend.binary(BinaryOp::Subtract, Operand::InPlace, other.out.view(), out.reborrow())?;
    backend.binary(BinaryOp::Multiply, Operand::InPlace, share, out.reborrow())?;
    backend.binary(BinaryOp::Add, Operand::InPlace, other.out.view(), out)?;
    scratch.give(other.logs);
    scratch.give(other.out);
    Ok(())
}

/// Where queries, keys and values, and where the results go.
pub(super) struct Places<'a, B: TransformerBackend> {
    pub(super) inputs: [View<'a, B::Buffer>; 3],
    pub(super) outputs: [ViewMut<'a, B::Buffer>; 2],
}

/// One call for each head, in which parts of its rows take the place of heads: `parts` makes [1, parts, rows, ..] of [1, 1, n, ..], of
/// operands as of logs.
pub(super) fn by_parts<B: TransformerBackend>(
    backend: &B,
    spec: &AttentionSpec,
    places: Places<'_, B>,
    parts: impl Fn(&Layout) -> Result<Layout>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let Places { inputs: [q, k, v], outputs: [mut out, mut logs] } = places;
    let (heads, key_heads) = (q.shape()[1], k.shape()[1]);
    for (batch, head) in (0..q.shape()[0]).flat_map(|batch| (0..heads).map(move |head| (batch, head))) {
        let own = |head: usize| {
            let parts = &parts;
            move |layout: &Layout| parts(&layout.narrow(0, batch, 1)?.narrow(1, head, 1)?)
        };
        let (of_query, of_key) = (own(head), own(head * key_heads / heads));
        let operands =
            AttentionOperands { q: q.with(of_query)?, k: k.with(of_key)?, v: v.with(of_key)?, bias: ScoreBias::None, key_mask: None };
        let outputs = AttentionOutputs { out: out.reborrow().with(of_query)?, log_sum_exp: Some(logs.reborrow().with(of_query)?) };
        backend.attention(spec, operands, outputs, scratch)?;
    }
    Ok(())
}
