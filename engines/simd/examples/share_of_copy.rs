//! Shares of the bandwidth of copying that kernels by rows and by elements reach, out of cache.
//!
//! A scaling copy of the same number of bytes and the operation are timed in turns, over several sets of operands so that none is in a
//! cache when its turn comes, and the best of each counts. Bytes are those that the operation must move: each input once, each output once.
//! `cargo run --release -p crossover-simd --example share_of_copy -- [THREADS] [PRECISION] [FILTER] [ISA]`

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{EngineConfig, NormWeights, Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp};
use crossover_core::tensor::Tensor;
use crossover_simd::SimdBackend;
use crossover_simd::buffer::SimdBuffer;

const ROWS: usize = 4096;
const WIDTH: usize = 768;
/// Sets of operands: together beyond any cache.
const SETS: usize = 6;
const TURNS: usize = 40;

struct Set {
    x: Tensor<SimdBuffer>,
    y: Tensor<SimdBuffer>,
    out: Tensor<SimdBuffer>,
    sum: Tensor<SimdBuffer>,
}

struct Bench {
    engine: SimdBackend,
    threads: usize,
    filter: String,
    sets: Vec<Set>,
    copies: Vec<[Vec<f64>; 2]>,
}

/// Seconds from the first thread's start to the last one's end, as an operation is timed: on a busy machine threads wait for their core.
fn copy(copies: &mut [[Vec<f64>; 2]], turn: usize) -> f64 {
    let barrier = Barrier::new(copies.len());
    std::thread::scope(|scope| {
        let handles: Vec<_> = copies
            .iter_mut()
            .map(|[source, target]| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let part = source.len() / SETS;
                    let (source, target) = (&source[turn % SETS * part..][..part], &mut target[turn % SETS * part..][..part]);
                    barrier.wait();
                    let start = Instant::now();
                    for (target, source) in target.iter_mut().zip(black_box(source)) {
                        *target = 3.0 * source;
                    }
                    black_box(target);
                    (start, Instant::now())
                })
            })
            .collect();
        let spans: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
        let (first, last) = (spans.iter().map(|span| span.0).min(), spans.iter().map(|span| span.1).max());
        last.zip(first).map_or(0.0, |(last, first)| (last - first).as_secs_f64())
    })
}

impl Bench {
    /// `streams` operands of the full size are moved.
    fn of(&mut self, name: &str, streams: usize, mut call: impl FnMut(&SimdBackend, &mut Set)) {
        if !name.contains(&self.filter) {
            return;
        }
        let element = if self.engine.storage() == DType::F64 { 8 } else { 4 };
        let bytes = (ROWS * WIDTH * element) as f64;
        let (mut most, mut best) = (0f64, 0f64);
        for turn in 0..TURNS * SETS {
            most = most.max(2.0 * bytes / copy(&mut self.copies, turn));
            let start = Instant::now();
            call(&self.engine, &mut self.sets[turn % SETS]);
            best = best.max(streams as f64 * bytes / start.elapsed().as_secs_f64());
        }
        println!("{name:18} {} {:6.1} of {:6.1} GB/s {:6.1} %", self.threads, best / 1e9, most / 1e9, 100.0 * best / most);
    }
}

