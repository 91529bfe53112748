//! Shares of the machine's ceilings that products reach: multiply-adds for large ones, reading for one row.
//!
//! The ceiling and the product are timed in turns of a few milliseconds, and the best of each counts, so that a busy neighbour or a changing
//! clock hits both alike. One thread is timed by the processor time that it used, several by the clock on the wall. `cargo run --release -p crossover-simd --example share_of_ceiling -- [THREADS] [PRECISION] [FILTER]`

use std::hint::black_box;
use std::sync::Barrier;

use crossover_core::activation::Activation;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::host::HostTensor;
use crossover_core::ops::{LinearSpec, MatmulSpec};
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;
use rustix::time::{ClockId, clock_gettime};

const PRODUCTS: [[usize; 3]; 7] =
    [[128, 128, 128], [128, 768, 768], [256, 256, 256], [512, 512, 512], [1024, 1024, 1024], [2048, 2048, 2048], [512, 3072, 768]];
const STEPS: [[usize; 3]; 3] = [[1, 4096, 4096], [4, 4096, 4096], [8, 4096, 4096]];
const TURNS: usize = 25;

/// Seconds, of this thread or of the world.
fn now(threads: usize) -> f64 {
    let clock = if threads == 1 { ClockId::ThreadCPUTime } else { ClockId::Monotonic };
    let time = clock_gettime(clock);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Wide, independent chains of multiply-adds; returns seconds for a floating-point operation of one thread.
fn fma_round(double: bool, threads: usize) -> (f64, f64) {
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

fn read_round(values: &[f64], threads: usize) -> (f64, f64) {
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
fn on_all(threads: usize, round: impl Fn(usize) -> (f64, f64) + Sync) -> f64 {
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
fn duel(threads: usize, work: f64, ceiling: impl Fn() -> f64, mut call: impl FnMut()) -> (f64, f64) {
    call();
    let (mut most, mut best) = (0f64, 0f64);
    for _ in 0..TURNS {
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

fn values(shape: &[usize]) -> HostTensor {
    let count: usize = shape.iter().product();
    HostTensor::new(shape, (0..count).map(|at| ((at * 37) % 101) as f64 / 50.0 - 1.0).collect()).unwrap()
}

fn tensor(engine: &SimdBackend, shape: &[usize]) -> Tensor<SimdBuffer> {
    engine.upload(&values(shape), engine.storage()).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, otherwise: &str| arguments.get(at).cloned().unwrap_or_else(|| otherwise.to_owned());
    let (threads, precision, filter) = (argument(0, "1").parse::<usize>().unwrap(), argument(1, "f32"), argument(2, ""));
    let engine = SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), threads)).unwrap();
    let double = precision == "f64";
    let report = |name: &str, [m, n, k]: [usize; 3], (most, best): (f64, f64), unit: &str| {
        println!("{name:12} {m:5} {n:5} {k:5}  {:7.1} of {:7.1} G{unit}/s  {:5.1} %", best / 1e9, most / 1e9, 100.0 * best / most);
    };
    for shape @ [m, n, k] in PRODUCTS {
        let flops = 2.0 * (m * n * k) as f64;
        let (a, b, turned, mut out) =
            (tensor(&engine, &[m, k]), tensor(&engine, &[k, n]), tensor(&engine, &[n, k]), tensor(&engine, &[m, n]));
        let ceiling = || on_all(threads, |_| fma_round(double, threads));
        let turned = turned.view().transposed().unwrap();
        for (name, b) in [("plain", b.view()), ("transposed", turned)] {
            if name.contains(&filter) {
                let call = || engine.matmul(MatmulSpec::PLAIN, a.view(), b, out.view_mut()).unwrap();
                report(name, shape, duel(threads, flops, ceiling, call), "FLOP");
            }
        }
        if "linear".contains(&filter) {
            let weight = engine.prepare_weight(&HostWeight::for_precision(&values(&[n, k]), engine.config().precision).unwrap()).unwrap();
            let spec = LinearSpec { activation: Activation::None };
            let call = || engine.linear(spec, a.view(), &weight, None, out.view_mut()).unwrap();
            report("linear", shape, duel(threads, flops, ceiling, call), "FLOP");
        }
    }
    let memory: Vec<Vec<f64>> = vec![vec![1.0; (64 << 20) / 8 / threads]; threads];
    for shape @ [m, n, k] in STEPS {
        if "step".contains(&filter) {
            let weight = engine.prepare_weight(&HostWeight::for_precision(&values(&[n, k]), engine.config().precision).unwrap()).unwrap();
            let (x, mut out) = (tensor(&engine, &[m, k]), tensor(&engine, &[m, n]));
            let spec = LinearSpec { activation: Activation::None };
            let call = || engine.linear(spec, x.view(), &weight, None, out.view_mut()).unwrap();
            let bytes = (n * k * if double { 8 } else { 4 }) as f64;
            report("step", shape, duel(threads, bytes, || on_all(threads, |at| read_round(&memory[at], threads)), call), "B");
        }
        if "vector".contains(&filter) {
            let (a, b, turned, mut out) =
                (tensor(&engine, &[m, k]), tensor(&engine, &[k, n]), tensor(&engine, &[n, k]), tensor(&engine, &[m, n]));
            let turned = turned.view().transposed().unwrap();
            let bytes = (n * k * if double { 8 } else { 4 }) as f64;
            for (name, b) in [("vector", b.view()), ("vector-dots", turned)] {
                let call = || engine.matmul(MatmulSpec::PLAIN, a.view(), b, out.view_mut()).unwrap();
                report(name, shape, duel(threads, bytes, || on_all(threads, |at| read_round(&memory[at], threads)), call), "B");
            }
        }
    }
}
