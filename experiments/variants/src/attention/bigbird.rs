//! BigBird: blocks of a window, of leading global tokens, and a few drawn at random for each row.
//!
//! Zaheer et al. (2020), section 2 (the ITC form) and appendix D (blocks). The random blocks shorten the paths between any two tokens; the
//! paper proves that the pattern is still a universal approximator. Linear work; whole blocks, so that kernels stay dense inside.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::blocks::{BLOCK, PATTERN_SEED, bitmap, blocks, drawn};
use super::flash::Streamed;
use super::patterns::{ALIGNED, attention_over};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS, count};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct BigBird;

/// Row by row of blocks; the causal form draws from the past alone, and hides what is left of the future.
pub(super) fn seen_blocks(axes: &Axes, causal: bool) -> AttentionPattern {
    let (global, window) = (size(axes, "global_blocks"), size(axes, "window_blocks"));
    let (count, random) = (blocks(axes), size(axes, "random_blocks"));
    let row = |row: usize| -> Vec<usize> {
        let reach = if causal { row + 1 } else { count };
        let fixed = |column: &usize| (row < global && !causal) || *column < global || row.abs_diff(*column) <= window;
        let others = (0..reach).filter(|column| !fixed(column));
        (0..reach).filter(fixed).chain(drawn(axes, row, others, random)).collect()
    };
    bitmap(axes, &(0..count).map(row).collect::<Vec<_>>(), causal)
}

/// No more global blocks than blocks.
pub(super) const GLOBAL_FITS: Condition = Condition {
    text: "there are no more global blocks than blocks: global_blocks <= n / block, rounded up",
    holds: |axes: &Axes| size(axes, "global_blocks") <= blocks(axes),
};

impl Variant for BigBird {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/bigbird",
        summary: "window, global and random blocks",
        citation: "Zaheer et al. 2020, section 2 and appendix D",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[
            BLOCK,
            count("window_blocks", "blocks seen on each side of the own one", AxisDefault::Int(1)),
            count("global_blocks", "leading blocks that see and are seen by all", AxisDefault::Int(1)),
            count("random_blocks", "random blocks of each row that are not seen anyway", AxisDefault::Int(3)),
            PATTERN_SEED,
        ],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, ALIGNED, GLOBAL_FITS],
        model: Model {
            flops: "batch*heads*(global_blocks*ceil(n/block) + (ceil(n/block) - global_blocks)*(global_blocks \
                    + 2*min(window_blocks, ceil(n/block) - global_blocks - 1) + 1 \
                    + min(random_blocks, max(ceil(n/block) - global_blocks - 2*min(window_blocks, ceil(n/block) \
                    - global_blocks - 1) - 1, 0))) - min(window_blocks, ceil(n/block) - global_blocks - 1)\
                    *(min(window_blocks, ceil(n/block) - global_blocks - 1) + 1))*block^2*(4*head_dim + 5)",
            scratch: "0",
        },
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(seen_blocks(axes, false), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Full)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(seen_blocks(axes, false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::output;
    use super::super::checks::{assert_agree, seen, small};
    use super::super::flash::Flash;
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn all_blocks_in_the_window_or_drawn_equal_full_attention() {
        assert_agree::<BigBird, Flash>(&small(&[("block", 4.into()), ("window_blocks", 4.into())]), &small(&[]));
        assert_agree::<BigBird, Flash>(&small(&[("block", 2.into()), ("random_blocks", 8.into())]), &small(&[]));
        // Blocks that do not divide the sequence.
        assert_agree::<BigBird, Flash>(&small(&[("block", 3.into()), ("global_blocks", 6.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_window_global_and_random_blocks() {
        let given = small(&[("block", 1.into()), ("random_blocks", 2.into())]);
        let keys = seen::<BigBird>(&given, 8);
        assert_eq!(keys.len(), 1 + 3 + 2);
        assert!([0, 7, 8, 9].iter().all(|key| keys.contains(key)));
        assert_eq!(seen::<BigBird>(&given, 0).len(), 16);
    }

    #[test]
    fn only_the_pattern_seed_changes_the_pattern() {
        let given = |seed: i64| small(&[("block", 1.into()), ("pattern_seed", seed.into())]);
        assert_eq!(output::<BigBird>(&given(1)), output::<BigBird>(&given(1)));
        assert_ne!(output::<BigBird>(&given(1)), output::<BigBird>(&given(2)));
    }

    #[test]
    fn too_many_global_blocks_are_refused() {
        let error = axis_error::<BigBird>(&[("n", 16.into()), ("block", 8.into()), ("global_blocks", 3.into())]);
        assert!(error.contains("no more global blocks than blocks"), "{error}");
    }
}
