//! Shares of the machine's ceilings that products reach: multiply-adds (or products of pairs of bf16, or of four int8 codes, where the
//! processor has them and that is the precision) for large ones, reading for one row; and sparse layers against dense ones.
//!
//! The ceiling and the product are timed in turns of a few milliseconds, and the best of each counts, so that a busy neighbour or a changing
//! clock hits both alike. One thread is timed by the processor time that it used, several by the clock on the wall. `cargo run --release -p crossover-simd --example share_of_ceiling -- [THREADS] [PRECISION] [FILTER]`

mod ceilings;

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

use ceilings::{duel, fma_round, narrow_round, now, on_all, read_round};

const PRODUCTS: [[usize; 3]; 7] =
    [[128, 128, 128], [128, 768, 768], [256, 256, 256], [512, 512, 512], [1024, 1024, 1024], [2048, 2048, 2048], [512, 3072, 768]];
const STEPS: [[usize; 3]; 3] = [[1, 4096, 4096], [4, 4096, 4096], [8, 4096, 4096]];
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
