//! A weight in Monarch form: two block-diagonal factors with a fixed permutation between and after them.
//!
//! Dao et al. 2022, section 3.1, with their projection of a given weight (section 3.3). `blocks` small products on neighbouring inputs,
//! then `blocks` more on every `blocks`-th intermediate value; the permutations are strides of views and move nothing. blocks (d_in +
//! d_out) products instead of d_in d_out. Traded away: what the projection cannot hold, and many small products in place of a large one.
//! A square layer with as many blocks as inputs is dense.

use crossover_compression::monarch::{Monarch, monarch};
use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::ops::LinearSpec;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layer::{self, FACTORED, activation, factor, failed};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, Model};
use crate::resolve::{precision, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct MonarchLayer;

/// Blocks on each side of the permutation.
pub(crate) const BLOCKS: AxisSpec = AxisSpec {
    name: "blocks",
    doc: "blocks of each factor; divides inputs and outputs",
    kind: AxisKind::Int { min: 1, max: 1 << 20 },
    default: AxisDefault::Int(8),
};

/// The factors of one weight, one prepared weight a block.
pub(crate) struct Factors<B: TransformerBackend> {
    right: Vec<B::Weight>,
    left: Vec<B::Weight>,
}

impl<B: TransformerBackend> Factors<B> {
    /// Takes both factors by name.
    pub(crate) fn bind(operands: &mut Operands<B>, right: &str, left: &str) -> Result<Self> {
        Ok(Self { right: operands.weights(right)?, left: operands.weights(left)? })
    }

    /// activation(x w^T + bias) for x and out of [batch, n, width].
    pub(crate) fn run(
        &self,
        backend: &B,
        activation: Activation,
        x: View<'_, B::Buffer>,
        bias: View<'_, B::Buffer>,
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (&[batch, n, _], Some(first), Some(last)) = (x.shape(), self.right.first(), self.left.first()) else {
            return Err(shape_error("monarch", format!("{:?} is not [batch, n, width]", x.shape())));
        };
        let (blocks, width, outputs) = (self.right.len(), first.inputs(), last.outputs());
        let mut half = scratch.take(backend, backend.storage(), &[batch, n, blocks, blocks])?;
        for (at, weight) in self.right.iter().enumerate() {
            let to = half.view_mut().narrow(2, at, 1)?.with(|layout| layout.merge(2))?;
            backend.linear(LinearSpec { activation: Activation::None }, x.narrow(2, at * width, width)?, weight, None, to)?;
        }
        for (at, weight) in self.left.iter().enumerate() {
            // Block `at` reads the value of that number of every right block, and writes every `blocks`-th output.
            let from = half.view().narrow(3, at, 1)?.with(|layout| layout.merge(2))?;
            let bias = bias.with(|layout| layout.split(0, outputs, blocks)?.narrow(1, at, 1)?.merge(0))?;
            let to = out.reborrow().with(|layout| layout.split(2, outputs, blocks)?.narrow(3, at, 1)?.merge(2))?;
            backend.linear(LinearSpec { activation }, from, weight, Some(bias), to)?;
        }
        scratch.give(half);
        Ok(())
    }
}

/// Projects a weight: right [blocks, blocks, inputs / blocks] and left [blocks, outputs / blocks, blocks].
pub(crate) fn project(weight: &HostTensor, axes: &Axes) -> Result<Monarch> {
    monarch(weight, size(axes, "blocks"), precision(axes).weight).map_err(failed)
}

/// The factors and the bias of a layer.
pub struct Layer<B: TransformerBackend> {
    factors: Factors<B>,
    b: Tensor<B::Buffer>,
    activation: Activation,
}

const RIGHT: &[Dim] =
    &[Dim::Axis("blocks"), Dim::Axis("blocks"), Dim::Of("d_in / blocks", |axes| size(axes, "d_in") / size(axes, "blocks").max(1))];
const LEFT: &[Dim] =
    &[Dim::Axis("blocks"), Dim::Of("d_out / blocks", |axes| size(axes, "d_out") / size(axes, "blocks").max(1)), Dim::Axis("blocks")];

impl Variant for MonarchLayer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/monarch",
        summary: "activation(x m^T + b), m the Monarch matrix nearest to w: two block-diagonal factors",
        citation: "Dao et al. 2022 (Monarch), sections 3.1 and 3.3",
        parameters: &[BLOCKS],
        tensors: FACTORED,
        derived: &[factor("right", RIGHT), factor("left", LEFT)],
        conditions: &[Condition {
            text: "blocks must divide d_in and d_out",
            holds: |axes: &Axes| ["d_in", "d_out"].iter().all(|axis| size(axes, axis).is_multiple_of(size(axes, "blocks"))),
        }],
        model: Model { flops: "batch*n*(2*blocks*(d_in + d_out) + d_out*(1 + activation))", scratch: "batch*n*blocks^2" },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Layer<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Layer<B>> {
        Ok(Layer { factors: Factors::bind(operands, "right", "left")?, b: operands.tensor("b")?, activation: activation(axes) })
    }

    fn exact(axes: &Axes) -> Reference {
        layer::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let made = project(source(drawn, "w")?, axes)?;
        Derived::default().saved(made.saving).weight("right", &made.right, axes)?.weight("left", &made.left, axes)
    }
}

impl<B: TransformerBackend> Bound<B> for Layer<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(MonarchLayer::DESCRIPTOR.name, inputs)) };
        self.factors.run(backend, self.activation, x, self.b.view(), out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_monarch_matrix_is_reproduced_and_more_blocks_err_less() {
        let axes = crate::testing::axes::<MonarchLayer>(&sizes(&[("blocks", 4.into())]));
        let projected = |w: HostTensor| {
            let Monarch { right, left, .. } = project(&w, &axes).unwrap();
            crossover_compression::monarch::product(&left, &right).unwrap()
        };
        assert!(error_with_weight::<MonarchLayer>(&[("blocks", 4.into())], projected) < 1e-13);
        let errors: Vec<f64> = [8, 4, 2, 1].map(|blocks: i64| error_against_dense::<MonarchLayer>(&[("blocks", blocks.into())])).into();
        assert!(errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn as_many_blocks_as_inputs_are_dense() {
        assert!(error_against_dense::<MonarchLayer>(&[("blocks", 16.into()), ("d_out", 16.into())]) < 1e-13);
    }

    #[test]
    fn blocks_that_do_not_divide_are_refused() {
        assert!(axis_error::<MonarchLayer>(&sizes(&[("blocks", 3.into())])).contains("blocks must divide d_in and d_out"));
    }
}
