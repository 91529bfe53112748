//! Flash attention: the same result as dense, streamed over tiles of keys, so that no score matrix ever exists.
//!
//! Dao et al., "FlashAttention" (2022), algorithm 1. Memory falls from O(n^2) to O(n); the arithmetic grows a little (rescaling). It
//! pays as soon as the score matrix no longer fits a cache.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{AttentionOperands, AttentionOutputs, ScoreBias, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{View, ViewMut};

use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Flash;

/// What the engine's streaming kernel is asked for.
pub struct Streamed {
    pub(super) spec: AttentionSpec,
}

impl Variant for Flash {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/flash",
        summary: "exact attention, streamed over keys: no score matrix",
        citation: "Dao et al. 2022, algorithm 1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Streamed;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Streamed> {
        Ok(Streamed::over(AttentionPattern::Full, axes))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }
}

impl Streamed {
    /// The usual scale over a pattern.
    pub(super) fn over(pattern: AttentionPattern, axes: &Axes) -> Self {
        let scale = 1.0 / (size(axes, "head_dim") as f64).sqrt();
        Self { spec: AttentionSpec { pattern, scale, soft_cap: None, query_offset: 0 } }
    }
}

impl<B: TransformerBackend> Bound<B> for Streamed {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/flash", inputs)) };
        let operands = AttentionOperands { q, k, v, bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}
