//! The dense feed-forward layer: activation(x w1^T + b1) w2^T + b2.
//!
//! Vaswani et al. (2017), section 3.3, with ReLU; GELU (Hendrycks and Gimpel, 2016, exact and by tanh) and SiLU by parameter. The hidden
//! tensor is scratch: d_ff / d_model times the input.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, ViewMut};

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::name;
use crate::variant::{Bound, Operands, Variant};

/// The variant.
pub struct Dense;

/// The two layers.
pub struct TwoLayers<B: TransformerBackend> {
    x: Tensor<B::Buffer>,
    w1: B::Weight,
    b1: Tensor<B::Buffer>,
    w2: B::Weight,
    b2: Tensor<B::Buffer>,
    activation: Activation,
}

const ACTIVATION: AxisSpec = AxisSpec {
    name: "activation",
    doc: "between the two layers",
    kind: AxisKind::Choice { of: &["relu", "gelu", "gelu-tanh", "silu"] },
    default: AxisDefault::Text("gelu"),
};

const fn weight(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Weight, shape, draw: DrawRule::FanIn, only_with: None }
}

const fn bias(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape, draw: DrawRule::Around(0.0, 0.1), only_with: None }
}

impl Variant for Dense {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/dense",
        summary: "activation(x w1^T + b1) w2^T + b2",
        citation: "Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016 (GELU)",
        task: "ffn",
        problem: &[BATCH, ROWS, width("d_model", "width of the stream", 256), width("d_ff", "hidden units", 1024), ACTIVATION],
        parameters: &[],
        tensors: &[
            TensorSpec {
                name: "x",
                role: Role::Activation,
                shape: &[Dim::Rows, Dim::Axis("d_model")],
                draw: DrawRule::Distribution,
                only_with: None,
            },
            weight("w1", &[Dim::Axis("d_ff"), Dim::Axis("d_model")]),
            bias("b1", &[Dim::Axis("d_ff")]),
            weight("w2", &[Dim::Axis("d_model"), Dim::Axis("d_ff")]),
            bias("b2", &[Dim::Axis("d_model")]),
        ],
        output: &[Dim::Rows, Dim::Axis("d_model")],
        conditions: &[],
    };

    type Bound<B: TransformerBackend> = TwoLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<TwoLayers<B>> {
        Ok(TwoLayers {
            x: operands.tensor("x")?,
            w1: operands.weight("w1")?,
            b1: operands.tensor("b1")?,
            w2: operands.weight("w2")?,
            b2: operands.tensor("b2")?,
            activation: activation(axes),
        })
    }

    fn exact(axes: &Axes) -> ExactOperation {
        ExactOperation::Ffn { activation: activation(axes) }
    }
}

fn activation(axes: &Axes) -> Activation {
    Activation::from_name(name(axes, "activation")).unwrap_or(Activation::Gelu)
}

impl<B: TransformerBackend> Bound<B> for TwoLayers<B> {
    fn run(&self, backend: &B, out: ViewMut<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let &[batch, n, _] = self.x.shape() else { unreachable!("bound as [batch, n, d_model]") };
        let mut hidden = scratch.take(backend, backend.storage(), &[batch, n, self.w1.outputs()])?;
        let first = LinearSpec { activation: self.activation };
        let second = LinearSpec { activation: Activation::None };
        backend.linear(first, self.x.view(), &self.w1, Some(self.b1.view()), hidden.view_mut())?;
        backend.linear(second, hidden.view(), &self.w2, Some(self.b2.view()), out)?;
        scratch.give(hidden);
        Ok(())
    }
}
