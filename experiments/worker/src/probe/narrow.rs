//! Products of narrow numbers, summed in wider ones: bf16 into f32, int8 into i32, on whatever unit of the processor does them.
//!
//! | unit | one instruction multiplies | operations |
//! |---|---|--:|
//! | AMX tiles | 16 rows x 16 columns, 32 bf16 or 64 int8 deep | 16,384 or 32,768 |
//! | AVX-512 BF16, VNNI | 16 lanes, 2 bf16 or 4 int8 deep | 64 or 128 |
//! | AVX-VNNI | 8 lanes, 4 int8 deep | 64 |
//!
//! A processor may have several; each is measured, and the fastest of a precision is its ceiling. The loops are assembly: what is to be
//! measured is an instruction, and a compiler that sees the same product added over and over may find something better to do. Whatever
//! stands in the registers is multiplied; no unit of these is slower for special values (they flush subnormals or have none).

use crossover_protocol::NarrowCeiling;

/// One entry for each unit that this processor has.
pub fn measure(rate: impl Fn(fn() -> u64) -> u64) -> Vec<NarrowCeiling> {
    let ceiling = |unit: Unit| NarrowCeiling { precision: unit.precision.into(), isa: unit.isa.into(), ops_per_s: rate(unit.round) };
    units().into_iter().map(ceiling).collect()
}

struct Unit {
    precision: &'static str,
    isa: &'static str,
    /// Does some operations, and says how many.
    round: fn() -> u64,
}

#[cfg(not(target_arch = "x86_64"))]
fn units() -> Vec<Unit> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
fn units() -> Vec<Unit> {
    let candidates = [
        (is_x86_feature_detected!("avx512bf16"), Unit { precision: "bf16", isa: "avx512_bf16", round: vectors::bf16 }),
        (is_x86_feature_detected!("avx512vnni"), Unit { precision: "int8", isa: "avx512_vnni", round: vectors::int8 }),
        (is_x86_feature_detected!("avxvnni"), Unit { precision: "int8", isa: "avx_vnni", round: vectors::int8_short }),
        (tiles::usable(tiles::BF16), Unit { precision: "bf16", isa: "amx_bf16", round: tiles::bf16 }),
        (tiles::usable(tiles::INT8), Unit { precision: "int8", isa: "amx_int8", round: tiles::int8 }),
    ];
    candidates.into_iter().filter(|(present, _)| *present).map(|(_, unit)| unit).collect()
}

/// Rounds of the assembly loops.
#[cfg(target_arch = "x86_64")]
const STEPS: u64 = 4096;

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::asm;

    use super::STEPS;

    /// Twelve independent sums, as many as the other arithmetic loops keep.
    macro_rules! twelve_sums {
        ($name:ident, $instruction:literal, $register:literal, $operations:literal) => {
            pub fn $name() -> u64 {
                // SAFETY: `units` lists this loop only where the processor has the instruction. It touches nothing but the registers
                // that it declares.
                unsafe {
                    asm!(
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
                        "vzeroupper",
                        steps = inout(reg) STEPS => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nomem, nostack),
                    );
                }
                STEPS * 12 * $operations
            }
        };
    }

    twelve_sums!(bf16, "vdpbf16ps", "zmm", 64);
    twelve_sums!(int8, "vpdpbusd", "zmm", 128);
    twelve_sums!(int8_short, "{{vex}} vpdpbusd", "ymm", 64);
}

/// Intel's matrix unit. The kernel hands out its registers on request only, because they make each thread's state 8 KiB larger.
#[cfg(target_arch = "x86_64")]
mod tiles {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;

    use super::STEPS;

    /// Bits of register EDX of CPUID leaf 7.
    pub const BF16: u32 = 1 << 22;
    pub const INT8: u32 = 1 << 25;
    const TILE: u32 = 1 << 24;

    /// Does the processor have this kind of product, and does the kernel let us have it?
    pub fn usable(kind: u32) -> bool {
        __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & (kind | TILE) == kind | TILE && permitted()
    }

    #[cfg(not(target_os = "linux"))]
    fn permitted() -> bool {
        false
    }

    /// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`; permission is for the whole process, and asking twice is harmless.
    #[cfg(target_os = "linux")]
    fn permitted() -> bool {
        let (call, request, feature) = (158i64, 0x1023u64, 18u64);
        let answer: i64;
        // SAFETY: this system call reads its two numbers and touches no memory of ours; the kernel clobbers rcx and r11.
        unsafe {
            asm!("syscall", inlateout("rax") call => answer, in("rdi") request, in("rsi") feature, out("rcx") _, out("r11") _, options(nostack));
        }
        answer == 0
    }

    /// All eight tiles with 16 rows of 64 bytes (palette 1).
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    const FULL: Configuration = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Configuration(bytes)
    };

    /// Four sums from two tiles of rows and two of columns, as a matrix product keeps them.
    macro_rules! four_sums {
        ($name:ident, $instruction:literal, $operations:literal) => {
            pub fn $name() -> u64 {
                // SAFETY: `units` lists this loop only where the processor has the unit and the kernel permits it. It reads the
                // configuration, touches the tiles that it declares, and gives them back.
                unsafe {
                    asm!(
                        "ldtilecfg [{configuration}]",
                        "2:",
                        concat!($instruction, " tmm0, tmm4, tmm6"),
                        concat!($instruction, " tmm1, tmm4, tmm7"),
                        concat!($instruction, " tmm2, tmm5, tmm6"),
                        concat!($instruction, " tmm3, tmm5, tmm7"),
                        "dec {steps}",
                        "jnz 2b",
                        "tilerelease",
                        configuration = in(reg) &FULL,
                        steps = inout(reg) STEPS => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(readonly, nostack),
                    );
                }
                STEPS * 4 * $operations
            }
        };
    }

    four_sums!(bf16, "tdpbf16ps", 16_384);
    four_sums!(int8, "tdpbusd", 32_768);
}
