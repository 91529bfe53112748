//! What the variants over a fixed pattern share.
//!
//! Each of them is the streaming kernel of [`super::flash`] asked for another [`AttentionPattern`]: tiles that the pattern skips cost
//! nothing, so the work is that of the visible pairs. Verified against the exact operation over the same pattern; the accuracy that the
//! pattern costs is measured against full (or causal) attention.

use crossover_core::axes::Axes;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;

use crate::descriptor::Condition;
use crate::resolve::size;
use crate::variant::Reference;

/// A pattern by distance needs queries and keys that are numbered alike.
pub(super) const ALIGNED: Condition = Condition {
    text: "the pattern goes by distance, so it needs as many keys as queries: n_kv = n",
    holds: |axes: &Axes| size(axes, "n") == size(axes, "n_kv"),
};

/// The dense operation over a pattern.
pub(super) fn attention_over(pattern: AttentionPattern) -> Reference {
    Reference::Operation(ExactOperation::Attention { pattern })
}
