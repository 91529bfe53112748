//! The kernel against the composition of the same engine, over chunks, panels and edges that the conformance suite's small sizes lack.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOutputs, BucketOperands, EngineConfig, TransformerBackend};
use crossover_core::check;
use crossover_core::compose::bucket_attention::composed;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::BucketSpec;
use crossover_core::tensor::View;

use crate::SimdBackend;

struct Problem {
    /// batch, heads, chunks, width.
    sizes: [usize; 4],
    chunk: usize,
    causal: bool,
    /// Keys in the queries' order, with what a token's view of itself gets.
    shared: Option<Option<f64>>,
    /// Rows lie apart, heads between them.
    is_strided: bool,
}

fn drawn(shape: &[usize], seed: u64) -> HostTensor {
    let mut state = seed;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    });
    HostTensor::new(shape, values.collect()).unwrap()
}

/// Each head sorted by numbers that are drawn.
fn order(heads: usize, n: usize, seed: u64) -> HostTensor {
    let keys = drawn(&[heads * n], seed);
    let sorted = |head: usize| {
        let own = &keys.values()[head * n..][..n];
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| own[a].total_cmp(&own[b]));
        order
    };
    HostTensor::new(&[heads * n], (0..heads).flat_map(sorted).map(|token| token as f64).collect()).unwrap()
}

/// What computes it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Kernel,
    Composition,
    /// The kernel for tiles on a model of them in plain code: machines that have tiles are rare.
    #[cfg(target_arch = "x86_64")]
    ModelOfTiles,
}

/// Output and log-sum-exp.
fn run(backend: &SimdBackend, problem: &Problem, by: By) -> Result<[Vec<f64>; 2]> {
    let [batch, heads, count, width] = problem.sizes;
    let (storage, n) = (backend.storage(), count * problem.chunk);
    let upload = |seed| {
        let shape = if problem.is_strided { [batch, n, heads, width] } else { [batch, heads, n, width] };
        backend.upload(&drawn(&shape, seed), storage).unwrap()
    };
    let rows = [upload(1), upload(2), upload(3)];
    let orders = [7, 8].map(|seed| {
        let mut order = backend.upload(&order(batch * heads, n, seed), DType::I32).unwrap();
        order.layout = order.layout.reshape(&[batch, heads, n]).unwrap();
        order
    });
    let of = |at: usize| {
        let layout = rows[at].layout;
        View { buffer: &rows[at].buffer, layout: if problem.is_strided { layout.swap(1, 2).unwrap() } else { layout } }
    };
    let key_order = problem.shared.is_none().then(|| orders[1].view());
    let operands = BucketOperands { q: of(0), k: of(1), v: of(2), query_order: orders[0].view(), key_order };
    let scale = 3.0 / (width.max(1) as f64).sqrt();
    let spec = BucketSpec { chunk: problem.chunk, scale, causal: problem.causal, self_bias: problem.shared.flatten() };
    let mut out = backend.tensor(storage, &[batch, heads, n, width])?;
    let mut log_sum_exp = backend.tensor(backend.compute(), &[batch, heads, n])?;
    backend.fill(out.view_mut(), f64::NAN)?;
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(log_sum_exp.view_mut()) };
    let mut scratch = Arena::new();
    scratch.set_poison(true);
    match by {
        By::Kernel => backend.bucket_attention(spec, operands, outputs, &mut scratch)?,
        By::Composition => composed(backend, spec, operands, outputs, &mut scratch)?,
        #[cfg(target_arch = "x86_64")]
        By::ModelOfTiles => {
            let sizes = check::bucket_attention(spec, &operands, &outputs)?;
            super::with::<super::super::tests::on_model::Bf16>(backend, spec, sizes, operands, outputs, &mut scratch)?;
        }
    }
    assert_eq!(scratch.outstanding(), 0);
    Ok([out.view(), log_sum_exp.view()].map(|view| backend.download(view).unwrap().values().to_vec()))
}

fn problems() -> Vec<Problem> {
    let both = [
        Problem { sizes: [2, 2, 5, 24], chunk: 64, causal: false, shared: None, is_strided: false },
        // Chunks that are no whole panels, of odd length too, and narrow ones.
        Problem { sizes: [1, 2, 4, 33], chunk: 50, causal: false, shared: Some(Some(-1e4)), is_strided: false },
        Problem { sizes: [1, 1, 3, 17], chunk: 37, causal: false, shared: Some(None), is_strided: true },
        Problem { sizes: [1, 2, 30, 8], chunk: 3, causal: false, shared: Some(Some(-0.5)), is_strided: false },
        Problem { sizes: [1, 1, 20, 4], chunk: 1, causal: false, shared: None, is_strided: false },
        // One chunk; more than a segment; more than a block, in several panels together.
        Problem { sizes: [2, 1, 1, 40], chunk: 45, causal: false, shared: None, is_strided: true },
        Problem { sizes: [1, 1, 2, 64], chunk: 350, causal: false, shared: Some(Some(-1e4)), is_strided: false },
        Problem { sizes: [1, 1, 3, 256], chunk: 300, causal: false, shared: None, is_strided: false },
        Problem { sizes: [1, 1, 1, 16], chunk: 1100, causal: false, shared: Some(None), is_strided: false },
    ];
    let causal = |problem: &Problem| Problem { causal: true, ..*problem };
    both.iter().map(causal).chain(both.iter().map(|problem| Problem { ..*problem })).collect()
}

