//! Tensors that depend on shapes alone and are therefore made once: index tensors of awkward layouts, and masks of patterns.
//!
//! Bounded: when it holds too much it is emptied and starts again, so that a sweep over many sizes does not grow it for ever.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use crossover_core::layout::Layout;
use crossover_core::pattern::AttentionPattern;

use crate::view::positions;

/// Elements that are kept at most.
const MOST_ELEMENTS: usize = 1 << 24;

/// A layout as a key.
type Place = (Vec<usize>, Vec<usize>, usize);
/// First query, first key, queries, keys.
pub(crate) type Tile = [usize; 4];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    positions: HashMap<Place, Tensor>,
    masks: HashMap<Tile, Vec<(AttentionPattern, Tensor)>>,
    #[cfg(feature = "cuda")]
    plans: Vec<(AttentionPattern, [usize; 3], [Tensor; 3])>,
    elements: usize,
}

impl Cache {
    /// The flat positions of a layout, as a one-dimensional index tensor.
    pub(crate) fn positions(&mut self, layout: &Layout, device: &Device) -> candle_core::Result<Tensor> {
        let key = (layout.shape().to_vec(), layout.strides().to_vec(), layout.offset());
        if let Some(found) = self.positions.get(&key) {
            return Ok(found.clone());
        }
        self.make_room(layout.len());
        let all: Vec<i64> = positions(layout).map(|at| at as i64).collect();
        let made = Tensor::from_vec(all, layout.len(), device)?;
        self.positions.insert(key, made.clone());
        Ok(made)
    }

    /// 1 where the pattern lets the query see the key, else 0: [queries, keys].
    pub(crate) fn mask(&mut self, pattern: &AttentionPattern, tile: Tile, device: &Device) -> candle_core::Result<Tensor> {
        let tile = normalised(pattern, tile);
        let known = self.masks.get(&tile).and_then(|masks| masks.iter().find(|(own, _)| own == pattern));
        if let Some((_, found)) = known {
            return Ok(found.clone());
        }
        let [first_query, first_key, queries, keys] = tile;
        self.make_room(queries * keys);
        let pairs = (0..queries).flat_map(|query| (0..keys).map(move |key| (first_query + query, first_key + key)));
        let bits: Vec<u8> = pairs.map(|(query, key)| u8::from(pattern.allows(query, key))).collect();
        let made = Tensor::from_vec(bits, (queries, keys), device)?;
        self.masks.entry(tile).or_default().push((pattern.clone(), made.clone()));
        Ok(made)
    }

    /// What kernels of ours visit of a pattern, on the device: offsets, tiles, masks. Asked for by first query, queries and keys.
    #[cfg(feature = "cuda")]
    pub(crate) fn plan(&mut self, pattern: &AttentionPattern, sizes: [usize; 3], device: &Device) -> candle_core::Result<[Tensor; 3]> {
        if let Some((_, _, found)) = self.plans.iter().find(|(own, of, _)| *of == sizes && own == pattern) {
            return Ok(found.clone());
        }
        let plan = crate::cuda::plan::Plan::of(pattern, sizes[0], sizes[1], sizes[2]);
        self.make_room(plan.len());
        let [offsets, tiles] = [plan.offsets, plan.tiles].map(|words| Tensor::from_slice(&words, words.len(), device));
        let made = [offsets?, tiles?, Tensor::from_slice(&plan.masks, plan.masks.len(), device)?];
        self.plans.push((pattern.clone(), sizes, made.clone()));
        Ok(made)
    }

    fn make_room(&mut self, elements: usize) {
        if self.elements + elements > MOST_ELEMENTS {
            self.positions.clear();
            self.masks.clear();
            #[cfg(feature = "cuda")]
            self.plans.clear();
            self.elements = 0;
        }
        self.elements += elements;
    }
}

/// Patterns that know distances only look alike wherever the tile stands: all tiles of a diagonal share one mask.
fn normalised(pattern: &AttentionPattern, tile: Tile) -> Tile {
    use AttentionPattern::{Causal, Dilated, Full, Strided, Window};
    match pattern {
        Full | Causal | Window { .. } | Dilated { .. } | Strided { .. } => {
            let shift = tile[0].min(tile[1]);
            [tile[0] - shift, tile[1] - shift, tile[2], tile[3]]
        }
        _ => tile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_a_diagonal_share_a_mask_unless_the_pattern_knows_positions() {
        let mut cache = Cache::default();
        let first = cache.mask(&AttentionPattern::Causal, [0, 0, 4, 4], &Device::Cpu).unwrap();
        let later = cache.mask(&AttentionPattern::Causal, [64, 64, 4, 4], &Device::Cpu).unwrap();
        assert_eq!(first.id(), later.id());
        let fixed = AttentionPattern::Fixed { block: 3, summary: 1 };
        let tiles = [[0, 0, 4, 4], [64, 64, 4, 4]].map(|tile| cache.mask(&fixed, tile, &Device::Cpu).unwrap());
        assert_ne!(tiles[0].to_vec2::<u8>().unwrap(), tiles[1].to_vec2::<u8>().unwrap());
        assert_eq!(first.to_vec2::<u8>().unwrap()[1], [1, 1, 0, 0]);
    }

    #[test]
    fn what_is_too_much_is_dropped() {
        let mut cache = Cache::default();
        let layout = |length| Layout::contiguous(&[length]).unwrap();
        cache.positions(&layout(5), &Device::Cpu).unwrap();
        cache.make_room(MOST_ELEMENTS);
        assert!(cache.positions.is_empty());
        assert_eq!(cache.positions(&layout(3), &Device::Cpu).unwrap().to_vec1::<i64>().unwrap(), [0, 1, 2]);
    }
}
