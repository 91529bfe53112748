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
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

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
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "batch*heads*n*n_kv" },
    };

    type Bound<B: TransformerBackend> = Materialised;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Materialised> {
        Ok(Materialised { pattern: AttentionPattern::Causal })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Causal })
    }
}
