//! A stack of feed-forward layers with residuals, each with weights of its own: x <- x + ffn_l(x) for every layer.
//!
//! Vaswani et al. 2017, section 3.3, without attention and norms between: the baseline of `ffn/shared-stack`, which differs from it in
//! nothing but where its weights come from. All weights are read once a call, so a stack that outgrows a cache shows it.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearSpec};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::layers::{ACTIVATION, D_FF, D_MODEL, PLAIN, STREAM, X, activation, bias, weight};
use crate::descriptor::{AxisSpec, Descriptor, Dim, Model, TensorSpec};
use crate::linear::{BATCH, ROWS, width};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct Stack;

/// The sizes of both stacks.
pub(crate) const PROBLEM: &[AxisSpec] = &[BATCH, ROWS, D_MODEL, D_FF, width("layers", "layers that x passes through", 4), ACTIVATION];

const LAYERS: Dim = Dim::Axis("layers");
const TENSORS: &[TensorSpec] = &[
    X,
    weight("w1", &[LAYERS, Dim::Axis("d_ff"), Dim::Axis("d_model")]),
    bias("b1", &[LAYERS, Dim::Axis("d_ff")]),
    weight("w2", &[LAYERS, Dim::Axis("d_model"), Dim::Axis("d_ff")]),
    bias("b2", &[LAYERS, Dim::Axis("d_model")]),
];

/// A number of passes over one or more sets of weights.
pub struct Residuals<B: TransformerBackend> {
    variant: &'static str,
    w1: Vec<B::Weight>,
    w2: Vec<B::Weight>,
    /// Of each set, or `[width]` where there is one.
    b1: Tensor<B::Buffer>,
    b2: Tensor<B::Buffer>,
    layers: usize,
    spec: LinearSpec,
}

impl<B: TransformerBackend> Residuals<B> {
    /// Takes as many sets of weights as there are.
    pub(crate) fn bind(variant: &'static str, operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        Ok(Self {
            variant,
            w1: operands.weights("w1")?,
            w2: operands.weights("w2")?,
            b1: operands.tensor("b1")?,
            b2: operands.tensor("b2")?,
            layers: size(axes, "layers"),
            spec: LinearSpec { activation: activation(axes) },
        })
    }
}

impl Variant for Stack {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/stack",
        summary: "x + ffn(x), layer after layer, each with its own weights",
        citation: "Vaswani et al. 2017, section 3.3",
        task: "ffn/stack",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model {
            flops: "batch*n*layers*(4*d_model*d_ff + d_ff*(1 + activation) + 2*d_model)",
            scratch: "batch*n*(d_ff + d_model*(1 - max(0, 2 - layers)))",
        },
    };

    type Bound<B: TransformerBackend> = Residuals<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Residuals<B>> {
        Residuals::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

/// The bias of one set: a row of [sets, width], or all of `[width]`.
fn bias_of<S>(biases: &Tensor<S>, set: usize) -> Result<View<'_, S>> {
    if biases.layout.rank() == 1 {
        return Ok(biases.view());
    }
    biases.view().with(|layout| layout.narrow(0, set, 1)?.merge(0))
}

impl<B: TransformerBackend> Bound<B> for Residuals<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(self.variant, inputs)) };
        let &[batch, n, d_model] = x.shape() else { return Err(wrong_inputs(self.variant, inputs)) };
        let Some(d_ff) = self.w1.first().map(PreparedWeight::outputs) else { return Err(wrong_inputs(self.variant, inputs)) };
        let mut hidden = scratch.take(backend, backend.storage(), &[batch, n, d_ff])?;
        let mut change = if self.layers > 1 { Some(scratch.take(backend, backend.storage(), &[batch, n, d_model])?) } else { None };
        for layer in 0..self.layers {
            let set = layer % self.w1.len();
            let (b1, b2) = (bias_of(&self.b1, set)?, bias_of(&self.b2, set)?);
            // The stream lives in the output from the first layer on.
            let stream = if layer == 0 { x } else { out.as_view() };
            backend.linear(self.spec, stream, &self.w1[set], Some(b1), hidden.view_mut())?;
            match change.as_mut().filter(|_| layer > 0) {
                None => {
                    backend.linear(PLAIN, hidden.view(), &self.w2[set], Some(b2), out.reborrow())?;
                    backend.binary(BinaryOp::Add, Operand::InPlace, x, out.reborrow())?;
                }
                Some(change) => {
                    backend.linear(PLAIN, hidden.view(), &self.w2[set], Some(b2), change.view_mut())?;
                    backend.binary(BinaryOp::Add, Operand::InPlace, change.view(), out.reborrow())?;
                }
            }
        }
        if let Some(change) = change {
            scratch.give(change);
        }
        scratch.give(hidden);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dense_output, part, sizes};
    use super::*;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    /// Three layers by hand: dense layers and sums on the host.
    #[test]
    fn it_is_dense_layers_with_residuals_one_after_the_other() {
        let own = axes::<Stack>(&sizes(&[("layers", 3.into())]));
        let tensors = drawn::<Stack>(&own);
        let mut step = tensors.clone();
        for layer in 0..3 {
            for name in ["w1", "b1", "w2", "b2"] {
                step.insert(name.into(), part(&tensors[name], layer));
            }
            let change = dense_output(&own, &step);
            let sum = step["x"].values().iter().zip(change.values()).map(|(x, change)| x + change).collect();
            step.insert("x".into(), HostTensor::new(change.shape(), sum).unwrap());
        }
        assert!(distance(&run::<Stack>(&own, &tensors), &step["x"]) < 1e-12);
    }
}
