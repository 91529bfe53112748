//! The units that multiply: what lies in a word of 32 bits, and the instruction that multiplies words and adds to a sum.
//!
//! All operands are packed into words, one for each row (or column) and step: a single, two bf16 numbers or four int8 codes, neighbours
//! along k. A step of the micro-kernel is then the same for every precision: a word of A in all lanes, a vector of words of B, and a
//! vector of 32-bit sums.
//!
//! | unit | a word | instruction |
//! |---|---|---|
//! | [`Wide`] | a single | multiply-add of any vectors |
//! | `Bf16Pairs` | 2 bf16 | `vdpbf16ps` |
//! | `Vnni512`, `Vnni256` | 4 int8 | `vpdpbusd` |
//! | `Bytes256` | 4 int8 | `vpmaddubsw` and `vpmaddwd`: absolute values times signed ones, whose pairs stay below 2^15 as codes are at most 127 |
//! | [`LoopBytes`] | 4 int8 | a loop |
//!
//! `vpdpbusd` multiplies unsigned by signed bytes. Codes of A get 128 added (their sign bit flipped), and 128 times the sum of a column of
//! B is taken off at the end, modulo 2^32 like everything before it: exact where the result itself fits i32.
//!
//! `vdpbf16ps` adds two products one after the other, each sum rounded to nearest, and takes subnormal operands and results for zeros
//! whatever the control register says. An error of k roundings of f32 and k times the smallest normal number, as a loop over f32 has, holds
//! for it too.

use std::marker::PhantomData;

use crate::isa::{Isa, Kernel};
use crate::vector::{MOST_LANES, Vector};

/// What a word holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    F32,
    Bf16,
    /// Codes; those of A with 128 added.
    BiasedInt8,
    Int8,
}

impl Word {
    /// Steps along k in a word.
    pub(crate) const fn steps(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::BiasedInt8 | Self::Int8 => 4,
        }
    }

    /// Are the sums i32?
    pub(crate) const fn is_integer(self) -> bool {
        matches!(self, Self::BiasedInt8 | Self::Int8)
    }
}

/// What operands are packed into.
pub(crate) trait Format {
    /// Packs operands and finishes results; a panel of B is two of these wide.
    type V: Vector<Element = f32>;
    /// What a word holds.
    const WORD: Word;

    /// Rounds singles to bf16 numbers, as words of pairs hold them.
    ///
    /// # Safety
    /// As many numbers as there are lanes must be writable.
    #[inline(always)]
    unsafe fn store_bf16(values: Self::V, to: *mut u16) {
        // SAFETY: promised by the caller.
        unsafe { values.store_bf16(to) }
    }
}

/// A unit. Like vectors, it is only to be used inside of a function that has its instructions enabled.
pub(crate) trait Unit: Format + Copy {
    /// A vector of words, as many as there are lanes.
    type Words: Copy;
    /// A vector of sums.
    type Sums: Copy;

    fn zero() -> Self::Sums;
    /// The same word in every lane.
    fn splat(word: u32) -> Self::Words;
    /// # Safety
    /// As many words as there are lanes must be readable.
    unsafe fn load(from: *const u32) -> Self::Words;
    /// sums + left * right
    fn dot(sums: Self::Sums, left: Self::Words, right: Self::Words) -> Self::Sums;
    /// # Safety
    /// As many sums as there are lanes must be writable.
    unsafe fn store(sums: Self::Sums, to: *mut u32);
}

/// Work on any unit.
pub(crate) trait UnitKernel {
    type Output;
    /// Must be `#[inline(always)]`.
    fn run<U: Unit>(self) -> Self::Output;
}

/// Which unit multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Wide,
    Int8,
    #[cfg(target_arch = "x86_64")]
    Bf16Pairs,
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    #[cfg(target_arch = "x86_64")]
    Vnni256,
}

impl Choice {
    /// Runs a kernel on it.
    #[inline]
    pub(crate) fn run<K: UnitKernel>(self, isa: Isa, kernel: K) -> K::Output {
        match self {
            Self::Wide => isa.run(OnWide(kernel)),
            Self::Int8 => isa.run(OnInt8(kernel)),
            // SAFETY: these are only chosen where `Extras` has found the instructions (see `isa.rs`).
            #[cfg(target_arch = "x86_64")]
            Self::Bf16Pairs => unsafe { super::unit_x86::on_bf16_pairs(kernel) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => unsafe { super::unit_x86::on_vnni_512(kernel) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 => unsafe { super::unit_x86::on_vnni_256(kernel) },
        }
    }
}

struct OnWide<K>(K);

impl<K: UnitKernel> Kernel<f32> for OnWide<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) -> K::Output {
        self.0.run::<Wide<V>>()
    }
}

