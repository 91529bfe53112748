//! Products at the shapes for which the engine has targets. Throughput is floating-point operations, and for one row bytes of the weight.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossover_core::activation::Activation;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::host::HostTensor;
use crossover_core::ops::{LinearSpec, MatmulSpec};
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

/// m, n, k.
const PRODUCTS: [[usize; 3]; 5] = [[512, 512, 512], [1024, 1024, 1024], [2048, 2048, 2048], [512, 3072, 768], [128, 768, 768]];
/// Rows, outputs and inputs of a decoder's step.
const STEPS: [[usize; 3]; 2] = [[1, 4096, 4096], [8, 4096, 4096]];

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
    for (precision, threads) in [("f32", 1), ("f32", 2), ("f64", 1)] {
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

fn linear(c: &mut Criterion) {
    let mut group = c.benchmark_group("linear");
    for threads in [1, 2] {
        let engine = engine("f32", threads);
        for (shape, is_step) in PRODUCTS.map(|shape| (shape, false)).into_iter().chain(STEPS.map(|shape| (shape, true))) {
            let [m, n, k] = shape;
            group.throughput(if is_step { Throughput::Bytes(4 * (n * k) as u64) } else { Throughput::Elements(2 * (m * n * k) as u64) });
            let weight = HostWeight::for_precision(&values(&[n, k]), engine.config().precision).unwrap();
            let weight = engine.prepare_weight(&weight).unwrap();
            let (x, mut out) = (tensor(&engine, &[m, k]), tensor(&engine, &[m, n]));
            let spec = LinearSpec { activation: Activation::None };
            group.bench_function(BenchmarkId::new(format!("f32-{threads}"), format!("{m}x{n}x{k}")), |bencher| {
                bencher.iter(|| engine.linear(spec, x.view(), &weight, None, out.view_mut()).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = matmul, linear
}
criterion_main!(benches);
