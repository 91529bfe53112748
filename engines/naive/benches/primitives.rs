//! The oracle's own speed at small sizes: it may be slow, but must not become absurd.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, NormWeights, Operand, ScoreBias, TransformerBackend};
use crossover_core::host::HostTensor;
use crossover_core::ops::{AttentionSpec, LinearSpec, MatmulSpec, NormKind, NormSpec, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;
use crossover_naive::NaiveBackend;
use crossover_naive::buffer::NaiveBuffer;

const FLOATING: [&str; 4] = ["f64", "f32", "bf16", "f16"];

fn engine(precision: &str) -> NaiveBackend {
    let precision = precision.parse().unwrap_or_else(|error| panic!("{error}"));
    NaiveBackend::new(&EngineConfig::new(precision, 1)).unwrap()
}

fn values(shape: &[usize]) -> HostTensor {
    let count: usize = shape.iter().product();
    HostTensor::new(shape, (0..count).map(|at| ((at * 37) % 101) as f64 / 50.0 - 1.0).collect()).unwrap()
}

fn tensor(engine: &NaiveBackend, shape: &[usize]) -> Tensor<NaiveBuffer> {
    engine.upload(&values(shape), engine.storage()).unwrap()
}

/// Throughput is floating-point operations: elements a second reads as FLOP/s.
fn matmul(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    let n = 128usize;
    group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
    for precision in FLOATING {
        let engine = engine(precision);
        let (a, b, mut out) = (tensor(&engine, &[n, n]), tensor(&engine, &[n, n]), tensor(&engine, &[n, n]));
        group.bench_function(BenchmarkId::new("plain", precision), |bencher| {
            bencher.iter(|| engine.matmul(MatmulSpec::PLAIN, a.view(), b.view(), out.view_mut()).unwrap());
        });
        let turned = b.view().transposed().unwrap();
        group.bench_function(BenchmarkId::new("transposed", precision), |bencher| {
            bencher.iter(|| engine.matmul(MatmulSpec::PLAIN, a.view(), turned, out.view_mut()).unwrap());
        });
    }
    group.finish();
}

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    let (rows, inputs, outputs) = (32usize, 256, 256);
    group.throughput(Throughput::Elements(2 * (rows * inputs * outputs) as u64));
    for precision in ["f32", "bf16", "int8", "int8-weight", "int4"] {
        let engine = engine(precision);
        let weight = HostWeight::for_precision(&values(&[outputs, inputs]), engine.config().precision).unwrap();
        let weight = engine.prepare_weight(&weight).unwrap();
        let (x, mut out) = (tensor(&engine, &[rows, inputs]), tensor(&engine, &[rows, outputs]));
        let spec = LinearSpec { activation: Activation::Relu };
        group.bench_function(precision, |bencher| {
            bencher.iter(|| engine.linear(spec, x.view(), &weight, None, out.view_mut()).unwrap());
        });
    }
    group.finish();
}

/// Throughput is elements of the tensor.
fn rows(c: &mut Criterion) {
    let (rows, width) = (64usize, 512usize);
    let mut group = c.benchmark_group("rows");
    group.throughput(Throughput::Elements((rows * width) as u64));
    for precision in FLOATING {
        let engine = engine(precision);
        let (x, gamma, mut out) = (tensor(&engine, &[rows, width]), tensor(&engine, &[width]), tensor(&engine, &[rows, width]));
        for algorithm in [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online] {
            group.bench_function(BenchmarkId::new(format!("softmax-{}", algorithm.name()), precision), |bencher| {
                bencher.iter(|| engine.softmax(algorithm, Operand::Of(x.view()), out.view_mut()).unwrap());
            });
        }
        let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
        let weights = NormWeights { gamma: Some(gamma.view()), beta: Some(gamma.view()) };
        group.bench_function(BenchmarkId::new("layer-norm", precision), |bencher| {
            bencher.iter(|| engine.normalize(spec, Operand::Of(x.view()), weights, out.view_mut()).unwrap());
        });
    }
    group.finish();
}

/// Throughput is floating-point operations of the two products.
fn attention(c: &mut Criterion) {
    let (heads, n, dim) = (2usize, 256usize, 64usize);
    let mut group = c.benchmark_group("attention");
    for (name, pattern) in [("full", AttentionPattern::Full), ("causal", AttentionPattern::Causal)] {
        group.throughput(Throughput::Elements(4 * heads as u64 * pattern.visible_pairs(0, n, n) * dim as u64));
        for precision in FLOATING {
            let engine = engine(precision);
            let [q, k, v, mut out] = [(); 4].map(|()| tensor(&engine, &[1, heads, n, dim]));
            let spec = AttentionSpec { pattern: pattern.clone(), scale: 0.125, soft_cap: None, query_offset: 0 };
            let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
            let mut scratch = Arena::new();
            group.bench_function(BenchmarkId::new(name, precision), |bencher| {
                bencher.iter(|| {
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
    targets = matmul, linear, rows, attention
}
criterion_main!(benches);
