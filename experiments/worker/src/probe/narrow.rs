//! Products of narrow numbers, summed in wider ones: bf16 into f32, int8 into i32, on whatever unit of the processor does them.
//!
//! | unit | one instruction multiplies | operations |
//! |---|---|--:|
//! | AMX tiles | 16 rows x 16 columns, 32 bf16 or 64 int8 deep | 16,384 or 32,768 |
//! | AVX-512 BF16, VNNI | 16 lanes, 2 bf16 or 4 int8 deep | 64 or 128 |
//! | AVX-VNNI | 8 lanes, 4 int8 deep | 64 |
//!
//! A processor may have several; each is measured, and the fastest of a precision is its ceiling. The loops are assembly: what is to be
//! measured is an instruction, and a compiler that sees the same product added over and over may find something better to do. What they
//! multiply are ordinary numbers: zeros switch few transistors, and a processor that stays cool keeps a clock that no real product sees.

use crossover_protocol::NarrowCeiling;

/// One entry for each unit that this processor has.
pub fn measure(rate: impl Fn(&(dyn Fn() -> u64 + Sync)) -> u64) -> Vec<NarrowCeiling> {
    let ceiling = |unit: Unit| {
        let ops_per_s = rate(&|| (unit.round)(&ORDINARY, &mut Block([0; 1024])));
        NarrowCeiling { precision: unit.precision.into(), isa: unit.isa.into(), ops_per_s }
    };
    units().into_iter().map(ceiling).collect()
}

/// As much as a tile holds; a vector takes the beginning.
#[repr(C, align(64))]
struct Block([u8; 1024]);

/// The numbers of four tiles, the first two for one side of the products.
type Numbers = [Block; 4];

/// As bf16 between 0.5 and 2 in magnitude, and as int8 of all sizes: the low bytes and the signs come from a linear congruential generator
/// (the multiplier of Knuth's MMIX).
const ORDINARY: Numbers = {
    let mut blocks = [const { Block([0; 1024]) }; 4];
    let (mut state, mut at) = (1u64, 0);
    while at < 4 * 1024 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = state.to_be_bytes();
        blocks[at / 1024].0[at % 1024] = bytes[0];
        blocks[at / 1024].0[at % 1024 + 1] = 0x3f | (bytes[1] & 0x80);
        at += 2;
    }
    blocks
};

struct Unit {
    precision: &'static str,
    isa: &'static str,
    /// Multiplies these numbers a while, leaves the first of its sums, and says how many operations that took.
    round: fn(&Numbers, &mut Block) -> u64,
}

#[cfg(not(target_arch = "x86_64"))]
fn units() -> Vec<Unit> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
fn units() -> Vec<Unit> {
    use crossover_core::amx;

    let candidates = [
        (is_x86_feature_detected!("avx512bf16"), Unit { precision: "bf16", isa: "avx512_bf16", round: vectors::bf16 }),
        (is_x86_feature_detected!("avx512vnni"), Unit { precision: "int8", isa: "avx512_vnni", round: vectors::int8 }),
        (is_x86_feature_detected!("avxvnni"), Unit { precision: "int8", isa: "avx_vnni", round: vectors::int8_short }),
        (amx::usable(amx::BF16), Unit { precision: "bf16", isa: "amx_bf16", round: tiles::bf16 }),
        (amx::usable(amx::INT8), Unit { precision: "int8", isa: "amx_int8", round: tiles::int8 }),
    ];
    candidates.into_iter().filter(|(present, _)| *present).map(|(_, unit)| unit).collect()
}

/// Rounds of the assembly loops.
#[cfg(target_arch = "x86_64")]
const STEPS: u64 = 4096;

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::asm;

    use super::{Block, Numbers, STEPS};

    /// Twelve independent sums, as many as the other arithmetic loops keep.
    macro_rules! twelve_sums {
        ($name:ident, $instruction:literal, $move:literal, $register:literal, $operations:literal) => {
            pub fn $name(numbers: &Numbers, first: &mut Block) -> u64 {
                // SAFETY: `units` lists this loop only where the processor has the instruction. It reads two vectors of the numbers, writes
                // one into the block, both of which are longer, and touches the registers that it declares.
                unsafe {
                    asm!(
                        concat!($move, " ", $register, "14, [{left}]"),
                        concat!($move, " ", $register, "15, [{right}]"),
                        // This clears the register to its full length.
                        "vpxor xmm0, xmm0, xmm0",
                        "2:",
                        concat!($instruction, " ", $register, "0, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "1, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "2, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "3, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "4, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "5, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "6, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "7, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "8, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "9, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "10, ", $register, "14, ", $register, "15"),
                        concat!($instruction, " ", $register, "11, ", $register, "14, ", $register, "15"),
                        "dec {steps}",
                        "jnz 2b",
                        concat!($move, " [{first}], ", $register, "0"),
                        "vzeroupper",
                        left = in(reg) &numbers[0],
                        right = in(reg) &numbers[2],
                        first = in(reg) first,
                        steps = inout(reg) STEPS => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nostack),
                    );
                }
                STEPS * 12 * $operations
            }
        };
    }

    twelve_sums!(bf16, "vdpbf16ps", "vmovdqu64", "zmm", 64);
    twelve_sums!(int8, "vpdpbusd", "vmovdqu64", "zmm", 128);
    twelve_sums!(int8_short, "{{vex}} vpdpbusd", "vmovdqu", "ymm", 64);
}

