//! Causal block-sparse attention: each block of queries sees its own block and some earlier ones, drawn at random.
//!
//! Dao et al., "FlashAttention" (2022), section 3.3, under a causal mask. The budget of blocks is that of [`super::block_sparse`]; early
//! rows that have fewer blocks behind them see all of those. Inside the own block the future is masked.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::blocks::{BLOCK, DENSITY, PATTERN_SEED, bitmap, blocks, budget, drawn};
use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct BlockSparseCausal;

/// The own block, and the first of the others in the seed's order.
fn pattern(axes: &Axes) -> AttentionPattern {
    let (count, budget) = (blocks(axes), budget(axes));
    let row = |row: usize| -> Vec<usize> {
        let others = 0..row;
        std::iter::once(row).chain(drawn(axes, row, others, budget - 1)).collect()
    };
    bitmap(axes, &(0..count).map(row).collect::<Vec<_>>(), true)
}

impl Variant for BlockSparseCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/block-sparse-causal",
        summary: "random blocks of keys, a fixed number for each block of queries, causal",
        citation: "Dao et al. 2022, section 3.3",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[BLOCK, DENSITY, PATTERN_SEED],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model {
            flops: "batch*heads*((ceil(n/block)*max(ceil(density*ceil(n/block)), 1) \
                    - max(ceil(density*ceil(n/block)), 1)*(max(ceil(density*ceil(n/block)), 1) - 1)/2)*block^2 \
                    - ceil(n/block)*block*(block - 1)/2)*(4*head_dim + 5)",
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
    fn a_density_above_one_is_refused() {
        assert!(axis_error::<BlockSparseCausal>(&[("density", 1.5.into())]).contains("density = 1.5 must be a number in 0..=1"));
    }
}
