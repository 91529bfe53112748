//! Causal random synthesizer: trained scores that depend on no token, of which those of past keys count.
//!
//! Tay et al. 2021, sections 3.2 and 4.2 (language models); see [`super::synthesizer_random`]. Scores are copied, masked and brought
//! through the softmax in each call, once for all sequences; half of the trained numbers are never used.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::patterns::attention_over;
use super::synthesizer_random::{Scores, SynthesizerRandom, TrainedScores};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerRandomCausal;

impl Variant for SynthesizerRandomCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-random-causal",
        summary: "causal, trained scores that depend on no token: q and k are not read",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE],
        ..SynthesizerRandom::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = TrainedScores<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<TrainedScores<B>> {
        Ok(TrainedScores { scores: Scores::Whole(operands.tensor("scores")?), causal: true })
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dense_causal, dot, row, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn the_scores_of_dense_attention_give_causal_attention() {
        let axes = axes::<SynthesizerRandomCausal>(&sized(2, 9, 8));
        let mut drawn = drawn::<SynthesizerRandomCausal>(&axes);
        let scores = (0..2 * 81).map(|at| dot(row(&drawn["q"], at / 81, at % 81 / 9), row(&drawn["k"], at / 81, at % 9)) / 8f64.sqrt());
        let scores = HostTensor::new(&[2, 9, 9], scores.collect()).unwrap();
        drawn.insert("scores".into(), scores);
        assert!(distance(&run::<SynthesizerRandomCausal>(&axes, &drawn), &dense_causal(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        assert_causal::<SynthesizerRandomCausal>(&sized(2, 19, 8), 11);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("batch", 2.into()), ("kv_heads", 2.into())]);
        assert_eq!(judged::<SynthesizerRandomCausal>(&given).complaint, None);
        assert_closed_forms::<SynthesizerRandomCausal>(&given);
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<SynthesizerRandomCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
