//! Copy, fill, functions of one and of two arguments, masks: everything that sees one element at a time.
//!
//! # What bounds it
//! Reading each argument once and writing the result once. Behind it, for the widest vectors and per 16 elements: an exponential takes
//! some 15 instructions, a sigmoid or GELU some 30 and a division, which fits into the 25 cycles that moving them through memory takes at
//! 20 GB/s. Narrower vectors are bound by that arithmetic, and copying by nothing else.

mod binary;
mod copy;
mod unary;

pub(crate) use binary::{binary, select};
pub(crate) use copy::{copy, fill};
pub(crate) use unary::unary;

use crossover_core::error::Result;
use crossover_core::pattern::AttentionPattern;
use crossover_core::tensor::ViewMut;

use crate::aligned::Plain;
use crate::attention::for_each_hidden;
use crate::buffer::SimdBuffer;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::vector::{Lanes, Vector};

/// Minus infinity for pairs outside the pattern; scores [.., queries, keys].
pub(crate) fn mask<E: Lanes + Plain>(
    engine: &Engine,
    pattern: &AttentionPattern,
    query_offset: usize,
    key_offset: usize,
    scores: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    let queries = scores.layout.dim_from_end(1);
    for_each_row::<E, _, 2>(engine, &Mask { pattern, query_offset, key_offset, queries }, [Part::Write(scores), Part::First])
}

struct Mask<'a> {
    pattern: &'a AttentionPattern,
    query_offset: usize,
    key_offset: usize,
    queries: usize,
}

impl<E: Lanes> RowKernel<E, 2> for Mask<'_> {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, row: usize, [scores, _]: [*mut E; 2], width: usize) {
        let first = self.key_offset;
        for_each_hidden(self.pattern, self.query_offset + row % self.queries, first..first + width, &mut |run| {
            // SAFETY: the run is inside of the row, which is writable by the caller's promise.
            unsafe { std::slice::from_raw_parts_mut(scores.add(run.start - first), run.len()) }.fill(E::NEG_INFINITY);
        });
    }
}
