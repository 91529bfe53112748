//! The gated feed-forward layer with a SiLU gate: (silu(x w1^T) * (x w3^T)) w2^T.
//!
//! Shazeer 2020, section 2 (SwiGLU with beta = 1). The gate of most current decoders; close to GEGLU in quality, with an exponential in
//! place of an erf.

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::gated::{GATED, Gated};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Swiglu;

impl Variant for Swiglu {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/swiglu",
        summary: "(silu(x w1^T) * (x w3^T)) w2^T",
        model: Model { flops: "batch*n*d_ff*(6*d_model + 5)", ..GATED.model },
        ..GATED
    };

    type Bound<B: TransformerBackend> = Gated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Gated<B>> {
        Gated::bind(Self::DESCRIPTOR.name, operands, Activation::Silu)
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
        let distance = distance_from_formula::<Swiglu>(|z| z / (1.0 + (-z).exp()));
        assert!(distance < 1e-12, "{distance}");
    }
}
