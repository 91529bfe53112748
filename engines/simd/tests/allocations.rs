//! A warm product allocates nothing: packing buffers are kept between calls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOutputs, BucketOperands, EngineConfig, Experts, Operand, Routes, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BucketSpec, LinearSpec, MatmulSpec};
use crossover_core::weights::HostWeight;
use crossover_simd::SimdBackend;

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

fn values(shape: &[usize]) -> HostTensor {
    let count: usize = shape.iter().product();
    HostTensor::new(shape, (0..count).map(|at| ((at * 7) % 5) as f64 * 0.25).collect()).unwrap()
}

#[test]
fn warm_products_allocate_nothing() {
    for precision in ["f32", "f64", "bf16", "f16", "int8-weight", "int4", "bf16-weight"] {
        let engine = SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), 1)).unwrap();
        // Packed on both sides, and with few rows.
        for [m, n, k] in [[70, 90, 300], [3, 90, 300], [90, 2, 300]] {
            let tensor = |shape: &[usize]| engine.upload(&values(shape), engine.storage()).unwrap();
            let (a, b, mut c) = (tensor(&[2, m, k]), tensor(&[2, k, n]), tensor(&[2, m, n]));
            let weight = engine.prepare_weight(&HostWeight::for_precision(&values(&[n, k]), engine.config().precision).unwrap()).unwrap();
            let spec = LinearSpec { activation: Activation::Relu };
            let mut both = || {
                engine.matmul(MatmulSpec::ACCUMULATE, a.view(), b.view(), c.view_mut()).unwrap();
                engine.linear(spec, a.view(), &weight, None, c.view_mut()).unwrap();
            };
            both();
            let before = ALLOCATIONS.with(Cell::get);
            both();
            assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{precision} {m} x {n} x {k}");
        }
    }
}

/// Rows that are used where they stand, and rows that are widened in the workspace on their way.
#[test]
fn a_warm_log_softmax_allocates_nothing() {
    for precision in ["f32", "f64", "bf16", "f16"] {
        let engine = SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), 1)).unwrap();
        let tensor = |shape: &[usize]| engine.upload(&values(shape), engine.storage()).unwrap();
        let (x, mut out, mut scratch) = (tensor(&[40, 300]), tensor(&[40, 300]), Arena::new());
        let mut both = || {
            engine.log_softmax(Operand::Of(x.view()), out.view_mut(), &mut scratch).unwrap();
            engine.log_softmax(Operand::InPlace, out.view_mut(), &mut scratch).unwrap();
        };
        both();
        let before = ALLOCATIONS.with(Cell::get);
        both();
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{precision}");
        assert_eq!(scratch.peak_bytes(), 0, "{precision}");
    }
}

#[test]
fn a_warm_mixture_of_experts_allocates_nothing() {
    for (precision, tokens) in [("f32", 40), ("f64", 40), ("f32", 1)] {
        let engine = SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), 1)).unwrap();
        let tensor = |shape: &[usize]| engine.upload(&values(shape), engine.storage()).unwrap();
        let weights = |outputs: usize, inputs: usize| {
            let host = HostWeight::for_precision(&values(&[outputs, inputs]), engine.config().precision).unwrap();
            [0, 1, 2].map(|_| engine.prepare_weight(&host).unwrap())
        };
        let (up, down, up_bias, down_bias) = (weights(48, 32), weights(32, 48), tensor(&[3, 48]), tensor(&[3, 32]));
        let chosen = HostTensor::new(&[tokens, 2], (0..2 * tokens).map(|at| (at % 3) as f64).collect()).unwrap();
        let (chosen, gates) = (engine.upload(&chosen, DType::I32).unwrap(), tensor(&[tokens, 2]));
        let (x, mut out, mut scratch) = (tensor(&[tokens, 32]), tensor(&[tokens, 32]), Arena::new());
        let mut call = || {
            let routes = Routes { chosen: chosen.view(), gates: gates.view(), places: 20 };
            let experts = Experts { up: &up, up_bias: up_bias.view(), down: &down, down_bias: down_bias.view() };
            let spec = LinearSpec { activation: Activation::Gelu };
            engine.mixture(spec, x.view(), routes, experts, out.view_mut(), &mut scratch).unwrap();
        };
        call();
        let before = ALLOCATIONS.with(Cell::get);
        call();
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{precision}, {tokens} tokens");
    }
}

#[test]
fn warm_attention_in_chunks_of_an_order_allocates_nothing() {
    for (precision, chunk) in [("f32", 16), ("f64", 48), ("bf16", 12)] {
        let engine = SimdBackend::new(&EngineConfig::new(precision.parse().unwrap(), 1)).unwrap();
        let tensor = |shape: &[usize]| engine.upload(&values(shape), engine.storage()).unwrap();
        let (q, k, v, mut out) = (tensor(&[1, 2, 48, 24]), tensor(&[1, 2, 48, 24]), tensor(&[1, 2, 48, 24]), tensor(&[1, 2, 48, 24]));
        let order = HostTensor::new(&[1, 2, 48], (0..96).map(|at| (at * 5 % 48) as f64).collect()).unwrap();
        let (order, mut scratch) = (engine.upload(&order, DType::I32).unwrap(), Arena::new());
        let mut logs = engine.tensor(engine.compute(), &[1, 2, 48]).unwrap();
        let mut call = || {
            let spec = BucketSpec { chunk, scale: 0.3, causal: true, self_bias: Some(-1e4) };
            let operands = BucketOperands { q: q.view(), k: k.view(), v: v.view(), query_order: order.view(), key_order: None };
            let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(logs.view_mut()) };
            engine.bucket_attention(spec, operands, outputs, &mut scratch).unwrap();
        };
        call();
        let before = ALLOCATIONS.with(Cell::get);
        call();
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{precision}, chunks of {chunk}");
    }
}
