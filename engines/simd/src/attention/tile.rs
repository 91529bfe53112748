//! The kernel: some rows of queries of one head over all keys.

use std::ops::Range;

use crossover_core::check::AttentionSizes;
use crossover_core::layout::Layout;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::TileState;
use crossover_core::tensor::View;

use super::arithmetic::{Arithmetic, Task};
use super::cut;
use super::packed::Packed;
use super::product::{DISTANCE, Product};
use super::recurrence::{Running, Weighted, divide};
use super::rows;
use super::scores::{Bias, Query, STATE, add, cap_scores, maximum};
use super::visible::{Segment, Visible, for_each_hidden};
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::COLUMN_VECTORS;
use crate::vector::{Lanes, Vector};

/// One call, with everything that does not change from tile to tile.
pub(super) struct Call<'a, E> {
    pub(super) spec: &'a AttentionSpec,
    pub(super) sizes: AttentionSizes,
    /// Keys that all panels of a tile go over before the next ones come.
    pub(super) block: usize,
    pub(super) q: View<'a, SimdBuffer>,
    pub(super) masked: bool,
    pub(super) bias: Bias<'a>,
    pub(super) packed: Packed<E>,
    pub(super) out: SharedBuffer,
    pub(super) out_layout: Layout,
    pub(super) log_sum_exp: Option<(SharedBuffer, Layout)>,
}

/// One task.
pub(super) struct QueryTile<'a, E> {
    pub(super) call: &'a Call<'a, E>,
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) rows: Range<usize>,
    /// Scratch of the thread: see [`piece_elements`].
    pub(super) piece: &'a mut [E],
}

/// Elements of queries, scores of a panel, output, maxima and sums, biases of a row, for tiles of so many panels.
fn piece_parts(panels: usize, tile_rows: usize, wide: usize) -> [usize; 6] {
    let rows = panels * tile_rows;
    [rows * DISTANCE, tile_rows * DISTANCE, rows * wide, panels * STATE, panels * STATE, DISTANCE]
}

/// Elements of scratch that a thread needs.
pub(super) fn piece_elements(sizes: &AttentionSizes, panels: usize, tile_rows: usize, tile_columns: usize) -> usize {
    piece_parts(panels, tile_rows, sizes.value_dim.next_multiple_of(tile_columns)).iter().sum::<usize>().next_multiple_of(STATE)
}

/// The thread's scratch, by name.
struct Piece<'a, E> {
    queries: &'a mut [E],
    scores: &'a mut [E],
    output: &'a mut [E],
    maxima: &'a mut [E],
    sums: &'a mut [E],
    biases: &'a mut [E],
}

impl<'a, E> Piece<'a, E> {
    fn new(piece: &'a mut [E], parts: [usize; 6]) -> Self {
        let [queries, scores, output, maxima, sums, biases] = cut(piece, parts);
        Self { queries, scores, output, maxima, sums, biases }
    }
}

impl<E: Lanes + Plain> Task<E> for QueryTile<'_, E> {
    #[inline(always)]
    fn run<A: Arithmetic<E = E>>(self) {
        let Self { call, batch, head, rows, piece } = self;
        let (width, panel_rows) = (A::V::LANES * COLUMN_VECTORS, A::ROWS);
        let wide = call.sizes.value_dim.next_multiple_of(A::V::LANES);
        let mut piece = Piece::new(piece, piece_parts(rows.len().div_ceil(panel_rows), panel_rows, wide));
        let tile = Tile { call, batch, head, rows, wide };
        tile.begin::<A>(&mut piece);
        let offset = call.spec.query_offset;
        for first in (0..call.sizes.keys).step_by(call.block) {
            let block = first..call.sizes.keys.min(first + call.block);
            if call.spec.pattern.tile(offset + tile.rows.start..offset + tile.rows.end, block.clone()) == TileState::Skip {
                continue;
            }
            for (at, first_row) in tile.rows.clone().step_by(panel_rows).enumerate() {
                let panel = Panel { tile: &tile, at, rows: first_row..tile.rows.end.min(first_row + panel_rows) };
                let positions = offset + panel.rows.start..offset + panel.rows.end;
                let visible = Visible::new(&call.spec.pattern, positions, block.clone(), width);
                let mut from = block.start;
                while let Some(segment) = visible.segment(from) {
                    panel.absorb::<A>(&segment, &mut piece);
                    from = segment.keys.end;
                }
            }
        }
        tile.finish::<A>(&mut piece);
    }
}

/// The tile as its steps see it.
struct Tile<'a, E> {
    call: &'a Call<'a, E>,
    batch: usize,
    head: usize,
    rows: Range<usize>,
    /// Width of a row of output.
    wide: usize,
}

