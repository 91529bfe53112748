//! Functions of one and two arguments.
//!
//! A function of one argument is evaluated at the ends and halfway points of the interval in which its argument may lie; the largest
//! change, divided by [`SLACK`], is the deviation that it passes on. To first order this is |f'| times the deviation, at a kink it is the
//! steeper side, and where the error is large it is the true change and not a tangent's. A pole or an edge of the domain inside the
//! interval makes the result unknown. To this comes the error of the engine's own elementary function, a few units in the last place.

use super::SLACK;
use super::estimate::{Estimate, scaled, square};
use crate::activation::{Activation, GELU_TANH_CUBIC, GELU_TANH_SCALE};
use crate::dtype::DType;
use crate::elementary;
use crate::ops::{BinaryOp, UnaryOp};

/// A whole step takes all of its allowance, which must leave some for the roundings; and where a value and the sum that it is divided by
/// step together, as in a softmax, their steps add up and do not average out.
const STEP: f64 = 1.5;

/// f(x), rounded in the compute type.
pub(super) fn unary(op: UnaryOp, x: Estimate, compute: DType) -> Estimate {
    if let UnaryOp::Activation(activation) = op {
        return activated(activation, x, compute);
    }
    let value = apply(op, x.value);
    if matches!(op, UnaryOp::Abs | UnaryOp::Negate) {
        return Estimate::computed(value, x.variance, x.is_known());
    }
    let u = compute.unit_roundoff();
    // These split their argument into a whole and a fraction after multiplying it, and may be steps: the argument's own rounding counts.
    let splits = matches!(op, UnaryOp::ExpPolynomial { .. } | UnaryOp::ExpTable { .. } | UnaryOp::Exp2);
    let inner = if splits && x.value.is_finite() { square(2.0 * u * x.value) } else { 0.0 };
    let argument = Estimate { variance: x.variance + inner, ..x };
    let carried = match op {
        UnaryOp::Cos | UnaryOp::Sin => trigonometric(op, x),
        UnaryOp::Reciprocal if x.variance > 0.0 && x.reach() >= x.value.abs() => f64::INFINITY,
        UnaryOp::ExpPolynomial { .. } | UnaryOp::ExpTable { .. } => square(STEP * change(|x| apply(op, x), argument, value)),
        _ => square(change(|x| apply(op, x), argument, value)),
    };
    let (units, absolute) = units(op, x.value, value);
    // A term of a polynomial sum, or a reduced argument, errs by its own size and not the result's.
    let own = if value.is_finite() { square(absolute * u) } else { 0.0 };
    Estimate::computed(value, carried + own, x.is_known()).rounded_in(compute, units)
}

/// activation(x), rounded in the compute type.
pub(super) fn activated(activation: Activation, x: Estimate, compute: DType) -> Estimate {
    let value = activation.apply(x.value);
    if activation == Activation::None {
        return x;
    }
    let carried = square(change(|x| activation.apply(x), x, value));
    let result = Estimate::computed(value, carried, x.is_known());
    if activation == Activation::Relu { result } else { result.rounded_in(compute, activation_units(activation, x.value)) }
}

/// The deviation that a function passes on.
fn change(function: impl Fn(f64) -> f64, x: Estimate, value: f64) -> f64 {
    if x.variance == 0.0 || !x.value.is_finite() {
        return 0.0;
    }
    let reach = x.reach();
    let largest = [-1.0, -0.5, 0.5, 1.0].into_iter().try_fold(0.0f64, |largest, part| {
        let change = (function(x.value + part * reach) - value).abs();
        // NaN: the interval leaves the domain.
        if change.is_nan() { None } else { Some(largest.max(change)) }
    });
    largest.map_or(f64::INFINITY, |largest| largest / SLACK)
}

/// To second order, and never more than the argument's own variance or the whole range.
fn trigonometric(op: UnaryOp, x: Estimate) -> f64 {
    if x.variance == 0.0 {
        return 0.0;
    }
    let slope = if op == UnaryOp::Cos { libm::sin(x.value) } else { libm::cos(x.value) };
    let deviation = slope.abs() * x.variance.sqrt() + 0.5 * SLACK * x.variance;
    square(deviation.min(x.variance.sqrt()).min(2.0 / SLACK))
}

fn apply(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Activation(activation) => activation.apply(x),
        UnaryOp::Exp => libm::exp(x),
        UnaryOp::Exp2 => elementary::exp2(x),
        UnaryOp::ExpPolynomial { degree } => elementary::exp_polynomial(x, degree),
        UnaryOp::ExpTable { bits } => elementary::exp_table(x, bits),
        UnaryOp::ExpTaylor { degree } => elementary::exp_taylor(x, degree),
        UnaryOp::Log => libm::log(x),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Square => x * x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Negate => -x,
        UnaryOp::Cos => libm::cos(x),
        UnaryOp::Sin => libm::sin(x),
        UnaryOp::Tanh => libm::tanh(x),
        UnaryOp::Sigmoid => Activation::Sigmoid.apply(x),
        UnaryOp::EluPlusOne if x > 0.0 => x + 1.0,
        UnaryOp::EluPlusOne => libm::exp(x),
        UnaryOp::Affine { scale, shift } => scale * x + shift,
    }
}

