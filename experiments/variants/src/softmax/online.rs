//! Softmax in two passes: the maximum and the sum are found together, rescaling the sum when the maximum moves.
//!
//! Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), algorithm 3. One pass over memory less than the stable
//! form, for one more exponential an element.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::reference::ExactOperation;

use super::{Rows, description};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Online;

impl Variant for Online {
    const DESCRIPTOR: Descriptor = description(
        "softmax/online",
        "two passes: running maximum with a rescaled sum, then the quotient",
        "Milakov and Gimelshein 2018, algorithm 3",
    );

    type Bound<B: TransformerBackend> = Rows;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Rows> {
        Ok(Rows { algorithm: SoftmaxAlgorithm::Online })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Softmax)
    }
}
