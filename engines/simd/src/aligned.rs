//! Plain numbers in memory that starts on a cache line, so that no vector of a dense row straddles two lines.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
#[cfg(any(target_os = "linux", test))]
use std::ops::Range;
use std::ops::{Deref, DerefMut};

use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use half::{bf16, f16};

/// Bytes of a cache line, and of the widest vector.
pub(crate) const LINE: usize = 64;

/// Bytes of a large page of x86-64; on other processors a multiple of the small one all the same.
#[cfg(any(target_os = "linux", test))]
const LARGE_PAGE: usize = 2 << 20;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Number types: every pattern of bits is a value, zeros among them.
///
/// # Safety
/// Only for types for which that holds, and whose alignment divides a line's.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: primitive numbers, and `half`'s transparent wrappers around u16.
unsafe impl Plain for f64 {}
// SAFETY: likewise.
unsafe impl Plain for f32 {}
// SAFETY: likewise.
unsafe impl Plain for bf16 {}
// SAFETY: likewise.
unsafe impl Plain for f16 {}
// SAFETY: likewise.
unsafe impl Plain for i32 {}
// SAFETY: likewise.
unsafe impl Plain for u64 {}
// SAFETY: likewise.
unsafe impl Plain for u32 {}
// SAFETY: likewise.
unsafe impl Plain for i8 {}
// SAFETY: likewise.
unsafe impl Plain for u8 {}

/// A vector of numbers on cache lines, of a fixed length.
#[derive(Debug)]
pub struct Aligned<T> {
    lines: Vec<Line>,
    length: usize,
    kind: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// Nothing.
    pub(crate) const fn empty() -> Self {
        Self { lines: Vec::new(), length: 0, kind: PhantomData }
    }

    /// Zeros. Their memory is touched here, so that no page fault falls into a timed call.
    pub(crate) fn zeros(dtype: DType, elements: usize) -> Result<Self> {
        let failed = |reason: String| EngineError::Allocation { elements, dtype, reason };
        let bytes = elements.checked_mul(size_of::<T>()).ok_or_else(|| failed("its size overflows".into()))?;
        let count = bytes.div_ceil(LINE);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|error| failed(error.to_string()))?;
        in_large_pages(lines.spare_capacity_mut());
        lines.resize(count, Line([0; LINE]));
        Ok(Self { lines, length: elements, kind: PhantomData })
    }

    /// At least this many elements, whose values are unspecified: grows where there are fewer.
    pub(crate) fn at_least(&mut self, dtype: DType, elements: usize) -> Result<&mut [T]> {
        if self.length < elements {
            *self = Self::zeros(dtype, elements)?;
        }
        Ok(&mut self[..elements])
    }
}

/// The bytes of whole large pages in so many from an address on, counted from there.
#[cfg(any(target_os = "linux", test))]
fn whole_large_pages(address: usize, bytes: usize) -> Range<usize> {
    let first = address.next_multiple_of(LARGE_PAGE) - address;
    let length = bytes.saturating_sub(first) / LARGE_PAGE * LARGE_PAGE;
    first..first + length
}

/// Asks for large pages where whole ones fit, before the memory is touched. A weight of tens of megabytes is thousands of small pages, each of which
/// is looked up anew when another process has run in between; a page table of a virtual machine makes that dearer still.
#[cfg(target_os = "linux")]
fn in_large_pages(memory: &mut [MaybeUninit<Line>]) {
    let pages = whole_large_pages(memory.as_ptr().addr(), size_of_val(memory));
    if !pages.is_empty() {
        // SAFETY: whole pages of memory that is ours; the advice changes nothing that is in it. A kernel that does not take it says so, and nothing is lost.
        unsafe { libc::madvise(memory.as_mut_ptr().wrapping_byte_add(pages.start).cast(), pages.len(), libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages(_memory: &mut [MaybeUninit<Line>]) {}

impl<T: Plain> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len());
        in_large_pages(lines.spare_capacity_mut());
        lines.extend_from_slice(&self.lines);
        Self { lines, length: self.length, kind: PhantomData }
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold `length` initialised elements of a type for which every pattern of bits is a value.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_on_a_line_and_keeps_what_is_written() {
        for elements in [0, 1, 15, 16, 17, 1000] {
            let mut values = Aligned::<f32>::zeros(DType::F32, elements).unwrap();
            assert_eq!((values.len(), values.as_ptr() as usize % LINE), (elements, 0));
            values.iter_mut().enumerate().for_each(|(at, value)| *value = at as f32);
            assert!(values.iter().enumerate().all(|(at, &value)| value == at as f32));
        }
    }

    #[test]
    fn large_pages_are_whole_ones_inside() {
        let mib = 1 << 20;
        for (address, bytes, pages) in [
            (4 * mib, 2 * mib, 0..2 * mib),
            (4 * mib, 2 * mib - 1, 0..0),
            (4 * mib + 64, 4 * mib - 64, 2 * mib - 64..4 * mib - 64),
            (4 * mib + 64, 4 * mib - 65, 2 * mib - 64..2 * mib - 64),
            (4 * mib - 64, 9 * mib, 64..8 * mib + 64),
            (4 * mib + 64, 1000, 2 * mib - 64..2 * mib - 64),
        ] {
            assert_eq!(whole_large_pages(address, bytes), pages, "{address} {bytes}");
        }
    }

    #[test]
    fn large_memory_is_zeros_and_keeps_what_is_written() {
        let mut values = Aligned::<u32>::zeros(DType::I32, 3 * LARGE_PAGE / 4 + 5).unwrap();
        assert!(values.iter().all(|&value| value == 0));
        values.iter_mut().enumerate().for_each(|(at, value)| *value = at as u32);
        let copy = values.clone();
        drop(values);
        assert!(copy.iter().enumerate().all(|(at, &value)| value == at as u32));
    }

    #[test]
    fn too_much_is_an_error_and_not_an_abort() {
        for elements in [usize::MAX, isize::MAX as usize / 8, 1 << 60] {
            assert!(matches!(Aligned::<f64>::zeros(DType::F64, elements), Err(EngineError::Allocation { .. })));
        }
    }
}
