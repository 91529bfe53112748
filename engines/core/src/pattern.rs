//! Attention patterns as data: which query may see which key.
//!
//! Engines skip tiles by [`AttentionPattern::tile`] and mask single pairs by [`AttentionPattern::allows`], so that one streaming
//! kernel serves every pattern. Positions are absolute: a decode step at position 1000 asks about query 1000.
//!
//! Tiles are asked for inside the timed kernel, so no answer may look at single pairs: a row of any pattern is counted in closed form
//! ([`AttentionPattern::seen`]), and a tile looks at few rows. [`AttentionPattern::allows`] is the definition that the counts are
//! tested against.

use std::ops::Range;
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
    /// A window, dilated as `Dilated` is, plus `global` leading tokens that see and are seen by all (Longformer, BigBird ITC).
    GlobalWindow {
        /// Leading global tokens.
        global: usize,
        /// Reach to the left, in keys of the dilated grid.
        left: usize,
        /// Reach to the right, likewise.
        right: usize,
        /// Distance between neighbours of the grid; 1 is a plain window.
        dilation: usize,
    },
    /// Whole blocks, listed explicitly.
    Blocks(Arc<BlockBitmap>),
}

/// A bitmap over square-ish blocks: rows are query blocks, columns key blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockBitmap {
    block: usize,
    columns: usize,
    /// For each row and each number of leading columns, 0 to all: how many of those are visible.
    visible_before: Vec<u32>,
    causal: bool,
}

impl BlockBitmap {
    /// A bitmap of `rows` x `columns` blocks of `block` positions each. Blocks of no positions show nothing.
    pub fn new(block: usize, rows: usize, columns: usize, visible: impl Fn(usize, usize) -> bool) -> Self {
        let mut visible_before = Vec::with_capacity(rows * (columns + 1));
        for row in 0..rows {
            let mut count = 0;
            visible_before.push(count);
            for column in 0..columns {
                count += u32::from(visible(row, column));
                visible_before.push(count);
            }
        }
        Self { block, columns, visible_before, causal: false }
    }

    /// The same blocks, but within them only keys up to the query's own position.
    pub fn causal(self) -> Self {
        Self { causal: true, ..self }
    }

    fn allows(&self, query: usize, key: usize) -> bool {
        self.seen_before(query, key + 1) > self.seen_before(query, key)
    }

