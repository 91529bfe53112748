//! Which parts of a block of keys a panel of rows sees, cut into segments that are absorbed at once.

use std::ops::Range;

use crossover_core::pattern::{AttentionPattern, TileState};

use super::{MOST_BLOCK, SEGMENT};

/// The most narrow panels of any tile width in a block: scalar tiles are two columns wide.
const MOST_PANELS: usize = MOST_BLOCK / 2;

/// What a panel of rows sees of a block of keys.
#[allow(clippy::large_enum_variant, reason = "it lives on the stack of one function")]
pub(super) enum Visible {
    /// Neighbouring keys, of which every row sees the `whole` ones.
    Interval { seen: Range<usize>, whole: Range<usize>, width: usize },
    /// By narrow panels of keys.
    Panels { states: [TileState; MOST_PANELS], block: Range<usize>, width: usize },
}

/// Neighbouring keys, as far as the rows see them: at most [`SEGMENT`] of them with those of the narrow panel in which they begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) keys: Range<usize>,
    /// Does every row see every key of it?
    pub(super) full: bool,
}

impl Visible {
    /// `block` begins at a narrow panel of `width` keys, and is not longer than [`MOST_BLOCK`] where the pattern is
    /// no interval.
    pub(super) fn new(pattern: &AttentionPattern, positions: Range<usize>, block: Range<usize>, width: usize) -> Self {
        let last = positions.end.saturating_sub(1);
        let (seen, whole) = match pattern {
            AttentionPattern::Full => (block.clone(), block),
            AttentionPattern::Causal => (block.start..block.end.min(last + 1), block.start..block.end.min(positions.start + 1)),
            AttentionPattern::Window { left, right } => {
                let reach = |first: usize, last: usize| {
                    block.start.max(first.saturating_sub(*left))..block.end.min(last.saturating_add(*right).saturating_add(1))
                };
                (reach(positions.start, last), reach(last, positions.start))
            }
            _ => {
                let mut states = [TileState::Full; MOST_PANELS];
                if pattern.tile(positions.clone(), block.clone()) != TileState::Full {
                    for (state, first) in states.iter_mut().zip(block.clone().step_by(width)) {
                        *state = pattern.tile(positions.clone(), first..block.end.min(first + width));
                    }
                }
                return Self::Panels { states, block, width };
            }
        };
        Self::Interval { seen, whole, width }
    }

    /// The next segment from this key on: the block's first, or the end of the segment before.
    pub(super) fn segment(&self, from: usize) -> Option<Segment> {
        match self {
            Self::Interval { seen, whole, width } => {
                let start = from.max(seen.start);
                if start >= seen.end {
                    return None;
                }
                // Pieces of about equal size, which begin on narrow panels but for the first.
                let (aligned, count) = (start / width * width, seen.end - start);
                let pieces = (seen.end - aligned).div_ceil(SEGMENT);
                let end = (start + count.div_ceil(pieces)).next_multiple_of(*width).min(aligned + SEGMENT).min(seen.end);
                Some(Segment { keys: start..end, full: whole.start <= start && end <= whole.end })
            }
            Self::Panels { states, block, width } => {
                let panels = block.len().div_ceil(*width);
                let mut first = (from - block.start).div_ceil(*width);
                while first < panels && states[first] == TileState::Skip {
                    first += 1;
                }
                if first >= panels {
                    return None;
                }
                let mut end = first;
                let mut full = true;
                while end < panels.min(first + SEGMENT / width) && states[end] != TileState::Skip {
                    full &= states[end] == TileState::Full;
                    end += 1;
                }
                let keys = block.start + first * width..block.end.min(block.start + end * width);
                Some(Segment { keys, full })
            }
        }
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
                let (positions, block) = (first..first + 3, 4..21);
                let visible = Visible::new(&pattern, positions.clone(), block.clone(), 4);
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

    #[test]
    fn long_intervals_are_cut_into_segments_of_about_equal_size() {
        let window = AttentionPattern::Window { left: 256, right: 256 };
        let visible = Visible::new(&window, 1000..1014, 0..8192, 32);
        let (mut from, mut lengths) = (0, Vec::new());
        while let Some(segment) = visible.segment(from) {
            assert!(segment.keys.end - segment.keys.start / 32 * 32 <= SEGMENT);
            lengths.push(segment.keys.len());
            from = segment.keys.end;
        }
        assert_eq!((lengths.iter().sum::<usize>(), lengths.len()), (256 + 14 + 256, 2));
        assert!(lengths.iter().all(|&length| length > SEGMENT / 2), "{lengths:?}");
        let causal = Visible::new(&AttentionPattern::Causal, 500..514, 0..1024, 32);
        assert_eq!(causal.segment(0), Some(Segment { keys: 0..288, full: true }));
        assert_eq!(causal.segment(352), Some(Segment { keys: 352..514, full: false }));
    }
}
