//! Buffers: one vector of one element type, and the few typed loops through which everything else reads and writes them.

use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::tensor::Buffer;
use half::{bf16, f16};

use crate::element::{Element, Real};

/// A vector of elements in main memory.
#[derive(Debug, Clone, PartialEq)]
pub enum NaiveBuffer {
    /// IEEE doubles.
    F64(Vec<f64>),
    /// IEEE singles.
    F32(Vec<f32>),
    /// Upper halves of singles.
    Bf16(Vec<bf16>),
    /// IEEE halves.
    F16(Vec<f16>),
    /// Indices.
    I32(Vec<i32>),
}

/// Runs `$body` with `$slice` bound to the vector inside a buffer: the place where types are told apart, once for a whole loop.
macro_rules! typed {
    ($buffer:expr, $slice:ident => $body:expr) => {
        match $buffer {
            $crate::buffer::NaiveBuffer::F64($slice) => $body,
            $crate::buffer::NaiveBuffer::F32($slice) => $body,
            $crate::buffer::NaiveBuffer::Bf16($slice) => $body,
            $crate::buffer::NaiveBuffer::F16($slice) => $body,
            $crate::buffer::NaiveBuffer::I32($slice) => $body,
        }
    };
}
pub(crate) use typed;

impl Buffer for NaiveBuffer {
    fn dtype(&self) -> DType {
        match self {
            Self::F64(_) => DType::F64,
            Self::F32(_) => DType::F32,
            Self::Bf16(_) => DType::Bf16,
            Self::F16(_) => DType::F16,
            Self::I32(_) => DType::I32,
        }
    }

    fn len(&self) -> usize {
        typed!(self, values => values.len())
    }
}

impl NaiveBuffer {
    /// Zeros. Their memory is touched here, so that no page fault falls into a timed call.
    pub(crate) fn zeros(dtype: DType, elements: usize) -> Result<Self> {
        match dtype {
            DType::F64 => zeros(dtype, elements).map(Self::F64),
            DType::F32 => zeros(dtype, elements).map(Self::F32),
            DType::Bf16 => zeros(dtype, elements).map(Self::Bf16),
            DType::F16 => zeros(dtype, elements).map(Self::F16),
            DType::I32 => zeros(dtype, elements).map(Self::I32),
            DType::I8 | DType::I4 => {
                let reason = "integer codes live in prepared weights only; tensors are f64, f32, bf16, f16 or i32";
                Err(EngineError::Allocation { elements, dtype, reason: reason.into() })
            }
        }
    }

    /// These values, each rounded once.
    pub(crate) fn rounded(dtype: DType, values: &[f64]) -> Result<Self> {
        let mut buffer = Self::zeros(dtype, values.len())?;
        buffer.store(0, 1, values);
        Ok(buffer)
    }

    /// Fills `into` from every `stride`-th element.
    pub(crate) fn load<R: Real>(&self, start: usize, stride: usize, into: &mut [R]) {
        typed!(self, values => load(values, start, stride, into));
    }

    /// Writes `from` to every `stride`-th element.
    pub(crate) fn store<R: Real>(&mut self, start: usize, stride: usize, from: &[R]) {
        typed!(self, values => store(values, start, stride, from));
    }

    /// One element, exactly: for the rare places that do not go by rows.
    pub(crate) fn get(&self, at: usize) -> f64 {
        typed!(self, values => values[at].load())
    }

    /// Rounds one value into its place.
    pub(crate) fn set<R: Real>(&mut self, at: usize, value: R) {
        typed!(self, values => values[at] = Element::store(value));
    }
}

fn zeros<T: Copy + Default>(dtype: DType, elements: usize) -> Result<Vec<T>> {
    let mut values = reserved(dtype, elements)?;
    values.resize(elements, T::default());
    Ok(values)
}

/// An empty vector with room, or a typed error: asking for too much must not abort the process.
pub(crate) fn reserved<T>(dtype: DType, elements: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(elements) {
        Ok(()) => Ok(values),
        Err(error) => Err(EngineError::Allocation { elements, dtype, reason: error.to_string() }),
    }
}

fn load<T: Element, R: Real>(values: &[T], start: usize, stride: usize, into: &mut [R]) {
    if stride == 1 {
        for (target, value) in into.iter_mut().zip(&values[start..]) {
            *target = value.load();
        }
    } else {
        for (at, target) in into.iter_mut().enumerate() {
            *target = values[start + at * stride].load();
        }
    }
}

fn store<T: Element, R: Real>(values: &mut [T], start: usize, stride: usize, from: &[R]) {
    if stride == 1 {
        for (target, &value) in values[start..].iter_mut().zip(from) {
            *target = T::store(value);
        }
    } else {
        for (at, &value) in from.iter().enumerate() {
            values[start + at * stride] = T::store(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storing_rounds_once_from_either_compute_type() {
        // Just above a tie of bf16 by less than f32 can tell: by way of f32 this would fall to 1.
        let value = 1.0 + 2f64.powi(-8) + 2f64.powi(-50);
        for dtype in [DType::F64, DType::F32, DType::Bf16, DType::F16] {
            let buffer = NaiveBuffer::rounded(dtype, &[value, -value, f64::NAN]).unwrap();
            assert_eq!(buffer.get(0), dtype.round(value), "{dtype}");
            assert_eq!(buffer.get(1), dtype.round(-value), "{dtype}");
            assert!(buffer.get(2).is_nan(), "{dtype}");
            let mut from_f32 = NaiveBuffer::zeros(dtype, 1).unwrap();
            from_f32.set(0, 1.003_907_f32);
            assert_eq!(from_f32.get(0), dtype.round(f64::from(1.003_907_f32)), "{dtype}");
        }
        assert_eq!(NaiveBuffer::rounded(DType::I32, &[2.5, -1e12]).unwrap(), NaiveBuffer::I32(vec![2, i32::MIN]));
    }

    #[test]
    fn too_much_is_an_error_and_not_an_abort() {
        for elements in [usize::MAX, isize::MAX as usize / 8, 1 << 60] {
            assert!(matches!(NaiveBuffer::zeros(DType::F64, elements), Err(EngineError::Allocation { .. })));
        }
        assert!(NaiveBuffer::zeros(DType::I4, 1).is_err());
    }
}
