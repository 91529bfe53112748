//! The two chunks of keys and values that a thread holds, in the micro-kernel's order (see `packed.rs` of the module above).
//!
//! Chunks with even numbers lie in the first half of the columns, those with odd ones in the second: both halves together are what
//! a chunk sees, in one order or the other, which the softmax does not ask for. A half is filled up to whole panels with keys and values
//! of zeros, whose positions lie behind all others.

use std::ops::Range;

use crossover_core::tensor::View;

use super::super::arithmetic::Arithmetic;
use super::super::rows;
use super::order::HeadOrder;
use super::run::Room;
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::{COLUMN_VECTORS, MOST_STEPS, Source, pack_columns};
use crate::vector::{Lanes, Vector};

/// Keys that are brought into order together: as many as the widest panel has columns.
const TOGETHER: usize = 32;

/// The thread's own. Its columns are those of the room.
pub(super) struct Held<'a, E> {
    pub(super) room: Room,
    pub(super) keys: &'a mut [E],
    pub(super) values: &'a mut [E],
    /// By which keys are hidden.
    pub(super) positions: &'a mut [E],
}

/// One head's rows of an operand, in the tokens' own order.
#[derive(Clone, Copy)]
pub(super) struct HeadRows<'a> {
    buffer: &'a SimdBuffer,
    first: usize,
    row: usize,
    column: usize,
    width: usize,
}

impl<'a> HeadRows<'a> {
    pub(super) fn of(view: &View<'a, SimdBuffer>, [batch, head]: [usize; 2]) -> Self {
        let strides = view.layout.strides();
        let first = view.layout.position(&[batch, head, 0, 0]);
        Self { buffer: view.buffer, first, row: strides[2], column: strides[3], width: view.shape()[3] }
    }

    /// Loads the row of a token, and zeros behind it.
    #[inline(always)]
    pub(super) fn load<A: Arithmetic>(&self, token: usize, into: &mut [A::E]) {
        A::load_row(self.buffer, self.first + token * self.row, self.column, self.width, into);
    }

    /// Asks for it.
    #[inline(always)]
    pub(super) fn ask<V: Vector>(&self, token: usize) {
        rows::prefetch::<V>(SharedBuffer::reading(self.buffer).place(), self.first + token * self.row, self.width);
    }
}

impl<E: Lanes + Plain> Held<'_, E> {
    /// Packs a chunk over the one before the last. Positions are those of the tokens where the causal form asks for them.
    #[inline(always)]
    pub(super) fn pack<A: Arithmetic<E = E>>(&mut self, chunk: usize, [k, v]: [&HeadRows<'_>; 2], order: &HeadOrder<'_>, causal: bool) {
        let Room { chunk: tokens, columns, words, .. } = self.room;
        let (first_place, half) = (chunk * tokens, self.room.half(chunk));
        let mut staged = [E::ZERO; TOGETHER * MOST_STEPS];
        for first in (0..columns).step_by(TOGETHER) {
            let group = first..columns.min(first + TOGETHER);
            let places = first_place + group.start.min(tokens)..first_place + group.end.min(tokens);
            let behind = places.end..(places.end + TOGETHER).min(first_place + tokens);
            for (position, place) in self.positions[half.start + group.start..half.start + group.end].iter_mut().zip(places.start..) {
                *position = match place {
                    place if place >= places.end => E::ZERO - E::NEG_INFINITY,
                    place if causal => E::from_f64(order.token(place) as f64),
                    _ => E::ZERO,
                };
            }
            if words > 0 {
                for (row, place) in staged.chunks_exact_mut(words).zip(places.start..).take(group.len()) {
                    if place < places.end { k.load::<A>(order.token(place), row) } else { row.fill(E::ZERO) }
                }
                self.pack_keys::<A>(half.start + group.start, group.len(), &staged);
            }
            // Rows are far away, and moving these takes less time than waiting for those.
            behind.clone().for_each(|place| k.ask::<A::V>(order.token(place)));
            if v.width > 0 {
                let words = v.width.next_multiple_of(A::V::LANES * COLUMN_VECTORS) / A::STEPS;
                for (row, place) in staged.chunks_exact_mut(words).zip(places.start..).take(group.len()) {
                    if place < places.end { v.load::<A>(order.token(place), row) } else { row.fill(E::ZERO) }
                }
                self.pack_values::<A>(half.start + group.start..half.start + group.end, words, &staged);
            }
            behind.for_each(|place| v.ask::<A::V>(order.token(place)));
        }
    }

    /// The rows become columns.
    #[inline(always)]
    fn pack_keys<A: Arithmetic<E = E>>(&mut self, column: usize, count: usize, rows: &[E]) {
        let words = self.room.words;
        let columns = Source { pointer: rows.as_ptr(), row: 1, column: words };
        let panels = &mut self.keys[column * words..(column + count) * words];
        pack_columns::<A::V>(&columns, words, count, A::V::LANES * COLUMN_VECTORS, panels);
    }

    #[inline(always)]
    fn pack_values<A: Arithmetic<E = E>>(&mut self, keys: Range<usize>, words: usize, rows: &[E]) {
        let tile = A::V::LANES * COLUMN_VECTORS;
        let panel = self.room.value_panel();
        for column in (0..words * A::STEPS).step_by(A::V::LANES) {
            for key in keys.clone().step_by(A::STEPS) {
                let to = &mut self.values[column / tile * panel + key / A::STEPS * tile + column % tile..][..A::V::LANES];
                // SAFETY: staged rows of these keys, and a vector of a panel's row.
                unsafe { A::store_values(rows.as_ptr().add((key - keys.start) * words), words, column, to.as_mut_ptr()) };
            }
        }
    }
}
