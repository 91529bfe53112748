//! The part of a product that one thread makes.

use std::marker::PhantomData;
use std::ops::Range;

use super::codes::{Code, Panels};
use super::decode::{Widen, with_decoder};
use super::micro::{Micro, MicroKernel, panel_words};
use super::pack::{pack_columns, row_words, scratch_words};
use super::tile::{Finish, Sums};
use super::unit::Word;
use super::{Product, Right};
use crate::vector::Vector;

/// Bytes of the packed rows of A that stay in the second-level cache while all of B passes.
const ROWS_BYTES: usize = 320 << 10;
/// Bytes of the panels of a plain B that are packed together.
const COLUMNS_BYTES: usize = 4 << 20;

/// As wide as any tile.
static NOTHING_TO_TAKE_OFF: [i32; 32] = [0; 32];

/// What a micro-kernel's tiles look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) columns: usize,
    word: Word,
    /// Rows that a panel of A has room for, and its words for so many elements.
    room: usize,
    panel_words: fn(usize) -> usize,
}

/// Asks for it.
pub(super) struct ShapeOf;

impl MicroKernel for ShapeOf {
    type Output = Shape;

    #[inline(always)]
    fn run<M: Micro>(self) -> Shape {
        Shape { rows: M::ROWS, columns: 2 * M::V::LANES, word: M::WORD, room: M::ROOM, panel_words: panel_words::<M> }
    }
}

impl Shape {
    /// Tiles of rows of A that are packed together.
    fn row_tiles(self, rows: usize, k: usize) -> usize {
        let bytes = 4 * (self.panel_words)(k);
        (ROWS_BYTES / bytes.max(1)).clamp(1, 64).min(rows.div_ceil(self.rows)).max(1)
    }

    /// Panels of a plain B that are packed together.
    fn column_panels(self, columns: usize, k: usize) -> usize {
        let bytes = 4 * self.columns * row_words(k, self.word)[1];
        (COLUMNS_BYTES / bytes.max(1)).max(1).min(columns.div_ceil(self.columns)).max(1)
    }

    /// Words of scratch for A with its scales and for B.
    pub(super) fn scratch(self, product: &Product<Right<'_>>, rows: usize, columns: usize) -> [usize; 2] {
        let (k, tiles) = (product.k, self.row_tiles(rows, product.k));
        let distance = row_words(k, self.word)[1];
        let a = tiles * ((self.panel_words)(k) + self.room) + scratch_words(k, self.word);
        let b = match &product.right {
            Right::Plain(_) => self.column_panels(columns, k) * distance * self.columns,
            Right::Panels(panels) if self.takes(panels.code) => 0,
            Right::Panels(_) => k * self.columns,
        };
        [a, b]
    }

    /// Are such words multiplied as they are?
    fn takes(self, code: Code) -> bool {
        match self.word {
            Word::F32 => code == Code::F32,
            Word::Bf16 => code == Code::Bf16,
            Word::BiasedInt8 | Word::Int8 => code == Code::Int8,
        }
    }
}

/// Rows and columns of C.
pub(super) struct Part<'a> {
    pub(super) product: &'a Product<Right<'a>>,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
    pub(super) scratch: (&'a mut [u32], &'a mut [u32]),
}

/// Rows of A as they were packed.
struct Packed<'a> {
    panels: &'a [u32],
    scales: &'a [f32],
    rows: Range<usize>,
}

