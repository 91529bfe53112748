//! What is divided among threads.
//!
//! A product with packed B is cut into parts of rows, each of which packs its own rows of A once. Where B has to be packed too, threads
//! get columns: each packs its own, and copies A's panels for itself. Batches are parts by nature.

use std::ops::Range;

use crossover_core::error::Result;

use super::block::{BufferSizes, Part, TileColumns, TileRows};
use super::few::{FewRows, suits};
use super::{Blocking, Product, Right, Source, Target};
use crate::aligned::Plain;
use crate::isa::{Extras, Isa};
use crate::pool::{LEAST_FOR_THREADS, LEAST_READ_FOR_THREADS, PARTS, Pool};
use crate::vector::Lanes;
use crate::workspace::Workspace;

/// What kernels run on: instructions, threads, their memory.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) isa: Isa,
    pub(crate) extras: Extras,
    pub(crate) pool: Pool,
    pub(crate) workspace: Workspace,
    pub(crate) blocking: Blocking,
}

/// Tiles of rows for which a panel of B should be read from the first-level cache before the next one comes.
pub(crate) const LEAST_TILES: usize = 4;

/// `batch` products of the same extents and strides; `product_of` says where each of them lies.
pub(crate) fn multiply<E: Lanes + Plain>(engine: &Engine, batch: usize, product_of: impl Fn(usize) -> Product<E> + Sync) -> Result<()> {
    if batch == 0 {
        return Ok(());
    }
    let first = product_of(0);
    if first.m == 0 || first.n == 0 {
        return Ok(());
    }
    if turns(&first) {
        return multiply_as_it_is(engine, batch, |at| turned(product_of(at)));
    }
    multiply_as_it_is(engine, batch, product_of)
}

fn multiply_as_it_is<E: Lanes + Plain>(engine: &Engine, batch: usize, product_of: impl Fn(usize) -> Product<E> + Sync) -> Result<()> {
    let first = product_of(0);
    let Product { m, n, k, .. } = first;
    let (tile_rows, tile_columns) = (engine.isa.run::<E, _>(TileRows), engine.isa.run::<E, _>(TileColumns));
    let few = suits(&first);
    let threads =
        if batch * m * n * k < LEAST_FOR_THREADS && !(few && batch * n * k >= LEAST_READ_FOR_THREADS) { 1 } else { engine.pool.threads() };
    let grid = if few {
        let parts = (n * k / LEAST_READ_FOR_THREADS * 2).clamp(1, PARTS * threads);
        Grid { rows: Cut::whole(m), columns: Cut::new(n, tile_columns, if threads == 1 { 1 } else { parts }) }
    } else {
        Grid::of(&first, [tile_rows, tile_columns], if batch >= PARTS * threads { 1 } else { threads })
    };
    let [rows, columns] = [grid.rows.largest(), grid.columns.largest()];
    let packs_right = matches!(first.b, Right::Plain(_));
    let sizes =
        if few { [0, 0] } else { engine.isa.run::<E, _>(BufferSizes { blocking: &engine.blocking, rows, columns, k, packs_right }) };
    engine.workspace.reserve::<E>(sizes)?;
    let parts = grid.rows.parts * grid.columns.parts;
    let work = |participant: usize, task: usize| {
        let product = product_of(task / parts);
        let (row, column) = (task % parts / grid.columns.parts, task % grid.columns.parts);
        let (rows, columns) = (grid.rows.range(row), grid.columns.range(column));
        if few {
            engine.isa.run(FewRows { product: &product, columns });
        } else {
            let mut piece = engine.workspace.piece(participant);
            engine.isa.run(Part { product: &product, blocking: &engine.blocking, rows, columns, buffers: piece.split(sizes) });
        }
    };
    engine.pool.for_each_on(threads, batch * parts, work);
    Ok(())
}

/// One product on the calling thread, for kernels that divide their work themselves.
pub(crate) struct Alone<'a, E> {
    pub(crate) product: &'a Product<E>,
    /// As large as [`Alone::elements`] says.
    pub(crate) buffers: (&'a mut [E], &'a mut [E]),
}

