//! Matrices of f32, bf16 or f16 in memory: operands may stand in the storage type or in the compute type, each for itself.

use half::{bf16, f16};

use crate::buffer::SimdBuffer;
use crate::vector::Vector;

/// The floating types whose compute type is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    Bf16,
    F16,
}

/// Element (i, j) stands `i row + j column` elements behind `pointer`. Inputs are never written through it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) kind: Kind,
    pub(crate) pointer: *mut u8,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Where the elements of a buffer stand, and their type; nothing for those that f32 cannot hold.
    pub(crate) fn of(buffer: &SimdBuffer) -> Option<(Self, *mut u8)> {
        match buffer {
            SimdBuffer::F32(values) => Some((Self::F32, values.as_ptr().cast_mut().cast())),
            SimdBuffer::Bf16(values) => Some((Self::Bf16, values.as_ptr().cast_mut().cast())),
            SimdBuffer::F16(values) => Some((Self::F16, values.as_ptr().cast_mut().cast())),
            SimdBuffer::F64(_) | SimdBuffer::I32(_) => None,
        }
    }

    /// Likewise, to write.
    pub(crate) fn of_mut(buffer: &mut SimdBuffer) -> Option<(Self, *mut u8)> {
        match buffer {
            SimdBuffer::F32(values) => Some((Self::F32, values.as_mut_ptr().cast())),
            SimdBuffer::Bf16(values) => Some((Self::Bf16, values.as_mut_ptr().cast())),
            SimdBuffer::F16(values) => Some((Self::F16, values.as_mut_ptr().cast())),
            SimdBuffer::F64(_) | SimdBuffer::I32(_) => None,
        }
    }
}

// SAFETY: an address and sizes only; who reads or writes through it says why that is right.
unsafe impl Send for Matrix {}
// SAFETY: likewise.
unsafe impl Sync for Matrix {}

impl Matrix {
    /// In a buffer whose elements [`Kind::of`] has found.
    pub(crate) fn at((kind, pointer): (Kind, *mut u8), start: usize, [row, column]: [usize; 2]) -> Self {
        Self { kind, pointer: pointer.wrapping_add(start * kind.bytes()), row, column }
    }

    /// The part from this row and column on.
    #[inline(always)]
    pub(crate) fn from(&self, row: usize, column: usize) -> Self {
        Self { pointer: self.pointer.wrapping_add((row * self.row + column * self.column) * self.kind.bytes()), ..*self }
    }

    /// So many elements further on.
    pub(crate) fn moved(&self, elements: usize) -> Self {
        Self { pointer: self.pointer.wrapping_add(elements * self.kind.bytes()), ..*self }
    }

    /// Rows for columns.
    pub(crate) fn turned(&self) -> Self {
        Self { row: self.column, column: self.row, ..*self }
    }

    /// One element.
    ///
    /// # Safety
    /// It must be readable.
    #[inline(always)]
    pub(super) unsafe fn read(&self, row: usize, column: usize) -> f32 {
        let from = self.from(row, column).pointer;
        // SAFETY: an element of this type by the caller's promise.
        unsafe {
            match self.kind {
                Kind::F32 => *from.cast::<f32>(),
                Kind::Bf16 => (*from.cast::<bf16>()).to_f32(),
                Kind::F16 => (*from.cast::<f16>()).to_f32(),
            }
        }
    }

    /// Rounds one element into its place.
    ///
    /// # Safety
    /// It must be writable.
    #[inline(always)]
    pub(super) unsafe fn write(&self, row: usize, column: usize, value: f32) {
        let to = self.from(row, column).pointer;
        // SAFETY: an element of this type by the caller's promise.
        unsafe {
            match self.kind {
                Kind::F32 => *to.cast::<f32>() = value,
                Kind::Bf16 => *to.cast::<bf16>() = bf16::from_f32(value),
                Kind::F16 => *to.cast::<f16>() = f16::from_f32(value),
            }
        }
    }

    /// A row from its first element on, widened.
    ///
    /// # Safety
    /// As many elements as `into` has must be readable.
    #[inline(always)]
    pub(super) unsafe fn load<V: Vector<Element = f32>>(&self, row: usize, into: &mut [f32]) {
        let from = self.from(row, 0).pointer;
        let mut done = 0;
        // SAFETY: inside the row by the caller's promise.
        unsafe {
            if self.column == 1 {
                if self.kind == Kind::F32 {
                    std::ptr::copy_nonoverlapping(from.cast(), into.as_mut_ptr(), into.len());
                    return;
                }
                let whole = into.len() / V::LANES * V::LANES;
                for at in (0..whole).step_by(V::LANES) {
                    let bits = from.cast::<u16>().add(at);
                    let value = if self.kind == Kind::Bf16 { V::load_bf16(bits) } else { V::load_f16(bits) };
                    value.store(into.as_mut_ptr().add(at));
                }
                done = whole;
            }
            for (at, to) in into.iter_mut().enumerate().skip(done) {
                *to = self.read(row, at);
            }
        }
    }

    /// Rounds some values into a row from its first element on.
    ///
    /// # Safety
    /// As many elements as there are values must be writable.
    #[inline(always)]
    pub(super) unsafe fn store<V: Vector<Element = f32>>(&self, row: usize, values: &[f32]) {
        let to = self.from(row, 0).pointer;
        let mut done = 0;
        // SAFETY: inside the row by the caller's promise.
        unsafe {
            if self.column == 1 {
                done = values.len() / V::LANES * V::LANES;
                for at in (0..done).step_by(V::LANES) {
                    let value = V::load(values.as_ptr().add(at));
                    match self.kind {
                        Kind::F32 => value.store(to.cast::<f32>().add(at)),
                        Kind::Bf16 => value.store_bf16(to.cast::<u16>().add(at)),
                        Kind::F16 => value.store_f16(to.cast::<u16>().add(at)),
                    }
                }
            }
            for (at, &value) in values.iter().enumerate().skip(done) {
                self.write(row, at, value);
            }
        }
    }
}
