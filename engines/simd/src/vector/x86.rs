//! 256-bit and 512-bit vectors of x86.

use std::arch::x86_64::*;

use super::along_x86;
use super::narrow::{narrow_256, narrow_512};
use super::transpose_x86;
use super::{Vector, Walk};

/// Lane masks for partial 256-bit loads: `count` set lanes start `8 - count` entries into it.
static FIRST_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static FIRST_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

/// The arms that differ in nothing but the names of the instructions.
macro_rules! common {
    ($set1:ident, $loadu:ident, $storeu:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $max:ident, $min:ident, $fmadd:ident) => {
        #[inline(always)]
        fn splat(value: Self::Element) -> Self {
            // SAFETY: the caller's code runs where these instructions are (see the module's head).
            Self(unsafe { $set1(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const Self::Element) -> Self {
            // SAFETY: as above; readable by the caller's promise.
            Self(unsafe { $loadu(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut Self::Element) {
            // SAFETY: as above; writable by the caller's promise.
            unsafe { $storeu(to, self.0) }
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
        fn max(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $max(self.0, other.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $min(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, summand: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $fmadd(self.0, factor.0, summand.0) })
        }
        #[inline(always)]
        fn prefetch(address: *const Self::Element) {
            // SAFETY: a prefetch never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }
        #[inline(always)]
        fn prefetch_second(address: *const Self::Element) {
            // SAFETY: likewise.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }
    };
}

/// Partial access and lane sums of 512-bit vectors.
macro_rules! masked_512 {
    (
        $mask:ty, $maskz_loadu:ident, $mask_storeu:ident, $cmp:ident, $mask_mov:ident, $setzero:ident, $reduce:ident, $largest:ident, $round:ident,
        $maskz_round:ident, $scalef:ident, $maskz_scalef:ident
    ) => {
        #[inline(always)]
        unsafe fn load_first(from: *const Self::Element, count: usize) -> Self {
            // SAFETY: masked lanes are not accessed; the others are readable by the caller's promise.
            Self(unsafe { $maskz_loadu(((1u32 << count) - 1) as $mask, from) })
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut Self::Element, count: usize) {
            // SAFETY: masked lanes are not accessed; the others are writable by the caller's promise.
            unsafe { $mask_storeu(to, ((1u32 << count) - 1) as $mask, self.0) }
        }
        #[inline(always)]
        fn relu(self) -> Self {
            // SAFETY: the caller's code runs where these instructions are.
            unsafe {
                let negative = $cmp::<_CMP_LT_OQ>(self.0, $setzero());
                Self($mask_mov(self.0, negative, $setzero()))
            }
        }
        #[inline(always)]
        fn sum(self) -> Self::Element {
            // SAFETY: the caller's code runs where these instructions are.
            unsafe { $reduce(self.0) }
        }
        #[inline(always)]
        fn lanes_above<const OR_EQUAL: bool>(self, than: Self) -> u32 {
            // SAFETY: the caller's code runs where these instructions are.
            let above = unsafe { if OR_EQUAL { $cmp::<_CMP_NLT_UQ>(self.0, than.0) } else { $cmp::<_CMP_NLE_UQ>(self.0, than.0) } };
            u32::from(above)
        }
        #[inline(always)]
        fn largest(self) -> Self::Element {
            // SAFETY: the caller's code runs where these instructions are.
            unsafe { $largest(self.0) }
        }
        #[inline(always)]
        fn round(self) -> Self {
            // SAFETY: the caller's code runs where these instructions are. 8: to nearest, no exceptions, no fraction bits.
            Self(unsafe { $round::<8>(self.0) })
        }
        #[inline(always)]
        fn scale_by_power(self, exponent: Self) -> Self {
            // SAFETY: the caller's code runs where these instructions are.
            Self(unsafe { $scalef(self.0, exponent.0) })
        }
        // Lanes are emptied by the instructions that compute them.
        #[inline(always)]
        fn nearest_multiple_from(self, least: Self, factor: Self) -> [Self; 2] {
            // SAFETY: as above.
            [Self(unsafe { $maskz_round::<8>($cmp::<_CMP_NLT_UQ>(self.0, least.0), self.mul(factor).0) }); 2]
        }
        #[inline(always)]
        fn scale_by_nearest_from(self, nearest: Self, x: Self, least: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { $maskz_scalef($cmp::<_CMP_NLT_UQ>(x.0, least.0), self.0, nearest.0) })
        }
    };
}

/// 16 singles.
#[derive(Clone, Copy)]
pub(crate) struct Avx512F32(pub(super) __m512);

impl Vector for Avx512F32 {
    type Element = f32;
    const LANES: usize = 16;
    const BLOCK: usize = 16;
    const REGISTERS: usize = 32;
    common!(
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_div_ps,
        _mm512_max_ps,
        _mm512_min_ps,
        _mm512_fmadd_ps
    );
    narrow_512!();
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Element, from_row: usize, to: *mut Self::Element, to_row: usize) {
        // SAFETY: promised by the caller, whose code runs where these instructions are.
        unsafe { transpose_x86::sixteen_singles(from, from_row, to, to_row) }
    }
    masked_512!(
        __mmask16,
        _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps,
        _mm512_cmp_ps_mask,
        _mm512_mask_mov_ps,
        _mm512_setzero_ps,
        _mm512_reduce_add_ps,
        _mm512_reduce_max_ps,
        _mm512_roundscale_ps,
        _mm512_maskz_roundscale_ps,
        _mm512_scalef_ps,
        _mm512_maskz_scalef_ps
    );
}

/// 8 doubles.
#[derive(Clone, Copy)]
pub(crate) struct Avx512F64(pub(super) __m512d);

impl Vector for Avx512F64 {
    type Element = f64;
    const LANES: usize = 8;
    const BLOCK: usize = 8;
    const REGISTERS: usize = 32;
    common!(
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        _mm512_mul_pd,
        _mm512_div_pd,
        _mm512_max_pd,
        _mm512_min_pd,
        _mm512_fmadd_pd
    );
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Element, from_row: usize, to: *mut Self::Element, to_row: usize) {
        // SAFETY: promised by the caller, whose code runs where these instructions are.
        unsafe { transpose_x86::eight_doubles(from, from_row, to, to_row) }
    }
    masked_512!(
        __mmask8,
        _mm512_maskz_loadu_pd,
        _mm512_mask_storeu_pd,
        _mm512_cmp_pd_mask,
        _mm512_mask_mov_pd,
        _mm512_setzero_pd,
        _mm512_reduce_add_pd,
        _mm512_reduce_max_pd,
        _mm512_roundscale_pd,
        _mm512_maskz_roundscale_pd,
        _mm512_scalef_pd,
        _mm512_maskz_scalef_pd
    );
}

/// 8 singles.
#[derive(Clone, Copy)]
pub(crate) struct Avx2F32(pub(super) __m256);

impl Avx2F32 {
    #[inline(always)]
    pub(super) fn first(count: usize) -> __m256i {
        // SAFETY: count is at most 8, so that the eight masks read lie inside the table.
        unsafe { _mm256_loadu_si256(FIRST_32.as_ptr().add(8 - count).cast()) }
    }
}

impl Vector for Avx2F32 {
    type Element = f32;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    common!(
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_div_ps,
        _mm256_max_ps,
        _mm256_min_ps,
        _mm256_fmadd_ps
    );
    narrow_256!();
    #[inline(always)]
    unsafe fn run_along(walk: &Walk<f32>, sums: &mut [[Self; 2]]) -> bool {
        let Ok(sums) = sums.try_into() else { return false };
        // SAFETY: the caller's code runs where these instructions are; the rest by its promise.
        unsafe { along_x86::six_rows_f32(walk, sums) }
        true
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        // SAFETY: masked lanes are not accessed; the others are readable by the caller's promise.
        Self(unsafe { _mm256_maskload_ps(from, Self::first(count)) })
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: masked lanes are not accessed; the others are writable by the caller's promise.
        unsafe { _mm256_maskstore_ps(to, Self::first(count), self.0) }
    }
    #[inline(always)]
    fn relu(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are.
        Self(unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, _mm256_setzero_ps()), self.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are. 8: to nearest, no exceptions.
        Self(unsafe { _mm256_round_ps::<8>(self.0) })
    }
    #[inline(always)]
    fn scale_by_power(self, exponent: Self) -> Self {
        // In two factors, each of which is a number: 2^n is none for the exponents of subnormal results.
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let whole = _mm256_cvtps_epi32(exponent.0);
            let first = _mm256_srai_epi32::<1>(whole);
            let power = |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))));
            Self(_mm256_mul_ps(_mm256_mul_ps(self.0, power(first)), power(_mm256_sub_epi32(whole, first))))
        }
    }
    #[inline(always)]
    fn nearest_multiple(self, factor: Self) -> [Self; 2] {
        // Added to a number whose last bit is worth 1, the product is rounded to it. The low bits then hold n + 127 + 64; moved into the place
        // of the exponent they are 2^(n + 64), which is a number for subnormal results, too.
        let one_is_last = Self::splat(12_582_912.0 + 127.0 + 64.0);
        let moved = self.mul_add(factor, one_is_last);
        // SAFETY: the caller's code runs where these instructions are.
        let power = unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(moved.0))) };
        [moved.sub(one_is_last), Self(power)]
    }
    #[inline(always)]
    fn scale_by_nearest(self, nearest: Self) -> Self {
        self.mul(nearest).mul(Self::splat(f32::from_bits((127 - 64) << 23)))
    }
    #[inline(always)]
    fn sums([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        // SAFETY: the caller's code runs where these instructions are; four singles are written.
        unsafe {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs)));
            sums
        }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

