//! Compute types with their elements in this engine's buffers; the numbers themselves are [`crossover_core::number`]'s.

pub(crate) use crossover_core::number::{Element, Real};

use crate::buffer::NaiveBuffer;

/// A compute type with its elements in a buffer.
pub(crate) trait Held: Real {
    /// The elements of a buffer of this very type.
    fn slice_of(buffer: &mut NaiveBuffer) -> Option<&mut [Self]>;
}

macro_rules! held {
    ($float:ident, $arm:ident) => {
        impl Held for $float {
            fn slice_of(buffer: &mut NaiveBuffer) -> Option<&mut [Self]> {
                match buffer {
                    NaiveBuffer::$arm(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
held!(f32, F32);
held!(f64, F64);
