//! Causal linear attention: running sums of phi(k) v^T and phi(k), read out by each query.
//!
//! Katharopoulos et al. 2020, section 3.3 (equations 9 to 12), in chunks: the recurrence between chunks, a masked product inside them.
//! One row at a time (`chunk` = 1) is the recurrent network of section 3.4; large chunks are products that engines do well, at
//! O(n chunk) more work. The result does not depend on it, up to rounding. See [`super::linear`] for what phi gives up.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;

use super::kernel_features::{FeatureMap, KernelAttention};
use super::linear::{FLOPS, SCRATCH};
use super::operands::count;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS};
use crate::descriptor::{AxisDefault, AxisSpec, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LinearCausal;

pub(super) const CHUNK: AxisSpec = count("chunk", "rows handled together between two updates of the running state", AxisDefault::Int(64));

impl Variant for LinearCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/linear-causal",
        summary: "causal linear attention with the feature map elu(x) + 1, in chunks",
        citation: "Katharopoulos et al. 2020, section 3.3",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[CHUNK],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = KernelAttention<B>;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<KernelAttention<B>> {
        let chunk = Some(size(axes, "chunk"));
        Ok(KernelAttention { name: Self::DESCRIPTOR.name, map: FeatureMap::EluPlusOne, chunk, epsilon: 0.0 })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Causal })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_causal, assert_closed_forms, sized, with};
    use crate::attention::linear::Linear;
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    #[test]
    fn later_tokens_do_not_reach_back() {
        for chunk in [1, 4, 64] {
            assert_causal::<LinearCausal>(&with(&sized(2, 19, 8), &[("chunk", chunk.into())]), 11);
        }
    }

    #[test]
    fn the_last_row_sees_everything_and_chunks_do_not_matter() {
        let full = axes::<Linear>(&sized(2, 13, 8));
        let drawn = drawn::<Linear>(&full);
        let full = run::<Linear>(&full, &drawn);
        let at = |chunk: i64| run::<LinearCausal>(&axes::<LinearCausal>(&with(&sized(2, 13, 8), &[("chunk", chunk.into())])), &drawn);
        let (one, five) = (at(1), at(5));
        assert!(distance(&one, &five) < 1e-12 && distance(&one, &at(64)) < 1e-12);
        for head in 0..2 {
            let last = |tensor: &crossover_core::host::HostTensor| tensor.values()[(head * 13 + 12) * 8..][..8].to_vec();
            assert!(last(&one).iter().zip(last(&full)).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }

    #[test]
    fn shared_keys_are_right_and_summed_once() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("chunk", 4.into())]);
        assert_eq!(judged::<LinearCausal>(&given).complaint, None);
        assert_closed_forms::<LinearCausal>(&given);
    }

    #[test]
    fn an_empty_chunk_is_refused() {
        assert!(axis_error::<LinearCausal>(&[("chunk", 0.into())]).contains("chunk = 0 must be a whole number in 1..="));
    }
}