/// Intel's matrix unit.
#[cfg(target_arch = "x86_64")]
mod tiles {
    use crossover_core::amx::FULL;
    use std::arch::asm;

    use super::{Block, Numbers, STEPS};

    /// Four sums from two tiles of rows and two of columns, as a matrix product keeps them.
    macro_rules! four_sums {
        ($name:ident, $instruction:literal, $operations:literal) => {
            pub fn $name(numbers: &Numbers, first: &mut Block) -> u64 {
                // SAFETY: `units` lists this loop only where the processor has the unit and the kernel permits it. It reads the
                // configuration and four blocks as tiles, writes one tile into a block, touches the tiles that it declares, and gives
                // them back. A tile is 16 rows of 64 bytes, a block as long.
                unsafe {
                    asm!(
                        // This clears all tiles.
                        "ldtilecfg [{configuration}]",
                        "tileloadd tmm4, [{numbers} + {row}*1]",
                        "tileloadd tmm5, [{numbers} + {row}*1 + 1024]",
                        "tileloadd tmm6, [{numbers} + {row}*1 + 2048]",
                        "tileloadd tmm7, [{numbers} + {row}*1 + 3072]",
                        "2:",
                        concat!($instruction, " tmm0, tmm4, tmm6"),
                        concat!($instruction, " tmm1, tmm4, tmm7"),
                        concat!($instruction, " tmm2, tmm5, tmm6"),
                        concat!($instruction, " tmm3, tmm5, tmm7"),
                        "dec {steps}",
                        "jnz 2b",
                        "tilestored [{first} + {row}*1], tmm0",
                        "tilerelease",
                        configuration = in(reg) &FULL,
                        numbers = in(reg) numbers,
                        first = in(reg) first,
                        row = in(reg) 64u64,
                        steps = inout(reg) STEPS => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
                STEPS * 4 * $operations
            }
        };
    }

    four_sums!(bf16, "tdpbf16ps", 16_384);
    four_sums!(int8, "tdpbusd", 32_768);
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Of products of ones the sums are counts: a loop whose instruction does more or less than it says is found out.
    #[test]
    fn operations_are_those_that_are_counted() {
        for unit in units() {
            let one: [u8; 2] = if unit.precision == "bf16" { 0x3f80u16.to_le_bytes() } else { [1, 1] };
            let ones = || Block(std::array::from_fn(|at| one[at % 2]));
            let mut first = Block([0; 1024]);
            let counted = (unit.round)(&[ones(), ones(), ones(), ones()], &mut first);
            let sums = first.0.chunks_exact(4).map(|bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
            let products: u64 = match unit.precision {
                "bf16" => sums.map(|bytes| f32::from_le_bytes(bytes) as u64).sum(),
                _ => sums.map(|bytes| u64::from(u32::from_le_bytes(bytes))).sum(),
            };
            let sums_of_the_loop = if unit.isa.starts_with("amx") { 4 } else { 12 };
            assert_eq!(counted, 2 * sums_of_the_loop * products, "{} {}", unit.isa, unit.precision);
            assert!(products > 0);
        }
    }

    #[test]
    fn ordinary_numbers_are_neither_zero_nor_alike() {
        let values: Vec<u16> =
            ORDINARY.iter().flat_map(|block| block.0.chunks_exact(2)).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let magnitudes = values.iter().map(|bits| f32::from_bits(u32::from(*bits) << 16).abs());
        assert!(magnitudes.clone().all(|size| (0.5..2.0).contains(&size)));
        let distinct: std::collections::BTreeSet<u16> = values.iter().copied().collect();
        assert!(distinct.len() > 400, "{}", distinct.len());
    }
}
