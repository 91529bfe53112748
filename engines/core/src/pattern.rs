//! Attention patterns as data: which query may see which key.
//!
//! Engines skip tiles by [`AttentionPattern::tile`] and mask single pairs by [`AttentionPattern::allows`], so that one streaming
//! kernel serves every pattern. Positions are absolute: a decode step at position 1000 asks about query 1000.

use std::sync::Arc;

/// Which (query, key) pairs take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttentionPattern {
    /// Every pair.
    Full,
    /// Keys up to the query's own position.
    Causal,
    /// Keys at most `left` before and `right` after the query.
    Window {
        /// Keys before the query.
        left: usize,
        /// Keys after the query.
        right: usize,
    },
    /// As `Window`, but only every `dilation`-th key counted from the query.
    Dilated {
        /// Reach to the left, in keys of the dilated grid.
        left: usize,
        /// Reach to the right, likewise.
        right: usize,
        /// Distance between neighbours of the grid.
        dilation: usize,
    },
    /// The last `stride` keys and every `stride`-th before them (Child et al., 2019, section 4.2), causal.
    Strided {
        /// The stride.
        stride: usize,
    },
    /// The keys of the query's own block, and the last `summary` keys of every earlier block (the same, section 4.2), causal. Blocks of
    /// no positions show nothing.
    Fixed {
        /// Block length.
        block: usize,
        /// Summary columns of each block.
        summary: usize,
    },
    /// A window, plus `global` leading tokens that see and are seen by all (Longformer, BigBird ITC).
    GlobalWindow {
        /// Leading global tokens.
        global: usize,
        /// Keys before the query.
        left: usize,
        /// Keys after the query.
        right: usize,
    },
    /// Whole blocks, listed explicitly.
    Blocks(Arc<BlockBitmap>),
}

/// A bitmap over square-ish blocks: rows are query blocks, columns key blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBitmap {
    block: usize,
    columns: usize,
    bits: Vec<bool>,
    causal: bool,
}

impl BlockBitmap {
    /// A bitmap of `rows` x `columns` blocks of `block` positions each. Blocks of no positions show nothing.
    pub fn new(block: usize, rows: usize, columns: usize, visible: impl Fn(usize, usize) -> bool) -> Self {
        let bits = (0..rows * columns).map(|at| visible(at / columns, at % columns)).collect();
        Self { block, columns, bits, causal: false }
    }

    /// The same blocks, but within them only keys up to the query's own position.
    pub fn causal(self) -> Self {
        Self { causal: true, ..self }
    }

    fn allows(&self, query: usize, key: usize) -> bool {
        let (Some(row), Some(column)) = (query.checked_div(self.block), key.checked_div(self.block)) else { return false };
        let seen = column < self.columns && self.bits.get(row * self.columns + column).copied().unwrap_or(false);
        seen && (key <= query || !self.causal)
    }
}

/// What a tile of pairs looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TileState {
    /// No pair takes part: skip it.
    Skip,
    /// Every pair does: no masking needed.
    Full,
    /// Some do.
    Partial,
}

impl AttentionPattern {
    /// May the query at this position see the key at that one?
    pub fn allows(&self, query: usize, key: usize) -> bool {
        match self {
            Self::Full => true,
            Self::Causal => key <= query,
            Self::Window { left, right } => in_window(query, key, *left, *right),
            Self::Dilated { left, right, dilation } => {
                query.abs_diff(key).is_multiple_of((*dilation).max(1))
                    && in_window(query, key, left.saturating_mul((*dilation).max(1)), right.saturating_mul((*dilation).max(1)))
            }
            Self::Strided { stride } => key <= query && (query - key < *stride || (query - key).is_multiple_of(*stride)),
            Self::Fixed { block: 0, .. } => false,
            Self::Fixed { block, summary } => {
                key <= query && (key / block == query / block || key % block >= block.saturating_sub(*summary))
            }
            Self::GlobalWindow { global, left, right } => query < *global || key < *global || in_window(query, key, *left, *right),
            Self::Blocks(bitmap) => bitmap.allows(query, key),
        }
    }

    /// The state of a tile of queries and keys. Exact for every pattern; the cheap ones are answered from the corners.
    pub fn tile(&self, queries: std::ops::Range<usize>, keys: std::ops::Range<usize>) -> TileState {
        if queries.is_empty() || keys.is_empty() {
            return TileState::Skip;
        }
        let (first_query, last_query) = (queries.start, queries.end - 1);
        let (first_key, last_key) = (keys.start, keys.end - 1);
        match self {
            Self::Full => TileState::Full,
            Self::Causal if first_key > last_query => TileState::Skip,
            Self::Causal if last_key <= first_query => TileState::Full,
            Self::Causal => TileState::Partial,
            Self::Window { left, right } => {
                let beyond = first_key > last_query.saturating_add(*right) || last_key.saturating_add(*left) < first_query;
                let inside = last_key <= first_query.saturating_add(*right) && first_key.saturating_add(*left) >= last_query;
                match (beyond, inside) {
                    (true, _) => TileState::Skip,
                    (_, true) => TileState::Full,
                    _ => TileState::Partial,
                }
            }
            _ => self.tile_by_pairs(queries, keys),
        }
    }

