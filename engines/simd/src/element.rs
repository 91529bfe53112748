//! Compute types with their elements in this engine's buffers; the numbers themselves are [`crossover_core::number`]'s.

use crossover_core::dtype::DType;
pub(crate) use crossover_core::number::{Element, Real};

use crate::buffer::SimdBuffer;

/// A compute type with its elements in a buffer.
pub(crate) trait Held: Real {
    /// This type.
    const DTYPE: DType;

    /// The elements of a buffer of this very type.
    fn slice(buffer: &SimdBuffer) -> Option<&[Self]>;
    /// Likewise, to write.
    fn slice_mut(buffer: &mut SimdBuffer) -> Option<&mut [Self]>;
}

macro_rules! held {
    ($float:ident, $arm:ident) => {
        impl Held for $float {
            const DTYPE: DType = DType::$arm;

            fn slice(buffer: &SimdBuffer) -> Option<&[Self]> {
                match buffer {
                    SimdBuffer::$arm(values) => Some(values),
                    _ => None,
                }
            }
            fn slice_mut(buffer: &mut SimdBuffer) -> Option<&mut [Self]> {
                match buffer {
                    SimdBuffer::$arm(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
held!(f32, F32);
held!(f64, F64);
