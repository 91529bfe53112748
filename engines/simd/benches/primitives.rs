//! The operations and shapes for which the engine has targets. Throughput is floating-point operations; for one row bytes of the weight
//! or of keys and values, for rows and elements bytes moved.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{
    AttentionOperands, AttentionOutputs, EngineConfig, NormWeights, Operand, PreparedWeight, ScoreBias, TransformerBackend,
};
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::ops::{AttentionSpec, LinearSpec, MatmulSpec, NormKind, NormSpec, SoftmaxAlgorithm, UnaryOp};
use crossover_core::pattern::AttentionPattern;
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

/// m, n, k.
const PRODUCTS: [[usize; 3]; 5] = [[512, 512, 512], [1024, 1024, 1024], [2048, 2048, 2048], [512, 3072, 768], [128, 768, 768]];
/// Rows, outputs and inputs of a decoder's step.
const STEPS: [[usize; 3]; 2] = [[1, 4096, 4096], [8, 4096, 4096]];
const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

fn engine(precision: &str, threads: usize) -> SimdBackend {
    let precision = precision.parse().unwrap_or_else(|error| panic!("{error}"));
    SimdBackend::new(&EngineConfig::new(precision, threads)).unwrap()
}

fn values(shape: &[usize]) -> HostTensor {
    let count: usize = shape.iter().product();
    HostTensor::new(shape, (0..count).map(|at| ((at * 37) % 101) as f64 / 50.0 - 1.0).collect()).unwrap()
}

fn tensor(engine: &SimdBackend, shape: &[usize]) -> Tensor<SimdBuffer> {
    engine.upload(&values(shape), engine.storage()).unwrap()
}

fn matmul(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    for (precision, threads) in [("f32", 1), ("f32", 2), ("f64", 1), ("f64", 2), ("bf16", 1), ("bf16", 2)] {
        let engine = engine(precision, threads);
        for [m, n, k] in PRODUCTS {
            group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
            let (a, b, turned, mut out) =
                (tensor(&engine, &[m, k]), tensor(&engine, &[k, n]), tensor(&engine, &[n, k]), tensor(&engine, &[m, n]));
            let name = format!("{precision}-{threads}");
            group.bench_function(BenchmarkId::new(format!("{name}-plain"), format!("{m}x{n}x{k}")), |bencher| {
                bencher.iter(|| engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), out.view_mut()).unwrap());
            });
            let turned = turned.view().transposed().unwrap();
            group.bench_function(BenchmarkId::new(format!("{name}-transposed"), format!("{m}x{n}x{k}")), |bencher| {
                bencher.iter(|| engine.matmul(MatmulSpec::PLAIN, a.view(), turned, out.view_mut()).unwrap());
            });
        }
    }
    group.finish();
}

/// A layer of this weight on so many rows.
fn layer(group: &mut Group<'_>, engine: &SimdBackend, name: &str, rows: usize, weight: &HostWeight) {
    let (n, k) = (weight.outputs(), weight.inputs());
    let weight = engine.prepare_weight(weight).unwrap();
    group.throughput(match rows {
        1 => Throughput::Bytes(weight.bytes() as u64),
        _ => Throughput::Elements(2 * (rows * n * k) as u64),
    });
    let (x, mut out) = (tensor(engine, &[rows, k]), tensor(engine, &[rows, n]));
    let name = format!("{name}-{}", engine.config().threads);
    group.bench_function(BenchmarkId::new(name, format!("{rows}x{n}x{k}")), |bencher| {
        bencher.iter(|| engine.linear(PLAIN, x.view(), &weight, None, out.view_mut()).unwrap());
    });
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    for threads in [1, 2] {
        for precision in ["f32", "f64", "bf16", "int8", "int8-weight", "int4"] {
            let engine = engine(precision, threads);
            // Weights that are narrow alone are multiplied as f32: it is a decoder's steps that they are for.
            let shapes = if ["int8-weight", "int4"].contains(&precision) { &[][..] } else { &PRODUCTS[..] };
            for &[rows, n, k] in shapes.iter().chain(&STEPS) {
                let weight = HostWeight::for_precision(&values(&[n, k]), engine.config().precision).unwrap();
                layer(&mut group, &engine, precision, rows, &weight);
            }
        }
    }
    group.finish();
}

