//! Random synthesizer: the scores are trained numbers that depend on no token at all.
//!
//! Tay et al. 2021, section 3.2 (equation 4): softmax(R) v with R [n, n_kv] for each head, the same for every sequence. The softmax of R is
//! taken in each call, once for all sequences, as while training; folded into the weights it would leave one product. Neither q nor k
//! is read; the cost of scores is paid once a batch, and R ties the layer to one length.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{MatmulSpec, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::operands::Attended;
use super::synthesizer::{full, weigh};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::variant::{Bound, Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerRandom;

/// Trained scores, whole or as two factors.
pub struct TrainedScores<B: TransformerBackend> {
    pub(super) scores: Scores<B>,
    /// Does a query's own and what is earlier count alone?
    pub(super) causal: bool,
}

/// Where they come from.
pub enum Scores<B: TransformerBackend> {
    /// [heads, n, n_kv].
    Whole(Tensor<B::Buffer>),
    /// [heads, n, rank] and [heads, n_kv, rank].
    Factors(Tensor<B::Buffer>, Tensor<B::Buffer>),
}

impl Variant for SynthesizerRandom {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-random",
        summary: "trained scores that depend on no token: q and k are not read",
        citation: "Tay et al. 2021, section 3.2",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            TensorSpec {
                name: "scores",
                role: Role::Vector,
                shape: &[Dim::Axis("heads"), Dim::Axis("n"), Dim::Axis("n_kv")],
                draw: DrawRule::Around(0.0, 1.0),
                only_with: None,
            },
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "heads*n*n_kv*(5 + 2*batch*head_dim)", scratch: "heads*n*n_kv" },
    };

    type Bound<B: TransformerBackend> = TrainedScores<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<TrainedScores<B>> {
        Ok(TrainedScores { scores: Scores::Whole(operands.tensor("scores")?), causal: false })
    }

    fn exact(axes: &Axes) -> Reference {
        full(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for TrainedScores<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let operands = Attended::of("attention/synthesizer-random", inputs)?;
        let Attended { batch, heads, n, n_kv, .. } = operands;
        let mut weights = scratch.take(backend, backend.storage(), &[heads, n, n_kv])?;
        let from = match &self.scores {
            Scores::Whole(scores) if !self.causal => Operand::Of(scores.view()),
            Scores::Whole(scores) => {
                backend.copy(scores.view(), weights.view_mut())?;
                Operand::InPlace
            }
            Scores::Factors(left, right) => {
                backend.matmul(MatmulSpec::PLAIN, left.view(), right.view().transposed()?, weights.view_mut())?;
                Operand::InPlace
            }
        };
        if self.causal {
            backend.mask(&AttentionPattern::Causal, 0, 0, weights.view_mut())?;
        }
        backend.softmax(SoftmaxAlgorithm::Stable, from, weights.view_mut())?;
        let repeated = weights.view().with(|layout| layout.unsqueeze(0)?.broadcast(&[batch, heads, n, n_kv]))?;
        weigh(backend, repeated, &operands, out)?;
        scratch.give(weights);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, dot, row, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn the_scores_of_dense_attention_give_dense_attention() {
        let axes = axes::<SynthesizerRandom>(&with(&sized(2, 9, 8), &[("n_kv", 7.into())]));
        let mut drawn = drawn::<SynthesizerRandom>(&axes);
        let scores = (0..2 * 63).map(|at| dot(row(&drawn["q"], at / 63, at % 63 / 7), row(&drawn["k"], at / 63, at % 7)) / 8f64.sqrt());
        let scores = HostTensor::new(&[2, 9, 7], scores.collect()).unwrap();
        drawn.insert("scores".into(), scores);
        assert!(distance(&run::<SynthesizerRandom>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("batch", 2.into()), ("kv_heads", 2.into()), ("n_kv", 24.into())]);
        assert_eq!(judged::<SynthesizerRandom>(&given).complaint, None);
        assert_closed_forms::<SynthesizerRandom>(&given);
    }

    #[test]
    fn heads_that_cannot_be_shared_are_refused() {
        assert!(axis_error::<SynthesizerRandom>(&[("heads", 4.into()), ("kv_heads", 3.into())]).contains("kv_heads must divide heads"));
    }
}
