//! The feed-forward layer with only the largest entries of both weights, stored with their places.
//!
//! Magnitude pruning (Han et al. 2015, section 3), each weight on its own and without retraining. Traded away: accuracy, four bytes
//! of index for each stored value, and regular memory access. With sparsity 0 it computes what the dense layer does.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::layers::{self, FIRST, SECOND, TwoLayers};
use crate::descriptor::{DerivedSpec, Descriptor, Model, Role};
use crate::linear::layer::FLOATING;
use crate::linear::sparse::{SPARSITY, form, magnitude, masked};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Pruned;

fn first(axes: &Axes) -> WeightForm {
    form(magnitude(axes), size(axes, "d_ff"), size(axes, "d_model"), axes)
}

fn second(axes: &Axes) -> WeightForm {
    form(magnitude(axes), size(axes, "d_model"), size(axes, "d_ff"), axes)
}

impl Variant for Pruned {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/pruned",
        summary: "the dense layer with the small entries of w1 and w2 dropped, the others stored with their places",
        citation: "Han et al. 2015, section 3",
        parameters: &[SPARSITY],
        derived: &[
            DerivedSpec { name: "w1", role: Role::Weight, shape: FIRST, form: Some(first) },
            DerivedSpec { name: "w2", role: Role::Weight, shape: SECOND, form: Some(second) },
        ],
        conditions: &[FLOATING],
        model: Model { flops: "batch*n*(4*d_model*d_ff*(1 - sparsity) + d_ff*(1 + activation) + d_model)", scratch: "batch*n*d_ff" },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = TwoLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<TwoLayers<B>> {
        TwoLayers::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let made = |name: &str| masked(magnitude(axes), source(drawn, name)?, axes);
        let (one, two) = (made("w1")?, made("w2")?);
        Ok(Derived::default().compressed("w1", one.weight, one.saving).compressed("w2", two.weight, two.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn without_sparsity_it_is_dense_and_more_of_it_errs_more() {
        let errors: Vec<f64> = [0.0, 0.25, 0.5, 0.9].map(|share| error_against_dense::<Pruned>(&[("sparsity", share.into())])).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn integer_weights_are_refused() {
        assert!(axis_error::<Pruned>(&sizes(&[("precision", "int4".into())])).contains("a floating weight and activation type"));
    }
}
