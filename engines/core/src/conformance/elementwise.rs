//! Copies, fills, functions of one and two arguments, masks and selections.

use crate::activation::{Activation, GELU_TANH_CUBIC, GELU_TANH_SCALE};
use crate::backend::TransformerBackend;
use crate::dtype::DType;
use crate::elementary::{exp_polynomial, exp_table, exp_taylor, exp2};
use crate::ops::{BinaryOp, OpSpec, UnaryOp};

use super::Property;
use super::cases::Fill;
use super::compare::{Target, storing};
use super::exponentials::around;
use super::trial::{Outcome, Trial};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "copy", operation: "copy", check: copy },
        Property { name: "fill", operation: "fill", check: fill },
        Property { name: "unary", operation: "unary", check: unary },
        Property { name: "activations", operation: "unary", check: activations },
        Property { name: "binary", operation: "binary", check: binary },
        Property { name: "mask", operation: "mask", check: mask },
        Property { name: "select", operation: "select", check: select },
    ]
}

fn shape<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Vec<usize> {
    let [outer, rows, width] = t.source.sizes_within([0, 0, 0], 1 << 12);
    t.source.choose(&[vec![width], vec![rows, width], vec![outer, rows, width], vec![2, rows.min(8), 1, width]])
}

/// Random values, among which some stand that are often forgotten.
fn values<B: TransformerBackend>(t: &mut Trial<'_, B>, dtype: DType, count: usize, spread: f64) -> Vec<f64> {
    let (largest, smallest) = (dtype.largest(), dtype.smallest_normal());
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        88.0,
        -88.0,
        89.0,
        -89.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        largest,
        -largest,
        smallest,
        -smallest,
    ];
    let often = t.source.choose(&[4, 50]);
    let special = |t: &mut Trial<'_, B>| t.source.choose(&special);
    (0..count).map(|_| if t.source.one_in(often) { special(t) } else { t.source.value(Fill::Normal(spread)) }).collect()
}

/// Between the two floating types of the precision. A copy rounds once.
fn copy<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (from, to) = (t.source.choose(&[t.storage(), t.compute()]), t.source.choose(&[t.storage(), t.compute()]));
    let shape = shape(t);
    let values = values(t, from, shape.iter().product(), 3.0);
    let x = t.given(from, &shape, &values)?;
    let mut out = t.output(to, &shape)?;
    let result = t.engine.copy(x.view(), out.view_mut());
    t.done(&OpSpec::Copy { elements: x.values.len() }, result)?;
    let found = t.read(&out)?;
    let targets: Vec<Target> = x.values.iter().map(|&value| Target::exact(to.round(value))).collect();
    t.compare(to, &found, &targets)
}

fn fill<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (shape, dtype) = (shape(t), t.float_type());
    let value = values(t, dtype, 1, 3.0)[0];
    let mut out = t.output(dtype, &shape)?;
    t.engine.fill(out.view_mut(), value)?;
    let found = t.read(&out)?;
    t.compare(dtype, &found, &vec![Target::exact(dtype.round(value)); found.len()])
}

const UNARY: [UnaryOp; 13] = [
    UnaryOp::Exp,
    UnaryOp::Exp2,
    UnaryOp::Log,
    UnaryOp::Sqrt,
    UnaryOp::Reciprocal,
    UnaryOp::Square,
    UnaryOp::Abs,
    UnaryOp::Negate,
    UnaryOp::Cos,
    UnaryOp::Sin,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::EluPlusOne,
];

fn unary<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    for op in UNARY {
        check_unary(t, op)?;
    }
    let affine = UnaryOp::Affine { scale: t.source.choose(&[-1.5, 0.1, 8.0]), shift: t.source.choose(&[0.0, 1.0, -0.3]) };
    check_unary(t, affine)
}

fn activations<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    Activation::ALL.into_iter().try_for_each(|activation| check_unary(t, UnaryOp::Activation(activation)))
}

pub(super) fn check_unary<B: TransformerBackend>(t: &mut Trial<'_, B>, op: UnaryOp) -> Outcome {
    let [rows, width] = t.source.sizes_within([0, 0], 1 << 9);
    let dtype = t.float_type();
    let spread = t.source.choose(&[0.3, 2.0, 8.0]);
    let mut values = values(t, dtype, rows * width, spread);
    match op {
        // Half of these would be NaN.
        UnaryOp::Log | UnaryOp::Sqrt => values.iter_mut().step_by(3).for_each(|value| *value = value.abs()),
        // Reduction of huge arguments is not asked for.
        UnaryOp::Cos | UnaryOp::Sin => {
            values.iter_mut().filter(|value| value.abs() > 1e3 && value.is_finite()).for_each(|value| *value = 100.0);
        }
        _ => {}
    }
    let x = t.given(dtype, &[rows, width], &values)?;
    let operation = OpSpec::Unary { elements: rows * width, op };
    let (out, found) = t.map(&operation, &x, |engine, x, out| engine.unary(op, x, out))?;
    let compute = t.compute();
    let target = |&x: &f64| {
        let value = apply(op, x);
        if exactly(op) {
            return Target::exact(out.round(value));
        }
        let tiny = compute.smallest_normal() * (1.0 + x.abs().min(1e3));
        let error = error(op, x, value, compute.unit_roundoff());
        Target::within(value, if value.is_finite() { error + tiny + storing(out, value) } else { 0.0 })
    };
    let targets: Vec<Target> = x.values.iter().map(target).collect();
    t.compare_as(name(op), out, &found, &targets)
}

