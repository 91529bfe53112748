//! No normalisation: the joins of a position alone, the floor of the family.
//!
//! What a block costs that has nothing but its residual connection (as in normaliser-free networks; Zhang et al., "Fixup", 2019):
//! x + residual, in parallel x + other + residual, in DeepNorm's place alpha residual + x, and a copy of x where nothing joins. Its task is
//! that of the norms, so that each is set against it in its own position. What it trades away is everything that a norm does: the error
//! of its method is, like that of every norm, against layer norm in that position (with scale 1 and shift 0, as it has neither), while an
//! engine is held to the sum that it is.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{View, ViewMut};

use super::joined::{OTHER, PROBLEM, RESIDUAL, TASK, enlarged_sum, joined_flops, layer_norm_with, position};
use super::{STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct NoNorm;

/// Nothing to bind but the position.
pub struct Sum {
    /// The variant that runs, for messages.
    pub(super) name: &'static str,
    pub(super) position: NormPosition,
}

impl Variant for NoNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/none",
        summary: "no norm: what joins in a position (x + residual, or x alone where nothing does)",
        citation: "Zhang et al. 2019 (Fixup)",
        task: TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, RESIDUAL, OTHER],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("0"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Sum;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Sum> {
        Ok(Sum { name: Self::DESCRIPTOR.name, position: position(axes)? })
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm_with(axes, 1e-5)
    }

    fn reference(axes: &Axes) -> Reference {
        match position(axes) {
            Ok(NormPosition::Post | NormPosition::Pre | NormPosition::Sandwich) => Reference::Operation(ExactOperation::ResidualAdd),
            _ => Reference::Itself,
        }
    }
}

impl<B: TransformerBackend> Bound<B> for Sum {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        match (self.position, inputs) {
            (NormPosition::Plain, &[x]) => backend.copy(x, out),
            (NormPosition::Parallel, &[x, residual, other]) => {
                backend.binary(BinaryOp::Add, Operand::Of(x), other, out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
            }
            (NormPosition::DeepNorm { alpha }, &[x, residual]) => enlarged_sum(backend, alpha, [x, residual], out),
            (NormPosition::Post | NormPosition::Pre | NormPosition::Sandwich, &[x, residual]) => {
                backend.binary(BinaryOp::Add, Operand::Of(x), residual, out)
            }
            _ => Err(wrong_inputs(self.name, inputs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::joined::plain_layer_norm;
    use crate::testing::{axes, drawn, judged, relative_error, run};
    use crossover_core::host::HostTensor;

    /// What leaving the norm out changes, not the rounding of a sum.
    #[test]
    fn its_method_is_held_against_layer_norm_and_its_engine_against_the_sum() {
        let given = [("n", 6.into()), ("d_model", 16.into()), ("position", "post".into())];
        let axes = axes::<NoNorm>(&given);
        let inputs = drawn::<NoNorm>(&axes);
        let sum: Vec<f64> = inputs["x"].values().iter().zip(inputs["residual"].values()).map(|(a, b)| a + b).collect();
        let out = run::<NoNorm>(&axes, &inputs);
        assert_eq!(out.values(), sum);
        let normed = HostTensor::new(&[1, 6, 16], plain_layer_norm(&sum, &[1.0; 16], &[0.0; 16], 1e-5)).unwrap();
        let judgement = judged::<NoNorm>(&given);
        assert_eq!(judgement.complaint, None);
        let missed = judgement.method.relative.unwrap();
        assert!(missed > 0.1 && (missed - relative_error(&out, &normed)).abs() < 1e-6, "{missed}");
    }
}
