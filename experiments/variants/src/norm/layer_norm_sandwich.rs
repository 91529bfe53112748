//! Sandwich norm: the sublayer has a norm at its entrance and another at its exit, residual + norm_out(sublayer(norm(x))).
//!
//! Ding et al. 2021, "CogView", section 2.4. What joins the stream is bounded by the second norm's scale, whatever the sublayer does: the
//! overflows of pre-norm in half precision go away. Trades a second norm for that. As everywhere in this family, the sublayer in between is
//! left out.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::joined::{BETA, EPS, GAMMA, STREAM_IN, channels};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct SandwichNorm;

/// Scales and shifts of both norms.
pub struct Sandwich<B: TransformerBackend> {
    entrance: [Tensor<B::Buffer>; 2],
    exit: [Tensor<B::Buffer>; 2],
    spec: NormSpec,
}

impl Variant for SandwichNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/layer-norm-sandwich",
        summary: "residual + norm_out(norm(x)): a norm before and one after the sublayer",
        citation: "Ding et al. 2021, section 2.4",
        task: "norm",
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: &[X, STREAM_IN, GAMMA, BETA, channels("gamma_out", 1.0, 0.1), channels("beta_out", 0.0, 0.1)],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "15*batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Sandwich<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Sandwich<B>> {
        Ok(Sandwich {
            entrance: [operands.tensor("gamma")?, operands.tensor("beta")?],
            exit: [operands.tensor("gamma_out")?, operands.tensor("beta_out")?],
            spec: NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") },
        })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// A scale and a shift as the engine takes them.
fn weights<S>([gamma, beta]: &[Tensor<S>; 2]) -> NormWeights<'_, S> {
    NormWeights { gamma: Some(gamma.view()), beta: Some(beta.view()) }
}

impl<B: TransformerBackend> Bound<B> for Sandwich<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual] = inputs else { return Err(wrong_inputs("norm/layer-norm-sandwich", inputs)) };
        backend.normalize(self.spec, Operand::Of(x), weights(&self.entrance), out.reborrow())?;
        backend.normalize(self.spec, Operand::InPlace, weights(&self.exit), out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::joined::plain_layer_norm;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn it_is_two_norms_and_a_sum_however_large_the_input() {
        let axes = axes::<SandwichNorm>(&[("n", 6.into()), ("d_model", 16.into()), ("distribution", "extreme".into())]);
        let inputs = drawn::<SandwichNorm>(&axes);
        let of = |name: &str| inputs[name].values();
        let inner = plain_layer_norm(of("x"), of("gamma"), of("beta"), 1e-5);
        let outer = plain_layer_norm(&inner, of("gamma_out"), of("beta_out"), 1e-5);
        let expected = outer.iter().zip(of("residual")).map(|(a, b)| a + b).collect();
        assert!(distance(&run::<SandwichNorm>(&axes, &inputs), &HostTensor::new(&[1, 6, 16], expected).unwrap()) < 1e-12);
    }
}
