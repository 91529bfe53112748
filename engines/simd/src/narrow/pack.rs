//! Rows of A and columns of B as words.
//!
//! Either is first read along k into rows of words (this is where 16-bit floats are widened, paired, or floats become int8 codes), and
//! then turned, four rows by four steps at a time, into the order in which the micro-kernel reads: all rows of a step beside each other.
//! Only a B whose rows are dense needs no turning.

use super::matrix::{Kind, Matrix};
use super::unit::{Format, Word};
use crate::vector::{Lanes, MOST_LANES, Vector};

/// Distance of steps in a panel of A.
pub(super) const PANEL_STEP: usize = 16;
/// Rows that are turned together; at least as many as any tile has.
pub(super) const ROWS_TOGETHER: usize = 16;

/// Words of a row of k elements, and the distance of rows while they are turned.
pub(super) fn row_words(k: usize, word: Word) -> [usize; 2] {
    let words = k.div_ceil(word.steps());
    [words, words.next_multiple_of(4)]
}

/// Words of scratch that packing needs.
pub(super) fn scratch_words(k: usize, word: Word) -> usize {
    let singles = if word.is_integer() { k.next_multiple_of(16) } else { 0 };
    ROWS_TOGETHER * row_words(k, word)[1] + singles
}

/// Packs at most [`ROWS_TOGETHER`] rows of k elements into a panel, with zeros for the rows up to `padded`, and gives each its scale (1
/// where the words are no codes).
///
/// # Safety
/// The rows must be readable. bf16 words are made of bf16 elements only.
#[inline(always)]
pub(super) unsafe fn pack_rows<F: Format>(
    a: &Matrix,
    rows: usize,
    k: usize,
    (panel, step): (&mut [u32], usize),
    padded: usize,
    scratch: &mut [u32],
    scales: &mut [f32],
) {
    let [words, distance] = row_words(k, F::WORD);
    let (rows_of_words, singles) = scratch.split_at_mut(ROWS_TOGETHER * distance);
    for row in 0..rows {
        let into = &mut rows_of_words[row * distance..][..words];
        // SAFETY: the caller's promises are handed on.
        let scale = unsafe { row_as_words::<F>(&a.from(row, 0), k, into, singles) };
        if let Some(to) = scales.get_mut(row) {
            *to = scale;
        }
    }
    let turned = padded.next_multiple_of(4).min(ROWS_TOGETHER);
    rows_of_words[rows * distance..turned * distance].fill(0);
    for row in (0..turned).step_by(4) {
        for word in (0..distance).step_by(4) {
            let from = &rows_of_words[row * distance + word..][..3 * distance + 4];
            let to = &mut panel[word * step + row..][..3 * step + 4];
            // SAFETY: both were just cut to the extent of a block of 4 x 4.
            unsafe { f32::transpose(from.as_ptr().cast(), distance, to.as_mut_ptr().cast(), step) };
        }
    }
}

/// One row along k.
#[inline(always)]
pub(super) unsafe fn row_as_words<F: Format>(row: &Matrix, k: usize, into: &mut [u32], singles: &mut [u32]) -> f32 {
    // SAFETY: readable by the caller's promise; words are as wide as singles.
    unsafe {
        match F::WORD {
            Word::F32 => {
                row.load::<F::V>(0, &mut as_singles(into)[..k]);
                1.0
            }
            Word::Bf16 => {
                pairs(row, k, into);
                1.0
            }
            Word::BiasedInt8 | Word::Int8 => {
                let values = &mut as_singles(singles)[..k];
                row.load::<F::V>(0, values);
                quantise::<F::V>(values, into, if F::WORD == Word::BiasedInt8 { 0x80 } else { 0 })
            }
        }
    }
}

fn as_singles(words: &mut [u32]) -> &mut [f32] {
    // SAFETY: of the same size and alignment, and every pattern of bits is a value.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len()) }
}

/// Neighbours as pairs, the last one with a zero where k is odd.
#[inline(always)]
unsafe fn pairs(row: &Matrix, k: usize, into: &mut [u32]) {
    debug_assert_eq!(row.kind, Kind::Bf16);
    // SAFETY: k elements of 16 bits by the caller's promise.
    let bits = |at: usize| u32::from(unsafe { *row.from(0, at).pointer.cast::<u16>() });
    if row.column == 1 {
        // SAFETY: likewise; pairs of them are words on a little-endian machine, as those with this unit are.
        unsafe { std::ptr::copy_nonoverlapping(row.pointer.cast::<u16>(), into.as_mut_ptr().cast(), k / 2 * 2) };
    } else {
        into[..k / 2].iter_mut().enumerate().for_each(|(at, word)| *word = bits(2 * at) | bits(2 * at + 1) << 16);
    }
    if k % 2 == 1 {
        into[k / 2] = bits(k - 1);
    }
}

