//! The two kinds of numbers that engines in main memory work with: [`Real`], in which everything is computed, and [`Element`], as it
//! stands in memory. What a number is rounded to is one definition for all of them; how fast it is done is an engine's own matter.
//!
//! `load` widens exactly and `store` rounds once, to nearest with ties to even. (Two loads are not exact and are refused before they
//! happen: f64 under an f32 compute type, and i32 as an operand of arithmetic.) Elementary functions come from the `libm` crate: the
//! system's own may differ from machine to machine in the last bit. The square root, which every machine rounds correctly, does not.

use std::ops::{Add, Div, Mul, Neg, Sub};

use half::{bf16, f16};

use crate::dtype::DType;

/// A compute type: f32 or f64.
pub trait Real:
    Copy + PartialOrd + Neg<Output = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The lowest finite number.
    const LOWEST: Self;
    /// Below every number.
    const NEG_INFINITY: Self;

    /// Rounded once.
    fn from_f64(value: f64) -> Self;
    /// Exactly.
    fn from_f32(value: f32) -> Self;
    /// Exactly.
    fn to_f64(self) -> f64;
    /// Rounded once, if at all.
    fn to_f32(self) -> f32;
    /// Rounded once.
    fn to_bf16(self) -> bf16;
    /// Rounded once.
    fn to_f16(self) -> f16;
    /// e^x.
    fn exp(self) -> Self;
    /// 2^x.
    fn exp2(self) -> Self;
    /// Natural logarithm.
    fn log(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// 1 - erf(x), without cancellation.
    fn erfc(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Is it no number?
    fn is_nan(self) -> bool;

    /// The larger; NaN if either is.
    fn larger(self, other: Self) -> Self {
        if other > self || other.is_nan() { other } else { self }
    }

    /// The smaller; NaN if either is.
    fn smaller(self, other: Self) -> Self {
        if other < self || other.is_nan() { other } else { self }
    }
}

/// A type of elements in memory.
pub trait Element: Copy {
    /// Its value, widened.
    fn load<R: Real>(self) -> R;
    /// Rounded once.
    fn store<R: Real>(value: R) -> Self;
}

impl Element for f64 {
    #[inline]
    fn load<R: Real>(self) -> R {
        R::from_f64(self)
    }
    #[inline]
    fn store<R: Real>(value: R) -> Self {
        value.to_f64()
    }
}

impl Element for f32 {
    #[inline]
    fn load<R: Real>(self) -> R {
        R::from_f32(self)
    }
    #[inline]
    fn store<R: Real>(value: R) -> Self {
        value.to_f32()
    }
}

impl Element for bf16 {
    #[inline]
    fn load<R: Real>(self) -> R {
        R::from_f32(self.to_f32())
    }
    #[inline]
    fn store<R: Real>(value: R) -> Self {
        value.to_bf16()
    }
}

impl Element for f16 {
    #[inline]
    fn load<R: Real>(self) -> R {
        R::from_f32(self.to_f32())
    }
    #[inline]
    fn store<R: Real>(value: R) -> Self {
        value.to_f16()
    }
}

impl Element for i32 {
    #[inline]
    fn load<R: Real>(self) -> R {
        R::from_f64(f64::from(self))
    }
    #[inline]
    fn store<R: Real>(value: R) -> Self {
        DType::I32.round(value.to_f64()) as i32
    }
}

/// What f32 and f64 have in common but for the names.
macro_rules! real {
    ($float:ident, $exp:ident, $exp2:ident, $log:ident, $cos:ident, $sin:ident, $tanh:ident, $erfc:ident) => {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
        const LOWEST: Self = $float::MIN;
        const NEG_INFINITY: Self = $float::NEG_INFINITY;

        #[inline]
        fn exp(self) -> Self {
            libm::$exp(self)
        }
        #[inline]
        fn exp2(self) -> Self {
            libm::$exp2(self)
        }
        #[inline]
        fn log(self) -> Self {
            libm::$log(self)
        }
        #[inline]
        fn sqrt(self) -> Self {
            // An instruction of the function around it: libm's is assembly in the encoding before AVX, for which Intel's processors wait some
            // 250 ns where wide registers are in use.
            $float::sqrt(self)
        }
        #[inline]
        fn cos(self) -> Self {
            libm::$cos(self)
        }
        #[inline]
        fn sin(self) -> Self {
            libm::$sin(self)
        }
        #[inline]
        fn tanh(self) -> Self {
            libm::$tanh(self)
        }
        #[inline]
        fn erfc(self) -> Self {
            libm::$erfc(self)
        }
        #[inline]
        fn abs(self) -> Self {
            $float::abs(self)
        }
        #[inline]
        fn is_nan(self) -> bool {
            $float::is_nan(self)
        }
    };
}

impl Real for f32 {
    real!(f32, expf, exp2f, logf, cosf, sinf, tanhf, erfcf);

    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    #[inline]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline]
    fn to_bf16(self) -> bf16 {
        bf16::from_f32(self)
    }
    #[inline]
    fn to_f16(self) -> f16 {
        f16::from_f32(self)
    }
}

impl Real for f64 {
    real!(f64, exp, exp2, log, cos, sin, tanh, erfc);

    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline]
    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }
    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline]
    fn to_f32(self) -> f32 {
        self as f32
    }
    // One rounding from f64, which the core does right; the rest is exact. (By way of f32 there would be two.)
    #[inline]
    fn to_bf16(self) -> bf16 {
        bf16::from_f32(DType::Bf16.round(self) as f32)
    }
    #[inline]
    fn to_f16(self) -> f16 {
        f16::from_f32(DType::F16.round(self) as f32)
    }
}
