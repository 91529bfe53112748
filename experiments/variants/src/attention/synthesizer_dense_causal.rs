//! Causal dense synthesizer: each query makes its own row of scores, of which those of past keys count.
//!
//! Tay et al. 2021, sections 3.1 and 4.2 (language models); see [`super::synthesizer_dense`]. The second layer makes a score for every
//! place, because it is one product; those of the future are masked before the softmax, so that the causal form saves nothing.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::patterns::attention_over;
use super::synthesizer_dense::{ScoreLayers, SynthesizerDense};
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerDenseCausal;

impl Variant for SynthesizerDenseCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-dense-causal",
        summary: "causal, scores made from each query alone by two layers: k is not read",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE],
        ..SynthesizerDense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = ScoreLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<ScoreLayers<B>> {
        ScoreLayers::bind(operands, true)
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
        let axes = axes::<SynthesizerDenseCausal>(&sized(2, 7, 8));
        let drawn = drawn::<SynthesizerDenseCausal>(&axes);
        let values = |name: &str| drawn[name].values();
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let q = row(&drawn["q"], head, i);
            let hidden: Vec<f64> = (0..8).map(|c| (dot(q, &values("w1")[c * 8..][..8]) + values("b1")[c]).max(0.0)).collect();
            if j <= i { (dot(&hidden, &values("w2")[j * 8..][..8]) + values("b2")[j]).exp() } else { 0.0 }
        });
        assert!(distance(&run::<SynthesizerDenseCausal>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn later_tokens_do_not_reach_back() {
        assert_causal::<SynthesizerDenseCausal>(&sized(2, 19, 8), 11);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into())]);
        assert_eq!(judged::<SynthesizerDenseCausal>(&given).complaint, None);
        assert_closed_forms::<SynthesizerDenseCausal>(&given);
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<SynthesizerDenseCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
