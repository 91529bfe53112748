//! Block sizes from the sizes of the caches.
//!
//! A panel of B, `KC x tile columns`, is read again and again for the panels of A and is to stay in the first-level cache; a block of A,
//! `mc x KC`, stays in half of the second level; a block of B, `KC x nc`, in a share of the third (Goto and van de Geijn, 2008, section 6).

use crossover_core::caches::cache_bytes;

use super::micro::{COLUMN_VECTORS, tile_rows};
use crate::vector::Vector;

/// Steps along k of one block. A constant, so that the distance of a packed row of A is one too.
pub(crate) const KC: usize = 256;

/// Bytes of the caches of one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocking {
    second: usize,
    third: usize,
}

impl Blocking {
    /// Of this machine, or common sizes where it does not tell.
    pub(crate) fn of_machine(threads: usize) -> Self {
        // index2 and index3 are the second and third level.
        Self { second: cache_bytes(2).unwrap_or(1 << 20), third: cache_bytes(3).unwrap_or(8 << 20) / threads.max(1) }
    }

    /// Rows of a block of A, a multiple of the tile's.
    pub(super) fn rows<V: Vector>(&self) -> usize {
        let tile = tile_rows::<V>();
        (self.second / 3 / (KC * size_of::<V::Element>()) / tile).max(1) * tile
    }

    /// Columns of a block of B, a multiple of the tile's.
    pub(super) fn columns<V: Vector>(&self) -> usize {
        let tile = V::LANES * COLUMN_VECTORS;
        ((self.third / 4).min(4 << 20) / (KC * size_of::<V::Element>()) / tile).max(1) * tile
    }
}
