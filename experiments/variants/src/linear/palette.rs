//! A weight of codes into a table of `levels` values fitted to it by k-means.
//!
//! Han et al. 2016, section 3, without the fine-tuning of the table: log2(levels) bits an entry, and the levels lie where the entries
//! are, unlike the uniform grid of integer codes. Traded away: accuracy, and a look-up for each entry that no dot-product instruction
//! takes over.

use crossover_compression::palette::palette;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use super::dense::Dense;
use super::layer::{self, FLOATING, Layer, WEIGHT, failed};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Role};
use crate::resolve::{precision, size};
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct PaletteLayer;

impl Variant for PaletteLayer {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/palette",
        summary: "activation(x w^T + b) with codes for w into a table of k-means levels",
        citation: "Han et al. 2016, section 3",
        parameters: &[AxisSpec {
            name: "levels",
            doc: "entries of the table",
            kind: AxisKind::Int { min: 2, max: 256 },
            default: AxisDefault::Int(16),
        }],
        derived: &[DerivedSpec {
            name: "w",
            role: Role::Weight,
            shape: WEIGHT,
            form: Some(|axes| WeightForm::Palette { levels: size(axes, "levels") }),
        }],
        conditions: &[
            FLOATING,
            Condition {
                text: "levels must be at most the number of entries of w",
                holds: |axes: &Axes| size(axes, "levels") <= size(axes, "d_in").saturating_mul(size(axes, "d_out")),
            },
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
        let coded = palette(source(drawn, "w")?, size(axes, "levels"), precision(axes).weight).map_err(failed)?;
        Ok(Derived::default().compressed("w", HostWeight::Palette(coded.palette), coded.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, mapped, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn few_distinct_values_are_reproduced_and_more_levels_err_less() {
        let few = |w| mapped(&w, |at, _| [-0.5, -0.125, 0.25, 0.75][at * 7 % 4]);
        assert!(error_with_weight::<PaletteLayer>(&[("levels", 4.into())], few) < 1e-14);
        let errors: Vec<f64> =
            [256, 64, 16, 4, 2].map(|levels: i64| error_against_dense::<PaletteLayer>(&[("levels", levels.into())])).into();
        assert!(errors[0] < 0.01 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<PaletteLayer>(&sizes(&[("levels", 1.into())])).contains("must be a whole number in 2..=256"));
        let tiny = [("levels", 16.into()), ("d_in", 2.into()), ("d_out", 2.into())];
        assert!(axis_error::<PaletteLayer>(&sizes(&tiny)).contains("at most the number of entries"));
    }
}
