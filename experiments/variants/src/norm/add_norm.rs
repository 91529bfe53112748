//! Add and norm as one operation, and as two with the sum in memory between them.
//!
//! The same function as post-norm (Vaswani et al. 2017, section 3.1); the pair shows what fusion is worth. The unfused form writes
//! x + residual to a tensor of its own and reads it back, as a framework without fusion does; the fused one asks the engine for norm(x +
//! residual) in one operation (Ivanov et al. 2021, section 4: such element-wise passes are bound by data movement).

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec};
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::joined::{BETA, EPS, GAMMA, STREAM_IN};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// One operation.
pub struct AddNormFused;

/// Two operations.
pub struct AddNormUnfused;

/// Scale, shift, and which of the two.
pub struct AddNorm<B: TransformerBackend> {
    /// The variant that runs, for messages.
    name: &'static str,
    gamma: Tensor<B::Buffer>,
    beta: Tensor<B::Buffer>,
    spec: NormSpec,
    fused: bool,
}

const fn description(name: &'static str, summary: &'static str, scratch: &'static str) -> Descriptor {
    Descriptor {
        name,
        summary,
        citation: "Vaswani et al. 2017, section 3.1; Ivanov et al. 2021, section 4",
        task: "norm/add-norm",
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: &[X, STREAM_IN, GAMMA, BETA],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "8*batch*n*d_model", scratch },
    }
}

fn bound<B: TransformerBackend>(name: &'static str, operands: &mut Operands<B>, axes: &Axes, fused: bool) -> Result<AddNorm<B>> {
    let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
    Ok(AddNorm { name, gamma: operands.tensor("gamma")?, beta: operands.tensor("beta")?, spec, fused })
}

fn post_norm(axes: &Axes) -> Reference {
    Reference::Operation(ExactOperation::LayerNorm { epsilon: number(axes, "eps"), position: NormPosition::Post })
}

impl Variant for AddNormFused {
    const DESCRIPTOR: Descriptor = description("norm/add-norm-fused", "norm(x + residual) in one operation", "0");

    type Bound<B: TransformerBackend> = AddNorm<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<AddNorm<B>> {
        bound(Self::DESCRIPTOR.name, operands, axes, true)
    }

    fn exact(axes: &Axes) -> Reference {
        post_norm(axes)
    }
}

impl Variant for AddNormUnfused {
    const DESCRIPTOR: Descriptor =
        description("norm/add-norm-unfused", "norm(x + residual) as a sum in memory and a norm of it", "batch*n*d_model");

    type Bound<B: TransformerBackend> = AddNorm<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<AddNorm<B>> {
        bound(Self::DESCRIPTOR.name, operands, axes, false)
    }

    fn exact(axes: &Axes) -> Reference {
        post_norm(axes)
    }
}

impl<B: TransformerBackend> Bound<B> for AddNorm<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual] = inputs else { return Err(wrong_inputs(self.name, inputs)) };
        let weights = NormWeights { gamma: Some(self.gamma.view()), beta: Some(self.beta.view()) };
        if self.fused {
            return backend.add_norm(self.spec, x, residual, weights, None, out);
        }
        let mut sum = scratch.take(backend, backend.storage(), x.shape())?;
        backend.binary(BinaryOp::Add, Operand::Of(x), residual, sum.view_mut())?;
        backend.normalize(self.spec, Operand::Of(sum.view()), weights, out)?;
        scratch.give(sum);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn fusion_changes_nothing() {
        let given = [("n", 5.into()), ("d_model", 32.into())];
        let inputs = drawn::<AddNormFused>(&axes::<AddNormFused>(&given));
        let fused = run::<AddNormFused>(&axes::<AddNormFused>(&given), &inputs);
        assert!(distance(&fused, &run::<AddNormUnfused>(&axes::<AddNormUnfused>(&given), &inputs)) < 1e-14);
    }
}
