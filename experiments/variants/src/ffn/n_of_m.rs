//! The feed-forward layer with the n largest of every m neighbouring inputs in both weights; 2 of 4 unless told otherwise.
//!
//! Mishra et al. 2021, section 3, without retraining: regular places that take few bits and that a kernel can skip exactly. Traded away:
//! accuracy, more than unstructured pruning of as many entries. n = m is the dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::layers::{self, FIRST, SECOND, TwoLayers};
use crate::descriptor::{Condition, DerivedSpec, Descriptor, Model, Role};
use crate::linear::layer::FLOATING;
use crate::linear::n_of_m::AT_MOST_M;
use crate::linear::sparse::{M_GROUP, N_KEEP, form, masked, n_of_m};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct NofM;

fn first(axes: &Axes) -> WeightForm {
    form(n_of_m(axes), size(axes, "d_ff"), size(axes, "d_model"), axes)
}

fn second(axes: &Axes) -> WeightForm {
    form(n_of_m(axes), size(axes, "d_model"), size(axes, "d_ff"), axes)
}

impl Variant for NofM {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/n-of-m",
        summary: "the dense layer with only the n largest of every m neighbouring entries of a row of w1 and w2",
        citation: "Mishra et al. 2021, section 3",
        parameters: &[N_KEEP, M_GROUP],
        derived: &[
            DerivedSpec { name: "w1", role: Role::Weight, shape: FIRST, form: Some(first) },
            DerivedSpec { name: "w2", role: Role::Weight, shape: SECOND, form: Some(second) },
        ],
        conditions: &[
            FLOATING,
            AT_MOST_M,
            Condition {
                text: "m_group must divide d_model and d_ff",
                holds: |axes: &Axes| ["d_model", "d_ff"].iter().all(|axis| size(axes, axis).is_multiple_of(size(axes, "m_group"))),
            },
        ],
        model: Model { flops: "batch*n*(4*d_model*d_ff*n_keep/m_group + d_ff*(1 + activation) + d_model)", scratch: "batch*n*d_ff" },
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
        let made = |name: &str| masked(n_of_m(axes), source(drawn, name)?, axes);
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
    fn all_of_each_group_is_dense_and_fewer_err_more() {
        let errors: Vec<f64> = [4, 3, 2, 1].map(|n: i64| error_against_dense::<NofM>(&[("n_keep", n.into())])).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<NofM>(&sizes(&[("n_keep", 5.into())])).contains("n_keep must be at most m_group"));
        assert!(axis_error::<NofM>(&sizes(&[("m_group", 3.into())])).contains("m_group must divide d_model and d_ff"));
    }
}
