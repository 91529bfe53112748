//! Causal flash attention: streamed, and tiles in the future are skipped instead of masked.
//!
//! Dao et al. (2022), section 3 with the causal mask of appendix B. About half the work of the full form at long lengths.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;

use super::flash::Streamed;
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, SQUARE, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct FlashCausal;

impl Variant for FlashCausal {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/flash-causal",
        summary: "exact causal attention, streamed: future tiles are skipped",
        citation: "Dao et al. 2022, appendix B",
        task: "attention/causal",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, SQUARE],
        model: Model { flops: "batch*heads*n*(n + 1)/2*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Streamed;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(AttentionPattern::Causal, axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Causal })
    }
}
