//! The calls on which the estimate is calibrated, written once over the trait.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{
    AttentionOperands, AttentionOutputs, BucketOperands, Experts, Operand, Routes, ScoreBias, TransformerBackend,
};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::layout::Layout;
use crossover_core::ops::{
    AttentionSpec, BinaryOp, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormKind, ReduceOp, SoftmaxAlgorithm, UnaryOp,
};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::Tensor;

use crate::run::{Case, Run};

/// Cases with their names.
type Cases<B> = Vec<(&'static str, Case<B>)>;

fn spec(pattern: AttentionPattern, soft_cap: Option<f64>) -> AttentionSpec {
    AttentionSpec { pattern, scale: 0.25, soft_cap, query_offset: 0 }
}

/// Sums of products.
pub fn products<B: TransformerBackend>() -> Cases<B> {
    vec![
        ("matmul", |run| run.matmul(&run.given(1, &[9, 200], 1.0, 0.0)?, &run.given(2, &[200, 33], 1.0, 0.0)?)),
        ("matmul of one sign", |run| run.matmul(&run.given(1, &[9, 900], 0.5, 1.0)?, &run.given(2, &[900, 9], 0.5, 1.0)?)),
        ("matmul of inexact", |run| run.matmul(&run.inexact(20, 31)?, &run.inexact(31, 18)?)),
        ("matmul accumulated", |run| {
            let mut out = run.inexact(20, 18)?;
            let (a, b) = (run.given(1, &[20, 31], 1.0, 0.0)?, run.given(2, &[31, 18], 1.0, 0.0)?);
            run.engine.matmul(MatmulSpec { alpha: 0.3, beta: -0.7 }, a.view(), b.view(), out.view_mut())?;
            Ok(out)
        }),
        ("linear", |run| run.linear(5, &run.given(1, &[12, 130], 1.0, 0.0)?, 40, Activation::None)),
        ("ffn", |run| {
            let hidden = run.linear(3, &run.given(1, &[12, 64], 1.0, 0.0)?, 200, Activation::Gelu)?;
            run.linear(5, &hidden, 40, Activation::None)
        }),
        ("deep ffn", |run| {
            let mut x = run.given(1, &[12, 64], 1.0, 0.0)?;
            for layer in 0..4 {
                let hidden = run.linear(10 * layer, &x, 96, Activation::Silu)?;
                let update = run.linear(10 * layer + 5, &hidden, 64, Activation::None)?;
                x = run.normalize(NormKind::Layer, &run.binary(BinaryOp::Add, &x, &update)?)?;
            }
            Ok(x)
        }),
        ("gated ffn", |run| {
            let (gate, up, down) = (run.weight(2, 80, 48)?, run.weight(3, 80, 48)?, run.weight(4, 48, 80)?);
            let (x, mut out) = (run.given(1, &[12, 48], 1.0, 0.0)?, run.blank(&[12, 48])?);
            let spec = LinearSpec { activation: Activation::Silu };
            run.engine.gated_ffn(spec, x.view(), [&gate, &up, &down], out.view_mut(), &mut Arena::new())?;
            Ok(out)
        }),
        ("convolution", |run| {
            let (x, filter) = (run.given(1, &[2, 30, 8], 1.0, 0.0)?, run.given(2, &[8, 5], 1.0, 0.0)?);
            let mut out = run.blank(&[2, 30, 8])?;
            run.engine.depthwise_conv(x.view(), filter.view(), true, out.view_mut())?;
            Ok(out)
        }),
    ]
}

/// Attention, whole and in parts.
pub fn attentions<B: TransformerBackend>() -> Cases<B> {
    vec![
        ("attention", |run| Ok(run.attention(200, &spec(AttentionPattern::Full, None), 1.0, 0.0)?.into_iter().next().unwrap())),
        ("sharp attention", |run| Ok(run.attention(100, &spec(AttentionPattern::Causal, None), 6.0, 0.0)?.into_iter().next().unwrap())),
        ("attention around a mean", |run| {
            let window = AttentionPattern::Window { left: 20, right: 5 };
            Ok(run.attention(100, &spec(window, Some(2.0)), 2.0, 5.0)?.into_iter().next().unwrap())
        }),
        ("log-sum-exp", |run| Ok(run.attention(200, &spec(AttentionPattern::Causal, None), 2.0, 0.0)?.into_iter().nth(1).unwrap())),
        ("materialised attention", |run| {
            let (q, k) = (run.inexact(40, 16)?, run.given(2, &[16, 150], 1.0, 0.0)?);
            let weights = run.softmax(SoftmaxAlgorithm::Stable, &run.matmul(&q, &k)?)?;
            run.matmul(&weights, &run.given(3, &[150, 16], 1.0, 0.3)?)
        }),
        ("transformer layers", transformer),
        ("attention in chunks of an order", |run| {
            let shape = [1, 2, 96, 16];
            let (q, k, v) = (run.given(1, &shape, 1.5, 0.0)?, run.given(2, &shape, 1.5, 0.0)?, run.given(3, &shape, 1.0, 0.3)?);
            // 96 and what it is multiplied by share no divisor.
            let order = |step: usize| {
                let tokens = (0..192).map(|at| (at * step % 96) as f64).collect();
                run.engine.upload(&HostTensor::new(&[1, 2, 96], tokens)?, DType::I32)
            };
            let (of_queries, of_keys, mut out) = (order(5)?, order(7)?, run.blank(&shape)?);
            let spec = BucketSpec { chunk: 24, scale: 0.25, causal: true, self_bias: None };
            let (query_order, key_order) = (of_queries.view(), Some(of_keys.view()));
            let operands = BucketOperands { q: q.view(), k: k.view(), v: v.view(), query_order, key_order };
            let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: None };
            run.engine.bucket_attention(spec, operands, outputs, &mut Arena::new())?;
            Ok(out)
        }),
        ("linear attention", |run| {
            let shape = [1, 2, 100, 16];
            let features = |salt| run.unary(UnaryOp::EluPlusOne, &run.given(salt, &shape, 1.0, 0.0)?);
            let (q, k, v, mut out) = (features(1)?, features(2)?, run.given(3, &shape, 1.0, 0.0)?, run.blank(&shape)?);
            let spec = LinearAttentionSpec { causal: true, epsilon: 1e-6, chunk: 32 };
            run.engine.linear_attention(spec, q.view(), k.view(), v.view(), out.view_mut(), &mut Arena::new())?;
            Ok(out)
        }),
        ("rotary", |run| {
            let (x, angles) = (run.inexact(20, 16)?, run.given(2, &[20, 8], 20.0, 0.0)?);
            let (cosines, sines) = (run.unary(UnaryOp::Cos, &angles)?, run.unary(UnaryOp::Sin, &angles)?);
            let mut out = run.blank(&[20, 16])?;
            run.engine.rotary(x.view(), cosines.view(), sines.view(), out.view_mut(), &mut Arena::new())?;
            Ok(out)
        }),
    ]
}

