//! Linear attention: the state phi(k)^T v of a head, and its read-out by queries.
//!
//! The same chunks as the composition (Katharopoulos et al., 2020, section 3.3.1), in the same order, but a head at a time: a task takes a
//! head of keys with the query heads that share it through all of its chunks, so that a chunk's rows, its scores and the state stay in the
//! caches of one core, operands are read where they lie instead of from copies, and threads meet once a call instead of after each of some
//! fifteen operations a chunk. Fewer heads than threads are left to the composition, whose products divide a head.
//!
//! # What bounds it
//! Four products of `chunk x features x values` (two, where nothing is masked), whose operands are packed for few rows each: copying them
//! is a fifth of the work at a chunk of 64.

use std::ops::Range;

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::compose;
use crossover_core::compose::linear_attention::Sizes;
use crossover_core::dtype::DType;
use crossover_core::error::{EngineError, Result};
use crossover_core::layout::Layout;
use crossover_core::ops::{LinearAttentionSpec, OpSpec};
use crossover_core::tensor::{View, ViewMut};

use crate::SimdBackend;
use crate::aligned::{LINE, Plain};
use crate::buffer::SimdBuffer;
use crate::gemm::{Alone, Engine, Epilogue, Product, Right, Source, Target, dots_with};
use crate::isa::Kernel;
use crate::pool::Shared;
use crate::sweep::{Sum, fold, map};
use crate::vector::{Lanes, Over, Times, Vector};

/// Rows that are absorbed and read out together where the variant asks for no chunks: whole tiles of every path, in one sum of the
/// products.
const ROWS: usize = 252;
/// Vectors of a sum over rows that are kept in registers.
const TOGETHER: usize = 4;

/// One call.
struct Call<'a, E> {
    engine: &'a Engine,
    sizes: Sizes,
    q: Place<'a, E>,
    k: Place<'a, E>,
    v: Place<'a, E>,
    out: (Shared<E>, Layout),
    causal: bool,
    epsilon: E,
    rows: usize,
}

/// An operand whose rows are dense.
struct Place<'a, E> {
    values: &'a [E],
    layout: Layout,
}

/// What one participant works with.
struct Piece<'a, E> {
    /// phi(k)^T v so far: [features, values].
    state: &'a mut [E],
    /// Sum of phi(k) so far.
    normaliser: &'a mut [E],
    /// Of the chunk's queries with its own keys.
    scores: &'a mut [E],
    /// What each row is divided by, and the part of it that comes from the state.
    sums: [&'a mut [E]; 2],
    packing: (&'a mut [E], &'a mut [E]),
}

