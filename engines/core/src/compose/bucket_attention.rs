//! Attention inside the chunks of a sorted sequence, composed: rows are gathered in the order of the chunks, attended to, and gathered back.
//!
//! Kitaev et al. 2020, section 2. Chunks lie behind each other in the sorted rows, so that attention of a chunk to itself and the one before
//! is attention of heads (`look_back.rs`). What the causal form hides is known from the tokens' own positions alone (`later.rs`): a bias
//! of the size of all chunks' scores. The places of tokens in an order, by which outputs come back, are a sort of it.
//!
//! The price of composing: q, k, v and the output are each copied once more, keys and values twice, and nearly everything passes through
//! memory.

use super::indices;
use super::later::hide_later;
use super::look_back::{Sorted, look_back};
use super::per_head::gather;
use crate::arena::Arena;
use crate::backend::{AttentionOutputs, BucketOperands, TransformerBackend};
use crate::check::{self, BucketSizes};
use crate::error::Result;
use crate::layout::Layout;
use crate::operands::Types;
use crate::ops::{AttentionSpec, BucketSpec};
use crate::pattern::AttentionPattern;
use crate::tensor::{Tensor, View};

/// The operation's name in messages.
const OPERATION: &str = "bucket attention";

/// See the module, and [`TransformerBackend::bucket_attention`] for the operands.
pub fn composed<B: TransformerBackend>(
    backend: &B,
    spec: BucketSpec,
    operands: BucketOperands<'_, B::Buffer>,
    outputs: AttentionOutputs<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let sizes = check::bucket_attention(spec, &operands, &outputs)?;
    Types::of(backend.config().precision).bucket_attention(&operands, &outputs)?;
    if sizes.batch * sizes.heads * sizes.n == 0 {
        return Ok(());
    }
    scratch.scope(|scratch| Buckets { backend, spec, sizes }.run(operands, outputs, scratch))
}

struct Buckets<'b, B> {
    backend: &'b B,
    spec: BucketSpec,
    sizes: BucketSizes,
}

impl<B: TransformerBackend> Buckets<'_, B> {
    fn run(
        &self,
        operands: BucketOperands<'_, B::Buffer>,
        outputs: AttentionOutputs<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let backend = self.backend;
        let BucketOperands { q, k, v, query_order, key_order } = operands;
        let places = indices::permutation(backend, OPERATION, query_order, scratch)?;
        if let Some(order) = key_order {
            let places = indices::permutation(backend, OPERATION, order, scratch)?;
            scratch.give(places);
        }
        let key_order = key_order.unwrap_or(query_order);
        let bias = self.bias([query_order, key_order], scratch)?;
        let mut sorted = |x: View<'_, B::Buffer>, order| -> Result<Tensor<B::Buffer>> {
            let mut rows = scratch.take(backend, x.dtype(), x.shape())?;
            gather(backend, x, order, rows.view_mut())?;
            Ok(rows)
        };
        let [queries, keys, values] = [sorted(q, query_order)?, sorted(k, key_order)?, sorted(v, key_order)?];
        let mut mixed = scratch.take(backend, outputs.out.dtype(), q.shape())?;
        let mut logs = scratch.take(backend, backend.compute(), &q.shape()[..3])?;
        let chunks = Sorted { chunk: self.spec.chunk, spec: self.attention() };
        let seen = bias.as_ref().map(|bias| bias.view().with(|layout| self.of_all_chunks(layout))).transpose()?;
        let rows = [queries.view(), keys.view(), values.view()];
        look_back(&chunks, backend, rows, seen, [mixed.view_mut(), logs.view_mut()], scratch)?;
        gather(backend, mixed.view(), places.view(), outputs.out)?;
        if let Some(target) = outputs.log_sum_exp {
            let column = |layout: &Layout| layout.unsqueeze(3);
            gather(backend, logs.view().with(column)?, places.view(), target.with(column)?)?;
        }
        for tensor in [places, queries, keys, values, mixed, logs].into_iter().chain(bias) {
            scratch.give(tensor);
        }
        Ok(())
    }

    fn attention(&self) -> AttentionSpec {
        AttentionSpec { pattern: AttentionPattern::Full, scale: self.spec.scale, soft_cap: None, query_offset: 0 }
    }

    /// A [chunk, 2 chunk] bias for all chunks of all heads; one that is for each of them already, as it is.
    fn of_all_chunks(&self, bias: &Layout) -> Result<Layout> {
        let BucketSizes { batch, heads, n, chunk, .. } = self.sizes;
        bias.broadcast(&[batch * heads, n / chunk, chunk, 2 * chunk])
    }

    /// What is added to the scores of chunks: the future hidden, and the view of oneself lowered.
    fn bias(&self, orders: [View<'_, B::Buffer>; 2], scratch: &mut Arena<B::Buffer>) -> Result<Option<Tensor<B::Buffer>>> {
        let own = self.spec.self_bias.map(|bias| self.own(bias, scratch)).transpose()?;
        if !self.spec.causal {
            return Ok(own);
        }
        let (backend, BucketSizes { batch, heads, n, chunk, .. }) = (self.backend, self.sizes);
        let count = n / chunk;
        let mut bias = scratch.take(backend, backend.compute(), &[batch * heads, count, chunk, 2 * chunk])?;
        match own {
            Some(own) => {
                backend.copy(own.view().with(|layout| self.of_all_chunks(layout))?, bias.view_mut())?;
                scratch.give(own);
            }
            None => backend.fill(bias.view_mut(), 0.0)?,
        }
        // Copied, so that they lie densely whatever they were cut from.
        let [of_queries, of_keys] = orders.map(|order| -> Result<Tensor<B::Buffer>> {
            let mut dense = scratch.take(backend, order.dtype(), order.shape())?;
            backend.copy(order, dense.view_mut())?;
            Ok(dense)
        });
        let (of_queries, of_keys) = (of_queries?, of_keys?);
        let in_chunks = |layout: &Layout| layout.split(2, count, chunk)?.merge(0);
        let (queries, keys) = (of_queries.view().with(in_chunks)?, of_keys.view().with(in_chunks)?);
        hide_later(backend, queries, keys, bias.view_mut().narrow(3, chunk, chunk)?, scratch)?;
        if count > 1 {
            let (later, earlier) = (queries.narrow(1, 1, count - 1)?, keys.narrow(1, 0, count - 1)?);
            hide_later(backend, later, earlier, bias.view_mut().narrow(1, 1, count - 1)?.narrow(3, 0, chunk)?, scratch)?;
        }
        scratch.give(of_keys);
        scratch.give(of_queries);
        Ok(Some(bias))
    }

    /// [chunk, 2 chunk]: zeros, and `bias` where a token of the own chunk meets itself. Its diagonal is a column of wider rows.
    fn own(&self, bias: f64, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let (backend, chunk) = (self.backend, self.spec.chunk);
        let mut own = scratch.take(backend, backend.compute(), &[chunk * (2 * chunk + 1)])?;
        backend.fill(own.view_mut(), 0.0)?;
        backend.fill(own.view_mut().with(|layout| layout.split(0, chunk, 2 * chunk + 1)?.narrow(1, chunk, 1))?, bias)?;
        own.layout = own.layout.narrow(0, 0, 2 * chunk * chunk)?.split(0, chunk, 2 * chunk)?;
        Ok(own)
    }
}
