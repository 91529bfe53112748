//! Units of x86 beyond plain vectors.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::unit::{Format, Unit, UnitKernel, Word};
use crate::vector::{Lanes, Vector};

type F32x16 = <f32 as Lanes>::Avx512;
type F32x8 = <f32 as Lanes>::Avx2;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16")]
pub(crate) fn on_bf16_pairs<K: UnitKernel>(kernel: K) -> K::Output {
    kernel.run::<Bf16Pairs>()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni")]
pub(super) fn on_vnni_512<K: UnitKernel>(kernel: K) -> K::Output {
    kernel.run::<Vnni512>()
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) fn on_vnni_256<K: UnitKernel>(kernel: K) -> K::Output {
    kernel.run::<Vnni256>()
}

/// What units of whole integer registers have in common.
macro_rules! integer_words {
    ($register:ty, $set1:ident, $load:ident) => {
        type Words = $register;

        #[inline(always)]
        fn splat(word: u32) -> $register {
            // SAFETY: the caller's code runs where these instructions are (see the trait).
            unsafe { $set1(word as i32) }
        }
        #[inline(always)]
        unsafe fn load(from: *const u32) -> $register {
            // SAFETY: as above; readable by the caller's promise.
            unsafe { $load(from.cast()) }
        }
    };
}

macro_rules! integer_sums {
    ($register:ty, $zero:ident, $store:ident) => {
        type Sums = $register;

        #[inline(always)]
        fn zero() -> $register {
            // SAFETY: the caller's code runs where these instructions are.
            unsafe { $zero() }
        }
        #[inline(always)]
        unsafe fn store(sums: $register, to: *mut u32) {
            // SAFETY: as above; writable by the caller's promise.
            unsafe { $store(to.cast(), sums) }
        }
    };
}

/// Pairs of bf16 numbers, 512 bits.
#[derive(Clone, Copy)]
pub(super) struct Bf16Pairs;

impl Format for Bf16Pairs {
    type V = F32x16;
    const WORD: Word = Word::Bf16;

    #[inline(always)]
    unsafe fn store_bf16(values: F32x16, to: *mut u16) {
        let mut lanes = [0f32; 16];
        // SAFETY: as above. The array is a register's detour that the compiler drops.
        unsafe {
            values.store(lanes.as_mut_ptr());
            let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(lanes.as_ptr()));
            _mm256_storeu_si256(to.cast(), std::mem::transmute::<__m256bh, __m256i>(rounded));
        }
    }
}

impl Unit for Bf16Pairs {
    integer_words!(__m512i, _mm512_set1_epi32, _mm512_loadu_si512);
    type Sums = __m512;

    #[inline(always)]
    fn zero() -> __m512 {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    fn dot(sums: __m512, left: __m512i, right: __m512i) -> __m512 {
        // SAFETY: likewise; both types are 64 bytes without meaning of their own.
        unsafe { _mm512_dpbf16_ps(sums, std::mem::transmute::<__m512i, __m512bh>(left), std::mem::transmute::<__m512i, __m512bh>(right)) }
    }
    #[inline(always)]
    unsafe fn store(sums: __m512, to: *mut u32) {
        // SAFETY: as above; writable by the caller's promise.
        unsafe { _mm512_storeu_ps(to.cast(), sums) }
    }
}

/// Four codes, 512 bits.
#[derive(Clone, Copy)]
pub(super) struct Vnni512;

impl Format for Vnni512 {
    type V = F32x16;
    const WORD: Word = Word::BiasedInt8;
}

impl Unit for Vnni512 {
    integer_words!(__m512i, _mm512_set1_epi32, _mm512_loadu_si512);
    integer_sums!(__m512i, _mm512_setzero_si512, _mm512_storeu_si512);

    #[inline(always)]
    fn dot(sums: __m512i, left: __m512i, right: __m512i) -> __m512i {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe { _mm512_dpbusd_epi32(sums, left, right) }
    }
}

/// Four codes, 256 bits.
#[derive(Clone, Copy)]
pub(super) struct Vnni256;

impl Format for Vnni256 {
    type V = F32x8;
    const WORD: Word = Word::BiasedInt8;
}

impl Unit for Vnni256 {
    integer_words!(__m256i, _mm256_set1_epi32, _mm256_loadu_si256);
    integer_sums!(__m256i, _mm256_setzero_si256, _mm256_storeu_si256);

    #[inline(always)]
    fn dot(sums: __m256i, left: __m256i, right: __m256i) -> __m256i {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe { _mm256_dpbusd_avx_epi32(sums, left, right) }
    }
}

/// Four codes, 256 bits, without VNNI.
#[derive(Clone, Copy)]
pub(super) struct Bytes256<V>(PhantomData<V>);

impl<V: Vector<Element = f32>> Format for Bytes256<V> {
    type V = V;
    const WORD: Word = Word::Int8;
}

impl<V: Vector<Element = f32>> Unit for Bytes256<V> {
    integer_words!(__m256i, _mm256_set1_epi32, _mm256_loadu_si256);
    integer_sums!(__m256i, _mm256_setzero_si256, _mm256_storeu_si256);

    #[inline(always)]
    fn dot(sums: __m256i, left: __m256i, right: __m256i) -> __m256i {
        // SAFETY: the caller's code runs where these instructions are.
        unsafe {
            // |left| * (right with the sign of left): two such products are at most 2 * 127 * 127 < 2^15.
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(left), _mm256_sign_epi8(right, left));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}
