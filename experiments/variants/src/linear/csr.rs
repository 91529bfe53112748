//! A weight of which only the entries of largest magnitude are stored, anywhere (compressed sparse rows).
//!
//! Magnitude pruning (Han et al. 2015, section 3), without retraining: the smallest entries of the whole weight become zero. Traded away:
//! accuracy, four bytes of index for each stored value, and regular memory access; it pays only where few entries remain. With
//! sparsity 0 it computes what the dense layer does, at the price of the indices.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::layer::{self, FLOATING, Layer, WEIGHT};
use super::sparse::{SPARSITY, form, magnitude, masked};
use crate::descriptor::{DerivedSpec, Descriptor, Model, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Csr;

fn stored(axes: &Axes) -> WeightForm {
    form(magnitude(axes), size(axes, "d_out"), size(axes, "d_in"), axes)
}

impl Variant for Csr {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/csr",
        summary: "activation(x w^T + b) with the small entries of w dropped, the others stored with their places",
        citation: "Han et al. 2015, section 3",
        parameters: &[SPARSITY],
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(stored) }],
        conditions: &[FLOATING],
        model: Model { flops: "batch*n*d_out*(2*d_in*(1 - sparsity) + 1 + activation)", scratch: "0" },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Layer<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Layer<B>> {
        Layer::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layer::exact(axes)
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let made = masked(magnitude(axes), source(drawn, "w")?, axes)?;
        Ok(Derived::default().compressed("w", made.weight, made.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn without_sparsity_it_is_dense_and_more_of_it_errs_more() {
        let errors: Vec<f64> = [0.0, 0.25, 0.5, 0.9].map(|share| error_against_dense::<Csr>(&[("sparsity", share.into())])).into();
        assert!(errors[0] < 1e-14, "{errors:?}");
        assert!(errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<Csr>(&sizes(&[("sparsity", 1.0.into())])).contains("must be a number in 0..=0.999"));
        assert!(axis_error::<Csr>(&sizes(&[("precision", "int8".into())])).contains("a floating weight and activation type"));
    }
}
