//! The gated feed-forward layer with no activation at all: ((x w1^T) * (x w3^T)) w2^T.
//!
//! Shazeer 2020, section 2 (Bilinear). The product alone is the non-linearity. What it gives up is boundedness: the output grows with the
//! square of the input.

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::gated::{GATED, Gated};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Bilinear;

impl Variant for Bilinear {
    const DESCRIPTOR: Descriptor = Descriptor { name: "ffn/bilinear", summary: "((x w1^T) * (x w3^T)) w2^T", ..GATED };

    type Bound<B: TransformerBackend> = Gated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Gated<B>> {
        Gated::bind(Self::DESCRIPTOR.name, operands, Activation::None)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::gated::tests::distance_from_formula;
    use super::*;

    #[test]
    fn it_is_its_formula() {
        let distance = distance_from_formula::<Bilinear>(|z| z);
        assert!(distance < 1e-12, "{distance}");
    }
}
