//! Activations on vectors: what products apply to a finished tile, and what elementwise operations apply to a tensor.
//!
//! Gated ones are x times a gate in [0, 1]. Where the gate is closed, minus infinity must give 0, the limit, and no NaN: x is raised to where
//! the gate is 0 already, or what the gate takes away is bounded. Errors: 3.5 units in the last place for SiLU; for GELU see
//! `vector/normal.rs`; its approximation by tanh loses what the rounding of its inner polynomial y does to e^2y, (8 + 6 y) / 2 units.

use crossover_core::activation::{Activation, GELU_TANH_CUBIC, GELU_TANH_SCALE};

use crate::element::Real;
use crate::vector::{Vector, exp2_of_negative, gelu, gelus, sigmoid};

/// Below it e^x is 0 in every type.
const SIGMOID_LEAST: f64 = -760.0;
/// From here on the approximation of the normal distribution by tanh is 0 or 1 in every type.
const NORMAL_MOST: f64 = 40.0;

/// The activation of every lane.
#[inline(always)]
pub(crate) fn activate<V: Vector>(activation: Activation, x: V) -> V {
    match activation {
        Activation::None => x,
        Activation::Relu => x.relu(),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Silu => silu(x),
        Activation::ReluSquared => relu_squared(x),
        Activation::Sigmoid => sigmoid(x),
    }
}

/// The activation of every lane of several vectors. GELU is long enough for them to be worth taking step by step.
#[inline(always)]
pub(crate) fn activate_all<V: Vector, const COUNT: usize>(activation: Activation, vectors: &mut [V; COUNT]) {
    if activation == Activation::Gelu {
        return gelus(vectors);
    }
    for x in vectors {
        *x = activate(activation, *x);
    }
}

/// x (1 + tanh y) / 2 = x sigmoid(2 y) = max(x, 0) - |x| sigmoid(-2 |y|), without the cancellation.
#[inline(always)]
pub(crate) fn gelu_tanh<V: Vector>(x: V) -> V {
    // As a power of two: 2 y log2 e.
    let scale = -2.0 * std::f64::consts::LOG2_E * GELU_TANH_SCALE;
    let [one, linear, cubic] = [1.0, scale, scale * GELU_TANH_CUBIC].map(|value| V::splat(V::Element::from_f64(value)));
    // NaN stays, because it is the second operand.
    let size = V::splat(V::Element::from_f64(NORMAL_MOST)).min(x.abs());
    let power = exp2_of_negative(size.mul(size).mul_add(cubic, linear).mul(size));
    let lost = V::zero().sub(power.mul(one.add(power).reciprocal()));
    size.mul_add(lost, V::zero().max(x))
}

/// x sigmoid(x).
#[inline(always)]
pub(crate) fn silu<V: Vector>(x: V) -> V {
    let x = at_least(SIGMOID_LEAST, x);
    x.mul(sigmoid(x))
}

/// max(x, 0)^2.
#[inline(always)]
pub(crate) fn relu_squared<V: Vector>(x: V) -> V {
    let positive = x.relu();
    positive.mul(positive)
}

/// NaN stays, because it is the second operand.
#[inline(always)]
fn at_least<V: Vector>(least: f64, x: V) -> V {
    V::splat(V::Element::from_f64(least)).max(x)
}
