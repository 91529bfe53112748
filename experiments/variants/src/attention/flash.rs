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
use crossover_core::tensor::{Tensor, ViewMut};

use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::Descriptor;
use crate::variant::{Bound, Operands, Variant};

/// The variant.
pub struct Flash;

/// q, k and v, and what the engine's streaming kernel is asked for.
pub struct Streamed<B: TransformerBackend> {
    q: Tensor<B::Buffer>,
    k: Tensor<B::Buffer>,
    v: Tensor<B::Buffer>,
    spec: AttentionSpec,
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
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
    };

    type Bound<B: TransformerBackend> = Streamed<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Streamed<B>> {
        Streamed::bind(operands, AttentionPattern::Full)
    }

    fn exact(_axes: &Axes) -> ExactOperation {
        ExactOperation::Attention { pattern: AttentionPattern::Full }
    }
}

impl<B: TransformerBackend> Streamed<B> {
    pub(super) fn bind(operands: &mut Operands<B>, pattern: AttentionPattern) -> Result<Self> {
        let q = operands.tensor("q")?;
        let scale = 1.0 / (q.layout.dim_from_end(0) as f64).sqrt();
        let spec = AttentionSpec { pattern, scale, soft_cap: None, query_offset: 0 };
        Ok(Self { q, k: operands.tensor("k")?, v: operands.tensor("v")?, spec })
    }
}

impl<B: TransformerBackend> Bound<B> for Streamed<B> {
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let operands = AttentionOperands { q: self.q.view(), k: self.k.view(), v: self.v.view(), bias: ScoreBias::None, key_mask: None };
        backend.attention(&self.spec, operands, AttentionOutputs { out, log_sum_exp: None }, scratch)
    }
}
