//! From the device to the host: what a result costs that is needed there. The memory for it on the host is taken within the call, as candle
//! takes it.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::Side;

use super::{Transfer, description};
use crate::descriptor::Descriptor;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Download;

impl Variant for Download {
    const DESCRIPTOR: Descriptor = description("transfer/download", "one result of attention brought from the device to the host's memory");

    type Bound<B: TransformerBackend> = Transfer;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Transfer> {
        Ok(Transfer(Side::Host))
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}
