//! Layer normalisation: (x - mean) / sqrt(variance + eps) * gamma + beta over the channels of each row.
//!
//! Ba, Kiros and Hinton, "Layer Normalization" (2016), section 3; post-norm as in Vaswani et al. (2017), pre-norm as in Xiong et al.,
//! "On Layer Normalization in the Transformer Architecture" (2020).

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{NormWeights, Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, NormKind, NormSpec};
use crossover_core::reference::{ExactOperation, NormPosition};
use crossover_core::tensor::{Tensor, ViewMut};

use super::{PROBLEM, STREAM, X};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::{name, number};
use crate::variant::{Bound, Operands, Variant};

/// The variant.
pub struct LayerNorm;

/// The operands; the residual is there for the positions that have one.
pub struct Normalised<B: TransformerBackend> {
    x: Tensor<B::Buffer>,
    residual: Option<Tensor<B::Buffer>>,
    gamma: Tensor<B::Buffer>,
    beta: Tensor<B::Buffer>,
    spec: NormSpec,
    position: NormPosition,
}

impl Variant for LayerNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/layer-norm",
        summary: "layer norm, alone or with the residual (post: norm(x + residual), pre: residual + norm(x))",
        citation: "Ba et al. 2016, section 3; Xiong et al. 2020",
        task: "norm",
        problem: PROBLEM,
        parameters: &[
            AxisSpec {
                name: "position",
                doc: "where the residual joins: nowhere, before or after the norm",
                kind: AxisKind::Choice { of: &["plain", "post", "pre"] },
                default: AxisDefault::Text("plain"),
            },
            AxisSpec {
                name: "eps",
                doc: "added to the variance",
                kind: AxisKind::Float { min: 0.0, max: 1.0 },
                default: AxisDefault::Float(1e-5),
            },
        ],
        tensors: &[
            X,
            TensorSpec { name: "residual", only_with: Some(("position", &["post", "pre"])), ..X },
            TensorSpec {
                name: "gamma",
                role: Role::Vector,
                shape: &[Dim::Axis("d_model")],
                draw: DrawRule::Around(1.0, 0.1),
                only_with: None,
            },
            TensorSpec {
                name: "beta",
                role: Role::Vector,
                shape: &[Dim::Axis("d_model")],
                draw: DrawRule::Around(0.0, 0.1),
                only_with: None,
            },
        ],
        output: STREAM,
        conditions: &[],
    };

    type Bound<B: TransformerBackend> = Normalised<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Normalised<B>> {
        Ok(Normalised {
            x: operands.tensor("x")?,
            residual: operands.optional_tensor("residual"),
            gamma: operands.tensor("gamma")?,
            beta: operands.tensor("beta")?,
            spec: NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") },
            position: position(axes),
        })
    }

    fn exact(axes: &Axes) -> ExactOperation {
        ExactOperation::LayerNorm { epsilon: number(axes, "eps"), position: position(axes) }
    }
}

fn position(axes: &Axes) -> NormPosition {
    NormPosition::from_name(name(axes, "position")).unwrap_or(NormPosition::Plain)
}

impl<B: TransformerBackend> Bound<B> for Normalised<B> {
    fn run(&self, backend: &B, mut out: ViewMut<'_, B::Buffer>, _scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let weights = NormWeights { gamma: Some(self.gamma.view()), beta: Some(self.beta.view()) };
        match (self.position, &self.residual) {
            (NormPosition::Post, Some(residual)) => backend.add_norm(self.spec, self.x.view(), residual.view(), weights, None, out),
            (NormPosition::Pre, Some(residual)) => {
                backend.normalize(self.spec, Operand::Of(self.x.view()), weights, out.reborrow())?;
                backend.binary(BinaryOp::Add, Operand::InPlace, residual.view(), out)
            }
            _ => backend.normalize(self.spec, Operand::Of(self.x.view()), weights, out),
        }
    }
}
