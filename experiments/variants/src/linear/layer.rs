//! What the variants of a linear layer share: the problem, its tensors, and a layer with one prepared weight and a bias.
//!
//! Most compressed layers differ from the dense one only in the form in which the weight is held: they keep this layer and make the
//! weight on the host.

use crossover_compression::Saving;
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::ExactOperation;
use crossover_core::tensor::{Tensor, View, ViewMut};
use crossover_core::weights::HostWeight;

use super::{BATCH, ROWS, width};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Dim, DrawRule, Role, TensorSpec};
use crate::resolve::{name, precision};
use crate::variant::{Bound, Derived, Operands, Reference, wrong_inputs};

const ACTIVATION: AxisSpec = AxisSpec {
    name: "activation",
    doc: "applied to the result",
    kind: AxisKind::Choice { of: &["none", "relu", "gelu", "gelu-tanh", "silu", "relu-squared"] },
    default: AxisDefault::Text("none"),
};

/// The sizes of the problem.
pub(crate) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, width("d_in", "inputs", 768), width("d_out", "outputs", 768), ACTIVATION];

/// Shape of w.
pub(crate) const WEIGHT: &[Dim] = &[Dim::Axis("d_out"), Dim::Axis("d_in")];

const X: TensorSpec =
    TensorSpec { name: "x", role: Role::Activation, shape: &[Dim::Rows, Dim::Axis("d_in")], draw: DrawRule::Distribution, only_with: None };
const W: TensorSpec = TensorSpec { name: "w", role: Role::Weight, shape: WEIGHT, draw: DrawRule::FanIn, only_with: None };
const B: TensorSpec =
    TensorSpec { name: "b", role: Role::Vector, shape: &[Dim::Axis("d_out")], draw: DrawRule::Around(0.0, 0.1), only_with: None };

/// x, w and b.
pub(crate) const TENSORS: &[TensorSpec] = &[X, W, B];

/// The same where the engine never sees w, but factors of it under other names.
pub(crate) const FACTORED: &[TensorSpec] = &[X, TensorSpec { role: Role::Source, ..W }, B];

/// A weight that is made on the host, dense in the cell's precision.
pub(crate) const fn factor(name: &'static str, shape: &'static [Dim]) -> DerivedSpec {
    DerivedSpec { name, role: Role::Weight, shape, form: None }
}

/// For weights in a form of their own.
pub(crate) const FLOATING: Condition = Condition {
    text: "the weight has a form of its own: the precision must have a floating weight and activation type",
    holds: |axes: &Axes| precision(axes).weight.is_float() && precision(axes).activation.is_float(),
};

/// For integer weights beside floating activations.
pub(crate) const FLOATING_ACTIVATIONS: Condition = Condition {
    text: "activations must be floating; precision int8 of linear/dense quantises both",
    holds: |axes: &Axes| precision(axes).activation.is_float(),
};

/// The fused activation of resolved axes.
pub(crate) fn activation(axes: &Axes) -> Activation {
    Activation::from_name(name(axes, "activation")).unwrap_or(Activation::None)
}

/// activation(x w^T + b) in f64.
pub(crate) fn exact(axes: &Axes) -> Reference {
    Reference::Operation(ExactOperation::Linear { activation: activation(axes) })
}

/// One prepared weight, and a bias.
pub struct Layer<B: TransformerBackend> {
    variant: &'static str,
    w: B::Weight,
    b: Tensor<B::Buffer>,
    spec: LinearSpec,
}

impl<B: TransformerBackend> Layer<B> {
    /// Takes "w" and "b".
    pub(crate) fn bind(variant: &'static str, operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        let spec = LinearSpec { activation: activation(axes) };
        Ok(Self { variant, w: operands.weight("w")?, b: operands.tensor("b")?, spec })
    }
}

impl<B: TransformerBackend> Bound<B> for Layer<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        _scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(self.variant, inputs)) };
        backend.linear(self.spec, x, &self.w, Some(self.b.view()), out)
    }
}

/// A weight in a form of its own, and what that saves over a dense one.
pub(crate) fn in_form(weight: &HostTensor, form: HostWeight, axes: &Axes) -> Result<Derived> {
    let saving = Saving::of_form(weight, precision(axes).weight, &form).map_err(failed)?;
    Ok(Derived::default().compressed("w", form, saving))
}

/// What went wrong in a host transform.
pub(crate) fn failed(error: crossover_compression::CompressionError) -> crossover_core::error::EngineError {
    shape_error("derive", error.to_string())
}
