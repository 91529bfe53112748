//! Causal factorised random synthesizer: trained scores of low rank, of which those of past keys count.
//!
//! Tay et al. 2021, sections 3.3 and 4.2 (language models); see [`super::synthesizer_factorised_random`]. The product of the factors is
//! formed whole and masked, as masking makes a matrix of full rank of it: the causal form saves nothing.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::patterns::attention_over;
use super::synthesizer_factorised_random::{RANK_FITS, SynthesizerFactorisedRandom};
use super::synthesizer_random::TrainedScores;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerFactorisedRandomCausal;

impl Variant for SynthesizerFactorisedRandomCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-factorised-random-causal",
        summary: "causal, trained scores of low rank that depend on no token: q and k are not read",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, RANK_FITS],
        ..SynthesizerFactorisedRandom::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = TrainedScores<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<TrainedScores<B>> {
        TrainedScores::of_factors(operands, true)
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
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dense_causal, sized, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn factors_that_hold_queries_and_keys_are_causal_attention() {
        let axes = axes::<SynthesizerFactorisedRandomCausal>(&with(&sized(2, 9, 8), &[("rank", 8.into())]));
        let mut drawn = drawn::<SynthesizerFactorisedRandomCausal>(&axes);
        for (factor, tensor, scale) in [("r1", "q", 8f64.sqrt()), ("r2", "k", 1.0)] {
            let values = drawn[tensor].values().iter().map(|x| x / scale).collect();
            drawn.insert(factor.into(), HostTensor::new(&[2, 9, 8], values).unwrap());
        }
        assert!(distance(&run::<SynthesizerFactorisedRandomCausal>(&axes, &drawn), &dense_causal(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        assert_causal::<SynthesizerFactorisedRandomCausal>(&sized(2, 19, 8), 11);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("batch", 2.into()), ("kv_heads", 2.into())]);
        assert_eq!(judged::<SynthesizerFactorisedRandomCausal>(&given).complaint, None);
        assert_closed_forms::<SynthesizerFactorisedRandomCausal>(&given);
    }

    #[test]
    fn as_many_keys_as_queries_and_no_higher_rank_are_demanded() {
        let error = |given: &[(&'static str, i64)]| {
            axis_error::<SynthesizerFactorisedRandomCausal>(&given.iter().map(|(name, value)| (*name, (*value).into())).collect::<Vec<_>>())
        };
        assert!(error(&[("n_kv", 7)]).contains("as many keys as queries: n_kv = n"));
        assert!(error(&[("n", 8), ("rank", 9)]).contains("rank must be at most n and n_kv"));
    }
}
