//! ReZero: residual + alpha x with one trained alpha a join, which starts at zero.
//!
//! Bachlechner et al. 2021, "ReZero is All You Need", section 3, equation 2. A deep stack starts as the identity and needs no norm. Here alpha
//! is drawn around a tenth, the size that the paper finds after training.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::BinaryOp;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::joined::STREAM_IN;
use super::{PROBLEM, RESIDUAL_TASK, STREAM, X};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct ReZero;

/// A trained factor, one for all channels or one each.
pub struct Scaled<B: TransformerBackend> {
    /// The variant that runs, for messages.
    pub(super) name: &'static str,
    pub(super) factor: Tensor<B::Buffer>,
}

impl Variant for ReZero {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/residual-rezero",
        summary: "residual + alpha x, one alpha",
        citation: "Bachlechner et al. 2021, section 3",
        task: RESIDUAL_TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[
            X,
            STREAM_IN,
            TensorSpec {
                name: "alpha",
                role: Role::Vector,
                shape: &[Dim::Of("1", |_| 1)],
                draw: DrawRule::Around(0.1, 0.05),
                only_with: None,
            },
        ],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "2*batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Scaled<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Scaled<B>> {
        Ok(Scaled { name: Self::DESCRIPTOR.name, factor: operands.tensor("alpha")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Scaled<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual] = inputs else { return Err(wrong_inputs(self.name, inputs)) };
        backend.binary(BinaryOp::Multiply, Operand::Of(x), self.factor.view(), out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::residual_plain::ResidualPlain;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn alpha_zero_is_the_identity_and_alpha_one_the_plain_residual() {
        let given = [("n", 5.into()), ("d_model", 16.into())];
        let mut inputs = drawn::<ReZero>(&axes::<ReZero>(&given));
        let mut with = |alpha: f64| {
            inputs.insert("alpha".into(), HostTensor::new(&[1], vec![alpha]).unwrap());
            run::<ReZero>(&axes::<ReZero>(&given), &inputs)
        };
        let (closed, open) = (with(0.0), with(1.0));
        inputs.remove("alpha");
        assert_eq!(distance(&closed, &inputs["residual"]), 0.0);
        assert_eq!(distance(&open, &run::<ResidualPlain>(&axes::<ResidualPlain>(&given), &inputs)), 0.0);
    }
}
