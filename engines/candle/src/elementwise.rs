//! Everything that sees one element at a time: functions of one and two arguments, masks, selections.
//!
//! Functions that candle has with the right limits are candle's. Those that it has not, or that lose a NaN or a limit (its relu makes
//! 0 of NaN, its silu NaN of minus infinity), are a kernel of ours on the CPU. On other devices and in training they are put together
//! of candle's functions, by forms whose values and gradients are exact (candle's own GELU gradient has constants of six digits).

use candle_core::Tensor;
use crossover_core::activation::{Activation, GELU_TANH_CUBIC, GELU_TANH_SCALE};
use crossover_core::elementary;
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::{BinaryOp, UnaryOp};

use crate::backend::{Engine, NAME};
use crate::error::During;
use crate::kernel::{Real, elements, in_type_of};

impl Engine {
    /// A function of every element, in the type of x. The result shares no storage with x.
    pub(crate) fn map(&self, op: UnaryOp, x: &Tensor) -> Result<Tensor> {
        if let Some(result) = self.function_of_candle(op, x) {
            return result.during("unary");
        }
        if self.fused() {
            let x = x.contiguous().during("unary")?;
            return self.workers.run(|| in_type_of!(x, R => elements(name(op), &x, function::<R>(op)))).during("unary");
        }
        if let UnaryOp::ExpTable { .. } = op {
            let reason = "a table is constant between its entries, so that training would see no slope";
            return Err(EngineError::Unsupported { engine: NAME, operation: "exponential by a table".into(), reason: reason.into() });
        }
        composed(op, x).during("unary")
    }

    /// Where candle has exactly this function.
    fn function_of_candle(&self, op: UnaryOp, x: &Tensor) -> Option<candle_core::Result<Tensor>> {
        let function: fn(&Tensor) -> candle_core::Result<Tensor> = match op {
            UnaryOp::Exp => Tensor::exp,
            UnaryOp::Log => Tensor::log,
            UnaryOp::Sqrt => Tensor::sqrt,
            UnaryOp::Reciprocal => Tensor::recip,
            UnaryOp::Square => Tensor::sqr,
            UnaryOp::Abs => Tensor::abs,
            UnaryOp::Negate => Tensor::neg,
            UnaryOp::Cos => Tensor::cos,
            UnaryOp::Sin => Tensor::sin,
            UnaryOp::Tanh => Tensor::tanh,
            UnaryOp::Affine { scale, shift } => return Some(x.affine(scale, shift)),
            // A copy, because results never share a storage.
            UnaryOp::Activation(Activation::None) => return Some(x.force_contiguous()),
            _ => return None,
        };
        Some(self.unary_of_candle(x, function))
    }

    /// A function of two tensors of one shape.
    pub(crate) fn zip(&self, op: BinaryOp, a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
        let by = |function: fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>| self.binary_of_candle(a, b, function);
        match op {
            BinaryOp::Add => by(Tensor::add),
            BinaryOp::Subtract => by(Tensor::sub),
            BinaryOp::Multiply => by(Tensor::mul),
            BinaryOp::Divide => by(Tensor::div),
            // candle keeps a NaN of the first argument only.
            BinaryOp::Maximum => b.ne(b)?.where_cond(b, &by(|a, b| a.maximum(b))?),
            BinaryOp::Minimum => b.ne(b)?.where_cond(b, &by(|a, b| a.minimum(b))?),
            BinaryOp::Equal => a.eq(b)?.to_dtype(a.dtype()),
            BinaryOp::Less => a.lt(b)?.to_dtype(a.dtype()),
        }
    }

    /// x where the condition (u8, 0 or 1, broadcastable) holds, else a number.
    pub(crate) fn where_or(&self, condition: &Tensor, x: &Tensor, otherwise: f64) -> candle_core::Result<Tensor> {
        let otherwise = self.constant(otherwise, x)?;
        condition.broadcast_as(x.shape())?.where_cond(x, &otherwise)
    }

    /// A number as a tensor like another one, without its elements standing in memory.
    pub(crate) fn constant(&self, value: f64, like: &Tensor) -> candle_core::Result<Tensor> {
        Tensor::full(value, (), &self.device)?.to_dtype(like.dtype())?.broadcast_as(like.shape())
    }
}

fn name(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Activation(activation) => activation.name(),
        UnaryOp::Sigmoid => "sigmoid",
        UnaryOp::EluPlusOne => "elu + 1",
        _ => "exponential",
    }
}

/// The kernels. The choice is made once for each element, which the compiler hoists out of the loop over a row.
fn function<R: Real>(op: UnaryOp) -> impl Fn(R) -> R + Sync + Send {
    move |x: R| match op {
        UnaryOp::Activation(activation) => activate(activation, x),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::EluPlusOne if x > R::ZERO => x + R::ONE,
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::ExpPolynomial { degree } => R::from_f64(elementary::exp_polynomial(x.to_f64(), degree)),
        UnaryOp::ExpTable { bits } => R::from_f64(elementary::exp_table(x.to_f64(), bits)),
        UnaryOp::ExpTaylor { degree } => R::from_f64(elementary::exp_taylor(x.to_f64(), degree)),
        // elu + 1 below 0; everything else is candle's.
        _ => x.exp(),
    }
}

