//! The kernel: neighbouring places of one head's order over the chunks that they see.

use std::ops::Range;

use crossover_core::backend::BucketOperands;
use crossover_core::check::BucketSizes;
use crossover_core::layout::Layout;
use crossover_core::ops::BucketSpec;

use super::super::SEGMENT;
use super::super::arithmetic::{Arithmetic, Task};
use super::super::cut;
use super::super::product::{DISTANCE, Product};
use super::super::recurrence::{Running, Weighted, divide};
use super::super::rows;
use super::super::scores::{STATE, maximum, maximum_of_earlier};
use super::held::{HeadRows, Held};
use super::order::{HeadOrder, Order};
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::element::Real;
use crate::gemm::COLUMN_VECTORS;
use crate::vector::{Lanes, Vector};

/// Panels of rows that go over a block of keys before the next one comes, where all keys are more than a block.
const PANELS: usize = 8;

/// One call, with everything that does not change from task to task.
pub(super) struct Call<'a> {
    pub(super) spec: BucketSpec,
    pub(super) sizes: BucketSizes,
    pub(super) room: Room,
    pub(super) operands: BucketOperands<'a, SimdBuffer>,
    pub(super) query_order: Order<'a>,
    pub(super) key_order: Order<'a>,
    pub(super) out: SharedBuffer,
    pub(super) out_layout: Layout,
    pub(super) log_sum_exp: Option<(SharedBuffer, Layout)>,
}

/// Sizes of what a thread holds.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// Tokens of a chunk.
    pub(super) chunk: usize,
    /// Columns of a chunk: whole panels.
    pub(super) columns: usize,
    /// Words of a key.
    pub(super) words: usize,
    /// Chunks: one if there is but one.
    held: usize,
    /// Columns that panels of rows go over before the next ones come.
    block: usize,
    /// Panels of rows that are taken together.
    panels: usize,
    tile_rows: usize,
    tile_columns: usize,
    steps: usize,
    width: usize,
}

impl Room {
    pub(super) fn new(sizes: &BucketSizes, [tile_rows, tile_columns, steps]: [usize; 3], block: usize) -> Self {
        let BucketSizes { n, width, chunk, .. } = *sizes;
        let (columns, held) = (chunk.next_multiple_of(tile_columns), if n > chunk { 2 } else { 1 });
        let panels = if held * columns <= block { 1 } else { PANELS.min(chunk.div_ceil(tile_rows)) };
        Self { chunk, columns, words: width.div_ceil(steps), held, block, panels, tile_rows, tile_columns, steps, width }
    }

    /// The columns of a chunk.
    pub(super) fn half(&self, chunk: usize) -> Range<usize> {
        let start = chunk % 2 * self.columns;
        start..start + self.columns
    }

    /// Elements of a panel of values: all words of keys.
    pub(super) fn value_panel(&self) -> usize {
        (self.held * self.columns).div_ceil(self.steps) * self.tile_columns
    }

    /// Of keys, values, positions, queries, scores of a panel, output, maxima and sums.
    fn parts(&self) -> [usize; 8] {
        let (rows, columns) = (self.panels * self.tile_rows, self.held * self.columns);
        let wide = self.width.next_multiple_of(self.tile_columns);
        let values = wide / self.tile_columns * self.value_panel();
        let state = self.panels * STATE;
        [columns * self.words, values, columns, rows * DISTANCE, self.tile_rows * DISTANCE, rows * wide, state, state]
    }

    /// Elements of scratch that a thread needs.
    pub(super) fn elements(&self) -> usize {
        self.parts().iter().sum::<usize>().next_multiple_of(STATE)
    }
}

/// One task.
pub(super) struct Run<'a, E> {
    pub(super) call: &'a Call<'a>,
    /// Counted over all sequences.
    pub(super) head: usize,
    pub(super) places: Range<usize>,
    /// Scratch of the thread: see [`Room::elements`].
    pub(super) piece: &'a mut [E],
}

/// What the rows of a task are taken with, beside keys and values.
struct Piece<'a, E> {
    queries: &'a mut [E],
    scores: &'a mut [E],
    output: &'a mut [E],
    maxima: &'a mut [E],
    sums: &'a mut [E],
}

fn pieces<E>(room: Room, scratch: &mut [E]) -> (Held<'_, E>, Piece<'_, E>) {
    let [keys, values, positions, queries, scores, output, maxima, sums] = cut(scratch, room.parts());
    (Held { room, keys, values, positions }, Piece { queries, scores, output, maxima, sums })
}

