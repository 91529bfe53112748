//! What must be refused, by the same typed error on every engine, and without keeping scratch: outputs that repeat their elements, and codes
//! outside of their range. (`attention/refusals.rs` has foreign types and positions that are no numbers.)

use crate::activation::Activation;
use crate::backend::{
    AttentionOperands, AttentionOutputs, BucketOperands, Experts, NormWeights, Operand, Routes, ScoreBias, TransformerBackend,
};
use crate::dtype::DType;
use crate::error::{EngineError, Result};
use crate::host::HostTensor;
use crate::ops::{
    AttentionSpec, BinaryOp, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormKind, NormSpec, ReduceOp, SoftmaxAlgorithm,
    UnaryOp,
};
use crate::pattern::AttentionPattern;
use crate::quantize::{Int4Groups, Int8Rows, int4_groups, int8_rows};
use crate::tensor::ViewMut;
use crate::weights::HostWeight;

use super::Property;
use super::cases::Fill;
use super::place::Placed;
use super::trial::{Outcome, Stop, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    let refusal = |name, check| Property { name, operation: "refusals", check };
    vec![
        refusal("repeated-elementwise", elementwise_outputs),
        refusal("repeated-rows", outputs_of_rows),
        refusal("repeated-products", outputs_of_products),
        refusal("repeated-fused", outputs_of_fused_operations),
        refusal("linear-codes", codes_are_in_range),
    ]
}

const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

/// Calls an operation with an output of which every element is seen several times: it has the `kept` shape in memory. An engine may not
/// have the operation at this precision, which is for other properties to judge.
fn into_repeated<B: TransformerBackend>(
    t: &mut Trial<'_, B>,
    name: &str,
    dtype: DType,
    [kept, shape]: [&[usize]; 2],
    call: impl FnOnce(&B, ViewMut<'_, B::Buffer>, &mut crate::arena::Arena<B::Buffer>) -> Result<()>,
) -> Outcome {
    let mut out = t.output(dtype, kept)?;
    let repeated = out.view_mut().with(|layout| layout.broadcast(shape))?;
    match call(t.engine, repeated, &mut t.scratch) {
        Err(EngineError::Shape { detail, .. }) if detail.contains("repeats its elements") => {}
        Err(EngineError::Unsupported { .. }) => {}
        other => return fail(format!("{name} into an output that repeats its elements: {other:?}, expected a shape error")),
    }
    t.read(&out)?;
    t.nothing_is_kept()
}

/// Values to read, in the storage type.
fn values<B: TransformerBackend>(t: &mut Trial<'_, B>, shape: &[usize]) -> Outcome<Placed<B::Buffer>> {
    let storage = t.storage();
    t.input(storage, shape, Fill::Normal(1.0))
}

/// Indices that point to the first row.
fn zeros<B: TransformerBackend>(t: &mut Trial<'_, B>, shape: &[usize]) -> Outcome<Placed<B::Buffer>> {
    t.given(DType::I32, shape, &vec![0.0; shape.iter().product()])
}

fn weight<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome<B::Weight> {
    let values = HostTensor::new(&[8, 8], t.source.values(Fill::Normal(1.0), 64))?;
    Ok(t.engine.prepare_weight(&HostWeight::for_precision(&values, t.engine.config().precision)?)?)
}

fn elementwise_outputs<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (storage, rows): (DType, [&[usize]; 2]) = (t.storage(), [&[1, 8], &[4, 8]]);
    let x = values(t, &[4, 8])?;
    into_repeated(t, "fill", storage, rows, |engine, out, _| engine.fill(out, 1.0))?;
    into_repeated(t, "copy", storage, rows, |engine, out, _| engine.copy(x.view(), out))?;
    into_repeated(t, "unary", storage, rows, |engine, out, _| engine.unary(UnaryOp::Exp, Operand::Of(x.view()), out))?;
    into_repeated(t, "unary in place", storage, rows, |engine, out, _| engine.unary(UnaryOp::Exp, Operand::InPlace, out))?;
    into_repeated(t, "binary", storage, rows, |engine, out, _| engine.binary(BinaryOp::Add, Operand::Of(x.view()), x.view(), out))?;
    into_repeated(t, "mask", storage, rows, |engine, out, _| engine.mask(&AttentionPattern::Causal, 0, 0, out))?;
    into_repeated(t, "select", storage, rows, |engine, out, _| engine.select(x.view(), 0.0, out))
}