fn tensor(engine: &SimdBackend, shape: &[usize], dtype: DType) -> Tensor<SimdBuffer> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|at| ((at * 37) % 101) as f64 / 25.0 - 2.0).collect();
    engine.upload(&HostTensor::new(shape, values).unwrap(), dtype).unwrap()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, otherwise: &str| arguments.get(at).cloned().unwrap_or_else(|| otherwise.to_owned());
    let threads = argument(0, "1").parse::<usize>().unwrap();
    let config = EngineConfig {
        isa: IsaChoice::from_name(&argument(3, "auto")).unwrap(),
        ..EngineConfig::new(argument(1, "f32").parse().unwrap(), threads)
    };
    let engine = SimdBackend::new(&config).unwrap();
    let full = |shape: &[usize]| tensor(&engine, shape, engine.storage());
    let shape = [ROWS, WIDTH];
    let sets = (0..SETS).map(|_| Set { x: full(&shape), y: full(&shape), out: full(&shape), sum: full(&shape) }).collect();
    let doubles = ROWS * WIDTH * SETS / threads / if engine.storage() == DType::F64 { 1 } else { 2 };
    let copies = (0..threads).map(|_| [vec![1.0; doubles], vec![2.0; doubles]]).collect();
    let (gamma, beta, mut means) = (full(&[WIDTH]), full(&[WIDTH]), full(&[ROWS]));
    let [cosines, sines] = [full(&[ROWS, WIDTH / 2]), full(&[ROWS, WIDTH / 2])];
    let (mut values, mut indices) = (full(&[ROWS, 8]), tensor(&engine, &[ROWS, 8], DType::I32));
    let mut scratch = Arena::new();
    let mut bench = Bench { engine, threads, filter: argument(2, ""), sets, copies };
    let weights = || NormWeights { gamma: Some(gamma.view()), beta: Some(beta.view()) };
    let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
    for algorithm in [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online] {
        bench.of(&format!("softmax-{}", algorithm.name()), 2, |engine, set| {
            engine.softmax(algorithm, Operand::Of(set.x.view()), set.out.view_mut()).unwrap();
        });
    }
    bench.of("log-softmax", 2, |engine, set| {
        engine.log_softmax(Operand::Of(set.x.view()), set.out.view_mut(), &mut scratch).unwrap();
    });
    bench.of("layer-norm", 2, |engine, set| engine.normalize(spec, Operand::Of(set.x.view()), weights(), set.out.view_mut()).unwrap());
    bench.of("add-norm", 3, |engine, set| engine.add_norm(spec, set.x.view(), set.y.view(), weights(), None, set.out.view_mut()).unwrap());
    bench.of("add-norm-sum", 4, |engine, set| {
        engine.add_norm(spec, set.x.view(), set.y.view(), weights(), Some(set.sum.view_mut()), set.out.view_mut()).unwrap();
    });
    for activation in [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
        bench.of(activation.name(), 2, |engine, set| {
            engine.unary(UnaryOp::Activation(activation), Operand::Of(set.x.view()), set.out.view_mut()).unwrap();
        });
    }
    for (name, op) in [("exp", UnaryOp::Exp), ("tanh", UnaryOp::Tanh), ("log", UnaryOp::Log)] {
        bench.of(name, 2, |engine, set| engine.unary(op, Operand::Of(set.x.view()), set.out.view_mut()).unwrap());
    }
    bench.of("add", 3, |engine, set| engine.binary(BinaryOp::Add, Operand::Of(set.x.view()), set.y.view(), set.out.view_mut()).unwrap());
    bench
        .of("add-row", 2, |engine, set| engine.binary(BinaryOp::Add, Operand::Of(set.x.view()), gamma.view(), set.out.view_mut()).unwrap());
    bench.of("copy", 2, |engine, set| engine.copy(set.x.view(), set.out.view_mut()).unwrap());
    bench.of("mean", 1, |engine, set| engine.reduce(ReduceOp::Mean, set.x.view(), means.view_mut()).unwrap());
    bench.of("rotary", 3, |engine, set| {
        engine.rotary(set.x.view(), cosines.view(), sines.view(), set.out.view_mut(), &mut scratch).unwrap();
    });
    let orders: Vec<f64> = (0..ROWS).map(|row| (row * 1597 % ROWS) as f64).collect();
    let orders = bench.engine.upload(&HostTensor::new(&[ROWS], orders).unwrap(), DType::I32).unwrap();
    bench.of("gather", 2, |engine, set| engine.gather_rows(set.x.view(), orders.view(), set.out.view_mut()).unwrap());
    bench.of("gather-row-by-row", 2, |engine, set| {
        for row in 0..ROWS {
            let x = set.x.view().narrow(0, row * 1597 % ROWS, 1).unwrap();
            engine.copy(x, set.out.view_mut().narrow(0, row, 1).unwrap()).unwrap();
        }
    });
    bench.of("scatter-add", 3, |engine, set| engine.scatter_add_rows(set.x.view(), orders.view(), set.out.view_mut()).unwrap());
    bench.of("top-k", 1, |engine, set| engine.top_k(set.x.view(), values.view_mut(), indices.view_mut()).unwrap());
    bench.of("softmax-top-k", 1, |engine, set| {
        engine.softmax_top_k(set.x.view(), values.view_mut(), indices.view_mut(), &mut scratch).unwrap();
    });
}