impl<E: Lanes + Plain> Task<E> for Run<'_, E> {
    #[inline(always)]
    fn run<A: Arithmetic<E = E>>(self) {
        let Self { call, head, places, piece } = self;
        let (room, heads) = (call.room, call.sizes.heads);
        let at = [head / heads, head % heads];
        let [q, k, v] = [HeadRows::of(&call.operands.q, at), HeadRows::of(&call.operands.k, at), HeadRows::of(&call.operands.v, at)];
        let (queries, keys) = (call.query_order.of_head(head, heads), call.key_order.of_head(head, heads));
        let (mut held, mut piece) = pieces(room, piece);
        let first_chunk = places.start / room.chunk;
        if first_chunk > 0 {
            held.pack::<A>(first_chunk - 1, [&k, &v], &keys, call.spec.causal);
        }
        for chunk in first_chunk..places.end.div_ceil(room.chunk) {
            held.pack::<A>(chunk, [&k, &v], &keys, call.spec.causal);
            let seen = if chunk == 0 { room.half(0) } else { 0..2 * room.columns };
            let own = chunk * room.chunk..(chunk + 1) * room.chunk;
            let own = own.start.max(places.start)..own.end.min(places.end);
            for first in own.clone().step_by(room.panels * A::ROWS) {
                let places = first..own.end.min(first + room.panels * A::ROWS);
                let tile = Tile { call, at, order: &queries, chunk, seen: seen.clone(), places };
                tile.run::<A>(&q, &held, &mut piece);
            }
        }
    }
}

/// Some panels of rows of one chunk.
struct Tile<'a> {
    call: &'a Call<'a>,
    /// Batch and head.
    at: [usize; 2],
    order: &'a HeadOrder<'a>,
    chunk: usize,
    /// The columns that the chunk sees.
    seen: Range<usize>,
    places: Range<usize>,
}

impl Tile<'_> {
    #[inline(always)]
    fn run<A: Arithmetic>(&self, q: &HeadRows<'_>, held: &Held<'_, A::E>, piece: &mut Piece<'_, A::E>) {
        let wide = self.call.sizes.width.next_multiple_of(A::V::LANES);
        self.begin::<A>(q, wide, piece);
        let block = self.call.room.block;
        for first in self.seen.clone().step_by(block) {
            let block = first..self.seen.end.min(first + block);
            for (at, first_place) in self.places.clone().step_by(A::ROWS).enumerate() {
                let panel = Panel { tile: self, at, places: first_place..self.places.end.min(first_place + A::ROWS), wide };
                // Pieces of about equal size, of whole panels of columns.
                let length = block.len().div_ceil(block.len().div_ceil(SEGMENT)).next_multiple_of(A::V::LANES * COLUMN_VECTORS);
                for start in block.clone().step_by(length) {
                    panel.absorb::<A>(start..block.end.min(start + length), held, piece);
                }
            }
        }
        self.finish::<A>(wide, piece);
    }

    #[inline(always)]
    fn begin<A: Arithmetic>(&self, q: &HeadRows<'_>, wide: usize, piece: &mut Piece<'_, A::E>) {
        let words = self.call.sizes.width.div_ceil(A::STEPS).next_multiple_of(A::MULTIPLE);
        let Call { sizes, out, out_layout, .. } = self.call;
        let behind = self.places.end..self.call.sizes.n.min(self.places.end + self.places.len());
        behind.for_each(|place| q.ask::<A::V>(self.order.token(place)));
        for (place, into) in self.places.clone().zip(piece.queries.chunks_exact_mut(DISTANCE)) {
            let (token, into) = (self.order.token(place), &mut into[..words]);
            // It will be written at the end.
            rows::prefetch_second::<A::V>(out.place(), out_layout.position(&[self.at[0], self.at[1], token, 0]), sizes.width);
            q.load::<A>(token, into);
            if A::STEPS == 1 {
                let scale = A::E::from_f64(self.call.spec.scale);
                into.iter_mut().for_each(|value| *value = *value * scale);
            }
        }
        piece.maxima.fill(A::E::LOWEST);
        piece.sums.fill(A::E::ZERO);
        piece.output[..self.places.len() * wide].fill(A::E::ZERO);
    }

    #[inline(always)]
    fn finish<A: Arithmetic>(&self, wide: usize, piece: &mut Piece<'_, A::E>) {
        let Call { sizes, out, out_layout, log_sum_exp, .. } = self.call;
        let [batch, head] = self.at;
        for (at, place) in self.places.clone().enumerate() {
            let (token, state) = (self.order.token(place), at / A::ROWS * STATE + at % A::ROWS);
            let (sum, output) = (piece.sums[state], &mut piece.output[at * wide..][..wide]);
            divide::<A::V>(output, sum);
            if sizes.width > 0 {
                let (start, output) = (out_layout.position(&[batch, head, token, 0]), &output[..sizes.width]);
                // SAFETY: the view is inside its buffer, and the order, which was checked, names this token here only.
                unsafe { rows::store::<A::V>(out, start, out_layout.strides()[3], output) };
            }
            if let Some((buffer, layout)) = log_sum_exp {
                // A row that saw nothing has log 0 = minus infinity, as merging wants it.
                let value = [piece.maxima[state] + sum.log()];
                // SAFETY: likewise.
                unsafe { buffer.store(layout.position(&[batch, head, token]), 1, &value) };
            }
        }
    }
}

