//! Which parts of a block of keys a panel of rows sees.

use std::ops::Range;

use crossover_core::pattern::{AttentionPattern, TileState};

/// The most narrow panels of any tile width in a block: scalar tiles are two columns wide.
const MOST_PANELS: usize = super::KEY_BLOCK / 2;

/// What a panel of rows sees of a block of keys, by narrow panels of keys.
pub(super) struct Visible {
    states: [TileState; MOST_PANELS],
    block: Range<usize>,
    width: usize,
}

/// Neighbouring narrow panels that are not hidden, as far as the rows see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// From the first to the last visible key, up to less than a panel at either side.
    pub(super) keys: Range<usize>,
    /// Does every row see every key of it?
    pub(super) full: bool,
}

impl Visible {
    /// Looks at each narrow panel of keys, unless the whole block is visible anyhow.
    pub(super) fn new(pattern: &AttentionPattern, positions: Range<usize>, block: Range<usize>, width: usize, whole: bool) -> Self {
        let mut states = [TileState::Full; MOST_PANELS];
        if !whole {
            for (state, first) in states.iter_mut().zip(block.clone().step_by(width)) {
                *state = pattern.tile(positions.clone(), first..block.end.min(first + width));
            }
        }
        Self { states, block, width }
    }

    /// The next segment from this key on.
    pub(super) fn segment(&self, from: usize) -> Option<Segment> {
        let panels = self.block.len().div_ceil(self.width);
        let mut first = (from - self.block.start).div_ceil(self.width);
        while first < panels && self.states[first] == TileState::Skip {
            first += 1;
        }
        if first == panels {
            return None;
        }
        let mut end = first;
        let mut full = true;
        while end < panels && self.states[end] != TileState::Skip {
            full &= self.states[end] == TileState::Full;
            end += 1;
        }
        let keys = self.block.start + first * self.width..self.block.end.min(self.block.start + end * self.width);
        Some(Segment { keys, full })
    }
}

/// Calls `hide` for runs of keys that this query does not see.
pub(crate) fn for_each_hidden(pattern: &AttentionPattern, query: usize, keys: Range<usize>, hide: &mut impl FnMut(Range<usize>)) {
    match pattern {
        AttentionPattern::Full => {}
        AttentionPattern::Causal => outside(0..query + 1, keys, hide),
        AttentionPattern::Window { left, right } => {
            outside(query.saturating_sub(*left)..query.saturating_add(*right).saturating_add(1), keys, hide);
        }
        _ => by_halves(pattern, query, keys, hide),
    }
}

fn outside(seen: Range<usize>, keys: Range<usize>, hide: &mut impl FnMut(Range<usize>)) {
    if seen.start > keys.start {
        hide(keys.start..seen.start.min(keys.end));
    }
    if seen.end < keys.end {
        hide(seen.end.max(keys.start)..keys.end);
    }
}

/// Counting is in closed form for every pattern, so that a run is found by halving.
fn by_halves(pattern: &AttentionPattern, query: usize, keys: Range<usize>, hide: &mut impl FnMut(Range<usize>)) {
    match pattern.seen(query, keys.clone()) {
        0 => hide(keys),
        count if count == keys.len() => {}
        _ => {
            let middle = keys.start + keys.len() / 2;
            by_halves(pattern, query, keys.start..middle, hide);
            by_halves(pattern, query, middle..keys.end, hide);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns() -> [AttentionPattern; 6] {
        [
            AttentionPattern::Full,
            AttentionPattern::Causal,
            AttentionPattern::Window { left: 3, right: 1 },
            AttentionPattern::Dilated { left: 2, right: 1, dilation: 3 },
            AttentionPattern::Strided { stride: 4 },
            AttentionPattern::Fixed { block: 4, summary: 1 },
        ]
    }

    #[test]
    fn hidden_runs_are_what_is_not_allowed() {
        for pattern in patterns() {
            for query in 0..20 {
                let mut seen = [true; 24];
                for_each_hidden(&pattern, query, 3..22, &mut |run| seen[run].fill(false));
                for (key, seen) in seen.into_iter().enumerate().take(22).skip(3) {
                    assert_eq!(seen, pattern.allows(query, key), "{pattern:?} {query} {key}");
                }
            }
        }
    }

    #[test]
    fn segments_cover_whatever_is_visible() {
        for pattern in patterns() {
            for first in 0..12 {
                let (positions, block) = (first..first + 3, 2..21);
                let whole = pattern.tile(positions.clone(), block.clone()) == TileState::Full;
                let visible = Visible::new(&pattern, positions.clone(), block.clone(), 4, whole);
                let mut covered = [false; 24];
                let mut from = block.start;
                while let Some(segment) = visible.segment(from) {
                    assert!(segment.keys.start >= from);
                    for key in segment.keys.clone() {
                        covered[key] = true;
                        assert!(!segment.full || positions.clone().all(|query| pattern.allows(query, key)));
                    }
                    from = segment.keys.end;
                }
                for key in block {
                    assert!(covered[key] || positions.clone().all(|query| !pattern.allows(query, key)), "{pattern:?} {first} {key}");
                }
            }
        }
    }
}
