//! The kernel against the composition of the same engine, over blocks, panels and edges that the conformance suite's small sizes lack.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, ScoreBias, TransformerBackend};
use crossover_core::compose;
use crossover_core::dtype::Precision;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::{AttentionPattern, BlockBitmap};
use crossover_core::tensor::Tensor;

use crate::SimdBackend;
use crate::buffer::SimdBuffer;

struct Problem {
    pattern: AttentionPattern,
    /// batch, heads, key heads, queries, keys, head dim, value dim.
    sizes: [usize; 7],
    query_offset: usize,
    masked: bool,
    biased: bool,
    soft_cap: Option<f64>,
}

fn drawn(shape: &[usize], seed: u64) -> HostTensor {
    let mut state = seed;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    });
    HostTensor::new(shape, values.collect()).unwrap()
}

/// Output and log-sum-exp, by the kernel or by the composition.
fn run(backend: &SimdBackend, problem: &Problem, composed: bool) -> [Vec<f64>; 2] {
    let [batch, heads, key_heads, queries, keys, dim, value_dim] = problem.sizes;
    let storage = backend.storage();
    let upload = |shape: &[usize], seed| backend.upload(&drawn(shape, seed), storage).unwrap();
    let (q, k, v) = (
        upload(&[batch, heads, queries, dim], 1),
        upload(&[batch, key_heads, keys, dim], 2),
        upload(&[batch, key_heads, keys, value_dim], 3),
    );
    let bias = upload(&[heads, 2 * 20 + 1], 4);
    let shown = (0..batch * keys).map(|at| if at % 7 == 3 { 0.0 } else { 1.0 }).collect();
    let mask = backend.upload(&HostTensor::new(&[batch, keys], shown).unwrap(), storage).unwrap();
    let mut out = backend.tensor(storage, &[batch, heads, queries, value_dim]).unwrap();
    let mut log_sum_exp: Tensor<SimdBuffer> = backend.tensor(backend.compute(), &[batch, heads, queries]).unwrap();
    let spec = AttentionSpec {
        pattern: problem.pattern.clone(),
        scale: 3.0 / (dim as f64).sqrt(),
        soft_cap: problem.soft_cap,
        query_offset: problem.query_offset,
    };
    let operands = AttentionOperands {
        q: q.view(),
        k: k.view(),
        v: v.view(),
        bias: if problem.biased { ScoreBias::ByDistance(bias.view()) } else { ScoreBias::None },
        key_mask: problem.masked.then(|| mask.view()),
    };
    let outputs = AttentionOutputs { out: out.view_mut(), log_sum_exp: Some(log_sum_exp.view_mut()) };
    let mut scratch = Arena::new();
    scratch.set_poison(true);
    if composed {
        compose::attention::streamed(backend, &spec, operands, outputs, &mut scratch).unwrap();
    } else {
        backend.attention(&spec, operands, outputs, &mut scratch).unwrap();
    }
    assert_eq!(scratch.outstanding(), 0);
    [out.view(), log_sum_exp.view()].map(|view| backend.download(view).unwrap().values().to_vec())
}

fn problems() -> Vec<Problem> {
    let plain = |pattern, sizes| Problem { pattern, sizes, query_offset: 0, masked: false, biased: false, soft_cap: None };
    let blocks = |causal: bool| {
        let bitmap = BlockBitmap::new(50, 7, 7, |row, column| row == column || (row * 3 + column) % 4 == 0);
        AttentionPattern::Blocks(std::sync::Arc::new(if causal { bitmap.causal() } else { bitmap }))
    };
    let square = |n| [1, 2, 1, n, n, 20, 12];
    vec![
        plain(AttentionPattern::Full, [2, 4, 2, 130, 300, 33, 40]),
        plain(AttentionPattern::Full, [1, 1, 1, 3, 1, 1, 1]),
        plain(AttentionPattern::Causal, square(300)),
        Problem { query_offset: 270, ..plain(AttentionPattern::Causal, [1, 2, 1, 17, 300, 20, 12]) },
        plain(AttentionPattern::Window { left: 37, right: 5 }, square(600)),
        plain(AttentionPattern::Window { left: 0, right: 0 }, square(40)),
        plain(AttentionPattern::Dilated { left: 3, right: 2, dilation: 9 }, square(300)),
        plain(AttentionPattern::Strided { stride: 17 }, square(300)),
        plain(AttentionPattern::Fixed { block: 16, summary: 2 }, square(300)),
        plain(blocks(false), square(340)),
        plain(blocks(true), square(340)),
        Problem { masked: true, ..plain(AttentionPattern::Causal, square(300)) },
        Problem { biased: true, ..plain(AttentionPattern::Full, square(300)) },
        Problem { biased: true, soft_cap: Some(2.0), masked: true, ..plain(AttentionPattern::Window { left: 100, right: 3 }, square(300)) },
        plain(AttentionPattern::Full, [1, 1, 1, 20, 30, 256, 300]),
        // Values that are read where they lie, several panels of them; keys that are packed head by head.
        plain(AttentionPattern::Window { left: 40, right: 9 }, [2, 4, 2, 200, 200, 33, 80]),
        Problem { query_offset: 4190, ..plain(AttentionPattern::Causal, [1, 6, 3, 20, 4210, 128, 64]) },
        // Few rows: decode steps over caches of several tasks' length.
        Problem { query_offset: 1699, ..plain(AttentionPattern::Causal, [2, 4, 2, 1, 1700, 33, 40]) },
        Problem { query_offset: 1698, ..plain(AttentionPattern::Causal, [1, 2, 2, 2, 1700, 64, 64]) },
        Problem { query_offset: 1699, ..plain(AttentionPattern::Window { left: 99, right: 0 }, [1, 4, 1, 1, 1700, 20, 12]) },
        Problem { query_offset: 1699, biased: true, soft_cap: Some(2.0), ..plain(AttentionPattern::Causal, [1, 2, 1, 1, 1700, 20, 12]) },
        Problem { query_offset: 5, ..plain(AttentionPattern::Window { left: 2, right: 0 }, [1, 1, 1, 1, 3, 4, 4]) },
    ]
}

#[test]
fn the_kernel_agrees_with_the_composition() {
    // Both round weights and results to bf16, each its own: one unit of 2^-8 for either.
    let bf16 = "bf16".parse().unwrap();
    for isa in IsaChoice::ALL {
        let cases = [(1, Precision::F64, 1e-13), (2, Precision::F64, 1e-13), (1, Precision::F32, 5e-6), (2, bf16, 8e-3)];
        for (threads, precision, bound) in cases {
            let Ok(backend) = SimdBackend::new(&EngineConfig { precision, threads, isa }) else { continue };
            for problem in problems() {
                let [fused, composed] = [false, true].map(|composed| run(&backend, &problem, composed));
                for (fused, composed) in fused.iter().zip(&composed) {
                    for (at, (&a, &b)) in fused.iter().zip(composed).enumerate() {
                        let agrees = a == b || (a - b).abs() <= bound * (1.0 + b.abs());
                        assert!(agrees, "{isa} {threads} {precision} {:?} {:?} at {at}: {a} {b}", problem.pattern, problem.sizes);
                    }
                }
            }
        }
    }
}
