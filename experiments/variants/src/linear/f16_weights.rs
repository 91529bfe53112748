//! A weight held in f16; activations and sums stay as the precision says.
//!
//! Half the bytes of f32 for the weight alone: binary16 (IEEE 754-2019): 11 bits of precision, magnitudes up to 65504.
//! Where a call is bound by reading the weight, that is most of what a narrower precision gives. Traded away: one rounding of each
//! entry, and its conversion inside the product.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;
use crossover_core::weights::HostWeight;

use super::dense::Dense;
use super::layer::{self, FLOATING, Layer, WEIGHT, in_form};
use crate::descriptor::{DerivedSpec, Descriptor, Role};
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct F16Weights;

impl Variant for F16Weights {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/f16-weights",
        summary: "activation(x w^T + b) with w held in f16",
        citation: "IEEE 754-2019, binary16; Micikevicius et al. 2018, section 3",
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(|_| WeightForm::Dense(DType::F16)) }],
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
        let w = source(drawn, "w")?;
        in_form(w, HostWeight::Dense { values: w.rounded(DType::F16), dtype: DType::F16 }, axes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_weight_that_fits_is_reproduced_and_any_other_is_rounded_once() {
        assert!(error_with_weight::<F16Weights>(&[], |w| w.rounded(DType::F16)) < 1e-14);
        let error = error_against_dense::<F16Weights>(&[("activation", "none".into())]);
        assert!((1e-5..5e-4).contains(&error), "{error}");
    }

    #[test]
    fn integer_activations_are_refused() {
        assert!(axis_error::<F16Weights>(&sizes(&[("precision", "int8".into())])).contains("a floating weight and activation type"));
    }
}
