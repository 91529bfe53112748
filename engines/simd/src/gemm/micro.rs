//! The micro-kernel: a tile of C, `rows x (2 vectors)`, stays in registers while it runs along k.
//!
//! Each step loads two vectors of a row of B, and for every row of the tile one element of A into all lanes. Tiles at the edges have their
//! own number of rows, compiled for each; missing columns are masked when C is stored (packed B is padded with zeros).

use std::mem::MaybeUninit;

use crossover_core::activation::Activation;

use super::along::{Panels, along_rows, asks_on_the_way, multiply};
use super::blocking::KC;
use super::{Epilogue, Source, Target};
use crate::activation::{activate, activate_all};
use crate::element::Real;
use crate::vector::{Lanes, MOST_LANES, ROWS_OF_SIXTEEN, Vector};

/// Vectors beside each other in a tile.
pub(crate) const COLUMN_VECTORS: usize = 2;
/// The most rows of any tile.
const MOST_ROWS: usize = 14;
/// The most columns of any tile.
const MOST_COLUMNS: usize = 32;
/// The most rows of a tile whose A is not packed.
pub(super) const FEW_ROWS: usize = 8;
/// Distance of rows in a panel of A that was copied row by row: a little more than a block, so that rows do not share cache sets.
pub(crate) const PANEL_ROW: usize = KC + 16;
/// Distance of steps in a panel of A that was copied step by step.
pub(super) const PANEL_STEP: usize = 16;

/// Rows of a tile: as many as the registers hold beside two vectors of B and one of A.
pub(crate) const fn tile_rows<V: Vector>() -> usize {
    match V::REGISTERS {
        32 => MOST_ROWS,
        _ if V::LANES == 1 => 4,
        _ => ROWS_OF_SIXTEEN,
    }
}

/// How a panel of A lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Copied row by row.
    Rows,
    /// Copied step by step.
    Steps,
}

/// Where in the sum over k this block stands, and what comes with it.
pub(super) struct Stage<E> {
    pub(super) alpha: E,
    /// Factor of what stands in C; not read where it is 0.
    pub(super) beta: E,
    /// Of the tile's first column; only for the last block.
    pub(super) bias: Option<Source<E>>,
    pub(super) activation: Activation,
}

impl<E: Real> Stage<E> {
    /// Of the block `first..last` in the sum over k.
    pub(super) fn of(epilogue: &Epilogue<E>, first: bool, last: bool) -> Self {
        Self {
            alpha: epilogue.alpha,
            beta: if first { epilogue.beta } else { E::ONE },
            bias: epilogue.bias.filter(|_| last),
            activation: if last { epilogue.activation } else { Activation::None },
        }
    }
}

/// Evaluates an expression with a constant bound to the number of rows.
macro_rules! by_rows {
    ($rows:expr, $most:expr, $constant:ident => $call:expr) => {
        by_rows!(@ $rows, $most, $constant, $call, 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
    (@ $rows:expr, $most:expr, $constant:ident, $call:expr, $($count:literal)*) => {
        match $rows {
            $($count if $count <= $most => { const $constant: usize = $count; $call })*
            _ => {}
        }
    };
}

/// A product of a few rows with a panel of columns, for kernels that bring their own loops. Rows of A are [`PANEL_ROW`] apart.
pub(crate) struct RowPanel<E> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) k: usize,
    pub(crate) a: *const E,
    pub(crate) b: *const E,
    pub(crate) b_step: usize,
    pub(crate) c: Target<E>,
    /// Is the product added to what stands in C?
    pub(crate) adds: bool,
}

impl<E: Real> RowPanel<E> {
    fn panels(&self) -> Panels<E> {
        Panels::new(self.k, self.a, [PANEL_ROW, 1], self.b, self.b_step)
    }

    fn stage(&self) -> Stage<E> {
        Stage { alpha: E::ONE, beta: if self.adds { E::ONE } else { E::ZERO }, bias: None, activation: Activation::None }
    }
}

/// Makes it for at most [`FEW_ROWS`] rows, without reading B beyond its columns.
///
/// # Safety
/// As for [`strided_tile`].
#[inline(always)]
pub(crate) unsafe fn few_rows_panel<V: Vector>(product: &RowPanel<V::Element>) {
    let (panels, extents, stage) = (product.panels(), [product.rows, product.columns], product.stage());
    // SAFETY: the caller's promises are handed on.
    unsafe {
        if product.columns == V::LANES * COLUMN_VECTORS {
            strided_tile::<V, false>(&panels, extents, &product.c, &stage);
        } else {
            strided_tile::<V, true>(&panels, extents, &product.c, &stage);
        }
    }
}

