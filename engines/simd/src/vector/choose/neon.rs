//! Of the vectors of aarch64.

use std::arch::aarch64::*;

use super::Choose;
use crate::vector::Vector;
use crate::vector::neon::{NeonF32, NeonF64};

macro_rules! neon {
    ($name:ident, $lanes:expr, $less:ident, $equal:ident, $select:ident, $abs:ident, $sqrt:ident, $div:ident, $sub:ident, $dup:ident, $dup_bits:ident,
     $to_bits:ident, $from_bits:ident, $shift:ident, $and:ident, $or:ident, $below:expr, $sign:expr, $upper:expr, $bias:expr, $fraction:expr,
     $one:expr) => {
        impl Choose for $name {
            #[inline(always)]
            fn first_or(self, count: usize, other: Self) -> Self {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the array has room for the lanes, of which there are at least `count`.
                unsafe {
                    other.store(lanes.as_mut_ptr());
                    self.store_first(lanes.as_mut_ptr(), count);
                    Self::load(lanes.as_ptr())
                }
            }
            #[inline(always)]
            fn where_less(self, than: Self, yes: Self, no: Self) -> Self {
                // SAFETY: every aarch64 processor has these instructions.
                Self(unsafe { $select($less(self.0, than.0), yes.0, no.0) })
            }
            #[inline(always)]
            fn where_equal(self, to: Self, yes: Self, no: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $select($equal(self.0, to.0), yes.0, no.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $abs(self.0) })
            }
            #[inline(always)]
            fn with_sign_of(self, other: Self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $select($dup_bits($sign), other.0, self.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn reciprocal(self) -> Self {
                // SAFETY: as above.
                Self(unsafe { $div($dup(1.0), self.0) })
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                // SAFETY: as above.
                unsafe {
                    let bits = $to_bits(self.0);
                    let exponent = $from_bits($or($shift::<$below>(bits), $dup_bits($upper)));
                    let significand = $from_bits($or($and(bits, $dup_bits($fraction)), $dup_bits($one)));
                    (Self($sub(exponent, $dup($bias))), Self(significand))
                }
            }
        }
    };
}

neon!(
    NeonF32,
    4,
    vcltq_f32,
    vceqq_f32,
    vbslq_f32,
    vabsq_f32,
    vsqrtq_f32,
    vsubq_f32,
    vdupq_n_f32,
    vdupq_n_u32,
    vreinterpretq_u32_f32,
    vreinterpretq_f32_u32,
    vshrq_n_u32,
    vandq_u32,
    vorrq_u32,
    23,
    0x8000_0000,
    0x4b00_0000,
    8_388_608.0 + 127.0,
    0x007f_ffff,
    0x3f80_0000
);
neon!(
    NeonF64,
    2,
    vcltq_f64,
    vceqq_f64,
    vbslq_f64,
    vabsq_f64,
    vsqrtq_f64,
    vsubq_f64,
    vdupq_n_f64,
    vdupq_n_u64,
    vreinterpretq_u64_f64,
    vreinterpretq_f64_u64,
    vshrq_n_u64,
    vandq_u64,
    vorrq_u64,
    52,
    0x8000_0000_0000_0000,
    0x4330_0000_0000_0000,
    4_503_599_627_370_496.0 + 1023.0,
    0x000f_ffff_ffff_ffff,
    0x3ff0_0000_0000_0000
);