fn outputs_of_rows<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (storage, rows): (DType, [&[usize]; 2]) = (t.storage(), [&[1, 8], &[4, 8]]);
    let (x, keys, index) = (values(t, &[4, 8])?, zeros(t, &[4, 8])?, zeros(t, &[4])?);
    let norm = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
    let none = NormWeights { gamma: None, beta: None };
    into_repeated(t, "softmax", storage, rows, |engine, out, _| engine.softmax(SoftmaxAlgorithm::Stable, Operand::Of(x.view()), out))?;
    into_repeated(t, "log-softmax", storage, rows, |engine, out, scratch| engine.log_softmax(Operand::Of(x.view()), out, scratch))?;
    into_repeated(t, "log-softmax in place", storage, rows, |engine, out, scratch| engine.log_softmax(Operand::InPlace, out, scratch))?;
    into_repeated(t, "normalize", storage, rows, |engine, out, _| engine.normalize(norm, Operand::Of(x.view()), none, out))?;
    into_repeated(t, "reduce", storage, [&[1], &[4]], |engine, out, _| engine.reduce(ReduceOp::Sum, x.view(), out))?;
    into_repeated(t, "argmax", DType::I32, [&[1], &[4]], |engine, out, _| engine.reduce(ReduceOp::ArgMax, x.view(), out))?;
    into_repeated(t, "gather", storage, rows, |engine, out, _| engine.gather_rows(x.view(), index.view(), out))?;
    into_repeated(t, "scatter", storage, rows, |engine, out, _| engine.scatter_add_rows(x.view(), index.view(), out))?;
    into_repeated(t, "argsort", DType::I32, rows, |engine, out, _| engine.stable_argsort(keys.view(), out))?;
    into_repeated(t, "cumulative sum", storage, rows, |engine, out, _| engine.cumulative_sum(x.view(), out))?;
    into_repeated(t, "cumulative count", DType::I32, rows, |engine, out, _| engine.cumulative_sum(keys.view(), out))?;
    let best: [&[usize]; 2] = [&[1, 3], &[4, 3]];
    let (mut values, mut indices) = (t.output(storage, best[1])?, t.output(DType::I32, best[1])?);
    into_repeated(t, "top-k", storage, best, |engine, out, _| engine.top_k(x.view(), out, indices.view_mut()))?;
    into_repeated(t, "indices of top-k", DType::I32, best, |engine, out, _| engine.top_k(x.view(), values.view_mut(), out))
}

fn outputs_of_products<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (storage, compute) = (t.storage(), t.compute());
    let rows: [&[usize]; 2] = [&[1, 8], &[4, 8]];
    let (x, square, filter, weight) = (values(t, &[4, 8])?, values(t, &[8, 8])?, values(t, &[8, 3])?, weight(t)?);
    let (batch, heads) = (values(t, &[2, 4, 8])?, values(t, &[1, 4, 3, 8])?);
    into_repeated(t, "matmul", storage, rows, |engine, out, _| engine.matmul(MatmulSpec::PLAIN, x.view(), square.view(), out))?;
    let scaled = MatmulSpec { alpha: 1.0, beta: 0.5 };
    into_repeated(t, "matmul with beta", storage, rows, |engine, out, _| engine.matmul(scaled, x.view(), square.view(), out))?;
    into_repeated(t, "linear", storage, rows, |engine, out, _| engine.linear(PLAIN, x.view(), &weight, None, out))?;
    let batches: [&[usize]; 2] = [&[1, 4, 8], &[2, 4, 8]];
    into_repeated(t, "linear in batches", storage, batches, |engine, out, _| engine.linear(PLAIN, batch.view(), &weight, None, out))?;
    into_repeated(t, "convolution", storage, batches, |engine, out, _| engine.depthwise_conv(batch.view(), filter.view(), true, out))?;
    let spec = AttentionSpec { pattern: AttentionPattern::Causal, scale: 0.3, soft_cap: None, query_offset: 0 };
    let operands = AttentionOperands { q: heads.view(), k: heads.view(), v: heads.view(), bias: ScoreBias::None, key_mask: None };
    let all: [&[usize]; 2] = [&[1, 1, 3, 8], &[1, 4, 3, 8]];
    into_repeated(t, "attention", storage, all, |engine, out, scratch| {
        engine.attention(&spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    })?;
    let mut out = t.output(storage, all[1])?;
    into_repeated(t, "log-sum-exp", compute, [&[1, 1, 3], &[1, 4, 3]], |engine, logs, scratch| {
        engine.attention(&spec, operands, AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs) }, scratch)
    })?;
    let order = t.given(DType::I32, &[1, 4, 3], &[0.0, 1.0, 2.0].repeat(4))?;
    let spec = BucketSpec { chunk: 3, scale: 0.3, causal: false, self_bias: None };
    let operands = BucketOperands { q: heads.view(), k: heads.view(), v: heads.view(), query_order: order.view(), key_order: None };
    into_repeated(t, "bucket attention", storage, all, |engine, out, scratch| {
        engine.bucket_attention(spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    })?;
    into_repeated(t, "log-sum-exp of bucket attention", compute, [&[1, 1, 3], &[1, 4, 3]], |engine, logs, scratch| {
        engine.bucket_attention(spec, operands, AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs) }, scratch)
    })?;
    for causal in [false, true] {
        let spec = LinearAttentionSpec { causal, epsilon: 1.0, chunk: 2 };
        into_repeated(t, "linear attention", storage, all, |engine, out, scratch| {
            engine.linear_attention(spec, heads.view(), heads.view(), heads.view(), out, scratch)
        })?;
    }
    Ok(())
}

