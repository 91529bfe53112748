//! The kernel: some rows of queries of one head over all keys.

use std::ops::Range;

use crossover_core::check::AttentionSizes;
use crossover_core::layout::Layout;
use crossover_core::ops::AttentionSpec;
use crossover_core::pattern::TileState;
use crossover_core::tensor::View;

use super::packed::Packed;
use super::scores::{Bias, Query, add, cap_scores, exponentials, maximum, shift_of};
use super::visible::{Segment, Visible, for_each_hidden};
use super::{KEY_BLOCK, PANELS};
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::{COLUMN_VECTORS, PANEL_ROW, RowPanel, Target, row_panel, tile_rows};
use crate::isa::Kernel;
use crate::vector::{Lanes, Scalar, Vector, exp2};

/// One call, with everything that does not change from tile to tile.
pub(super) struct Call<'a, E> {
    pub(super) spec: &'a AttentionSpec,
    pub(super) sizes: AttentionSizes,
    pub(super) q: View<'a, SimdBuffer>,
    pub(super) key_mask: Option<View<'a, SimdBuffer>>,
    pub(super) bias: Bias<'a>,
    pub(super) packed: &'a Packed<E>,
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

/// Elements of scratch that a thread needs: queries, scores of a panel, output, maxima and sums, biases and mask of a row.
pub(super) fn piece_elements(sizes: &AttentionSizes, tile_rows: usize, tile_columns: usize) -> usize {
    let rows = PANELS * tile_rows;
    let wide = sizes.value_dim.next_multiple_of(tile_columns);
    rows * PANEL_ROW + tile_rows * PANEL_ROW + rows * wide + 2 * rows.next_multiple_of(16) + 2 * KEY_BLOCK
}

/// The thread's scratch, by name.
struct Piece<'a, E> {
    queries: &'a mut [E],
    scores: &'a mut [E],
    output: &'a mut [E],
    maxima: &'a mut [E],
    sums: &'a mut [E],
    biases: &'a mut [E],
    /// 0 for keys that the key mask shows, minus infinity for the others.
    mask: &'a mut [E],
}

impl<'a, E> Piece<'a, E> {
    fn new(piece: &'a mut [E], tile_rows: usize, wide: usize) -> Self {
        let rows = PANELS * tile_rows;
        let (queries, rest) = piece.split_at_mut(rows * PANEL_ROW);
        let (scores, rest) = rest.split_at_mut(tile_rows * PANEL_ROW);
        let (output, rest) = rest.split_at_mut(rows * wide);
        let (maxima, rest) = rest.split_at_mut(rows.next_multiple_of(16));
        let (sums, rest) = rest.split_at_mut(rows.next_multiple_of(16));
        let (biases, mask) = rest.split_at_mut(KEY_BLOCK);
        Self { queries, scores, output, maxima, sums, biases, mask }
    }
}

