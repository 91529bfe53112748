//! The kernel against the composition of the same engine, over blocks, panels and edges that the conformance suite's small sizes lack.

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, EngineConfig, ScoreBias, TransformerBackend};
use crossover_core::check;
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
fn run(backend: &SimdBackend, problem: &Problem, by: By) -> [Vec<f64>; 2] {
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
    match by {
        By::Kernel => backend.attention(&spec, operands, outputs, &mut scratch).unwrap(),
        By::Composition => compose::attention::streamed(backend, &spec, operands, outputs, &mut scratch).unwrap(),
        #[cfg(target_arch = "x86_64")]
        By::ModelOfTiles => {
            let sizes = check::attention(&operands, &outputs).unwrap();
            super::with::<on_model::Bf16>(backend, &backend.engine, &spec, sizes, operands, outputs, &mut scratch).unwrap();
        }
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
        // Ends in the second half of a panel of keys, the last of the last head.
        plain(AttentionPattern::Window { left: 0, right: 0 }, [1, 2, 2, 64, 64, 64, 32]),
        // Few panels of rows for several heads' keys.
        Problem { query_offset: 2080, ..plain(AttentionPattern::Causal, [1, 8, 8, 20, 2100, 256, 16]) },
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

/// With the composition on another engine, or the same.
fn expect_agreement(backend: &SimdBackend, by: By, other: &SimdBackend, bound: f64) {
    for problem in problems() {
        let [fused, composed] = [(backend, by), (other, By::Composition)].map(|(backend, by)| run(backend, &problem, by));
        for (fused, composed) in fused.iter().zip(&composed) {
            for (at, (&a, &b)) in fused.iter().zip(composed).enumerate() {
                let agrees = a == b || (a - b).abs() <= bound * (1.0 + b.abs());
                assert!(agrees, "{:?} {:?} {:?} at {at}: {a} {b}", backend.config(), problem.pattern, problem.sizes);
            }
        }
    }
}

/// Both round weights and results to bf16, each its own: one unit of 2^-8 for either.
const BF16_BOUND: f64 = 8e-3;

#[test]
fn the_kernel_agrees_with_the_composition() {
    let bf16 = "bf16".parse().unwrap();
    for isa in IsaChoice::ALL {
        let cases = [(1, Precision::F64, 1e-13), (2, Precision::F64, 1e-13), (1, Precision::F32, 5e-6), (2, bf16, BF16_BOUND)];
        for (threads, precision, bound) in cases {
            let Ok(backend) = SimdBackend::new(&EngineConfig { precision, threads, isa }) else { continue };
            expect_agreement(&backend, By::Kernel, &backend, bound);
        }
    }
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

/// The family for tiles, on the model.
#[cfg(target_arch = "x86_64")]
pub(super) mod on_model {
    use super::super::arithmetic::{Family, Task};
    use super::super::tiles::{Bf16OnTiles, OnTiles};
    use crate::isa::{Isa, Kernel};
    use crate::narrow::{Model, PairsOfModel, TileKernel};
    use crate::vector::Vector;

    pub(in crate::attention) struct Bf16;

    impl Family for Bf16 {
        type E = f32;
        const STEPS: usize = Bf16OnTiles::STEPS;

        fn rows(isa: Isa) -> usize {
            Bf16OnTiles::rows(isa)
        }

        fn run(isa: Isa, task: impl Task<f32>) {
            isa.run(OnModel(task));
        }
    }

    struct OnModel<T>(T);

    impl<T: Task<f32>> Kernel<f32> for OnModel<T> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector<Element = f32>>(self) {
            OnTiles(self.0).run::<Model<V, PairsOfModel>>();
        }
    }
}