/// Own error of an engine's function: relative to the result, and absolute, both in units of the compute type.
fn units(op: UnaryOp, x: f64, value: f64) -> (f64, f64) {
    match op {
        UnaryOp::Sqrt | UnaryOp::Reciprocal => (2.0, 0.0),
        UnaryOp::Square => (1.0, 0.0),
        UnaryOp::Sigmoid => (8.0, 0.0),
        UnaryOp::Cos | UnaryOp::Sin => (1.0, 4.0),
        UnaryOp::Affine { scale, shift } => (2.0, 2.0 * ((scale * x).abs() + shift.abs())),
        UnaryOp::ExpTaylor { degree } => (4.0, 2.0 * elementary::exp_taylor(x.abs(), degree)),
        UnaryOp::Activation(activation) => (activation_units(activation, x), 0.0),
        _ if value == 0.0 => (0.0, 0.0),
        _ => (4.0, 0.0),
    }
}

/// Own error of an engine's activation, relative to the result, in units of the compute type.
fn activation_units(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None | Activation::Relu => 0.0,
        Activation::Silu | Activation::Sigmoid => 8.0,
        Activation::ReluSquared => 2.0,
        // d log erfc(t) / d log t is about -2 t^2, and t is rounded twice.
        Activation::Gelu => 8.0 + 3.0 * x * x,
        Activation::GeluTanh => 8.0 + 12.0 * (GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x * x * x)).abs(),
    }
}

/// a op b, rounded in the compute type.
pub(super) fn binary(op: BinaryOp, a: Estimate, b: Estimate, compute: DType) -> Estimate {
    let known = a.is_known() && b.is_known();
    let sum = |value| Estimate::computed(value, a.variance + b.variance, known).rounded_in(compute, 1.0);
    match op {
        BinaryOp::Add => sum(a.value + b.value),
        BinaryOp::Subtract => sum(a.value - b.value),
        BinaryOp::Multiply => product(a, b).rounded_in(compute, 1.0),
        BinaryOp::Divide => quotient(a, b).rounded_in(compute, 2.0),
        BinaryOp::Maximum => extreme(a, b, a.value >= b.value),
        BinaryOp::Minimum => extreme(a, b, a.value <= b.value),
        BinaryOp::Equal => comparison(a, b, a.value == b.value),
        BinaryOp::Less => comparison(a, b, a.value < b.value),
    }
}

/// a b, not rounded.
pub(super) fn product(a: Estimate, b: Estimate) -> Estimate {
    let nothing = |x: Estimate| x == Estimate::exact(0.0);
    let variance = scaled(a.value, b.variance)
        + scaled(b.value, a.variance)
        + if a.variance == 0.0 || b.variance == 0.0 { 0.0 } else { a.variance * b.variance };
    let known = (a.is_known() || nothing(b)) && (b.is_known() || nothing(a));
    Estimate::computed(a.value * b.value, variance, known)
}

/// a / b, not rounded. The divisor is taken as small as it may be; if that is zero, nothing is known.
pub(super) fn quotient(a: Estimate, b: Estimate) -> Estimate {
    let value = a.value / b.value;
    let known = a.is_known() && b.is_known();
    if a.variance == 0.0 && b.variance == 0.0 || !b.value.is_finite() {
        return Estimate::computed(value, 0.0, known);
    }
    let least = b.value.abs() - b.reach();
    if least <= 0.0 {
        return Estimate::undetermined(value);
    }
    Estimate::computed(value, (a.variance + scaled(value, b.variance)) / square(least), known)
}

/// The chosen one, unless the other may be it; then an error is at most the larger of the two. NaN wins.
fn extreme(a: Estimate, b: Estimate, first: bool) -> Estimate {
    if a.value.is_nan() || b.value.is_nan() {
        return Estimate::computed(f64::NAN, 0.0, a.is_known() && b.is_known());
    }
    let chosen = if first { a } else { b };
    if apart(a, b) { chosen } else { Estimate { value: chosen.value, variance: a.variance.max(b.variance) } }
}

fn comparison(a: Estimate, b: Estimate, holds: bool) -> Estimate {
    let exact = a.variance == 0.0 && b.variance == 0.0;
    let variance = if exact || apart(a, b) { 0.0 } else { f64::INFINITY };
    Estimate { value: f64::from(u8::from(holds)), variance }
}

/// True if the difference of two numbers is beyond its error.
pub(super) fn apart(a: Estimate, b: Estimate) -> bool {
    (a.value - b.value).abs() > SLACK * (a.variance + b.variance).sqrt()
}

/// True, false, or unknown: is the condition different from zero? A NaN is.
pub(super) fn chosen(condition: Estimate) -> Option<bool> {
    let zero = Estimate::exact(0.0);
    (condition.variance == 0.0 || apart(condition, zero)).then_some(condition.value != 0.0)
}
