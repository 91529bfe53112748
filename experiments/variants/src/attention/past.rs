//! What a comparison of positions asks of the sizes.
//!
//! Kitaev et al. 2020, section 2 ("Causal masking for LSH attention"): every token keeps its position index through a reordering, and a
//! comparison of indices hides the future (`crossover_core::compose::later`).

use crossover_core::axes::Axes;
use crossover_core::compose::later::MOST_POSITIONS;

use crate::descriptor::Condition;
use crate::resolve::size;

/// Engines compare positions as numbers of f32.
pub(super) const TOLD_APART: Condition = Condition {
    text: "positions are compared in f32, half a place apart: n must not exceed 2^23",
    holds: |axes: &Axes| size(axes, "n") <= MOST_POSITIONS,
};
