//! A weight of which the n largest of every m neighbouring inputs are stored; 2 of 4 unless told otherwise.
//!
//! Mishra et al. 2021, section 3, without retraining. The regular places take few bits (two a value at 2 of 4) and can be
//! fetched without searching, so that a kernel can skip exactly what is not there. Traded away: accuracy, more than unstructured
//! pruning of as many entries, because a group with many large entries loses some of them. n = m is the dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::layer::{self, FLOATING, Layer, WEIGHT};
use super::sparse::{M_GROUP, N_KEEP, form, masked, n_of_m};
use crate::descriptor::{Condition, DerivedSpec, Descriptor, Model, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct NofM;

/// n of m keeps at most m.
pub(crate) const AT_MOST_M: Condition =
    Condition { text: "n_keep must be at most m_group", holds: |axes: &Axes| size(axes, "n_keep") <= size(axes, "m_group") };

fn stored(axes: &Axes) -> WeightForm {
    form(n_of_m(axes), size(axes, "d_out"), size(axes, "d_in"), axes)
}

impl Variant for NofM {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/n-of-m",
        summary: "activation(x w^T + b) with only the n largest of every m neighbouring entries of a row of w",
        citation: "Mishra et al. 2021, section 3",
        parameters: &[N_KEEP, M_GROUP],
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(stored) }],
        conditions: &[
            FLOATING,
            AT_MOST_M,
            Condition { text: "m_group must divide d_in", holds: |axes: &Axes| size(axes, "d_in").is_multiple_of(size(axes, "m_group")) },
        ],
        model: Model { flops: "batch*n*d_out*(2*d_in*n_keep/m_group + 1 + activation)", scratch: "0" },
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
        let made = masked(n_of_m(axes), source(drawn, "w")?, axes)?;
        Ok(Derived::default().compressed("w", made.weight, made.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::csr::Csr;
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn all_of_each_group_is_dense_and_fewer_err_more() {
        let errors: Vec<f64> = [4, 3, 2, 1].map(|n: i64| error_against_dense::<NofM>(&[("n_keep", n.into())])).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn regular_places_cost_accuracy() {
        let free = error_against_dense::<Csr>(&[("sparsity", 0.5.into())]);
        assert!(free < error_against_dense::<NofM>(&[]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<NofM>(&sizes(&[("n_keep", 5.into())])).contains("n_keep must be at most m_group"));
        assert!(axis_error::<NofM>(&sizes(&[("m_group", 3.into())])).contains("m_group must divide d_in"));
    }
}
