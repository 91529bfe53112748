//! Dynamic tanh in place of a norm: gamma tanh(alpha x) + beta, with one trained alpha.
//!
//! Zhu et al. 2025, "Transformers without Normalization", section 4. No statistics: each element by itself, no reduction over the row.
//! Trades the scale invariance of a norm for that: alpha, trained (near 0.5 here, the paper's initial value), must fit the size of the
//! activations. Against layer norm it is an approximation whose error the records show. Composed here of four elementwise passes.

use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, UnaryOp};
use crossover_core::tensor::{Tensor, ViewMut};

use super::joined::{
    BETA, BETA_OUT, GAMMA, GAMMA_OUT, Joined, Norm, OTHER, PROBLEM, RESIDUAL, TASK, joined_flops, layer_norm_with, of_exit, position,
};
use super::{STREAM, X};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::variant::{Operands, Reference, Variant};

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
        task: TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, RESIDUAL, OTHER, alpha("alpha"), GAMMA, BETA, of_exit(alpha("alpha_out")), GAMMA_OUT, BETA_OUT],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("4"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<Squashed<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| {
            let mut tensor = |name: &str| operands.tensor(&format!("{name}{suffix}"));
            Ok(Squashed { alpha: tensor("alpha")?, gamma: tensor("gamma")?, beta: tensor("beta")? })
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm_with(axes, EPSILON)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// The trained factor within.
const fn alpha(name: &'static str) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape: &[Dim::Of("1", |_| 1)], draw: DrawRule::Around(0.5, 0.05), only_with: None }
}

impl<B: TransformerBackend> Norm<B> for Squashed<B> {
    fn normalize(&self, backend: &B, x: Operand<'_, B::Buffer>, mut out: ViewMut<'_, B::Buffer>) -> Result<()> {
        backend.binary(BinaryOp::Multiply, x, self.alpha.view(), out.reborrow())?;
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
