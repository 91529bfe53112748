//! A weight held in bf16; activations and sums stay as the precision says.
//!
//! Half the bytes of f32 for the weight alone: bfloat16 (Kalamkar et al. 2019): 8 bits of precision with the range of f32.
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
pub struct Bf16Weights;

impl Variant for Bf16Weights {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/bf16-weights",
        summary: "activation(x w^T + b) with w held in bf16",
        citation: "Kalamkar et al. 2019",
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(|_| WeightForm::Dense(DType::Bf16)) }],
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
        in_form(w, HostWeight::Dense { values: w.rounded(DType::Bf16), dtype: DType::Bf16 }, axes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, error_with_weight, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn a_weight_that_fits_is_reproduced_and_any_other_is_rounded_once() {
        assert!(error_with_weight::<Bf16Weights>(&[], |w| w.rounded(DType::Bf16)) < 1e-14);
        let error = error_against_dense::<Bf16Weights>(&[("activation", "none".into())]);
        assert!((1e-4..4e-3).contains(&error), "{error}");
    }

    #[test]
    fn integer_activations_are_refused() {
        assert!(axis_error::<Bf16Weights>(&sizes(&[("precision", "int8".into())])).contains("a floating weight and activation type"));
    }
}
