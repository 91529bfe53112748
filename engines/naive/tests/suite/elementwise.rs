use crossover_core::activation::Activation;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::elementary;
use crossover_core::error::EngineError;
use crossover_core::ops::{BinaryOp, OpSpec, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::support::Support;

use crate::helpers::*;

type Exact = fn(f64) -> f64;

const UNARY: [(UnaryOp, Exact); 20] = [
    (UnaryOp::Activation(Activation::Gelu), |x| Activation::Gelu.apply(x)),
    (UnaryOp::Activation(Activation::ReluSquared), |x| x.max(0.0) * x.max(0.0)),
    (UnaryOp::Activation(Activation::Sigmoid), |x| 1.0 / (1.0 + (-x).exp())),
    (UnaryOp::Exp, f64::exp),
    (UnaryOp::Exp2, f64::exp2),
    (UnaryOp::ExpPolynomial { degree: 3 }, |x| elementary::exp_polynomial(x, 3)),
    (UnaryOp::ExpTable { bits: 5 }, |x| elementary::exp_table(x, 5)),
    (UnaryOp::ExpTaylor { degree: 2 }, |x| 1.0 + x + 0.5 * x * x),
    (UnaryOp::Log, f64::ln),
    (UnaryOp::Sqrt, f64::sqrt),
    (UnaryOp::Reciprocal, f64::recip),
    (UnaryOp::Square, |x| x * x),
    (UnaryOp::Abs, f64::abs),
    (UnaryOp::Negate, |x| -x),
    (UnaryOp::Cos, f64::cos),
    (UnaryOp::Sin, f64::sin),
    (UnaryOp::Tanh, f64::tanh),
    (UnaryOp::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
    (UnaryOp::EluPlusOne, |x| if x > 0.0 { x + 1.0 } else { x.exp() }),
    (UnaryOp::Affine { scale: 3.0, shift: -0.5 }, |x| 3.0 * x - 0.5),
];

#[test]
fn functions_of_one_argument() {
    for precision in FLOATING {
        let engine = engine(precision);
        let unit = engine.storage().unit_roundoff().max(engine.compute().unit_roundoff());
        for (op, exact) in UNARY {
            // Over a piece and a tail, away from the poles of log and 1/x.
            let inputs: Vec<f64> = noise(1, 131).iter().map(|x| 3.0 * x).map(|x| if x.abs() < 0.1 { 0.5 } else { x }).collect();
            let inputs = rounded(engine.storage(), &inputs);
            let x = tensor(&engine, &[131], &inputs);
            let mut out = blank(&engine, &[131]);
            engine.unary(op, Operand::Of(x.view()), out.view_mut()).unwrap();
            let expected: Vec<f64> = inputs.iter().map(|&x| exact(x)).collect();
            assert_close(&values(&engine, &out), &expected, 8.0 * unit);
            let mut place = tensor(&engine, &[131], &inputs);
            engine.unary(op, Operand::InPlace, place.view_mut()).unwrap();
            assert_close(&values(&engine, &place), &values(&engine, &out), 0.0);
        }
    }
}

#[test]
fn activations_keep_limits_tails_and_nan() {
    for precision in ["f64", "f32"] {
        let engine = engine(precision);
        for activation in Activation::ALL {
            let inputs = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -5.0, 1e30, -1e30];
            let x = tensor(&engine, &[7], &inputs);
            let mut out = blank(&engine, &[7]);
            engine.unary(UnaryOp::Activation(activation), Operand::Of(x.view()), out.view_mut()).unwrap();
            let found = values(&engine, &out);
            assert!(found[0].is_nan());
            // The square of 1e30 is beyond f32.
            let exact: Vec<f64> = rounded(engine.storage(), &inputs)[1..].iter().map(|&x| activation.apply(x)).collect();
            let expected = rounded(engine.storage(), &exact);
            assert_close(&found[1..], &expected, 1e-6);
            // The negative tail to relative accuracy: Gelu(-5) is about -1.4e-6.
            let exact = activation.apply(-5.0);
            assert!((found[4] - exact).abs() <= 100.0 * engine.compute().unit_roundoff() * exact.abs(), "{activation}: {}", found[4]);
        }
    }
}

#[test]
fn cheap_exponentials_are_their_f64_definitions_rounded_once() {
    for precision in FLOATING {
        let engine = engine(precision);
        let inputs = rounded(engine.storage(), &noise(3, 200).iter().map(|x| 90.0 * x).collect::<Vec<f64>>());
        let x = tensor(&engine, &[200], &inputs);
        for size in 1..=8u32 {
            let definitions: [(UnaryOp, &dyn Fn(f64) -> f64); 3] = [
                (UnaryOp::ExpPolynomial { degree: size }, &|x| elementary::exp_polynomial(x, size)),
                (UnaryOp::ExpTable { bits: size + 4 }, &|x| elementary::exp_table(x, size + 4)),
                (UnaryOp::ExpTaylor { degree: size }, &|x| elementary::exp_taylor(x, size)),
            ];
            for (op, definition) in definitions {
                let mut out = blank(&engine, &[200]);
                engine.unary(op, Operand::Of(x.view()), out.view_mut()).unwrap();
                let computed: Vec<f64> = inputs.iter().map(|&x| engine.compute().round(definition(x))).collect();
                assert_eq!(values(&engine, &out), rounded(engine.storage(), &computed), "{op:?} at {precision}");
            }
        }
    }
}

#[test]
fn undefined_degrees_and_tables_are_refused() {
    let engine = engine("f32");
    for op in [0, 9].map(|degree| UnaryOp::ExpPolynomial { degree }).into_iter().chain([0, 13].map(|bits| UnaryOp::ExpTable { bits })) {
        let mut out = tensor(&engine, &[1], &[0.5]);
        let error = engine.unary(op, Operand::InPlace, out.view_mut()).unwrap_err();
        assert!(matches!(&error, EngineError::Unsupported { .. }) && error.to_string().contains("is outside 1..="), "{error}");
        assert!(matches!(engine.supports(&OpSpec::Unary { elements: 1, op }), Support::Unsupported(_)));
        assert_eq!(values(&engine, &out), [0.5]);
    }
}

#[test]
fn functions_of_two_arguments() {
    let engine = engine("f32");
    let (a, b) = ([1.0, -2.0, 3.0, f64::NAN], [1.0, 4.0, -3.0, 0.0]);
    let expected: [(BinaryOp, [f64; 4]); 8] = [
        (BinaryOp::Add, [2.0, 2.0, 0.0, f64::NAN]),
        (BinaryOp::Subtract, [0.0, -6.0, 6.0, f64::NAN]),
        (BinaryOp::Multiply, [1.0, -8.0, -9.0, f64::NAN]),
        (BinaryOp::Divide, [1.0, -0.5, -1.0, f64::NAN]),
        (BinaryOp::Maximum, [1.0, 4.0, 3.0, f64::NAN]),
        (BinaryOp::Minimum, [1.0, -2.0, -3.0, f64::NAN]),
        (BinaryOp::Equal, [1.0, 0.0, 0.0, 0.0]),
        (BinaryOp::Less, [0.0, 1.0, 0.0, 0.0]),
    ];
    for (op, expected) in expected {
        let (a, b) = (tensor(&engine, &[4], &a), tensor(&engine, &[4], &b));
        let mut out = blank(&engine, &[4]);
        engine.binary(op, Operand::Of(a.view()), b.view(), out.view_mut()).unwrap();
        assert_close(&values(&engine, &out), &expected, 0.0);
        if matches!(op, BinaryOp::Maximum | BinaryOp::Minimum) {
            engine.binary(op, Operand::Of(b.view()), a.view(), out.view_mut()).unwrap();
            assert_close(&values(&engine, &out), &expected, 0.0);
        }
    }
}

#[test]
fn both_arguments_are_broadcast() {
    let engine = engine("f64");
    let (column, row) = (tensor(&engine, &[3, 1], &[10.0, 20.0, 30.0]), tensor(&engine, &[2], &[1.0, 2.0]));
    let mut out = blank(&engine, &[3, 2]);
    engine.binary(BinaryOp::Add, Operand::Of(column.view()), row.view(), out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [11.0, 12.0, 21.0, 22.0, 31.0, 32.0]);
    engine.binary(BinaryOp::Subtract, Operand::InPlace, column.view(), out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
}

#[test]
fn copies_round_once_between_any_two_types() {
    let engine = engine("f64");
    let kinds = [DType::F64, DType::F32, DType::Bf16, DType::F16, DType::I32];
    let inputs: Vec<f64> = noise(2, 70).iter().map(|x| 300.0 * x).collect();
    for from in kinds {
        for to in kinds {
            let x = engine.upload(&host(&[70], &inputs), from).unwrap();
            let mut out = blank_of(&engine, to, &[70]);
            engine.copy(x.view(), out.view_mut()).unwrap();
            assert_eq!(values(&engine, &out), rounded(to, &rounded(from, &inputs)), "{from} to {to}");
        }
    }
}

#[test]
fn copies_transpose_and_scalars_are_tensors() {
    let engine = engine("f32");
    let x = tensor(&engine, &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let mut out = blank(&engine, &[3, 2]);
    engine.copy(x.view().transposed().unwrap(), out.view_mut()).unwrap();
    assert_eq!(values(&engine, &out), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let mut scalar = blank(&engine, &[]);
    engine.fill(scalar.view_mut(), 2.0).unwrap();
    engine.unary(UnaryOp::Square, Operand::InPlace, scalar.view_mut()).unwrap();
    assert_eq!(values(&engine, &scalar), [4.0]);
}

#[test]
fn masks_by_pattern_and_by_condition() {
    let engine = engine("bf16");
    let (seen, hidden) = (1.0, f64::NEG_INFINITY);
    let mut scores = tensor(&engine, &[2, 2, 3], &[seen; 12]);
    engine.mask(&AttentionPattern::Causal, 4, 4, scores.view_mut()).unwrap();
    assert_eq!(values(&engine, &scores), [[seen, hidden, hidden, seen, seen, hidden]; 2].concat());
    let mut scores = tensor(&engine, &[2, 3], &[seen; 6]);
    let condition = integers(&engine, &[3], &[1, 0, -4]);
    engine.select(condition.view(), hidden, scores.view_mut()).unwrap();
    assert_eq!(values(&engine, &scores), [[seen, hidden, seen]; 2].concat());
    let condition = tensor(&engine, &[2, 1], &[-0.0, f64::NAN]);
    engine.select(condition.view(), 7.0, scores.view_mut()).unwrap();
    assert_eq!(values(&engine, &scores), [7.0, 7.0, 7.0, seen, hidden, seen]);
}
