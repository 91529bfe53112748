//! Weights on the host, in the form in which engines are to hold them.
//!
//! Whatever mathematics turns a trained weight into a compressed one (quantisation, masks, factors) runs here, once, on the host:
//! every engine packs the same bits, and a difference between engines is a difference between kernels.

use crate::dtype::{DType, Precision};
use crate::error::{Result, shape_error};
use crate::host::HostTensor;
use crate::ops::WeightForm;
use crate::quantize::{self, Int4Groups, Int8Rows};

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

    /// The form, for `supports` and the cost model.
    pub fn form(&self) -> WeightForm {
        match self {
            Self::Dense { dtype, .. } => WeightForm::Dense(*dtype),
            Self::Int8(_) => WeightForm::Int8PerChannel,
            Self::Int4(codes) => WeightForm::Int4Group { group: codes.group },
        }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Dense { values, .. } => values.shape()[0],
            Self::Int8(codes) => codes.outputs,
            Self::Int4(codes) => codes.outputs,
        }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense { values, .. } => values.shape()[1],
            Self::Int8(codes) => codes.inputs,
            Self::Int4(codes) => codes.inputs,
        }
    }

    /// The values that the codes stand for, in f64: what a perfect kernel computes with.
    pub fn dequantized(&self) -> HostTensor {
        match self {
            Self::Dense { values, .. } => values.clone(),
            Self::Int8(codes) => codes.dequantized(),
            Self::Int4(codes) => codes.dequantized(),
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

    /// Bytes of the codes and scales without any packing overhead.
    pub fn ideal_bytes(self, outputs: usize, inputs: usize) -> usize {
        let elements = outputs.saturating_mul(inputs);
        match self {
            Self::Dense(dtype) => dtype.bytes(elements).unwrap_or(usize::MAX),
            Self::Int8PerChannel => elements.saturating_add(4 * outputs),
            Self::Int4Group { group } => elements.div_ceil(2).saturating_add(4 * outputs * inputs.div_ceil(group)),
        }
    }
}
