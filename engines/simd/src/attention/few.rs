//! Few rows of queries over many keys, as a decoder's steps are: bound by reading keys and values once.
//!
//! Nothing is packed: scores are dot products with the keys as they lie, and the sum over values runs along their rows; 16-bit keys and
//! values are widened a few at a time into scratch that stays in the first-level cache. Query heads that
//! share a key head are rows of one task, so that its keys are read once for all of them. Keys are divided among tasks ("split keys",
//! Dao et al., "Flash-Decoding", 2023): each makes a maximum, a sum and an unnormalised output of its own, and these are merged by
//! their maxima, as two blocks of the recurrence are.
//!
//! # What bounds it
//! A key and a value of 64 singles are 512 bytes, against 8 vector multiply-adds and a sum over lanes for each row: at 30 GB/s from memory
//! 17 ns against some 5, so the bandwidth is the limit as long as the cache does not fit a cache. Keys and values are two streams that take
//! turns, which the processor does not follow by itself: while scores of some keys are made, their values and the next keys are asked for.

use std::ops::Range;

use crossover_core::arena::Arena;
use crossover_core::backend::{AttentionOperands, AttentionOutputs};
use crossover_core::check::AttentionSizes;
use crossover_core::error::Result;
use crossover_core::ops::AttentionSpec;
use crossover_core::tensor::View;

use super::arithmetic::Number;
use super::cut;
use super::scores::{Bias, Query, add, cap_scores, maximum, shrink, weights};
use super::visible::{Segment, Visible, for_each_hidden};
use super::{SEGMENT, rows as loading, shared, take};
use crate::SimdBackend;
use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::element::Held;
use crate::gemm::{COLUMN_VECTORS, Engine, MOST_STEPS, PANEL_ROW, RowPanel, Source, Target, dots_with, few_rows_panel};
use crate::isa::Kernel;
use crate::vector::{Lanes, Vector};

/// The most rows that share a key head; the smallest tile of any vectors has as many.
const FEW_ROWS: usize = 4;
/// Keys of a task at least: below, waking a thread costs more than it saves.
const LEAST_KEYS: usize = 512;

/// Keys whose values are asked for while their scores are made: with the next keys they fit the first-level cache.
const TOGETHER: usize = 64;
/// Keys of a step.
const STEP: usize = 4;

/// Keys and values must lie densely along their channels, and nobody may be hidden by a key mask, whose values must not be read.
pub(super) fn suits<E: Lanes>(sizes: &AttentionSizes, operands: &AttentionOperands<'_, SimdBuffer>) -> bool {
    let dense = |view: &View<'_, SimdBuffer>| {
        let held = E::slice(view.buffer).is_some() || matches!(view.buffer, SimdBuffer::Bf16(_) | SimdBuffer::F16(_));
        held && view.layout.strides()[3] == 1
    };
    let rows = sizes.queries * (sizes.heads / sizes.key_heads);
    rows <= FEW_ROWS && sizes.keys > 0 && operands.key_mask.is_none() && dense(&operands.k) && dense(&operands.v)
}

/// Some keys of one key head, for all rows that share it.
struct Split<'a, E> {
    spec: &'a AttentionSpec,
    sizes: AttentionSizes,
    bias: Bias<'a>,
    batch: usize,
    key_head: usize,
    keys: Range<usize>,
    k: Rows<'a>,
    v: Rows<'a>,
    /// Queries, scores, output, maxima, sums, biases, widened keys and values; output, maxima and sums are the result.
    piece: Piece<'a, E>,
}

/// Dense rows of one head.
#[derive(Clone, Copy)]
struct Rows<'a> {
    buffer: &'a SimdBuffer,
    /// Where its elements begin, and the bytes of one.
    place: (*const u8, usize),
    start: usize,
    /// From row to row.
    distance: usize,
    width: usize,
}

impl<'a> Rows<'a> {
    fn new(view: &View<'a, SimdBuffer>, batch: usize, head: usize) -> Self {
        let (strides, width) = (view.layout.strides(), view.shape()[3]);
        let place = SharedBuffer::reading(view.buffer).place();
        Self {
            buffer: view.buffer,
            place,
            start: view.layout.offset() + batch * strides[0] + head * strides[1],
            distance: strides[2],
            width,
        }
    }

