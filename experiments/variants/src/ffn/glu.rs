//! The gated feed-forward layer with a sigmoid gate: (sigmoid(x w1^T) * (x w3^T)) w2^T.
//!
//! Shazeer 2020, section 2 (GLU, after Dauphin et al. 2017). The original gate: smooth and bounded, at the price of an exponential a
//! hidden value.

use crossover_core::activation::Activation;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::gated::{GATED, Gated};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Glu;

impl Variant for Glu {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/glu",
        summary: "(sigmoid(x w1^T) * (x w3^T)) w2^T",
        model: Model { flops: "batch*n*d_ff*(6*d_model + 4)", ..GATED.model },
        ..GATED
    };

    type Bound<B: TransformerBackend> = Gated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Gated<B>> {
        Gated::bind(Self::DESCRIPTOR.name, operands, Activation::Sigmoid)
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
        let distance = distance_from_formula::<Glu>(|z| 1.0 / (1.0 + (-z).exp()));
        assert!(distance < 1e-12, "{distance}");
    }
}