impl<E: Lanes + Plain> Alone<'_, E> {
    /// Sizes of the packing buffers for a plain B.
    pub(crate) fn elements(engine: &Engine, [rows, columns, k]: [usize; 3]) -> [usize; 2] {
        engine.isa.run::<E, _>(BufferSizes { blocking: &engine.blocking, rows, columns, k, packs_right: true })
    }

    /// Size of the first of them, where B is packed and no second one is needed.
    pub(crate) fn elements_beside_panels(engine: &Engine, rows: usize, k: usize) -> usize {
        let [elements, _] = engine.isa.run::<E, _>(BufferSizes { blocking: &engine.blocking, rows, columns: 0, k, packs_right: false });
        elements
    }

    pub(crate) fn run(self, engine: &Engine) {
        let Self { product, buffers } = self;
        if product.m == 0 || product.n == 0 {
            return;
        }
        if suits(product) {
            return engine.isa.run(FewRows { product, columns: 0..product.n });
        }
        engine.isa.run(Part { product, blocking: &engine.blocking, rows: 0..product.m, columns: 0..product.n, buffers });
    }
}

/// A product with few columns is the transpose of one with few rows.
fn turns<E>(product: &Product<E>) -> bool {
    match &product.b {
        Right::Plain(b) => {
            let rows_of_turned_b = product.a.row == 1 || (product.a.column == 1 && b.row == 1);
            product.n < product.m && product.n <= super::micro::FEW_ROWS && product.epilogue.bias.is_none() && rows_of_turned_b
        }
        Right::Panels(_) => false,
    }
}

fn turned<E: Copy>(product: Product<E>) -> Product<E> {
    let Product { m, n, a, b, c, .. } = product;
    let Right::Plain(b) = b else { return product };
    let flip = |matrix: Source<E>| Source { row: matrix.column, column: matrix.row, ..matrix };
    Product { m: n, n: m, a: flip(b), b: Right::Plain(flip(a)), c: Target { row: c.column, column: c.row, ..c }, ..product }
}

/// An extent cut into parts of whole tiles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    extent: usize,
    tile: usize,
    pub(crate) parts: usize,
}

/// How one product is cut.
struct Grid {
    rows: Cut,
    columns: Cut,
}

impl Cut {
    pub(crate) fn new(extent: usize, tile: usize, parts: usize) -> Self {
        Self { extent, tile, parts: parts.clamp(1, extent.div_ceil(tile).max(1)) }
    }

    pub(crate) fn whole(extent: usize) -> Self {
        Self::new(extent, extent.max(1), 1)
    }

    pub(crate) fn range(self, part: usize) -> Range<usize> {
        let tiles = self.extent.div_ceil(self.tile);
        let end = |part: usize| (part * tiles / self.parts * self.tile).min(self.extent);
        end(part)..end(part + 1)
    }

    pub(crate) fn largest(self) -> usize {
        (0..self.parts).map(|part| self.range(part).len()).max().unwrap_or(0)
    }
}

impl Grid {
    fn of<E>(product: &Product<E>, [tile_rows, tile_columns]: [usize; 2], threads: usize) -> Self {
        let whole = Self { rows: Cut::whole(product.m), columns: Cut::whole(product.n) };
        if threads == 1 {
            return whole;
        }
        match product.b {
            Right::Panels(_) => {
                let by_rows = (product.m / (LEAST_TILES * tile_rows) / threads * threads).min(PARTS * threads);
                match by_rows {
                    0 => Self { columns: Cut::new(product.n, tile_columns, threads), ..whole },
                    parts => Self { rows: Cut::new(product.m, tile_rows, parts), ..whole },
                }
            }
            Right::Plain(_) if product.n >= LEAST_TILES * tile_columns * threads || product.n >= product.m => {
                Self { columns: Cut::new(product.n, tile_columns, threads), ..whole }
            }
            Right::Plain(_) => Self { rows: Cut::new(product.m, tile_rows, threads), ..whole },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_extent_without_overlap_and_start_on_tiles() {
        for (extent, tile, parts) in [(0, 4, 3), (1, 4, 2), (100, 14, 4), (512, 32, 2), (33, 32, 8)] {
            let cut = Cut::new(extent, tile, parts);
            let mut end = 0;
            for part in 0..cut.parts {
                let range = cut.range(part);
                assert_eq!((range.start, range.start % tile), (end, 0));
                end = range.end;
            }
            assert_eq!(end, extent);
        }
    }
}
