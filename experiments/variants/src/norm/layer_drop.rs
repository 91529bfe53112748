//! LayerDrop: of a trained stack only every `every`-th layer is run.
//!
//! Fan et al. 2020, "Reducing Transformer Depth on Demand with Structured Dropout", section 3.2, the "every other" strategy: a model that was
//! trained with layers dropped at random can be cut to any depth without fine-tuning. Cost falls with the number of layers kept; what is
//! traded away is what the dropped layers did.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};

use super::stack::{Layer, Stack, description, every};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::{number, size};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LayerDrop;

impl Variant for LayerDrop {
    const DESCRIPTOR: Descriptor = description(
        "norm/layer-drop",
        "every so many-th layer of a stack, the others dropped",
        "Fan et al. 2020, section 3.2",
        &[every("layers from one that is kept to the next, from the first on; 1 keeps all")],
        Model { flops: "8*batch*n*d_model*ceil(layers/every)", scratch: "batch*n*d_model" },
    );

    type Bound<B: TransformerBackend> = Stack<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Stack<B>> {
        let every = size(axes, "every").max(1);
        let layers = (0..size(axes, "layers")).map(|at| if at.is_multiple_of(every) { Layer::Joined } else { Layer::Dropped }).collect();
        let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
        Ok(Stack { layers, gamma: operands.tensor("gamma")?, beta: operands.tensor("beta")?, spec })
    }

    /// The whole stack.
    fn exact(axes: &Axes) -> Reference {
        Reference::itself_with(axes, "every", AxisValue::Int(1))
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::residual_pruned::ResidualPruned;
    use crate::norm::stack::plain;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn dropped_layers_do_nothing_and_dropping_none_is_the_whole_stack() {
        let given = |every: i64| [("n", 3.into()), ("d_model", 16.into()), ("layers", 5.into()), ("every", every.into())];
        let inputs = drawn::<LayerDrop>(&axes::<LayerDrop>(&given(1)));
        let whole = run::<ResidualPruned>(&axes::<ResidualPruned>(&given(1)), &inputs);
        assert_eq!(distance(&run::<LayerDrop>(&axes::<LayerDrop>(&given(1)), &inputs), &whole), 0.0);
        let layers = [Layer::Joined, Layer::Dropped, Layer::Joined, Layer::Dropped, Layer::Joined];
        let expected = plain(&inputs, &layers.map(|layer| (layer, 1.0)));
        assert!(distance(&run::<LayerDrop>(&axes::<LayerDrop>(&given(2)), &inputs), &expected) < 1e-12);
    }

    #[test]
    fn no_layer_at_all_is_refused() {
        assert_eq!(axis_error::<LayerDrop>(&[("every", 0.into())]), "norm/layer-drop: every = 0 must be a whole number in 1..=65536");
    }
}