    /// How many keys before `end` the query sees.
    fn seen_before(&self, query: usize, end: usize) -> usize {
        let Some(row) = query.checked_div(self.block) else { return 0 };
        let width = self.columns + 1;
        let Some(counts) = self.visible_before.get(row * width..).and_then(|rest| rest.get(..width)) else { return 0 };
        let end = if self.causal { end.min(query + 1) } else { end };
        let end = end.min(self.columns * self.block);
        let (column, rest) = (end / self.block, end % self.block);
        let whole = counts[column] as usize * self.block;
        if rest > 0 && counts[column + 1] > counts[column] { whole + rest } else { whole }
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
            Self::Dilated { left, right, dilation } => on_grid(query, key, *left, *right, *dilation),
            Self::Strided { stride } => key <= query && (query - key < *stride || (query - key).is_multiple_of(*stride)),
            Self::Fixed { block: 0, .. } => false,
            Self::Fixed { block, summary } => {
                key <= query && (key / block == query / block || key % block >= block.saturating_sub(*summary))
            }
            Self::GlobalWindow { global, left, right, dilation } => {
                query < *global || key < *global || on_grid(query, key, *left, *right, *dilation)
            }
            Self::Blocks(bitmap) => bitmap.allows(query, key),
        }
    }

    /// How many of these keys the query sees.
    pub fn seen(&self, query: usize, keys: Range<usize>) -> usize {
        let within = |first: usize, end: usize| keys.end.min(end).saturating_sub(keys.start.max(first));
        match self {
            Self::Full => keys.len(),
            Self::Causal => within(0, query + 1),
            Self::Window { left, right } => within(query.saturating_sub(*left), query.saturating_add(*right).saturating_add(1)),
            Self::Dilated { left, right, dilation } => grid_points(query, keys, *left, *right, *dilation),
            Self::Strided { stride: 0 } => within(query, query + 1),
            Self::Strided { stride } => {
                let near = (query + 1).saturating_sub(*stride);
                let far = |end: usize| (end.min(near) + stride - 1 - query % stride) / stride;
                within(near, query + 1) + far(keys.end).saturating_sub(far(keys.start))
            }
            Self::Fixed { block: 0, .. } => 0,
            Self::Fixed { block, summary } => {
                let (own, summary) = (query / block * block, *summary.min(block));
                let before = |end: usize| {
                    let end = end.min(own);
                    end / block * summary + (end % block).saturating_sub(block - summary)
                };
                within(own, query + 1) + before(keys.end).saturating_sub(before(keys.start))
            }
            Self::GlobalWindow { global, .. } if query < *global => keys.len(),
            Self::GlobalWindow { global, left, right, dilation } => {
                within(0, *global) + grid_points(query, keys.start.max(*global)..keys.end, *left, *right, *dilation)
            }
            Self::Blocks(bitmap) => bitmap.seen_before(query, keys.end).saturating_sub(bitmap.seen_before(query, keys.start)),
        }
    }

    /// The state of a tile of queries and keys, exact for every pattern. Of rows that see ever more, only the ends are looked at.
    pub fn tile(&self, queries: Range<usize>, keys: Range<usize>) -> TileState {
        if queries.is_empty() || keys.is_empty() || self.out_of_reach(&queries, &keys) {
            return TileState::Skip;
        }
        if let Self::Window { .. } = self {
            // Reach is an interval that moves with the query: what the first and the last row see whole, all do.
            let whole = [queries.start, queries.end - 1].into_iter().all(|query| self.seen(query, keys.clone()) == keys.len());
            return if whole { TileState::Full } else { TileState::Partial };
        }
        let mut state = None;
        let mut query = queries.start;
        while query < queries.end {
            let end = self.monotone_until(query).min(queries.end);
            for row in [query, end - 1].into_iter().take(end - query) {
                let found = match self.seen(row, keys.clone()) {
                    0 => TileState::Skip,
                    count if count == keys.len() => TileState::Full,
                    _ => return TileState::Partial,
                };
                if *state.get_or_insert(found) != found {
                    return TileState::Partial;
                }
            }
            query = end;
        }
        state.unwrap_or(TileState::Skip)
    }

    /// How many pairs take part among `queries` x `keys` positions starting at `query_offset` and 0.
    pub fn visible_pairs(&self, query_offset: usize, queries: usize, keys: usize) -> u64 {
        match self {
            Self::Full => queries as u64 * keys as u64,
            _ => (query_offset..query_offset + queries).map(|query| self.seen(query, 0..keys) as u64).sum(),
        }
    }

    /// Does the corner of the tile that lies nearest show that nothing is visible? Spares patterns that go row by row most of their rows.
    fn out_of_reach(&self, queries: &Range<usize>, keys: &Range<usize>) -> bool {
        let (left, right) = match self {
            Self::Causal | Self::Strided { .. } | Self::Fixed { .. } => (usize::MAX, 0),
            Self::Window { left, right } => (*left, *right),
            Self::GlobalWindow { global, .. } if queries.start.min(keys.start) < *global => return false,
            Self::Dilated { left, right, dilation } | Self::GlobalWindow { left, right, dilation, .. } => {
                (left.saturating_mul((*dilation).max(1)), right.saturating_mul((*dilation).max(1)))
            }
            Self::Full | Self::Blocks(_) => return false,
        };
        keys.start > (queries.end - 1).saturating_add(right) || (keys.end - 1).saturating_add(left) < queries.start
    }

    /// The end of the rows, from this one on, of which each sees what the one before it sees and perhaps more: the first and the last
    /// tell whether all of them see nothing, or everything.
    fn monotone_until(&self, query: usize) -> usize {
        let block_end = |block: usize| query.checked_div(block).map_or(usize::MAX, |row| (row + 1).saturating_mul(block));
        match self {
            Self::Full | Self::Causal => usize::MAX,
            Self::Fixed { block, .. } => block_end(*block),
            Self::Blocks(bitmap) => block_end(bitmap.block),
            Self::Window { .. } | Self::Dilated { .. } | Self::Strided { .. } | Self::GlobalWindow { .. } => query + 1,
        }
    }
}

fn in_window(query: usize, key: usize, left: usize, right: usize) -> bool {
    key.saturating_add(left) >= query && key <= query.saturating_add(right)
}

/// Is the key a point of the query's dilated grid?
fn on_grid(query: usize, key: usize, left: usize, right: usize, dilation: usize) -> bool {
    let step = dilation.max(1);
    query.abs_diff(key).is_multiple_of(step) && in_window(query, key, left.saturating_mul(step), right.saturating_mul(step))
}

