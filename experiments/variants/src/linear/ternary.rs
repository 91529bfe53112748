//! A weight of -1, 0 and 1 with one scale a row.
//!
//! Li et al. 2016, section 2.2: entries below 0.7 times their row's mean magnitude become zero, the scale is the mean magnitude of the
//! rest. Two bits an entry, and products without multiplications. Traded away: accuracy; without retraining the weight is off by 0.44 of
//! its norm.

use crossover_compression::ternary::ternary;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use super::dense::Dense;
use super::layer::{self, FLOATING, Layer, WEIGHT, failed};
use crate::descriptor::{DerivedSpec, Descriptor, Role};
use crate::resolve::precision;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Ternary;

impl Variant for Ternary {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/ternary",
        summary: "activation(x w^T + b) with -1, 0 or 1 times a scale a row for w",
        citation: "Li et al. 2016, section 2.2",
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(|_| WeightForm::Palette { levels: 3 }) }],
        conditions: &[FLOATING],
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
        let coded = ternary(source(drawn, "w")?, precision(axes).weight).map_err(failed)?;
        Ok(Derived::default().compressed("w", HostWeight::Palette(coded.palette), coded.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, mapped, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_ternary_weight_is_reproduced_and_a_normal_one_is_far_off() {
        let signs = |w| mapped(&w, |at, value| if at % 3 == 0 { 0.0 } else { (0.25 * (1 + at / 16 % 3) as f64).copysign(value) });
        assert!(error_with_weight::<Ternary>(&[], signs) < 1e-14);
        let error = error_against_dense::<Ternary>(&[("activation", "none".into())]);
        assert!((0.2..0.6).contains(&error), "{error}");
    }

    #[test]
    fn integer_activations_are_refused() {
        assert!(axis_error::<Ternary>(&sizes(&[("precision", "int8".into())])).contains("a floating weight and activation type"));
    }
}