impl<E: Lanes + Plain> Kernel<E> for QueryTile<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        let Self { call, batch, head, rows, piece } = self;
        let width = V::LANES * COLUMN_VECTORS;
        let wide = call.sizes.value_dim.next_multiple_of(width);
        let mut piece = Piece::new(piece, tile_rows::<V>(), wide);
        let tile = Tile { call, batch, head, rows, wide };
        tile.begin(&mut piece);
        let offset = call.spec.query_offset;
        for first in (0..call.sizes.keys).step_by(KEY_BLOCK) {
            let block = first..call.sizes.keys.min(first + KEY_BLOCK);
            let state = call.spec.pattern.tile(offset + tile.rows.start..offset + tile.rows.end, block.clone());
            if state == TileState::Skip {
                continue;
            }
            let masked = tile.load_mask(block.clone(), piece.mask);
            for (panel, first_row) in tile.rows.clone().step_by(tile_rows::<V>()).enumerate() {
                let panel = Panel { tile: &tile, at: panel, rows: first_row..tile.rows.end.min(first_row + tile_rows::<V>()), masked };
                panel.absorb::<V>(block.clone(), state == TileState::Full, &mut piece);
            }
        }
        tile.finish(&mut piece);
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

    fn begin(&self, piece: &mut Piece<'_, E>) {
        let (q, scale) = (&self.call.q, E::from_f64(self.call.spec.scale));
        let width = self.call.sizes.head_dim;
        for (row, into) in self.rows.clone().zip(piece.queries.chunks_exact_mut(PANEL_ROW)) {
            if width > 0 {
                q.buffer.load(q.layout.position(&[self.batch, self.head, row, 0]), q.layout.strides()[3], &mut into[..width]);
            }
            into[..width].iter_mut().for_each(|value| *value = *value * scale);
        }
        piece.maxima.fill(E::LOWEST);
        piece.sums.fill(E::ZERO);
        piece.output[..self.rows.len() * self.wide].fill(E::ZERO);
    }

    /// Writes 0 or minus infinity for each key of the block; false where the mask hides none of them.
    fn load_mask(&self, block: Range<usize>, into: &mut [E]) -> bool {
        let Some(mask) = self.call.key_mask else { return false };
        let mut hides = false;
        for (key, into) in block.zip(into) {
            let hidden = mask.buffer.get(mask.layout.position(&[self.batch, key])) == 0.0;
            hides |= hidden;
            *into = if hidden { E::NEG_INFINITY } else { E::ZERO };
        }
        hides
    }

    fn finish(&self, piece: &mut Piece<'_, E>) {
        let layout = &self.call.out_layout;
        for (at, row) in self.rows.clone().enumerate() {
            let (sum, output) = (piece.sums[at], &mut piece.output[at * self.wide..][..self.call.sizes.value_dim]);
            let nothing = sum == E::ZERO;
            output.iter_mut().for_each(|value| *value = if nothing { E::ZERO } else { *value / sum });
            if !output.is_empty() {
                // SAFETY: the view is inside its buffer, and this row belongs to this task.
                unsafe { self.call.out.store(layout.position(&[self.batch, self.head, row, 0]), layout.strides()[3], output) };
            }
            if let Some((buffer, layout)) = &self.call.log_sum_exp {
                // A row that saw nothing has log 0 = minus infinity, as merging wants it.
                let value = [piece.maxima[at] + sum.log()];
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
    /// Does the key mask hide keys of the block?
    masked: bool,
}

impl<E: Lanes + Plain> Panel<'_, E> {
    /// A block of keys.
    #[inline(always)]
    fn absorb<V: Vector<Element = E>>(&self, block: Range<usize>, whole: bool, piece: &mut Piece<'_, E>) {
        let spec = self.tile.call.spec;
        let positions = spec.query_offset + self.rows.start..spec.query_offset + self.rows.end;
        let visible = Visible::new(&spec.pattern, positions, block.clone(), V::LANES * COLUMN_VECTORS, whole);
        let mut from = block.start;
        while let Some(segment) = visible.segment(from) {
            self.scores::<V>(&segment, piece);
            self.weights::<V>(&segment, block.start, piece);
            self.values::<V>(&segment, piece);
            from = segment.keys.end;
        }
    }

    /// S = Q K^T of a segment, which starts on a narrow panel of keys.
    #[inline(always)]
    fn scores<V: Vector<Element = E>>(&self, segment: &Segment, piece: &mut Piece<'_, E>) {
        let Tile { call, .. } = self.tile;
        let (width, depth) = (V::LANES * COLUMN_VECTORS, call.sizes.head_dim);
        let keys = call.packed.keys_of(self.tile.key_head());
        let a = piece.queries[self.at * tile_rows::<V>() * PANEL_ROW..].as_ptr();
        for key in segment.keys.clone().step_by(width) {
            let c = Target { pointer: piece.scores[key - segment.keys.start..].as_mut_ptr(), row: PANEL_ROW, column: 1 };
            let product = RowPanel {
                rows: self.rows.len(),
                columns: width,
                k: depth,
                a,
                b: keys.wrapping_add(key * depth),
                b_step: width,
                c,
                adds: false,
            };
            // SAFETY: the queries' rows are `depth` long, the panel of keys is packed as a whole, and a row of scores has room for a block.
            unsafe { row_panel::<V>(&product) };
        }
    }

    /// Scores to weights, and the state of the recurrence to the new maximum.
    #[inline(always)]
    fn weights<V: Vector<Element = E>>(&self, segment: &Segment, block: usize, piece: &mut Piece<'_, E>) {
        let Tile { call, batch, head, wide, .. } = self.tile;
        let count = segment.keys.len();
        let padded = count.next_multiple_of(V::LANES * COLUMN_VECTORS);
        for (at, row) in self.rows.clone().enumerate() {
            let scores = &mut piece.scores[at * PANEL_ROW..][..padded];
            let query = Query { batch: *batch, head: *head, row, position: call.spec.query_offset + row };
            if let Some(cap) = call.spec.soft_cap {
                cap_scores(E::from_f64(cap), &mut scores[..count]);
            }
            let biases = &mut piece.biases[..count];
            if call.bias.load(query, segment.keys.clone(), biases) {
                add::<V>(&mut scores[..count], biases);
            }
            if self.masked {
                add::<V>(&mut scores[..count], &piece.mask[segment.keys.start - block..]);
            }
            if !segment.full {
                let start = segment.keys.start;
                for_each_hidden(&call.spec.pattern, query.position, segment.keys.clone(), &mut |run| {
                    scores[run.start - start..run.end - start].fill(E::NEG_INFINITY);
                });
            }
            scores[count..].fill(E::NEG_INFINITY);
            let at = self.at * tile_rows::<V>() + at;
            let (old, new) = (piece.maxima[at], maximum::<V>(scores));
            let new = if new > old { new } else { old };
            let sum = exponentials::<V>(scores, shift_of(new)).sum();
            if new == old {
                piece.sums[at] = piece.sums[at] + sum;
            } else {
                let shrink = power(shift_of(old) - shift_of(new), old == E::LOWEST);
                piece.sums[at] = piece.sums[at] * shrink + sum;
                piece.maxima[at] = new;
                scale::<V>(&mut piece.output[at * wide..][..*wide], shrink);
            }
        }
    }

    /// O += P V.
    #[inline(always)]
    fn values<V: Vector<Element = E>>(&self, segment: &Segment, piece: &mut Piece<'_, E>) {
        let Tile { call, wide, .. } = self.tile;
        let width = V::LANES * COLUMN_VECTORS;
        let values = call.packed.values_of(self.tile.key_head());
        for (panel, column) in (0..*wide).step_by(width).enumerate() {
            let b = values.wrapping_add((panel * call.sizes.keys + segment.keys.start) * width);
            let c = Target { pointer: piece.output[self.at * tile_rows::<V>() * wide + column..].as_mut_ptr(), row: *wide, column: 1 };
            let product = RowPanel {
                rows: self.rows.len(),
                columns: width,
                k: segment.keys.len(),
                a: piece.scores.as_ptr(),
                b,
                b_step: width,
                c,
                adds: true,
            };
            // SAFETY: a row of weights has the segment's keys, the panel of values all keys, and a row of output whole panels.
            unsafe { row_panel::<V>(&product) };
        }
    }
}

/// 2^t; 0 for a row that had seen nothing.
#[inline(always)]
fn power<E: Lanes>(t: E, nothing_yet: bool) -> E {
    if nothing_yet { E::ZERO } else { exp2(Scalar::splat(t)).sum() }
}

#[inline(always)]
fn scale<V: Vector>(row: &mut [V::Element], factor: V::Element) {
    let factor = V::splat(factor);
    for part in row.chunks_exact_mut(V::LANES) {
        // SAFETY: a whole vector.
        unsafe { V::load(part.as_ptr()).mul(factor).store(part.as_mut_ptr()) };
    }
}
