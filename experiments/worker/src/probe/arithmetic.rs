//! Independent chains of fused multiply-adds, enough of them to fill the pipelines.
//!
//! Each accumulator is a vector register; twelve of them cover the latency of the multiply-add (4 cycles, two units, on the processors of
//! the last decade) with registers to spare. On x86 the instruction is named, not left to the compiler: it kept sixteen f32 lanes scalar
//! where it made vectors of eight f64, and a ceiling that is too low makes honest cells look impossible.

use std::hint::black_box;

const CHAINS: usize = 12;
const STEPS: usize = 4096;

#[cfg(target_arch = "x86_64")]
mod kernels {
    use std::arch::x86_64::{
        _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_set1_pd, _mm256_set1_ps, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_set1_pd, _mm512_set1_ps,
    };

    use super::*;

    /// The loop itself: `lanes` elements a chain.
    macro_rules! chains {
        ($name:ident, $lanes:expr, $splat:ident, $multiply_add:ident, $feature:literal) => {
            #[target_feature(enable = $feature)]
            fn $name() -> u64 {
                let (factor, summand) = ($splat(black_box(0.999_9)), $splat(black_box(1e-4)));
                let mut chains = [$splat(black_box(1.0)); CHAINS];
                for _ in 0..STEPS {
                    for chain in &mut chains {
                        *chain = $multiply_add(*chain, factor, summand);
                    }
                }
                black_box(chains);
                (2 * STEPS * CHAINS * $lanes) as u64
            }
        };
    }

    chains!(f32_avx512, 16, _mm512_set1_ps, _mm512_fmadd_ps, "avx512f");
    chains!(f64_avx512, 8, _mm512_set1_pd, _mm512_fmadd_pd, "avx512f");
    chains!(f32_avx2, 8, _mm256_set1_ps, _mm256_fmadd_ps, "avx2,fma");
    chains!(f64_avx2, 4, _mm256_set1_pd, _mm256_fmadd_pd, "avx2,fma");

    pub fn isa() -> &'static str {
        if is_x86_feature_detected!("avx512f") {
            "avx512f"
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            "avx2+fma"
        } else {
            portable::ISA
        }
    }

    pub fn f32_round() -> u64 {
        match isa() {
            // SAFETY: `isa` has just seen that the processor has avx512f.
            "avx512f" => unsafe { f32_avx512() },
            // SAFETY: `isa` has just seen that the processor has avx2 and fma.
            "avx2+fma" => unsafe { f32_avx2() },
            _ => portable::f32_round(),
        }
    }

    pub fn f64_round() -> u64 {
        match isa() {
            // SAFETY: `isa` has just seen that the processor has avx512f.
            "avx512f" => unsafe { f64_avx512() },
            // SAFETY: `isa` has just seen that the processor has avx2 and fma.
            "avx2+fma" => unsafe { f64_avx2() },
            _ => portable::f64_round(),
        }
    }
}

/// For processors without a path of their own: the target's baseline, where multiply and add are separate unless the baseline has a
/// fused one (as on aarch64).
mod portable {
    use std::hint::black_box;

    #[cfg(target_arch = "aarch64")]
    pub const ISA: &str = "neon";
    #[cfg(not(target_arch = "aarch64"))]
    pub const ISA: &str = "baseline";

    macro_rules! portable {
        ($name:ident, $element:ty, $lanes:expr) => {
            pub fn $name() -> u64 {
                const LANES: usize = $lanes;
                let factor = black_box([0.999_9 as $element; LANES]);
                let summand = black_box([1e-4 as $element; LANES]);
                let mut chains = black_box([[1.0 as $element; LANES]; super::CHAINS]);
                for _ in 0..super::STEPS {
                    for chain in &mut chains {
                        for lane in 0..LANES {
                            chain[lane] = if cfg!(target_arch = "aarch64") {
                                chain[lane].mul_add(factor[lane], summand[lane])
                            } else {
                                chain[lane] * factor[lane] + summand[lane]
                            };
                        }
                    }
                }
                black_box(chains);
                (2 * super::STEPS * super::CHAINS * LANES) as u64
            }
        };
    }
    portable!(f32_round, f32, 4);
    portable!(f64_round, f64, 2);
}

#[cfg(target_arch = "x86_64")]
pub use kernels::{f32_round, f64_round, isa};

#[cfg(not(target_arch = "x86_64"))]
pub use portable::{f32_round, f64_round};

/// The instruction set of the loops.
#[cfg(not(target_arch = "x86_64"))]
pub fn isa() -> &'static str {
    portable::ISA
}
