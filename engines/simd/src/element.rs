//! The two kinds of numbers: [`Real`], in which everything is computed, and [`Element`], as it stands in memory.
//!
//! `load` widens exactly and `store` rounds once, to nearest with ties to even. (Two loads are not exact and are refused before they
//! happen: f64 under an f32 compute type, and i32 as an operand of arithmetic.) Elementary functions come from the `libm` crate: the
//! system's own may differ from machine to machine in the last bit.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crossover_core::dtype::DType;
use half::{bf16, f16};

use crate::buffer::SimdBuffer;

/// A compute type: f32 or f64.
pub(crate) trait Real:
    Copy + PartialOrd + Neg<Output = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    const ZERO: Self;
    const ONE: Self;
    /// The lowest finite number.
    const LOWEST: Self;
    const NEG_INFINITY: Self;

    fn from_f64(value: f64) -> Self;
    fn from_f32(value: f32) -> Self;
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    fn to_bf16(self) -> bf16;
    fn to_f16(self) -> f16;

    fn log(self) -> Self;
    fn sqrt(self) -> Self;
    fn cos(self) -> Self;
    fn sin(self) -> Self;
    fn tanh(self) -> Self;
    fn abs(self) -> Self;
    fn is_nan(self) -> bool;

    /// This type.
    const DTYPE: DType;

    /// The elements of a buffer of this very type.
    fn slice(buffer: &SimdBuffer) -> Option<&[Self]>;
    /// Likewise, to write.
    fn slice_mut(buffer: &mut SimdBuffer) -> Option<&mut [Self]>;

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
pub(crate) trait Element: Copy {
    fn load<R: Real>(self) -> R;
    fn store<R: Real>(value: R) -> Self;
}

impl Element for f64 {
    fn load<R: Real>(self) -> R {
        R::from_f64(self)
    }
    fn store<R: Real>(value: R) -> Self {
        value.to_f64()
    }
}

impl Element for f32 {
    fn load<R: Real>(self) -> R {
        R::from_f32(self)
    }
    fn store<R: Real>(value: R) -> Self {
        value.to_f32()
    }
}

impl Element for bf16 {
    fn load<R: Real>(self) -> R {
        R::from_f32(self.to_f32())
    }
    fn store<R: Real>(value: R) -> Self {
        value.to_bf16()
    }
}

impl Element for f16 {
    fn load<R: Real>(self) -> R {
        R::from_f32(self.to_f32())
    }
    fn store<R: Real>(value: R) -> Self {
        value.to_f16()
    }
}

impl Element for i32 {
    fn load<R: Real>(self) -> R {
        R::from_f64(f64::from(self))
    }
    fn store<R: Real>(value: R) -> Self {
        DType::I32.round(value.to_f64()) as i32
    }
}

/// What f32 and f64 have in common but for the names.
macro_rules! real {
    ($float:ident, $arm:ident, $log:ident, $sqrt:ident, $cos:ident, $sin:ident, $tanh:ident) => {
        const ZERO: Self = 0.0;
        const ONE: Self = 1.0;
        const LOWEST: Self = $float::MIN;
        const NEG_INFINITY: Self = $float::NEG_INFINITY;

        fn log(self) -> Self {
            libm::$log(self)
        }
        fn sqrt(self) -> Self {
            libm::$sqrt(self)
        }
        fn cos(self) -> Self {
            libm::$cos(self)
        }
        fn sin(self) -> Self {
            libm::$sin(self)
        }
        fn tanh(self) -> Self {
            libm::$tanh(self)
        }
        fn abs(self) -> Self {
            $float::abs(self)
        }
        fn is_nan(self) -> bool {
            $float::is_nan(self)
        }
        const DTYPE: DType = DType::$arm;

        fn slice(buffer: &SimdBuffer) -> Option<&[Self]> {
            match buffer {
                SimdBuffer::$arm(values) => Some(values),
                _ => None,
            }
        }
        fn slice_mut(buffer: &mut SimdBuffer) -> Option<&mut [Self]> {
            match buffer {
                SimdBuffer::$arm(values) => Some(values),
                _ => None,
            }
        }
    };
}

impl Real for f32 {
    real!(f32, F32, logf, sqrtf, cosf, sinf, tanhf);

    fn from_f64(value: f64) -> Self {
        value as Self
    }
    fn from_f32(value: f32) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn to_bf16(self) -> bf16 {
        bf16::from_f32(self)
    }
    fn to_f16(self) -> f16 {
        f16::from_f32(self)
    }
}

impl Real for f64 {
    real!(f64, F64, log, sqrt, cos, sin, tanh);

    fn from_f64(value: f64) -> Self {
        value
    }
    fn from_f32(value: f32) -> Self {
        Self::from(value)
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn to_f32(self) -> f32 {
        self as f32
    }
    // One rounding from f64, which the core does right; the rest is exact. (By way of f32 there would be two.)
    fn to_bf16(self) -> bf16 {
        bf16::from_f32(DType::Bf16.round(self) as f32)
    }
    fn to_f16(self) -> f16 {
        f16::from_f32(DType::F16.round(self) as f32)
    }
}
