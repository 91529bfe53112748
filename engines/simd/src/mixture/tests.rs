//! The kernel against the core's composition on the same engine, at sizes beyond those of the conformance suite.

use crossover_core::backend::EngineConfig;
use crossover_core::compose::mixture::composed;
use crossover_core::host::HostTensor;
use crossover_core::isa::IsaChoice;
use crossover_core::tensor::Tensor;
use crossover_core::weights::HostWeight;

use super::*;

fn tensor(engine: &SimdBackend, dtype: DType, shape: &[usize], value: impl Fn(usize) -> f64) -> Tensor<SimdBuffer> {
    engine.upload(&HostTensor::new(shape, (0..shape.iter().product()).map(value).collect()).unwrap(), dtype).unwrap()
}

fn noise(at: usize) -> f64 {
    f64::from((at as u32).wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 23) - 1.0
}

/// Everything of a call but the engine.
struct Given {
    x: Tensor<SimdBuffer>,
    chosen: Tensor<SimdBuffer>,
    gates: Tensor<SimdBuffer>,
    weights: [Vec<SimdWeight>; 2],
    biases: [Tensor<SimdBuffer>; 2],
    places: usize,
}

impl Given {
    fn of(engine: &SimdBackend, sizes: MixtureSizes, expert_of: impl Fn(usize) -> usize) -> Self {
        let MixtureSizes { tokens, choices, places, experts, width, hidden } = sizes;
        let weights = |seed: usize, outputs: usize, inputs: usize| -> Vec<SimdWeight> {
            let host = |expert: usize| {
                let values = (0..outputs * inputs).map(|at| noise(at + (31 * expert + seed) * 7919) / (inputs as f64).sqrt());
                HostTensor::new(&[outputs, inputs], values.collect()).unwrap()
            };
            let prepared = |expert| engine.prepare_weight(&HostWeight::for_precision(&host(expert), engine.config().precision).unwrap());
            (0..experts).map(|expert| prepared(expert).unwrap()).collect()
        };
        Self {
            x: tensor(engine, engine.storage(), &[tokens, width], |at| 2.0 * noise(at)),
            chosen: tensor(engine, DType::I32, &[tokens, choices], |at| expert_of(at) as f64),
            gates: tensor(engine, engine.compute(), &[tokens, choices], |at| 0.6 + 0.5 * noise(at + 77)),
            weights: [weights(1, hidden, width), weights(2, width, hidden)],
            biases: [hidden, width].map(|width| tensor(engine, engine.storage(), &[experts, width], |at| noise(at + 5))),
            places,
        }
    }

    fn routes(&self) -> Routes<'_, SimdBuffer> {
        Routes { chosen: self.chosen.view(), gates: self.gates.view(), places: self.places }
    }

    fn experts(&self) -> Experts<'_, SimdWeight, SimdBuffer> {
        let [up, down] = &self.weights;
        Experts { up, up_bias: self.biases[0].view(), down, down_bias: self.biases[1].view() }
    }
}

const GELU: LinearSpec = LinearSpec { activation: Activation::Gelu };

/// Blocks of many and of few rows, more than a block along k, groups that overflow, groups of nobody, a step of one token.
#[test]
fn it_is_the_composition_also_where_threads_share_the_blocks() {
    let cases =
        [(130, 1, 60, 4, 300, 70), (130, 2, 50, 5, 33, 290), (400, 1, 400, 3, 16, 40), (1, 2, 2, 8, 257, 530), (9, 3, 4, 6, 64, 600)];
    for (precision, isa) in ["f32", "f64", "bf16", "int8-weight"].into_iter().flat_map(|name| IsaChoice::ALL.map(|isa| (name, isa))) {
        for (threads, (tokens, choices, places, experts, width, hidden)) in
            [1, 2, 3].into_iter().flat_map(|count| cases.map(|case| (count, case)))
        {
            let Ok(engine) = SimdBackend::new(&EngineConfig { isa, ..EngineConfig::new(precision.parse().unwrap(), threads) }) else {
                continue;
            };
            let sizes = MixtureSizes { tokens, choices, places, experts, width, hidden };
            // The last expert is nobody's, the first is everybody's favourite.
            let given = Given::of(&engine, sizes, |at| if at % 3 == 0 { 0 } else { at * 7 % (experts - 1) });
            let [mut own, mut other] = [0, 1].map(|_| tensor(&engine, engine.storage(), &[tokens, width], |_| f64::NAN));
            let mut scratch = Arena::new();
            scratch.set_poison(true);
            engine.mixture(GELU, given.x.view(), given.routes(), given.experts(), own.view_mut(), &mut scratch).unwrap();
            composed(&engine, GELU, given.x.view(), given.routes(), given.experts(), other.view_mut(), &mut scratch).unwrap();
            let [own, other] = [own, other].map(|out| engine.download(out.view()).unwrap());
            let allowed = if precision == "f64" { 1e-13 } else { 1e-5 };
            for (at, (own, other)) in own.values().iter().zip(other.values()).enumerate() {
                assert!(
                    (own - other).abs() <= allowed * (1.0 + other.abs()),
                    "{precision} {isa}, {threads}, {sizes:?}: {at}: {own} and {other}"
                );
            }
            assert_eq!(scratch.outstanding(), 0);
        }
    }
}

#[test]
fn a_choice_that_is_no_expert_is_an_index_error_and_keeps_no_scratch() {
    let engine = SimdBackend::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
    let sizes = MixtureSizes { tokens: 4, choices: 2, places: 2, experts: 3, width: 8, hidden: 8 };
    for wrong in [3, usize::MAX] {
        let mut given = Given::of(&engine, sizes, |at| at % 3);
        given.chosen = tensor(&engine, DType::I32, &[4, 2], |at| if at == 5 { if wrong == 3 { 3.0 } else { -1.0 } } else { 1.0 });
        let (mut out, mut scratch) = (tensor(&engine, DType::F32, &[4, 8], |_| 0.0), Arena::new());
        let error = engine.mixture(GELU, given.x.view(), given.routes(), given.experts(), out.view_mut(), &mut scratch).unwrap_err();
        assert!(error.to_string().contains("at position 5 is outside 0..3"), "{error}");
        assert_eq!(scratch.outstanding(), 0);
    }
}
