//! A warm call allocates nothing: every operation once to warm up, and once more under a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, NormWeights, Operand, ScoreBias, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{
    AttentionSpec, BinaryOp, LinearAttentionSpec, LinearSpec, MatmulSpec, NormKind, NormSpec, ReduceOp, SoftmaxAlgorithm, UnaryOp,
};
use crossover_core::palette::Palette;
use crossover_core::pattern::AttentionPattern;
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;
use crossover_naive::NaiveBackend;
use crossover_naive::buffer::NaiveBuffer;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches a thread-local cell and nothing else.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on unchanged.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn expect_none(what: &str, mut call: impl FnMut() -> Result<()>) {
    call().unwrap();
    let before = ALLOCATIONS.with(Cell::get);
    call().unwrap();
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(after - before, 0, "{what} allocates");
}

fn tensor(engine: &NaiveBackend, dtype: DType, shape: &[usize]) -> Tensor<NaiveBuffer> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|at| ((at * 7) % 5) as f64 * 0.25).collect();
    engine.upload(&HostTensor::new(shape, values).unwrap(), dtype).unwrap()
}

#[test]
fn warm_calls_allocate_nothing() {
    for precision in ["f64", "f32", "bf16", "int8-weight", "int4"] {
        let engine = NaiveBackend::new(&EngineConfig::new(precision.parse().unwrap(), 1)).unwrap();
        row_operations(&engine);
        products(&engine);
        by_index(&engine);
    }
    let engine = NaiveBackend::new(&EngineConfig::new("int8".parse().unwrap(), 1)).unwrap();
    linear(&engine);
    row_operations(&engine);
}

fn row_operations(engine: &NaiveBackend) {
    let make = |shape: &[usize]| tensor(engine, engine.storage(), shape);
    let (x, gamma, mut out, mut row) = (make(&[3, 300]), make(&[300]), make(&[3, 300]), make(&[3]));
    for algorithm in [SoftmaxAlgorithm::Naive, SoftmaxAlgorithm::Stable, SoftmaxAlgorithm::Online] {
        expect_none("softmax", || engine.softmax(algorithm, Operand::Of(x.view()), out.view_mut()));
    }
    let weights = NormWeights { gamma: Some(gamma.view()), beta: Some(gamma.view()) };
    let spec = NormSpec { kind: NormKind::Layer, epsilon: 1e-5 };
    expect_none("normalize", || engine.normalize(spec, Operand::InPlace, weights, out.view_mut()));
    expect_none("add_norm", || engine.add_norm(spec, x.view(), x.view(), weights, None, out.view_mut()));
    expect_none("unary", || engine.unary(UnaryOp::Tanh, Operand::Of(x.view()), out.view_mut()));
    for op in [UnaryOp::ExpPolynomial { degree: 3 }, UnaryOp::ExpTable { bits: 6 }, UnaryOp::ExpTaylor { degree: 2 }] {
        expect_none("cheap exponential", || engine.unary(op, Operand::Of(x.view()), out.view_mut()));
    }
    expect_none("binary", || engine.binary(BinaryOp::Add, Operand::InPlace, gamma.view(), out.view_mut()));
    expect_none("reduce", || engine.reduce(ReduceOp::Sum, x.view(), row.view_mut()));
    expect_none("mask", || engine.mask(&AttentionPattern::Causal, 0, 0, out.view_mut()));
    expect_none("select", || engine.select(x.view(), 1.0, out.view_mut()));
    expect_none("copy", || engine.copy(x.view(), out.view_mut()));
    expect_none("cumulative sum", || engine.cumulative_sum(x.view(), out.view_mut()));
    expect_none("fill", || engine.fill(out.view_mut(), 0.5));
}

