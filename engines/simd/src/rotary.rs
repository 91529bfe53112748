//! Rotary positions: pairs of channels, one of each half of a row, turned by an angle (Su et al., 2021, equation 34).
//!
//! # What bounds it
//! Reading the rows and the tables once and writing the rows once; the tables of one position serve all heads, and are in a cache for all
//! but the first.

use crossover_core::check;
use crossover_core::error::{Result, shape_error};
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::SimdBuffer;
use crate::gemm::Engine;
use crate::rowwise::{Part, RowKernel, for_each_row};
use crate::vector::{Lanes, Vector};

/// The tables, repeated for all rows of x, or what does not fit.
pub(crate) fn tables<'a>(
    x: &View<'_, SimdBuffer>,
    tables: [View<'a, SimdBuffer>; 2],
    out: &ViewMut<'_, SimdBuffer>,
) -> Result<[View<'a, SimdBuffer>; 2]> {
    let (rank, width) = (x.layout.rank(), x.layout.dim_from_end(0));
    if rank < 2 || !width.is_multiple_of(2) {
        return Err(shape_error("rotary", format!("{:?} needs rows of an even width", x.shape())));
    }
    check::same_shape("rotary", &x.layout, &out.layout)?;
    let half = x.layout.narrow(rank - 1, 0, width / 2)?;
    let [cosines, sines] = tables;
    Ok([cosines.with(|layout| layout.broadcast(half.shape()))?, sines.with(|layout| layout.broadcast(half.shape()))?])
}

/// x and out [.., n, width], an even width; cosines and sines repeated to [.., n, width / 2].
pub(crate) fn rotary<E: Lanes + Plain>(
    engine: &Engine,
    x: View<'_, SimdBuffer>,
    [cosines, sines]: [View<'_, SimdBuffer>; 2],
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    for_each_row::<E, _, 4>(engine, &Rotary, [Part::Write(out), Part::Read(x), Part::Read(cosines), Part::Read(sines)])
}

struct Rotary;

impl<E: Lanes> RowKernel<E, 4> for Rotary {
    #[inline(always)]
    unsafe fn row<V: Vector<Element = E>>(&self, _: usize, [out, x, cosines, sines]: [*mut E; 4], width: usize) {
        let half = width / 2;
        let mut at = 0;
        // SAFETY: all accesses are below half of the width, or of the upper half; the caller promises both.
        unsafe {
            while at + V::LANES <= half {
                // The next row: a row is six short streams, too short for the processor to see where they lead.
                for ahead in [x.wrapping_add(width), x.wrapping_add(width + half), cosines.wrapping_add(half), sines.wrapping_add(half)] {
                    V::prefetch(ahead.wrapping_add(at));
                }
                let (first, second) = (V::load(x.add(at)), V::load(x.add(half + at)));
                let (cosine, sine) = (V::load(cosines.add(at)), V::load(sines.add(at)));
                first.mul(cosine).sub(second.mul(sine)).store(out.add(at));
                second.mul(cosine).add(first.mul(sine)).store(out.add(half + at));
                at += V::LANES;
            }
            if at < half {
                let rest = half - at;
                let (first, second) = (V::load_first(x.add(at), rest), V::load_first(x.add(half + at), rest));
                let (cosine, sine) = (V::load_first(cosines.add(at), rest), V::load_first(sines.add(at), rest));
                first.mul(cosine).sub(second.mul(sine)).store_first(out.add(at), rest);
                second.mul(cosine).add(first.mul(sine)).store_first(out.add(half + at), rest);
            }
        }
    }
}
