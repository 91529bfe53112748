//! Dynamic residual: residual + g(x) x, the weight of the join computed from the token itself, g(x) = sigmoid(w x).
//!
//! A scalar transform gate (Srivastava et al. 2015, "Highway Networks", section 2, with the carry path left at one, so that the stream stays
//! a plain sum). Trades a product with one row of weights and a sigmoid a token for joins that a token can close.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearSpec};
use crossover_core::tensor::{View, ViewMut};

use super::joined::STREAM_IN;
use super::{PROBLEM, RESIDUAL_TASK, STREAM, X};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::softmax::columns::column;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct ResidualDynamic;

/// The row of weights of the gate.
pub struct Gated<B: TransformerBackend> {
    w: B::Weight,
}

impl Variant for ResidualDynamic {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/residual-dynamic",
        summary: "residual + sigmoid(w x) x: a join that depends on the token",
        citation: "Srivastava et al. 2015, section 2",
        task: RESIDUAL_TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[
            X,
            STREAM_IN,
            TensorSpec {
                name: "w",
                role: Role::Weight,
                shape: &[Dim::Of("1", |_| 1), Dim::Axis("d_model")],
                draw: DrawRule::FanIn,
                only_with: None,
            },
        ],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "batch*n*(4*d_model + 3)", scratch: "batch*n" },
    };

    type Bound<B: TransformerBackend> = Gated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Gated<B>> {
        Ok(Gated { w: operands.weight("w")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Gated<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual] = inputs else { return Err(wrong_inputs("norm/residual-dynamic", inputs)) };
        let mut gate = column(backend, x.shape(), scratch)?;
        backend.linear(LinearSpec { activation: Activation::Sigmoid }, x, &self.w, None, gate.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::Of(x), gate.view(), out.reborrow())?;
        scratch.give(gate);
        backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn each_token_has_its_own_gate() {
        let axes = axes::<ResidualDynamic>(&[("n", 5.into()), ("d_model", 16.into())]);
        let inputs = drawn::<ResidualDynamic>(&axes);
        let (w, residual) = (inputs["w"].values(), inputs["residual"].values().chunks(16));
        let rows = inputs["x"].values().chunks(16).zip(residual).flat_map(|(x, residual)| {
            let gate = 1.0 / (1.0 + (-x.iter().zip(w).map(|(a, b)| a * b).sum::<f64>()).exp());
            x.iter().zip(residual).map(move |(x, r)| r + gate * x).collect::<Vec<_>>()
        });
        let expected = HostTensor::new(&[1, 5, 16], rows.collect()).unwrap();
        assert!(distance(&run::<ResidualDynamic>(&axes, &inputs), &expected) < 1e-14);
    }

    #[test]
    fn a_gate_without_weights_lets_half_through() {
        let axes = axes::<ResidualDynamic>(&[("n", 2.into()), ("d_model", 4.into())]);
        let mut inputs = drawn::<ResidualDynamic>(&axes);
        inputs.insert("w".into(), HostTensor::new(&[1, 4], vec![0.0; 4]).unwrap());
        let sums = inputs["x"].values().iter().zip(inputs["residual"].values()).map(|(x, r)| 0.5 * x + r).collect();
        assert!(distance(&run::<ResidualDynamic>(&axes, &inputs), &HostTensor::new(&[1, 2, 4], sums).unwrap()) < 1e-15);
    }
}
