//! Causal BigBird: the last blocks, the first blocks for good, and some blocks of the past drawn at random.
//!
//! Zaheer et al. 2020, section 2, under a causal mask: the paper's graph is two-sided (its decoder attends in full), so this is the graph of
//! [`super::bigbird`] without its edges to the future. Global blocks are seen by all that come after them, and see what came before.
//! Early rows, which have fewer blocks behind them than the budget, see all of those; inside the own block the future is masked.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;

use super::bigbird::{BigBird, GLOBAL_FITS, seen_blocks};
use super::flash::Streamed;
use super::patterns::attention_over;
use super::{HEADS_DIVIDE, SQUARE};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct BigBirdCausal;

impl Variant for BigBirdCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/bigbird-causal",
        summary: "window, global and random blocks of the past",
        task: "attention/causal",
        conditions: &[HEADS_DIVIDE, SQUARE, GLOBAL_FITS],
        model: Model {
            flops: "batch*heads*((ceil(n/block)*min(global_blocks + window_blocks + 1 + random_blocks, ceil(n/block)) \
                    - min(global_blocks + window_blocks + 1 + random_blocks, ceil(n/block))\
                    *(min(global_blocks + window_blocks + 1 + random_blocks, ceil(n/block)) - 1)/2)*block^2 \
                    - ceil(n/block)*block*(block - 1)/2)*(4*head_dim + 5)",
            scratch: "0",
        },
        ..BigBird::DESCRIPTOR
    };

    type Bound<B: TransformerBackend + 'static> = Streamed;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(seen_blocks(axes, true), axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        attention_over(AttentionPattern::Causal)
    }

    fn reference(axes: &Axes) -> Reference {
        attention_over(seen_blocks(axes, true))
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
    fn all_blocks_in_the_window_or_drawn_equal_causal_attention() {
        assert_agree::<BigBirdCausal, FlashCausal>(&small(&[("block", 4.into()), ("window_blocks", 4.into())]), &small(&[]));
        assert_agree::<BigBirdCausal, FlashCausal>(&small(&[("block", 2.into()), ("random_blocks", 8.into())]), &small(&[]));
        // Blocks that do not divide the sequence.
        assert_agree::<BigBirdCausal, FlashCausal>(&small(&[("block", 3.into()), ("global_blocks", 6.into())]), &small(&[]));
    }

    #[test]
    fn a_query_sees_window_global_and_random_blocks_of_the_past() {
        let given = small(&[("block", 1.into()), ("random_blocks", 2.into())]);
        let keys = seen::<BigBirdCausal>(&given, 12);
        assert_eq!(keys.len(), 1 + 2 + 2, "{keys:?}");
        assert!([0, 11, 12].iter().all(|key| keys.contains(key)) && keys.iter().all(|key| *key <= 12), "{keys:?}");
        assert_eq!(seen::<BigBirdCausal>(&given, 2), [0, 1, 2]);
        assert_causal::<BigBirdCausal>(&small(&[("block", 4.into()), ("random_blocks", 1.into())]));
    }

    #[test]
    fn it_costs_what_it_says() {
        for (block, random) in [(1, 2), (2, 1), (4, 1), (16, 3)] {
            assert_closed_forms::<BigBirdCausal>(&small(&[("block", block.into()), ("random_blocks", random.into())]));
        }
    }

    #[test]
    fn too_many_global_blocks_are_refused() {
        let error = axis_error::<BigBirdCausal>(&[("n", 16.into()), ("block", 8.into()), ("global_blocks", 3.into())]);
        assert!(error.contains("no more global blocks than blocks"), "{error}");
    }
}
