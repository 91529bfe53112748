//! Causal block-sparse attention: each block of queries sees its own block and some earlier ones, drawn at random.
//!
//! Dao et al., "FlashAttention" (2022), section 3.3, under a causal mask. The budget of blocks is that of [`super::block_sparse`]; early
//! rows that have fewer blocks behind them see all of those. Inside the own block the future is masked. A given `bitmap` may not reach
//! above its diagonal.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::blocks::{BITMAP, BLOCK, CAUSAL_BITMAP_FITS, DENSITY, PATTERN_SEED, given_or_drawn};
use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct BlockSparseCausal;

impl Variant for BlockSparseCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/block-sparse-causal",
        summary: "random blocks of keys, a fixed number for each block of queries, causal",
        citation: "Dao et al. 2022, section 3.3",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[BLOCK, DENSITY, PATTERN_SEED, BITMAP],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE, CAUSAL_BITMAP_FITS],
        model: Model {
            flops: "batch*heads*(is(bitmap,)*((ceil(n/block)*max(ceil(density*ceil(n/block)), 1) \
                    - max(ceil(density*ceil(n/block)), 1)*(max(ceil(density*ceil(n/block)), 1) - 1)/2)*block^2 \
                    - ceil(n/block)*block*(block - 1)/2) \
                    + ones(bitmap)*block^2 - diagonal(bitmap)*block*(block - 1)/2)*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(given_or_drawn(axes, true), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(given_or_drawn(axes, true))
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::assert_closed_forms;
    use super::super::checks::{assert_agree, assert_causal, seen, small};
    use super::super::flash_causal::FlashCausal;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn density_one_equals_causal_attention() {
        for block in [1, 3, 4, 16] {
            let given = small(&[("density", 1.0.into()), ("block", block.into())]);
            assert_agree::<BlockSparseCausal, FlashCausal>(&given, &small(&[]));
        }
    }

    #[test]
    fn a_query_sees_its_budget_of_blocks_and_no_future() {
        let given = small(&[("density", 0.5.into()), ("block", 4.into())]);
        // The own block up to itself, and one whole earlier block.
        assert_eq!(seen::<BlockSparseCausal>(&given, 13).len(), 2 + 4);
        assert_eq!(seen::<BlockSparseCausal>(&given, 2), [0, 1, 2]);
        assert_causal::<BlockSparseCausal>(&given);
    }

    #[test]
    fn a_given_bitmap_is_what_is_seen() {
        let given = |bitmap: &'static str| small(&[("block", 4.into()), ("bitmap", bitmap.into())]);
        let axes = given("1000/0100/1110/0010");
        assert_eq!(seen::<BlockSparseCausal>(&axes, 6), [4, 5, 6]);
        assert_eq!(seen::<BlockSparseCausal>(&axes, 9), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(seen::<BlockSparseCausal>(&axes, 12), [8, 9, 10, 11]);
        assert_closed_forms::<BlockSparseCausal>(&axes);
        let error = axis_error::<BlockSparseCausal>(&given("1000/0110/1110/0010"));
        assert!(error.contains("row 2, column 3 is a later block"), "{error}");
    }

    #[test]
    fn a_density_above_one_is_refused() {
        assert!(axis_error::<BlockSparseCausal>(&[("density", 1.5.into())]).contains("density = 1.5 must be a number in 0..=1"));
    }
}