    /// Where they lie, or where they were widened to.
    #[inline(always)]
    fn widened<V: Vector>(&self, keys: Range<usize>, into: &mut [V::Element]) -> Source<V::Element> {
        if let Some(values) = V::Element::slice(self.buffer) {
            let pointer = values.as_ptr().wrapping_add(self.start + keys.start * self.distance);
            return Source { pointer, row: self.distance, column: 1 };
        }
        if self.width > 0 {
            for (key, into) in keys.zip(into.chunks_exact_mut(self.width)) {
                loading::load::<V>(self.buffer, self.start + key * self.distance, 1, into);
            }
        }
        Source { pointer: into.as_ptr(), row: self.width, column: 1 }
    }

    /// Asks for a row, which need not be there.
    #[inline(always)]
    fn prefetch<V: Vector>(&self, key: usize) {
        loading::prefetch::<V>(self.place, self.start + key * self.distance, self.width);
    }
}

struct Piece<'a, E> {
    queries: &'a mut [E],
    scores: &'a mut [E],
    output: &'a mut [E],
    maxima: &'a mut [E],
    sums: &'a mut [E],
    biases: &'a mut [E],
    keys: &'a mut [E],
    values: &'a mut [E],
}

impl<'a, E> Piece<'a, E> {
    /// Elements of queries and scores, output, maxima, sums, biases, keys, values. Whole vectors, so that the output's rows are.
    fn parts(wide: usize) -> [usize; 7] {
        [FEW_ROWS * PANEL_ROW, FEW_ROWS * wide, FEW_ROWS, FEW_ROWS, TOGETHER, TOGETHER * MOST_STEPS, TOGETHER * wide]
    }

    fn elements(wide: usize) -> usize {
        let parts = Self::parts(wide);
        (parts[0] + parts.iter().sum::<usize>()).next_multiple_of(16)
    }

    fn new(piece: &'a mut [E], wide: usize) -> Self {
        let [rows, output, maxima, sums, biases, keys, values] = Self::parts(wide);
        let [queries, scores, output, maxima, sums, biases, keys, values] =
            cut(piece, [rows, rows, output, maxima, sums, biases, keys, values]);
        Self { queries, scores, output, maxima, sums, biases, keys, values }
    }
}

/// Operands already checked; [`suits`] has said yes.
pub(super) fn attention<E: Lanes + Plain>(
    backend: &SimdBackend,
    engine: &Engine,
    spec: &AttentionSpec,
    sizes: AttentionSizes,
    operands: &AttentionOperands<'_, SimdBuffer>,
    outputs: AttentionOutputs<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    let bias = Bias::checked(operands.bias, sizes)?;
    // Rows of output are whole tiles of the widest vectors.
    let wide = sizes.value_dim.next_multiple_of(32);
    let heads = sizes.batch * sizes.key_heads;
    let most = (2 * engine.pool.threads()).div_ceil(heads);
    let splits = (sizes.keys / LEAST_KEYS).clamp(1, most);
    let piece = Piece::<E>::elements(wide);
    let mut pieces = take::<E>(backend, scratch, &[heads * splits, piece])?;
    let at = shared::<E>(&mut pieces)?;
    // SAFETY: each task has a piece of its own.
    let piece_of = |task: usize| Piece::new(unsafe { std::slice::from_raw_parts_mut(at.pointer().add(task * piece), piece) }, wide);
    let work = |_: usize, task: usize| {
        let (head, split) = (task / splits, task % splits);
        let (batch, key_head) = (head / sizes.key_heads, head % sizes.key_heads);
        // Whole blocks, so that neighbours do not share one.
        let end = |split: usize| (split * sizes.keys / splits).next_multiple_of(SEGMENT).min(sizes.keys);
        let keys = if split == 0 { 0 } else { end(split) }..if split + 1 == splits { sizes.keys } else { end(split + 1) };
        let mut piece = piece_of(task);
        load_queries(spec, &sizes, operands, [batch, key_head], &mut piece);
        let (k, v) = (Rows::new(&operands.k, batch, key_head), Rows::new(&operands.v, batch, key_head));
        engine.isa.run(Split { spec, sizes, bias, batch, key_head, keys, k, v, piece });
    };
    engine.pool.for_each(heads * splits, work);
    for head in 0..heads {
        for split in 1..splits {
            merge(&mut piece_of(head * splits), &piece_of(head * splits + split), wide);
        }
    }
    finish(&sizes, splits, outputs, piece_of, wide);
    scratch.give(pieces);
    Ok(())
}

