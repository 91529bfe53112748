//! The gated feed-forward layer with a GELU gate: (gelu(x w1^T) * (x w3^T)) w2^T.
//!
//! Shazeer 2020, section 2 (GEGLU). The exact GELU (erf), of the best perplexities of that paper, at the price of an erf a hidden value.

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::gated::{GATED, Gated};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Geglu;

impl Variant for Geglu {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/geglu",
        summary: "(gelu(x w1^T) * (x w3^T)) w2^T",
        model: Model { flops: "batch*n*d_ff*(6*d_model + 5)", ..GATED.model },
        ..GATED
    };

    type Bound<B: TransformerBackend> = Gated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Gated<B>> {
        Gated::bind(Self::DESCRIPTOR.name, operands, Activation::Gelu)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::gated::tests::distance_from_formula;
    use super::*;

    /// The error function by its Maclaurin series, good to 1e-12 for |z| < 4.
    fn erf(z: f64) -> f64 {
        let mut term = z;
        let mut sum = z;
        for k in 1..120 {
            term *= -z * z / f64::from(k);
            sum += term / f64::from(2 * k + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn it_is_its_formula() {
        let distance = distance_from_formula::<Geglu>(|z| 0.5 * z * (1.0 + erf(z * std::f64::consts::FRAC_1_SQRT_2)));
        assert!(distance < 1e-10, "{distance}");
    }
}