/// Dense, unstructured at a share of zeros, and two of four.
fn sparse(c: &mut Criterion) {
    let mut group = c.benchmark_group("sparse");
    let (rows, n, k) = (128usize, 768, 3072);
    let dense = values(&[n, k]);
    let masked = |kept: &dyn Fn(usize) -> bool, structure| {
        let kept: Vec<bool> = (0..n * k).map(kept).collect();
        HostWeight::Sparse(SparseWeight::masked(&dense, &kept, structure, DType::F32).unwrap())
    };
    let scattered = |at: usize| at.wrapping_mul(2_654_435_761) >> 8 & 0xff;
    let weights = [
        ("dense", HostWeight::Dense { values: dense.clone(), dtype: DType::F32 }),
        ("csr-90", masked(&|at| scattered(at) < 26, Structure::Unstructured)),
        ("csr-50", masked(&|at| scattered(at) < 128, Structure::Unstructured)),
        ("2-of-4", masked(&|at| at % 4 < 2, Structure::NofM { n: 2, m: 4 })),
    ];
    for threads in [1, 2] {
        let engine = engine("f32", threads);
        weights.iter().for_each(|(name, weight)| layer(&mut group, &engine, name, rows, weight));
    }
    group.finish();
}

/// Out of every cache: 4096 rows of 768 singles are 12.6 MB each way.
fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("rows");
    let shape = [4096usize, 768];
    let moved = |operands: usize| Throughput::Bytes((operands * 4 * shape[0] * shape[1]) as u64);
    for threads in [1, 2] {
        let engine = engine("f32", threads);
        let [x, residual, gamma] = [&shape[..], &shape, &shape[1..]].map(|shape| tensor(&engine, shape));
        let mut out = tensor(&engine, &shape);
        let weights = NormWeights { gamma: Some(gamma.view()), beta: Some(gamma.view()) };
        let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
        group.throughput(moved(2));
        for algorithm in [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online] {
            group.bench_function(BenchmarkId::new(format!("softmax-{}", algorithm.name()), threads), |bencher| {
                bencher.iter(|| engine.softmax(algorithm, Operand::Of(x.view()), out.view_mut()).unwrap());
            });
        }
        group.bench_function(BenchmarkId::new("layer-norm", threads), |bencher| {
            bencher.iter(|| engine.normalize(spec, Operand::Of(x.view()), weights, out.view_mut()).unwrap());
        });
        group.bench_function(BenchmarkId::new("gelu", threads), |bencher| {
            bencher.iter(|| engine.unary(UnaryOp::Activation(Activation::Gelu), Operand::Of(x.view()), out.view_mut()).unwrap());
        });
        group.throughput(moved(3));
        group.bench_function(BenchmarkId::new("add-norm", threads), |bencher| {
            bencher.iter(|| engine.add_norm(spec, x.view(), residual.view(), weights, None, out.view_mut()).unwrap());
        });
    }
    group.finish();
}

/// Flash attention of 12 heads of 64, and a decoder's step over 4096 keys.
fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for (precision, threads) in [("f32", 1), ("f32", 2), ("bf16", 1), ("bf16", 2)] {
        let engine = engine(precision, threads);
        let window = AttentionPattern::Window { left: 256, right: 256 };
        let full = |n| ("full", AttentionPattern::Full, [n, n]);
        let cases = [
            full(512),
            full(2048),
            ("causal", AttentionPattern::Causal, [2048; 2]),
            ("window", window, [2048; 2]),
            ("step", AttentionPattern::Causal, [1, 4096]),
        ];
        for (name, pattern, [queries, keys]) in cases {
            let spec = AttentionSpec { pattern, scale: 0.125, soft_cap: None, query_offset: keys - queries };
            let (q, k, v) =
                (tensor(&engine, &[1, 12, queries, 64]), tensor(&engine, &[1, 12, keys, 64]), tensor(&engine, &[1, 12, keys, 64]));
            let (mut out, mut scratch) = (tensor(&engine, &[1, 12, queries, 64]), Arena::new());
            let pairs = spec.pattern.visible_pairs(spec.query_offset, queries, keys);
            let bytes = engine.storage().bytes(2 * 12 * keys * 64).unwrap() as u64;
            group.throughput(if queries == 1 { Throughput::Bytes(bytes) } else { Throughput::Elements(4 * 12 * 64 * pairs) });
            group.bench_function(BenchmarkId::new(format!("{precision}-{threads}-{name}"), format!("{queries}x{keys}")), |bencher| {
                bencher.iter(|| {
                    let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
                    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: None };
                    engine.attention(&spec, operands, outputs, &mut scratch).unwrap();
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = matmul, linear, sparse, rows, attention
}
criterion_main!(benches);
