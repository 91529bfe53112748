//! A weight in int4 codes with one scale for each `group` neighbouring inputs of a row; activations stay floating.
//!
//! Frantar et al. 2023, section 4 (their grouping, with plain rounding in place of their second-order correction): symmetric codes -7..7.
//! An eighth of the bytes of f32 and the scales on top: smaller groups follow outliers better and cost more scales. Traded away:
//! accuracy, and the decoding inside the product.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::quantize::int4_groups;
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use super::dense::Dense;
use super::layer::{self, FLOATING_ACTIVATIONS, Layer, WEIGHT, in_form};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Int4Group;

impl Variant for Int4Group {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/int4-group",
        summary: "activation(x w^T + b) with int4 codes for w, one scale for each group of inputs",
        citation: "Frantar et al. 2023, section 4",
        parameters: &[AxisSpec {
            name: "group",
            doc: "neighbouring inputs that share a scale; the last group may be shorter",
            kind: AxisKind::Int { min: 1, max: 1 << 20 },
            default: AxisDefault::Int(32),
        }],
        derived: &[DerivedSpec {
            name: "w",
            role: Role::Weight,
            shape: WEIGHT,
            form: Some(|axes| WeightForm::Int4Group { group: size(axes, "group") }),
        }],
        conditions: &[
            FLOATING_ACTIVATIONS,
            Condition { text: "group must be at most d_in", holds: |axes: &Axes| size(axes, "group") <= size(axes, "d_in") },
        ],
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
        let w = source(drawn, "w")?;
        in_form(w, HostWeight::Int4(int4_groups(w, size(axes, "group"))?), axes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, mapped, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_weight_of_codes_is_reproduced_and_larger_groups_err_more() {
        let codes = |w| mapped(&w, |at, _| if at % 4 == 0 { 7.0 } else { (at * 5 % 15) as f64 - 7.0 } / 16.0);
        assert!(error_with_weight::<Int4Group>(&[("group", 4.into())], codes) < 1e-14);
        let errors: Vec<f64> = [1, 2, 16].map(|group: i64| error_against_dense::<Int4Group>(&[("group", group.into())])).into();
        assert!(errors[0] < 1e-6 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<Int4Group>(&sizes(&[("group", 17.into())])).contains("group must be at most d_in"));
        assert!(
            axis_error::<Int4Group>(&sizes(&[("group", 8.into()), ("precision", "int8".into())])).contains("activations must be floating")
        );
    }
}
