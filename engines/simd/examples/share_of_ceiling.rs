//! Shares of the machine's ceilings that products reach: multiply-adds (or products of pairs of bf16, or of four int8 codes, where the
//! processor has them and that is the precision) for large ones, reading for one row; and sparse layers against dense ones.
//!
//! The ceiling and the product are timed in turns of a few milliseconds, and the best of each counts, so that a busy neighbour or a changing
//! clock hits both alike. One thread is timed by the processor time that it used, several by the clock on the wall. `cargo run --release -p crossover-simd --example share_of_ceiling -- [THREADS] [PRECISION] [FILTER]`

use std::hint::black_box;
use std::sync::Barrier;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{EngineConfig, Operand, PreparedWeight, TransformerBackend};
use crossover_core::compose;
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::ops::{LinearAttentionSpec, LinearSpec, MatmulSpec, UnaryOp};
use crossover_core::sparse::{SparseWeight, Structure};
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

/// Likewise of pairs of bf16 (64 operations an instruction) or of four codes (128); nothing where the processor lacks them.
#[cfg(target_arch = "x86_64")]
fn narrow_round(precision: &str, threads: usize) -> Option<(f64, f64)> {
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
fn narrow_round(_: &str, _: usize) -> Option<(f64, f64)> {
    None
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
        let ceiling = || on_all(threads, |_| narrow_round(&precision, threads).unwrap_or_else(|| fma_round(double, threads)));
        let turned = turned.view().transposed().unwrap();
        for (name, b) in [("plain", b.view()), ("transposed", turned)] {
            if name.contains(&filter) && precision != "int8" {
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
            let bytes = weight.bytes() as f64;
            report("step", shape, duel(threads, bytes, || on_all(threads, |at| read_round(&memory[at], threads)), call), "B");
        }
        if "vector".contains(&filter) && precision != "int8" {
            let (a, b, turned, mut out) =
                (tensor(&engine, &[m, k]), tensor(&engine, &[k, n]), tensor(&engine, &[n, k]), tensor(&engine, &[m, n]));
            let turned = turned.view().transposed().unwrap();
            let bytes = engine.storage().bytes(n * k).unwrap() as f64;
            for (name, b) in [("vector", b.view()), ("vector-dots", turned)] {
                let call = || engine.matmul(MatmulSpec::PLAIN, a.view(), b, out.view_mut()).unwrap();
                report(name, shape, duel(threads, bytes, || on_all(threads, |at| read_round(&memory[at], threads)), call), "B");
            }
        }
    }
    if "linear-attention".contains(&filter) && matches!(precision.as_str(), "f32" | "f64") {
        for causal in [false, true] {
            linear_attention(&engine, threads, causal, || on_all(threads, |_| fma_round(double, threads)));
        }
    }
    if "sparse".contains(&filter) {
        sparse_against_dense(&engine, threads);
    }
}

/// Linear attention of 12 heads by the engine's kernel and by the composition, of the operations that its four (or two) products need.
fn linear_attention(engine: &SimdBackend, threads: usize, causal: bool, ceiling: impl Fn() -> f64) {
    let (heads, n, dim, chunk) = (12, 2048, 64, 64);
    let spec = LinearAttentionSpec { causal, epsilon: 1e-6, chunk };
    let x = tensor(engine, &[1, heads, n, dim]);
    let mut positive = tensor(engine, &[1, heads, n, dim]);
    engine.unary(UnaryOp::Exp, Operand::Of(x.view()), positive.view_mut()).unwrap();
    let (mut out, mut scratch) = (tensor(engine, &[1, heads, n, dim]), Arena::new());
    let (q, v) = (positive.view(), x.view());
    let flops = 4.0 * (heads * n * dim * (dim + if causal { chunk } else { 0 })) as f64;
    let report = |name: &str, (most, best): (f64, f64)| {
        println!(
            "{name:12} causal {causal:5} {n:5} {dim:5}  {:7.1} of {:7.1} GFLOP/s  {:5.1} %",
            best / 1e9,
            most / 1e9,
            100.0 * best / most
        );
    };
    let own = || engine.linear_attention(spec, q, q, v, out.view_mut(), &mut scratch).unwrap();
    report("linear-attention", duel(threads, flops, &ceiling, own));
    let composed = || compose::linear_attention::chunked(engine, spec, q, q, v, out.view_mut(), &mut scratch).unwrap();
    report("composed", duel(threads, flops, &ceiling, composed));
}

/// Seconds of layers of 128 rows on [768, 3072] and back, some of whose entries are stored, against the dense layer, in turns.
fn sparse_against_dense(engine: &SimdBackend, threads: usize) {
    for [outputs, inputs] in [[768, 3072], [3072, 768]] {
        let dense_values = values(&[outputs, inputs]);
        let nm = Structure::NofM { n: 2, m: 4 };
        let blocks = Structure::Blocks { rows: 16, columns: 16 };
        let cases = [
            ("csr 50 %", Structure::Unstructured, 2, 1),
            ("csr 80 %", Structure::Unstructured, 5, 1),
            ("csr 90 %", Structure::Unstructured, 10, 1),
            ("2:4", nm, 0, 1),
            ("blocks 50 %", blocks, 2, 16),
            ("blocks 90 %", blocks, 10, 16),
        ];
        let (x, mut out) = (tensor(engine, &[128, inputs]), tensor(engine, &[128, outputs]));
        let spec = LinearSpec { activation: Activation::None };
        let dense = engine.prepare_weight(&HostWeight::for_precision(&dense_values, engine.config().precision).unwrap()).unwrap();
        for (name, structure, one_in, block) in cases {
            let kept = |at: usize| match one_in {
                0 => at % 4 < 2,
                _ => ((at / inputs / block * 7919 + at % inputs / block * 104_729) % 1009).is_multiple_of(one_in),
            };
            let kept: Vec<bool> = (0..outputs * inputs).map(kept).collect();
            let host = SparseWeight::masked(&dense_values, &kept, structure, DType::F32).unwrap();
            let sparse = engine.prepare_weight(&HostWeight::Sparse(host)).unwrap();
            let mut best = [f64::INFINITY; 2];
            for _ in 0..40 {
                for (weight, best) in [&dense, &sparse].into_iter().zip(&mut best) {
                    let start = now(threads);
                    engine.linear(spec, x.view(), weight, None, out.view_mut()).unwrap();
                    *best = best.min(now(threads) - start);
                }
            }
            let [dense, sparse] = best.map(|seconds| 1e6 * seconds);
            println!("{name:12} 128 {outputs:5} {inputs:5}  dense {dense:8.0} us, sparse {sparse:8.0} us: {:.2} x", dense / sparse);
        }
    }
}
