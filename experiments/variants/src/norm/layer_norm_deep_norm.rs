//! DeepNorm: post-norm with the stream enlarged, norm(alpha residual + x).
//!
//! Wang et al. 2022, "DeepNet: Scaling Transformers to 1,000 Layers", section 3 and equation 9: alpha = (2 N)^(1/4) for a stack of N layers
//! (encoder or decoder alone) keeps the update of the whole model bounded, so that post-norm trains at great depth. One product an
//! element more than post-norm; the matching down-scaling of the initial weights costs nothing at run time.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec, UnaryOp};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::joined::{BETA, EPS, GAMMA, STREAM_IN};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct DeepNorm;

/// Scale, shift and alpha.
pub struct Enlarged<B: TransformerBackend> {
    gamma: Tensor<B::Buffer>,
    beta: Tensor<B::Buffer>,
    spec: NormSpec,
    alpha: f64,
}

impl Variant for DeepNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/layer-norm-deep-norm",
        summary: "norm(alpha residual + x)",
        citation: "Wang et al. 2022, section 3",
        task: "norm",
        problem: PROBLEM,
        parameters: &[
            EPS,
            AxisSpec {
                name: "alpha",
                doc: "factor of the stream: (2 N)^(1/4) for N layers (the default is for 12)",
                kind: AxisKind::Float { min: 0.0, max: 64.0 },
                default: AxisDefault::Float(2.213_363_839_400_643),
            },
        ],
        tensors: &[X, STREAM_IN, GAMMA, BETA],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "9*batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Enlarged<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Enlarged<B>> {
        Ok(Enlarged {
            gamma: operands.tensor("gamma")?,
            beta: operands.tensor("beta")?,
            spec: NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") },
            alpha: number(axes, "alpha"),
        })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Enlarged<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, residual] = inputs else { return Err(wrong_inputs("norm/layer-norm-deep-norm", inputs)) };
        let weights = NormWeights { gamma: Some(self.gamma.view()), beta: Some(self.beta.view()) };
        backend.unary(UnaryOp::Affine { scale: self.alpha, shift: 0.0 }, Operand::Of(residual), out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, x, out.reborrow())?;
        backend.normalize(self.spec, Operand::InPlace, weights, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::layer_norm::LayerNorm;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn alpha_one_is_post_norm_and_the_default_is_for_twelve_layers() {
        let given = |extra| [("n", 6.into()), ("d_model", 16.into()), extra];
        let post = axes::<LayerNorm>(&given(("position", "post".into())));
        let inputs = drawn::<LayerNorm>(&post);
        let gap = |alpha: f64| {
            let deep = run::<DeepNorm>(&axes::<DeepNorm>(&given(("alpha", alpha.into()))), &inputs);
            distance(&deep, &run::<LayerNorm>(&post, &inputs))
        };
        assert!(gap(1.0) < 1e-14 && gap(2.0) > 1e-2);
        assert!((number(&axes::<DeepNorm>(&[]), "alpha") - 24f64.powf(0.25)).abs() < 1e-12);
    }
}
