//! Of the vectors of x86.

use std::arch::x86_64::*;

use super::Choose;
use crate::vector::x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

/// The exponent's place in a single: how many bits are below it, the bits of 2^23, that number plus the bias, and what is not exponent.
const EXPONENT_32: (u32, i32, f32, i32, i32) = (23, 0x4b00_0000, 8_388_608.0 + 127.0, 0x007f_ffff, 0x3f80_0000);
/// Likewise in a double.
const EXPONENT_64: (u32, i64, f64, i64, i64) =
    (52, 0x4330_0000_0000_0000, 4_503_599_627_370_496.0 + 1023.0, 0x000f_ffff_ffff_ffff, 0x3ff0_0000_0000_0000);

/// The arms that differ in nothing but the names of the instructions.
macro_rules! bits {
    ($place:ident, $set1:ident, $set1_whole:ident, $and:ident, $or:ident, $andnot:ident, $sub:ident, $sqrt:ident, $to_bits:ident,
     $from_bits:ident, $shift:ident, $and_whole:ident, $or_whole:ident) => {
        #[inline(always)]
        fn abs(self) -> Self {
            // SAFETY: the caller's code runs where these instructions are (see the head of `vector`).
            Self(unsafe { $andnot($set1(-0.0), self.0) })
        }
        #[inline(always)]
        fn with_sign_of(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $or(self.0, $and($set1(-0.0), other.0)) })
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $sqrt(self.0) })
        }
        #[inline(always)]
        fn split(self) -> (Self, Self) {
            const BELOW: u32 = $place.0;
            // SAFETY: as above.
            unsafe {
                let bits = $to_bits(self.0);
                let exponent = $from_bits($or_whole($shift::<{ BELOW as _ }>(bits), $set1_whole($place.1)));
                let significand = $from_bits($or_whole($and_whole(bits, $set1_whole($place.3)), $set1_whole($place.4)));
                (Self($sub(exponent, $set1($place.2))), Self(significand))
            }
        }
    };
}

/// Choices of 512-bit vectors, by mask registers.
macro_rules! by_mask {
    ($mask:ty, $mask_mov:ident, $cmp:ident) => {
        #[inline(always)]
        fn first_or(self, count: usize, other: Self) -> Self {
            // SAFETY: the caller's code runs where these instructions are.
            Self(unsafe { $mask_mov(other.0, ((1u32 << count) - 1) as $mask, self.0) })
        }
        #[inline(always)]
        fn where_less(self, than: Self, yes: Self, no: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $mask_mov(no.0, $cmp::<_CMP_LT_OQ>(self.0, than.0), yes.0) })
        }
        #[inline(always)]
        fn where_equal(self, to: Self, yes: Self, no: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $mask_mov(no.0, $cmp::<_CMP_EQ_OQ>(self.0, to.0), yes.0) })
        }
    };
}

/// Choices of 256-bit vectors, by the sign bits of a vector.
macro_rules! by_vector {
    ($blend:ident, $cmp:ident, $from_bits:ident) => {
        #[inline(always)]
        fn first_or(self, count: usize, other: Self) -> Self {
            // SAFETY: the caller's code runs where these instructions are.
            Self(unsafe { $blend(other.0, self.0, $from_bits(Self::first(count))) })
        }
        #[inline(always)]
        fn where_less(self, than: Self, yes: Self, no: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $blend(no.0, yes.0, $cmp::<_CMP_LT_OQ>(self.0, than.0)) })
        }
        #[inline(always)]
        fn where_equal(self, to: Self, yes: Self, no: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $blend(no.0, yes.0, $cmp::<_CMP_EQ_OQ>(self.0, to.0)) })
        }
    };
}

impl Choose for Avx512F32 {
    by_mask!(__mmask16, _mm512_mask_mov_ps, _mm512_cmp_ps_mask);
    /// An estimate of 14 bits and a step of Newton's: a division of so wide a vector keeps the multiplier busy for long.
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let estimate = _mm512_rcp14_ps(self.0);
            let error = _mm512_fnmadd_ps(self.0, estimate, _mm512_set1_ps(1.0));
            Self(_mm512_fmadd_ps(estimate, error, estimate))
        }
    }
    bits!(
        EXPONENT_32,
        _mm512_set1_ps,
        _mm512_set1_epi32,
        _mm512_and_ps,
        _mm512_or_ps,
        _mm512_andnot_ps,
        _mm512_sub_ps,
        _mm512_sqrt_ps,
        _mm512_castps_si512,
        _mm512_castsi512_ps,
        _mm512_srli_epi32,
        _mm512_and_si512,
        _mm512_or_si512
    );
}

impl Choose for Avx512F64 {
    by_mask!(__mmask8, _mm512_mask_mov_pd, _mm512_cmp_pd_mask);
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are.
        Self(unsafe { _mm512_div_pd(_mm512_set1_pd(1.0), self.0) })
    }
    bits!(
        EXPONENT_64,
        _mm512_set1_pd,
        _mm512_set1_epi64,
        _mm512_and_pd,
        _mm512_or_pd,
        _mm512_andnot_pd,
        _mm512_sub_pd,
        _mm512_sqrt_pd,
        _mm512_castpd_si512,
        _mm512_castsi512_pd,
        _mm512_srli_epi64,
        _mm512_and_si512,
        _mm512_or_si512
    );
}

impl Choose for Avx2F32 {
    by_vector!(_mm256_blendv_ps, _mm256_cmp_ps, _mm256_castsi256_ps);
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are.
        Self(unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), self.0) })
    }
    bits!(
        EXPONENT_32,
        _mm256_set1_ps,
        _mm256_set1_epi32,
        _mm256_and_ps,
        _mm256_or_ps,
        _mm256_andnot_ps,
        _mm256_sub_ps,
        _mm256_sqrt_ps,
        _mm256_castps_si256,
        _mm256_castsi256_ps,
        _mm256_srli_epi32,
        _mm256_and_si256,
        _mm256_or_si256
    );
}

impl Choose for Avx2F64 {
    by_vector!(_mm256_blendv_pd, _mm256_cmp_pd, _mm256_castsi256_pd);
    #[inline(always)]
    fn reciprocal(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are.
        Self(unsafe { _mm256_div_pd(_mm256_set1_pd(1.0), self.0) })
    }
    bits!(
        EXPONENT_64,
        _mm256_set1_pd,
        _mm256_set1_epi64x,
        _mm256_and_pd,
        _mm256_or_pd,
        _mm256_andnot_pd,
        _mm256_sub_pd,
        _mm256_sqrt_pd,
        _mm256_castpd_si256,
        _mm256_castsi256_pd,
        _mm256_srli_epi64,
        _mm256_and_si256,
        _mm256_or_si256
    );
}
