//! Dense causal attention with materialised scores: the future is masked with minus infinity before the softmax.
//!
//! Vaswani et al. (2017), section 3.2.3. Does the full work of the dense form and throws half of it away, which is what a mask costs
//! without a kernel that skips.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;

use super::dense::Materialised;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Variant};

/// The variant.
pub struct Causal;

impl Variant for Causal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/causal",
        summary: "dense attention, future keys masked, all scores in memory",
        citation: "Vaswani et al. 2017, section 3.2.3",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
    };

    type Bound<B: TransformerBackend> = Materialised<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Materialised<B>> {
        Materialised::bind(operands, AttentionPattern::Causal)
    }

    fn exact(_axes: &Axes) -> ExactOperation {
        ExactOperation::Attention { pattern: AttentionPattern::Causal }
    }
}