/// Here, where operands are of the compute type, their rows are dense, and there is a head for every thread; else composed.
pub(crate) fn linear_attention<E: Lanes + Plain>(
    backend: &SimdBackend,
    spec: LinearAttentionSpec,
    [q, k, v]: [View<'_, SimdBuffer>; 3],
    out: ViewMut<'_, SimdBuffer>,
    scratch: &mut Arena<SimdBuffer>,
) -> Result<()> {
    let engine = &backend.engine;
    let sizes = Sizes::checked(spec, [&q.layout, &k.layout, &v.layout, &out.layout])?;
    let Sizes { batch, heads, key_heads, queries, keys, features, value_dim } = sizes;
    backend.expect(|| {
        // Query heads that share keys are as many more rows to read out of one state.
        let (batch_heads, queries) = (batch * key_heads, queries * (heads / key_heads));
        OpSpec::LinearAttention { batch_heads, queries, keys, features, value_dim, causal: spec.causal }
    })?;
    let dense = [&q.layout, &k.layout, &v.layout, &out.layout].into_iter().all(|layout| layout.strides()[3] == 1);
    let enough = batch * key_heads >= engine.pool.threads();
    let (Some(q_values), Some(k_values), Some(v_values), true, true, DType::F32 | DType::F64) =
        (E::slice(q.buffer), E::slice(k.buffer), E::slice(v.buffer), dense, enough, out.dtype())
    else {
        return compose::linear_attention::chunked(backend, spec, q, k, v, out, scratch);
    };
    backend.types.inputs("linear attention", [&q, &k, &v])?;
    backend.types.output("linear attention", &out)?;
    if out.layout.is_empty() {
        return Ok(());
    }
    let rows = if spec.causal { spec.chunk.min(queries) } else { ROWS };
    let counts = piece_counts::<E>(engine, &sizes, rows, spec.causal);
    let whole = counts.iter().fold(0, |sum: usize, &count| sum.saturating_add(count));
    let mut pieces = scratch.take(backend, E::DTYPE, &[engine.pool.threads(), whole])?;
    let (found, out_layout) = (out.dtype(), out.layout);
    let (Some(out_values), Some(piece_values)) = (E::slice_mut(out.buffer), E::slice_mut(&mut pieces.buffer)) else {
        return Err(EngineError::ElementType { operation: "linear attention", expected: E::DTYPE, found });
    };
    let (out, pieces_at) = ((Shared::new(out_values), out_layout), Shared::new(piece_values));
    let place = |values, view: &View<'_, SimdBuffer>| Place { values, layout: view.layout };
    let (q, k, v) = (place(q_values, &q), place(k_values, &k), place(v_values, &v));
    let call = Call { engine, sizes, q, k, v, out, causal: spec.causal, epsilon: E::from_f64(spec.epsilon), rows };
    engine.pool.for_each(batch * key_heads, |participant, task| {
        // SAFETY: each participant has a piece of its own.
        let piece = unsafe { std::slice::from_raw_parts_mut(pieces_at.pointer().add(participant * whole), whole) };
        call.head([task / key_heads, task % key_heads], &mut Piece::cut(piece, counts));
    });
    scratch.give(pieces);
    Ok(())
}

/// Elements of each part of a piece, whole lines each.
fn piece_counts<E: Lanes + Plain>(engine: &Engine, sizes: &Sizes, rows: usize, causal: bool) -> [usize; 7] {
    let Sizes { features, value_dim, .. } = *sizes;
    let own = if causal { rows } else { 0 };
    let products = [[features, value_dim, rows], [rows, value_dim, features], [own, own, features], [own, value_dim, own]];
    let packing = products.map(|extents| Alone::<E>::elements(engine, extents));
    let most = |at: usize| packing.iter().map(|sizes| sizes[at]).max().unwrap_or(0);
    [features.saturating_mul(value_dim), features, own * own, rows, rows, most(0), most(1)]
        .map(|count| count.checked_next_multiple_of(LINE).unwrap_or(usize::MAX / LINE))
}

impl<'a, E> Piece<'a, E> {
    fn cut(mut rest: &'a mut [E], counts: [usize; 7]) -> Self {
        let [state, normaliser, scores, sums, own, a, b] = counts.map(|count| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(count);
            rest = after;
            part
        });
        Self { state, normaliser, scores, sums: [sums, own], packing: (a, b) }
    }
}