/// How many of the keys are.
fn grid_points(query: usize, keys: Range<usize>, left: usize, right: usize, dilation: usize) -> usize {
    let step = dilation.max(1);
    let first = keys.start.max(query.saturating_sub(left.saturating_mul(step)));
    let end = keys.end.min(query.saturating_add(right.saturating_mul(step)).saturating_add(1));
    // Numbers below a bound that leave the query's remainder.
    let below = |bound: usize| (bound + step - 1 - query % step) / step;
    if first < end { below(end) - below(first) } else { 0 }
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
            AttentionPattern::Dilated { left: 1, right: 0, dilation: 0 },
            AttentionPattern::Strided { stride: 4 },
            AttentionPattern::Strided { stride: 1 },
            AttentionPattern::Strided { stride: 0 },
            AttentionPattern::Fixed { block: 4, summary: 1 },
            AttentionPattern::Fixed { block: 3, summary: 5 },
            AttentionPattern::Fixed { block: 0, summary: 1 },
            AttentionPattern::GlobalWindow { global: 2, left: 1, right: 1, dilation: 1 },
            AttentionPattern::GlobalWindow { global: 3, left: 2, right: 1, dilation: 3 },
            AttentionPattern::GlobalWindow { global: 0, left: 2, right: 0, dilation: 2 },
            AttentionPattern::Blocks(Arc::new(BlockBitmap::new(4, 5, 5, |row, column| (row + column) % 3 == 0))),
            AttentionPattern::Blocks(Arc::new(BlockBitmap::new(4, 5, 5, |_, column| column != 1).causal())),
            AttentionPattern::Blocks(Arc::new(BlockBitmap::new(3, 4, 7, |row, column| row * column % 2 == 0).causal())),
            AttentionPattern::Blocks(Arc::new(BlockBitmap::new(0, 4, 4, |_, _| true))),
        ]
    }

    /// The definition, pair by pair.
    fn pairs(pattern: &AttentionPattern, queries: Range<usize>, keys: Range<usize>) -> usize {
        queries.flat_map(|query| keys.clone().map(move |key| (query, key))).filter(|&(query, key)| pattern.allows(query, key)).count()
    }

    #[test]
    fn tiles_agree_with_pairs() {
        let mut states = Vec::new();
        for pattern in patterns() {
            for (first, length) in (0..24).flat_map(|first| [1, 2, 3, 4, 7, 12].map(|length| (first, length))) {
                for (first_key, keys) in (0..24).flat_map(|first| [1, 2, 4, 9].map(|length| (first, length))) {
                    let (queries, keys) = (first..first + length, first_key..first_key + keys);
                    let exact = match pairs(&pattern, queries.clone(), keys.clone()) {
                        0 => TileState::Skip,
                        count if count == queries.len() * keys.len() => TileState::Full,
                        _ => TileState::Partial,
                    };
                    assert_eq!(pattern.tile(queries.clone(), keys.clone()), exact, "{pattern:?} {queries:?} {keys:?}");
                    states.push(exact);
                }
            }
        }
        assert!([TileState::Skip, TileState::Full, TileState::Partial].iter().all(|state| states.contains(state)));
    }

    #[test]
    fn an_empty_tile_is_skipped() {
        assert_eq!(AttentionPattern::Full.tile(3..3, 0..4), TileState::Skip);
        assert_eq!(AttentionPattern::Full.tile(0..4, 3..3), TileState::Skip);
    }

    #[test]
    fn counts_agree_with_pairs() {
        for pattern in patterns() {
            for (offset, queries, keys) in [(0, 17, 17), (5, 3, 17), (0, 1, 9), (12, 4, 7), (0, 30, 25)] {
                let exact = pairs(&pattern, offset..offset + queries, 0..keys) as u64;
                assert_eq!(pattern.visible_pairs(offset, queries, keys), exact, "{pattern:?}");
            }
            for (query, first, end) in (0..24).flat_map(|query| [(query, 0, 3), (query, 2, 11), (query, 5, 23), (query, 9, 9)]) {
                assert_eq!(pattern.seen(query, first..end), pairs(&pattern, query..query + 1, first..end), "{pattern:?} {query}");
            }
        }
    }

    /// A million positions, of which pairs could not be counted one by one.
    #[test]
    fn long_sequences_are_counted_by_rows() {
        let n = 1 << 20;
        let window = AttentionPattern::GlobalWindow { global: 2, left: 1, right: 1, dilation: 8 };
        // Two full rows; two columns and three points elsewhere, less what the grid loses at both ends.
        assert_eq!(window.visible_pairs(0, n, n), 2 * n as u64 + (n as u64 - 2) * 5 - 16);
        assert_eq!(AttentionPattern::Causal.tile(n..2 * n, 0..n), TileState::Full);
        assert_eq!(window.tile(n / 2..n, 0..2), TileState::Full);
        assert_eq!(window.tile(n / 2..n, 2..n / 4), TileState::Skip);
    }

    #[test]
    fn known_rows() {
        let row = |pattern: &AttentionPattern, query| (0..12).filter(|&key| pattern.allows(query, key)).collect::<Vec<_>>();
        assert_eq!(row(&AttentionPattern::Window { left: 2, right: 1 }, 5), [3, 4, 5, 6]);
        assert_eq!(row(&AttentionPattern::Strided { stride: 4 }, 10), [2, 6, 7, 8, 9, 10]);
        assert_eq!(row(&AttentionPattern::Fixed { block: 4, summary: 1 }, 9), [3, 7, 8, 9]);
        assert_eq!(row(&AttentionPattern::Dilated { left: 2, right: 1, dilation: 2 }, 6), [2, 4, 6, 8]);
        assert_eq!(row(&AttentionPattern::GlobalWindow { global: 1, left: 1, right: 0, dilation: 1 }, 0).len(), 12);
        assert_eq!(row(&AttentionPattern::GlobalWindow { global: 2, left: 2, right: 1, dilation: 3 }, 8), [0, 1, 2, 5, 8, 11]);
        let blocks = BlockBitmap::new(4, 3, 3, |row, column| row != column + 1);
        assert_eq!(row(&AttentionPattern::Blocks(Arc::new(blocks.clone())), 9), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(row(&AttentionPattern::Blocks(Arc::new(blocks.causal())), 9), [0, 1, 2, 3, 8, 9]);
    }
}
