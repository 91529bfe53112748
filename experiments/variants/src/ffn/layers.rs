//! What the variants of a feed-forward layer share: the problem, its tensors, and two layers with an activation between.
//!
//! Variants that only hold other weights (pruned, narrower) keep [`TwoLayers`] and make the weights on the host.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, DerivedSpec, Dim, DrawRule, Role, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::name;
use crate::variant::{Bound, Operands, Reference, wrong_inputs};

/// The non-linearity.
pub(crate) const ACTIVATION: AxisSpec = AxisSpec {
    name: "activation",
    doc: "between the two layers",
    kind: AxisKind::Choice { of: &["relu", "gelu", "gelu-tanh", "silu", "relu-squared"] },
    default: AxisDefault::Text("gelu"),
};

/// Width of the stream.
pub(crate) const D_MODEL: AxisSpec = width("d_model", "width of the stream", 256);
/// Hidden units.
pub(crate) const D_FF: AxisSpec = width("d_ff", "hidden units", 1024);

/// The sizes of the problem.
pub(crate) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, D_MODEL, D_FF, ACTIVATION];

/// Shape of x and of the output.
pub(crate) const STREAM: &[Dim] = &[Dim::Rows, Dim::Axis("d_model")];
/// Shape of w1.
pub(crate) const FIRST: &[Dim] = &[Dim::Axis("d_ff"), Dim::Axis("d_model")];
/// Shape of w2.
pub(crate) const SECOND: &[Dim] = &[Dim::Axis("d_model"), Dim::Axis("d_ff")];

/// The input.
pub(crate) const X: TensorSpec =
    TensorSpec { name: "x", role: Role::Activation, shape: STREAM, draw: DrawRule::Distribution, only_with: None };

/// A drawn weight.
pub(crate) const fn weight(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Weight, shape, draw: DrawRule::FanIn, only_with: None }
}

/// A drawn weight that the engine never sees.
pub(crate) const fn source_weight(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { role: Role::Source, ..weight(name, shape) }
}

/// A drawn bias.
pub(crate) const fn bias(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape, draw: DrawRule::Around(0.0, 0.1), only_with: None }
}

/// A weight that is made on the host, dense in the cell's precision.
pub(crate) const fn made(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Weight, shape, form: None }
}

/// A vector that is made on the host.
pub(crate) const fn made_vector(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Vector, shape, form: None }
}

const B1: TensorSpec = bias("b1", &[Dim::Axis("d_ff")]);
const B2: TensorSpec = bias("b2", &[Dim::Axis("d_model")]);

/// x, w1, b1, w2 and b2.
pub(crate) const TENSORS: &[TensorSpec] = &[X, weight("w1", FIRST), B1, weight("w2", SECOND), B2];

/// The same where the engine never sees the weights, but something made of them.
pub(crate) const SOURCES: &[TensorSpec] = &[X, source_weight("w1", FIRST), B1, source_weight("w2", SECOND), B2];

/// The activation of resolved axes.
pub(crate) fn activation(axes: &Axes) -> Activation {
    Activation::from_name(name(axes, "activation")).unwrap_or(Activation::Gelu)
}

/// activation(x w1^T + b1) w2^T + b2 in f64.
pub(crate) fn exact(axes: &Axes) -> Reference {
    Reference::Operation(ExactOperation::Ffn { activation: activation(axes) })
}

/// A layer without an activation.
pub(crate) const PLAIN: LinearSpec = LinearSpec { activation: Activation::None };

/// The two layers.
pub struct TwoLayers<B: TransformerBackend> {
    variant: &'static str,
    w1: B::Weight,
    b1: Option<Tensor<B::Buffer>>,
    w2: B::Weight,
    b2: Option<Tensor<B::Buffer>>,
    activation: Activation,
}

impl<B: TransformerBackend> TwoLayers<B> {
    /// Takes "w1", "b1", "w2" and "b2".
    pub(crate) fn bind(variant: &'static str, operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        Ok(Self {
            variant,
            w1: operands.weight("w1")?,
            b1: Some(operands.tensor("b1")?),
            w2: operands.weight("w2")?,
            b2: Some(operands.tensor("b2")?),
            activation: activation(axes),
        })
    }

    /// Takes "w1" and "w2".
    pub(crate) fn without_biases(variant: &'static str, operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        let [w1, w2] = [operands.weight("w1")?, operands.weight("w2")?];
        Ok(Self { variant, w1, b1: None, w2, b2: None, activation: activation(axes) })
    }

    /// One layer pair for x and out of [batch, n, d_model].
    pub(crate) fn apply(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs(self.variant, &[x])) };
        let mut hidden = scratch.take(backend, backend.storage(), &[batch, n, self.w1.outputs()])?;
        backend.linear(LinearSpec { activation: self.activation }, x, &self.w1, self.b1.as_ref().map(Tensor::view), hidden.view_mut())?;
        backend.linear(PLAIN, hidden.view(), &self.w2, self.b2.as_ref().map(Tensor::view), out)?;
        scratch.give(hidden);
        Ok(())
    }
}

impl<B: TransformerBackend> Bound<B> for TwoLayers<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(self.variant, inputs)) };
        self.apply(backend, x, out, scratch)
    }
}
