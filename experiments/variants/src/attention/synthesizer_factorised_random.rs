//! Factorised random synthesizer: trained scores of low rank.
//!
//! Tay et al. 2021, section 3.3 ("Factorized Random Synthesizer", equation 6): R = R1 R2^T with R1 [n, rank] and R2 [n_kv, rank] for each
//! head. Saves parameters against [`super::synthesizer_random`], and costs a thin product a call.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::operands::count;
use super::synthesizer::full;
use super::synthesizer_random::{Scores, TrainedScores};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerFactorisedRandom;

const fn factor(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape, draw: DrawRule::Around(0.0, 1.0), only_with: None }
}

/// A product of two factors has no higher rank than its shorter side.
pub(super) const RANK_FITS: Condition = Condition {
    text: "rank must be at most n and n_kv: more columns add nothing",
    holds: |axes| size(axes, "rank") <= size(axes, "n").min(size(axes, "n_kv")),
};

impl Variant for SynthesizerFactorisedRandom {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-factorised-random",
        summary: "trained scores of low rank that depend on no token: q and k are not read",
        citation: "Tay et al. 2021, section 3.3",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("rank", "columns of the two factors", AxisDefault::Share { of: "n", divisor: 8 })],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            factor("r1", &[Dim::Axis("heads"), Dim::Axis("n"), Dim::Axis("rank")]),
            factor("r2", &[Dim::Axis("heads"), Dim::Axis("n_kv"), Dim::Axis("rank")]),
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, RANK_FITS],
        model: Model { flops: "heads*n*n_kv*(5 + 2*rank + 2*batch*head_dim)", scratch: "heads*n*n_kv" },
    };

    type Bound<B: TransformerBackend> = TrainedScores<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<TrainedScores<B>> {
        TrainedScores::of_factors(operands, false)
    }

    fn exact(axes: &Axes) -> Reference {
        full(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> TrainedScores<B> {
    pub(super) fn of_factors(operands: &mut Operands<B>, causal: bool) -> Result<Self> {
        Ok(Self { scores: Scores::Factors(operands.tensor("r1")?, operands.tensor("r2")?), causal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn factors_that_hold_queries_and_keys_are_dense_attention() {
        let axes = axes::<SynthesizerFactorisedRandom>(&with(&sized(2, 9, 8), &[("rank", 8.into())]));
        let mut drawn = drawn::<SynthesizerFactorisedRandom>(&axes);
        for (factor, tensor, scale) in [("r1", "q", 8f64.sqrt()), ("r2", "k", 1.0)] {
            let values = drawn[tensor].values().iter().map(|x| x / scale).collect();
            drawn.insert(factor.into(), HostTensor::new(&[2, 9, 8], values).unwrap());
        }
        assert!(distance(&run::<SynthesizerFactorisedRandom>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("batch", 2.into()), ("kv_heads", 2.into()), ("n_kv", 24.into())]);
        assert_eq!(judged::<SynthesizerFactorisedRandom>(&given).complaint, None);
        assert_closed_forms::<SynthesizerFactorisedRandom>(&given);
    }

    #[test]
    fn a_rank_above_the_length_is_refused() {
        let error = axis_error::<SynthesizerFactorisedRandom>(&[("n", 8.into()), ("rank", 9.into())]);
        assert!(error.contains("rank must be at most n and n_kv"), "{error}");
    }
}
