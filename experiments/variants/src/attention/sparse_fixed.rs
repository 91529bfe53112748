//! The fixed pattern of sparse transformers: the query's own block, and the last `summary` keys of each earlier block.
//!
//! Child et al., "Generating Long Sequences with Sparse Transformers" (2019), section 4.2 (fixed), merged into one head (section 5.1).
//! The summary keys are the same for all later queries, so they learn to speak for their block. O(n (block + summary n / block)) work.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS, count};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct SparseFixed;

/// As the paper draws it.
fn pattern(axes: &Axes) -> AttentionPattern {
    AttentionPattern::Fixed { block: size(axes, "block"), summary: size(axes, "summary") }
}

impl Variant for SparseFixed {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sparse-fixed",
        summary: "the own block and the last summary keys of earlier blocks",
        citation: "Child et al. 2019, sections 4.2 and 5.1",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[
            count("block", "length of a block", AxisDefault::Share { of: "n", divisor: 8 }),
            count("summary", "keys at the end of each block that all later queries see; at most block", AxisDefault::Int(1)),
        ],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[
            HEADS_DIVIDE,
            SQUARE,
            Condition {
                text: "a block has no more summary keys than keys: summary <= block",
                holds: |axes: &Axes| size(axes, "summary") <= size(axes, "block"),
            },
        ],
        model: Model {
            flops: "batch*heads*(floor(n/block)*block*(block + 1)/2 + (n - floor(n/block)*block)*((n - floor(n/block)\
                    *block) + 1)/2 + summary*(block*floor(n/block)*(floor(n/block) - 1)/2 + floor(n/block)*(n \
                    - floor(n/block)*block)))*(4*head_dim + 5)",
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
    fn one_block_or_a_summary_of_everything_equals_causal_attention() {
        assert_agree::<SparseFixed, FlashCausal>(&small(&[("block", 16.into())]), &small(&[]));
        assert_agree::<SparseFixed, FlashCausal>(&small(&[("block", 4.into()), ("summary", 4.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_its_block_and_the_summaries() {
        let given = small(&[("block", 4.into()), ("summary", 1.into())]);
        assert_eq!(seen::<SparseFixed>(&given, 9), [3, 7, 8, 9]);
        assert_causal::<SparseFixed>(&given);
    }

    #[test]
    fn more_summary_than_block_is_refused() {
        assert!(axis_error::<SparseFixed>(&[("block", 4.into()), ("summary", 5.into())]).contains("summary <= block"));
    }
}
