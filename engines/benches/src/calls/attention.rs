//! Attention, and what belongs to it.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, BucketOperands, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{AttentionSpec, BucketSpec, LinearAttentionSpec, UnaryOp};

use super::{Call, indices, operand, output};
use crate::list::Case;

/// Rows that the causal form of linear attention handles together.
const CHUNK: usize = 64;

pub(super) fn attention<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let [heads, head_dim, queries, keys] = [0, 1, 2, 3].map(|axis| case.shape[axis]);
    let scale = 1.0 / (head_dim as f64).sqrt();
    let spec = AttentionSpec { pattern: case.pattern(), scale, soft_cap: None, query_offset: case.query_offset() };
    let tensor = |rows: usize| operand(engine, &[1, heads, rows, head_dim]);
    let (q, k, v) = (tensor(queries)?, tensor(keys)?, tensor(keys)?);
    let (mut out, mut scratch) = (output(engine, engine.storage(), &[1, heads, queries, head_dim])?, Arena::new());
    Ok(Box::new(move || {
        let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
        engine.attention(&spec, operands, AttentionOutputs { out: out.view_mut(), log_sum_exp: None }, &mut scratch)
    }))
}

/// Tokens jump about; queries and keys alike.
pub(super) fn buckets<'e, B: TransformerBackend>(engine: &'e B, case: &Case, is_causal: bool) -> Result<Call<'e>> {
    let [heads, head_dim, n, chunk] = [0, 1, 2, 3].map(|axis| case.shape[axis]);
    let spec = BucketSpec { chunk, scale: 1.0 / (head_dim as f64).sqrt(), causal: is_causal, self_bias: None };
    let tensor = || operand(engine, &[1, heads, n, head_dim]);
    let (q, k, v, order) = (tensor()?, tensor()?, tensor()?, indices(engine, &[1, heads, n], n)?);
    let (mut out, mut scratch) = (output(engine, engine.storage(), &[1, heads, n, head_dim])?, Arena::new());
    let mut logs = output(engine, engine.compute(), &[1, heads, n])?;
    Ok(Box::new(move || {
        let (query_order, key_order) = (order.view(), Some(order.view()));
        let operands = BucketOperands { q: q.view(), k: k.view(), v: v.view(), query_order, key_order };
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
        engine.bucket_attention(spec, operands, outputs, &mut scratch)
    }))
}

pub(super) fn linear_attention<'e, B: TransformerBackend>(engine: &'e B, case: &Case, is_causal: bool) -> Result<Call<'e>> {
    let [heads, n, features, value_dim] = [0, 1, 2, 3].map(|axis| case.shape[axis]);
    // Features are positive: the normaliser is a sum of their products.
    let positive = || {
        let (x, shape) = (operand(engine, &[1, heads, n, features])?, [1, heads, n, features]);
        let mut phi = output(engine, engine.storage(), &shape)?;
        engine.unary(UnaryOp::EluPlusOne, crossover_core::backend::Operand::Of(x.view()), phi.view_mut())?;
        Ok(phi)
    };
    let (q, k, v) = (positive()?, positive()?, operand(engine, &[1, heads, n, value_dim])?);
    let (mut out, mut scratch) = (output(engine, engine.storage(), &[1, heads, n, value_dim])?, Arena::new());
    let spec = LinearAttentionSpec { causal: is_causal, epsilon: 1e-6, chunk: CHUNK };
    Ok(Box::new(move || engine.linear_attention(spec, q.view(), k.view(), v.view(), out.view_mut(), &mut scratch)))
}

pub(super) fn rotary<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let [heads, n, head_dim] = [0, 1, 2].map(|axis| case.shape[axis]);
    let (x, cosines, sines) =
        (operand(engine, &[heads, n, head_dim])?, operand(engine, &[n, head_dim / 2])?, operand(engine, &[n, head_dim / 2])?);
    let (mut out, mut scratch) = (output(engine, engine.storage(), &[heads, n, head_dim])?, Arena::new());
    Ok(Box::new(move || engine.rotary(x.view(), cosines.view(), sines.view(), out.view_mut(), &mut scratch)))
}

pub(super) fn mask<'e, B: TransformerBackend>(engine: &'e B, case: &Case) -> Result<Call<'e>> {
    let (pattern, mut scores) = (case.pattern(), operand(engine, &case.shape[..2])?);
    Ok(Box::new(move || engine.mask(&pattern, 0, 0, scores.view_mut())))
}