struct OnInt8<K>(K);

impl<K: UnitKernel> Kernel<f32> for OnInt8<K> {
    type Output = K::Output;

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        if V::LANES == 8 {
            return self.0.run::<super::unit_x86::Bytes256<V>>();
        }
        self.0.run::<LoopBytes<V>>()
    }
}

/// Singles on plain vectors.
#[derive(Clone, Copy)]
pub(crate) struct Wide<V>(PhantomData<V>);

impl<V: Vector<Element = f32>> Format for Wide<V> {
    type V = V;
    const WORD: Word = Word::F32;
}

impl<V: Vector<Element = f32>> Unit for Wide<V> {
    type Words = V;
    type Sums = V;

    #[inline(always)]
    fn zero() -> V {
        V::zero()
    }
    #[inline(always)]
    fn splat(word: u32) -> V {
        V::splat(f32::from_bits(word))
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> V {
        // SAFETY: promised by the caller.
        unsafe { V::load(from.cast()) }
    }
    #[inline(always)]
    fn dot(sums: V, left: V, right: V) -> V {
        left.mul_add(right, sums)
    }
    #[inline(always)]
    unsafe fn store(sums: V, to: *mut u32) {
        // SAFETY: promised by the caller.
        unsafe { sums.store(to.cast()) }
    }
}

/// int8 codes in a loop over lanes, for vectors without an instruction for them.
#[derive(Clone, Copy)]
pub(crate) struct LoopBytes<V>(PhantomData<V>);

impl<V: Vector<Element = f32>> Format for LoopBytes<V> {
    type V = V;
    const WORD: Word = Word::Int8;
}

impl<V: Vector<Element = f32>> Unit for LoopBytes<V> {
    type Words = [u32; MOST_LANES];
    type Sums = [i32; MOST_LANES];

    #[inline(always)]
    fn zero() -> Self::Sums {
        [0; MOST_LANES]
    }
    #[inline(always)]
    fn splat(word: u32) -> Self::Words {
        [word; MOST_LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self::Words {
        let mut words = [0; MOST_LANES];
        // SAFETY: as many words as lanes by the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from, words.as_mut_ptr(), V::LANES) };
        words
    }
    #[inline(always)]
    fn dot(mut sums: Self::Sums, left: Self::Words, right: Self::Words) -> Self::Sums {
        for lane in 0..V::LANES {
            for at in 0..4 {
                let byte = |word: u32| i32::from((word >> (8 * at)) as u8 as i8);
                sums[lane] = sums[lane].wrapping_add(byte(left[lane]) * byte(right[lane]));
            }
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: Self::Sums, to: *mut u32) {
        // SAFETY: as many sums as lanes by the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr().cast(), to, V::LANES) };
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::isa::IsaChoice;

    use super::*;

    /// Twice the products of two vectors of words.
    struct Twice([[u32; MOST_LANES]; 2]);

    impl UnitKernel for Twice {
        type Output = Vec<i32>;

        #[inline(always)]
        fn run<U: Unit>(self) -> Vec<i32> {
            let mut sums = [0; MOST_LANES];
            // SAFETY: arrays as long as the longest vectors.
            unsafe {
                let [left, right] = [U::load(self.0[0].as_ptr()), U::load(self.0[1].as_ptr())];
                U::store(U::dot(U::dot(U::zero(), left, right), left, right), sums.as_mut_ptr());
            }
            sums[..U::V::LANES].iter().map(|&sum| sum as i32).collect()
        }
    }

    /// Where there is VNNI, products do without these units.
    #[test]
    fn codes_are_multiplied_with_their_signs_without_vnni() {
        let code = |side: usize, at: usize| ((at * [89, 37][side]) % 255) as i32 - 127;
        let word = |side: usize, lane: usize| u32::from_le_bytes(std::array::from_fn(|at| code(side, 4 * lane + at) as i8 as u8));
        let words = [0, 1].map(|side| std::array::from_fn(|lane| word(side, lane)));
        for isa in IsaChoice::ALL.into_iter().filter_map(|choice| Isa::chosen(choice).ok()) {
            let expected = |lane: usize| 2 * (4 * lane..4 * lane + 4).map(|at| code(0, at) * code(1, at)).sum::<i32>();
            let found = Choice::Int8.run(isa, Twice(words));
            assert!(!found.is_empty() && found.iter().enumerate().all(|(lane, &sum)| sum == expected(lane)), "{isa:?}: {found:?}");
        }
    }
}
