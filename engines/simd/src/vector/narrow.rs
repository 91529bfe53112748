//! Narrow numbers as vectors read and write them: 16-bit floats, and codes that lie several to a 32-bit word.
//!
//! The vector trait's own methods go lane by lane, which a compiler turns into vectors more or less well; instruction sets that matter
//! bring their own (`narrow_512!`, `narrow_256!`). Words are read lane by lane: word i belongs to lane i, and the number j of a word to step j along k.

use half::{bf16, f16};

use super::Vector;
use crate::element::Real;

/// The most lanes of any vector.
const MOST_LANES: usize = 16;

/// A vector made lane by lane.
#[inline(always)]
pub(super) fn by_lane<V: Vector>(lane: impl Fn(usize) -> f32) -> V {
    let mut lanes = [V::Element::ZERO; MOST_LANES];
    for (at, to) in lanes[..V::LANES].iter_mut().enumerate() {
        *to = V::Element::from_f32(lane(at));
    }
    // SAFETY: the array has room for the lanes of every vector.
    unsafe { V::load(lanes.as_ptr()) }
}

/// Calls `write` with each lane.
#[inline(always)]
pub(super) fn each_lane<V: Vector>(vector: V, mut write: impl FnMut(usize, f32)) {
    let mut lanes = [V::Element::ZERO; MOST_LANES];
    // SAFETY: the array has room for the lanes of every vector.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    for (at, &lane) in lanes[..V::LANES].iter().enumerate() {
        write(at, lane.to_f32());
    }
}

