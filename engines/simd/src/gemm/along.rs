//! The loops along k: from panels of A and B to the sums of a tile, in registers.

use super::Target;
use super::micro::{COLUMN_VECTORS, PANEL_ROW};
use crate::aligned::LINE;
use crate::vector::{Vector, Walk};

/// Steps by which B is read ahead: a panel of B and one of A are more than the first-level cache holds.
const AHEAD: usize = 16;

/// What a tile is made from.
pub(super) struct Panels<E> {
    pub(super) k: usize,
    pub(super) a: *const E,
    /// Distance of rows and steps of a strided A.
    pub(super) a_strides: [usize; 2],
    pub(super) b: *const E,
    /// Distance of rows of B.
    pub(super) b_step: usize,
    /// Where lines are asked for, and how far each step takes that; [`Vector::run_along`] asks where it sees fit.
    pub(super) fetch: *const E,
    pub(super) fetch_step: usize,
}

impl<E> Panels<E> {
    /// B is read as far ahead as suits a tile whose panels lie in the caches.
    pub(super) fn new(k: usize, a: *const E, a_strides: [usize; 2], b: *const E, b_step: usize) -> Self {
        Self { k, a, a_strides, b, b_step, fetch: b.wrapping_add(AHEAD * b_step), fetch_step: b_step }
    }
}

/// The sums along k, by the instruction set's own loop where it has one. `ROW` and `STEP` are the distances in A, 0 where these are only
/// known at run time; with `EDGE`, B is not read beyond `columns`.
///
/// # Safety
/// A and B must be readable as far as the sizes say (B two whole vectors wide, but with `EDGE`).
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const ROWS: usize, const ROW: usize, const STEP: usize, const EDGE: bool>(
    panels: &Panels<V::Element>,
    columns: usize,
) -> [[V; COLUMN_VECTORS]; ROWS] {
    let [row, step] = if STEP == 0 { panels.a_strides } else { [ROW, STEP] };
    let mut sums = [[V::zero(); COLUMN_VECTORS]; ROWS];
    let (mut a, mut b, mut fetch) = (panels.a, panels.b, panels.fetch);
    // SAFETY: inside A and B by the caller's promise.
    if !EDGE && unsafe { V::run_along(&Walk { steps: panels.k, a, row, step, b, b_step: panels.b_step }, &mut sums) } {
        return sums;
    }
    for _ in 0..panels.k {
        if !EDGE {
            // Once a line in a step, and not with each of its vectors.
            for vector in (0..COLUMN_VECTORS).step_by((LINE / size_of::<V>()).max(1)) {
                V::prefetch(fetch.wrapping_add(vector * V::LANES));
            }
            fetch = fetch.wrapping_add(panels.fetch_step);
        }
        // SAFETY: inside A and B by the caller's promise.
        unsafe {
            let right: [V; COLUMN_VECTORS] = if EDGE {
                [
                    V::load_first(b, columns.min(V::LANES)),
                    V::load_first(b.wrapping_add(V::LANES), columns.saturating_sub(V::LANES).min(V::LANES)),
                ]
            } else {
                [V::load(b), V::load(b.add(V::LANES))]
            };
            add_step(a, row, right, &mut sums);
        }
        (a, b) = (a.wrapping_add(step), b.wrapping_add(panels.b_step));
    }
    sums
}

/// One step along k.
#[inline(always)]
unsafe fn add_step<V: Vector, const ROWS: usize>(
    a: *const V::Element,
    row: usize,
    right: [V; COLUMN_VECTORS],
    sums: &mut [[V; COLUMN_VECTORS]; ROWS],
) {
    for (at, sums) in sums.iter_mut().enumerate() {
        // SAFETY: inside A by the caller's promise.
        let left = unsafe { V::splat(*a.add(at * row)) };
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum = left.mul_add(right, *sum);
        }
    }
}

/// Is each line of a packed A and of C asked for in a step of its own? Tiles of six rows have few enough of them to ask for at once.
pub(super) const fn asks_on_the_way<V: Vector>() -> bool {
    V::REGISTERS == 32
}

/// The sums along a panel of A that was copied row by row, which are to be stored in `c`.
///
/// All rows begin a new line of A in the same step, and 14 loads at once that have to come from the second-level cache are more than the
/// processor looks past. Nor can the 28 lines of C be on their way at once. So each step asks for the next line of one row of A, and after
/// as many steps as a line has, for lines of C.
///
/// # Safety
/// As for [`multiply`]; nothing is read from C.
#[inline(always)]
pub(super) unsafe fn along_rows<V: Vector, const ROWS: usize>(
    panels: &Panels<V::Element>,
    c: &Target<V::Element>,
) -> [[V; COLUMN_VECTORS]; ROWS] {
    let line = LINE / size_of::<V::Element>();
    let wanted_at_once = ROWS.div_ceil(panels.k.div_ceil(line).max(1));
    // Of a C whose rows are not dense, its first place alone.
    let wanted_row = if c.column == 1 { c.row } else { 0 };
    let mut sums = [[V::zero(); COLUMN_VECTORS]; ROWS];
    let (mut b, mut fetch, mut wanted) = (panels.b, panels.fetch, c.pointer.cast_const());
    for first in (0..panels.k).step_by(line) {
        let a = panels.a.wrapping_add(first);
        let mut next = a.wrapping_add(line);
        for step in 0..line.min(panels.k - first) {
            for vector in 0..COLUMN_VECTORS {
                V::prefetch(fetch.wrapping_add(vector * V::LANES));
            }
            V::prefetch(next);
            (fetch, next) = (fetch.wrapping_add(panels.fetch_step), next.wrapping_add(PANEL_ROW));
            // SAFETY: inside A and B by the caller's promise.
            unsafe { add_step(a.add(step), PANEL_ROW, [V::load(b), V::load(b.add(V::LANES))], &mut sums) };
            b = b.wrapping_add(panels.b_step);
        }
        for _ in 0..wanted_at_once {
            for vector in 0..COLUMN_VECTORS {
                V::prefetch(wanted.wrapping_add(vector * V::LANES));
            }
            wanted = wanted.wrapping_add(wanted_row);
        }
    }
    sums
}
