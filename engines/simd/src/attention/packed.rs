//! Keys and values in the order in which the micro-kernel reads its right-hand side: panels of columns, each with all steps behind each
//! other.
//!
//! For scores the columns are keys and the steps are channels; for the sum over values the columns are channels and the steps are keys. A
//! word holds as many steps as the arithmetic multiplies at once. Columns and steps beyond the last are zeros. Keys that the key mask hides
//! become zeros in both, whatever stands there, NaN included: their scores are set to minus infinity later, and 0 times 0 is 0. What the
//! mask hides is noted for that as a row of zeros and minus infinities.
//!
//! # What bounds it
//! Each element is read and written once for `queries` times as many multiply-adds. Rows are brought into the first-level cache
//! and into the arithmetic's form a few at a time, from there keys are transposed by blocks and values copied by vectors: some two cycles
//! an element, against 8 of multiply-adds at 512 queries.

use std::ops::Range;

use crossover_core::backend::AttentionOperands;
use crossover_core::check::AttentionSizes;
use crossover_core::tensor::View;

use super::arithmetic::{Arithmetic, Task};
use super::rows;
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::element::Real;
use crate::gemm::{COLUMN_VECTORS, MOST_STEPS, Source, pack_columns};
use crate::pool::Shared;
use crate::vector::{Lanes, Vector};

/// Keys that one task packs.
const KEYS: usize = 256;
/// Keys that are brought into order together: as many as the widest panel has columns.
const TOGETHER: usize = 32;

/// Both, of the key heads of a turn.
pub(super) struct Packed<E> {
    pub(super) sizes: AttentionSizes,
    pub(super) tile_columns: usize,
    /// Steps of a word.
    pub(super) steps: usize,
    /// The first head of those that are packed at the moment, counted over all sequences.
    pub(super) first: usize,
    pub(super) keys: Shared<E>,
    pub(super) values: Shared<E>,
    /// Values that need no packing.
    pub(super) in_place: Option<InPlace<E>>,
    /// [batch, keys]: 0, or minus infinity for hidden keys. Without a key mask nobody reads it.
    pub(super) mask: Shared<E>,
}

impl<E: Lanes + Plain> Packed<E> {
    /// Words that keys and values of one head take.
    pub(super) fn elements(sizes: &AttentionSizes, tile_columns: usize, steps: usize, values_in_place: bool) -> [usize; 2] {
        let values = if values_in_place { 0 } else { sizes.value_dim.next_multiple_of(tile_columns) * sizes.keys.div_ceil(steps) };
        [sizes.keys.next_multiple_of(tile_columns) * sizes.head_dim.div_ceil(steps), values]
    }

    fn own_elements(&self) -> [usize; 2] {
        Self::elements(&self.sizes, self.tile_columns, self.steps, self.in_place.is_some())
    }

    /// Tasks of one head: blocks of keys.
    pub(super) fn parts(&self) -> usize {
        self.sizes.keys.div_ceil(KEYS)
    }

    /// Panels of keys of one head of those that are packed.
    pub(super) fn keys_of(&self, head: usize) -> *mut E {
        self.keys.pointer().wrapping_add((head - self.first) * self.own_elements()[0])
    }

    fn packed_values_of(&self, head: usize) -> *mut E {
        self.values.pointer().wrapping_add((head - self.first) * self.own_elements()[1])
    }

    /// Values of one head of those that are packed.
    pub(super) fn values_of(&self, head: usize) -> Values<E> {
        match &self.in_place {
            Some(InPlace { first, heads: [batch, key_head], row }) => {
                let offset = head / self.sizes.key_heads * batch + head % self.sizes.key_heads * key_head;
                Values { first: first.wrapping_add(offset), step: *row, panel: self.tile_columns }
            }
            None => Values { first: self.packed_values_of(head), step: self.tile_columns, panel: self.value_steps() * self.tile_columns },
        }
    }

    /// Words of a row of one panel of values.
    fn value_steps(&self) -> usize {
        self.sizes.keys.div_ceil(self.steps)
    }
}

/// Values that the micro-kernel reads where they lie: those of a sequence, head and key are `first` plus strides.
#[derive(Clone, Copy)]
pub(super) struct InPlace<E> {
    first: *const E,
    heads: [usize; 2],
    row: usize,
}