impl<E: Lanes + Plain> Tile<'_, E> {
    fn key_head(&self) -> usize {
        let sizes = &self.call.sizes;
        self.batch * sizes.key_heads + self.head / (sizes.heads / sizes.key_heads)
    }

    /// Where the first row of an operand begins.
    fn first_row(&self, layout: &Layout) -> usize {
        layout.position(&[self.batch, self.head, self.rows.start, 0])
    }

    #[inline(always)]
    fn begin<A: Arithmetic<E = E>>(&self, piece: &mut Piece<'_, E>) {
        let (q, width) = (&self.call.q, self.call.sizes.head_dim);
        self.ask_for_rows::<A>();
        if width > 0 {
            let (first, strides) = (self.first_row(&q.layout), q.layout.strides());
            for (at, into) in piece.queries.chunks_exact_mut(DISTANCE).enumerate().take(self.rows.len()) {
                let into = &mut into[..width.div_ceil(A::STEPS).next_multiple_of(A::MULTIPLE)];
                A::load_row(q.buffer, first + at * strides[2], strides[3], width, into);
                if A::STEPS == 1 {
                    let scale = E::from_f64(self.call.spec.scale);
                    into.iter_mut().for_each(|value| *value = *value * scale);
                }
            }
        }
        piece.maxima.fill(E::LOWEST);
        piece.sums.fill(E::ZERO);
        piece.output[..self.rows.len() * self.wide].fill(E::ZERO);
    }

    /// Asks for the rows of output that will be written, and for the queries above, which this thread most likely takes next: both are far
    /// away, and there is all the tile's time to bring them.
    #[inline(always)]
    fn ask_for_rows<A: Arithmetic<E = E>>(&self) {
        let Call { q, sizes, out, out_layout, .. } = self.call;
        let ask = |place, layout: &Layout, width, above| {
            let (first, stride) = (self.first_row(layout), layout.strides()[2]);
            for at in 0..self.rows.len() {
                // What lies before the buffer is not there, which does no harm.
                rows::prefetch_second::<A::V>(place, first.wrapping_add(at * stride).wrapping_sub(above * stride), width);
            }
        };
        ask(out.place(), out_layout, sizes.value_dim, 0);
        ask(SharedBuffer::reading(q.buffer).place(), &q.layout, sizes.head_dim, self.rows.len());
    }

    #[inline(always)]
    fn finish<A: Arithmetic<E = E>>(&self, piece: &mut Piece<'_, E>) {
        let (layout, panel_rows) = (&self.call.out_layout, A::ROWS);
        let (first, strides) = (self.first_row(layout), layout.strides());
        for (at, row) in self.rows.clone().enumerate() {
            let state = at / panel_rows * STATE + at % panel_rows;
            let (sum, output) = (piece.sums[state], &mut piece.output[at * self.wide..][..self.wide]);
            divide::<A::V>(output, sum);
            if self.call.sizes.value_dim > 0 {
                let (start, output) = (first + at * strides[2], &output[..self.call.sizes.value_dim]);
                // SAFETY: the view is inside its buffer, and this row belongs to this task.
                unsafe { rows::store::<A::V>(&self.call.out, start, strides[3], output) };
            }
            if let Some((buffer, layout)) = &self.call.log_sum_exp {
                // A row that saw nothing has log 0 = minus infinity, as merging wants it.
                let value = [piece.maxima[state] + sum.log()];
                // SAFETY: likewise.
                unsafe { buffer.store(layout.position(&[self.batch, self.head, row]), 1, &value) };
            }
        }
    }
}

/// As many rows as the micro-kernel takes.
struct Panel<'a, E> {
    tile: &'a Tile<'a, E>,
    /// Its number in the tile.
    at: usize,
    rows: Range<usize>,
}