/// Symmetric codes of a row, each xored with `bias` (128, which adds as much to a signed byte read as an unsigned one); returns their
/// scale, max |x| / 127, or NaN where an element is not finite. A row without a scale above 0 has codes of zero.
#[inline(always)]
fn quantise<V: Vector<Element = f32>>(values: &[f32], into: &mut [u32], bias: u8) -> f32 {
    let largest = largest_magnitude(values);
    let scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
    into.fill(0);
    if scale > 0.0 {
        let (low, high, divisor) = (V::splat(-127.0), V::splat(127.0), V::splat(scale));
        // A word of four codes is four bytes in a row on a little-endian machine, as all are that this engine is made for.
        let codes: *mut i8 = into.as_mut_ptr().cast();
        for at in (0..values.len()).step_by(V::LANES) {
            let count = V::LANES.min(values.len() - at);
            // SAFETY: `count` values from `at` on, and room for their codes, which are whole numbers of at most seven bits and a sign.
            unsafe {
                let rounded = V::load_first(values.as_ptr().add(at), count).div(divisor).round().max(low).min(high);
                if count == V::LANES {
                    rounded.store_int8(codes.add(at));
                } else {
                    let mut last = [0; MOST_LANES];
                    rounded.store_int8(last.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(last.as_ptr(), codes.add(at), count);
                }
            }
        }
    }
    if bias != 0 {
        into.iter_mut().for_each(|word| *word ^= u32::from_ne_bytes([bias; 4]));
    }
    scale
}

/// max |x|, or NaN or infinity where there is one. The bits of |x| are ordered as |x| is, and those of NaN come last.
#[inline(always)]
fn largest_magnitude(values: &[f32]) -> f32 {
    f32::from_bits(values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff)))
}

/// Packs `k x columns` of a plain B into panels of `width` columns, the last one filled up with zeros.
///
/// # Safety
/// B must be readable. bf16 words are made of bf16 elements only.
#[inline(always)]
pub(super) unsafe fn pack_columns<F: Format>(b: &Matrix, k: usize, columns: usize, panels: &mut [u32], scratch: &mut [u32]) {
    let width = 2 * F::V::LANES;
    let [words, distance] = row_words(k, F::WORD);
    if words == 0 {
        return;
    }
    // Panels are `distance` rows apart, since those that are turned come in blocks.
    for (first, panel) in (0..columns).step_by(width).zip(panels.chunks_exact_mut(distance * width)) {
        let count = width.min(columns - first);
        if b.column == 1 && (F::WORD == Word::F32 || b.kind == Kind::Bf16) {
            // SAFETY: the caller's promises are handed on.
            unsafe { rows_as_they_are::<F>(&b.from(0, first), k, count, &mut panel[..words * width]) };
            continue;
        }
        let turned = b.from(0, first).turned();
        for group in (0..width).step_by(ROWS_TOGETHER) {
            let rows = ROWS_TOGETHER.min(count.saturating_sub(group));
            let padded = ROWS_TOGETHER.min(width - group);
            if padded < 4 {
                // Panels narrower than a block: vectors of one lane.
                // SAFETY: the caller's promises are handed on.
                unsafe { narrow_panel::<F>(&turned, count, k, panel, scratch) };
                continue;
            }
            // SAFETY: the caller's promises are handed on.
            unsafe { pack_rows::<F>(&turned.from(group, 0), rows, k, (&mut panel[group..], width), padded, scratch, &mut []) };
        }
    }
}

/// A panel of dense rows of B: widened, or two rows as pairs.
#[inline(always)]
unsafe fn rows_as_they_are<F: Format>(b: &Matrix, k: usize, count: usize, panel: &mut [u32]) {
    let width = 2 * F::V::LANES;
    for (word, target) in panel.chunks_exact_mut(width).enumerate() {
        // SAFETY: `count` dense elements of each of k rows by the caller's promise.
        unsafe {
            if F::WORD == Word::F32 {
                b.load::<F::V>(word, &mut as_singles(target)[..count]);
            } else {
                let first: *const u16 = b.from(2 * word, 0).pointer.cast();
                let second: *const u16 = b.from(2 * word + 1, 0).pointer.cast();
                if 2 * word + 1 < k {
                    for (at, to) in target[..count].iter_mut().enumerate() {
                        *to = u32::from(*first.add(at)) | u32::from(*second.add(at)) << 16;
                    }
                } else {
                    for (at, to) in target[..count].iter_mut().enumerate() {
                        *to = u32::from(*first.add(at));
                    }
                }
            }
        }
        target[count..].fill(0);
    }
}

/// A panel of a few columns that come along k, word by word.
#[inline(always)]
unsafe fn narrow_panel<F: Format>(turned: &Matrix, count: usize, k: usize, panel: &mut [u32], scratch: &mut [u32]) {
    let width = 2 * F::V::LANES;
    let [words, _] = row_words(k, F::WORD);
    let (row, singles) = scratch.split_at_mut(words);
    for column in 0..width {
        if column < count {
            // SAFETY: the caller's promises are handed on.
            unsafe { row_as_words::<F>(&turned.from(column, 0), k, row, singles) };
        } else {
            row.fill(0);
        }
        for (word, &value) in row.iter().enumerate() {
            panel[word * width + column] = value;
        }
    }
}