// SAFETY: values are only read.
unsafe impl<E: Sync> Sync for InPlace<E> {}

/// Can the micro-kernel read these values where they lie? Their rows are whole vectors of its numbers, lie behind each other (at wider
/// distances few places of a cache would take all of them), and no key mask hides any, which would have to be zeros.
pub(super) fn in_place<E: Lanes>(operands: &AttentionOperands<'_, SimdBuffer>, tile_columns: usize, steps: usize) -> Option<InPlace<E>> {
    let (v, strides) = (&operands.v, operands.v.layout.strides());
    let vectors = v.shape()[3] % (tile_columns / COLUMN_VECTORS) == 0 && strides[3] == 1 && strides[2] == v.shape()[3];
    let values = E::slice(v.buffer).filter(|_| steps == 1 && vectors && operands.key_mask.is_none())?;
    let first = values.get(v.layout.position(&[0; 4])..)?.as_ptr();
    Some(InPlace { first, heads: [strides[0], strides[1]], row: strides[2] })
}

/// Values of one head, as panels of columns.
pub(super) struct Values<E> {
    first: *const E,
    /// From key (or word of keys) to key.
    pub(super) step: usize,
    panel: usize,
}

impl<E> Values<E> {
    /// A panel from this step on.
    pub(super) fn panel(&self, panel: usize, step: usize) -> *const E {
        self.first.wrapping_add(panel * self.panel + step * self.step)
    }
}

/// Packs one block of keys of one head.
pub(super) struct Packing<'a, E> {
    pub(super) packed: &'a Packed<E>,
    pub(super) operands: &'a AttentionOperands<'a, SimdBuffer>,
    pub(super) task: usize,
}

impl<E: Lanes + Plain> Task<E> for Packing<'_, E> {
    #[inline(always)]
    fn run<A: Arithmetic<E = E>>(self) {
        let Packed { sizes, .. } = self.packed;
        let (head, first) = (self.packed.first + self.task / self.packed.parts(), self.task % self.packed.parts() * KEYS);
        let (batch, key_head) = (head / sizes.key_heads, head % sizes.key_heads);
        let mut rows = [E::ZERO; TOGETHER * MOST_STEPS];
        for first in (first..sizes.keys.min(first + KEYS)).step_by(TOGETHER) {
            let keys = first..sizes.keys.min(first + TOGETHER);
            let hidden = self.hidden(batch, key_head, keys.clone());
            let words = sizes.head_dim.div_ceil(A::STEPS);
            if words > 0 {
                stage::<A>(&self.operands.k, [batch, key_head], keys.clone(), hidden, words, &mut rows);
                self.pack_keys::<A>(head, keys.clone(), &rows);
            }
            let packed_values = if self.packed.in_place.is_some() { 0 } else { sizes.value_dim };
            for channel in (0..packed_values).step_by(MOST_STEPS) {
                let width = MOST_STEPS.min(sizes.value_dim - channel);
                let Ok(values) = self.operands.v.narrow(3, channel, width) else { continue };
                let words = width.next_multiple_of(A::V::LANES * COLUMN_VECTORS) / A::STEPS;
                stage::<A>(&values, [batch, key_head], keys.clone(), hidden, words, &mut rows);
                self.pack_values::<A>(head, keys.clone(), channel, words, &rows);
            }
        }
    }
}

