//! Copy, fill, functions of one and of two arguments, masks: everything that sees one element at a time.

use crossover_core::activation::{Activation, GELU_TANH_CUBIC, GELU_TANH_SCALE};
use crossover_core::backend::Operand;
use crossover_core::dtype::DType;
use crossover_core::elementary;
use crossover_core::ops::{BinaryOp, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{View, ViewMut};

use crate::buffer::SimdBuffer;
use crate::element::Real;
use crate::walk::{for_each_row, rows_of};

/// Copies, converting with one rounding. Any two types: values pass through a type that holds both exactly.
pub(crate) fn copy(x: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    let narrow = |dtype| matches!(dtype, DType::F32 | DType::Bf16 | DType::F16);
    let both_narrow = narrow(x.dtype()) && narrow(out.dtype());
    let x = Operand::Of(x);
    if both_narrow {
        for_each_row(&x, out, |mut row| row.map([], |value: f32, []| value));
    } else {
        for_each_row(&x, out, |mut row| row.map([], |value: f64, []| value));
    }
}

pub(crate) fn fill(out: ViewMut<'_, SimdBuffer>, value: f64) {
    for_each_row(&Operand::InPlace, out, |mut row| row.map([], |_: f64, []| value));
}

pub(crate) fn unary<R: Real>(op: UnaryOp, x: &Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    // One arm a function, so that the choice is made once and not for each element.
    match op {
        UnaryOp::Activation(activation) => map(x, out, |x: R| activate(activation, x)),
        UnaryOp::Exp => map(x, out, R::exp),
        UnaryOp::Exp2 => map(x, out, R::exp2),
        // Like `libm`'s exponential of an f32: evaluated in f64, and rounded once to the compute type.
        UnaryOp::ExpPolynomial { degree } => map(x, out, |x: R| R::from_f64(elementary::exp_polynomial(x.to_f64(), degree))),
        UnaryOp::ExpTable { bits } => map(x, out, |x: R| R::from_f64(elementary::exp_table(x.to_f64(), bits))),
        UnaryOp::ExpTaylor { degree } => map(x, out, |x: R| R::from_f64(elementary::exp_taylor(x.to_f64(), degree))),
        UnaryOp::Log => map(x, out, R::log),
        UnaryOp::Sqrt => map(x, out, R::sqrt),
        UnaryOp::Reciprocal => map(x, out, |x: R| R::ONE / x),
        UnaryOp::Square => map(x, out, |x: R| x * x),
        UnaryOp::Abs => map(x, out, R::abs),
        UnaryOp::Negate => map(x, out, |x: R| -x),
        UnaryOp::Cos => map(x, out, R::cos),
        UnaryOp::Sin => map(x, out, R::sin),
        UnaryOp::Tanh => map(x, out, R::tanh),
        UnaryOp::Sigmoid => map(x, out, sigmoid::<R>),
        UnaryOp::EluPlusOne => map(x, out, |x: R| if x > R::ZERO { x + R::ONE } else { x.exp() }),
        UnaryOp::Affine { scale, shift } => {
            let (scale, shift) = (R::from_f64(scale), R::from_f64(shift));
            map(x, out, |x: R| scale * x + shift);
        }
    }
}

fn map<R: Real>(x: &Operand<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>, function: impl Fn(R) -> R) {
    for_each_row(x, out, |mut row| row.map([], |x, []| function(x)));
}

/// `a` and `b` already have the shape of the output.
pub(crate) fn binary<R: Real>(op: BinaryOp, a: &Operand<'_, SimdBuffer>, b: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>) {
    let truth = |holds| if holds { R::ONE } else { R::ZERO };
    match op {
        BinaryOp::Add => zip(a, b, out, |a: R, b: R| a + b),
        BinaryOp::Subtract => zip(a, b, out, |a: R, b: R| a - b),
        BinaryOp::Multiply => zip(a, b, out, |a: R, b: R| a * b),
        BinaryOp::Divide => zip(a, b, out, |a: R, b: R| a / b),
        BinaryOp::Maximum => zip(a, b, out, R::larger),
        BinaryOp::Minimum => zip(a, b, out, R::smaller),
        BinaryOp::Equal => zip(a, b, out, |a: R, b: R| truth(a == b)),
        BinaryOp::Less => zip(a, b, out, |a: R, b: R| truth(a < b)),
    }
}

fn zip<R: Real>(a: &Operand<'_, SimdBuffer>, b: View<'_, SimdBuffer>, out: ViewMut<'_, SimdBuffer>, function: impl Fn(R, R) -> R) {
    let mut others = rows_of(&b);
    for_each_row(a, out, |mut row| {
        if let Some(other) = others.next() {
            row.map([other], |a, [b]| function(a, b));
        }
    });
}

/// Minus infinity for pairs outside the pattern; scores [.., queries, keys].
pub(crate) fn mask<R: Real>(pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: ViewMut<'_, SimdBuffer>) {
    let queries = scores.layout.dim_from_end(1);
    let mut rows = (0..queries).cycle();
    for_each_row(&Operand::InPlace, scores, |mut row| {
        let query = query_offset + rows.next().unwrap_or(0);
        let mut keys = key_offset..;
        row.map([], |score: R, []| match keys.next() {
            Some(key) if pattern.allows(query, key) => score,
            _ => R::NEG_INFINITY,
        });
    });
}

/// `otherwise` where the condition is 0; a NaN is not 0. The condition has the shape of the output.
pub(crate) fn select<R: Real>(condition: View<'_, SimdBuffer>, otherwise: f64, out: ViewMut<'_, SimdBuffer>) {
    let otherwise = R::from_f64(otherwise);
    zip(&Operand::InPlace, condition, out, |value: R, condition: R| if condition == R::ZERO { otherwise } else { value });
}

/// The activation in the compute type, by the same formulas as its f64 definition in the core.
pub(crate) fn activate<R: Real>(activation: Activation, x: R) -> R {
    match activation {
        Activation::None => x,
        Activation::Relu => relu(x),
        // erfc keeps the relative accuracy of the far negative tail, where 1 + erf cancels.
        Activation::Gelu => {
            let scaled = -x * R::from_f64(std::f64::consts::FRAC_1_SQRT_2);
            gated(x, R::from_f64(0.5) * scaled.erfc())
        }
        Activation::GeluTanh => {
            let inner = R::from_f64(GELU_TANH_SCALE) * (x + R::from_f64(GELU_TANH_CUBIC) * x * x * x);
            gated(x, sigmoid(inner + inner))
        }
        Activation::Silu => gated(x, sigmoid(x)),
        Activation::ReluSquared => relu(x) * relu(x),
        Activation::Sigmoid => sigmoid(x),
    }
}

/// Not `larger`: the zero of a negative number is plain 0, and NaN stays.
fn relu<R: Real>(x: R) -> R {
    if x < R::ZERO { R::ZERO } else { x }
}

/// x times a gate in [0, 1]; minus infinity times a closed gate is 0, the limit.
fn gated<R: Real>(x: R, gate: R) -> R {
    if gate == R::ZERO { R::ZERO } else { x * gate }
}

/// 1 / (1 + e^-x), from the side where the exponential does not overflow.
fn sigmoid<R: Real>(x: R) -> R {
    if x >= R::ZERO {
        R::ONE / (R::ONE + (-x).exp())
    } else {
        let e = x.exp();
        e / (R::ONE + e)
    }
}
