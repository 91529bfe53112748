//! A dense linear layer with bias and a fused activation: the baseline of its family.
//!
//! The weight is prepared before the timer in the cell's weight precision, so int8 and int4 rows of this variant are the quantised
//! baselines as well.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, ViewMut};

use super::{BATCH, ROWS, width};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::name;
use crate::variant::{Bound, Operands, Variant};

/// The variant.
pub struct Dense;

/// x, w and b.
pub struct DenseLayer<B: TransformerBackend> {
    x: Tensor<B::Buffer>,
    w: B::Weight,
    b: Tensor<B::Buffer>,
    spec: LinearSpec,
}

const ACTIVATION: AxisSpec = AxisSpec {
    name: "activation",
    doc: "applied to the result",
    kind: AxisKind::Choice { of: &["none", "relu", "gelu", "gelu-tanh", "silu"] },
    default: AxisDefault::Text("none"),
};

impl Variant for Dense {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/dense",
        summary: "activation(x w^T + b)",
        citation: "the textbook affine layer",
        task: "linear",
        problem: &[BATCH, ROWS, width("d_in", "inputs", 768), width("d_out", "outputs", 768), ACTIVATION],
        parameters: &[],
        tensors: &[
            TensorSpec {
                name: "x",
                role: Role::Activation,
                shape: &[Dim::Rows, Dim::Axis("d_in")],
                draw: DrawRule::Distribution,
                only_with: None,
            },
            TensorSpec {
                name: "w",
                role: Role::Weight,
                shape: &[Dim::Axis("d_out"), Dim::Axis("d_in")],
                draw: DrawRule::FanIn,
                only_with: None,
            },
            TensorSpec { name: "b", role: Role::Vector, shape: &[Dim::Axis("d_out")], draw: DrawRule::Around(0.0, 0.1), only_with: None },
        ],
        output: &[Dim::Rows, Dim::Axis("d_out")],
        conditions: &[],
    };

    type Bound<B: TransformerBackend> = DenseLayer<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<DenseLayer<B>> {
        let spec = LinearSpec { activation: activation(axes) };
        Ok(DenseLayer { x: operands.tensor("x")?, w: operands.weight("w")?, b: operands.tensor("b")?, spec })
    }

    fn exact(axes: &Axes) -> ExactOperation {
        ExactOperation::Linear { activation: activation(axes) }
    }
}

fn activation(axes: &Axes) -> Activation {
    Activation::from_name(name(axes, "activation")).unwrap_or(Activation::None)
}

impl<B: TransformerBackend> Bound<B> for DenseLayer<B> {
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, _scratch: &mut Arena<B::Buffer>) -> Result<()> {
        backend.linear(self.spec, self.x.view(), &self.w, Some(self.b.view()), out)
    }
}