impl<E: Lanes + Plain> Packing<'_, E> {
    /// Bits of the keys that the key mask hides; notes them.
    fn hidden(&self, batch: usize, key_head: usize, keys: Range<usize>) -> u32 {
        let Some(mask) = &self.operands.key_mask else { return 0 };
        let mut bits = 0;
        for (at, key) in keys.enumerate() {
            let hides = mask.buffer.get(mask.layout.position(&[batch, key])) == 0.0;
            bits |= u32::from(hides) << at;
            if key_head == 0 {
                let note = if hides { E::NEG_INFINITY } else { E::ZERO };
                // SAFETY: inside [batch, keys]; each key of a batch's first head belongs to one task.
                unsafe { *self.packed.mask.pointer().add(batch * self.packed.sizes.keys + key) = note };
            }
        }
        bits
    }

    /// The rows become columns; zeros fill the last panel.
    #[inline(always)]
    fn pack_keys<A: Arithmetic<E = E>>(&self, head: usize, keys: Range<usize>, rows: &[E]) {
        let (tile, words) = (A::V::LANES * COLUMN_VECTORS, self.packed.sizes.head_dim.div_ceil(A::STEPS));
        let place = self.packed.keys_of(head).wrapping_add(keys.start * words);
        // SAFETY: whole panels of this head by the sizes; each key belongs to one task.
        let panels = unsafe { std::slice::from_raw_parts_mut(place, keys.len().next_multiple_of(tile) * words) };
        let columns = Source { pointer: rows.as_ptr(), row: 1, column: words };
        pack_columns::<A::V>(&columns, words, keys.len(), tile, panels);
    }

    /// `channel` is a multiple of every tile's width.
    #[inline(always)]
    fn pack_values<A: Arithmetic<E = E>>(&self, head: usize, keys: Range<usize>, channel: usize, words: usize, rows: &[E]) {
        let tile = A::V::LANES * COLUMN_VECTORS;
        for column in (0..words * A::STEPS).step_by(A::V::LANES) {
            let panel = self.packed.packed_values_of(head).wrapping_add((channel + column) / tile * self.packed.value_steps() * tile);
            for key in keys.clone().step_by(A::STEPS) {
                let to = panel.wrapping_add(key / A::STEPS * tile + column % tile);
                // SAFETY: a row of a panel of this head, and staged rows; each key belongs to one task, and words are never divided.
                unsafe { A::store_values(rows.as_ptr().add((key - keys.start) * words), words, column, to) };
            }
        }
    }
}

/// Loads the rows of these keys, `words` from row to row and a whole word's rows of them; those that are hidden become zeros.
#[inline(always)]
fn stage<A: Arithmetic>(
    view: &View<'_, SimdBuffer>,
    [batch, head]: [usize; 2],
    keys: Range<usize>,
    hidden: u32,
    words: usize,
    staged: &mut [A::E],
) {
    let (width, strides) = (view.shape()[3], view.layout.strides());
    let (first, place) = (view.layout.position(&[batch, head, keys.start, 0]), SharedBuffer::reading(view.buffer).place());
    for (at, row) in staged.chunks_exact_mut(words).take(keys.len().next_multiple_of(A::STEPS)).enumerate() {
        let start = first + at * strides[2];
        // Rows are far away, and copying one takes less time than waiting for it.
        rows::prefetch::<A::V>(place, start + TOGETHER * strides[2], width);
        if at >= keys.len() || hidden >> at & 1 == 1 {
            row.fill(A::E::ZERO);
        } else {
            A::load_row(view.buffer, start, strides[3], width, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::backend::{EngineConfig, ScoreBias, TransformerBackend};
    use crossover_core::dtype::{DType, Precision};

    use super::*;
    use crate::SimdBackend;

    #[test]
    fn values_are_read_in_place_only_as_whole_vectors_in_rows_behind_each_other_without_a_mask() {
        let backend = SimdBackend::new(&EngineConfig::new(Precision::F32, 1)).unwrap();
        let tensor = |shape: &[usize]| backend.tensor(DType::F32, shape).unwrap();
        let (keys, mask) = (tensor(&[1, 2, 6, 64]), tensor(&[1, 6]));
        let can = |v: View<'_, SimdBuffer>, masked: bool, steps: usize| {
            let key_mask = masked.then(|| mask.view());
            let operands = AttentionOperands { q: keys.view(), k: keys.view(), v, bias: ScoreBias::None, key_mask };
            in_place::<f32>(&operands, 32, steps).is_some()
        };
        let (whole, odd) = (tensor(&[1, 2, 6, 48]), tensor(&[1, 2, 6, 40]));
        assert!(can(whole.view(), false, 1));
        assert!(!can(whole.view(), true, 1), "a mask hides rows that would have to be zeros");
        assert!(!can(whole.view(), false, 2), "pairs are packed");
        assert!(!can(odd.view(), false, 1), "the last row would be read beyond its end");
        assert!(!can(whole.view().narrow(3, 0, 32).unwrap(), false, 1), "rows at a distance");
        assert!(!can(tensor(&[1, 2, 48, 6]).view().transposed().unwrap(), false, 1), "rows that are not dense");
        assert!(can(whole.view().narrow(1, 1, 1).unwrap(), false, 1));
    }
}
