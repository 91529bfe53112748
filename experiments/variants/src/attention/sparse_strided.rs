//! The strided pattern of sparse transformers: the last `stride` keys, and every `stride`-th key before them.
//!
//! Child et al., "Generating Long Sequences with Sparse Transformers" (2019), section 4.2, with both halves of the factorisation in one
//! head (section 5.1, the merged head). With a stride near sqrt(n) any two positions are two steps apart, at O(n sqrt n) work. It fits
//! data with a period (images, sound); for text the authors prefer [`super::sparse_fixed`].

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SparseStrided;

/// As the paper draws it.
fn pattern(axes: &Axes) -> AttentionPattern {
    AttentionPattern::Strided { stride: size(axes, "stride") }
}

impl Variant for SparseStrided {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sparse-strided",
        summary: "the last stride keys and every stride-th before them",
        citation: "Child et al. 2019, sections 4.2 and 5.1",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[count(
            "stride",
            "length of the local part and distance between the others",
            AxisDefault::Share { of: "n", divisor: 8 },
        )],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model {
            flops: "batch*heads*(n*min(stride, n) - min(stride, n)*(min(stride, n) - 1)/2 + stride*floor(n/stride)\
                    *(floor(n/stride) - 1)/2 + floor(n/stride)*(n - floor(n/stride)*stride))*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(pattern(axes), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(pattern(axes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn stride_one_or_the_whole_sequence_equals_causal_attention() {
        for stride in [1, 16, 40] {
            assert_agree::<SparseStrided, FlashCausal>(&small(&[("stride", stride.into())]), &small(&[]));
        }
    }

    #[test]
    fn a_query_sees_its_row_and_its_column() {
        let given = small(&[("stride", 4.into())]);
        assert_eq!(seen::<SparseStrided>(&given, 10), [2, 6, 7, 8, 9, 10]);
        assert_causal::<SparseStrided>(&given);
    }

    #[test]
    fn no_stride_is_refused() {
        assert!(axis_error::<SparseStrided>(&[("stride", 0.into())]).contains("stride = 0 must be a whole number in 1.."));
    }
}
