//! Factorised dense synthesizer: each query makes two short rows, whose outer product is its row of scores.
//!
//! Tay et al. 2021, section 3.3 (equation 5): A = x w_a^T + b_a with `factor` entries, B = x w_b^T + b_b with n_kv / factor entries, and
//! score j = A[j / (n_kv / factor)] B[j mod (n_kv / factor)]. The paper tiles both rows; A is repeated entry by entry here, so that each
//! pair occurs once. x is the head's q, and all heads share the maps. The maps cost O(factor + n_kv / factor) a channel instead of
//! O(n_kv); the rows of scores have rank one as a [factor, n_kv / factor] table.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::operands::{Attended, count, divides};
use super::synthesizer::{full, mix};
use super::synthesizer_dense::{bias, weight};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{AxisDefault, Condition, Descriptor, Dim, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerFactorised;

/// The two maps.
pub struct FactorMaps<B: TransformerBackend> {
    w_a: B::Weight,
    b_a: Tensor<B::Buffer>,
    w_b: B::Weight,
    b_b: Tensor<B::Buffer>,
    causal: bool,
}

const REST: Dim = Dim::Of("n_kv / factor", |axes| size(axes, "n_kv") / size(axes, "factor").max(1));

/// Both rows have whole numbers of entries.
pub(super) const FACTOR_DIVIDES: Condition = Condition { text: "factor must divide n_kv", holds: |axes| divides(axes, "factor", "n_kv") };

impl Variant for SynthesizerFactorised {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-factorised",
        summary: "scores as the outer product of two short rows made from each query: k is not read",
        citation: "Tay et al. 2021, section 3.3",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[count("factor", "entries of the first of the two rows", AxisDefault::Share { of: "n_kv", divisor: 8 })],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            weight("w_a", &[Dim::Axis("factor"), Dim::Axis("head_dim")]),
            bias("b_a", &[Dim::Axis("factor")]),
            weight("w_b", &[REST, Dim::Axis("head_dim")]),
            bias("b_b", &[REST]),
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE, FACTOR_DIVIDES],
        model: Model {
            flops: "batch*heads*n*((factor + n_kv/factor)*(2*head_dim + 1) + n_kv*(2*head_dim + 6))",
            scratch: "batch*heads*n*(factor + n_kv/factor + n_kv)",
        },
    };

    type Bound<B: TransformerBackend> = FactorMaps<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<FactorMaps<B>> {
        FactorMaps::bind(operands, false)
    }

    fn exact(axes: &Axes) -> Reference {
        full(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> FactorMaps<B> {
    pub(super) fn bind(operands: &mut Operands<B>, causal: bool) -> Result<Self> {
        let [w_a, w_b] = [operands.weight("w_a")?, operands.weight("w_b")?];
        Ok(Self { w_a, b_a: operands.tensor("b_a")?, w_b, b_b: operands.tensor("b_b")?, causal })
    }
}

impl<B: TransformerBackend> Bound<B> for FactorMaps<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let operands = Attended::of("attention/synthesizer-factorised", inputs)?;
        let Attended { q, batch, heads, n, n_kv, .. } = operands;
        let (first, second) = (self.w_a.outputs(), self.w_b.outputs());
        let mut a = scratch.take(backend, backend.storage(), &[batch, heads, n, first])?;
        let mut b = scratch.take(backend, backend.storage(), &[batch, heads, n, second])?;
        let mut scores = scratch.take(backend, backend.storage(), &[batch, heads, n, n_kv])?;
        let plain = LinearSpec { activation: Activation::None };
        backend.linear(plain, q, &self.w_a, Some(self.b_a.view()), a.view_mut())?;
        backend.linear(plain, q, &self.w_b, Some(self.b_b.view()), b.view_mut())?;
        let column = a.view().with(|layout| layout.unsqueeze(4)?.broadcast(&[batch, heads, n, first, second]))?;
        let row = b.view().with(|layout| layout.unsqueeze(3))?;
        let table = scores.view_mut().with(|layout| layout.split(3, first, second))?;
        backend.binary(BinaryOp::Multiply, Operand::Of(column), row, table)?;
        mix(backend, &mut scores, self.causal, &operands, out)?;
        for tensor in [scores, b, a] {
            scratch.give(tensor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dot, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    #[test]
    fn it_is_the_formula_of_the_paper() {
        let axes = axes::<SynthesizerFactorised>(&with(&sized(2, 5, 8), &[("n_kv", 12.into()), ("factor", 3.into())]));
        let drawn = drawn::<SynthesizerFactorised>(&axes);
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let q = row(&drawn["q"], head, i);
            let entry = |w: &str, b: &str, at: usize| dot(q, &drawn[w].values()[at * 8..][..8]) + drawn[b].values()[at];
            (entry("w_a", "b_a", j / 4) * entry("w_b", "b_b", j % 4)).exp()
        });
        assert!(distance(&run::<SynthesizerFactorised>(&axes, &drawn), &expected) < 1e-10);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into()), ("factor", 6.into())]);
        assert_eq!(judged::<SynthesizerFactorised>(&given).complaint, None);
        assert_closed_forms::<SynthesizerFactorised>(&given);
    }

    #[test]
    fn a_factor_that_does_not_divide_is_refused() {
        let error = axis_error::<SynthesizerFactorised>(&[("n", 10.into()), ("factor", 4.into())]);
        assert!(error.contains("factor must divide n_kv"), "{error}");
    }
}
