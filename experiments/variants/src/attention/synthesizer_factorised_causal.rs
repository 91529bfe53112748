//! Causal factorised dense synthesizer: the outer product of two short rows made from each query, over past keys.
//!
//! Tay et al. 2021, sections 3.3 and 4.2 (language models); see [`super::synthesizer_factorised`]. A score is made for every place, because
//! the table of the outer product is filled whole; those of the future are masked before the softmax, so that the causal form saves nothing.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::patterns::attention_over;
use super::synthesizer_factorised::{FACTOR_DIVIDES, FactorMaps, SynthesizerFactorised};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerFactorisedCausal;

impl Variant for SynthesizerFactorisedCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-factorised-causal",
        summary: "causal, scores as the outer product of two short rows made from each query: k is not read",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, FACTOR_DIVIDES],
        ..SynthesizerFactorised::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = FactorMaps<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<FactorMaps<B>> {
        FactorMaps::bind(operands, true)
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
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dot, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    #[test]
    fn it_is_the_formula_of_the_paper_over_the_past() {
        let axes = axes::<SynthesizerFactorisedCausal>(&with(&sized(2, 12, 8), &[("factor", 3.into())]));
        let drawn = drawn::<SynthesizerFactorisedCausal>(&axes);
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let q = row(&drawn["q"], head, i);
            let entry = |w: &str, b: &str, at: usize| dot(q, &drawn[w].values()[at * 8..][..8]) + drawn[b].values()[at];
            if j <= i { (entry("w_a", "b_a", j / 4) * entry("w_b", "b_b", j % 4)).exp() } else { 0.0 }
        });
        assert!(distance(&run::<SynthesizerFactorisedCausal>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        assert_causal::<SynthesizerFactorisedCausal>(&with(&sized(2, 18, 8), &[("factor", 3.into())]), 11);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("factor", 8.into())]);
        assert_eq!(judged::<SynthesizerFactorisedCausal>(&given).complaint, None);
        assert_closed_forms::<SynthesizerFactorisedCausal>(&given);
    }

    #[test]
    fn as_many_keys_as_queries_and_a_factor_that_divides_are_demanded() {
        let error = |given: &[(&'static str, i64)]| {
            axis_error::<SynthesizerFactorisedCausal>(&given.iter().map(|(name, value)| (*name, (*value).into())).collect::<Vec<_>>())
        };
        assert!(error(&[("n_kv", 7)]).contains("as many keys as queries: n_kv = n"));
        assert!(error(&[("n", 10), ("factor", 4)]).contains("factor must divide n_kv"));
    }
}