fn load_queries<E: Lanes>(
    spec: &AttentionSpec,
    sizes: &AttentionSizes,
    operands: &AttentionOperands<'_, SimdBuffer>,
    [batch, key_head]: [usize; 2],
    piece: &mut Piece<'_, E>,
) {
    let (q, scale) = (&operands.q, E::from_f64(spec.scale));
    for (row, into) in rows(sizes, key_head).zip(piece.queries.chunks_exact_mut(PANEL_ROW)) {
        let into = &mut into[..sizes.head_dim];
        if !into.is_empty() {
            q.buffer.load(q.layout.position(&[batch, row.0, row.1, 0]), q.layout.strides()[3], into);
        }
        into.iter_mut().for_each(|value| *value = *value * scale);
    }
    piece.output.fill(E::ZERO);
    piece.maxima.fill(E::LOWEST);
    piece.sums.fill(E::ZERO);
}

/// Head and row of each of the rows that share a key head.
fn rows(sizes: &AttentionSizes, key_head: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (group, queries) = (sizes.heads / sizes.key_heads, sizes.queries);
    (0..group * queries).map(move |row| (key_head * group + row / queries, row % queries))
}

impl<E: Lanes + Plain> Kernel<E> for Split<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(mut self) {
        let positions = self.spec.query_offset..self.spec.query_offset + self.sizes.queries;
        for first in self.keys.clone().step_by(SEGMENT) {
            let block = first..self.keys.end.min(first + SEGMENT);
            let visible = Visible::new(&self.spec.pattern, positions.clone(), block.clone(), V::LANES * COLUMN_VECTORS);
            let mut from = block.start;
            while let Some(segment) = visible.segment(from) {
                for first in segment.keys.clone().step_by(TOGETHER) {
                    self.absorb::<V>(&Segment { keys: first..segment.keys.end.min(first + TOGETHER), full: segment.full });
                }
                from = segment.keys.end;
            }
        }
    }
}

impl<E: Lanes + Plain> Split<'_, E> {
    #[inline(always)]
    fn absorb<V: Vector<Element = E>>(&mut self, segment: &Segment) {
        let count = segment.keys.len();
        let wide = self.piece.output.len() / FEW_ROWS;
        let padded = count.next_multiple_of(V::LANES);
        let k = self.k.widened::<V>(segment.keys.clone(), self.piece.keys);
        let rows_here = self.sizes.queries * (self.sizes.heads / self.sizes.key_heads);
        for first in (0..count).step_by(STEP) {
            for key in segment.keys.start + first..segment.keys.start + first + STEP {
                self.v.prefetch::<V>(key);
                self.k.prefetch::<V>(key + TOGETHER);
            }
            for at in 0..rows_here {
                let (query, row) = (&self.piece.queries[at * PANEL_ROW..], &mut self.piece.scores[at * PANEL_ROW..][..count]);
                let scores = &mut row[first..count.min(first + STEP)];
                // SAFETY: the query is head_dim long, and so are the keys of this segment.
                unsafe { dots_with::<V>(self.sizes.head_dim, query.as_ptr(), &k.from(first, 0), scores) };
            }
        }
        for (at, (head, row)) in rows(&self.sizes, self.key_head).enumerate() {
            let scores = &mut self.piece.scores[at * PANEL_ROW..][..padded];
            let query = Query { batch: self.batch, head, row, position: self.spec.query_offset + row };
            if let Some(cap) = self.spec.soft_cap {
                cap_scores::<V>(E::from_f64(cap), &mut scores[..count]);
            }
            if self.bias.load(query, segment.keys.clone(), &mut self.piece.biases[..count]) {
                add::<V>(&mut scores[..count], &self.piece.biases[..count]);
            }
            if !segment.full {
                let start = segment.keys.start;
                for_each_hidden(&self.spec.pattern, query.position, segment.keys.clone(), &mut |run| {
                    scores[run.start - start..run.end - start].fill(E::NEG_INFINITY);
                });
            }
            scores[count..].fill(E::NEG_INFINITY);
            let old = self.piece.maxima[at];
            let new = maximum::<V>(scores);
            let new = if new > old { new } else { old };
            let sum = weights::<Number<V>>(scores, new);
            let shrink = shrink(old, new);
            self.piece.sums[at] = self.piece.sums[at] * shrink + sum;
            self.piece.maxima[at] = new;
            self.piece.output[at * wide..][..wide].iter_mut().for_each(|value| *value = *value * shrink);
        }
        let values = self.v.widened::<V>(segment.keys.clone(), self.piece.values);
        // SAFETY: a row of weights has the segment's keys, values lie inside their buffer, rows of output are whole tiles.
        unsafe {
            let done = match rows_here {
                1 => {
                    let done = self.add_values::<V, 1, 8>(values, count, 0);
                    self.add_values::<V, 1, 4>(values, count, done)
                }
                2 => self.add_values::<V, 2, 4>(values, count, 0),
                _ => self.add_values::<V, FEW_ROWS, 2>(values, count, 0),
            };
            for column in (done..self.sizes.value_dim).step_by(V::LANES * COLUMN_VECTORS) {
                let columns = (V::LANES * COLUMN_VECTORS).min(self.sizes.value_dim - column);
                let (a, v) = (self.piece.scores.as_ptr(), values.from(0, column));
                let c = Target { pointer: self.piece.output[column..].as_mut_ptr(), row: wide, column: 1 };
                few_rows_panel::<V>(&RowPanel { rows: rows_here, columns, k: count, a, b: v.pointer, b_step: v.row, c, adds: true });
            }
        }
    }

    /// Adds the weighted values of `count` keys to the output from a column on, as long as so many vectors are left, and returns where
    /// that ends. So many sums cover the latency of the multiply-add. Rows beyond those there are have any weights, and their output is
    /// nobody's.
    ///
    /// # Safety
    /// Values must be readable, and `ROWS` rows of weights and of whole tiles of output be there.
    #[inline(always)]
    unsafe fn add_values<V: Vector<Element = E>, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        values: Source<E>,
        count: usize,
        mut column: usize,
    ) -> usize {
        let (weights, wide) = (self.piece.scores.as_ptr(), self.piece.output.len() / FEW_ROWS);
        while column + VECTORS * V::LANES <= self.sizes.value_dim {
            let output = self.piece.output[column..].as_mut_ptr();
            // SAFETY: the caller's promises.
            unsafe {
                let mut sums = [[V::zero(); VECTORS]; ROWS];
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(output.add(row * wide + vector * V::LANES));
                    }
                }
                for key in 0..count {
                    let (from, mut value) = (values.from(key, column).pointer, [V::zero(); VECTORS]);
                    for (vector, value) in value.iter_mut().enumerate() {
                        *value = V::load(from.add(vector * V::LANES));
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let weight = V::splat(*weights.add(row * PANEL_ROW + key));
                        for (sum, value) in sums.iter_mut().zip(value) {
                            *sum = weight.mul_add(value, *sum);
                        }
                    }
                }
                for (row, sums) in sums.into_iter().enumerate() {
                    for (vector, sum) in sums.into_iter().enumerate() {
                        sum.store(output.add(row * wide + vector * V::LANES));
                    }
                }
            }
            column += VECTORS * V::LANES;
        }
        column
    }
}