fn outputs_of_fused_operations<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (storage, compute) = (t.storage(), t.compute());
    let rows: [&[usize]; 2] = [&[1, 8], &[4, 8]];
    let (x, table, weights) = (values(t, &[4, 8])?, values(t, &[4, 4])?, [weight(t)?, weight(t)?, weight(t)?]);
    let norm = NormSpec { kind: NormKind::Rms, epsilon: 1e-5 };
    let none = NormWeights { gamma: None, beta: None };
    into_repeated(t, "add+norm", storage, rows, |engine, out, _| engine.add_norm(norm, x.view(), x.view(), none, None, out))?;
    let mut plain = t.output(storage, rows[1])?;
    into_repeated(t, "the sum of add+norm", storage, rows, |engine, sum, _| {
        engine.add_norm(norm, x.view(), x.view(), none, Some(sum), plain.view_mut())
    })?;
    into_repeated(t, "gated ffn", storage, rows, |engine, out, scratch| {
        engine.gated_ffn(PLAIN, x.view(), weights.each_ref(), out, scratch)
    })?;
    into_repeated(t, "rotary", storage, rows, |engine, out, scratch| engine.rotary(x.view(), table.view(), table.view(), out, scratch))?;
    let mut indices = t.output(DType::I32, &[4, 3])?;
    into_repeated(t, "softmax+top-k", storage, [&[1, 3], &[4, 3]], |engine, out, scratch| {
        engine.softmax_top_k(x.view(), out, indices.view_mut(), scratch)
    })?;
    let (chosen, gates, biases) = (zeros(t, &[4, 1])?, values(t, &[4, 1])?, values(t, &[1, 8])?);
    let routes = Routes { chosen: chosen.view(), gates: gates.view(), places: 3 };
    let [up, down, _] = &weights;
    let (up, down) = (std::slice::from_ref(up), std::slice::from_ref(down));
    let experts = Experts { up, up_bias: biases.view(), down, down_bias: biases.view() };
    into_repeated(t, "mixture", storage, rows, |engine, out, scratch| engine.mixture(PLAIN, x.view(), routes, experts, out, scratch))?;
    let (targets, mut losses, mut logits) = (zeros(t, &[4])?, t.output(storage, &[4])?, t.output(compute, rows[1])?);
    into_repeated(t, "cross-entropy", storage, [&[1], &[4]], |engine, out, scratch| {
        engine.cross_entropy(x.view(), up, targets.view(), logits.view_mut(), out, scratch)
    })?;
    into_repeated(t, "logits of cross-entropy", compute, rows, |engine, logits, scratch| {
        engine.cross_entropy(x.view(), up, targets.view(), logits, losses.view_mut(), scratch)
    })
}

/// Codes outside of their range, missing codes and missing scales are refused when the weight is prepared.
fn codes_are_in_range<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [outputs, inputs] = t.source.sizes_within([1, 1], 1 << 10);
    let values = HostTensor::new(&[outputs, inputs], t.source.values(Fill::Normal(1.0), outputs * inputs))?;
    let at = t.source.below(outputs * inputs);
    let what = t.source.below(4);
    let host = if t.source.one_in(2) {
        let mut weight = int8_rows(&values)?;
        let Int8Rows { codes, scales, .. } = &mut weight;
        spoil(what, at, -128, codes, scales);
        HostWeight::Int8(weight)
    } else {
        let (group, code) = (t.source.choose(&[1, 2, 5, 32]), t.source.choose(&[-128, -8, 8, 127]));
        let mut weight = int4_groups(&values, group)?;
        let Int4Groups { codes, scales, .. } = &mut weight;
        spoil(what, at, code, codes, scales);
        HostWeight::Int4(weight)
    };
    match t.engine.prepare_weight(&host) {
        Err(EngineError::Shape { .. }) => Ok(()),
        Err(EngineError::Unsupported { .. }) => Err(Stop::Refused),
        Err(error) => fail(format!("{:?} that does not fit gave another error: {error}", host.form())),
        Ok(_) => fail(format!("{:?} of [{outputs}, {inputs}] was packed: {host:?}", host.form())),
    }
}

fn spoil(what: usize, at: usize, code: i8, codes: &mut Vec<i8>, scales: &mut Vec<f32>) {
    match what {
        0 | 1 => codes[at] = code,
        2 => codes.truncate(at),
        _ => scales.push(1.0),
    }
}
