//! Softmax by its definition, without shifting by the maximum.
//!
//! exp overflows above 88.7 where it is computed in f32 (bf16 and f16 cells included) and above 709 in f64, and the row becomes NaN: kept to
//! show that (`crossover run softmax-overflow`), and what the shift costs.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::reference::ExactOperation;

use super::{Rows, description};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Naive;

impl Variant for Naive {
    const DESCRIPTOR: Descriptor =
        description("softmax/naive", "exp(x) / sum exp(x), unshifted: overflows for large logits", "the definition");

    type Bound<B: TransformerBackend> = Rows;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Rows> {
        Ok(Rows { algorithm: SoftmaxAlgorithm::Naive })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Softmax)
    }
}
