//! The loop of the micro-kernel on AVX2, in assembly: six rows times two vectors, twelve sums that stay in registers.
//!
//! There are sixteen registers, and the loop needs fifteen. Compiled from Rust it stood in a function of many loops, whose register allocation
//! kept three of the sums on the stack: each of their additions then waited for a store and a load, and a product of 1024 x 1024 x 1024 in f32 ran at
//! 39 % of the multiply-add loop's speed on Zen 3. Tiles of fewer rows leave registers free, and are compiled as they are.
//!
//! Twelve multiply-adds take six cycles of both units. Besides, a step has eight loads, a request for a line, and what it needs to go on: three
//! additions and a count that ends in a jump, which the processor takes for one. Two threads of one core share what brings instructions to the units, not only the
//! units: where a neighbour runs on the same core, every instruction that is none of the twelve costs. So four steps are written out, 22 instructions a step instead of 25,
//! where A's steps are dense and B's lie a line apart.

use super::x86::{Avx2F32, Avx2F64};
use super::{ROWS_OF_SIXTEEN, Walk};

/// Steps by which B is read ahead.
const AHEAD: usize = 16;
/// Steps that are written out in a turn of the loop over packed panels.
const WRITTEN_OUT: usize = 4;
/// Bytes of two vectors: the distance of steps in a packed B.
const PACKED: usize = 64;

/// The instructions of one row: one element of A into all lanes, and two multiply-adds.
macro_rules! row {
    ($whole:literal, $single:literal, $place:literal, $first:literal, $second:literal, $offset:expr) => {
        concat!(
            concat!("vbroadcast", $single, " {left}, [", $place, " + ", $offset, "]\n"),
            concat!("vfmadd231", $whole, " {", $first, "}, {left}, {low}\n"),
            concat!("vfmadd231", $whole, " {", $second, "}, {left}, {high}\n"),
        )
    };
}

/// The instructions of a step, the `$at`-th of those that are written out; elements have `$size` bytes.
macro_rules! step {
    ($whole:literal, $single:literal, $size:literal, $at:literal) => {
        concat!(
            concat!("vmovu", $whole, " {low}, [{b} + 64 * ", $at, "]\n"),
            concat!("vmovu", $whole, " {high}, [{b} + 64 * ", $at, " + 32]\n"),
            concat!("prefetcht0 [{b} + {ahead} + 64 * ", $at, "]\n"),
            row!($whole, $single, "{a}", "a0", "a1", concat!($size, " * ", $at)),
            row!($whole, $single, "{a} + {row}", "b0", "b1", concat!($size, " * ", $at)),
            row!($whole, $single, "{a} + 2 * {row}", "c0", "c1", concat!($size, " * ", $at)),
            row!($whole, $single, "{later}", "d0", "d1", concat!($size, " * ", $at)),
            row!($whole, $single, "{later} + {row}", "e0", "e1", concat!($size, " * ", $at)),
            row!($whole, $single, "{later} + 2 * {row}", "f0", "f1", concat!($size, " * ", $at)),
        )
    };
}

/// Six rows along some steps: the lines of a turn of the loop, and by what each turn goes on.
macro_rules! six_rows {
    ($walk:expr, $turns:expr, $sums:expr, $size:literal, [$($lines:expr),+], $a_step:expr, $b_step:expr) => {{
        let [[a0, a1], [b0, b1], [c0, c1], [d0, d1], [e0, e1], [f0, f1]] = $sums;
        std::arch::asm!(
            "2:",
            $($lines,)+
            "add {a}, {a_step}",
            "add {later}, {a_step}",
            "add {b}, {b_step}",
            "dec {turns}",
            "jnz 2b",
            turns = inout(reg) $turns => _,
            a = inout(reg) $walk.a => _,
            later = inout(reg) $walk.a.wrapping_add(3 * $walk.row) => _,
            b = inout(reg) $walk.b => _,
            row = in(reg) $walk.row * $size,
            a_step = in(reg) $a_step,
            b_step = in(reg) $b_step,
            ahead = in(reg) AHEAD * $walk.b_step * $size,
            low = out(ymm_reg) _,
            high = out(ymm_reg) _,
            left = out(ymm_reg) _,
            a0 = inout(ymm_reg) a0.0,
            a1 = inout(ymm_reg) a1.0,
            b0 = inout(ymm_reg) b0.0,
            b1 = inout(ymm_reg) b1.0,
            c0 = inout(ymm_reg) c0.0,
            c1 = inout(ymm_reg) c1.0,
            d0 = inout(ymm_reg) d0.0,
            d1 = inout(ymm_reg) d1.0,
            e0 = inout(ymm_reg) e0.0,
            e1 = inout(ymm_reg) e1.0,
            f0 = inout(ymm_reg) f0.0,
            f1 = inout(ymm_reg) f1.0,
            options(nostack, readonly),
        );
    }};
}

/// A function of the loop: its name, vector, element and its bytes, and the suffixes of instructions on whole vectors and on single numbers.
macro_rules! along {
    ($name:ident, $vector:ty, $element:ty, $size:literal, $whole:literal, $single:literal) => {
        /// See `Vector::run_along`.
        ///
        /// # Safety
        /// As there, and the processor has these instructions.
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn $name(walk: &Walk<$element>, sums: &mut [[$vector; 2]; ROWS_OF_SIXTEEN]) {
            let is_packed = walk.step == 1 && walk.b_step * $size == PACKED;
            let turns = if is_packed { walk.steps / WRITTEN_OUT } else { 0 };
            if turns > 0 {
                // SAFETY: reads what the caller promises to be readable, six rows of A and two vectors of B in each step, and fetches ahead, which
                // reads nothing.
                unsafe {
                    six_rows!(
                        walk,
                        turns,
                        &mut *sums,
                        $size,
                        [
                            step!($whole, $single, $size, 0),
                            step!($whole, $single, $size, 1),
                            step!($whole, $single, $size, 2),
                            step!($whole, $single, $size, 3)
                        ],
                        WRITTEN_OUT * $size,
                        WRITTEN_OUT * PACKED
                    );
                }
            }
            let done = turns * WRITTEN_OUT;
            let (a, b) = (walk.a.wrapping_add(done * walk.step), walk.b.wrapping_add(done * walk.b_step));
            let rest = Walk { steps: walk.steps - done, a, b, ..*walk };
            if rest.steps > 0 {
                // SAFETY: likewise.
                unsafe {
                    six_rows!(rest, rest.steps, sums, $size, [step!($whole, $single, $size, 0)], rest.step * $size, rest.b_step * $size);
                }
            }
        }
    };
}

along!(six_rows_f32, Avx2F32, f32, 4, "ps", "ss");
along!(six_rows_f64, Avx2F64, f64, 8, "pd", "sd");
