//! Vectors of one floating type: the operations that kernels are written in.
//!
//! | file | what |
//! |---|---|
//! | `scalar.rs` | one lane of any type |
//! | `x86.rs` | 256 and 512 bits |
//! | `neon.rs` | 128 bits |
//! | `along_x86.rs` | a loop that the compiler spoils, in assembly |
//! | `transpose_x86.rs` | blocks of a matrix turned over |
//! | `choose/` | choices and bits, for all of them |
//! | `exponential.rs`, `logarithm.rs`, `sigmoid.rs`, `sine.rs`, `normal.rs`, `coefficients.rs` | elementary functions |
//! | `function.rs` | functions as values, for kernels that take any |
//! | `narrow.rs` | 16-bit floats, and codes several to a word |
//!
//! Every method is `#[inline(always)]` and must only be called from a [`Kernel`](crate::isa::Kernel) that runs on its instruction set;
//! that is why no method is `unsafe` for the instruction's sake. Those that take pointers are, for the pointer's.

#[cfg(target_arch = "x86_64")]
mod along_x86;
mod choose;
mod coefficients;
mod exponential;
mod function;
mod logarithm;
mod narrow;
#[cfg(target_arch = "aarch64")]
mod neon;
mod normal;
mod scalar;
mod sigmoid;
mod sine;
#[cfg(target_arch = "x86_64")]
mod transpose_x86;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use choose::Choose;
pub(crate) use exponential::{Exponential, exp, exp_of_negative, exp_of_negatives, exp2, exp2_of_negative, exp2_of_negatives};
pub(crate) use function::{Function, MOST_LANES, Over, Times, by_lane, function};
pub(crate) use logarithm::log;
pub(crate) use normal::{gelu, gelus};
pub(crate) use scalar::Scalar;
pub(crate) use sigmoid::{sigmoid, tanh};
pub(crate) use sine::{cos, sin};

use crate::aligned::LINE;
use crate::element::{Held, Real};
use coefficients::Coefficients;

/// An element type with its vectors on every instruction set.
pub(crate) trait Lanes: Held + Exponential + Coefficients + Send + Sync + 'static {
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Element = Self>;
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Element = Self>;
    /// 128 bits.
    #[cfg(target_arch = "aarch64")]
    type Neon: Vector<Element = Self>;

    /// to[j][i] = from[i][j] for a block of 4 x 4; distances of rows in elements.
    ///
    /// # Safety
    /// Four elements from the start of each of four rows must be readable in one matrix and writable in the other.
    #[inline(always)]
    unsafe fn transpose(from: *const Self, from_row: usize, to: *mut Self, to_row: usize) {
        for (row, column) in (0..4).flat_map(|row| (0..4).map(move |column| (row, column))) {
            // SAFETY: promised by the caller.
            unsafe { *to.add(column * to_row + row) = *from.add(row * from_row + column) };
        }
    }
}

impl Lanes for f32 {
    #[cfg(target_arch = "x86_64")]
    type Avx2 = x86::Avx2F32;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = x86::Avx512F32;
    #[cfg(target_arch = "aarch64")]
    type Neon = neon::NeonF32;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn transpose(from: *const Self, from_row: usize, to: *mut Self, to_row: usize) {
        // SAFETY: promised by the caller.
        unsafe { transpose_x86::four_singles(from, from_row, to, to_row) }
    }
}

impl Lanes for f64 {
    #[cfg(target_arch = "x86_64")]
    type Avx2 = x86::Avx2F64;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = x86::Avx512F64;
    #[cfg(target_arch = "aarch64")]
    type Neon = neon::NeonF64;

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn transpose(from: *const Self, from_row: usize, to: *mut Self, to_row: usize) {
        // SAFETY: promised by the caller.
        unsafe { transpose_x86::four_doubles(from, from_row, to, to_row) }
    }
}

/// Rows of a tile of two vectors where there are sixteen registers: twelve sums beside two vectors of B and one of A.
pub(crate) const ROWS_OF_SIXTEEN: usize = 6;

/// The steps of a product of some rows of A with two vectors of B; distances in elements.
pub(crate) struct Walk<E> {
    pub(crate) steps: usize,
    pub(crate) a: *const E,
    /// From a row of A to the next.
    pub(crate) row: usize,
    /// From a step of A to the next.
    pub(crate) step: usize,
    pub(crate) b: *const E,
    /// From a step of B to the next.
    pub(crate) b_step: usize,
}

