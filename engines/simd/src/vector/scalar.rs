//! One lane: the path of last resort, and the one that Miri can run.

use super::{Lanes, Vector};

/// A vector of one element.
#[derive(Clone, Copy)]
pub(crate) struct Scalar<E>(pub(super) E);

impl<E: Lanes> Vector for Scalar<E> {
    type Element = E;
    const LANES: usize = 1;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(value: E) -> Self {
        Self(value)
    }
    #[inline(always)]
    unsafe fn load(from: *const E) -> Self {
        // SAFETY: promised by the caller.
        Self(unsafe { from.read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut E) {
        // SAFETY: promised by the caller.
        unsafe { to.write(self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const E, count: usize) -> Self {
        // SAFETY: promised by the caller for count = 1.
        if count == 0 { Self(E::ZERO) } else { Self(unsafe { from.read() }) }
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut E, count: usize) {
        if count > 0 {
            // SAFETY: promised by the caller for count = 1.
            unsafe { to.write(self.0) }
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }
    /// With two roundings: a fused one would be a call into a library on most baselines.
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Self(self.0 * factor.0 + summand.0)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self.0 > other.0 { self } else { other }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.nearest_whole())
    }
    #[inline(always)]
    fn scale_by_power(self, exponent: Self) -> Self {
        Self(self.0.times_power(exponent.0))
    }
    #[inline(always)]
    fn largest(self) -> E {
        self.0
    }
    #[inline(always)]
    fn relu(self) -> Self {
        if self.0 < E::ZERO { Self(E::ZERO) } else { self }
    }
    #[inline(always)]
    fn sum(self) -> E {
        self.0
    }
}
