//! Causal random feature attention: the features of [`super::random_fourier`] with running sums.
//!
//! Peng et al. 2021, section 3.1 (equation 6, the recurrent form, here in chunks). Each row's features depend on that row alone, so
//! nothing later reaches back.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use super::kernel_features::{FeatureMap, KernelAttention};
use super::linear_causal::CHUNK;
use super::operands::REDRAW;
use super::performer::{FEATURES, TENSORS_AND_NORMALS};
use super::random_directions::DIRECTIONS;
use super::random_fourier::{FLOPS, SCRATCH, SIGMA, derived};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct RandomFourierCausal;

impl Variant for RandomFourierCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/random-fourier-causal",
        summary: "causal random Fourier features with running sums",
        citation: "Rahimi and Recht 2007, algorithm 1; Peng et al. 2021, section 3.1",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[FEATURES, SIGMA, REDRAW, CHUNK],
        tensors: TENSORS_AND_NORMALS,
        derived: &[DIRECTIONS],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<KernelAttention<B>> {
        let map = FeatureMap::Fourier { directions: operands.tensor("directions")? };
        Ok(KernelAttention { name: Self::DESCRIPTOR.name, map, chunk: Some(size(axes, "chunk")), epsilon: 0.0 })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Causal })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        derived(axes, drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, dot, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, drawn, judged, relative_error, run};

    #[test]
    fn later_tokens_do_not_reach_back() {
        for chunk in [1, 4, 64] {
            assert_causal::<RandomFourierCausal>(&with(&sized(2, 19, 8), &[("chunk", chunk.into())]), 11);
        }
    }

    #[test]
    fn it_is_the_masked_quadratic_sum_over_its_features() {
        let axes = axes::<RandomFourierCausal>(&with(&sized(2, 9, 8), &[("features", 64.into()), ("chunk", 4.into())]));
        let drawn = drawn::<RandomFourierCausal>(&axes);
        let made = derived(&axes, &drawn).unwrap().tensors.remove(0).1;
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let (q, k) = (row(&drawn["q"], head, i), row(&drawn["k"], head, j));
            let (q_size, k_size) = ((dot(q, q) / 8.0).sqrt(), (dot(k, k) / 8.0).sqrt());
            let sum: f64 = made.values().chunks(8).map(|w| (dot(w, q) / q_size - dot(w, k) / k_size).cos()).sum();
            if j <= i { sum } else { 0.0 }
        });
        assert!(relative_error(&run::<RandomFourierCausal>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn shared_keys_are_right_and_summed_once() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("chunk", 4.into())]);
        assert_eq!(judged::<RandomFourierCausal>(&given).complaint, None);
        assert_closed_forms::<RandomFourierCausal>(&given);
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<RandomFourierCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