/// Row-wise operations and choices.
pub fn rowwise<B: TransformerBackend>() -> Cases<B> {
    vec![
        ("softmax", |run| run.softmax(SoftmaxAlgorithm::Stable, &run.given(1, &[9, 300], 3.0, 0.0)?)),
        ("naive softmax", |run| run.softmax(SoftmaxAlgorithm::Naive, &run.given(1, &[9, 300], 6.0, 0.0)?)),
        ("online softmax of inexact", |run| run.softmax(SoftmaxAlgorithm::Online, &run.inexact(9, 100)?)),
        ("log-softmax", |run| run.log_softmax(&run.given(1, &[9, 300], 3.0, 0.0)?)),
        ("log-softmax around a mean", |run| run.log_softmax(&run.given(1, &[9, 300], 3.0, 100.0)?)),
        ("log-softmax of inexact", |run| run.log_softmax(&run.inexact(9, 100)?)),
        ("sharp log-softmax of inexact", |run| {
            let x = run.inexact(40, 6)?;
            run.log_softmax(&run.unary(UnaryOp::Affine { scale: 8.0, shift: 0.0 }, &x)?)
        }),
        ("layer norm", |run| run.normalize(NormKind::Layer, &run.given(1, &[9, 300], 1.0, 0.0)?)),
        ("layer norm of a large mean", |run| run.normalize(NormKind::Layer, &run.given(1, &[9, 300], 1.0, 100.0)?)),
        ("group norm of inexact", |run| run.normalize(NormKind::Group { groups: 4 }, &run.inexact(20, 64)?)),
        ("rms norm of inexact", |run| run.normalize(NormKind::Rms, &run.inexact(20, 64)?)),
        ("sum", |run| run.reduce(ReduceOp::Sum, &run.given(1, &[9, 500], 1.0, 0.2)?)),
        ("mean of inexact", |run| run.reduce(ReduceOp::Mean, &run.inexact(9, 60)?)),
        ("largest of inexact", |run| run.reduce(ReduceOp::Max, &run.inexact(40, 60)?)),
        ("long sum", |run| run.reduce(ReduceOp::Sum, &run.given(1, &[9, 20_000], 0.5, 1.0)?)),
        ("one denominator for a row", |run| {
            let weights = run.unary(UnaryOp::Exp, &run.inexact(9, 1000)?)?;
            let sums = run.reduce(ReduceOp::Sum, &weights)?;
            let mut shares = run.blank(&[9, 1000])?;
            let sums = sums.view().with(|layout| layout.unsqueeze(1))?;
            run.engine.binary(BinaryOp::Divide, Operand::Of(weights.view()), sums, shares.view_mut())?;
            run.matmul(&shares, &run.given(3, &[1000, 8], 0.1, 1.0)?)
        }),
        ("running sum", |run| {
            let (x, mut out) = (run.given(1, &[9, 500], 1.0, 0.2)?, run.blank(&[9, 500])?);
            run.engine.cumulative_sum(x.view(), out.view_mut())?;
            Ok(out)
        }),
        ("scattered sum", |run| {
            let (x, mut out) = (run.inexact(90, 8)?, run.blank(&[5, 8])?);
            let rows = (0..90).map(|at| f64::from(at * at % 5)).collect();
            let rows = run.engine.upload(&HostTensor::new(&[90], rows)?, DType::I32)?;
            run.engine.fill(out.view_mut(), 0.0)?;
            run.engine.scatter_add_rows(x.view(), rows.view(), out.view_mut())?;
            Ok(out)
        }),
        ("top-k", |run| {
            let x = run.inexact(40, 60)?;
            let (mut values, mut indices) = (run.blank(&[40, 5])?, run.engine.tensor(DType::I32, &[40, 5])?);
            run.engine.top_k(x.view(), values.view_mut(), indices.view_mut())?;
            Ok(values)
        }),
        ("softmax of top-k", |run| {
            let x = run.inexact(40, 60)?;
            let (mut values, mut indices) = (run.blank(&[40, 5])?, run.engine.tensor(DType::I32, &[40, 5])?);
            run.engine.softmax_top_k(x.view(), values.view_mut(), indices.view_mut(), &mut Arena::new())?;
            Ok(values)
        }),
        ("mixture of experts", |run| {
            let x = run.inexact(40, 60)?;
            let (up, down) = ([run.weight(3, 50, 60)?, run.weight(4, 50, 60)?], [run.weight(5, 60, 50)?, run.weight(6, 60, 50)?]);
            let (up_bias, down_bias) = (run.given(7, &[2, 50], 0.3, 0.0)?, run.given(8, &[2, 60], 0.3, 0.0)?);
            let chosen = (0..80).map(|at| f64::from(at * at % 3 % 2)).collect();
            let chosen = run.engine.upload(&HostTensor::new(&[40, 2], chosen)?, DType::I32)?;
            let (gates, mut out) = (run.given(9, &[40, 2], 0.4, 0.5)?, run.blank(&[40, 60])?);
            // Not room for all.
            let routes = Routes { chosen: chosen.view(), gates: gates.view(), places: 30 };
            let experts = Experts { up: &up, up_bias: up_bias.view(), down: &down, down_bias: down_bias.view() };
            let spec = LinearSpec { activation: Activation::Gelu };
            run.engine.mixture(spec, x.view(), routes, experts, out.view_mut(), &mut Arena::new())?;
            Ok(out)
        }),
        ("cross-entropy over tiles", |run| {
            let x = run.inexact(40, 60)?;
            let tiles = [run.weight(3, 50, 60)?, run.weight(4, 50, 60)?, run.weight(5, 7, 60)?];
            let targets = (0..40).map(|row| f64::from(row * 13 % 107)).collect();
            let targets = run.engine.upload(&HostTensor::new(&[40], targets)?, DType::I32)?;
            let (mut logits, mut losses) = (run.engine.tensor(run.engine.compute(), &[40, 50])?, run.blank(&[40])?);
            run.engine.cross_entropy(x.view(), &tiles, targets.view(), logits.view_mut(), losses.view_mut(), &mut Arena::new())?;
            Ok(losses)
        }),
    ]
}

