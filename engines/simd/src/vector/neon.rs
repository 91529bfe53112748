//! 128-bit vectors of aarch64, which every such processor has.

use std::arch::aarch64::*;

use super::Vector;

macro_rules! neon {
    ($(#[$doc:meta])* $name:ident, $element:ty, $register:ty, $lanes:expr, $dup:ident, $load:ident, $store:ident, $add:ident, $sub:ident,
     $mul:ident, $div:ident, $fma:ident, $less:ident, $select:ident, $sum:ident, $largest:ident, $round:ident,
     $to_whole:ident, $halve:ident, $whole_sub:ident, $whole_add:ident, $whole_dup:ident, $shift:ident, $bits:expr, $bias:expr, $from_bits:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(super) $register);

        impl Vector for $name {
            type Element = $element;
            const LANES: usize = $lanes;
            const REGISTERS: usize = 32;

            #[inline(always)]
            fn splat(value: $element) -> Self {
                // SAFETY: every aarch64 processor has these instructions.
                Self(unsafe { $dup(value) })
            }
            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: as above; readable by the caller's promise.
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: as above; writable by the caller's promise.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $element, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the first `count` are readable by the caller's promise, and fit.
                unsafe {
                    std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
                    Self::load(lanes.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $element, count: usize) {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the first `count` are writable by the caller's promise.
                unsafe {
                    self.store(lanes.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
                }
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $div(self.0, other.0) })
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, summand: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $fma(summand.0, self.0, factor.0) })
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $select($less(other.0, self.0), self.0, other.0) })
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $select($less(self.0, other.0), self.0, other.0) })
            }
            #[inline(always)]
            fn round(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $round(self.0) })
            }
            #[inline(always)]
            fn scale_by_power(self, exponent: Self) -> Self {
                // In two factors, each of which is a number: 2^n is none for the exponents of subnormal results.
                // SAFETY: as above.
                unsafe {
                    let whole = $to_whole(exponent.0);
                    let first = $halve::<1>(whole);
                    let power = |n| $from_bits($shift::<$bits>($whole_add(n, $whole_dup($bias))));
                    Self($mul($mul(self.0, power(first)), power($whole_sub(whole, first))))
                }
            }
            #[inline(always)]
            fn largest(self) -> $element {
                // SAFETY: as above.
                unsafe { $largest(self.0) }
            }
            #[inline(always)]
            fn relu(self) -> Self {
                // SAFETY: as above.
                unsafe {
                    let zero = $dup(0.0);
                    Self($select($less(self.0, zero), zero, self.0))
                }
            }
            #[inline(always)]
            fn sum(self) -> $element {
                // SAFETY: as above.
                unsafe { $sum(self.0) }
            }
        }
    };
}

neon!(
    /// 4 singles.
    NeonF32, f32, float32x4_t, 4, vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vdivq_f32, vfmaq_f32, vcltq_f32,
    vbslq_f32, vaddvq_f32, vmaxvq_f32, vrndnq_f32, vcvtq_s32_f32, vshrq_n_s32, vsubq_s32, vaddq_s32, vdupq_n_s32, vshlq_n_s32, 23, 127,
    vreinterpretq_f32_s32
);
neon!(
    /// 2 doubles.
    NeonF64, f64, float64x2_t, 2, vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vsubq_f64, vmulq_f64, vdivq_f64, vfmaq_f64, vcltq_f64,
    vbslq_f64, vaddvq_f64, vmaxvq_f64, vrndnq_f64, vcvtq_s64_f64, vshrq_n_s64, vsubq_s64, vaddq_s64, vdupq_n_s64, vshlq_n_s64, 52, 1023,
    vreinterpretq_f64_s64
);
