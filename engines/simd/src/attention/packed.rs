//! Keys and values in the order in which the micro-kernel reads its right-hand side: panels of columns, each with all steps behind each
//! other.
//!
//! For scores the columns are keys and the steps are channels; for the sum over values the columns are channels and the steps are keys.
//! Columns beyond the last are zeros. Keys that the key mask hides become zeros in both, whatever stands there, NaN included: their
//! scores are set to minus infinity later, and 0 times 0 is 0.

use crossover_core::backend::AttentionOperands;
use crossover_core::check::AttentionSizes;
use crossover_core::tensor::View;

use super::KEY_BLOCK;
use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::pool::Shared;
use crate::vector::Lanes;

/// Both, of all key heads.
pub(super) struct Packed<E> {
    pub(super) sizes: AttentionSizes,
    pub(super) tile_columns: usize,
    pub(super) keys: Shared<E>,
    pub(super) values: Shared<E>,
}

impl<E: Lanes + Plain> Packed<E> {
    /// Elements that keys and values of one head take.
    pub(super) fn elements(sizes: &AttentionSizes, tile_columns: usize) -> [usize; 2] {
        [sizes.keys.next_multiple_of(tile_columns) * sizes.head_dim, sizes.value_dim.next_multiple_of(tile_columns) * sizes.keys]
    }

    /// Tasks of one head: blocks of keys.
    pub(super) fn parts(&self) -> usize {
        self.sizes.keys.div_ceil(KEY_BLOCK)
    }

    /// Packs one block of keys of one head.
    pub(super) fn pack(&self, task: usize, operands: &AttentionOperands<'_, SimdBuffer>) {
        let (head, first) = (task / self.parts(), task % self.parts() * KEY_BLOCK);
        let (batch, key_head) = (head / self.sizes.key_heads, head % self.sizes.key_heads);
        let end = self.sizes.keys.min(first + KEY_BLOCK);
        let mut row = [E::ZERO; KEY_BLOCK];
        for key in first..end {
            let hidden = operands.key_mask.is_some_and(|mask| mask.buffer.get(mask.layout.position(&[batch, key])) == 0.0);
            self.pack_key(head, key, read(&operands.k, [batch, key_head, key], hidden, &mut row[..self.sizes.head_dim]));
            for channel in (0..self.sizes.value_dim).step_by(KEY_BLOCK) {
                let width = KEY_BLOCK.min(self.sizes.value_dim - channel);
                let Ok(values) = operands.v.narrow(3, channel, width) else { continue };
                self.pack_value(head, key, channel, read(&values, [batch, key_head, key], hidden, &mut row[..width]));
            }
        }
        if end == self.sizes.keys {
            row.fill(E::ZERO);
            (end..end.next_multiple_of(self.tile_columns)).for_each(|key| self.pack_key(head, key, &row[..self.sizes.head_dim]));
        }
    }

    fn pack_key(&self, head: usize, key: usize, row: &[E]) {
        let (panel, column) = (key / self.tile_columns, key % self.tile_columns);
        let start = self.keys_of(head).wrapping_add(panel * self.tile_columns * row.len() + column).cast_mut();
        for (step, &value) in row.iter().enumerate() {
            // SAFETY: inside the panels of this head by the sizes; each key belongs to one task.
            unsafe { *start.add(step * self.tile_columns) = value };
        }
    }

    /// `channel` is a multiple of every tile's width.
    fn pack_value(&self, head: usize, key: usize, channel: usize, row: &[E]) {
        for (panel, values) in row.chunks(self.tile_columns).enumerate() {
            let panel = channel / self.tile_columns + panel;
            let start = self.values_of(head).wrapping_add((panel * self.sizes.keys + key) * self.tile_columns).cast_mut();
            for column in 0..self.tile_columns {
                // SAFETY: as above.
                unsafe { *start.add(column) = values.get(column).copied().unwrap_or(E::ZERO) };
            }
        }
    }

    /// Panels of keys of one head.
    pub(super) fn keys_of(&self, head: usize) -> *const E {
        self.keys.pointer().wrapping_add(head * Self::elements(&self.sizes, self.tile_columns)[0])
    }

    /// Panels of values of one head.
    pub(super) fn values_of(&self, head: usize) -> *const E {
        self.values.pointer().wrapping_add(head * Self::elements(&self.sizes, self.tile_columns)[1])
    }
}

/// One row, or zeros.
fn read<'a, E: Lanes>(view: &View<'_, SimdBuffer>, [batch, head, key]: [usize; 3], hidden: bool, into: &'a mut [E]) -> &'a [E] {
    if hidden {
        into.fill(E::ZERO);
    } else if !into.is_empty() {
        view.buffer.load(view.layout.position(&[batch, head, key, 0]), view.layout.strides()[3], into);
    }
    into
}