/// Choices: indices, which are right or undetermined.
pub fn choices<B: TransformerBackend>() -> Cases<B> {
    vec![
        ("argmax", |run| run.reduce(ReduceOp::ArgMax, &run.inexact(200, 20)?)),
        ("top-k indices", |run| {
            let x = run.inexact(200, 20)?;
            let (mut values, mut indices) = (run.blank(&[200, 3])?, run.engine.tensor(DType::I32, &[200, 3])?);
            run.engine.top_k(x.view(), values.view_mut(), indices.view_mut())?;
            Ok(indices)
        }),
        ("order of argmax", |run| {
            let best = run.reduce(ReduceOp::ArgMax, &run.inexact(6, 20)?)?;
            let mut order = run.engine.tensor(DType::I32, &[6])?;
            run.engine.stable_argsort(best.view(), order.view_mut())?;
            Ok(order)
        }),
        ("less", |run| run.binary(BinaryOp::Less, &run.inexact(30, 20)?, &run.given(4, &[30, 20], 1.0, 0.0)?)),
    ]
}

/// Three layers of attention and FFN with residuals.
fn transformer<B: TransformerBackend>(run: &Run<'_, B>) -> Result<Tensor<B::Buffer>> {
    let mut x = run.given(1, &[70, 32], 1.0, 0.0)?;
    for layer in 0..3 {
        let normed = run.normalize(NormKind::Layer, &x)?;
        let projected = |salt| run.linear(50 * layer + salt, &normed, 32, Activation::None);
        let ([q, k, v], mut out) = ([projected(20)?, projected(22)?, projected(24)?], run.blank(&[70, 32])?);
        let heads = |layout: &Layout| layout.split(1, 2, 16)?.swap(0, 1)?.unsqueeze(0);
        let [q, k, v] = [q.view().with(heads)?, k.view().with(heads)?, v.view().with(heads)?];
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        let outputs = AttentionOutputs { out: out.view_mut().with(heads)?, log_sum_exp: None };
        run.engine.attention(&spec(AttentionPattern::Causal, None), operands, outputs, &mut Arena::new())?;
        x = run.binary(BinaryOp::Add, &x, &run.linear(50 * layer + 26, &out, 32, Activation::None)?)?;
        let hidden = run.linear(50 * layer + 28, &run.normalize(NormKind::Rms, &x)?, 96, Activation::GeluTanh)?;
        x = run.binary(BinaryOp::Add, &x, &run.linear(50 * layer + 30, &hidden, 32, Activation::None)?)?;
    }
    Ok(x)
}

