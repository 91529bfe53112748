//! Rows of operands between memory and vectors: dense ones by vectors, others one by one.

use half::bf16;

use crate::aligned::LINE;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::element::{Element, Held};
use crate::vector::Vector;

/// Fills `into` from every `stride`-th element, widened.
#[inline(always)]
pub(super) fn load<V: Vector>(buffer: &SimdBuffer, start: usize, stride: usize, into: &mut [V::Element]) {
    let (count, to) = (into.len(), into.as_mut_ptr());
    let narrow = matches!(buffer, SimdBuffer::Bf16(_) | SimdBuffer::F16(_));
    let dense = stride == 1 && (narrow || V::Element::slice(buffer).is_some());
    // What is not moved by vectors is moved one by one.
    let whole = if dense { count / V::LANES * V::LANES } else { 0 };
    // SAFETY: the slices are as long as `into`, of which whole vectors are written; both narrow floats are 16 bits.
    unsafe {
        match (buffer, V::Element::slice(buffer)) {
            (_, Some(values)) if dense => {
                let from = values[start..start + count].as_ptr();
                for at in (0..whole).step_by(V::LANES) {
                    V::load(from.add(at)).store(to.add(at));
                }
            }
            (SimdBuffer::Bf16(values), _) if dense => {
                let from: *const u16 = values[start..start + count].as_ptr().cast();
                for at in (0..whole).step_by(V::LANES) {
                    V::load_bf16(from.add(at)).store(to.add(at));
                }
            }
            (SimdBuffer::F16(values), _) if dense => {
                let from: *const u16 = values[start..start + count].as_ptr().cast();
                for at in (0..whole).step_by(V::LANES) {
                    V::load_f16(from.add(at)).store(to.add(at));
                }
            }
            _ => {}
        }
    }
    if whole < count {
        buffer.load(start + whole * stride, stride, &mut into[whole..]);
    }
}

/// Asks for the first elements of a row that lies densely; the row need not be there.
#[inline(always)]
pub(super) fn prefetch<V: Vector>(place: (*const u8, usize), start: usize, width: usize) {
    lines(place, start, width, |line| V::prefetch(line.cast()));
}

/// The same, into the second level.
#[inline(always)]
pub(super) fn prefetch_second<V: Vector>(place: (*const u8, usize), start: usize, width: usize) {
    lines(place, start, width, |line| V::prefetch_second(line.cast()));
}

#[inline(always)]
fn lines((first, bytes): (*const u8, usize), start: usize, width: usize, ask: impl Fn(*const u8)) {
    let row = first.wrapping_add(start.wrapping_mul(bytes));
    let mut line = 0;
    while line < width * bytes {
        ask(row.wrapping_add(line));
        line += LINE;
    }
}

/// Copies every `stride`-th element of a buffer of bf16 numbers.
pub(super) fn copy_bf16(buffer: &SimdBuffer, start: usize, stride: usize, into: &mut [bf16]) {
    match buffer {
        SimdBuffer::Bf16(values) if stride == 1 => into.copy_from_slice(&values[start..start + into.len()]),
        SimdBuffer::Bf16(values) => into.iter_mut().enumerate().for_each(|(at, to)| *to = values[start + at * stride]),
        _ => into.iter_mut().enumerate().for_each(|(at, to)| *to = bf16::store(buffer.get(start + at * stride))),
    }
}

/// Writes `from` to every `stride`-th element, each rounded once.
///
/// # Safety
/// These elements must be inside the buffer, and nobody else may touch them meanwhile.
#[inline(always)]
pub(super) unsafe fn store<V: Vector>(buffer: &SharedBuffer, start: usize, stride: usize, from: &[V::Element]) {
    let mut done = 0;
    // SAFETY: inside the row and the buffer, by the caller's promise.
    unsafe {
        if stride == 1 {
            while done + V::LANES <= from.len() {
                let value = V::load(from.as_ptr().add(done));
                match (buffer, buffer.typed::<V::Element>()) {
                    (_, Some(values)) => value.store(values.pointer().wrapping_add(start + done)),
                    (SharedBuffer::Bf16(values), _) => value.store_bf16(values.pointer().wrapping_add(start + done).cast()),
                    (SharedBuffer::F16(values), _) => value.store_f16(values.pointer().wrapping_add(start + done).cast()),
                    _ => break,
                }
                done += V::LANES;
            }
        }
        if done < from.len() {
            buffer.store(start + done * stride, stride, &from[done..]);
        }
    }
}
