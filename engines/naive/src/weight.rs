//! Prepared weights: dense values in their own type, int8 codes, int4 codes two to a byte, stored blocks, or codes of a palette. No
//! packing beyond that: rows are outputs, in order.

use crossover_core::backend::PreparedWeight;
use crossover_core::dtype::{DType, Precision};
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::tensor::Buffer;
use crossover_core::weights::HostWeight;

use crate::buffer::{NaiveBuffer, reserved};
use crate::element::Real;
use crate::stored::{Coded, Stored, expect_type};

/// A weight [outputs, inputs] as this engine holds it.
#[derive(Debug)]
pub struct NaiveWeight {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) codes: Codes,
}

/// Row-major values or codes.
#[derive(Debug)]
pub(crate) enum Codes {
    Dense(NaiveBuffer),
    Int8 { codes: Vec<i8>, scales: Vec<f32> },
    Int4 { packed: Vec<u8>, scales: Vec<f32>, group: usize },
    Sparse(Stored),
    Palette(Coded),
}

impl PreparedWeight for NaiveWeight {
    fn bytes(&self) -> usize {
        match &self.codes {
            Codes::Dense(values) => values.dtype().bytes(values.len()).unwrap_or(usize::MAX),
            Codes::Int8 { codes, scales } => codes.len() + size_of_val(scales.as_slice()),
            Codes::Int4 { packed, scales, .. } => packed.len() + size_of_val(scales.as_slice()),
            Codes::Sparse(stored) => stored.bytes(),
            Codes::Palette(coded) => coded.bytes(),
        }
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }
}

impl NaiveWeight {
    /// The form, for `supports`.
    pub(crate) fn form(&self) -> WeightForm {
        match &self.codes {
            Codes::Dense(values) => WeightForm::Dense(values.dtype()),
            Codes::Int8 { .. } => WeightForm::Int8PerChannel,
            Codes::Int4 { group, .. } => WeightForm::Int4Group { group: *group },
            Codes::Sparse(Stored { structure, values, .. }) => {
                WeightForm::Sparse { dtype: values.dtype(), structure: *structure, stored: values.len() }
            }
            Codes::Palette(coded) => WeightForm::Palette { levels: coded.levels.len() },
        }
    }

    /// Copies a host weight. Its fields are public, so they are checked here once and relied on ever after.
    pub(crate) fn prepare(weight: &HostWeight, precision: Precision) -> Result<Self> {
        weight.check()?;
        let codes = match weight {
            HostWeight::Dense { values, dtype } => {
                expect_type(*dtype, precision)?;
                Codes::Dense(NaiveBuffer::rounded(*dtype, values.values())?)
            }
            HostWeight::Int8(int8) => Codes::Int8 { codes: copied(DType::I8, &int8.codes)?, scales: copied(DType::F32, &int8.scales)? },
            HostWeight::Int4(int4) => {
                Codes::Int4 { packed: pack(&int4.codes)?, scales: copied(DType::F32, &int4.scales)?, group: int4.group }
            }
            HostWeight::Sparse(sparse) => Codes::Sparse(Stored::prepare(sparse, precision)?),
            HostWeight::Palette(palette) => Codes::Palette(Coded::prepare(palette)?),
        };
        Ok(Self { outputs: weight.outputs(), inputs: weight.inputs(), codes })
    }
}

pub(crate) fn copied<T: Copy>(dtype: DType, values: &[T]) -> Result<Vec<T>> {
    let mut copy = reserved(dtype, values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// Two codes to a byte, the first in the lower half; rows follow each other without padding.
fn pack(codes: &[i8]) -> Result<Vec<u8>> {
    let mut packed = reserved(DType::I4, codes.len().div_ceil(2))?;
    packed.extend(codes.chunks(2).map(|pair| {
        let high = pair.get(1).copied().unwrap_or(0);
        (pair[0] as u8 & 0x0f) | ((high as u8) << 4)
    }));
    Ok(packed)
}

/// The code at a position of the unpacked order.
pub(crate) fn unpack(packed: &[u8], at: usize) -> i8 {
    let byte = packed[at / 2] as i8;
    // Shifting an i8 to the right copies its sign.
    if at.is_multiple_of(2) { (byte << 4) >> 4 } else { byte >> 4 }
}

/// What a code stands for, rounded to the compute type.
pub(crate) fn dequantized<R: Real>(code: i8, scale: f32) -> R {
    R::from_f32(f32::from(code)) * R::from_f32(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int4_codes_come_back_from_their_halves() {
        let codes: Vec<i8> = (-7..=7).collect();
        let packed = pack(&codes).unwrap();
        assert_eq!(packed.len(), 8);
        assert_eq!((0..15).map(|at| unpack(&packed, at)).collect::<Vec<_>>(), codes);
    }
}
