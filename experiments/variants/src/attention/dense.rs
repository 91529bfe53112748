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
use crossover_core::tensor::{View, ViewMut};

use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Dense;

/// The pattern that masks the scores.
pub struct Materialised {
    pub(super) pattern: AttentionPattern,
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
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 5)", scratch: "batch*heads*n*n_kv" },
    };

    type Bound<B: TransformerBackend> = Materialised;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Materialised> {
        Ok(Materialised { pattern: AttentionPattern::Full })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Attention { pattern: AttentionPattern::Full })
    }
}

/// A [batch, kv_heads, n_kv, head_dim] view, each head repeated for the query heads that share it.
pub(super) fn shared<'a, S>(view: View<'a, S>, group: usize) -> Result<View<'a, S>> {
    let &[batch, heads, rows, width] = view.shape() else { return Err(wrong_inputs("attention", &[view])) };
    view.with(|layout| layout.unsqueeze(2)?.broadcast(&[batch, heads, group, rows, width]))
}

impl<B: TransformerBackend> Bound<B> for Materialised {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/dense", inputs)) };
        let (&[batch, heads, n, width], &[_, key_heads, n_kv, _]) = (q.shape(), k.shape()) else {
            return Err(wrong_inputs("attention/dense", inputs));
        };
        let group = heads / key_heads;
        let q = q.with(|layout| layout.split(1, key_heads, group))?;
        let out = out.with(|layout| layout.split(1, key_heads, group))?;
        let mut scores = scratch.take(backend, backend.storage(), &[batch, key_heads, group, n, n_kv])?;
        let scale = MatmulSpec::scaled(1.0 / (width as f64).sqrt());
        backend.matmul(scale, q, shared(k, group)?.transposed()?, scores.view_mut())?;
        if self.pattern != AttentionPattern::Full {
            backend.mask(&self.pattern, 0, 0, scores.view_mut())?;
        }
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, scores.view_mut())?;
        backend.matmul(MatmulSpec::PLAIN, scores.view(), shared(v, group)?, out)?;
        scratch.give(scores);
        Ok(())
    }
}
