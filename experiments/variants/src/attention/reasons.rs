//! What exactly is wrong where a condition on a text does not hold: the place in it, not the text once more.

use super::{blocks, head_pruning};
use crate::resolve::Reason;

/// By the condition's text.
pub(crate) const REASONS: &[Reason] = &[
    (blocks::DRAWN, blocks::bitmap_problem),
    (blocks::DRAWN_CAUSAL, blocks::causal_bitmap_problem),
    (head_pruning::LISTED, head_pruning::list_problem),
];
