//! The engine against hand-made roundings, its own compositions, and choices that are too close.

use super::*;
use crate::arena::Arena;
use crate::backend::{AttentionOperands, AttentionOutputs, Operand, ScoreBias, TransformerBackend};
use crate::compose;
use crate::dtype::Precision;
use crate::ops::{AttentionSpec, BinaryOp, LinearSpec, MatmulSpec, ReduceOp, UnaryOp};
use crate::pattern::AttentionPattern;
use crate::tensor::Tensor;
use crate::weights::HostWeight;

type T = Tensor<RunningBuffer>;

fn engine(precision: &str) -> RunningError {
    RunningError::new(&EngineConfig::new(precision.parse::<Precision>().unwrap(), 2)).unwrap()
}

/// Reproducible numbers in -1..1 without structure.
fn noise(seed: usize, count: usize) -> Vec<f64> {
    let term = |at: usize| (at as f64 + 1.0) * 0.618_033_988_749_894_9 * (seed as f64 + 1.5) + (at * at) as f64 * 0.137;
    (0..count).map(|at| 2.0 * term(at).fract() - 1.0).collect()
}

fn upload(engine: &RunningError, shape: &[usize], values: Vec<f64>) -> T {
    engine.upload(&HostTensor::new(shape, values).unwrap(), engine.storage()).unwrap()
}

fn blank(engine: &RunningError, shape: &[usize]) -> T {
    engine.tensor(engine.storage(), shape).unwrap()
}

#[test]
fn a_plain_dot_product_stays_within_its_deviation_and_uses_some_of_it() {
    for (precision, k) in [("f32", 16), ("f32", 1000), ("bf16", 300)] {
        let engine = engine(precision);
        let (m, n) = (9, 17);
        let (a, b) = (upload(&engine, &[m, k], noise(1, m * k)), upload(&engine, &[k, n], noise(2, k * n)));
        let mut c = blank(&engine, &[m, n]);
        engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), c.view_mut()).unwrap();
        let deviations = engine.deviation(c.view()).unwrap();
        let mut largest = 0.0f64;
        for (at, deviation) in deviations.iter().enumerate() {
            let (row, column) = (at / n, at % n);
            let products = (0..k).map(|p| a.buffer.values[row * k + p] as f32 * b.buffer.values[p * n + column] as f32);
            let plain = engine.storage().round(f64::from(products.fold(0f32, |sum, product| sum + product)));
            let share = (plain - c.buffer.values[at]).abs() / (SLACK * deviation);
            assert!(share <= 1.0, "{precision}: {share}");
            largest = largest.max(share);
        }
        assert!(largest > 0.01, "{precision}: {largest}");
    }
}

#[test]
fn a_product_carries_the_errors_of_its_factors() {
    // var(ab) = a^2 var b + b^2 var a: three and four deviations at right angles make five.
    let (a, b) = (estimate::Estimate { value: 2.0, variance: 1.0 }, estimate::Estimate { value: 3.0, variance: 4.0 });
    let [a, b] = [a, b].map(|x| buffer::Block { values: vec![x.value], variances: vec![x.variance * 1e-6] });
    let product = products::multiply(&a, &products::Panel::new(1, 1, b, 0.0, 0.0), 1);
    assert_eq!(product.values, [6.0]);
    assert!((product.variances[0] - 25e-6).abs() < 1e-10, "{}", product.variances[0]);
}

#[test]
fn threads_and_tiles_change_nothing_but_the_last_bit() {
    let (rows, inner, columns) = (130, 260, 300);
    let block = |seed, count| buffer::Block { values: noise(seed, count), variances: vec![1e-12; count] };
    let (a, b) = (block(1, rows * inner), block(2, inner * columns));
    let panel = products::Panel::new(inner, columns, b.clone(), 1e-8, 0.0);
    let [one, two] = [1, 2].map(|threads| products::multiply(&a, &panel, threads));
    assert_eq!((&one.values, &one.variances), (&two.values, &two.variances));
    let at = 77 * columns + 291;
    let exact: f64 = (0..inner).map(|p| a.values[77 * inner + p] * b.values[p * columns + 291]).sum();
    assert!((one.values[at] - exact).abs() < 1e-12);
}

#[test]
fn unknown_operands_make_unknown_results_unless_the_factor_is_zero() {
    let engine = engine("f32");
    let a = upload(&engine, &[2, 2], vec![1.0, 0.0, 1.0, 2.0]);
    let mut b = upload(&engine, &[2, 2], vec![1.0, 2.0, 3.0, 4.0]);
    b.buffer.variances[3] = f64::INFINITY;
    let mut c = blank(&engine, &[2, 2]);
    engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), c.view_mut()).unwrap();
    let known: Vec<bool> = engine.deviation(c.view()).unwrap().into_iter().map(f64::is_finite).collect();
    assert_eq!(known, [true, true, true, false]);
}