/// As many rows as the micro-kernel takes.
struct Panel<'a> {
    tile: &'a Tile<'a>,
    /// Its number in the tile.
    at: usize,
    places: Range<usize>,
    wide: usize,
}

impl Panel<'_> {
    /// A segment of keys.
    #[inline(always)]
    fn absorb<A: Arithmetic>(&self, columns: Range<usize>, held: &Held<'_, A::E>, piece: &mut Piece<'_, A::E>) {
        let (call, count) = (self.tile.call, self.places.len());
        self.scores::<A>(columns.clone(), held, piece);
        if let Some(bias) = call.spec.self_bias {
            self.add_to_own(A::E::from_f64(bias), columns.clone(), piece);
        }
        let mut found = [A::E::ZERO; STATE];
        let hides = call.spec.causal || call.room.columns > call.room.chunk;
        for (at, (found, scores)) in found.iter_mut().zip(piece.scores.chunks_exact_mut(DISTANCE)).take(count).enumerate() {
            let scores = &mut scores[..columns.len()];
            *found = if hides {
                maximum_of_earlier::<A::V>(scores, &held.positions[columns.clone()], self.position(at))
            } else {
                maximum::<A::V>(scores)
            };
        }
        let state = self.at * STATE..(self.at + 1) * STATE;
        let mut running = Running { maxima: &mut piece.maxima[state.clone()], sums: &mut piece.sums[state] };
        let factors = running.absorb::<A>(piece.scores, count, columns.len(), &found);
        self.values::<A>(columns, &factors, held, piece);
    }

    /// The last position that a row sees: its own, or any in the full form.
    #[inline(always)]
    fn position<E: Lanes>(&self, at: usize) -> E {
        let Tile { call, order, .. } = self.tile;
        if call.spec.causal { E::from_f64(order.token(self.places.start + at) as f64) } else { E::ZERO - E::LOWEST }
    }

    /// Adds the bias to each row's score with its own key, where that is one of these columns.
    #[inline(always)]
    fn add_to_own<E: Lanes>(&self, bias: E, columns: Range<usize>, piece: &mut Piece<'_, E>) {
        let Tile { call, chunk, .. } = self.tile;
        let first = call.room.half(*chunk).start + self.places.start - chunk * call.room.chunk;
        for at in 0..self.places.len() {
            if columns.contains(&(first + at)) {
                let score = &mut piece.scores[at * DISTANCE + first + at - columns.start];
                *score = *score + bias;
            }
        }
    }

    /// S = scale Q K^T.
    #[inline(always)]
    fn scores<A: Arithmetic>(&self, columns: Range<usize>, held: &Held<'_, A::E>, piece: &mut Piece<'_, A::E>) {
        let (tile, words) = (A::V::LANES * COLUMN_VECTORS, self.tile.call.room.words);
        let a = piece.queries[self.at * A::ROWS * DISTANCE..].as_ptr().cast();
        // Numbers of queries were scaled when they were loaded; pairs are not, which would round them once more.
        let scale = if A::STEPS == 1 { A::E::ONE } else { A::E::from_f64(self.tile.call.spec.scale) };
        for column in columns.clone().step_by(tile) {
            let to = piece.scores[column - columns.start..].as_mut_ptr();
            let b = held.keys[column * words..].as_ptr().cast();
            let product = Product::<A> { rows: self.places.len(), words, a, b, b_step: tile, first: 0 };
            // SAFETY: queries have room for whole panels of rows and are `words` long, columns are whole panels of keys, and a row of scores
            // has room for a segment.
            unsafe { A::scaled::<COLUMN_VECTORS>(&product, scale, to) };
        }
    }

    /// O = O * factor + P V.
    #[inline(always)]
    fn values<A: Arithmetic>(&self, keys: Range<usize>, factors: &[A::E; STATE], held: &Held<'_, A::E>, piece: &mut Piece<'_, A::E>) {
        let (step, wide) = (A::V::LANES * COLUMN_VECTORS, self.wide);
        let (start, words) = (keys.start / A::STEPS, keys.len().div_ceil(A::STEPS));
        let panel = |panel| held.values[panel * held.room.value_panel() + start * step..].as_ptr();
        let weighted = Weighted { rows: self.places.len(), words, weights: piece.scores.as_ptr(), step, factors, wide };
        // SAFETY: scores have room for a whole panel of rows, `DISTANCE` apart, and are filled up behind their weights; panels of values have
        // all these steps; the output has whole panels of rows, of whole vectors each.
        unsafe { weighted.add::<A>(&mut piece.output[self.at * A::ROWS * wide..], panel) };
    }
}
