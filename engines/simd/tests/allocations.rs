//! A warm product allocates nothing: packing buffers are kept between calls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crossover_core::activation::Activation;
use crossover_core::backend::{EngineConfig, TransformerBackend};
use crossover_core::host::HostTensor;
use crossover_core::ops::{LinearSpec, MatmulSpec};
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