#[test]
fn composed_attention_agrees_and_is_no_surer_than_the_fused_one() {
    let engine = engine("f32");
    let (heads, n, dim) = (2, 150, 8);
    let [q, k, v] = [1, 2, 3].map(|seed| upload(&engine, &[1, heads, n, dim], noise(seed, heads * n * dim)));
    let spec = AttentionSpec { pattern: AttentionPattern::Causal, scale: 2.0, soft_cap: Some(3.0), query_offset: 0 };
    let run = |composed: bool| {
        let (mut out, mut scratch) = (blank(&engine, &[1, heads, n, dim]), Arena::new());
        let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
        let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: None };
        if composed {
            compose::attention::streamed(&engine, &spec, operands, outputs, &mut scratch).unwrap();
        } else {
            engine.attention(&spec, operands, outputs, &mut scratch).unwrap();
        }
        let (values, deviations) = engine.download_with_deviation(out.view()).unwrap();
        (values.values().to_vec(), deviations.values().to_vec())
    };
    let ((fused, fused_deviations), (composed, composed_deviations)) = (run(false), run(true));
    for at in 0..fused.len() {
        assert!((fused[at] - composed[at]).abs() < 1e-12);
        let ratio = composed_deviations[at] / fused_deviations[at];
        assert!((0.2..100.0).contains(&ratio), "element {at}: {} against {}", composed_deviations[at], fused_deviations[at]);
    }
}

#[test]
fn close_choices_are_undetermined_and_so_is_what_they_pick() {
    let engine = engine("f32");
    let x = upload(&engine, &[3, 1], vec![0.5, 0.25, 0.125]);
    let third = 1.0 / 3.0;
    let table = upload(&engine, &[3, 3], vec![third, third + 1e-7, 0.0, 1.0, 2.0, 3.0, third, third, 0.0]);
    let mut scaled = blank(&engine, &[3, 3]);
    // Multiplied by what is no power of two, thirds get errors; then the first two of row 0 are too close to tell.
    engine.unary(UnaryOp::Affine { scale: 0.7, shift: 0.0 }, Operand::Of(table.view()), scaled.view_mut()).unwrap();
    let mut best = engine.tensor(DType::I32, &[3]).unwrap();
    engine.reduce(ReduceOp::ArgMax, scaled.view(), best.view_mut()).unwrap();
    let mut picked = blank(&engine, &[3, 1]);
    engine.gather_rows(x.view(), best.view(), picked.view_mut()).unwrap();
    let known: Vec<bool> = engine.deviation(picked.view()).unwrap().into_iter().map(f64::is_finite).collect();
    assert_eq!(known, [false, true, false]);
    let mut equal = blank(&engine, &[3, 1]);
    engine.binary(BinaryOp::Equal, Operand::Of(x.view()), x.view(), equal.view_mut()).unwrap();
    assert_eq!(engine.deviation(equal.view()).unwrap(), [0.0; 3]);
}

#[test]
fn int8_rows_are_quantised_and_flips_are_allowed_for_where_they_may_be() {
    let engine = engine("int8");
    let weight = HostWeight::for_precision(&HostTensor::new(&[1, 3], vec![1.0, 1.0, 0.5]).unwrap(), engine.config().precision).unwrap();
    let weight = engine.prepare_weight(&weight).unwrap();
    let mut x = upload(&engine, &[2, 3], vec![127.0, 3.5, 8.2, 127.0, 3.25, 8.2]);
    let (mut out, spec) = (blank(&engine, &[2, 1]), LinearSpec { activation: crate::activation::Activation::None });
    engine.linear(spec, x.view(), &weight, None, out.view_mut()).unwrap();
    let deviations = engine.deviation(out.view()).unwrap();
    // 3.5 steps is a tie, which a multiplication by the reciprocal may break the other way; 3.25 is not.
    assert!((deviations[0] - 0.5).abs() < 0.01 && deviations[1] < 1e-3, "{deviations:?}");
    assert!((out.buffer.values[1] - (127.0 + 3.0 + 4.0)).abs() < 0.1);
    x.buffer.variances[4] = 0.01;
    engine.linear(spec, x.view(), &weight, None, out.view_mut()).unwrap();
    assert!(engine.deviation(out.view()).unwrap()[1] > 0.4);
}

#[test]
fn an_error_beyond_a_pole_is_unknown() {
    let x = estimate::Estimate { value: 1e-3, variance: 1e-6 };
    assert!(!elementwise::unary(UnaryOp::Reciprocal, x, DType::F32).is_known());
    assert!(!elementwise::unary(UnaryOp::Log, x, DType::F32).is_known());
    assert!(!elementwise::unary(UnaryOp::Sqrt, x, DType::F32).is_known());
    let relu = elementwise::unary(UnaryOp::Activation(crate::activation::Activation::Relu), x, DType::F32);
    assert!(relu.variance >= 0.99e-6);
}
