//! Panels of A and of B.
//!
//! Both are copied along their dense direction where they have one, so that packing runs at the speed of a copy; only a B that is dense
//! along k has to be transposed.

use super::Source;
use super::blocking::KC;
use super::micro::{Form, PANEL_ROW, PANEL_STEP};
use crate::element::Real;
use crate::vector::{Lanes, Vector};

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
#[inline(always)]
pub(crate) fn pack_columns<V: Vector>(b: &Source<V::Element>, k: usize, columns: usize, tile: usize, into: &mut [V::Element]) {
    if k == 0 {
        return;
    }
    if b.column == 1 {
        return copy_rows(b, k, columns, tile, into);
    }
    for (first, panel) in (0..columns).step_by(tile).zip(into.chunks_mut(k * tile)) {
        transpose::<V>(&b.from(0, first), k, tile.min(columns - first), tile, panel);
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

/// Columns and rows of the smallest block that is moved together.
const FOUR: usize = 4;

#[inline(always)]
fn transpose<V: Vector>(b: &Source<V::Element>, k: usize, count: usize, tile: usize, panel: &mut [V::Element]) {
    let whole = if b.row == 1 { [k, count].map(|extent| extent / FOUR * FOUR) } else { [0, 0] };
    let mut column = 0;
    while column < whole[1] {
        let width = if column + V::BLOCK <= count { V::BLOCK } else { FOUR };
        let mut row = 0;
        while row < whole[0] {
            let height = if width == V::BLOCK && row + V::BLOCK <= k { V::BLOCK } else { FOUR };
            for at in (column..column + width).step_by(height) {
                let (from, to) = (b.from(row, at).pointer, &mut panel[row * tile + at..][..(height - 1) * tile + height]);
                // SAFETY: a whole block of B, whose columns are dense; the target was just cut to the extent of one.
                unsafe {
                    if height == V::BLOCK {
                        V::transpose(from, b.column, to.as_mut_ptr(), tile);
                    } else {
                        V::Element::transpose(from, b.column, to.as_mut_ptr(), tile);
                    }
                }
            }
            row += height;
        }
        column += width;
    }
    for (row, target) in panel.chunks_exact_mut(tile).enumerate() {
        let done = if row < whole[0] { whole[1] } else { 0 };
        for (column, target) in target[..count].iter_mut().enumerate().skip(done) {
            // SAFETY: an element of B.
            *target = unsafe { *b.from(row, column).pointer };
        }
        target[count..].fill(V::Element::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_core::isa::IsaChoice;

    use crate::isa::{Isa, Kernel};

    /// A matrix that is dense along k, packed into panels of 32 columns.
    struct Turned<'a, E> {
        values: &'a [E],
        k: usize,
        columns: usize,
        into: &'a mut [E],
    }

    impl<E: Lanes> Kernel<E> for Turned<'_, E> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector<Element = E>>(self) {
            let source = Source { pointer: self.values.as_ptr(), row: 1, column: self.k };
            pack_columns::<V>(&source, self.k, self.columns, 32, self.into);
        }
    }

    fn every_element_finds_its_place<E: Lanes + PartialEq>() {
        let paths = IsaChoice::ALL.into_iter().filter_map(|choice| Isa::chosen(choice).ok());
        let sizes = |isa| (1..37_usize).flat_map(move |k| (1..67_usize).map(move |columns| (isa, k, columns)));
        for (isa, k, columns) in paths.flat_map(sizes) {
            let values: Vec<E> = (1..=k * columns).map(|at| E::from_f64(at as f64)).collect();
            let mut panels = vec![E::from_f64(-1.0); columns.next_multiple_of(32) * k];
            isa.run(Turned { values: &values, k, columns, into: &mut panels });
            for (at, &found) in panels.iter().enumerate() {
                let (column, step) = (at / (32 * k) * 32 + at % 32, at % (32 * k) / 32);
                let wanted = if column < columns { values[column * k + step] } else { E::ZERO };
                assert!(found == wanted, "{isa:?}, {k} x {columns}: step {step} of column {column}");
            }
        }
    }

    #[test]
    fn columns_that_are_dense_are_turned_over_whatever_their_number_and_length() {
        every_element_finds_its_place::<f32>();
        every_element_finds_its_place::<f64>();
    }
}
