//! Choices and bits, lane by lane: what elementary functions need beside arithmetic.
//!
//! In a trait of its own, so that the files of the instruction sets keep to loads, stores and arithmetic. The exponent of a number is read
//! by a trick that every vector has the instructions for: the exponent's bits, put under those of 2^23 (2^52), are the number 2^23 + e.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::{Lanes, Scalar};

/// What a vector can do without a look at other lanes.
pub(crate) trait Choose: Copy {
    /// The first `count` lanes of self, and the others of `other`.
    fn first_or(self, count: usize, other: Self) -> Self;
    /// `yes` where self < than, `no` elsewhere (also where one of them is NaN).
    fn where_less(self, than: Self, yes: Self, no: Self) -> Self;
    /// `yes` where self == to, `no` elsewhere.
    fn where_equal(self, to: Self, yes: Self, no: Self) -> Self;
    /// Without the sign.
    fn abs(self) -> Self;
    /// self, which has no sign, with the sign of `other`.
    fn with_sign_of(self, other: Self) -> Self;
    /// The square root, rounded once.
    fn sqrt(self) -> Self;
    /// 1 / self to about a unit in the last place, for numbers that are neither tiny nor huge.
    fn reciprocal(self) -> Self;
    /// e and m in [1, 2) with self = m 2^e, for positive normal numbers; anything else gives anything.
    fn split(self) -> (Self, Self);
}

impl<E: Lanes> Choose for Scalar<E> {
    #[inline(always)]
    fn first_or(self, count: usize, other: Self) -> Self {
        if count > 0 { self } else { other }
    }
    #[inline(always)]
    fn where_less(self, than: Self, yes: Self, no: Self) -> Self {
        if self.0 < than.0 { yes } else { no }
    }
    #[inline(always)]
    fn where_equal(self, to: Self, yes: Self, no: Self) -> Self {
        if self.0 == to.0 { yes } else { no }
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }
    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        Self(if other.0.to_f64().is_sign_negative() { -self.0 } else { self.0 })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }
    #[inline(always)]
    fn reciprocal(self) -> Self {
        Self(E::ONE / self.0)
    }
    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let (half, exponent) = libm::frexp(self.0.to_f64());
        (Self(E::from_f64(f64::from(exponent - 1))), Self(E::from_f64(2.0 * half)))
    }
}
