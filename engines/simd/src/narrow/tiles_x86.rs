//! The tiles of x86 (AMX): bf16 and int8.
//!
//! The compiler has no type for a tile, and none passes from one block of assembly to the next: each block clears the tiles of C, runs over
//! the whole of k and stores them. Only the configuration stays between blocks (see [`crate::amx`]).

use std::arch::asm;

use super::micro::MicroKernel;
use super::tiles::{ByTiles, Operands, Tiles};
use super::unit::{Format, Word};
use super::unit_x86::Bf16Pairs;
use crate::amx::Configured;
use crate::vector::Lanes;

type F32x16 = <f32 as Lanes>::Avx512;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16,avx512vnni")]
pub(super) fn on_bf16<K: MicroKernel>(kernel: K) -> K::Output {
    kernel.run::<ByTiles<Bf16>>()
}

/// Work on tiles of bf16 pairs.
pub(crate) trait TileKernel {
    /// Must be `#[inline(always)]`.
    fn run<T: Tiles>(self);
}

/// Runs it on this thread's tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16")]
pub(crate) fn on_bf16_tiles<K: TileKernel>(kernel: K) {
    let _ready = Bf16::ready();
    kernel.run::<Bf16>();
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16,avx512vnni")]
pub(super) fn on_int8<K: MicroKernel>(kernel: K) -> K::Output {
    kernel.run::<ByTiles<Int8>>()
}

/// Bytes of a word, and of a row of a panel of B.
const WORD: usize = 4;
const B_ROW: usize = 128;

/// Sums of two tiles beside each other: tmm0 and tmm1.
macro_rules! one_high {
    ($instruction:literal, $operands:expr, $sums:expr) => {
        // SAFETY: whoever calls has a configured thread on a processor with this unit, readable operands and room for the sums. The block
        // touches the tiles and registers that it declares.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "test {steps}, {steps}",
                "jz 3f",
                "2:",
                "tileloadd tmm6, [{b} + {b_row}*1]",
                "tileloadd tmm4, [{a} + {a_row}*1]",
                concat!($instruction, " tmm0, tmm4, tmm6"),
                "tileloadd tmm7, [{b} + {b_row}*1 + 64]",
                concat!($instruction, " tmm1, tmm4, tmm7"),
                "add {a}, {a_step}",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                // The last step takes B from elsewhere, and is taken once.
                "3:",
                "test {last}, {last}",
                "jz 4f",
                "mov {b}, {last}",
                "xor {last:e}, {last:e}",
                "mov {steps:e}, 1",
                "jmp 2b",
                "4:",
                "tilestored [{sums} + {b_row}*1], tmm0",
                "tilestored [{sums} + {b_row}*1 + 64], tmm1",
                a = inout(reg) $operands.a[0] => _,
                b = inout(reg) $operands.b => _,
                steps = inout(reg) $operands.steps => _,
                last = inout(reg) $operands.last => _,
                a_row = in(reg) WORD * $operands.a_strides[0],
                a_step = in(reg) WORD * $operands.a_strides[1],
                b_row = in(reg) B_ROW,
                sums = in(reg) $sums,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    };
}

/// Sums of 2 x 2 tiles: tmm0 and tmm1 above tmm2 and tmm3.
macro_rules! two_high {
    ($instruction:literal, $operands:expr, $sums:expr) => {
        // SAFETY: as above.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "test {steps}, {steps}",
                "jz 3f",
                "2:",
                "tileloadd tmm6, [{b} + {b_row}*1]",
                "tileloadd tmm4, [{a} + {a_row}*1]",
                concat!($instruction, " tmm0, tmm4, tmm6"),
                "tileloadd tmm5, [{below} + {a_row}*1]",
                concat!($instruction, " tmm2, tmm5, tmm6"),
                "tileloadd tmm7, [{b} + {b_row}*1 + 64]",
                concat!($instruction, " tmm1, tmm4, tmm7"),
                concat!($instruction, " tmm3, tmm5, tmm7"),
                "add {a}, {a_step}",
                "add {below}, {a_step}",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "3:",
                "test {last}, {last}",
                "jz 4f",
                "mov {b}, {last}",
                "xor {last:e}, {last:e}",
                "mov {steps:e}, 1",
                "jmp 2b",
                "4:",
                "tilestored [{sums} + {b_row}*1], tmm0",
                "tilestored [{sums} + {b_row}*1 + 64], tmm1",
                "tilestored [{sums} + {b_row}*1 + 2048], tmm2",
                "tilestored [{sums} + {b_row}*1 + 2112], tmm3",
                a = inout(reg) $operands.a[0] => _,
                below = inout(reg) $operands.a[1] => _,
                b = inout(reg) $operands.b => _,
                steps = inout(reg) $operands.steps => _,
                last = inout(reg) $operands.last => _,
                a_row = in(reg) WORD * $operands.a_strides[0],
                a_step = in(reg) WORD * $operands.a_strides[1],
                b_row = in(reg) B_ROW,
                sums = in(reg) $sums,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    };
}

macro_rules! unit_of_tiles {
    ($(#[$about:meta])* $name:ident, $word:ident, $instruction:literal) => {
        $(#[$about])*
        pub(super) struct $name;

        impl Format for $name {
            type V = F32x16;
            const WORD: Word = Word::$word;

            #[inline(always)]
            unsafe fn store_bf16(values: F32x16, to: *mut u16) {
                // SAFETY: promised by the caller; tiles are only taken beside this instruction.
                unsafe { Bf16Pairs::store_bf16(values, to) }
            }
        }

        impl Tiles for $name {
            type Ready = Configured;

            #[inline(always)]
            fn ready() -> Configured {
                // SAFETY: this unit is only chosen where `Extras` has found tiles.
                unsafe { Configured::new() }
            }

            #[inline(always)]
            unsafe fn products<const HEIGHT: usize>(operands: &Operands, sums: *mut u32) {
                if HEIGHT == 1 {
                    one_high!($instruction, operands, sums);
                } else {
                    two_high!($instruction, operands, sums);
                }
            }
        }
    };
}

unit_of_tiles!(
    /// Pairs of bf16 numbers.
    Bf16,
    Bf16,
    "tdpbf16ps"
);
unit_of_tiles!(
    /// Four signed codes.
    Int8,
    Int8,
    "tdpbssd"
);
