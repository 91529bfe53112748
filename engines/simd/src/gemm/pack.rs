//! Panels of A and of B.
//!
//! Both are copied along their dense direction where they have one, so that packing runs at the speed of a copy; only a B that is dense
//! along k has to be transposed.

use super::Source;
use super::blocking::KC;
use super::micro::{Form, PANEL_ROW, PANEL_STEP};
use crate::element::Real;
use crate::vector::Lanes;

/// Elements of a panel of A with so many rows.
pub(super) fn panel_elements(rows: usize) -> usize {
    (rows * PANEL_ROW).max(KC * PANEL_STEP)
}

/// Packs `rows x k` of A into panels of `tile` rows; says how they lie.
pub(super) fn pack_rows<E: Real>(a: &Source<E>, rows: usize, k: usize, tile: usize, into: &mut [E]) -> Form {
    let form = if a.column == 1 || a.row != 1 { Form::Rows } else { Form::Steps };
    for (first, panel) in (0..rows).step_by(tile).zip(into.chunks_mut(panel_elements(tile))) {
        let count = tile.min(rows - first);
        let a = a.from(first, 0);
        match form {
            Form::Steps => {
                // Whole steps are of a size that the compiler knows; those beyond the panel's own rows are not read by the micro-kernel.
                let whole = rows - first >= PANEL_STEP;
                for (step, target) in panel.chunks_exact_mut(PANEL_STEP).take(k).enumerate() {
                    if whole {
                        // SAFETY: as many rows of column `step` lie behind each other in A.
                        target.copy_from_slice(unsafe { std::slice::from_raw_parts(a.from(0, step).pointer, PANEL_STEP) });
                        continue;
                    }
                    // SAFETY: `count` rows of column `step` lie behind each other in A.
                    target[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(a.from(0, step).pointer, count) });
                }
            }
            _ if a.column == 1 => {
                for (row, target) in panel.chunks_mut(PANEL_ROW).take(count).enumerate() {
                    // SAFETY: k elements of row `row` lie behind each other in A.
                    target[..k].copy_from_slice(unsafe { std::slice::from_raw_parts(a.from(row, 0).pointer, k) });
                }
            }
            _ => {
                for (row, target) in panel.chunks_mut(PANEL_ROW).take(count).enumerate() {
                    for (step, target) in target[..k].iter_mut().enumerate() {
                        // SAFETY: an element of A.
                        *target = unsafe { *a.from(row, step).pointer };
                    }
                }
            }
        }
    }
    form
}

/// Packs `k x columns` of B into panels of `tile` columns, the last one filled up with zeros.
pub(crate) fn pack_columns<E: Lanes>(b: &Source<E>, k: usize, columns: usize, tile: usize, into: &mut [E]) {
    if k == 0 {
        return;
    }
    if b.column == 1 {
        return copy_rows(b, k, columns, tile, into);
    }
    for (first, panel) in (0..columns).step_by(tile).zip(into.chunks_mut(k * tile)) {
        transpose(&b.from(0, first), k, tile.min(columns - first), tile, panel);
    }
}

/// Rows that are copied side by side: few enough streams for the processor to read ahead, and long enough pieces of a panel.
const ROWS_TOGETHER: usize = 8;

/// Copies two slices of this length, which the compiler knows: no call of the system's copy for two lines.
#[inline(always)]
fn copied<E: Copy, const LENGTH: usize>(from: &[E], to: &mut [E]) -> bool {
    match (<&[E; LENGTH]>::try_from(from), <&mut [E; LENGTH]>::try_from(to)) {
        (Ok(from), Ok(to)) => {
            *to = *from;
            true
        }
        _ => false,
    }
}

fn copy_rows<E: Lanes>(b: &Source<E>, k: usize, columns: usize, tile: usize, into: &mut [E]) {
    for rows in (0..k).step_by(ROWS_TOGETHER).map(|row| row..k.min(row + ROWS_TOGETHER)) {
        for (first, panel) in (0..columns).step_by(tile).zip(into.chunks_mut(k * tile)) {
            let count = tile.min(columns - first);
            for (row, target) in rows.clone().zip(panel[rows.start * tile..].chunks_exact_mut(tile)) {
                // SAFETY: `count` elements of the row lie behind each other in B.
                let from = unsafe { std::slice::from_raw_parts(b.from(row, first).pointer, count) };
                if !copied::<E, 32>(from, target) && !copied::<E, 16>(from, target) {
                    target[..count].copy_from_slice(from);
                    target[count..].fill(E::ZERO);
                }
            }
        }
    }
}

/// Columns and rows that are moved together.
const BLOCK: usize = 4;

fn transpose<E: Lanes>(b: &Source<E>, k: usize, count: usize, tile: usize, panel: &mut [E]) {
    let whole = if b.row == 1 { [k, count].map(|extent| extent / BLOCK * BLOCK) } else { [0, 0] };
    for (column, row) in (0..whole[1]).step_by(BLOCK).flat_map(|column| (0..whole[0]).step_by(BLOCK).map(move |row| (column, row))) {
        let to = &mut panel[row * tile + column..][..(BLOCK - 1) * tile + BLOCK];
        // SAFETY: a whole block of B, whose columns are dense; the target was just cut to the extent of one.
        unsafe { E::transpose(b.from(row, column).pointer, b.column, to.as_mut_ptr(), tile) };
    }
    for (row, target) in panel.chunks_exact_mut(tile).enumerate() {
        let done = if row < whole[0] { whole[1] } else { 0 };
        for (column, target) in target[..count].iter_mut().enumerate().skip(done) {
            // SAFETY: an element of B.
            *target = unsafe { *b.from(row, column).pointer };
        }
        target[count..].fill(E::ZERO);
    }
}
