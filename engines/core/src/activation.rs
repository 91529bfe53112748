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
}

impl Activation {
    /// All of them, in the order of documentation.
    pub const ALL: [Self; 5] = [Self::None, Self::Relu, Self::Gelu, Self::GeluTanh, Self::Silu];

    /// The name used as an axis value.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::Silu => "silu",
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
            // `max` would turn NaN into 0.
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            // erfc keeps the relative accuracy of the far negative tail, where 1 + erf cancels.
            Self::Gelu => gated(x, 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x * x * x);
                // 0.5 (1 + tanh(y)) = sigmoid(2 y), without the cancellation.
                gated(x, sigmoid(2.0 * inner))
            }
            Self::Silu => gated(x, sigmoid(x)),
        }
    }

    /// The steepest slope anywhere: how much an error in the argument can grow.
    pub fn lipschitz(self) -> f64 {
        match self {
            Self::None | Self::Relu => 1.0,
            Self::Gelu | Self::GeluTanh => 1.13,
            Self::Silu => 1.1,
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
    }

    #[test]
    fn extremes_are_limits_and_nan_stays() {
        for activation in Activation::ALL {
            assert!(activation.apply(f64::NAN).is_nan(), "{activation}");
            assert_eq!(activation.apply(f64::INFINITY), f64::INFINITY, "{activation}");
            if activation != Activation::None {
                assert_eq!(activation.apply(f64::NEG_INFINITY).abs(), 0.0, "{activation}");
            }
        }
    }

    #[test]
    fn slopes_stay_below_the_stated_bound() {
        for activation in Activation::ALL {
            let steepest = (-6000..6000)
                .map(|step| f64::from(step) * 1e-3)
                .map(|x| (activation.apply(x + 1e-3) - activation.apply(x)).abs() / 1e-3)
                .fold(0.0, f64::max);
            assert!(steepest <= activation.lipschitz() + 1e-9, "{activation}: {steepest}");
        }
    }
}
