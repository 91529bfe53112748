//! Panels of A and of B.
//!
//! Both are copied along their dense direction where they have one, so that packing runs at the speed of a copy; only a B that is dense
//! along k has to be transposed.

use super::Source;
use super::blocking::KC;
use super::micro::{Form, PANEL_ROW, PANEL_STEP};
use crate::element::Real;

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
                for (step, target) in panel.chunks_mut(PANEL_STEP).take(k).enumerate() {
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
pub(crate) fn pack_columns<E: Real>(b: &Source<E>, k: usize, columns: usize, tile: usize, into: &mut [E]) {
    for (first, panel) in (0..columns).step_by(tile).zip(into.chunks_mut((k * tile).max(1))) {
        let count = tile.min(columns - first);
        let b = b.from(0, first);
        if b.column == 1 {
            for (row, target) in panel.chunks_exact_mut(tile).enumerate() {
                // SAFETY: `count` elements of row `row` lie behind each other in B.
                target[..count].copy_from_slice(unsafe { std::slice::from_raw_parts(b.from(row, 0).pointer, count) });
                target[count..].fill(E::ZERO);
            }
        } else {
            transpose(&b, k, count, tile, panel);
        }
    }
}

/// Rows that are written together: a cache line of the source is used up before it leaves the first-level cache.
const ROWS_TOGETHER: usize = 16;

fn transpose<E: Real>(b: &Source<E>, k: usize, count: usize, tile: usize, panel: &mut [E]) {
    for (first, rows) in (0..k).step_by(ROWS_TOGETHER).zip(panel.chunks_mut(ROWS_TOGETHER * tile)) {
        for column in 0..count {
            let b = b.from(first, column);
            for (row, target) in rows.chunks_exact_mut(tile).enumerate() {
                // SAFETY: an element of B.
                target[column] = unsafe { *b.from(row, 0).pointer };
            }
        }
        for row in rows.chunks_exact_mut(tile) {
            row[count..].fill(E::ZERO);
        }
    }
}