impl<E: Lanes + Plain> Call<'_, E> {
    /// A head of keys through all of its chunks.
    fn head(&self, [batch, key_head]: [usize; 2], piece: &mut Piece<'_, E>) {
        let Sizes { heads, key_heads, queries, keys, .. } = self.sizes;
        let group = heads / key_heads;
        piece.state.fill(E::ZERO);
        piece.normaliser.fill(E::ZERO);
        let chunks = |rows: usize| (0..rows).step_by(self.rows).map(move |first| first..rows.min(first + self.rows));
        let query_heads = || key_head * group..(key_head + 1) * group;
        if self.causal {
            for rows in chunks(queries) {
                query_heads().for_each(|head| self.read_out([batch, head, key_head], rows.clone(), piece));
                self.absorb([batch, key_head], rows, piece);
            }
            return;
        }
        chunks(keys).for_each(|rows| self.absorb([batch, key_head], rows, piece));
        for head in query_heads() {
            chunks(queries).for_each(|rows| self.read_out([batch, head, key_head], rows, piece));
        }
    }

    /// Adds these keys and values to the state.
    fn absorb(&self, [batch, head]: [usize; 2], rows: Range<usize>, piece: &mut Piece<'_, E>) {
        let (k, v) = (self.k.rows([batch, head, rows.start]), self.v.rows([batch, head, rows.start]));
        let Sizes { features, value_dim, .. } = self.sizes;
        let turned = Source { row: k.column, column: k.row, ..k };
        let state = Target { pointer: piece.state.as_mut_ptr(), row: value_dim, column: 1 };
        // First, because it reads the keys as they lie, and so brings them from memory.
        self.engine.isa.run(AddRows { from: k, rows: rows.len(), sums: &mut piece.normaliser[..features] });
        self.product([features, value_dim, rows.len()], turned, v, state, true, piece);
    }

    /// out = (q S + masked(q k^T) v) / (q z + row sums of masked(q k^T) + epsilon).
    fn read_out(&self, [batch, head, key_head]: [usize; 3], rows: Range<usize>, piece: &mut Piece<'_, E>) {
        let Sizes { features, value_dim, .. } = self.sizes;
        let (q, count) = (self.q.rows([batch, head, rows.start]), rows.len());
        let (out, layout) = &self.out;
        let out = Target {
            pointer: out.pointer().wrapping_add(layout.position(&[batch, head, rows.start, 0])),
            row: layout.strides()[2],
            column: 1,
        };
        let state = Source { pointer: piece.state.as_ptr(), row: value_dim, column: 1 };
        self.product([count, value_dim, features], q, state, out, false, piece);
        piece.sums[1].fill(E::ZERO);
        if self.causal {
            let (k, v) = (self.k.rows([batch, key_head, rows.start]), self.v.rows([batch, key_head, rows.start]));
            let turned = Source { row: k.column, column: k.row, ..k };
            let scores = Target { pointer: piece.scores.as_mut_ptr(), row: count, column: 1 };
            self.product([count, count, features], q, turned, scores, false, piece);
            self.engine.isa.run(Visible { scores: &mut piece.scores[..count * count], sums: &mut piece.sums[1][..count] });
            let scores = Source { pointer: piece.scores.as_ptr(), row: count, column: 1 };
            self.product([count, value_dim, count], scores, v, out, true, piece);
        }
        let [sums, own] = &mut piece.sums;
        let (sums, own, normaliser) = (&mut sums[..count], &own[..count], &piece.normaliser[..features]);
        self.engine.isa.run(Divide { q, normaliser, own, sums, epsilon: self.epsilon, out, width: value_dim });
    }

    /// C = A B, or C += A B.
    fn product(&self, [m, n, k]: [usize; 3], a: Source<E>, b: Source<E>, c: Target<E>, adds: bool, piece: &mut Piece<'_, E>) {
        let beta = if adds { E::ONE } else { E::ZERO };
        let epilogue = Epilogue { alpha: E::ONE, beta, bias: None, activation: Activation::None };
        let product = Product { m, n, k, a, b: Right::Plain(b), c, epilogue };
        Alone { product: &product, buffers: (&mut *piece.packing.0, &mut *piece.packing.1) }.run(self.engine);
    }
}

impl<E> Place<'_, E> {
    /// The rows of a head from there on.
    fn rows(&self, [batch, head, row]: [usize; 3]) -> Source<E> {
        let strides = self.layout.strides();
        let pointer = self.values.as_ptr().wrapping_add(self.layout.position(&[batch, head, row, 0]));
        Source { pointer, row: strides[2], column: strides[3] }
    }
}

/// sums += the sum of some dense rows.
struct AddRows<'a, E> {
    from: Source<E>,
    rows: usize,
    sums: &'a mut [E],
}

impl<E: Lanes> Kernel<E> for AddRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        let width = self.sums.len();
        for first in (0..width).step_by(TOGETHER * V::LANES) {
            let counts: [usize; TOGETHER] = std::array::from_fn(|at| V::LANES.min(width.saturating_sub(first + at * V::LANES)));
            let place = |at: usize| first + at * V::LANES;
            let whole = counts == [V::LANES; TOGETHER];
            // SAFETY: elements of the sums and of the rows below their width.
            unsafe {
                let mut states: [V; TOGETHER] =
                    std::array::from_fn(|at| V::load_first(self.sums.as_ptr().wrapping_add(place(at)), counts[at]));
                for row in 0..self.rows {
                    let from = self.from.from(row, 0).pointer;
                    for (at, state) in states.iter_mut().enumerate() {
                        let from = from.wrapping_add(place(at));
                        *state = state.add(if whole { V::load(from) } else { V::load_first(from, counts[at]) });
                    }
                }
                for (at, state) in states.into_iter().enumerate() {
                    state.store_first(self.sums.as_mut_ptr().wrapping_add(place(at)), counts[at]);
                }
            }
        }
    }
}

/// Scores of a square chunk: zeros above the diagonal, and the sums of what is left of each row.
struct Visible<'a, E> {
    scores: &'a mut [E],
    sums: &'a mut [E],
}

