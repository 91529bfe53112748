//! Depthwise convolution along the sequence.
//!
//! y[t, c] = sum over j of filter[c, j] x[t + j - left, c], with nothing outside the sequence: the filter is not flipped. `left` is
//! kernel - 1 if causal, else (kernel - 1) / 2, so that an even kernel reaches one further to the right.
//!
//! A task takes some channels of one sequence: it copies their filters once, with channels beside each other, and goes along the sequence
//! with the sums of its channels in registers. Rows of x are read `kernel` times, but only the first time from beyond the caches.
//!
//! # What bounds it
//! Two loads for each multiply-add (of x and of the filter), so that a machine with two loads a cycle does one multiply-add a cycle; for
//! short kernels, reading x and writing y.

use crossover_core::error::Result;
use crossover_core::tensor::{View, ViewMut};

use crate::aligned::Plain;
use crate::buffer::{SharedBuffer, SimdBuffer};
use crate::gemm::Engine;
use crate::isa::Kernel;
use crate::vector::{Lanes, Vector};

/// Channels of a task: four of the widest vectors, so that a row's part is a few cache lines.
const CHANNELS: usize = 64;
/// Vectors of sums that are kept in registers together.
const TOGETHER: usize = 4;
/// Rows of x that are brought into the compute type at once, where they have another or are strided.
const ROWS: usize = 64;

/// (batch, n, channels, kernel) as checked.
pub(crate) fn depthwise_conv<E: Lanes + Plain>(
    engine: &Engine,
    (batch, n, channels, kernel): (usize, usize, usize, usize),
    x: View<'_, SimdBuffer>,
    filter: View<'_, SimdBuffer>,
    causal: bool,
    out: ViewMut<'_, SimdBuffer>,
) -> Result<()> {
    if out.layout.is_empty() {
        return Ok(());
    }
    let reach = ROWS + kernel - 1;
    engine.workspace.reserve::<E>([kernel * CHANNELS, (reach + 1) * CHANNELS])?;
    let (out_layout, out) = (out.layout, SharedBuffer::new(out.buffer));
    let left = if causal { kernel - 1 } else { (kernel - 1) / 2 };
    let parts = channels.div_ceil(CHANNELS);
    // One task where waking a thread does not pay.
    let tasks = batch * parts;
    let alone = batch * n * channels * kernel < crate::rowwise::WORTH_WAKING;
    let work = |participant: usize, task: usize| {
        let mut piece = engine.workspace.piece(participant);
        let (filters, values) = piece.split::<E>([kernel * CHANNELS, (reach + 1) * CHANNELS]);
        let (rows, sums) = values.split_at_mut(reach * CHANNELS);
        let (b, first) = (task / parts, task % parts * CHANNELS);
        let count = CHANNELS.min(channels - first);
        for (j, taps) in filters.chunks_exact_mut(CHANNELS).enumerate() {
            filter.buffer.load(filter.layout.position(&[first, j]), filter.layout.strides()[0], &mut taps[..count]);
            taps[count..].fill(E::ZERO);
        }
        for start in (0..n).step_by(ROWS) {
            let end = n.min(start + ROWS);
            // Row r of the piece is x[start + r - left], zeros outside of the sequence.
            for (r, row) in rows.chunks_exact_mut(CHANNELS).take(end - start + kernel - 1).enumerate() {
                match (start + r).checked_sub(left).filter(|&t| t < n) {
                    Some(t) => {
                        x.buffer.load(x.layout.position(&[b, t, first]), x.layout.strides()[2], &mut row[..count]);
                        row[count..].fill(E::ZERO);
                    }
                    None => row.fill(E::ZERO),
                }
            }
            for t in start..end {
                let window = &rows[(t - start) * CHANNELS..][..kernel * CHANNELS];
                // The taps j for which t + j - left is inside 0..n: nothing is added for the others, not even 0 times infinity.
                let taps = left.saturating_sub(t)..kernel.min(n + left - t);
                engine.isa.run(Row {
                    filters: &filters[taps.start * CHANNELS..taps.end * CHANNELS],
                    window: &window[taps.start * CHANNELS..],
                    sums,
                });
                // SAFETY: a part of a row of the output, which belongs to this task.
                unsafe { out.store(out_layout.position(&[b, t, first]), out_layout.strides()[2], &sums[..count]) };
            }
        }
    };
    engine.pool.for_each_on(if alone { 1 } else { engine.pool.threads() }, tasks, work);
    Ok(())
}

/// sums = the sum over taps of filter times window, each a row of channels.
struct Row<'a, E> {
    filters: &'a [E],
    window: &'a [E],
    sums: &'a mut [E],
}

impl<E: Lanes> Kernel<E> for Row<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = E>>(self) {
        for at in (0..CHANNELS).step_by(TOGETHER * V::LANES) {
            let mut sums = [V::zero(); TOGETHER];
            for (taps, row) in self.filters.chunks_exact(CHANNELS).zip(self.window.chunks_exact(CHANNELS)) {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    let place = at + vector * V::LANES;
                    // SAFETY: the channels are a multiple of four of any vectors, and all three have as many.
                    unsafe { *sum = V::load(taps.as_ptr().add(place)).mul_add(V::load(row.as_ptr().add(place)), *sum) };
                }
            }
            for (vector, sum) in sums.into_iter().enumerate() {
                // SAFETY: likewise.
                unsafe { sum.store(self.sums.as_mut_ptr().add(at + vector * V::LANES)) };
            }
        }
    }
}
