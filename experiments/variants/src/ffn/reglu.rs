//! The gated feed-forward layer with a ReLU gate: (relu(x w1^T) * (x w3^T)) w2^T.
//!
//! Shazeer 2020, section 2 (ReGLU). The cheapest gate, and a sparse one: about half of the hidden values are zero.

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::gated::{GATED, Gated};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Reglu;

impl Variant for Reglu {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/reglu",
        summary: "(relu(x w1^T) * (x w3^T)) w2^T",
        model: Model { flops: "batch*n*d_ff*(6*d_model + 2)", ..GATED.model },
        ..GATED
    };

    type Bound<B: TransformerBackend> = Gated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Gated<B>> {
        Gated::bind(Self::DESCRIPTOR.name, operands, Activation::Relu)
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
        let distance = distance_from_formula::<Reglu>(|z| z.max(0.0));
        assert!(distance < 1e-12, "{distance}");
    }
}
