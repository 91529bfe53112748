//! Pruned residuals: of a stack of joins some lose their residual, those that `skip` names or, where it is empty, all but every
//! `every`-th; there a layer replaces the stream.
//!
//! After Veit et al. 2016, section 4, who cut paths out of a trained residual network to see which of them matter; here skip connections
//! are taken out and the layers stay. Saves one pass a removed join (and its second copy of the stream). Trades away the
//! direct path: information older than the last kept residual survives only through the layers.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::stack::{Layer, SKIPS_LAYERS, Stack, description, every, pruned, skip, whole};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct ResidualPruned;

impl Variant for ResidualPruned {
    const DESCRIPTOR: Descriptor = Descriptor {
        conditions: &[SKIPS_LAYERS],
        ..description(
            "norm/residual-pruned",
            "a stack of joins of which some have lost their residual",
            "Veit et al. 2016, section 4",
            &[
                every("layers from one kept residual to the next, where skip names none; 1 keeps all"),
                skip("joins whose residual is taken out, counted from 0 (1+3); empty: by every"),
            ],
            Model {
                flops: "batch*n*d_model*(7*layers + is(skip,)*floor(layers/every) + (1 - is(skip,))*(layers - listed(skip)))",
                scratch: "batch*n*d_model*min(1, is(skip,)*floor(layers/every) + (1 - is(skip,))*(layers - listed(skip)))",
            },
        )
    };

    type Bound<B: TransformerBackend> = Stack<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Stack<B>> {
        // The last of each group of `every` layers keeps its residual.
        let layers = pruned(axes, Layer::Bare, |at, every| !(at + 1).is_multiple_of(every))?;
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
    use crate::norm::stack::plain;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::axes::AxisValue;

    fn given(skip: AxisValue) -> [(&'static str, AxisValue); 4] {
        [("n", 3.into()), ("d_model", 16.into()), ("layers", 5.into()), ("skip", skip)]
    }

    #[test]
    fn a_skip_set_names_the_residuals_that_go() {
        let (bare, joined) = (Layer::Bare, Layer::Joined);
        for (skip, layers) in [
            ("1,3".into(), [joined, bare, joined, bare, joined]),
            ("0 + 4".into(), [bare, joined, joined, joined, bare]),
            (2.into(), [joined, joined, bare, joined, joined]),
            ("0,1,2,3,4".into(), [bare; 5]),
        ] {
            let axes = axes::<ResidualPruned>(&given(skip));
            let inputs = drawn::<ResidualPruned>(&axes);
            let expected = plain(&inputs, &layers.map(|layer| (layer, 1.0)));
            assert!(distance(&run::<ResidualPruned>(&axes, &inputs), &expected) < 1e-12, "{layers:?}");
        }
    }

    #[test]
    fn costs_with_a_skip_set_are_as_declared() {
        for skip in ["1,3", "0,1,2,3,4"] {
            let [n, d_model, layers, skip] = given(skip.into());
            assert_sound::<ResidualPruned>(&[n, d_model, layers, skip, ("precision", "f32".into())]);
        }
    }

    #[test]
    fn what_names_no_layers_is_refused() {
        for skip in ["5", "3,1", "1,1", "one", "1,,3", "-1", "1,"] {
            let error = axis_error::<ResidualPruned>(&given(skip.into()));
            assert!(error.starts_with("norm/residual-pruned: skip must be empty or numbers of layers"), "{skip}: {error}");
        }
        assert_eq!(axis_error::<ResidualPruned>(&given(0.5.into())), "norm/residual-pruned: skip = 0.5 must be text");
    }

    #[test]
    fn kept_residuals_add_and_pruned_ones_do_not() {
        for (every, layers) in [(1, [Layer::Joined; 5]), (2, [Layer::Bare, Layer::Joined, Layer::Bare, Layer::Joined, Layer::Bare])] {
            let axes = axes::<ResidualPruned>(&[("n", 3.into()), ("d_model", 16.into()), ("layers", 5.into()), ("every", every.into())]);
            let inputs = drawn::<ResidualPruned>(&axes);
            let expected = plain(&inputs, &layers.map(|layer| (layer, 1.0)));
            assert!(distance(&run::<ResidualPruned>(&axes, &inputs), &expected) < 1e-12, "every {every}");
        }
    }
}