    /// How many pairs take part among `queries` x `keys` positions starting at `query_offset` and 0.
    pub fn visible_pairs(&self, query_offset: usize, queries: usize, keys: usize) -> u64 {
        match self {
            Self::Full => queries as u64 * keys as u64,
            Self::Causal => (query_offset..query_offset + queries).map(|query| (query + 1).min(keys) as u64).sum(),
            Self::Window { left, right } => (query_offset..query_offset + queries)
                .map(|query| (query.saturating_add(*right).saturating_add(1).min(keys)).saturating_sub(query.saturating_sub(*left)) as u64)
                .sum(),
            _ => (query_offset..query_offset + queries).map(|query| (0..keys).filter(|&key| self.allows(query, key)).count() as u64).sum(),
        }
    }

    fn tile_by_pairs(&self, queries: std::ops::Range<usize>, keys: std::ops::Range<usize>) -> TileState {
        let total = queries.len() * keys.len();
        let visible = queries.flat_map(|query| keys.clone().map(move |key| (query, key))).filter(|&(query, key)| self.allows(query, key));
        match visible.count() {
            0 => TileState::Skip,
            count if count == total => TileState::Full,
            _ => TileState::Partial,
        }
    }
}

fn in_window(query: usize, key: usize, left: usize, right: usize) -> bool {
    key.saturating_add(left) >= query && key <= query.saturating_add(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns() -> Vec<AttentionPattern> {
        vec![
            AttentionPattern::Full,
            AttentionPattern::Causal,
            AttentionPattern::Window { left: 3, right: 0 },
            AttentionPattern::Window { left: 2, right: 5 },
            AttentionPattern::Dilated { left: 2, right: 1, dilation: 3 },
            AttentionPattern::Strided { stride: 4 },
            AttentionPattern::Fixed { block: 4, summary: 1 },
            AttentionPattern::GlobalWindow { global: 2, left: 1, right: 1 },
            AttentionPattern::Blocks(Arc::new(BlockBitmap::new(4, 5, 5, |row, column| (row + column) % 3 == 0))),
            AttentionPattern::Blocks(Arc::new(BlockBitmap::new(4, 5, 5, |_, column| column != 1).causal())),
        ]
    }

    #[test]
    fn tiles_agree_with_pairs() {
        for pattern in patterns() {
            for (queries, keys) in [(0..4, 0..4), (4..8, 0..4), (0..4, 4..8), (3..9, 5..6), (7..19, 0..20), (10..11, 2..9)] {
                let exact = pattern.tile_by_pairs(queries.clone(), keys.clone());
                assert_eq!(pattern.tile(queries.clone(), keys.clone()), exact, "{pattern:?} {queries:?} {keys:?}");
            }
        }
    }

    #[test]
    fn counts_agree_with_pairs() {
        for pattern in patterns() {
            for (offset, queries, keys) in [(0, 17, 17), (5, 3, 17), (0, 1, 9), (12, 4, 7)] {
                let exact = (offset..offset + queries).flat_map(|q| (0..keys).map(move |k| (q, k)));
                let exact = exact.filter(|&(q, k)| pattern.allows(q, k)).count() as u64;
                assert_eq!(pattern.visible_pairs(offset, queries, keys), exact, "{pattern:?}");
            }
        }
    }

    #[test]
    fn known_rows() {
        let row = |pattern: &AttentionPattern, query| (0..12).filter(|&key| pattern.allows(query, key)).collect::<Vec<_>>();
        assert_eq!(row(&AttentionPattern::Window { left: 2, right: 1 }, 5), [3, 4, 5, 6]);
        assert_eq!(row(&AttentionPattern::Strided { stride: 4 }, 10), [2, 6, 7, 8, 9, 10]);
        assert_eq!(row(&AttentionPattern::Fixed { block: 4, summary: 1 }, 9), [3, 7, 8, 9]);
        assert_eq!(row(&AttentionPattern::Dilated { left: 2, right: 1, dilation: 2 }, 6), [2, 4, 6, 8]);
        assert_eq!(row(&AttentionPattern::GlobalWindow { global: 1, left: 1, right: 0 }, 0).len(), 12);
        let blocks = BlockBitmap::new(4, 3, 3, |row, column| row != column + 1);
        assert_eq!(row(&AttentionPattern::Blocks(Arc::new(blocks.clone())), 9), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(row(&AttentionPattern::Blocks(Arc::new(blocks.causal())), 9), [0, 1, 2, 3, 8, 9]);
    }
}