/// A vector of `LANES` elements.
#[allow(dead_code, reason = "the set is complete, whichever of it today's kernels use")]
pub(crate) trait Vector: Choose {
    /// Its elements.
    type Element: Lanes;
    /// How many.
    const LANES: usize;
    /// Registers of this kind.
    const REGISTERS: usize;

    /// The same element in every lane.
    fn splat(value: Self::Element) -> Self;
    /// Zeros.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(Self::Element::ZERO)
    }
    /// Loads `LANES` elements from any address.
    ///
    /// # Safety
    /// All of them must be readable.
    unsafe fn load(from: *const Self::Element) -> Self;
    /// Stores `LANES` elements to any address.
    ///
    /// # Safety
    /// All of them must be writable.
    unsafe fn store(self, to: *mut Self::Element);
    /// Loads the first `count <= LANES` elements, and zeros; the others are not touched.
    ///
    /// # Safety
    /// The first `count` must be readable.
    unsafe fn load_first(from: *const Self::Element, count: usize) -> Self;
    /// Stores the first `count <= LANES` elements; the others are not touched.
    ///
    /// # Safety
    /// The first `count` must be writable.
    unsafe fn store_first(self, to: *mut Self::Element, count: usize);
    /// Adds to each row's sums the products of its elements of A with two vectors of B, all steps along, where the instruction set has a loop of its
    /// own for so many rows. Else it leaves them, and the answer is false.
    ///
    /// # Safety
    /// In each step an element of every row of A and two vectors of B must be readable.
    #[inline(always)]
    unsafe fn run_along(_walk: &Walk<Self::Element>, _sums: &mut [[Self; 2]]) -> bool {
        false
    }
    /// self + other.
    fn add(self, other: Self) -> Self;
    /// self - other.
    fn sub(self, other: Self) -> Self;
    /// self * other.
    fn mul(self, other: Self) -> Self;
    /// self / other.
    fn div(self, other: Self) -> Self;
    /// self * factor + summand, rounded once (twice where the target has no such instruction: scalar x86).
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The larger of each pair; `other` where either is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of each pair; `other` where either is NaN.
    fn min(self, other: Self) -> Self;
    /// The nearest whole number, ties to even.
    fn round(self) -> Self;
    /// self * 2^exponent for whole exponents, rounded once more where the result is subnormal; beyond every element's range that is 0 or
    /// infinity.
    fn scale_by_power(self, exponent: Self) -> Self;
    /// Does the vector of this number begin a cache line, where the first does? So that each line is asked for once.
    #[inline(always)]
    fn begins_line(number: usize) -> bool {
        (number * Self::LANES * size_of::<Self::Element>()).is_multiple_of(LINE)
    }
    /// The whole number nearest to self times a factor, and what [`Vector::scale_by_nearest`] takes for it. Not above 64, nor below the least
    /// exponent by more than that.
    #[inline(always)]
    fn nearest_multiple(self, factor: Self) -> [Self; 2] {
        [self.mul(factor).round(); 2]
    }
    /// self * 2^n for such a number n, as [`Vector::scale_by_power`].
    #[inline(always)]
    fn scale_by_nearest(self, nearest: Self) -> Self {
        self.scale_by_power(nearest)
    }
    /// [`Vector::nearest_multiple`] where self is not less than `least`, and that of 0 elsewhere; of NaN it is NaN.
    #[inline(always)]
    fn nearest_multiple_from(self, least: Self, factor: Self) -> [Self; 2] {
        self.where_less(least, Self::zero(), self).nearest_multiple(factor)
    }
    /// [`Vector::scale_by_nearest`] where `x` is not less than `least`, and 0 elsewhere.
    #[inline(always)]
    fn scale_by_nearest_from(self, nearest: Self, x: Self, least: Self) -> Self {
        x.where_less(least, Self::zero(), self.scale_by_nearest(nearest))
    }
    /// 0 where self < 0, else self; NaN stays.
    fn relu(self) -> Self;
    /// The largest lane; unspecified where one is NaN.
    fn largest(self) -> Self::Element;
    /// The sum of the lanes, in a fixed order.
    fn sum(self) -> Self::Element;
    /// The sums of four vectors, each in a fixed order.
    #[inline(always)]
    fn sums(four: [Self; 4]) -> [Self::Element; 4] {
        four.map(Self::sum)
    }
    /// Bits of the lanes above `than`, with `OR_EQUAL` of those equal to it too, and of those where one is NaN.
    #[inline(always)]
    fn lanes_above<const OR_EQUAL: bool>(self, than: Self) -> u32 {
        let (one, none) = (Self::splat(Self::Element::ONE), Self::zero());
        let kept = if OR_EQUAL { one } else { self.where_equal(than, none, one) };
        let mut lanes = [Self::Element::ZERO; MOST_LANES];
        // SAFETY: the array has room for the lanes of every vector.
        unsafe { self.where_less(than, none, kept).store(lanes.as_mut_ptr()) };
        lanes[..Self::LANES].iter().enumerate().fold(0, |bits, (at, &lane)| bits | u32::from(lane != Self::Element::ZERO) << at)
    }
    /// Asks for a cache line in the second level.
    #[inline(always)]
    fn prefetch_second(_address: *const Self::Element) {}
    /// Asks for a cache line in the first level.
    #[inline(always)]
    fn prefetch(_address: *const Self::Element) {}

    /// Rows and columns of a block that is turned over at once.
    const BLOCK: usize = 4;
    /// to[j][i] = from[i][j] for a block of `BLOCK` x `BLOCK`; distances of rows in elements.
    ///
    /// # Safety
    /// `BLOCK` elements from the start of each of as many rows must be readable in one matrix and writable in the other.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Element, from_row: usize, to: *mut Self::Element, to_row: usize) {
        const { assert!(Self::BLOCK == 4, "a block of any other size has a method of its own") };
        // SAFETY: promised by the caller.
        unsafe { Self::Element::transpose(from, from_row, to, to_row) }
    }

    /// Loads `LANES` bf16 numbers, exactly.
    ///
    /// # Safety
    /// All of them must be readable.
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|at| narrow::of_bf16(unsafe { *from.add(at) }))
    }
    /// Loads `LANES` halves, exactly.
    ///
    /// # Safety
    /// All of them must be readable.
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|at| narrow::of_f16(unsafe { *from.add(at) }))
    }
    /// Stores `LANES` bf16 numbers, each rounded once (of singles).
    ///
    /// # Safety
    /// All of them must be writable.
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16) {
        // SAFETY: promised by the caller.
        narrow::each_lane(self, |at, lane| unsafe { *to.add(at) = half::bf16::from_f32(lane).to_bits() });
    }
    /// Stores `LANES` halves, each rounded once (of singles).
    ///
    /// # Safety
    /// All of them must be writable.
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16) {
        // SAFETY: promised by the caller.
        narrow::each_lane(self, |at, lane| unsafe { *to.add(at) = half::f16::from_f32(lane).to_bits() });
    }
    /// Stores `LANES` whole numbers of at most seven bits and a sign as bytes.
    ///
    /// # Safety
    /// All of them must be writable, and the numbers such.
    #[inline(always)]
    unsafe fn store_int8(self, to: *mut i8) {
        // SAFETY: promised by the caller.
        narrow::each_lane(self, |at, lane| unsafe { *to.add(at) = lane.to_int_unchecked::<i32>() as i8 });
    }
    /// Differences of `LANES` integers, modulo 2^32 and then each rounded once.
    ///
    /// # Safety
    /// All of them must be readable.
    #[inline(always)]
    unsafe fn difference_of_i32(from: *const i32, less: *const i32) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|at| unsafe { (*from.add(at)).wrapping_sub(*less.add(at)) } as f32)
    }
    /// The bf16 number `at < 2` of each of `LANES` words.
    ///
    /// # Safety
    /// All of them must be readable.
    #[inline(always)]
    unsafe fn bf16_of_word(from: *const u32, at: usize) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|lane| narrow::of_bf16((unsafe { *from.add(lane) } >> (16 * at)) as u16))
    }
    /// The signed byte `at < 4` of each of `LANES` words.
    ///
    /// # Safety
    /// All of them must be readable.
    #[inline(always)]
    unsafe fn int8_of_word(from: *const u32, at: usize) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|lane| narrow::int8_of(unsafe { *from.add(lane) }, at))
    }
    /// The level that the four bits `at < 8` of each of `LANES` words stand for.
    ///
    /// # Safety
    /// All of the words, and 16 levels, must be readable.
    #[inline(always)]
    unsafe fn level_of_nibble(from: *const u32, at: usize, table: *const f32) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|lane| unsafe { *table.add((*from.add(lane) >> (4 * at)) as usize & 15) })
    }
    /// The level that byte `at < 4` of each of `LANES` words stands for.
    ///
    /// # Safety
    /// All of the words, and 256 levels, must be readable.
    #[inline(always)]
    unsafe fn level_of_byte(from: *const u32, at: usize, table: *const f32) -> Self {
        // SAFETY: promised by the caller.
        narrow::by_lane(|lane| unsafe { *table.add((*from.add(lane) >> (8 * at)) as usize & 255) })
    }
}
