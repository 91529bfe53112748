//! Linear attention: phi(q) (phi(k)^T v) over phi(q) phi(k)^T 1 with phi(x) = elu(x) + 1.
//!
//! Katharopoulos et al. 2020, section 3.2 (equations 5 and 7). No estimate of softmax but another similarity, so the error against the
//! dense operation says how different the two functions are, not how bad this one is when trained. Cost O(n head_dim^2), state
//! [head_dim, head_dim] a head. It pays beyond n of about head_dim, and gives up sharp attention: the weights are nearly flat.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;

use super::kernel_features::{FeatureMap, KernelAttention};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Linear;

pub(super) const FLOPS: &str = "batch*(heads*n + kv_heads*n_kv)*head_dim*(2*head_dim + 3)";
pub(super) const SCRATCH: &str = "batch*(heads*n + kv_heads*n_kv)*head_dim";

impl Variant for Linear {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/linear",
        summary: "linear attention with the feature map elu(x) + 1",
        citation: "Katharopoulos et al. 2020, section 3.2",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<KernelAttention<B>> {
        Ok(KernelAttention { name: Self::DESCRIPTOR.name, map: FeatureMap::EluPlusOne, chunk: None, epsilon: 0.0 })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dot, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    pub(in crate::attention) fn similarity(q: &[f64], k: &[f64]) -> f64 {
        let phi = |x: &[f64]| x.iter().map(|&x| if x > 0.0 { x + 1.0 } else { x.exp() }).collect::<Vec<_>>();
        dot(&phi(q), &phi(k))
    }

    #[test]
    fn it_is_the_quadratic_sum_of_its_similarity() {
        let axes = axes::<Linear>(&with(&sized(2, 9, 8), &[("batch", 2.into()), ("n_kv", 5.into())]));
        let drawn = drawn::<Linear>(&axes);
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| similarity(row(&drawn["q"], head, i), row(&drawn["k"], head, j)));
        assert!(distance(&run::<Linear>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn query_heads_that_share_keys_are_right() {
        assert_closed_forms::<Linear>(&with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into())]));
        assert_eq!(judged::<Linear>(&with(&sized(4, 16, 8), &[("kv_heads", 2.into())])).complaint, None);
    }

    #[test]
    fn heads_that_cannot_be_shared_are_refused() {
        assert!(axis_error::<Linear>(&[("heads", 4.into()), ("kv_heads", 3.into())]).contains("kv_heads must divide heads"));
    }
}