/// Adds another part's result to this one's.
fn merge<E: Lanes>(into: &mut Piece<'_, E>, other: &Piece<'_, E>, wide: usize) {
    for at in 0..FEW_ROWS {
        let maximum = if other.maxima[at] > into.maxima[at] { other.maxima[at] } else { into.maxima[at] };
        let (own, others) = (shrink(into.maxima[at], maximum), shrink(other.maxima[at], maximum));
        into.maxima[at] = maximum;
        into.sums[at] = into.sums[at] * own + other.sums[at] * others;
        for (value, other) in into.output[at * wide..][..wide].iter_mut().zip(&other.output[at * wide..]) {
            *value = *value * own + *other * others;
        }
    }
}

fn finish<'a, E: Lanes + 'a>(
    sizes: &AttentionSizes,
    splits: usize,
    outputs: AttentionOutputs<'_, SimdBuffer>,
    piece_of: impl Fn(usize) -> Piece<'a, E>,
    wide: usize,
) {
    let (out, layout) = (SharedBuffer::new(outputs.out.buffer), outputs.out.layout);
    let log_sum_exp = outputs.log_sum_exp.map(|view| (SharedBuffer::new(view.buffer), view.layout));
    for head in 0..sizes.batch * sizes.key_heads {
        let (batch, piece) = (head / sizes.key_heads, piece_of(head * splits));
        for (at, (head, row)) in rows(sizes, head % sizes.key_heads).enumerate() {
            let (sum, output) = (piece.sums[at], &mut piece.output[at * wide..][..sizes.value_dim]);
            let nothing = sum == E::ZERO;
            output.iter_mut().for_each(|value| *value = if nothing { E::ZERO } else { *value / sum });
            if !output.is_empty() {
                // SAFETY: the view is inside its buffer, and only this thread writes now.
                unsafe { out.store(layout.position(&[batch, head, row, 0]), layout.strides()[3], output) };
            }
            if let Some((buffer, layout)) = &log_sum_exp {
                // SAFETY: likewise.
                unsafe { buffer.store(layout.position(&[batch, head, row]), 1, &[piece.maxima[at] + sum.log()]) };
            }
        }
    }
}