/// 4 doubles.
#[derive(Clone, Copy)]
pub(crate) struct Avx2F64(pub(super) __m256d);

impl Avx2F64 {
    #[inline(always)]
    pub(super) fn first(count: usize) -> __m256i {
        // SAFETY: count is at most 4, so that the four masks read lie inside the table.
        unsafe { _mm256_loadu_si256(FIRST_64.as_ptr().add(4 - count).cast()) }
    }
}

impl Vector for Avx2F64 {
    type Element = f64;
    const LANES: usize = 4;
    const REGISTERS: usize = 16;
    common!(
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        _mm256_mul_pd,
        _mm256_div_pd,
        _mm256_max_pd,
        _mm256_min_pd,
        _mm256_fmadd_pd
    );
    #[inline(always)]
    unsafe fn run_along(walk: &Walk<f64>, sums: &mut [[Self; 2]]) -> bool {
        let Ok(sums) = sums.try_into() else { return false };
        // SAFETY: the caller's code runs where these instructions are; the rest by its promise.
        unsafe { along_x86::six_rows_f64(walk, sums) }
        true
    }
    #[inline(always)]
    unsafe fn load_first(from: *const f64, count: usize) -> Self {
        // SAFETY: masked lanes are not accessed; the others are readable by the caller's promise.
        Self(unsafe { _mm256_maskload_pd(from, Self::first(count)) })
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut f64, count: usize) {
        // SAFETY: masked lanes are not accessed; the others are writable by the caller's promise.
        unsafe { _mm256_maskstore_pd(to, Self::first(count), self.0) }
    }
    #[inline(always)]
    fn relu(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are.
        Self(unsafe { _mm256_andnot_pd(_mm256_cmp_pd::<_CMP_LT_OQ>(self.0, _mm256_setzero_pd()), self.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: the caller's code runs where these instructions are. 8: to nearest, no exceptions.
        Self(unsafe { _mm256_round_pd::<8>(self.0) })
    }
    #[inline(always)]
    fn scale_by_power(self, exponent: Self) -> Self {
        // In two factors, as for singles.
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let whole = _mm256_cvtpd_epi32(exponent.0);
            let first = _mm_srai_epi32::<1>(whole);
            let power = |n| {
                let biased = _mm256_add_epi64(_mm256_cvtepi32_epi64(n), _mm256_set1_epi64x(1023));
                _mm256_castsi256_pd(_mm256_slli_epi64::<52>(biased))
            };
            Self(_mm256_mul_pd(_mm256_mul_pd(self.0, power(first)), power(_mm_sub_epi32(whole, first))))
        }
    }
    #[inline(always)]
    fn nearest_multiple(self, factor: Self) -> [Self; 2] {
        // As for singles: 2^(n + 512).
        let one_is_last = Self::splat(6_755_399_441_055_744.0 + 1023.0 + 512.0);
        let moved = self.mul_add(factor, one_is_last);
        // SAFETY: the caller's code runs where these instructions are.
        let power = unsafe { _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(moved.0))) };
        [moved.sub(one_is_last), Self(power)]
    }
    #[inline(always)]
    fn scale_by_nearest(self, nearest: Self) -> Self {
        self.mul(nearest).mul(Self::splat(f64::from_bits((1023 - 512) << 52)))
    }
    #[inline(always)]
    fn largest(self) -> f64 {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let two = _mm_max_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
    #[inline(always)]
    fn sum(self) -> f64 {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
}