/// One entry of the ledger for each function: the largest would hide the others.
fn name(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Activation(activation) => activation.name(),
        UnaryOp::Exp => "exp",
        UnaryOp::Exp2 => "exp2",
        UnaryOp::ExpPolynomial { .. } => "exp-polynomial",
        UnaryOp::ExpTable { .. } => "exp-table",
        UnaryOp::ExpTaylor { .. } => "exp-taylor",
        UnaryOp::Log => "log",
        UnaryOp::Sqrt => "sqrt",
        UnaryOp::Reciprocal => "reciprocal",
        UnaryOp::Square => "square",
        UnaryOp::Abs => "abs",
        UnaryOp::Negate => "negate",
        UnaryOp::Cos => "cos",
        UnaryOp::Sin => "sin",
        UnaryOp::Tanh => "tanh",
        UnaryOp::Sigmoid => "sigmoid",
        UnaryOp::EluPlusOne => "elu-plus-one",
        UnaryOp::Affine { .. } => "affine",
    }
}

/// What does not round in the compute type.
fn exactly(op: UnaryOp) -> bool {
    matches!(op, UnaryOp::Abs | UnaryOp::Negate | UnaryOp::Activation(Activation::None | Activation::Relu))
}

pub(super) fn apply(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Activation(activation) => activation.apply(x),
        UnaryOp::Exp => libm::exp(x),
        UnaryOp::Exp2 => exp2(x),
        UnaryOp::ExpPolynomial { degree } => exp_polynomial(x, degree),
        UnaryOp::ExpTable { bits } => exp_table(x, bits),
        UnaryOp::ExpTaylor { degree } => exp_taylor(x, degree),
        UnaryOp::Log => libm::log(x),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Square => x * x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Negate => -x,
        UnaryOp::Cos => libm::cos(x),
        UnaryOp::Sin => libm::sin(x),
        UnaryOp::Tanh => libm::tanh(x),
        UnaryOp::Sigmoid if x < 0.0 => libm::exp(x) / (1.0 + libm::exp(x)),
        UnaryOp::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
        UnaryOp::EluPlusOne if x > 0.0 => x + 1.0,
        UnaryOp::EluPlusOne => libm::exp(x),
        UnaryOp::Affine { scale, shift } => scale * x + shift,
    }
}

/// Error in the compute type: a few units, and what the rounding of an inner argument does to the result.
pub(super) fn error(op: UnaryOp, x: f64, value: f64, u: f64) -> f64 {
    let units = match op {
        UnaryOp::Activation(Activation::None | Activation::Relu) | UnaryOp::Abs | UnaryOp::Negate => 0.0,
        UnaryOp::Sqrt | UnaryOp::Reciprocal | UnaryOp::Square => 2.0,
        UnaryOp::Activation(Activation::ReluSquared) => 2.0,
        UnaryOp::ExpPolynomial { degree } => return around(op, x, value, u) + (4.0 + 2.0 * f64::from(degree)) * u * value,
        UnaryOp::ExpTable { .. } => return around(op, x, value, u) + 4.0 * u * value,
        // Horner's rule: two roundings a degree, of terms that may cancel.
        UnaryOp::ExpTaylor { degree } => return 2.0 * (f64::from(degree) + 1.0) * u * exp_taylor(x.abs(), degree),
        UnaryOp::Exp | UnaryOp::Exp2 | UnaryOp::Log | UnaryOp::Tanh | UnaryOp::EluPlusOne => 4.0,
        UnaryOp::Sigmoid | UnaryOp::Activation(Activation::Silu | Activation::Sigmoid) => 8.0,
        // d log erfc(t) / d log t is about -2 t^2, and t is rounded twice.
        UnaryOp::Activation(Activation::Gelu) => 8.0 + 3.0 * x * x,
        UnaryOp::Activation(Activation::GeluTanh) => 8.0 + 12.0 * (GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x * x * x)).abs(),
        // Absolute: near its zeros a sine keeps the error of its argument's reduction.
        UnaryOp::Cos | UnaryOp::Sin => return 4.0 * u,
        UnaryOp::Affine { scale, shift } => return 3.0 * u * ((scale * x).abs() + shift.abs()),
    };
    if value == 0.0 { 0.0 } else { units * u * value.abs() }
}

