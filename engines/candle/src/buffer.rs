//! Buffers: a flat candle tensor of one type.
//!
//! An operation that writes a whole buffer swaps the tensor for its result, which costs nothing and keeps the autograd graph; one that
//! writes a part of it goes through `store.rs`. No two buffers ever share a storage, so writing in place is seen by its owner alone.

use candle_core::{DType as Candle, Device, Tensor};
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::tensor::Buffer;
use half::{bf16, f16};

use crate::backend::NAME;
use crate::error::During;

/// Elements on candle's device.
#[derive(Debug)]
pub struct CandleBuffer {
    /// One-dimensional, dense, from the start of its storage.
    pub(crate) tensor: Tensor,
    dtype: DType,
}

impl Buffer for CandleBuffer {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn len(&self) -> usize {
        self.tensor.elem_count()
    }
}

impl CandleBuffer {
    /// A buffer of a flat tensor that nobody else holds (or of a variable).
    pub(crate) fn of(tensor: Tensor, dtype: DType) -> Self {
        Self { tensor, dtype }
    }

    /// Zeros.
    pub(crate) fn zeros(dtype: DType, elements: usize, device: &Device) -> Result<Self> {
        let tensor = match dtype {
            DType::F64 => from_vec(filled(dtype, elements, 0f64)?, device),
            DType::F32 => from_vec(filled(dtype, elements, 0f32)?, device),
            DType::Bf16 => from_vec(filled(dtype, elements, bf16::ZERO)?, device),
            DType::F16 => from_vec(filled(dtype, elements, f16::ZERO)?, device),
            DType::I32 => from_vec(filled(dtype, elements, 0i32)?, device),
            DType::I8 | DType::I4 => return Err(no_such_type(dtype)),
        }?;
        Ok(Self { tensor, dtype })
    }

    /// Values, each rounded once.
    pub(crate) fn rounded(dtype: DType, values: &[f64], device: &Device) -> Result<Self> {
        let mut rounded = reserved(dtype, values.len())?;
        rounded.extend(values.iter().map(|&value| dtype.round(value)));
        let tensor = match dtype {
            DType::F64 => from_vec(rounded, device),
            DType::F32 => from_vec(converted(dtype, &rounded, |value| value as f32)?, device),
            // Already on the grid of the type, so that the way through f32 is exact.
            DType::Bf16 => from_vec(converted(dtype, &rounded, |value| bf16::from_f32(value as f32))?, device),
            DType::F16 => from_vec(converted(dtype, &rounded, |value| f16::from_f32(value as f32))?, device),
            DType::I32 => from_vec(converted(dtype, &rounded, |value| value as i32)?, device),
            DType::I8 | DType::I4 => return Err(no_such_type(dtype)),
        }?;
        Ok(Self { tensor, dtype })
    }
}

/// candle's name for a type.
pub(crate) fn candle_type(dtype: DType) -> Result<Candle> {
    match dtype {
        DType::F64 => Ok(Candle::F64),
        DType::F32 => Ok(Candle::F32),
        DType::Bf16 => Ok(Candle::BF16),
        DType::F16 => Ok(Candle::F16),
        DType::I32 => Ok(Candle::I32),
        DType::I8 | DType::I4 => Err(no_such_type(dtype)),
    }
}

fn no_such_type(dtype: DType) -> EngineError {
    let reason = format!("candle has no tensors of {dtype}; such weights are dequantised when they are prepared");
    EngineError::Unsupported { engine: NAME, operation: "tensor".into(), reason }
}

fn from_vec<T: candle_core::WithDType>(values: Vec<T>, device: &Device) -> Result<Tensor> {
    let count = values.len();
    Tensor::from_vec(values, count, device).during("tensor")
}

/// candle would end the process where memory is short; asking first gives an answer instead.
fn reserved<T>(dtype: DType, elements: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(elements).map_err(|error| EngineError::Allocation { elements, dtype, reason: error.to_string() })?;
    Ok(values)
}

fn filled<T: Clone>(dtype: DType, elements: usize, value: T) -> Result<Vec<T>> {
    let mut values = reserved(dtype, elements)?;
    values.resize(elements, value);
    Ok(values)
}

fn converted<T>(dtype: DType, values: &[f64], convert: impl Fn(f64) -> T) -> Result<Vec<T>> {
    let mut all = reserved(dtype, values.len())?;
    all.extend(values.iter().map(|&value| convert(value)));
    Ok(all)
}
