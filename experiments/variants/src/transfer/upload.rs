//! From the host to the device: what the inputs of a call cost that are not on the device yet. The memory for them there is taken within
//! the call, as candle takes it.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::Side;

use super::{Transfer, description};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Upload;

impl Variant for Upload {
    const DESCRIPTOR: Descriptor = description("transfer/upload", "one operand of attention brought from the host's memory to the device");

    type Bound<B: TransformerBackend> = Transfer;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Transfer> {
        Ok(Transfer(Side::Device))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}
