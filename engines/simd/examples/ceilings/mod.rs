//! Ceilings of a machine as loops, and how something is timed against one: what the examples that tell shares have in common.
//!
//! The ceiling and the call are timed in turns of a few milliseconds, and the best of each counts, so that a busy neighbour or a changing
//! clock hits both alike. One thread is timed by the processor time that it used, several by the clock on the wall.
#![allow(dead_code, reason = "each example uses some of it")]

use std::hint::black_box;
use std::sync::Barrier;

use rustix::time::{ClockId, clock_gettime};

const TURNS: usize = 25;
/// Of calls with more work than this, fewer.
const LONG: f64 = 8e9;

/// Seconds, of this thread or of the world.
pub fn now(threads: usize) -> f64 {
    let clock = if threads == 1 { ClockId::ThreadCPUTime } else { ClockId::Monotonic };
    let time = clock_gettime(clock);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Operations of products of pairs of bf16 (64 an instruction) or of four codes (128), and seconds for them; nothing where the processor
/// lacks them.
#[cfg(target_arch = "x86_64")]
pub fn narrow_round(precision: &str, threads: usize) -> Option<(f64, f64)> {
    use std::arch::x86_64::*;
    const STEPS: usize = 60_000;
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pairs() {
        let one = black_box([0x3f80_3f80u32; 16]);
        // SAFETY: 64 bytes without a meaning of their own.
        let one = unsafe { std::mem::transmute::<[u32; 16], __m512bh>(one) };
        let mut chains = [_mm512_set1_ps(black_box(1.0)); 12];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = _mm512_dpbf16_ps(*chain, one, one);
            }
        }
        black_box(chains);
    }
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn codes() {
        let one = _mm512_set1_epi32(black_box(0x0101_0101));
        let mut chains = [_mm512_set1_epi32(black_box(1)); 12];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = _mm512_dpbusd_epi32(*chain, one, one);
            }
        }
        black_box(chains);
    }
    let start = now(threads);
    let operations = match precision {
        // SAFETY: just detected.
        "bf16" if is_x86_feature_detected!("avx512bf16") => unsafe {
            pairs();
            64
        },
        // SAFETY: just detected.
        "int8" if is_x86_feature_detected!("avx512vnni") => unsafe {
            codes();
            128
        },
        _ => return None,
    };
    Some(((STEPS * 12 * operations) as f64, now(threads) - start))
}

#[cfg(not(target_arch = "x86_64"))]
pub fn narrow_round(_: &str, _: usize) -> Option<(f64, f64)> {
    None
}

/// Wide, independent chains of multiply-adds; returns seconds for a floating-point operation of one thread.
pub fn fma_round(double: bool, threads: usize) -> (f64, f64) {
    const LANES: usize = 16;
    const STEPS: usize = 60_000;
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn wide() {
        use std::arch::x86_64::*;
        let (factor, summand) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-4)));
        let mut chains = [_mm512_set1_ps(black_box(1.0)); 12];
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = _mm512_fmadd_ps(*chain, factor, summand);
            }
        }
        black_box(chains);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn narrow() {
        use std::arch::x86_64::*;
        let (factor, summand) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-4)));
        let mut chains = [_mm256_set1_ps(black_box(1.0)); 12];
        for _ in 0..2 * STEPS {
            for chain in &mut chains {
                *chain = _mm256_fmadd_ps(*chain, factor, summand);
            }
        }
        black_box(chains);
    }
    let start = now(threads);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: just detected.
        unsafe { wide() };
    } else if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2") {
        // SAFETY: just detected.
        unsafe { narrow() };
    }
    let flops = (2 * STEPS * 12 * LANES) as f64 / if double { 2.0 } else { 1.0 };
    (flops, (now(threads) - start))
}

/// Reads these values once; bytes and seconds.
pub fn read_round(values: &[f64], threads: usize) -> (f64, f64) {
    let start = now(threads);
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn wide(values: &[f64]) -> [f64; 64] {
        sum(values)
    }
    #[inline(always)]
    fn sum(values: &[f64]) -> [f64; 64] {
        let mut sums = [0f64; 64];
        for chunk in values.as_chunks::<64>().0 {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += value;
            }
        }
        sums
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: just detected.
        black_box(unsafe { wide(values) });
        return ((8 * values.len()) as f64, now(threads) - start);
    }
    black_box(sum(values));
    ((8 * values.len()) as f64, (now(threads) - start))
}

/// Work a second of all threads together.
pub fn on_all(threads: usize, round: impl Fn(usize) -> (f64, f64) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let one = |at: usize| {
            barrier.wait();
            let (work, seconds) = round(at);
            work / seconds
        };
        let handles: Vec<_> = (0..threads).map(|at| scope.spawn(move || one(at))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    })
}

/// Best rates of the ceiling and of the call, in turns.
pub fn duel(threads: usize, work: f64, ceiling: impl Fn() -> f64, mut call: impl FnMut()) -> (f64, f64) {
    call();
    let (mut most, mut best) = (0f64, 0f64);
    for _ in 0..if work > LONG { TURNS / 3 } else { TURNS } {
        most = most.max(ceiling());
        let calls = ((4e9 / 100.0 / work) as usize).clamp(1, 50);
        for _ in 0..calls {
            let start = now(threads);
            call();
            best = best.max(work / (now(threads) - start));
        }
    }
    (most, best)
}
