//! LayerDrop: of a trained stack some layers are not run: those that `skip` names or, where it is empty, all but every `every`-th.
//!
//! Fan et al. 2020, "Reducing Transformer Depth on Demand with Structured Dropout", section 3.2, the "every other" strategy: a model that was
//! trained with layers dropped at random can be cut to any depth without fine-tuning. Cost falls with the number of layers kept; what is
//! traded away is what the dropped layers did.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::stack::{Layer, SKIPS_LAYERS, Stack, description, every, pruned, skip, whole};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LayerDrop;

impl Variant for LayerDrop {
    const DESCRIPTOR: Descriptor = Descriptor {
        conditions: &[SKIPS_LAYERS],
        ..description(
            "norm/layer-drop",
            "a stack of joins without some of its layers",
            "Fan et al. 2020, section 3.2",
            &[
                every("layers from one that is kept to the next, from the first on, where skip names none; 1 keeps all"),
                skip("layers that are dropped, counted from 0 (1+3); empty: by every"),
            ],
            Model {
                flops: "8*batch*n*d_model*(is(skip,)*ceil(layers/every) + (1 - is(skip,))*(layers - listed(skip)))",
                scratch: "batch*n*d_model*min(1, is(skip,) + (1 - is(skip,))*(layers - listed(skip)))",
            },
        )
    };

    type Bound<B: TransformerBackend> = Stack<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Stack<B>> {
        let layers = pruned(axes, Layer::Dropped, |at, every| !at.is_multiple_of(every))?;
        Stack::bind(Self::DESCRIPTOR.name, layers, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        whole(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::testing::assert_sound;
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
    fn a_skip_set_names_the_layers_that_go() {
        let given = |skip: &str| [("n", 3.into()), ("d_model", 16.into()), ("layers", 4.into()), ("skip", skip.into())];
        let inputs = drawn::<LayerDrop>(&axes::<LayerDrop>(&given("")));
        let layers = [Layer::Joined, Layer::Dropped, Layer::Joined, Layer::Dropped];
        let expected = plain(&inputs, &layers.map(|layer| (layer, 1.0)));
        assert!(distance(&run::<LayerDrop>(&axes::<LayerDrop>(&given("1,3")), &inputs), &expected) < 1e-12);
        assert_eq!(distance(&run::<LayerDrop>(&axes::<LayerDrop>(&given("0,1,2,3")), &inputs), &inputs["x"]), 0.0);
        for skip in ["1,3", "0,1,2,3"] {
            let [n, d_model, layers, skip] = given(skip);
            assert_sound::<LayerDrop>(&[n, d_model, layers, skip, ("precision", "f32".into())]);
        }
        assert!(axis_error::<LayerDrop>(&given("4")).contains("each above the one before it and below layers"));
    }

    #[test]
    fn no_layer_at_all_is_refused() {
        assert_eq!(axis_error::<LayerDrop>(&[("every", 0.into())]), "norm/layer-drop: every = 0 must be a whole number in 1..=65536");
    }
}
