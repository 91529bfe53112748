//! Sparsemax: the Euclidean projection of the logits onto the simplex, which gives most classes exactly zero.
//!
//! Martins and Astudillo 2016, algorithm 1: with the logits sorted, tau is (sum of the first k - 1) / k for the largest k whose logit is
//! above it, and the result max(x - tau, 0). That quotient rises up to this k and falls after it, so that tau is simply its largest value
//! over all k: no support has to be counted, and nothing hangs on a comparison. Trades a full sort of each row and two rows of scratch for
//! exact zeros.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::{BinaryOp, ReduceOp, UnaryOp};
use crossover_core::reference::{ExactOperation, HostInputs};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::columns::{at_least, column, reduce, wide};
use super::description;
use crate::descriptor::{DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Sparsemax;

/// The numbers 1, 2, .. of sorted entries.
pub struct Projection<B: TransformerBackend> {
    ranks: Tensor<B::Buffer>,
}

impl Variant for Sparsemax {
    const DESCRIPTOR: Descriptor = Descriptor {
        derived: &[DerivedSpec { name: "ranks", role: Role::Index, shape: &[Dim::Axis("classes")], form: None }],
        model: Model {
            flops: "batch*n*(classes*floor(log2(max(classes, 2))) + 7*classes + 3)",
            scratch: "batch*n*(2*classes + 2) + classes",
        },
        ..description("softmax/sparsemax", "projection onto the simplex: max(x - tau, 0)", "Martins and Astudillo 2016, algorithm 1")
    };

    type Bound<B: TransformerBackend> = Projection<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Projection<B>> {
        Ok(Projection { ranks: operands.tensor("ranks")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Softmax)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let classes = size(axes, "classes");
        Ok(Derived::default().tensor("ranks", HostTensor::new(&[classes], (1..=classes).map(|rank| rank as f64).collect())?))
    }
}

impl<B: TransformerBackend> Projection<B> {
    /// The threshold of each row, as [.., 1].
    fn threshold(&self, backend: &B, logits: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let (shape, last) = (logits.shape(), logits.layout.rank().saturating_sub(1));
        let classes = logits.layout.dim_from_end(0);
        // Low enough for every finite logit, and the sum of two such floors is still finite: a masked row gives zeros.
        let low = -0.25 * backend.compute().largest();
        let mut threshold = column(backend, shape, scratch)?;
        let mut sorted = wide(backend, shape, classes, scratch)?;
        let mut places = scratch.take(backend, DType::I32, shape)?;
        backend.top_k(logits, sorted.view_mut(), places.view_mut())?;
        scratch.give(places);
        backend.copy(sorted.view().narrow(last, 0, 1)?, threshold.view_mut())?;
        at_least(backend, low, &mut threshold, scratch)?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, threshold.view(), sorted.view_mut())?;

        let mut sums = wide(backend, shape, classes, scratch)?;
        backend.cumulative_sum(sorted.view(), sums.view_mut())?;
        backend.unary(UnaryOp::Affine { scale: 1.0, shift: -1.0 }, Operand::InPlace, sums.view_mut())?;
        let mut ranks = scratch.take(backend, backend.compute(), &[classes])?;
        backend.copy(self.ranks.view(), ranks.view_mut())?;
        backend.binary(BinaryOp::Divide, Operand::InPlace, ranks.view(), sums.view_mut())?;
        let mut largest = column(backend, shape, scratch)?;
        reduce(backend, ReduceOp::Max, sums.view(), &mut largest)?;
        at_least(backend, low, &mut largest, scratch)?;
        backend.binary(BinaryOp::Add, Operand::InPlace, largest.view(), threshold.view_mut())?;
        for done in [largest, ranks, sums, sorted] {
            scratch.give(done);
        }
        Ok(threshold)
    }
}

impl<B: TransformerBackend> Bound<B> for Projection<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[logits] = inputs else { return Err(wrong_inputs("softmax/sparsemax", inputs)) };
        let threshold = self.threshold(backend, logits, scratch)?;
        backend.binary(BinaryOp::Subtract, Operand::Of(logits), threshold.view(), out.reborrow())?;
        scratch.give(threshold);
        backend.unary(UnaryOp::Activation(Activation::Relu), Operand::InPlace, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, distance, drawn, run};

    /// The projection by bisection on tau: sum max(x - tau, 0) = 1.
    fn projected(row: &[f64]) -> Vec<f64> {
        let (mut low, mut high) = (row.iter().copied().fold(f64::INFINITY, f64::min) - 1.0, row.iter().copied().fold(f64::MIN, f64::max));
        for _ in 0..200 {
            let tau = 0.5 * (low + high);
            let sum: f64 = row.iter().map(|x| (x - tau).max(0.0)).sum();
            if sum > 1.0 { low = tau } else { high = tau }
        }
        row.iter().map(|x| (x - low).max(0.0)).collect()
    }

    #[test]
    fn it_is_the_projection_onto_the_simplex() {
        let axes = axes::<Sparsemax>(&[("n", 11.into()), ("classes", 37.into())]);
        let inputs = drawn::<Sparsemax>(&axes);
        let out = run::<Sparsemax>(&axes, &inputs);
        let expected = inputs["logits"].values().chunks(37).flat_map(projected).collect();
        assert!(distance(&out, &HostTensor::new(&[1, 11, 37], expected).unwrap()) < 1e-12);
        for row in out.values().chunks(37) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12 && row.contains(&0.0));
        }
    }

    #[test]
    fn a_shift_changes_nothing_and_a_masked_row_is_zero() {
        let axes = axes::<Sparsemax>(&[("n", 3.into()), ("classes", 2.into())]);
        let low = f64::NEG_INFINITY;
        let values = vec![0.25, 0.0, 1024.25, 1024.0, low, low];
        let inputs = [("logits".to_owned(), HostTensor::new(&[1, 3, 2], values).unwrap())].into();
        assert_eq!(run::<Sparsemax>(&axes, &inputs).values(), [0.625, 0.375, 0.625, 0.375, 0.0, 0.0]);
    }
}