/// Bits of a half as a number.
#[inline(always)]
pub(super) fn of_f16(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

/// Bits of a bf16 as a number.
#[inline(always)]
pub(super) fn of_bf16(bits: u16) -> f32 {
    bf16::from_bits(bits).to_f32()
}

/// The signed byte with this number in a word.
#[inline(always)]
pub(super) fn int8_of(word: u32, at: usize) -> f32 {
    f32::from((word >> (8 * at)) as u8 as i8)
}

/// The same by 512-bit instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! narrow_512 {
    () => {
        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            // SAFETY: the caller's code runs where these instructions are; readable by its promise.
            unsafe { Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()))))) }
        }
        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            // To nearest even: half of the last place less one is added, and one more where the last kept bit is odd. NaN stays NaN.
            // SAFETY: as above, writable by the caller's promise.
            unsafe {
                let bits = _mm512_castps_si512(self.0);
                let high = _mm512_srli_epi32::<16>(bits);
                let odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
                let quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
                let result = _mm512_mask_mov_epi32(_mm512_srli_epi32::<16>(rounded), nan, quiet);
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(result));
            }
        }
        #[inline(always)]
        unsafe fn store_int8(self, to: *mut i8) {
            // SAFETY: as above, writable by the caller's promise.
            unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(self.0))) }
        }
        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16) {
            // SAFETY: as above. 0: to nearest, ties to even.
            unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<0>(self.0)) }
        }
        #[inline(always)]
        unsafe fn difference_of_i32(from: *const i32, less: *const i32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(less.cast())))) }
        }
        #[inline(always)]
        unsafe fn bf16_of_word(from: *const u32, at: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let words = _mm512_loadu_si512(from.cast());
                let low = _mm512_slli_epi32::<16>(words);
                let high = _mm512_and_si512(words, _mm512_set1_epi32(-65536));
                Self(_mm512_castsi512_ps(if at == 0 { low } else { high }))
            }
        }
        #[inline(always)]
        unsafe fn int8_of_word(from: *const u32, at: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let words = _mm512_loadu_si512(from.cast());
                let top = match at {
                    0 => _mm512_slli_epi32::<24>(words),
                    1 => _mm512_slli_epi32::<16>(words),
                    2 => _mm512_slli_epi32::<8>(words),
                    _ => words,
                };
                Self(_mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(top)))
            }
        }
        #[inline(always)]
        unsafe fn level_of_nibble(from: *const u32, at: usize, table: *const f32) -> Self {
            // The look-up reads the lowest four bits of each lane and no others.
            // SAFETY: as above; the table has sixteen entries by the caller's promise.
            unsafe {
                let words = _mm512_loadu_si512(from.cast());
                let index = match at {
                    0 => words,
                    1 => _mm512_srli_epi32::<4>(words),
                    2 => _mm512_srli_epi32::<8>(words),
                    3 => _mm512_srli_epi32::<12>(words),
                    4 => _mm512_srli_epi32::<16>(words),
                    5 => _mm512_srli_epi32::<20>(words),
                    6 => _mm512_srli_epi32::<24>(words),
                    _ => _mm512_srli_epi32::<28>(words),
                };
                Self(_mm512_permutexvar_ps(index, _mm512_loadu_ps(table)))
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use narrow_512;

/// The same by 256-bit instructions. A look-up among 256 levels stays lane by lane: gathering them is no faster.
#[cfg(target_arch = "x86_64")]
macro_rules! narrow_256 {
    () => {
        #[inline(always)]
        unsafe fn load_bf16(from: *const u16) -> Self {
            // SAFETY: the caller's code runs where these instructions are; readable by its promise.
            unsafe { Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()))))) }
        }
        #[inline(always)]
        unsafe fn load_f16(from: *const u16) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_cvtph_ps(_mm_loadu_si128(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u16) {
            // To nearest even and NaN stays NaN, as by 512-bit instructions.
            // SAFETY: as above, writable by the caller's promise.
            unsafe {
                let bits = _mm256_castps_si256(self.0);
                let high = _mm256_srli_epi32::<16>(bits);
                let odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
                let quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0));
                let result = _mm256_blendv_epi8(_mm256_srli_epi32::<16>(rounded), quiet, nan);
                let (low, top) = (_mm256_castsi256_si128(result), _mm256_extracti128_si256::<1>(result));
                _mm_storeu_si128(to.cast(), _mm_packus_epi32(low, top));
            }
        }
        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u16) {
            // SAFETY: as above. 0: to nearest, ties to even.
            unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<0>(self.0)) }
        }
        #[inline(always)]
        unsafe fn store_int8(self, to: *mut i8) {
            // SAFETY: as above; the numbers are such that nothing saturates.
            unsafe {
                let whole = _mm256_cvtps_epi32(self.0);
                let words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
                _mm_storel_epi64(to.cast(), _mm_packs_epi16(words, words));
            }
        }
        #[inline(always)]
        unsafe fn difference_of_i32(from: *const i32, less: *const i32) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(less.cast())))) }
        }
        #[inline(always)]
        unsafe fn bf16_of_word(from: *const u32, at: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let words = _mm256_loadu_si256(from.cast());
                let low = _mm256_slli_epi32::<16>(words);
                let high = _mm256_and_si256(words, _mm256_set1_epi32(-65536));
                Self(_mm256_castsi256_ps(if at == 0 { low } else { high }))
            }
        }
        #[inline(always)]
        unsafe fn int8_of_word(from: *const u32, at: usize) -> Self {
            // SAFETY: as above.
            unsafe {
                let words = _mm256_loadu_si256(from.cast());
                let top = match at {
                    0 => _mm256_slli_epi32::<24>(words),
                    1 => _mm256_slli_epi32::<16>(words),
                    2 => _mm256_slli_epi32::<8>(words),
                    _ => words,
                };
                Self(_mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(top)))
            }
        }
        #[inline(always)]
        unsafe fn level_of_nibble(from: *const u32, at: usize, table: *const f32) -> Self {
            // A look-up reads the lowest three bits of each lane and no others; the fourth chooses between two of them, as a sign.
            // SAFETY: as above; the table has sixteen entries by the caller's promise.
            unsafe {
                let words = _mm256_loadu_si256(from.cast());
                let index = match at {
                    0 => words,
                    1 => _mm256_srli_epi32::<4>(words),
                    2 => _mm256_srli_epi32::<8>(words),
                    3 => _mm256_srli_epi32::<12>(words),
                    4 => _mm256_srli_epi32::<16>(words),
                    5 => _mm256_srli_epi32::<20>(words),
                    6 => _mm256_srli_epi32::<24>(words),
                    _ => _mm256_srli_epi32::<28>(words),
                };
                let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), index);
                let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table.add(8)), index);
                Self(_mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(index))))
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use narrow_256;
