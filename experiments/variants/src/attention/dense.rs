//! Dense attention with materialised scores: the textbook form, and the yardstick of memory.
//!
//! Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1: S = q k^T / sqrt(d), P = softmax(S), out = P v, with the whole
//! [batch, heads, n, n_kv] matrix in memory. Trades memory for plain matrix products.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{MatmulSpec, SoftmaxAlgorithm};
use crossover_core::pattern::AttentionPattern;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::Descriptor;
use crate::variant::{Bound, Operands, Variant};

/// The variant.
pub struct Dense;

/// q, k and v, and the pattern that masks the scores.
pub struct Materialised<B: TransformerBackend> {
    q: Tensor<B::Buffer>,
    k: Tensor<B::Buffer>,
    v: Tensor<B::Buffer>,
    pattern: AttentionPattern,
}

impl Variant for Dense {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/dense",
        summary: "softmax(q k^T / sqrt(head_dim)) v with all scores in memory",
        citation: "Vaswani et al. 2017, section 3.2.1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
    };

    type Bound<B: TransformerBackend> = Materialised<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Materialised<B>> {
        Materialised::bind(operands, AttentionPattern::Full)
    }

    fn exact(_axes: &Axes) -> ExactOperation {
        ExactOperation::Attention { pattern: AttentionPattern::Full }
    }
}

impl<B: TransformerBackend> Materialised<B> {
    pub(super) fn bind(operands: &mut Operands<B>, pattern: AttentionPattern) -> Result<Self> {
        Ok(Self { q: operands.tensor("q")?, k: operands.tensor("k")?, v: operands.tensor("v")?, pattern })
    }

    /// A [batch, kv_heads, n_kv, head_dim] tensor, each head repeated for the query heads that share it.
    fn shared<'a>(tensor: &'a Tensor<B::Buffer>, group: usize) -> Result<View<'a, B::Buffer>> {
        let &[batch, heads, rows, width] = tensor.shape() else { unreachable!("bound tensors are four-dimensional") };
        tensor.view().with(|layout| layout.unsqueeze(2)?.broadcast(&[batch, heads, group, rows, width]))
    }
}

impl<B: TransformerBackend> Bound<B> for Materialised<B> {
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let (&[batch, heads, n, width], &[_, key_heads, n_kv, _]) = (self.q.shape(), self.k.shape()) else {
            unreachable!("bound tensors are four-dimensional")
        };
        let group = heads / key_heads;
        let q = self.q.view().with(|layout| layout.split(1, key_heads, group))?;
        let out = out.with(|layout| layout.split(1, key_heads, group))?;
        let mut scores = scratch.take(backend, backend.storage(), &[batch, key_heads, group, n, n_kv])?;
        let scale = MatmulSpec::scaled(1.0 / (width as f64).sqrt());
        backend.matmul(scale, q, Self::shared(&self.k, group)?.transposed()?, scores.view_mut())?;
        if self.pattern != AttentionPattern::Full {
            backend.mask(&self.pattern, 0, 0, scores.view_mut())?;
        }
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, scores.view_mut())?;
        backend.matmul(MatmulSpec::PLAIN, scores.view(), Self::shared(&self.v, group)?, out)?;
        scratch.give(scores);
        Ok(())
    }
}
