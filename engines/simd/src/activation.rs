//! Activations on vectors: what products apply to a finished tile, and what elementwise operations apply to a tensor.
//!
//! Gated ones are x times a gate in [0, 1]: x is first raised to where the gate is 0 already, so that minus infinity times a closed gate
//! is 0, the limit, and no NaN. Their errors are those of the gates (`vector/sigmoid.rs`, `vector/normal.rs`) and one unit.

use crossover_core::activation::{Activation, GELU_TANH_CUBIC, GELU_TANH_SCALE};

use crate::element::Real;
use crate::vector::{Vector, normal_below, sigmoid};

/// Below it e^x is 0 in every type.
const SIGMOID_LEAST: f64 = -760.0;
/// Below it the normal distribution and its approximation by tanh are 0 in every type.
const NORMAL_LEAST: f64 = -40.0;

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

/// x Phi(x).
#[inline(always)]
pub(crate) fn gelu<V: Vector>(x: V) -> V {
    let x = at_least(NORMAL_LEAST, x);
    x.mul(normal_below(x))
}

/// x (1 + tanh y) / 2 = x sigmoid(2 y), without the cancellation.
#[inline(always)]
pub(crate) fn gelu_tanh<V: Vector>(x: V) -> V {
    let x = at_least(NORMAL_LEAST, x);
    let [scale, cubic] = [2.0 * GELU_TANH_SCALE, GELU_TANH_CUBIC].map(|value| V::splat(V::Element::from_f64(value)));
    let inner = scale.mul(x.mul(x).mul(x).mul_add(cubic, x));
    x.mul(sigmoid(inner))
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