fn activate<R: Real>(activation: Activation, x: R) -> R {
    match activation {
        Activation::None => x,
        Activation::Relu => relu(x),
        Activation::Gelu => gated(x, R::from_f64(0.5) * (-x * R::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erfc()),
        Activation::GeluTanh => {
            let inner = R::from_f64(GELU_TANH_SCALE) * (x + R::from_f64(GELU_TANH_CUBIC) * x * x * x);
            gated(x, sigmoid(inner + inner))
        }
        Activation::Silu => gated(x, sigmoid(x)),
        Activation::ReluSquared => relu(x) * relu(x),
        Activation::Sigmoid => sigmoid(x),
    }
}

fn relu<R: Real>(x: R) -> R {
    if x < R::ZERO { R::ZERO } else { x }
}

/// x times a gate in 0..1; minus infinity times a closed gate is 0, the limit.
fn gated<R: Real>(x: R, gate: R) -> R {
    if gate == R::ZERO { R::ZERO } else { x * gate }
}

/// From the side where the exponential does not overflow.
fn sigmoid<R: Real>(x: R) -> R {
    if x >= R::ZERO {
        R::ONE / (R::ONE + (-x).exp())
    } else {
        let e = x.exp();
        e / (R::ONE + e)
    }
}

/// The same out of candle's functions.
fn composed(op: UnaryOp, x: &Tensor) -> candle_core::Result<Tensor> {
    match op {
        UnaryOp::Activation(activation) => activation_of(activation, x),
        UnaryOp::Sigmoid => sigmoid_of(x),
        // max(x, 0) is 0 where the exponential counts, and the exponential of min(x, 0) is 1 where the line does.
        UnaryOp::EluPlusOne => x.maximum(0f64)?.add(&x.minimum(0f64)?.exp()?),
        UnaryOp::Exp2 => x.affine(std::f64::consts::LN_2, 0.0)?.exp(),
        UnaryOp::ExpPolynomial { degree } => {
            let y = x.affine(std::f64::consts::LOG2_E, 0.0)?;
            let exponent = y.round()?;
            let significand = polynomial(&y.sub(&exponent)?, std::f64::consts::LN_2, degree)?;
            significand.mul(&exponent.affine(std::f64::consts::LN_2, 0.0)?.exp()?)
        }
        UnaryOp::ExpTaylor { degree } => polynomial(x, 1.0, degree),
        _ => x.exp(),
    }
}

/// The Taylor polynomial of e^(rate x) by Horner's rule.
fn polynomial(x: &Tensor, rate: f64, degree: u32) -> candle_core::Result<Tensor> {
    let degree = degree.clamp(1, elementary::MAX_DEGREE);
    let coefficient = |k: u32| (1..=k).fold(1.0, |term, j| term * rate / f64::from(j));
    let mut sum = x.affine(coefficient(degree), coefficient(degree - 1))?;
    for k in (0..degree.saturating_sub(1)).rev() {
        sum = sum.mul(x)?.affine(1.0, coefficient(k))?;
    }
    Ok(sum)
}

fn activation_of(activation: Activation, x: &Tensor) -> candle_core::Result<Tensor> {
    match activation {
        Activation::None => x.force_contiguous(),
        // Not candle's relu: it makes 0 of NaN.
        Activation::Relu => x.maximum(0f64),
        Activation::Gelu => gate_of(x, &x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.0)?.erf()?.affine(0.5, 0.5)?),
        Activation::GeluTanh => {
            let cubic = x.sqr()?.affine(GELU_TANH_CUBIC, 1.0)?.mul(x)?;
            gate_of(x, &sigmoid_of(&cubic.affine(2.0 * GELU_TANH_SCALE, 0.0)?)?)
        }
        Activation::Silu => gate_of(x, &sigmoid_of(x)?),
        Activation::ReluSquared => x.maximum(0f64)?.sqr(),
        Activation::Sigmoid => sigmoid_of(x),
    }
}

/// x times a gate, 0 where the gate is closed.
fn gate_of(x: &Tensor, gate: &Tensor) -> candle_core::Result<Tensor> {
    gate.ne(&gate.zeros_like()?)?.where_cond(&x.mul(gate)?, gate)
}

/// Clamped where e^-x would overflow, because the gradient would then be 0 times infinity.
fn sigmoid_of(x: &Tensor) -> candle_core::Result<Tensor> {
    let lowest = if x.dtype() == candle_core::DType::F64 { -350.0 } else { -43.0 };
    x.maximum(lowest)?.neg()?.exp()?.affine(1.0, 1.0)?.recip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn kernels_and_compositions_agree() {
        let values: Vec<f64> = (-400..=400).map(|step| f64::from(step) * 0.05).collect();
        let x = Tensor::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        let activations = Activation::ALL.into_iter().map(UnaryOp::Activation);
        let others = [UnaryOp::Exp2, UnaryOp::EluPlusOne, UnaryOp::ExpPolynomial { degree: 5 }, UnaryOp::ExpTaylor { degree: 4 }];
        for op in activations.chain(others) {
            let composed = composed(op, &x).unwrap().to_vec1::<f64>().unwrap();
            for (&x, composed) in values.iter().zip(composed) {
                let own = function::<f64>(op)(x);
                // Where the exponent is a tie, the two round it to different sides: the polynomials differ by their own error.
                let slack = if matches!(op, UnaryOp::ExpPolynomial { .. }) { 1e-5 } else { 1e-13 };
                assert!((own - composed).abs() <= slack * own.abs().max(1.0), "{op:?} at {x}: {own} and {composed}");
            }
        }
    }
}
