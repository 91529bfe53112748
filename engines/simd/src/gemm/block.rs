//! The loops around the micro-kernel, for the part of a product that one thread makes.

use std::ops::Range;

use super::along::Panels;
use super::blocking::KC;
use super::micro::{COLUMN_VECTORS, Form, Stage, tile, tile_rows};
use super::pack::{pack_columns, pack_rows, panel_elements};
use super::{Blocking, Product, Right};
use crate::isa::Kernel;
use crate::vector::{Lanes, Vector};

/// Rows and columns of C that one thread makes, with its packing buffers.
pub(super) struct Part<'a, E> {
    pub(super) product: &'a Product<E>,
    pub(super) blocking: &'a Blocking,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) buffers: (&'a mut [E], &'a mut [E]),
}

/// Asks how large the packing buffers must be for a part of these extents.
pub(super) struct BufferSizes<'a> {
    pub(super) blocking: &'a Blocking,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) k: usize,
    pub(super) packs_right: bool,
}

impl<E: Lanes> Kernel<E> for BufferSizes<'_> {
    type Output = [usize; 2];

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) -> [usize; 2] {
        let (tile, tile_columns) = (tile_rows::<V>(), V::LANES * COLUMN_VECTORS);
        let rows = self.rows.min(self.blocking.rows::<V>()).div_ceil(tile) * panel_elements(tile);
        let columns = self.columns.min(self.blocking.columns::<V>()).next_multiple_of(tile_columns) * self.k.min(KC);
        [rows, if self.packs_right { columns } else { 0 }]
    }
}

/// The width of a tile.
pub(crate) struct TileColumns;

impl<E: Lanes> Kernel<E> for TileColumns {
    type Output = usize;

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) -> usize {
        V::LANES * COLUMN_VECTORS
    }
}

/// The height of a tile.
pub(crate) struct TileRows;

impl<E: Lanes> Kernel<E> for TileRows {
    type Output = usize;

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) -> usize {
        tile_rows::<V>()
    }
}

impl<E: Lanes> Kernel<E> for Part<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        let Part { product, blocking, rows, columns, buffers: (a_panels, b_panels) } = self;
        let tile_columns = V::LANES * COLUMN_VECTORS;
        let (mc, nc) = (equal(rows.len(), blocking.rows::<V>(), tile_rows::<V>()), blocking.columns::<V>());
        // Equal blocks along k; one also where there is nothing to sum, for what follows the product.
        let blocks = product.k.div_ceil(KC).max(1);
        let kc = product.k.div_ceil(blocks);
        let nc = if matches!(product.b, Right::Panels(_)) { columns.len().max(1) } else { nc };
        for jc in columns.clone().step_by(nc) {
            let width = nc.min(columns.end - jc);
            for block in 0..blocks {
                let (pc, k) = (block * kc, kc.min(product.k - block * kc));
                let (b, b_panel) = match &product.b {
                    Right::Plain(b) => {
                        pack_columns::<V>(&b.from(pc, jc), k, width, tile_columns, b_panels);
                        (b_panels.as_ptr(), k * tile_columns)
                    }
                    // The part starts on a panel.
                    Right::Panels(panels) => (panels.wrapping_add(jc * product.k + pc * tile_columns), product.k * tile_columns),
                };
                let mut stage = Stage::of(&product.epilogue, block == 0, block + 1 == blocks);
                stage.bias = stage.bias.map(|bias| bias.from(0, jc));
                for ic in rows.clone().step_by(mc) {
                    let height = mc.min(rows.end - ic);
                    let form = pack_rows(&product.a.from(ic, pc), height, k, tile_rows::<V>(), a_panels);
                    let inner = Inner { form, a: a_panels.as_ptr(), b, b_panel, k, extents: [height, width] };
                    // SAFETY: both panels were packed for these extents, and the tiles lie inside C.
                    unsafe { inner.run::<V>(&product.c.from(ic, jc), &stage) };
                }
            }
        }
    }
}

/// The size of equal blocks, each of whole tiles and at most `most`.
fn equal(extent: usize, most: usize, tile: usize) -> usize {
    extent.div_ceil(extent.div_ceil(most).max(1)).next_multiple_of(tile).max(tile)
}

/// One block of A with one block of B.
struct Inner<E> {
    form: Form,
    a: *const E,
    b: *const E,
    b_panel: usize,
    k: usize,
    extents: [usize; 2],
}

impl<E: Lanes> Inner<E> {
    #[inline(always)]
    unsafe fn run<V: Vector<Element = E>>(&self, c: &super::Target<E>, stage: &Stage<E>) {
        let [height, width] = self.extents;
        let (tile_height, tile_width) = (tile_rows::<V>(), V::LANES * COLUMN_VECTORS);
        // While a panel of B is worked on, the next one comes to the second-level cache, a part with each tile.
        let part = (self.k * tile_width).div_ceil(height.div_ceil(tile_height).max(1)).next_multiple_of(V::LANES);
        for (panel, column) in (0..width).step_by(tile_width).enumerate() {
            let b = self.b.wrapping_add(panel * self.b_panel);
            let next = b.wrapping_add(self.b_panel);
            let stage = Stage { bias: stage.bias.map(|bias| bias.from(0, column)), ..*stage };
            let columns = tile_width.min(width - column);
            for (panel_at, row) in (0..height).step_by(tile_height).enumerate() {
                let a = self.a.wrapping_add(panel_at * panel_elements(tile_height));
                let panels = Panels::new(self.k, a, [0, 0], b, tile_width);
                for line in (0..part).step_by(V::LANES) {
                    V::prefetch_second(next.wrapping_add(panel_at * part + line));
                }
                // SAFETY: the caller's promises are handed on.
                unsafe { tile::<V>(self.form, &panels, [tile_height.min(height - row), columns], &c.from(row, column), &stage) };
            }
        }
    }
}
