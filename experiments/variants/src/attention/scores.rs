//! Score matrices in the compute type, some query rows at a time: for variants that need whole rows of scores.
//!
//! Streaming is not possible where a row must be known before its first weight is (a k-th largest score, a mixture of heads). Handling
//! `chunk` query rows at a time keeps the memory at chunk n_kv for each head instead of n n_kv.

use crossover_core::arena::Arena;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::layout::Layout;
use crossover_core::ops::MatmulSpec;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::count;
use super::dense::shared;
use crate::descriptor::{AxisDefault, AxisSpec};
use crate::variant::wrong_inputs;

/// Query rows whose scores are in memory together.
pub(super) const CHUNK: AxisSpec = count("chunk", "query rows whose scores are in memory together", AxisDefault::Int(64));

/// Pairs that the causal forms compute: each chunk of rows against all keys up to its own last, as a formula.
macro_rules! chunked_pairs {
    () => {
        "(min(chunk, n)^2*floor(n/min(chunk, n))*(floor(n/min(chunk, n)) + 1)/2 + (n - min(chunk, n)*floor(n/min(chunk, n)))*n)"
    };
}
/// The most of them that are in memory together, for one head.
macro_rules! chunk_scores {
    () => {
        "max(min(chunk, n)^2*floor(n/min(chunk, n)), (n - min(chunk, n)*floor(n/min(chunk, n)))*n)"
    };
}
pub(super) use {chunk_scores, chunked_pairs};

/// Sizes of q [batch, heads, n, width] against k [batch, key heads, n_kv, width].
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) key_heads: usize,
    pub(super) group: usize,
    pub(super) n: usize,
    pub(super) n_kv: usize,
    pub(super) width: usize,
}

impl Sizes {
    /// Of the queries and keys of a call.
    pub(super) fn of<S>(variant: &'static str, inputs: &[View<'_, S>]) -> Result<Self> {
        let [q, k, ..] = inputs else { return Err(wrong_inputs(variant, inputs)) };
        match (q.shape(), k.shape()) {
            (&[batch, heads, n, width], &[_, key_heads, n_kv, _]) if key_heads > 0 && heads % key_heads == 0 => {
                Ok(Self { batch, key_heads, group: heads / key_heads, n, n_kv, width })
            }
            _ => Err(wrong_inputs(variant, inputs)),
        }
    }

    /// First row and number of rows of each chunk.
    pub(super) fn chunks(self, chunk: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.n).step_by(chunk.max(1)).map(move |start| (start, chunk.min(self.n - start)))
    }

    /// The same against the keys that these rows may see: all of them, or those up to the last row's own.
    pub(super) fn within_reach<'a, S>(
        self,
        causal: bool,
        [k, v]: [View<'a, S>; 2],
        (start, rows): (usize, usize),
    ) -> Result<(Self, [View<'a, S>; 2])> {
        if !causal {
            return Ok((self, [k, v]));
        }
        let seen = start + rows;
        Ok((Self { n_kv: seen, ..self }, [k.narrow(2, 0, seen)?, v.narrow(2, 0, seen)?]))
    }

    /// [batch, key heads, group, rows, columns].
    pub(super) fn shape(self, rows: usize, columns: usize) -> [usize; 5] {
        [self.batch, self.key_heads, self.group, rows, columns]
    }

    fn of_queries(self, layout: &Layout, start: usize, rows: usize) -> Result<Layout> {
        layout.narrow(2, start, rows)?.split(1, self.key_heads, self.group)
    }

    /// q k^T / sqrt(width) for these query rows, in the compute type.
    pub(super) fn scores<B: TransformerBackend>(
        self,
        backend: &B,
        (q, k): (View<'_, B::Buffer>, View<'_, B::Buffer>),
        (start, rows): (usize, usize),
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let mut scores = scratch.take(backend, backend.compute(), &self.shape(rows, self.n_kv))?;
        let q = q.with(|layout| self.of_queries(layout, start, rows))?;
        let spec = MatmulSpec::scaled(1.0 / (self.width as f64).sqrt());
        backend.matmul(spec, q, shared(k, self.group)?.transposed()?, scores.view_mut())?;
        Ok(scores)
    }

    /// Weights times values into these rows of the output; the weights are rounded to the storage type first, as those of a streaming
    /// kernel are.
    pub(super) fn weigh<B: TransformerBackend>(
        self,
        backend: &B,
        weights: &Tensor<B::Buffer>,
        v: View<'_, B::Buffer>,
        (out, start, rows): (ViewMut<'_, B::Buffer>, usize, usize),
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let out = out.with(|layout| self.of_queries(layout, start, rows))?;
        let v = shared(v, self.group)?;
        if backend.storage() == backend.compute() {
            return backend.matmul(MatmulSpec::PLAIN, weights.view(), v, out);
        }
        let mut narrow = scratch.take(backend, backend.storage(), weights.shape())?;
        backend.copy(weights.view(), narrow.view_mut())?;
        backend.matmul(MatmulSpec::PLAIN, narrow.view(), v, out)?;
        scratch.give(narrow);
        Ok(())
    }
}
