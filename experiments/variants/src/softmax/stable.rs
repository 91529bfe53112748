//! Softmax in three passes: maximum, sum of shifted exponentials, quotient. Safe for all finite logits.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::reference::ExactOperation;

use super::{Rows, description};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Stable;

impl Variant for Stable {
    const DESCRIPTOR: Descriptor =
        description("softmax/stable", "three passes: maximum, shifted sum, quotient", "the textbook remedy against overflow");

    type Bound<B: TransformerBackend> = Rows;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Rows> {
        Ok(Rows { algorithm: SoftmaxAlgorithm::Stable })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Softmax)
    }
}