fn linear(engine: &NaiveBackend) {
    let weight = HostTensor::new(&[40, 300], (0..12_000).map(|at| f64::from(at % 9) - 4.0).collect()).unwrap();
    linear_by(engine, &HostWeight::for_precision(&weight, engine.config().precision).unwrap());
    if engine.config().precision.activation.is_float() {
        let kept: Vec<bool> = (0..12_000).map(|at| at / 1200 != 1 && at % 300 / 3 % 2 == 0).collect();
        let blocks = Structure::Blocks { rows: 4, columns: 3 };
        linear_by(engine, &HostWeight::Sparse(SparseWeight::masked(&weight, &kept, blocks, DType::Bf16).unwrap()));
        let codes = (0..12_000).map(|at| (at % 3) as u8).collect();
        let palette = Palette { outputs: 40, inputs: 300, codes, levels: vec![-1.0, 0.0, 1.0], scales: vec![0.5; 40] };
        linear_by(engine, &HostWeight::Palette(palette));
    }
}

fn linear_by(engine: &NaiveBackend, weight: &HostWeight) {
    let make = |shape: &[usize]| tensor(engine, engine.storage(), shape);
    let weight = engine.prepare_weight(weight).unwrap();
    let (x, bias, mut out) = (make(&[3, 300]), make(&[40]), make(&[3, 40]));
    let spec = LinearSpec { activation: Activation::Gelu };
    expect_none("linear", || engine.linear(spec, x.view(), &weight, Some(bias.view()), out.view_mut()));
}

fn products(engine: &NaiveBackend) {
    linear(engine);
    let make = |shape: &[usize]| tensor(engine, engine.storage(), shape);
    let (a, b, mut c) = (make(&[2, 3, 300]), make(&[2, 300, 5]), make(&[2, 3, 5]));
    expect_none("matmul", || engine.matmul(MatmulSpec::ACCUMULATE, a.view(), b.view(), c.view_mut()));
    let (x, filter, mut out) = (make(&[2, 9, 70]), make(&[70, 3]), make(&[2, 9, 70]));
    expect_none("depthwise convolution", || engine.depthwise_conv(x.view(), filter.view(), true, out.view_mut()));
    let (q, k, v, mut out) = (make(&[1, 4, 70, 8]), make(&[1, 2, 70, 8]), make(&[1, 2, 70, 6]), make(&[1, 4, 70, 6]));
    let mut scratch = Arena::new();
    let spec = AttentionSpec { pattern: AttentionPattern::Causal, scale: 0.3, soft_cap: None, query_offset: 0 };
    let operands = AttentionOperands { q: q.view(), k: k.view(), v: v.view(), bias: ScoreBias::None, key_mask: None };
    expect_none("attention", || {
        engine.attention(&spec, operands, AttentionOutputs { out: out.view_mut(), log_sum_exp: None }, &mut scratch)
    });
    let (k, v, mut out) = (make(&[1, 4, 70, 8]), make(&[1, 4, 70, 6]), make(&[1, 4, 70, 6]));
    let spec = LinearAttentionSpec { causal: true, epsilon: 1e-6, chunk: 32 };
    expect_none("linear attention", || engine.linear_attention(spec, q.view(), k.view(), v.view(), out.view_mut(), &mut scratch));
}

fn by_index(engine: &NaiveBackend) {
    let make = |shape: &[usize]| tensor(engine, engine.storage(), shape);
    let integers = |shape: &[usize]| tensor(engine, DType::I32, shape);
    let (table, index, mut rows) = (make(&[5, 70]), integers(&[9]), make(&[9, 70]));
    expect_none("gather", || engine.gather_rows(table.view(), index.view(), rows.view_mut()));
    let mut sums = make(&[5, 70]);
    expect_none("scatter", || engine.scatter_add_rows(rows.view(), index.view(), sums.view_mut()));
    let (keys, mut order) = (integers(&[2, 90]), integers(&[2, 90]));
    expect_none("argsort", || engine.stable_argsort(keys.view(), order.view_mut()));
    let (x, mut values, mut indices) = (make(&[2, 90]), make(&[2, 7]), integers(&[2, 7]));
    expect_none("top-k", || engine.top_k(x.view(), values.view_mut(), indices.view_mut()));
    let mut scratch = Arena::new();
    let mut logs = make(&[2, 90]);
    expect_none("log-softmax", || engine.log_softmax(Operand::Of(x.view()), logs.view_mut(), &mut scratch));
    expect_none("softmax-top-k", || engine.softmax_top_k(x.view(), values.view_mut(), indices.view_mut(), &mut scratch));
}
