//! Shapes of attention: over a pattern, and inside the chunks of a sorted sequence.

use crate::backend::{AttentionOperands, AttentionOutputs, BucketOperands};
use crate::error::{Result, shape_error};
use crate::ops::{BucketSpec, OpSpec};
use crate::tensor::View;

/// Half a place behind a position is exact in f32 up to here only; beyond, a query of moved tokens would lose its own key.
pub const MOST_POSITIONS: usize = 1 << 23;

/// Sizes of an attention call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionSizes {
    /// Batch.
    pub batch: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub key_heads: usize,
    /// Query rows.
    pub queries: usize,
    /// Key rows.
    pub keys: usize,
    /// Width of queries and keys.
    pub head_dim: usize,
    /// Width of values.
    pub value_dim: usize,
}

/// A table of biases by distance must be [heads, 2 reach + 1]; returns its span.
pub fn distance_bias(shape: &[usize], heads: usize) -> Result<usize> {
    match *shape {
        [of, span] if of == heads && span % 2 == 1 => Ok(span),
        _ => Err(shape_error("attention", format!("the distance bias is {shape:?}, expected [{heads}, 2 reach + 1]"))),
    }
}

/// All operands of an attention call.
pub fn attention<S>(operands: &AttentionOperands<'_, S>, outputs: &AttentionOutputs<'_, S>) -> Result<AttentionSizes> {
    let (q, k, v, out) = (operands.q.shape(), operands.k.shape(), operands.v.shape(), outputs.out.shape());
    let detail = |what: &str| shape_error("attention", format!("{what}: q {q:?}, k {k:?}, v {v:?}, out {out:?}"));
    let (&[batch, heads, queries, head_dim], &[_, key_heads, keys, _], &[_, _, _, value_dim]) = (q, k, v) else {
        return Err(detail("all must be [batch, heads, rows, width]"));
    };
    if key_heads == 0 || heads % key_heads != 0 {
        return Err(detail("the key heads must divide the query heads"));
    }
    if *k != [batch, key_heads, keys, head_dim] || *v != [batch, key_heads, keys, value_dim] || *out != [batch, heads, queries, value_dim] {
        return Err(detail("the shapes do not fit together"));
    }
    if let Some(mask) = operands.key_mask.filter(|mask| mask.shape() != [batch, keys]) {
        return Err(shape_error("attention", format!("the key mask is {:?}, expected [{batch}, {keys}]", mask.shape())));
    }
    if let Some(lse) = outputs.log_sum_exp.as_ref().filter(|lse| lse.shape() != [batch, heads, queries]) {
        return Err(shape_error("attention", format!("log_sum_exp is {:?}, expected [{batch}, {heads}, {queries}]", lse.shape())));
    }
    Ok(AttentionSizes { batch, heads, key_heads, queries, keys, head_dim, value_dim })
}

/// Sizes of attention inside the chunks of a sorted sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSizes {
    /// Batch.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens, not more than [`MOST_POSITIONS`].
    pub n: usize,
    /// Width of queries, keys and values.
    pub width: usize,
    /// Tokens of a chunk; divides `n`.
    pub chunk: usize,
    /// 1 where keys stand in the order of the queries, else 2.
    pub orders: usize,
}

impl BucketSizes {
    /// The operation.
    pub fn operation(&self, causal: bool) -> OpSpec {
        let Self { batch, heads, n, width, chunk, orders } = *self;
        OpSpec::BucketAttention { batch_heads: batch.saturating_mul(heads), n, width, chunk, causal, orders }
    }
}

/// All operands of attention inside the chunks of a sorted sequence. What stands in the orders is for the engine to look at.
pub fn bucket_attention<S>(spec: BucketSpec, operands: &BucketOperands<'_, S>, outputs: &AttentionOutputs<'_, S>) -> Result<BucketSizes> {
    let (q, out, orders) = (operands.q.shape(), outputs.out.shape(), [Some(operands.query_order), operands.key_order]);
    let wrong = |what: &str| {
        let rows = [q, operands.k.shape(), operands.v.shape(), out];
        let orders = orders.iter().flatten().map(View::shape).collect::<Vec<_>>();
        shape_error("bucket attention", format!("{what}: q, k, v and out are {rows:?}, orders {orders:?}, chunks of {}", spec.chunk))
    };
    let &[batch, heads, n, width] = q else { return Err(wrong("all must be [batch, heads, n, width]")) };
    let rows_fit = [operands.k.shape(), operands.v.shape(), out].into_iter().all(|shape| shape == q);
    if !rows_fit || orders.iter().flatten().any(|order| *order.shape() != q[..3]) {
        return Err(wrong("the shapes do not fit together"));
    }
    if let Some(lse) = outputs.log_sum_exp.as_ref().filter(|lse| *lse.shape() != q[..3]) {
        return Err(wrong(&format!("log_sum_exp is {:?}", lse.shape())));
    }
    if spec.chunk == 0 || !n.is_multiple_of(spec.chunk) {
        return Err(wrong("chunks must divide the tokens"));
    }
    if spec.self_bias.is_some() && operands.key_order.is_some() {
        return Err(wrong("a token is its own key only where keys stand in the order of the queries"));
    }
    if n > MOST_POSITIONS {
        return Err(wrong(&format!(
            "positions of more than {MOST_POSITIONS} tokens cannot be told apart in f32, half a place between them"
        )));
    }
    let orders = 1 + usize::from(operands.key_order.is_some());
    Ok(BucketSizes { batch, heads, n, width, chunk: spec.chunk, orders })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::tensor::ViewMut;

    #[test]
    fn tokens_whose_positions_cannot_be_told_apart_are_refused() {
        for (n, is_taken) in [(MOST_POSITIONS, true), (MOST_POSITIONS + 1, false)] {
            let [rows, order] = [[1, 1, n, 1].as_slice(), &[1, 1, n]].map(|shape| Layout::contiguous(shape).unwrap());
            let [tokens, query_order] = [rows, order].map(|layout| View { buffer: &(), layout });
            let operands = BucketOperands { q: tokens, k: tokens, v: tokens, query_order, key_order: None };
            let outputs = AttentionOutputs { out: ViewMut { buffer: &mut (), layout: rows }, log_sum_exp: None };
            let spec = BucketSpec { chunk: 1, scale: 1.0, causal: true, self_bias: None };
            assert_eq!(bucket_attention(spec, &operands, &outputs).is_ok(), is_taken, "{n}");
        }
    }
}