impl MicroKernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<M: Micro>(self) {
        let Part { product, rows, columns, scratch: (a, b) } = self;
        let _ready = M::ready();
        let shape = ShapeOf.run::<M>();
        let (distance, panel_words) = (row_words(product.k, M::WORD)[1], panel_words::<M>(product.k));
        let tiles = shape.row_tiles(rows.len(), product.k);
        let (a_panels, rest) = a.split_at_mut(tiles * panel_words);
        let (scales, packing) = rest.split_at_mut(tiles * M::ROOM);
        // SAFETY: of the same size and alignment, and every pattern of bits is a value.
        let scales: &mut [f32] = unsafe { std::slice::from_raw_parts_mut(scales.as_mut_ptr().cast(), scales.len()) };
        let together = match &product.right {
            Right::Plain(_) => shape.column_panels(columns.len(), product.k) * shape.columns,
            Right::Panels(_) => columns.len().max(1),
        };
        for first_column in columns.clone().step_by(together) {
            let columns = first_column..columns.end.min(first_column + together);
            if let Right::Plain(plain) = &product.right {
                // SAFETY: whoever made the product has checked that its matrices are inside their buffers.
                unsafe { pack_columns::<M>(&plain.from(0, columns.start), product.k, columns.len(), b, packing) };
            }
            for first in rows.clone().step_by(tiles * shape.rows) {
                let rows = first..rows.end.min(first + tiles * shape.rows);
                for (tile, row) in rows.clone().step_by(shape.rows).enumerate() {
                    let count = shape.rows.min(rows.end - row);
                    let panel = &mut a_panels[tile * panel_words..][..panel_words];
                    let scales = &mut scales[tile * M::ROOM..][..M::ROOM];
                    // SAFETY: likewise.
                    unsafe { M::pack(&product.a.from(row, 0), count, product.k, panel, packing, scales) };
                }
                let packed = Packed { panels: a_panels, scales, rows };
                for column in columns.clone().step_by(shape.columns) {
                    let at = (column - columns.start) / shape.columns;
                    let panel = match &product.right {
                        Right::Plain(_) => b[at * distance * shape.columns..].as_ptr(),
                        Right::Panels(panels) if shape.takes(panels.code) => panels.panel(column / shape.columns, shape.columns),
                        Right::Panels(panels) => widened::<M::V>(panels, column / shape.columns, b),
                    };
                    let columns = column..columns.end.min(column + shape.columns);
                    // SAFETY: the panel was packed for these columns.
                    unsafe { multiply::<M>(product, &packed, columns, panel) };
                }
            }
        }
    }
}

/// A panel of codes as singles.
#[inline(always)]
fn widened<V: Vector<Element = f32>>(panels: &Panels<'_>, panel: usize, into: &mut [u32]) -> *const u32 {
    // SAFETY: of the same size and alignment, and every pattern of bits is a value.
    let singles: &mut [f32] = unsafe { std::slice::from_raw_parts_mut(into.as_mut_ptr().cast(), into.len()) };
    with_decoder(panels, Widen::<V> { panels, panel, into: singles, vectors: PhantomData });
    into.as_ptr()
}

/// All packed rows with one panel of B.
#[inline(always)]
unsafe fn multiply<M: Micro>(product: &Product<Right<'_>>, packed: &Packed<'_>, columns: Range<usize>, panel: *const u32) {
    let (words, panel_words) = (row_words(product.k, M::WORD)[0], panel_words::<M>(product.k));
    let of_columns = match &product.right {
        Right::Panels(Panels { scales: Some(scales), corrections, .. }) if M::WORD.is_integer() => {
            // Without a bias of A's codes there is nothing to take off; the same zeros serve every panel.
            let corrections = match M::WORD {
                Word::BiasedInt8 => corrections.as_ptr().wrapping_add(columns.start),
                _ => NOTHING_TO_TAKE_OFF.as_ptr(),
            };
            Some((scales.as_ptr().wrapping_add(columns.start), corrections))
        }
        _ => None,
    };
    let bias = product.bias.map(|bias| bias.from(0, columns.start));
    let mut sums = Sums::zeros();
    for (at, row) in packed.rows.clone().step_by(M::ROWS).enumerate() {
        let rows = M::ROWS.min(packed.rows.end - row);
        let finish = Finish {
            alpha: product.alpha,
            beta: product.beta,
            activation: product.activation,
            bias,
            row_scales: if M::WORD.is_integer() { Some(&packed.scales[at * M::ROOM..][..rows]) } else { None },
            columns: of_columns,
        };
        let a = packed.panels[at * panel_words..].as_ptr();
        // SAFETY: panels of so many words, and a tile inside C.
        unsafe {
            M::multiply(&mut sums, rows, words, a, panel);
            let c = product.c.from(row, columns.start);
            sums.finish::<M::V>([rows, columns.len()], M::WORD.is_integer(), &c, &finish);
        }
    }
}
