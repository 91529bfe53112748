//! Weights on the host, in the form in which engines are to hold them.
//!
//! Whatever mathematics turns a trained weight into a compressed one (quantisation, masks, factors) runs here, once, on the host:
//! every engine packs the same bits, and a difference between engines is a difference between kernels.

use crate::dtype::{DType, Precision};
use crate::error::{Result, shape_error};
use crate::host::HostTensor;
use crate::ops::WeightForm;
use crate::palette::Palette;
use crate::quantize::{self, Int4Groups, Int8Rows};
use crate::sparse::SparseWeight;

/// Inputs that share one int4 scale unless a variant says otherwise.
pub const DEFAULT_INT4_GROUP: usize = 32;

/// A weight [outputs, inputs] ready for an engine to pack.
#[derive(Debug, Clone, PartialEq)]
pub enum HostWeight {
    /// Values already rounded to the type.
    Dense {
        /// [outputs, inputs].
        values: HostTensor,
        /// The type in which the engine holds them.
        dtype: DType,
    },
    /// int8 codes, one scale an output.
    Int8(Int8Rows),
    /// int4 codes, one scale a group of inputs.
    Int4(Int4Groups),
    /// Only the entries that a mask keeps.
    Sparse(SparseWeight),
    /// Codes into a table of levels.
    Palette(Palette),
}

impl HostWeight {
    /// A dense weight as this precision holds it.
    pub fn for_precision(values: &HostTensor, precision: Precision) -> Result<Self> {
        let &[_, _] = values.shape() else {
            return Err(shape_error("weight", format!("{:?} is not [outputs, inputs]", values.shape())));
        };
        match precision.weight {
            DType::I8 => Ok(Self::Int8(quantize::int8_rows(values)?)),
            DType::I4 => Ok(Self::Int4(quantize::int4_groups(values, DEFAULT_INT4_GROUP)?)),
            dtype => Ok(Self::Dense { values: values.rounded(dtype), dtype }),
        }
    }

    /// A dense weight as this precision holds it, with this group where the precision is int4.
    pub fn grouped(values: &HostTensor, precision: Precision, group: usize) -> Result<Self> {
        match precision.weight {
            DType::I4 => Ok(Self::Int4(quantize::int4_groups(values, group)?)),
            _ => Self::for_precision(values, precision),
        }
    }

    /// The form, for `supports` and the cost model.
    pub fn form(&self) -> WeightForm {
        match self {
            Self::Dense { dtype, .. } => WeightForm::Dense(*dtype),
            Self::Int8(_) => WeightForm::Int8PerChannel,
            Self::Int4(codes) => WeightForm::Int4Group { group: codes.group },
            Self::Sparse(sparse) => WeightForm::Sparse { dtype: sparse.dtype, structure: sparse.structure, stored: sparse.values.len() },
            Self::Palette(palette) => WeightForm::Palette { levels: palette.levels.len() },
        }
    }

    /// Checks what an engine relies on, before it packs it or asks for its extents: the fields are public.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Dense { values, .. } if values.shape().len() != 2 => {
                Err(shape_error("weight", format!("{:?} is not [outputs, inputs]", values.shape())))
            }
            Self::Dense { .. } => Ok(()),
            Self::Int8(codes) => codes.check(),
            Self::Int4(codes) => codes.check(),
            Self::Sparse(sparse) => sparse.check(),
            Self::Palette(palette) => palette.check(),
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Dense { values, .. } => values.shape()[0],
            Self::Int8(codes) => codes.outputs,
            Self::Int4(codes) => codes.outputs,
            Self::Sparse(sparse) => sparse.outputs,
            Self::Palette(palette) => palette.outputs,
        }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense { values, .. } => values.shape()[1],
            Self::Int8(codes) => codes.inputs,
            Self::Int4(codes) => codes.inputs,
            Self::Sparse(sparse) => sparse.inputs,
            Self::Palette(palette) => palette.inputs,
        }
    }

    /// The values that the codes stand for, in f64: what a perfect kernel computes with.
    pub fn dequantized(&self) -> HostTensor {
        match self {
            Self::Dense { values, .. } => values.clone(),
            Self::Int8(codes) => codes.dequantized(),
            Self::Int4(codes) => codes.dequantized(),
            Self::Sparse(sparse) => sparse.dequantized(),
            Self::Palette(palette) => palette.dequantized(),
        }
    }

    /// Bytes of the codes and scales without any packing overhead.
    pub fn ideal_bytes(&self) -> usize {
        self.form().ideal_bytes(self.outputs(), self.inputs())
    }
}

impl WeightForm {
    /// The form that [`HostWeight::for_precision`] gives.
    pub fn of(precision: Precision) -> Self {
        match precision.weight {
            DType::I8 => Self::Int8PerChannel,
            DType::I4 => Self::Int4Group { group: DEFAULT_INT4_GROUP },
            dtype => Self::Dense(dtype),
        }
    }

    /// Products that one row of activations takes: the stored entries.
    pub fn products(self, outputs: usize, inputs: usize) -> usize {
        match self {
            Self::Sparse { stored, .. } => stored,
            _ => outputs.saturating_mul(inputs),
        }
    }

    /// Bytes of the codes and scales without any packing overhead.
    pub fn ideal_bytes(self, outputs: usize, inputs: usize) -> usize {
        let elements = outputs.saturating_mul(inputs);
        match self {
            Self::Dense(dtype) => dtype.bytes(elements).unwrap_or(usize::MAX),
            Self::Int8PerChannel => elements.saturating_add(4 * outputs),
            Self::Int4Group { group } => elements.div_ceil(2).saturating_add(4 * outputs * inputs.div_ceil(group)),
            Self::Sparse { dtype, structure, stored } => {
                dtype.bytes(stored).unwrap_or(usize::MAX).saturating_add(structure.index_bytes(outputs, stored))
            }
            Self::Palette { levels } => elements.saturating_mul(Palette::bits(levels)).div_ceil(8).saturating_add(4 * (outputs + levels)),
        }
    }
}