/// Makes one tile of `rows x columns` from packed panels.
///
/// # Safety
/// A and B must be readable as far as the sizes say (B two whole vectors wide), C writable.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector>(
    form: Form,
    panels: &Panels<V::Element>,
    [rows, columns]: [usize; 2],
    c: &Target<V::Element>,
    stage: &Stage<V::Element>,
) {
    let dense = c.column == 1;
    let on_the_way = form == Form::Rows && asks_on_the_way::<V>();
    if dense && !on_the_way {
        // What stands in C is wanted at the end of the tile, and may be far away.
        for row in 0..rows {
            let place = c.pointer.wrapping_add(row * c.row);
            (0..COLUMN_VECTORS).for_each(|vector| V::prefetch(place.wrapping_add(vector * V::LANES)));
        }
    }
    let mut spilled = Spilled::new();
    let direct = dense && columns == COLUMN_VECTORS * V::LANES;
    // SAFETY: the caller's promises are handed on.
    unsafe {
        match form {
            Form::Rows => by_rows!(rows, tile_rows::<V>(), ROWS => {
                let sums = if on_the_way {
                    along_rows::<V, ROWS>(panels, c)
                } else {
                    multiply::<V, ROWS, PANEL_ROW, 1, false>(panels, columns)
                };
                if direct { store(&sums, c, stage) } else { spilled.keep(&sums) }
            }),
            Form::Steps => by_rows!(rows, tile_rows::<V>(), ROWS => {
                let sums = multiply::<V, ROWS, 1, PANEL_STEP, false>(panels, columns);
                if direct { store(&sums, c, stage) } else { spilled.keep(&sums) }
            }),
        }
        if !direct {
            spilled.finish::<V>([rows, columns], c, stage);
        }
        if stage.activation != Activation::None {
            activate_tile::<V>([rows, columns], c, stage.activation);
        }
    }
}

/// Likewise for at most [`FEW_ROWS`] rows of an A that is not packed; with `EDGE`, B is not read beyond `columns`.
///
/// # Safety
/// As above.
#[inline(always)]
pub(super) unsafe fn strided_tile<V: Vector, const EDGE: bool>(
    panels: &Panels<V::Element>,
    [rows, columns]: [usize; 2],
    c: &Target<V::Element>,
    stage: &Stage<V::Element>,
) {
    let mut spilled = Spilled::new();
    // SAFETY: the caller's promises are handed on.
    unsafe {
        by_rows!(rows, FEW_ROWS, ROWS => spilled.keep(&multiply::<V, ROWS, 0, 0, EDGE>(panels, columns)));
        spilled.finish::<V>([rows, columns], c, stage);
        if stage.activation != Activation::None {
            activate_tile::<V>([rows, columns], c, stage.activation);
        }
    }
}

/// alpha sums + beta C (+ bias) of a whole tile into a C whose rows are dense.
#[inline(always)]
unsafe fn store<V: Vector, const ROWS: usize>(sums: &[[V; COLUMN_VECTORS]; ROWS], c: &Target<V::Element>, stage: &Stage<V::Element>) {
    let (alpha, beta, reads) = (V::splat(stage.alpha), V::splat(stage.beta), stage.beta != V::Element::ZERO);
    // SAFETY: two whole vectors of each row of C (and of the bias) are accessible by the caller's promise.
    unsafe {
        let bias = biases::<V>(stage, COLUMN_VECTORS * V::LANES);
        for (row, sums) in sums.iter().enumerate() {
            for (vector, (sum, bias)) in sums.iter().zip(bias).enumerate() {
                let to = c.pointer.wrapping_add(row * c.row + vector * V::LANES);
                let mut value = sum.mul(alpha);
                if reads {
                    value = V::load(to).mul_add(beta, value);
                }
                if stage.bias.is_some() {
                    value = value.add(bias);
                }
                value.store(to);
            }
        }
    }
}

/// The sums of a tile in memory: for tiles at an edge, for those of few rows, and for a C whose rows are not dense.
#[repr(C, align(64))]
struct Spilled<E> {
    sums: [MaybeUninit<E>; MOST_ROWS * MOST_COLUMNS],
}

impl<E: Lanes> Spilled<E> {
    #[inline(always)]
    fn new() -> Self {
        Self { sums: [MaybeUninit::uninit(); MOST_ROWS * MOST_COLUMNS] }
    }

    #[inline(always)]
    fn keep<V: Vector<Element = E>, const ROWS: usize>(&mut self, sums: &[[V; COLUMN_VECTORS]; ROWS]) {
        for (to, &sum) in self.sums.chunks_exact_mut(V::LANES).zip(sums.as_flattened()) {
            // SAFETY: the piece is as long as the vector.
            unsafe { sum.store(to.as_mut_ptr().cast()) };
        }
    }

