//! What a kernel visits of a pattern: for each tile of queries the tiles of keys that it does not skip, each with the mask of its pairs.
//!
//! The pattern stays data: the kernel knows no kinds of patterns, only tiles and masks of 64 x 64 bits. Equal masks are kept once (a
//! causal or a sliding pattern has few), so a plan is small; it is made on the host, once for each pattern and size, and kept.

use std::collections::HashMap;

use crossover_core::pattern::{AttentionPattern, TileState};

/// Queries and keys of a tile.
pub(crate) const TILE: usize = 64;
/// Where a tile needs no mask.
const NO_MASK: u32 = u32::MAX;

/// See the module.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// Where each tile of queries begins in `tiles`, and the end.
    pub(crate) offsets: Vec<u32>,
    /// Two numbers each: which tile of keys, which mask.
    pub(crate) tiles: Vec<u32>,
    /// 64 rows of 64 bits each; one that is all zeros where there is none, because an empty buffer has no address.
    pub(crate) masks: Vec<i64>,
}

impl Plan {
    /// For queries from `offset` on and keys from 0 on.
    pub(crate) fn of(pattern: &AttentionPattern, offset: usize, queries: usize, keys: usize) -> Self {
        let mut plan = Self { offsets: vec![0], tiles: Vec::new(), masks: vec![0; TILE] };
        let mut known = HashMap::new();
        for first_query in (0..queries).step_by(TILE) {
            let rows = offset + first_query..offset + queries.min(first_query + TILE);
            for first_key in (0..keys).step_by(TILE) {
                let columns = first_key..keys.min(first_key + TILE);
                let mask = match pattern.tile(rows.clone(), columns.clone()) {
                    TileState::Skip => continue,
                    TileState::Full => NO_MASK,
                    TileState::Partial => {
                        let bits = rows.clone().map(|query| row_bits(pattern, query, columns.clone())).collect::<Vec<i64>>();
                        *known.entry(bits).or_insert_with_key(|bits| plan.keep(bits))
                    }
                };
                plan.tiles.extend([(first_key / TILE) as u32, mask]);
            }
            plan.offsets.push((plan.tiles.len() / 2) as u32);
        }
        if plan.tiles.is_empty() {
            plan.tiles.extend([0, NO_MASK]);
        }
        plan
    }

    /// Elements of what is kept.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() + self.tiles.len() + 2 * self.masks.len()
    }

    fn keep(&mut self, bits: &[i64]) -> u32 {
        let number = self.masks.len() / TILE;
        self.masks.extend(bits);
        self.masks.resize((number + 1) * TILE, 0);
        number as u32
    }
}

fn row_bits(pattern: &AttentionPattern, query: usize, keys: std::ops::Range<usize>) -> i64 {
    keys.enumerate().fold(0, |bits, (place, key)| bits | i64::from(pattern.allows(query, key)) << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_causal_plan_has_one_mask_and_half_the_tiles() {
        let plan = Plan::of(&AttentionPattern::Causal, 0, 256, 256);
        assert_eq!(plan.offsets, [0, 1, 3, 6, 10]);
        assert_eq!(plan.tiles[..6], [0, 1, 0, NO_MASK, 1, 1]);
        assert_eq!(plan.masks.len(), 2 * TILE);
        assert_eq!(plan.masks[TILE..TILE + 3], [1, 3, 7]);
    }

    #[test]
    fn a_window_visits_what_it_reaches() {
        let window = AttentionPattern::Window { left: 64, right: 0 };
        let plan = Plan::of(&window, 0, 1024, 1024);
        // Its own tile and the one before.
        assert_eq!(plan.offsets.last(), Some(&31));
        // Where the second tile begins is masked otherwise than the first one, which nothing stands before.
        assert_eq!(plan.masks.len(), 3 * TILE);
    }

    #[test]
    fn decode_steps_and_tails() {
        let plan = Plan::of(&AttentionPattern::Causal, 99, 1, 100);
        assert_eq!(plan.tiles, [0, NO_MASK, 1, NO_MASK]);
        let nothing = Plan::of(&AttentionPattern::Fixed { block: 0, summary: 1 }, 0, 70, 70);
        assert_eq!(nothing.offsets, [0, 0, 0]);
        assert!(nothing.len() > 0);
    }
}
