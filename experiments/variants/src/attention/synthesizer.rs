//! What the synthesizers share: scores that no key has made are turned into a mixture of values.
//!
//! Tay et al. 2021, section 3. The exact operation that their error is measured against stays softmax(q k^T / sqrt(d)) v on the same
//! tensors: it says how different the function is, and k is an input that they do not read.

use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{MatmulSpec, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::shared;
use super::operands::Attended;
use crate::variant::Reference;

/// out = softmax(scores) v for scores [batch, heads, n, n_kv], over the keys up to each query in the causal form.
pub(super) fn mix<B: TransformerBackend>(
    backend: &B,
    scores: &mut Tensor<B::Buffer>,
    causal: bool,
    operands: &Attended<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    if causal {
        backend.mask(&AttentionPattern::Causal, 0, 0, scores.view_mut())?;
    }
    backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, scores.view_mut())?;
    weigh(backend, scores.view(), operands, out)
}

/// out = weights v for weights [batch, heads, n, n_kv].
pub(super) fn weigh<B: TransformerBackend>(
    backend: &B,
    weights: View<'_, B::Buffer>,
    operands: &Attended<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
) -> Result<()> {
    let (key_heads, group) = (operands.key_heads, operands.heads / operands.key_heads);
    let weights = weights.with(|layout| layout.split(1, key_heads, group))?;
    backend.matmul(MatmulSpec::PLAIN, weights, shared(operands.v, group)?, out.with(|layout| layout.split(1, key_heads, group))?)
}

/// What their error is measured against.
pub(super) fn full(_axes: &Axes) -> Reference {
    Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
}