impl<E: Lanes> Kernel<E> for Visible<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        let count = self.sums.len();
        for (row, (scores, sum)) in self.scores.chunks_exact_mut(count.max(1)).zip(self.sums).enumerate() {
            scores[row + 1..].fill(E::ZERO);
            // SAFETY: the row's first elements.
            *sum = unsafe { fold::<V, _>(Sum, scores.as_ptr(), row + 1) }.sum();
        }
    }
}

/// Rows of the output over q z + own + epsilon.
struct Divide<'a, E> {
    q: Source<E>,
    normaliser: &'a [E],
    own: &'a [E],
    sums: &'a mut [E],
    epsilon: E,
    out: Target<E>,
    width: usize,
}

impl<E: Lanes> Kernel<E> for Divide<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        // SAFETY: rows of q are as long as the normaliser, and dense.
        unsafe { dots_with::<V>(self.normaliser.len(), self.normaliser.as_ptr(), &self.q, self.sums) };
        for (row, (sum, own)) in self.sums.iter().zip(self.own).enumerate() {
            let divisor = *sum + *own + self.epsilon;
            let (share, to) = (E::ONE / divisor, self.out.from(row, 0).pointer);
            // SAFETY: the output's row, which belongs to this task.
            unsafe {
                if share * E::ZERO == E::ZERO {
                    map::<V, _>(Times(share), to, to, self.width);
                } else {
                    map::<V, _>(Over(divisor), to, to, self.width);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossover_core::backend::{EngineConfig, TransformerBackend};
    use crossover_core::host::HostTensor;

    use super::*;

    /// Heads of several blocks, tails in every direction, shared keys, rows that are not behind each other; with one head for each thread
    /// the kernel runs, with three threads the composition.
    #[test]
    fn the_kernel_agrees_with_the_composition() {
        let (heads, key_heads, n, features, value_dim) = (4, 2, 301, 37, 19);
        let drawn = |shape: &[usize], seed: usize, least: f64| {
            let value = |at: usize| least + f64::from(((at + seed) as u32).wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 24);
            HostTensor::new(shape, (0..shape.iter().product()).map(value).collect()).unwrap()
        };
        let host = [([n, heads, features], 0.0), ([n, key_heads, features], 0.0), ([n, key_heads, value_dim], -0.5)];
        for (causal, chunk, threads) in [(true, 64, 1), (true, 1, 2), (true, 300, 2), (false, 64, 2), (false, 1, 3)] {
            let engine = SimdBackend::new(&EngineConfig::new("f64".parse().unwrap(), threads)).unwrap();
            let spec = LinearAttentionSpec { causal, epsilon: 1e-3, chunk };
            let tensors = host.map(|(shape, least)| engine.upload(&drawn(&shape, shape[2], least), DType::F64).unwrap());
            let [q, k, v] = [0, 1, 2].map(|at| {
                let by_head = |layout: &Layout| layout.swap(0, 1)?.unsqueeze(0);
                tensors[at].view().with(by_head).unwrap()
            });
            let [mut own, mut composed] = [0, 1].map(|_| engine.upload(&drawn(&[1, heads, n, value_dim], 0, 0.0), DType::F64).unwrap());
            let mut scratch = Arena::new();
            engine.linear_attention(spec, q, k, v, own.view_mut(), &mut scratch).unwrap();
            compose::linear_attention::chunked(&engine, spec, q, k, v, composed.view_mut(), &mut scratch).unwrap();
            let [own, composed] = [own, composed].map(|tensor| engine.download(tensor.view()).unwrap());
            let worst = own.values().iter().zip(composed.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-13, "causal {causal}, chunk {chunk}, {threads} threads: {worst}");
            assert!(own.values().iter().any(|value| value.abs() > 1e-3));
        }
    }

    /// 0 over a number so small that one over it is infinite is 0.
    #[test]
    fn queries_without_weight_give_zeros() {
        let engine = SimdBackend::new(&EngineConfig::new("f64".parse().unwrap(), 1)).unwrap();
        let tensor = |value: f64| engine.upload(&HostTensor::new(&[1, 1, 5, 3], vec![value; 15]).unwrap(), DType::F64).unwrap();
        let (q, kv, mut out) = (tensor(0.0), tensor(1.0), tensor(7.0));
        let spec = LinearAttentionSpec { causal: true, epsilon: 1e-310, chunk: 2 };
        engine.linear_attention(spec, q.view(), kv.view(), kv.view(), out.view_mut(), &mut Arena::new()).unwrap();
        assert_eq!(engine.download(out.view()).unwrap().values(), [0.0; 15]);
    }
}
