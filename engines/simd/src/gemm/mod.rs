//! Matrix products: C = epilogue(alpha A B + beta C) for matrices with any strides.
//!
//! The scheme is Goto's (Goto and van de Geijn, 2008, section 4) as BLIS cuts it (Van Zee and van de Geijn, 2015): three loops cut the
//! operands into blocks that fit the caches, the blocks are copied ("packed") into the order in which the innermost loops read them, and a
//! micro-kernel keeps a tile of C in registers while it runs along k.
//!
//! | file | what |
//! |---|---|
//! | `along.rs` | the loops along k, which make the sums of a tile in registers |
//! | `micro.rs` | a tile of C: its extents, and how it is finished and stored |
//! | `pack.rs` | panels of A and of B |
//! | `blocking.rs` | block sizes from the sizes of the caches |
//! | `block.rs` | the three loops of one thread |
//! | `few.rs` | few rows: nothing is packed, B is read once |
//! | `driver.rs` | what is divided among threads |
//!
//! Two differences to the textbook. Panels of A are copied row by row instead of transposed: the micro-kernel reads one element of each of
//! its rows anyhow, and with a constant distance between rows these are constant displacements. And threads share nothing: each packs its
//! own part of B, which costs each of them a copy of A's panels instead of a barrier.
//!
//! # What bounds it
//! Two numbers. In registers: a step along k of the widest tile is 28 multiply-adds for 16 loads, so that two loads and two multiply-adds
//! a cycle leave the multiply-adds as the limit. Around it: packing moves each element of B once for m multiply-adds and each element of A
//! once for n, which is what small matrices cannot hide.

mod along;
mod block;
mod blocking;
mod driver;
mod few;
mod micro;
mod pack;

pub(crate) use block::{TileColumns, TileRows};
pub(crate) use blocking::{Blocking, KC as MOST_STEPS};
pub(crate) use driver::{Alone, Cut, Engine, LEAST_TILES, multiply};
pub(crate) use few::dots_with;
pub(crate) use micro::{COLUMN_VECTORS, PANEL_ROW, RowPanel, few_rows_panel, tile_rows};
pub(crate) use pack::pack_columns;

use crossover_core::activation::Activation;

/// A matrix that is read: element (i, j) stands at `pointer + i row + j column`.
#[derive(Debug)]
pub(crate) struct Source<E> {
    pub(crate) pointer: *const E,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// A matrix that is written.
#[derive(Debug)]
pub(crate) struct Target<E> {
    pub(crate) pointer: *mut E,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// B as it comes, or packed once and for all: panels of `tile_columns` columns, each with all of its rows behind each other.
#[derive(Debug)]
pub(crate) enum Right<E> {
    Plain(Source<E>),
    Panels(*const E),
}

/// What a product is followed by.
#[derive(Debug)]
pub(crate) struct Epilogue<E> {
    pub(crate) alpha: E,
    pub(crate) beta: E,
    /// One row.
    pub(crate) bias: Option<Source<E>>,
    pub(crate) activation: Activation,
}

/// One product.
#[derive(Debug)]
pub(crate) struct Product<E> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Source<E>,
    pub(crate) b: Right<E>,
    pub(crate) c: Target<E>,
    pub(crate) epilogue: Epilogue<E>,
}

macro_rules! plain_copy {
    ($($name:ident),*) => { $(
        impl<E: Copy> Clone for $name<E> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<E: Copy> Copy for $name<E> {}
    )* };
}
plain_copy!(Source, Target, Right, Epilogue, Product);

// SAFETY: an address of values that are only read, and numbers.
unsafe impl<E: Send + Sync> Send for Epilogue<E> {}
// SAFETY: likewise.
unsafe impl<E: Send + Sync> Sync for Epilogue<E> {}
// SAFETY: addresses and sizes only. Threads read A and B, which nobody writes meanwhile, and write disjoint tiles of C.
unsafe impl<E: Send + Sync> Send for Product<E> {}
// SAFETY: likewise.
unsafe impl<E: Send + Sync> Sync for Product<E> {}

impl<E> Source<E> {
    /// The part from this row and column on.
    #[inline(always)]
    pub(crate) fn from(&self, row: usize, column: usize) -> Self {
        Self { pointer: self.pointer.wrapping_add(row * self.row + column * self.column), ..*self }
    }
}

impl<E> Target<E> {
    /// The part from this row and column on.
    #[inline(always)]
    pub(crate) fn from(&self, row: usize, column: usize) -> Self {
        Self { pointer: self.pointer.wrapping_add(row * self.row + column * self.column), ..*self }
    }

    /// The same place, to be read.
    #[inline(always)]
    pub(crate) fn source(&self) -> Source<E> {
        Source { pointer: self.pointer, row: self.row, column: self.column }
    }
}
