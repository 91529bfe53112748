//! Dynamic tanh in place of a norm: gamma tanh(alpha x) + beta, with one trained alpha.
//!
//! Zhu et al. 2025, "Transformers without Normalization", section 4. No statistics: each element by itself, no reduction over the row.
//! Trades the scale invariance of a norm for that: alpha, trained (near 0.5 here, the paper's initial value), must fit the size of the
//! activations. Against layer norm it is an approximation whose error the records show. Composed here of four elementwise passes.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, UnaryOp};
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::joined::{BETA, GAMMA};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct DynamicTanh;

/// alpha, gamma, beta.
pub struct Squashed<B: TransformerBackend> {
    alpha: Tensor<B::Buffer>,
    gamma: Tensor<B::Buffer>,
    beta: Tensor<B::Buffer>,
}

/// Under the root of the layer norm that it is compared with.
const EPSILON: f64 = 1e-5;

impl Variant for DynamicTanh {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/dyt",
        summary: "gamma tanh(alpha x) + beta: no statistics",
        citation: "Zhu et al. 2025, section 4",
        task: "norm",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[
            X,
            TensorSpec {
                name: "alpha",
                role: Role::Vector,
                shape: &[Dim::Of("1", |_| 1)],
                draw: DrawRule::Around(0.5, 0.05),
                only_with: None,
            },
            GAMMA,
            BETA,
        ],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "4*batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Squashed<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Squashed<B>> {
        Ok(Squashed { alpha: operands.tensor("alpha")?, gamma: operands.tensor("gamma")?, beta: operands.tensor("beta")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::LayerNorm { epsilon: EPSILON, position: NormPosition::Plain })
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Squashed<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs("norm/dyt", inputs)) };
        backend.binary(BinaryOp::Multiply, Operand::Of(x), self.alpha.view(), out.reborrow())?;
        backend.unary(UnaryOp::Tanh, Operand::InPlace, out.reborrow())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, self.gamma.view(), out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, self.beta.view(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn it_is_the_formula_and_stays_within_gamma_of_beta() {
        let axes = axes::<DynamicTanh>(&[("n", 6.into()), ("d_model", 8.into()), ("distribution", "extreme".into())]);
        let inputs = drawn::<DynamicTanh>(&axes);
        let (alpha, gamma, beta) = (inputs["alpha"].values()[0], inputs["gamma"].values(), inputs["beta"].values());
        let expected = inputs["x"].values().iter().enumerate().map(|(at, x)| gamma[at % 8] * (alpha * x).tanh() + beta[at % 8]);
        let out = run::<DynamicTanh>(&axes, &inputs);
        assert!(distance(&out, &HostTensor::new(&[1, 6, 8], expected.collect()).unwrap()) < 1e-13);
        let bounded = out.values().iter().enumerate().all(|(at, y)| (y - beta[at % 8]).abs() <= gamma[at % 8].abs() + 1e-12);
        assert!(bounded);
    }
}
