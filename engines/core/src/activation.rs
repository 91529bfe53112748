//! Activation functions: their names and their f64 definitions, which every engine is held to.

use std::fmt;

/// An elementwise non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The identity.
    None,
    /// max(x, 0).
    Relu,
    /// x Phi(x) with the exact normal distribution (erf).
    Gelu,
    /// The tanh approximation of GELU (Hendrycks and Gimpel, 2016, section 2).
    GeluTanh,
    /// x sigmoid(x).
    Silu,
    /// max(x, 0)^2 (So et al. 2021).
    ReluSquared,
    /// 1 / (1 + e^-x).
    Sigmoid,
}

impl Activation {
    /// All of them, in the order of documentation.
    pub const ALL: [Self; 7] = [Self::None, Self::Relu, Self::Gelu, Self::GeluTanh, Self::Silu, Self::ReluSquared, Self::Sigmoid];

    /// The name used as an axis value.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::Silu => "silu",
            Self::ReluSquared => "relu-squared",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// The activation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }

    /// Its value in f64.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            Self::Relu => relu(x),
            // erfc keeps the relative accuracy of the far negative tail, where 1 + erf cancels.
            Self::Gelu => gated(x, 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x * x * x);
                // 0.5 (1 + tanh(y)) = sigmoid(2 y), without the cancellation.
                gated(x, sigmoid(2.0 * inner))
            }
            Self::Silu => gated(x, sigmoid(x)),
            Self::ReluSquared => relu(x) * relu(x),
            Self::Sigmoid => sigmoid(x),
        }
    }

    /// The steepest slope within `reach` of an argument: how much an error of that size can grow.
    pub fn steepest(self, x: f64, reach: f64) -> f64 {
        match self {
            Self::None | Self::Relu => 1.0,
            Self::Gelu | Self::GeluTanh => 1.13,
            Self::Silu => 1.1,
            // The only one without a bound of its own.
            Self::ReluSquared => 2.0 * (x + reach).max(0.0),
            Self::Sigmoid => 0.25,
        }
    }

    /// Error of evaluating it with unit roundoff `u`, at an argument of at most this magnitude, where it has this value.
    pub fn evaluation_error(self, magnitude: f64, value: f64, u: f64) -> f64 {
        match self {
            Self::None => 0.0,
            // x times a gate: the gate is good to a few units, whatever its value.
            Self::Relu | Self::Gelu | Self::GeluTanh | Self::Silu => 8.0 * u * magnitude.min(value.abs() + 16.0),
            Self::ReluSquared => 2.0 * u * value.abs(),
            Self::Sigmoid => 8.0 * u * value.abs(),
        }
    }

    /// Operations counted for one element by the cost model: comparisons and transcendental calls count once each.
    pub fn flops(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Relu => 1,
            Self::Gelu => 4,
            Self::GeluTanh => 8,
            Self::Silu => 4,
            Self::ReluSquared => 2,
            Self::Sigmoid => 3,
        }
    }
}

/// sqrt(2 / pi).
pub const GELU_TANH_SCALE: f64 = 0.797_884_560_802_865_4;
/// The cubic coefficient of the tanh approximation.
pub const GELU_TANH_CUBIC: f64 = 0.044715;

/// x times a gate in [0, 1]; minus infinity times a closed gate is 0, the limit.
fn gated(x: f64, gate: f64) -> f64 {
    if gate == 0.0 { 0.0 } else { x * gate }
}

/// `max` would turn NaN into 0.
fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Phi(1) = 0.841344746068543, sigmoid(1) = 0.731058578630005.
        assert!((Activation::Gelu.apply(1.0) - 0.841344746068543).abs() < 1e-15);
        assert!((Activation::Silu.apply(1.0) - 0.731058578630005).abs() < 1e-15);
        assert!((Activation::GeluTanh.apply(1.0) - 0.841191990608276).abs() < 1e-14);
        assert_eq!(Activation::Relu.apply(-2.0), 0.0);
        assert_eq!([-2.0, 0.0, 1.5].map(|x| Activation::ReluSquared.apply(x)), [0.0, 0.0, 2.25]);
        assert!((Activation::Sigmoid.apply(1.0) - 0.731058578630005).abs() < 1e-15);
        assert!((Activation::Sigmoid.apply(-1.0) - 0.268941421369995).abs() < 1e-15);
    }

    #[test]
    fn names_come_back() {
        for activation in Activation::ALL {
            assert_eq!(Activation::from_name(activation.name()), Some(activation));
        }
        assert_eq!(Activation::from_name("relu2"), None);
    }

    #[test]
    fn extremes_are_limits_and_nan_stays() {
        for activation in Activation::ALL {
            assert!(activation.apply(f64::NAN).is_nan(), "{activation}");
            let most = if activation == Activation::Sigmoid { 1.0 } else { f64::INFINITY };
            assert_eq!(activation.apply(f64::INFINITY), most, "{activation}");
            if activation != Activation::None {
                assert_eq!(activation.apply(f64::NEG_INFINITY).abs(), 0.0, "{activation}");
            }
        }
    }

    #[test]
    fn slopes_stay_below_the_stated_bound() {
        for activation in Activation::ALL {
            for x in (-6000..6000).map(|step| f64::from(step) * 1e-3) {
                let slope = (activation.apply(x + 1e-3) - activation.apply(x)).abs() / 1e-3;
                assert!(slope <= activation.steepest(x, 1e-3) + 1e-9, "{activation} at {x}: {slope}");
            }
        }
    }
}
