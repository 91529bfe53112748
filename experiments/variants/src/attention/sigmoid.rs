//! Sigmoid attention: each weight is sigmoid(score - log n_kv), on its own, instead of a share of the row.
//!
//! Ramapuram et al., "Theory, Analysis, and Best Practices for Sigmoid Self-Attention" (2024), section 2 and, for the shift by -log n,
//! section 4. Rows need not be normalised, so there is no maximum, no sum and no dependence between the weights of a row. The scores of
//! `chunk` query rows are in memory at a time. It is another function than softmax attention and needs training as such.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::UnaryOp;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::{View, ViewMut};

use super::scores::{CHUNK, Sizes};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Sigmoid;

/// Rows handled together.
pub struct Chunked {
    pub(super) chunk: usize,
    pub(super) causal: bool,
}

impl Variant for Sigmoid {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/sigmoid",
        summary: "sigmoid(q k^T / sqrt(head_dim) - log n_kv) v",
        citation: "Ramapuram et al. 2024, sections 2 and 4",
        task: "attention/sigmoid",
        problem: PROBLEM,
        parameters: &[CHUNK],
        tensors: TENSORS,
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model { flops: "batch*heads*n*n_kv*(4*head_dim + 2)", scratch: "batch*heads*min(chunk, n)*n_kv" },
    };

    type Bound<B: TransformerBackend + 'static> = Chunked;

    fn bind<B: TransformerBackend + 'static>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Chunked> {
        Ok(Chunked { chunk: size(axes, "chunk"), causal: false })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Chunked {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs("attention/sigmoid", inputs)) };
        let sizes = Sizes::of("attention/sigmoid", inputs)?;
        let shift = -(sizes.n_kv as f64).ln();
        for (start, rows) in sizes.chunks(self.chunk) {
            let (sizes, [k, v]) = sizes.within_reach(self.causal, [k, v], (start, rows))?;
            let mut scores = sizes.scores(backend, (q, k), (start, rows), scratch)?;
            backend.unary(UnaryOp::Affine { scale: 1.0, shift }, Operand::InPlace, scores.view_mut())?;
            if self.causal {
                // The sigmoid of minus infinity is 0.
                backend.mask(&AttentionPattern::Causal, start, 0, scores.view_mut())?;
            }
            backend.unary(UnaryOp::Sigmoid, Operand::InPlace, scores.view_mut())?;
            sizes.weigh(backend, &scores, v, (out.reborrow(), start, rows), scratch)?;
            scratch.give(scores);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{output, small};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::axes::AxisValue;

    #[test]
    fn it_is_the_formula_of_the_paper() {
        let given: [(&str, AxisValue); 6] =
            [("heads", 4.into()), ("kv_heads", 2.into()), ("n", 5.into()), ("n_kv", 7.into()), ("head_dim", 4.into()), ("chunk", 3.into())];
        let axes = axes::<Sigmoid>(&given);
        let tensors = drawn::<Sigmoid>(&axes);
        let (out, q, k, v) = (run::<Sigmoid>(&axes, &tensors), tensors["q"].values(), tensors["k"].values(), tensors["v"].values());
        for (at, value) in out.values().iter().enumerate() {
            let (head, query, channel) = (at / 20, at / 4 % 5, at % 4);
            let weight = |key: usize| {
                let score: f64 = (0..4).map(|c| q[(head * 5 + query) * 4 + c] * k[(head / 2 * 7 + key) * 4 + c]).sum::<f64>() / 2.0;
                1.0 / (1.0 + 7.0 * (-score).exp())
            };
            let expected: f64 = (0..7).map(|key| weight(key) * v[(head / 2 * 7 + key) * 4 + channel]).sum();
            assert!((value - expected).abs() < 1e-13, "{at}");
        }
    }

    #[test]
    fn the_chunk_changes_nothing() {
        let with = |chunk: i64| output::<Sigmoid>(&small(&[("chunk", chunk.into())]));
        for chunk in [1, 5, 100] {
            assert!(distance(&with(chunk), &with(16)) < 1e-14, "{chunk}");
        }
        assert!(axis_error::<Sigmoid>(&[("chunk", 0.into())]).contains("chunk = 0 must be a whole number in 1.."));
    }
}