const BINARY: [BinaryOp; 8] = [
    BinaryOp::Add,
    BinaryOp::Subtract,
    BinaryOp::Multiply,
    BinaryOp::Divide,
    BinaryOp::Maximum,
    BinaryOp::Minimum,
    BinaryOp::Equal,
    BinaryOp::Less,
];

fn binary<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    BINARY.into_iter().try_for_each(|op| check_binary(t, op))
}

fn check_binary<B: TransformerBackend>(t: &mut Trial<'_, B>, op: BinaryOp) -> Outcome {
    let [outer, rows, width] = t.source.sizes_within([0, 0, 0], 1 << 9);
    let shape = [outer, rows, width];
    let types = [t.float_type(), t.float_type()];
    let a_values = values(t, types[0], shape.iter().product(), 2.0);
    let a = t.given(types[0], &shape, &a_values)?;
    let b = if t.source.one_in(2) {
        t.input(types[1], &shape, Fill::Integers(3))?
    } else {
        // Half of the pairs are equal.
        let mut b = values(t, types[1], a.values.len(), 2.0);
        b.iter_mut().zip(&a.values).step_by(2).for_each(|(b, a)| *b = *a);
        t.given(types[1], &shape, &b)?
    };
    let operation = OpSpec::Binary { elements: a.values.len(), op };
    let (out, found) = t.map(&operation, &a, |engine, a, out| engine.binary(op, a, b.view(), out))?;
    let compute = t.compute();
    let target = |(&a, &b): (&f64, &f64)| {
        let value = combine(op, a, b);
        let rounds = matches!(op, BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide) && value.is_finite();
        let error = compute.unit_roundoff() * value.abs() + compute.smallest_normal() + storing(out, value);
        // Whatever does not round in the compute type is rounded once where it is stored.
        if rounds { Target::within(value, error) } else { Target::exact(out.round(value)) }
    };
    let targets: Vec<Target> = a.values.iter().zip(&b.values).map(target).collect();
    t.compare(out, &found, &targets)
}

fn combine(op: BinaryOp, a: f64, b: f64) -> f64 {
    let nan = a.is_nan() || b.is_nan();
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Subtract => a - b,
        BinaryOp::Multiply => a * b,
        BinaryOp::Divide => a / b,
        BinaryOp::Maximum | BinaryOp::Minimum if nan => f64::NAN,
        BinaryOp::Maximum => a.max(b),
        BinaryOp::Minimum => a.min(b),
        BinaryOp::Equal => f64::from(a == b),
        BinaryOp::Less => f64::from(a < b),
    }
}

fn mask<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let [outer, queries, keys] = t.source.sizes_within([0, 0, 0], 1 << 12);
    let pattern = t.source.pattern();
    let (query_offset, key_offset) = (t.source.below(70), t.source.choose(&[0, 0, 5, 64]));
    let (shape, dtype) = ([outer.min(3), queries, keys], t.float_type());
    let before: Vec<f64> = t.source.values(Fill::Integers(100), shape.iter().product());
    let mut out = t.output_of(dtype, &shape, &before)?;
    let result = t.engine.mask(&pattern, query_offset, key_offset, out.view_mut());
    t.done(&OpSpec::Mask { rows: shape[0] * queries, columns: keys }, result)?;
    let found = t.read(&out)?;
    let target = |(at, &before): (usize, &f64)| {
        let allowed = pattern.allows(query_offset + at / keys % queries, key_offset + at % keys);
        Target::exact(if allowed { before } else { f64::NEG_INFINITY })
    };
    let targets: Vec<Target> = before.iter().enumerate().map(target).collect();
    t.compare(dtype, &found, &targets)
}

fn select<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (shape, dtype, condition_type) = (shape(t), t.float_type(), t.float_type());
    let condition = t.input(condition_type, &shape, Fill::Integers(1))?;
    let before = values(t, dtype, condition.values.len(), 2.0);
    let otherwise = t.source.choose(&[0.0, f64::NEG_INFINITY, 1.5]);
    let mut out = t.output_of(dtype, &shape, &before)?;
    let result = t.engine.select(condition.view(), otherwise, out.view_mut());
    t.done(&OpSpec::Select { elements: before.len() }, result)?;
    let found = t.read(&out)?;
    let choose = |(&before, &condition): (&f64, &f64)| Target::exact(if condition == 0.0 { otherwise } else { dtype.round(before) });
    let targets: Vec<Target> = before.iter().zip(&condition.values).map(choose).collect();
    t.compare(dtype, &found, &targets)?;
    // A scalar condition stretches over everything.
    let scalar = t.given(condition_type, &[], &[0.0])?;
    let mut out = t.output_of(dtype, &shape, &before)?;
    t.engine.select(scalar.view(), otherwise, out.view_mut())?;
    let found = t.read(&out)?;
    t.compare(dtype, &found, &vec![Target::exact(otherwise); found.len()])
}