/// Newton's iteration for the inverse of softmax rows.
pub fn inverse<B: TransformerBackend>(run: &Run<'_, B>) -> Result<Tensor<B::Buffer>> {
    let logits = run.matmul(&run.given(1, &[16, 24], 1.5, 0.0)?, &run.given(2, &[24, 16], 1.5, 0.0)?)?;
    let a = run.softmax(SoftmaxAlgorithm::Stable, &logits)?;
    let affine = |scale, shift, x: &Tensor<B::Buffer>| run.unary(UnaryOp::Affine { scale, shift }, x);
    let identity = (0..256).map(|at| if at % 17 == 0 { 1.0 } else { 0.0 }).collect();
    let identity = run.engine.upload(&HostTensor::new(&[16, 16], identity)?, run.engine.storage())?;
    let mut transposed = run.blank(&[16, 16])?;
    run.engine.copy(a.view().transposed()?, transposed.view_mut())?;
    let mut z = affine(0.3, 0.0, &transposed)?;
    for _ in 0..6 {
        // z (13 I - az (15 I - az (7 I - az))) / 4, as in Xiong et al. 2021, equation 11.
        let az = run.matmul(&a, &z)?;
        let mut inner = run.binary(BinaryOp::Subtract, &affine(7.0, 0.0, &identity)?, &az)?;
        for factor in [15.0, 13.0] {
            inner = run.binary(BinaryOp::Subtract, &affine(factor, 0.0, &identity)?, &run.matmul(&az, &inner)?)?;
        }
        z = affine(0.25, 0.0, &run.matmul(&z, &inner)?)?;
    }
    Ok(z)
}
