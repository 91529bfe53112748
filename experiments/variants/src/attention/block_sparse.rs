//! Block-sparse attention: each block of queries sees its own block of keys and some others, drawn at random.
//!
//! Dao et al., "FlashAttention" (2022), section 3.3 (block-sparse FlashAttention); Gray et al. (2017) for the kernels. Time falls with the
//! share of blocks kept, and nothing else changes: this is the yardstick of what sparsity is worth to an engine. A random mask carries no
//! meaning, so the accuracy is that of blind pruning; whoever knows better which blocks matter gives them by `bitmap`, which then is all
//! that counts.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::blocks::{BITMAP, BITMAP_FITS, BLOCK, DENSITY, PATTERN_SEED, given_or_drawn};
use super::flash::Streamed;
use super::patterns::{ALIGNED, attention_over};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct BlockSparse;

impl Variant for BlockSparse {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/block-sparse",
        summary: "random blocks of keys, a fixed number for each block of queries",
        citation: "Dao et al. 2022, section 3.3",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[BLOCK, DENSITY, PATTERN_SEED, BITMAP],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, ALIGNED, BITMAP_FITS],
        model: Model {
            flops: "batch*heads*(is(bitmap,)*ceil(n/block)*max(ceil(density*ceil(n/block)), 1) + ones(bitmap))*block^2*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(given_or_drawn(axes, false), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(given_or_drawn(axes, false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::approximation::assert_closed_forms;
    use super::super::checks::{assert_agree, seen, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn density_one_equals_full_attention() {
        for block in [1, 3, 4, 16] {
            assert_agree::<BlockSparse, Flash>(&small(&[("density", 1.0.into()), ("block", block.into())]), &small(&[]));
        }
    }

    #[test]
    fn a_query_sees_its_own_block_and_its_budget_of_others() {
        let keys = seen::<BlockSparse>(&small(&[("density", 0.5.into()), ("block", 4.into())]), 6);
        assert_eq!(keys.len(), 8);
        assert!([4, 5, 6, 7].iter().all(|key| keys.contains(key)));
        assert_eq!(seen::<BlockSparse>(&small(&[("density", 0.0.into()), ("block", 4.into())]), 6), [4, 5, 6, 7]);
    }

    #[test]
    fn a_given_bitmap_is_what_is_seen() {
        let given = |bitmap: &'static str| small(&[("block", 4.into()), ("bitmap", bitmap.into())]);
        let axes = given("1000/0101/1110/0000");
        assert_eq!(seen::<BlockSparse>(&axes, 6), [4, 5, 6, 7, 12, 13, 14, 15]);
        assert_eq!(seen::<BlockSparse>(&axes, 14), [0; 0]);
        assert_closed_forms::<BlockSparse>(&axes);
        let dense = small(&[("block", 8.into()), ("bitmap", "11/11".into()), ("density", 0.0.into())]);
        assert_agree::<BlockSparse, Flash>(&dense, &small(&[]));
    }

    #[test]
    fn a_wrong_bitmap_is_refused_with_the_place() {
        let error = |bitmap: &str| axis_error::<BlockSparse>(&[("n", 16.into()), ("block", 4.into()), ("bitmap", bitmap.into())]);
        for (bitmap, complaint) in [
            ("1000/01x1/1110/0000", "row 2, column 3 is 'x', neither 0 nor 1"),
            ("1000/011/1110/0000", "row 2 has 3 columns; n = 16 makes 4 blocks of 4"),
            ("1000/0110", "it has 2 rows; n = 16 makes 4 blocks of 4"),
        ] {
            assert!(error(bitmap).contains(complaint), "{}", error(bitmap));
        }
    }

    #[test]
    fn a_density_above_one_is_refused() {
        assert!(axis_error::<BlockSparse>(&[("density", 1.5.into())]).contains("density = 1.5 must be a number in 0..=1"));
    }
}
