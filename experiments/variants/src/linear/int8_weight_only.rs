//! A weight in int8 codes with one scale a row; activations stay floating.
//!
//! Dettmers et al. 2022, section 2.1, with row-wise scales for the weight alone: symmetric codes, round to nearest, no calibration. A
//! quarter of the bytes of f32, which is what counts where a call reads the weight for few rows. Traded away: up to half a step of each
//! entry, and the decoding inside the product. The form holds whatever the precision's own weight type is; precision `int8-weight` of the
//! dense layer is the same for f32 activations, and precision `int8` quantises the activations as well.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::quantize::int8_rows;
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use super::dense::Dense;
use super::layer::{self, FLOATING_ACTIVATIONS, Layer, WEIGHT, in_form};
use crate::descriptor::{DerivedSpec, Descriptor, Role};
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct Int8WeightOnly;

impl Variant for Int8WeightOnly {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/int8-weight-only",
        summary: "activation(x w^T + b) with int8 codes for w, one scale a row",
        citation: "Dettmers et al. 2022, section 2.1",
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(|_| WeightForm::Int8PerChannel) }],
        conditions: &[FLOATING_ACTIVATIONS],
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
        in_form(w, HostWeight::Int8(int8_rows(w)?), axes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, mapped, sizes};
    use super::*;
    use crate::testing::axis_error;

    /// Codes times a scale that is a power of two, with the largest code in every row, are their own quantisation.
    #[test]
    fn a_weight_of_codes_is_reproduced_and_any_other_nearly() {
        let codes = |w| mapped(&w, |at, _| if at % 16 == 0 { 127.0 } else { (at * 37 % 255) as f64 - 127.0 } / 1024.0);
        assert!(error_with_weight::<Int8WeightOnly>(&[], codes) < 1e-14);
        let error = error_against_dense::<Int8WeightOnly>(&[]);
        assert!((1e-4..0.02).contains(&error), "{error}");
    }

    #[test]
    fn integer_activations_are_refused() {
        assert!(axis_error::<Int8WeightOnly>(&sizes(&[("precision", "int8".into())])).contains("activations must be floating"));
    }
}
