//! Parallel block: one norm serves attention and FFN side by side, and both join the stream at once.
//!
//! Wang and Komatsuzaki 2021 (GPT-J-6B); Chowdhery et al. 2022 (PaLM), section 2: residual + attention(norm(x)) + ffn(norm(x)). One norm and
//! one join less a block than in series. Trades away that the FFN sees what attention has just written. Here `norm(x)` stands for the
//! first sublayer (left out, as everywhere in this family), and `other` is what the second one gave.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::joined::{BETA, EPS, GAMMA, STREAM_IN};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, Model, TensorSpec};
use crate::resolve::number;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct ParallelNorm;

/// Scale and shift.
pub struct Parallel<B: TransformerBackend> {
    gamma: Tensor<B::Buffer>,
    beta: Tensor<B::Buffer>,
    spec: NormSpec,
}

impl Variant for ParallelNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/layer-norm-parallel",
        summary: "residual + norm(x) + other: one norm for two sublayers side by side",
        citation: "Wang and Komatsuzaki 2021; Chowdhery et al. 2022, section 2",
        task: "norm",
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: &[X, STREAM_IN, TensorSpec { name: "other", ..X }, GAMMA, BETA],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "9*batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Parallel<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Parallel<B>> {
        let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
        Ok(Parallel { gamma: operands.tensor("gamma")?, beta: operands.tensor("beta")?, spec })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Parallel<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual, other] = inputs else { return Err(wrong_inputs("norm/layer-norm-parallel", inputs)) };
        let weights = NormWeights { gamma: Some(self.gamma.view()), beta: Some(self.beta.view()) };
        backend.normalize(self.spec, Operand::Of(x), weights, out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, other, out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, residual, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::layer_norm::LayerNorm;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn without_the_other_sublayer_it_is_pre_norm() {
        let given = [("n", 6.into()), ("d_model", 16.into())];
        let mut inputs = drawn::<ParallelNorm>(&axes::<ParallelNorm>(&given));
        inputs.insert("other".into(), HostTensor::new(&[1, 6, 16], vec![0.0; 96]).unwrap());
        let parallel = run::<ParallelNorm>(&axes::<ParallelNorm>(&given), &inputs);
        let pre = axes::<LayerNorm>(&[given[0].clone(), given[1].clone(), ("position", "pre".into())]);
        inputs.remove("other");
        assert!(distance(&parallel, &run::<LayerNorm>(&pre, &inputs)) < 1e-14);
    }
}
