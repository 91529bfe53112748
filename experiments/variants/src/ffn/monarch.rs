//! The feed-forward layer with both weights in Monarch form.
//!
//! Dao et al. 2022, section 3.1, with their projection of given weights (section 3.3): each weight becomes two block-diagonal factors,
//! applied as in `linear/monarch`. Traded away: what the projection cannot hold, and many small products in place of two large ones.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layers::{self, SOURCES, activation, made};
use crate::descriptor::{Condition, Descriptor, Dim, Model};
use crate::linear::monarch::{BLOCKS, Factors, project};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct Monarch;

/// The factors of both weights.
pub struct Layers<B: TransformerBackend> {
    first: Factors<B>,
    second: Factors<B>,
    biases: [Tensor<B::Buffer>; 2],
    activation: Activation,
    hidden: usize,
}

const COUNT: Dim = Dim::Axis("blocks");
const MODEL_SHARE: Dim = Dim::Of("d_model / blocks", |axes| size(axes, "d_model") / size(axes, "blocks").max(1));
const HIDDEN_SHARE: Dim = Dim::Of("d_ff / blocks", |axes| size(axes, "d_ff") / size(axes, "blocks").max(1));

impl Variant for Monarch {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/monarch",
        summary: "the dense layer with the Monarch matrices nearest to w1 and w2",
        citation: "Dao et al. 2022 (Monarch), sections 3.1 and 3.3",
        parameters: &[BLOCKS],
        tensors: SOURCES,
        derived: &[
            made("w1_right", &[COUNT, COUNT, MODEL_SHARE]),
            made("w1_left", &[COUNT, HIDDEN_SHARE, COUNT]),
            made("w2_right", &[COUNT, COUNT, HIDDEN_SHARE]),
            made("w2_left", &[COUNT, MODEL_SHARE, COUNT]),
        ],
        conditions: &[Condition {
            text: "blocks must divide d_model and d_ff",
            holds: |axes: &Axes| ["d_model", "d_ff"].iter().all(|axis| size(axes, axis).is_multiple_of(size(axes, "blocks"))),
        }],
        model: Model {
            flops: "batch*n*(4*blocks*(d_model + d_ff) + d_ff*(1 + activation) + d_model)",
            scratch: "batch*n*(d_ff + blocks^2)",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Layers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Layers<B>> {
        Ok(Layers {
            first: Factors::bind(operands, "w1_right", "w1_left")?,
            second: Factors::bind(operands, "w2_right", "w2_left")?,
            biases: [operands.tensor("b1")?, operands.tensor("b2")?],
            activation: activation(axes),
            hidden: size(axes, "d_ff"),
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (one, two) = (project(source(drawn, "w1")?, axes)?, project(source(drawn, "w2")?, axes)?);
        let first = Derived::default().saved(one.saving).weight("w1_right", &one.right, axes)?.weight("w1_left", &one.left, axes)?;
        first.saved(two.saving).weight("w2_right", &two.right, axes)?.weight("w2_left", &two.left, axes)
    }
}

impl<B: TransformerBackend> Bound<B> for Layers<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(Monarch::DESCRIPTOR.name, inputs)) };
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs(Monarch::DESCRIPTOR.name, inputs)) };
        let mut hidden = scratch.take(backend, backend.storage(), &[batch, n, self.hidden])?;
        self.first.run(backend, self.activation, x, self.biases[0].view(), hidden.view_mut(), scratch)?;
        self.second.run(backend, Activation::None, hidden.view(), self.biases[1].view(), out, scratch)?;
        scratch.give(hidden);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dense_output, error_against_dense, sizes};
    use super::*;
    use crate::testing::{axes, axis_error, drawn, relative_error, run};

    #[test]
    fn monarch_weights_are_reproduced_and_more_blocks_err_less() {
        let own = axes::<Monarch>(&sizes(&[("blocks", 4.into())]));
        let mut tensors = drawn::<Monarch>(&own);
        for name in ["w1", "w2"] {
            let crossover_compression::monarch::Monarch { right, left, .. } = project(&tensors[name], &own).unwrap();
            tensors.insert(name.into(), crossover_compression::monarch::product(&left, &right).unwrap());
        }
        assert!(relative_error(&run::<Monarch>(&own, &tensors), &dense_output(&own, &tensors)) < 1e-13);
        let error = |blocks: i64| error_against_dense::<Monarch>(&[("blocks", blocks.into())]);
        assert!(error(8) < error(2), "{} {}", error(8), error(2));
    }

    #[test]
    fn as_many_blocks_as_inputs_are_dense() {
        assert!(error_against_dense::<Monarch>(&[("blocks", 16.into()), ("d_ff", 16.into())]) < 1e-13);
    }

    #[test]
    fn blocks_that_do_not_divide_are_refused() {
        assert!(axis_error::<Monarch>(&sizes(&[("blocks", 3.into())])).contains("blocks must divide d_model and d_ff"));
    }
}
