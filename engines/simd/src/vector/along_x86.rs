//! The loop of the micro-kernel on AVX2, in assembly: six rows times two vectors, twelve sums that stay in registers.
//!
//! There are sixteen registers, and the loop needs fifteen. Compiled from Rust it stood in a function of many loops, whose register allocation
//! kept three of the sums on the stack: each of their additions then waited for a store and a load, and a product of 1024 x 1024 x 1024 in f32 ran at
//! 39 % of the multiply-add loop's speed on Zen 3. Tiles of fewer rows leave registers free, and are compiled as they are.

use super::x86::{Avx2F32, Avx2F64};
use super::{ROWS_OF_SIXTEEN, Walk};

/// Steps by which B is read ahead.
const AHEAD: usize = 16;

/// A function of the loop: its name, vector and element, and the suffixes of instructions on whole vectors and on single numbers.
macro_rules! six_rows {
    ($name:ident, $vector:ty, $element:ty, $whole:literal, $single:literal) => {
        /// See `Vector::run_along`.
        ///
        /// # Safety
        /// As there, and the processor has these instructions.
        #[target_feature(enable = "avx2,fma")]
        pub(super) unsafe fn $name(walk: &Walk<$element>, sums: &mut [[$vector; 2]; ROWS_OF_SIXTEEN]) {
            if walk.steps == 0 {
                return;
            }
            let size = size_of::<$element>();
            let [[a0, a1], [b0, b1], [c0, c1], [d0, d1], [e0, e1], [f0, f1]] = sums;
            // SAFETY: reads what the caller promises to be readable, six rows of A and two vectors of B in each step, and fetches ahead, which
            // reads nothing.
            unsafe {
                std::arch::asm!(
                    "2:",
                    concat!("vmovu", $whole, " {low}, [{b}]"),
                    concat!("vmovu", $whole, " {high}, [{b} + 32]"),
                    "prefetcht0 [{b} + {ahead}]",
                    concat!("vbroadcast", $single, " {left}, [{a}]"),
                    concat!("vfmadd231", $whole, " {a0}, {left}, {low}"),
                    concat!("vfmadd231", $whole, " {a1}, {left}, {high}"),
                    concat!("vbroadcast", $single, " {left}, [{a} + {row}]"),
                    concat!("vfmadd231", $whole, " {b0}, {left}, {low}"),
                    concat!("vfmadd231", $whole, " {b1}, {left}, {high}"),
                    concat!("vbroadcast", $single, " {left}, [{a} + 2 * {row}]"),
                    concat!("vfmadd231", $whole, " {c0}, {left}, {low}"),
                    concat!("vfmadd231", $whole, " {c1}, {left}, {high}"),
                    concat!("vbroadcast", $single, " {left}, [{later}]"),
                    concat!("vfmadd231", $whole, " {d0}, {left}, {low}"),
                    concat!("vfmadd231", $whole, " {d1}, {left}, {high}"),
                    concat!("vbroadcast", $single, " {left}, [{later} + {row}]"),
                    concat!("vfmadd231", $whole, " {e0}, {left}, {low}"),
                    concat!("vfmadd231", $whole, " {e1}, {left}, {high}"),
                    concat!("vbroadcast", $single, " {left}, [{later} + 2 * {row}]"),
                    concat!("vfmadd231", $whole, " {f0}, {left}, {low}"),
                    concat!("vfmadd231", $whole, " {f1}, {left}, {high}"),
                    "add {a}, {step}",
                    "add {later}, {step}",
                    "add {b}, {b_step}",
                    "dec {steps}",
                    "jnz 2b",
                    steps = inout(reg) walk.steps => _,
                    a = inout(reg) walk.a => _,
                    later = inout(reg) walk.a.wrapping_add(3 * walk.row) => _,
                    b = inout(reg) walk.b => _,
                    row = in(reg) walk.row * size,
                    step = in(reg) walk.step * size,
                    b_step = in(reg) walk.b_step * size,
                    ahead = in(reg) AHEAD * walk.b_step * size,
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
            }
        }
    };
}

six_rows!(six_rows_f32, Avx2F32, f32, "ps", "ss");
six_rows!(six_rows_f64, Avx2F64, f64, "pd", "sd");
