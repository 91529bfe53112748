//! Buffers: aligned numbers of one element type, and the typed loops of operations that are not vectorised.

use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::tensor::Buffer;
use half::{bf16, f16};

use crate::aligned::Aligned;
use crate::element::{Element, Held, Real};
use crate::pool::Shared;

/// Elements in main memory.
#[derive(Debug, Clone)]
pub enum SimdBuffer {
    /// IEEE doubles.
    F64(Aligned<f64>),
    /// IEEE singles.
    F32(Aligned<f32>),
    /// Upper halves of singles.
    Bf16(Aligned<bf16>),
    /// IEEE halves.
    F16(Aligned<f16>),
    /// Indices.
    I32(Aligned<i32>),
}

/// Runs `$body` with `$slice` bound to the elements inside a buffer: types are told apart once for a whole loop.
macro_rules! typed {
    ($buffer:expr, $slice:ident => $body:expr) => {
        match $buffer {
            $crate::buffer::SimdBuffer::F64($slice) => $body,
            $crate::buffer::SimdBuffer::F32($slice) => $body,
            $crate::buffer::SimdBuffer::Bf16($slice) => $body,
            $crate::buffer::SimdBuffer::F16($slice) => $body,
            $crate::buffer::SimdBuffer::I32($slice) => $body,
        }
    };
}

impl Buffer for SimdBuffer {
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

impl SimdBuffer {
    /// Zeros, touched.
    pub(crate) fn zeros(dtype: DType, elements: usize) -> Result<Self> {
        match dtype {
            DType::F64 => Aligned::zeros(dtype, elements).map(Self::F64),
            DType::F32 => Aligned::zeros(dtype, elements).map(Self::F32),
            DType::Bf16 => Aligned::zeros(dtype, elements).map(Self::Bf16),
            DType::F16 => Aligned::zeros(dtype, elements).map(Self::F16),
            DType::I32 => Aligned::zeros(dtype, elements).map(Self::I32),
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
}

/// The addresses of an output that threads write disjoint elements of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SharedBuffer {
    F64(Shared<f64>),
    F32(Shared<f32>),
    Bf16(Shared<bf16>),
    F16(Shared<f16>),
    I32(Shared<i32>),
}

impl SharedBuffer {
    pub(crate) fn new(buffer: &mut SimdBuffer) -> Self {
        match buffer {
            SimdBuffer::F64(values) => Self::F64(Shared::new(values)),
            SimdBuffer::F32(values) => Self::F32(Shared::new(values)),
            SimdBuffer::Bf16(values) => Self::Bf16(Shared::new(values)),
            SimdBuffer::F16(values) => Self::F16(Shared::new(values)),
            SimdBuffer::I32(values) => Self::I32(Shared::new(values)),
        }
    }

    /// Of elements that are only read.
    pub(crate) fn reading(buffer: &SimdBuffer) -> Self {
        match buffer {
            SimdBuffer::F64(values) => Self::F64(Shared::reading(values)),
            SimdBuffer::F32(values) => Self::F32(Shared::reading(values)),
            SimdBuffer::Bf16(values) => Self::Bf16(Shared::reading(values)),
            SimdBuffer::F16(values) => Self::F16(Shared::reading(values)),
            SimdBuffer::I32(values) => Self::I32(Shared::reading(values)),
        }
    }

    /// Where the elements begin, and the bytes of one: what asking for rows needs.
    pub(crate) fn place(self) -> (*const u8, usize) {
        match self {
            Self::F64(values) => (values.pointer().cast_const().cast(), 8),
            Self::F32(values) => (values.pointer().cast_const().cast(), 4),
            Self::Bf16(values) => (values.pointer().cast_const().cast(), 2),
            Self::F16(values) => (values.pointer().cast_const().cast(), 2),
            Self::I32(values) => (values.pointer().cast_const().cast(), 4),
        }
    }

    /// The address, if the elements are of this very type.
    pub(crate) fn typed<R: Held>(self) -> Option<Shared<R>> {
        match (self, R::DTYPE) {
            (Self::F64(values), DType::F64) => Some(values.cast()),
            (Self::F32(values), DType::F32) => Some(values.cast()),
            _ => None,
        }
    }

    /// Fills `into` from every `stride`-th element.
    ///
    /// # Safety
    /// These elements must be inside the buffer, and nobody may write them meanwhile.
    pub(crate) unsafe fn load<R: Real>(&self, start: usize, stride: usize, into: &mut [R]) {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            match self {
                Self::F64(values) => read(*values, start, stride, into),
                Self::F32(values) => read(*values, start, stride, into),
                Self::Bf16(values) => read(*values, start, stride, into),
                Self::F16(values) => read(*values, start, stride, into),
                Self::I32(values) => read(*values, start, stride, into),
            }
        }
    }

    /// Writes `from` to every `stride`-th element.
    ///
    /// # Safety
    /// These elements must be inside the buffer, and nobody else may touch them meanwhile.
    pub(crate) unsafe fn store<R: Real>(&self, start: usize, stride: usize, from: &[R]) {
        // SAFETY: the caller's promises are handed on.
        unsafe {
            match self {
                Self::F64(values) => write(*values, start, stride, from),
                Self::F32(values) => write(*values, start, stride, from),
                Self::Bf16(values) => write(*values, start, stride, from),
                Self::F16(values) => write(*values, start, stride, from),
                Self::I32(values) => write(*values, start, stride, from),
            }
        }
    }
}

unsafe fn read<T: Element, R: Real>(values: Shared<T>, start: usize, stride: usize, into: &mut [R]) {
    let first = values.pointer().wrapping_add(start);
    // SAFETY: inside the buffer and written by nobody, by the caller's promise.
    let element = |at: usize| unsafe { (*first.wrapping_add(at)).load() };
    match (into, stride) {
        ([], _) => {}
        // One element for a whole row, as where a row's maximum is taken off; and neighbours, of another type: the compiler has vectors for both.
        (into, 0) => into.fill(element(0)),
        (into, 1) => into.iter_mut().enumerate().for_each(|(at, value)| *value = element(at)),
        (into, stride) => into.iter_mut().enumerate().for_each(|(at, value)| *value = element(at * stride)),
    }
}

unsafe fn write<T: Element, R: Real>(values: Shared<T>, start: usize, stride: usize, from: &[R]) {
    let first = values.pointer().wrapping_add(start);
    for (at, &value) in from.iter().enumerate() {
        // SAFETY: inside the buffer and nobody else's, by the caller's promise.
        unsafe { *first.wrapping_add(at * stride) = T::store(value) };
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