impl<E: Lanes + Plain> Panel<'_, E> {
    /// A segment of keys.
    #[inline(always)]
    fn absorb<A: Arithmetic<E = E>>(&self, segment: &Segment, piece: &mut Piece<'_, E>) {
        // Scores are made by whole vectors of keys.
        let lanes = A::V::LANES;
        let made = segment.keys.start / lanes * lanes..segment.keys.end.next_multiple_of(lanes);
        self.scores::<A>(made.clone(), piece);
        // All rows before the first maximum: a vector that was masked in part cannot be loaded again before it has reached the cache.
        for at in 0..self.rows.len() {
            self.adjust::<A>(at, segment, made.clone(), piece);
        }
        let mut found = [E::ZERO; STATE];
        for (found, scores) in found.iter_mut().zip(piece.scores.chunks(DISTANCE)).take(self.rows.len()) {
            *found = maximum::<A::V>(&scores[..made.len()]);
        }
        let state = self.at * STATE..(self.at + 1) * STATE;
        let mut running = Running { maxima: &mut piece.maxima[state.clone()], sums: &mut piece.sums[state] };
        let factors = running.absorb::<A>(piece.scores, self.rows.len(), made.len(), &found);
        self.values::<A>(segment.keys.clone(), made.start, &factors, piece);
    }

    /// S = scale Q K^T.
    #[inline(always)]
    fn scores<A: Arithmetic<E = E>>(&self, keys: Range<usize>, piece: &mut Piece<'_, E>) {
        let Tile { call, .. } = self.tile;
        let (lanes, width) = (A::V::LANES, A::V::LANES * COLUMN_VECTORS);
        let words = call.sizes.head_dim.div_ceil(A::STEPS);
        let packed = call.packed.keys_of(self.tile.key_head());
        let a = piece.queries[self.at * A::ROWS * DISTANCE..].as_ptr().cast();
        // Numbers of queries were scaled when they were loaded; pairs are not, which would round them once more.
        let scale = if A::STEPS == 1 { E::ONE } else { E::from_f64(call.spec.scale) };
        let mut key = keys.start;
        while key < keys.end {
            let (column, to) = (key % width, piece.scores[key - keys.start..].as_mut_ptr());
            let b = packed.wrapping_add((key - column) * words).cast_const().cast();
            let product = Product::<A> { rows: self.rows.len(), words, a, b, b_step: width, first: column / lanes };
            // SAFETY: queries have room for whole panels of rows and are `words` long, panels of keys are packed as a whole, and a row of
            // scores has room for a segment.
            unsafe {
                if column == 0 && keys.end - key > lanes {
                    A::scaled::<COLUMN_VECTORS>(&product, scale, to);
                    key += width;
                } else {
                    A::scaled::<1>(&product, scale, to);
                    key += lanes;
                }
            }
        }
    }

    /// Cap, biases and masks on the scores of one row.
    #[inline(always)]
    fn adjust<A: Arithmetic<E = E>>(&self, at: usize, segment: &Segment, made: Range<usize>, piece: &mut Piece<'_, E>) {
        let Tile { call, batch, head, .. } = self.tile;
        let scores = &mut piece.scores[at * DISTANCE..][..made.len()];
        let keys = segment.keys.start - made.start..segment.keys.end - made.start;
        scores[..keys.start].fill(E::NEG_INFINITY);
        scores[keys.end..].fill(E::NEG_INFINITY);
        let scores = &mut scores[keys];
        let row = self.rows.start + at;
        let query = Query { batch: *batch, head: *head, row, position: call.spec.query_offset + row };
        if let Some(cap) = call.spec.soft_cap {
            cap_scores::<A::V>(E::from_f64(cap), scores);
        }
        let biases = &mut piece.biases[..scores.len()];
        if call.bias.load(query, segment.keys.clone(), biases) {
            add::<A::V>(scores, biases);
        }
        if call.masked {
            let mask = call.packed.mask.pointer().wrapping_add(batch * call.sizes.keys + segment.keys.start);
            // SAFETY: a row of [batch, keys], which nobody writes any more.
            add::<A::V>(scores, unsafe { std::slice::from_raw_parts(mask, scores.len()) });
        }
        if !segment.full {
            let start = segment.keys.start;
            for_each_hidden(&call.spec.pattern, query.position, segment.keys.clone(), &mut |run| {
                scores[run.start - start..run.end - start].fill(E::NEG_INFINITY);
            });
        }
    }

    /// O = O * factor + P V, over the keys that some row sees and no others; the weights' rows begin at `made`.
    #[inline(always)]
    fn values<A: Arithmetic<E = E>>(&self, keys: Range<usize>, made: usize, factors: &[E; STATE], piece: &mut Piece<'_, E>) {
        let Tile { call, wide, .. } = *self.tile;
        // Whole words: a key beside the segment, whose weight is 0, may come along.
        let steps = keys.start / A::STEPS..keys.end.div_ceil(A::STEPS);
        let values = call.packed.values_of(self.tile.key_head());
        let weights = piece.scores.as_ptr().cast::<A::Word>().wrapping_add(steps.start - made / A::STEPS).cast();
        let weighted = Weighted { rows: self.rows.len(), words: steps.len(), weights, step: values.step, factors, wide };
        // SAFETY: scores have room for a whole panel of rows, `DISTANCE` apart, and are filled up behind their weights; panels of values have
        // all these steps; the output has whole panels of rows, of whole vectors each.
        unsafe { weighted.add::<A>(&mut piece.output[self.at * A::ROWS * wide..], |panel| values.panel(panel, steps.start)) };
    }
}