    /// alpha sums + beta C (+ bias) into C, of a tile whose rows were kept.
    #[inline(always)]
    unsafe fn finish<V: Vector<Element = E>>(&self, [rows, columns]: [usize; 2], c: &Target<E>, stage: &Stage<E>) {
        let width = COLUMN_VECTORS * V::LANES;
        // SAFETY: `columns` elements of the bias are readable by the caller's promise.
        let bias = unsafe { biases::<V>(stage, columns) };
        for (row, sums) in self.sums.chunks_exact(width).take(rows).enumerate() {
            // SAFETY: `columns` elements of each row of C (and of the bias) are accessible by the caller's promise, and `keep` has written
            // the sums of every row.
            unsafe {
                for column in (0..columns).step_by(V::LANES) {
                    let (to, count) = (c.from(row, column), V::LANES.min(columns - column));
                    let mut value = V::load(sums.as_ptr().add(column).cast()).mul(V::splat(stage.alpha));
                    if stage.beta != E::ZERO {
                        value = gather::<V>(&to.source(), count).mul_add(V::splat(stage.beta), value);
                    }
                    if stage.bias.is_some() {
                        value = value.add(bias[column / V::LANES]);
                    }
                    scatter(value, &to, count);
                }
            }
        }
    }
}

/// The activation on a tile that stands in C: it is in the first-level cache, and exponentials are too long to be unrolled for every tile.
#[inline(always)]
unsafe fn activate_tile<V: Vector>([rows, columns]: [usize; 2], c: &Target<V::Element>, activation: Activation) {
    let mut done = 0;
    if columns == COLUMN_VECTORS * V::LANES && c.column == 1 {
        for first in (0..rows - rows % 2).step_by(2) {
            let mut values = [V::zero(); 2 * COLUMN_VECTORS];
            let place = |at: usize| c.from(first + at / COLUMN_VECTORS, at % COLUMN_VECTORS * V::LANES).pointer;
            // SAFETY: whole vectors of C by the caller's promise.
            unsafe {
                for (at, value) in values.iter_mut().enumerate() {
                    *value = V::load(place(at));
                }
                activate_all(activation, &mut values);
                for (at, value) in values.into_iter().enumerate() {
                    value.store(place(at));
                }
            }
        }
        done = rows - rows % 2;
    }
    for row in done..rows {
        for column in (0..columns).step_by(V::LANES) {
            let (to, count) = (c.from(row, column), V::LANES.min(columns - column));
            // SAFETY: elements of C by the caller's promise.
            unsafe { scatter(activate(activation, gather::<V>(&to.source(), count)), &to, count) };
        }
    }
}

/// The bias of each column, where there is one.
#[inline(always)]
unsafe fn biases<V: Vector>(stage: &Stage<V::Element>, columns: usize) -> [V; COLUMN_VECTORS] {
    let mut biases = [V::zero(); COLUMN_VECTORS];
    if let Some(bias) = stage.bias {
        for (vector, to) in biases.iter_mut().enumerate() {
            let column = vector * V::LANES;
            // SAFETY: as many elements as there are columns by the caller's promise.
            *to = unsafe { gather::<V>(&bias.from(0, column), columns.saturating_sub(column).min(V::LANES)) };
        }
    }
    biases
}

/// The first `count` values of a row.
#[inline(always)]
unsafe fn gather<V: Vector>(row: &Source<V::Element>, count: usize) -> V {
    let mut values = [V::Element::ZERO; MOST_LANES];
    // SAFETY: `count` values by the caller's promise; the array has room for any vector.
    unsafe {
        if row.column == 1 {
            return V::load_first(row.pointer, count);
        }
        for (at, value) in values[..count].iter_mut().enumerate() {
            *value = *row.from(0, at).pointer;
        }
        V::load(values.as_ptr())
    }
}

/// Writes the first `count` values of a vector into a row.
#[inline(always)]
unsafe fn scatter<V: Vector>(values: V, row: &Target<V::Element>, count: usize) {
    // SAFETY: `count` places by the caller's promise; the array has room for any vector.
    unsafe {
        if row.column == 1 {
            return values.store_first(row.pointer, count);
        }
        let mut lanes = [MaybeUninit::<V::Element>::uninit(); MOST_LANES];
        values.store(lanes.as_mut_ptr().cast());
        // A constant count is unrolled.
        if count == V::LANES {
            for (at, value) in lanes[..V::LANES].iter().enumerate() {
                *row.from(0, at).pointer = value.assume_init();
            }
        } else {
            for (at, value) in lanes[..count].iter().enumerate() {
                *row.from(0, at).pointer = value.assume_init();
            }
        }
    }
}
