//! Causal cosFormer: the similarity of [`super::cosformer`] with running sums.
//!
//! Qin et al. 2022, section 3.2 with the causal sums of their appendix; chunked as in [`super::linear_causal`]. Positions are
//! absolute, so the angle of a token does not change when the sequence goes on within the same maximal length n.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::{ExactOperation, HostInputs};

use super::cosformer::{ANGLES, FLOPS, SCRATCH, bound, derived};
use super::kernel_features::KernelAttention;
use super::linear_causal::CHUNK;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct CosformerCausal;

impl Variant for CosformerCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/cosformer-causal",
        summary: "causal cosFormer with running sums",
        citation: "Qin et al. 2022, section 3.2",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[CHUNK],
        tensors: TENSORS,
        derived: ANGLES,
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<KernelAttention<B>> {
        bound(Self::DESCRIPTOR.name, operands, Some(size(axes, "chunk")))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Causal })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        derived(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    #[test]
    fn later_tokens_do_not_reach_back() {
        for chunk in [1, 4, 64] {
            assert_causal::<CosformerCausal>(&with(&sized(2, 19, 8), &[("chunk", chunk.into())]), 11);
        }
    }

    #[test]
    fn it_is_the_masked_quadratic_sum_of_its_similarity() {
        let axes = axes::<CosformerCausal>(&with(&sized(2, 9, 8), &[("chunk", 4.into())]));
        let drawn = drawn::<CosformerCausal>(&axes);
        let expected = weighted(&axes, &drawn, 1e-6, |head, i, j| {
            let (q, k) = (row(&drawn["q"], head, i), row(&drawn["k"], head, j));
            let product: f64 = q.iter().zip(k).map(|(q, k)| q.max(0.0) * k.max(0.0)).sum();
            if j <= i { product * (std::f64::consts::FRAC_PI_2 * (i - j) as f64 / 9.0).cos() } else { 0.0 }
        });
        assert!(distance(&run::<CosformerCausal>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn shared_keys_are_right_and_summed_once() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("chunk", 4.into())]);
        assert_eq!(judged::<CosformerCausal>(&given).complaint, None);
        assert_closed_forms::<CosformerCausal>(&given);
    }

    #[test]
    fn as_many_keys_as_queries_are_demanded() {
        assert!(axis_error::<CosformerCausal>(&[("n_kv", 7.into())]).contains("as many keys as queries: n_kv = n"));
    }
}