/// With the composition on another engine, or the same.
fn expect_agreement(backend: &SimdBackend, by: By, other: &SimdBackend, bound: f64) {
    for problem in problems() {
        let [own, composed] = [(backend, by), (other, By::Composition)].map(|(backend, by)| run(backend, &problem, by).unwrap());
        for (own, composed) in own.iter().zip(&composed) {
            for (at, (&a, &b)) in own.iter().zip(composed).enumerate() {
                let agrees = a == b || (a - b).abs() <= bound * (1.0 + b.abs());
                let Problem { sizes, chunk, causal, .. } = problem;
                assert!(agrees, "{:?} {sizes:?} chunks of {chunk}, causal {causal}, at {at}: {a} {b}", backend.config());
            }
        }
    }
}

/// Both round weights and results to bf16, each its own: one unit of 2^-8 for either.
const BF16_BOUND: f64 = 8e-3;

#[test]
fn the_kernel_agrees_with_the_composition() {
    let (narrow, mut paths) = (|name: &str| name.parse::<Precision>().unwrap(), 0);
    for isa in IsaChoice::ALL {
        let cases = [
            (1, Precision::F64, 1e-13),
            (3, Precision::F64, 1e-13),
            (1, Precision::F32, 5e-6),
            (2, narrow("bf16"), BF16_BOUND),
            (1, narrow("f16"), 2e-3),
        ];
        for (threads, precision, bound) in cases {
            let Ok(backend) = SimdBackend::new(&EngineConfig { precision, threads, isa }) else { continue };
            expect_agreement(&backend, By::Kernel, &backend, bound);
            paths += 1;
        }
    }
    assert!(paths >= 10, "auto and scalar are everywhere, and take five cases each: {paths}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_kernel_for_tiles_agrees_with_the_composition() {
    let engine = |isa| SimdBackend::new(&EngineConfig { precision: "bf16".parse().unwrap(), threads: 2, isa });
    let scalar = engine(IsaChoice::Scalar).unwrap();
    // A vector of scores is whole pairs of keys, which one lane is not.
    for isa in IsaChoice::ALL.into_iter().filter(|&isa| isa != IsaChoice::Scalar) {
        let Ok(backend) = engine(isa) else { continue };
        let by = if backend.engine.extras.amx { By::Kernel } else { By::ModelOfTiles };
        expect_agreement(&backend, by, &scalar, BF16_BOUND);
    }
}

/// More threads than heads take parts of a head, or of a chunk.
#[test]
fn all_numbers_of_threads_give_the_same_bits() {
    for chunk in [12, 48, 240] {
        let problem = Problem { sizes: [1, 2, 240 / chunk, 20], chunk, causal: true, shared: None, is_strided: false };
        let of = |threads| run(&SimdBackend::new(&EngineConfig::new(Precision::F32, threads)).unwrap(), &problem, By::Kernel).unwrap();
        let one = of(1);
        assert!([2, 3, 4].into_iter().all(|threads| of(threads) == one), "{chunk}");
    }
}

#[test]
fn tasks_are_whole_chunks_or_whole_panels() {
    let sizes = |heads, n, chunk| check::BucketSizes { batch: 1, heads, n, width: 8, chunk, orders: 1 };
    assert_eq!(super::places_of_task(1, &sizes(3, 1024, 64), 14), 1024);
    assert_eq!(super::places_of_task(2, &sizes(8, 1024, 64), 14), 1024);
    assert_eq!(super::places_of_task(2, &sizes(2, 1024, 64), 14), 384);
    assert_eq!(super::places_of_task(2, &sizes(1, 1024, 512), 14), 182);
    assert_eq!(super::places_of_task(8, &sizes(1, 16, 16), 14), 14);
}

#[test]
fn orders_that_are_none_are_refused_by_the_kernel_and_the_composition_alike() {
    let engine = SimdBackend::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
    let rows = engine.upload(&drawn(&[1, 2, 4, 3], 1), DType::F32).unwrap();
    let good = [0.0, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 0.0];
    for (at, token, message) in [(5, 4.0, "index 4 at position 5 is outside 0..4"), (2, -1.0, "index -1 at position 2"), (6, 3.0, "twice")]
    {
        let mut wrong = good;
        wrong[at] = token;
        for orders in [[wrong, good], [good, wrong]] {
            let [query_order, key_order] =
                orders.map(|order| engine.upload(&HostTensor::new(&[1, 2, 4], order.to_vec()).unwrap(), DType::I32).unwrap());
            let operands = BucketOperands {
                q: rows.view(),
                k: rows.view(),
                v: rows.view(),
                query_order: query_order.view(),
                key_order: Some(key_order.view()),
            };
            let spec = BucketSpec { chunk: 2, scale: 1.0, causal: true, self_bias: None };
            let (mut out, mut scratch) = (engine.tensor(DType::F32, &[1, 2, 4, 3]).unwrap(), Arena::new());
            let own = engine.bucket_attention(spec, operands, AttentionOutputs { out: out.view_mut(), log_sum_exp: None }, &mut scratch);
            let other = composed(&engine, spec, operands, AttentionOutputs { out: out.view_mut(), log_sum_exp: None }, &mut scratch);
            assert!(own.as_ref().unwrap_err().to_string().contains(message), "{own:?}");
            assert_eq!(own, other);
            assert_eq!(scratch.outstanding(), 0);
        }
    }
}
