//! Layers whose weight stores only some entries.
//!
//! Each stored entry is one multiply-add for each row of x, so rows are the lanes: x is turned, a block of rows and inputs at a time, such
//! that an input's values of all rows of the block are neighbours (the row-wise product of Gustavson, 1978, with a dense right-hand side).
//! An entry is then a broadcast, a byte that says which input it belongs to, and a multiply-add for each vector of rows. Nothing is
//! gathered and nothing is multiplied by zero.
//!
//! Entries are sorted by blocks of inputs, so that a block of x stays in the first-level cache for all outputs; sums wait in a buffer of
//! [outputs, rows of the block] in the second level.
//!
//! Where whole blocks are stored, [`TOGETHER`] outputs have the same inputs: they share an index and what is loaded of x.
//!
//! # What bounds it
//! For each entry and four vectors of rows, four multiply-adds, two cycles. Six values are loaded for them where outputs stand alone (three
//! cycles), and two (one cycle) where four go together, so that blocks come near the multiply-adds' peak.
//!
//! # What it trades away
//! An entry is used for the rows of one block, so where rows are few the lanes are empty. A dense tile reads 16 values for 28
//! multiply-adds: where more than about half of the single entries are stored, dense is faster. N:M is stored as single entries: its
//! structure would save bytes of indices, which do not bound it.

use std::ops::Range;

use crossover_core::dtype::DType;
use crossover_core::error::{Result, shape_error};
use crossover_core::sparse::SparseWeight;

use super::Product;
use super::pack::{ROWS_TOGETHER, pack_rows, scratch_words};
use super::tile::{Finish, Sums};
use super::unit::{Wide, Word};
use crate::aligned::Aligned;
use crate::element::Real;
use crate::gemm::{Cut, Engine};
use crate::isa::Kernel;
use crate::pool::{LEAST_FOR_THREADS, PARTS};
use crate::vector::{Lanes, Vector};

/// Inputs of a block; their number in it is a byte. With four vectors of rows a block of x takes two thirds of a first-level cache of 48
/// KiB.
const INPUTS: usize = 128;
/// Vectors of rows that an entry is multiplied with, unless there are few rows.
const VECTORS: usize = 4;
/// Neighbouring outputs that share their inputs, where blocks are as high.
const TOGETHER: usize = 4;
/// Rows that are finished together: whole blocks of 4 x 4, and no more than a tile has.
const FINISHED: usize = 12;

/// The stored entries of a weight [n outputs, k inputs].
#[derive(Debug)]
pub(crate) struct Sparse {
    n: usize,
    k: usize,
    /// Outputs of a group, which share their inputs: one or [`TOGETHER`].
    together: usize,
    /// Where the inputs of each block of inputs and group of outputs start, and the end of the last.
    starts: Aligned<i32>,
    /// Each input, counted from the start of its block.
    inputs: Aligned<u8>,
    /// For each input a value of every output of the group.
    values: Aligned<f32>,
}

impl Sparse {
    /// Sorts the entries by blocks of inputs.
    pub(crate) fn prepare(weight: &SparseWeight) -> Result<Self> {
        weight.check()?;
        let ((rows, columns), stored) = (weight.structure.block(), weight.values.len());
        if i32::try_from(stored).is_err() {
            return Err(shape_error("sparse weight", format!("{stored} entries are more than 32-bit indices can tell apart")));
        }
        let (n, k) = (weight.outputs, weight.inputs);
        let together = if rows.is_multiple_of(TOGETHER) { TOGETHER } else { 1 };
        let groups = n / together;
        let mut starts = Aligned::zeros(DType::I32, k.div_ceil(INPUTS).saturating_mul(groups).saturating_add(1))?;
        let (mut inputs, mut values) = (Aligned::zeros(DType::I8, stored / together)?, Aligned::zeros(DType::F32, stored)?);
        // Group, input and place of the first value: block rows hold their blocks one after the other, each row-major.
        let each = |visit: &mut dyn FnMut(usize, usize, usize)| {
            for (block_row, ends) in weight.starts.windows(2).enumerate() {
                for block in ends[0] as usize..ends[1] as usize {
                    for (row, column) in (0..rows).step_by(together).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                        let first = (block * rows + row) * columns + column;
                        visit((block_row * rows + row) / together, weight.columns[block] as usize * columns + column, first);
                    }
                }
            }
        };
        // Counting sort by block of inputs and group; within these, inputs ascend as they come.
        each(&mut |group, input, _| starts[input / INPUTS * groups + group + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let mut next = starts.clone();
        each(&mut |group, input, first| {
            let at = &mut next[input / INPUTS * groups + group];
            inputs[*at as usize] = (input % INPUTS) as u8;
            for (output, value) in values[*at as usize * together..][..together].iter_mut().enumerate() {
                *value = f32::from_f64(weight.values[first + output * columns]);
            }
            *at += 1;
        });
        Ok(Self { n, k, together, starts, inputs, values })
    }

    /// Bytes of everything.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.inputs) + size_of_val(&*self.values)
    }

    /// Inputs of a group of outputs, and their values.
    fn entries(&self, block: usize, group: usize) -> (&[u8], &[f32]) {
        let at = block * (self.n / self.together) + group;
        let range = self.starts[at] as usize..self.starts[at + 1] as usize;
        (&self.inputs[range.clone()], &self.values[range.start * self.together..range.end * self.together])
    }
}

/// `batch` products with the same weight; `product_of` says where each of them lies.
pub(crate) fn multiply<'a>(engine: &Engine, batch: usize, product_of: impl Fn(usize) -> Product<&'a Sparse> + Sync) -> Result<()> {
    if batch == 0 {
        return Ok(());
    }
    let Product { m, n, right, .. } = product_of(0);
    if m == 0 || n == 0 {
        return Ok(());
    }
    let shape = Shape { vectors: engine.isa.run::<f32, _>(VectorsFor { rows: m }), lanes: engine.isa.run::<f32, _>(LaneCount) };
    let threads = if batch * m * right.values.len() < LEAST_FOR_THREADS { 1 } else { engine.pool.threads() };
    let rows = Cut::new(m, shape.rows(), m.div_ceil(shape.rows()));
    let columns = Cut::new(n, (2 * shape.lanes).max(TOGETHER), if batch * rows.parts >= PARTS * threads { 1 } else { threads });
    let scratch = shape.scratch(columns.largest(), right.k);
    engine.workspace.reserve::<f32>(scratch)?;
    let parts = rows.parts * columns.parts;
    let work = |participant: usize, task: usize| {
        let product = product_of(task / parts);
        let (rows, columns) = (rows.range(task % parts / columns.parts), columns.range(task % columns.parts));
        let mut piece = engine.workspace.piece(participant);
        engine.isa.run(Part { product: &product, shape, rows, columns, scratch: piece.split::<u32>(scratch) });
    };
    engine.pool.for_each_on(threads, batch * parts, work);
    Ok(())
}

/// How many rows are the lanes of a block.
#[derive(Debug, Clone, Copy)]
struct Shape {
    vectors: usize,
    lanes: usize,
}

impl Shape {
    fn rows(self) -> usize {
        self.vectors * self.lanes
    }

    /// A block of x and what packing it needs, and the sums.
    fn scratch(self, columns: usize, k: usize) -> [usize; 2] {
        let inputs = INPUTS.min(k).next_multiple_of(4);
        [inputs * self.rows() + scratch_words(INPUTS, Word::F32), columns.next_multiple_of(4) * self.rows()]
    }
}

struct VectorsFor {
    rows: usize,
}

impl Kernel<f32> for VectorsFor {
    type Output = usize;

    /// One vector where that holds all rows. (Vectors of one lane cannot be turned in blocks of 4 x 4.)
    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) -> usize {
        if self.rows <= V::LANES && V::LANES >= 4 { 1 } else { VECTORS }
    }
}

struct LaneCount;

impl Kernel<f32> for LaneCount {
    type Output = usize;

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) -> usize {
        V::LANES
    }
}

/// One block of rows, and some outputs.
struct Part<'a> {
    product: &'a Product<&'a Sparse>,
    shape: Shape,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: (&'a mut [u32], &'a mut [u32]),
}

impl Kernel<f32> for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = f32>>(self) {
        if self.shape.vectors == 1 { self.vectors::<V, 1>() } else { self.vectors::<V, VECTORS>() }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn vectors<V: Vector<Element = f32>, const N: usize>(self) {
        let Self { product, shape, rows, columns, scratch: (x, sums) } = self;
        let (weight, width) = (product.right, N * V::LANES);
        let (x, packing) = x.split_at_mut(INPUTS.min(weight.k).next_multiple_of(4) * shape.rows());
        sums.fill(0);
        for first in (0..weight.k).step_by(INPUTS) {
            let inputs = INPUTS.min(weight.k - first);
            for group in (0..width).step_by(ROWS_TOGETHER) {
                let count = ROWS_TOGETHER.min(rows.len().saturating_sub(group));
                let padded = ROWS_TOGETHER.min(width - group);
                let from = product.a.from(rows.start + group.min(rows.len()), first);
                // SAFETY: whoever made the product has checked that its matrices are inside their buffers.
                unsafe { pack_rows::<Wide<V>>(&from, count, inputs, (&mut x[group..], width), padded, packing, &mut []) };
            }
            for output in columns.clone().step_by(weight.together) {
                let (inputs, values) = weight.entries(first / INPUTS, output / weight.together);
                let to = sums[(output - columns.start) * width..][..weight.together * width].as_mut_ptr().cast();
                // SAFETY: inputs of entries are below the block's, `check` has seen to it; the sums are `N` vectors an output.
                unsafe {
                    if weight.together == TOGETHER {
                        add_groups::<V, N>(inputs, values, x.as_ptr().cast(), to);
                    } else {
                        add_entries::<V, N>(inputs, values, x.as_ptr().cast(), to);
                    }
                }
            }
        }
        for column in columns.clone().step_by(2 * V::LANES) {
            let count = (2 * V::LANES).min(columns.end - column);
            let of_columns = &sums[(column - columns.start) * width..];
            // SAFETY: as above.
            unsafe { finish::<V>(product, rows.clone(), column..column + count, of_columns, width) };
        }
    }
}

/// Adds each entry times the values of its input.
#[inline(always)]
unsafe fn add_entries<V: Vector<Element = f32>, const N: usize>(inputs: &[u8], values: &[f32], x: *const f32, to: *mut f32) {
    // Two chains cover the latency of the multiply-add.
    let mut sums = [[V::zero(); N]; 2];
    let (pairs, last) = values.as_chunks::<2>();
    let (input_pairs, last_input) = inputs.as_chunks::<2>();
    // SAFETY: N vectors for each input and in `to`, by the caller's promise.
    unsafe {
        for (pair, inputs) in pairs.iter().zip(input_pairs) {
            for chain in 0..2 {
                let (value, x) = (V::splat(pair[chain]), x.add(usize::from(inputs[chain]) * N * V::LANES));
                for (at, sum) in sums[chain].iter_mut().enumerate() {
                    *sum = value.mul_add(V::load(x.add(at * V::LANES)), *sum);
                }
            }
        }
        if let (&[value], &[input]) = (last, last_input) {
            let (value, x) = (V::splat(value), x.add(usize::from(input) * N * V::LANES));
            for (at, sum) in sums[0].iter_mut().enumerate() {
                *sum = value.mul_add(V::load(x.add(at * V::LANES)), *sum);
            }
        }
        let [first, second] = sums;
        for (at, (first, second)) in first.into_iter().zip(second).enumerate() {
            let to = to.add(at * V::LANES);
            V::load(to).add(first.add(second)).store(to);
        }
    }
}

/// Adds each input's values, one for each of [`TOGETHER`] outputs, times what x has of it. As many outputs at once as registers hold sums
/// of.
#[inline(always)]
unsafe fn add_groups<V: Vector<Element = f32>, const N: usize>(inputs: &[u8], values: &[f32], x: *const f32, to: *mut f32) {
    // SAFETY: the caller's promises are handed on.
    unsafe {
        if V::REGISTERS > TOGETHER * VECTORS + VECTORS {
            add_some::<V, N, TOGETHER>(inputs, values, 0, x, to);
        } else {
            add_some::<V, N, 2>(inputs, values, 0, x, to);
            add_some::<V, N, 2>(inputs, values, 2, x, to);
        }
    }
}

/// Likewise for `COUNT` of the outputs from `first` on.
#[inline(always)]
unsafe fn add_some<V: Vector<Element = f32>, const N: usize, const COUNT: usize>(
    inputs: &[u8],
    values: &[f32],
    first: usize,
    x: *const f32,
    to: *mut f32,
) {
    let mut sums = [[V::zero(); N]; COUNT];
    // SAFETY: N vectors for each input, and for each output in `to`, by the caller's promise.
    unsafe {
        for (values, &input) in values.as_chunks::<TOGETHER>().0.iter().zip(inputs) {
            let x = x.add(usize::from(input) * N * V::LANES);
            let mut rows = [V::zero(); N];
            for (at, rows) in rows.iter_mut().enumerate() {
                *rows = V::load(x.add(at * V::LANES));
            }
            for (output, sums) in sums.iter_mut().enumerate() {
                let value = V::splat(values[first + output]);
                for (sum, rows) in sums.iter_mut().zip(rows) {
                    *sum = value.mul_add(rows, *sum);
                }
            }
        }
        for (output, sums) in sums.into_iter().enumerate() {
            for (at, sum) in sums.into_iter().enumerate() {
                let to = to.add(((first + output) * N + at) * V::LANES);
                V::load(to).add(sum).store(to);
            }
        }
    }
}

/// Sums [columns, width rows] into C.
#[inline(always)]
unsafe fn finish<V: Vector<Element = f32>>(
    product: &Product<&Sparse>,
    rows: Range<usize>,
    columns: Range<usize>,
    sums: &[u32],
    width: usize,
) {
    let finish = Finish {
        alpha: product.alpha,
        beta: product.beta,
        activation: product.activation,
        bias: product.bias.map(|bias| bias.from(0, columns.start)),
        row_scales: None,
        columns: None,
    };
    let (mut tile, tile_width) = (Sums::zeros(), 2 * V::LANES);
    for first in (0..rows.len()).step_by(FINISHED) {
        let count = FINISHED.min(rows.len() - first);
        let to: *mut f32 = tile.place::<V>(0, 0).cast();
        if tile_width.is_multiple_of(4) {
            for column in (0..columns.len()).step_by(4) {
                for row in (0..count).step_by(4) {
                    let from = &sums[column * width + first + row..][..3 * width + 4];
                    // SAFETY: a block of 4 x 4 of the sums, whose columns are filled up to fours, and of a tile of whole fours.
                    unsafe { f32::transpose(from.as_ptr().cast(), width, to.add(row * tile_width + column), tile_width) };
                }
            }
        } else {
            for (column, row) in (0..columns.len()).flat_map(|column| (0..count).map(move |row| (column, row))) {
                // SAFETY: inside the tile.
                unsafe { *to.add(row * tile_width + column) = f32::from_bits(sums[column * width + first + row]) };
            }
        }
        let c = product.c.from(rows.start + first, columns.start);
        // SAFETY: the caller's promises are handed on.
        unsafe { tile.finish::<V>([count, columns.len()], false, &c, &finish) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_core::host::HostTensor;
    use crossover_core::sparse::Structure;

    #[test]
    fn entries_are_sorted_by_blocks_of_inputs() {
        let k = INPUTS + 2;
        let dense = HostTensor::new(&[2, k], (0..2 * k).map(|at| at as f64).collect()).unwrap();
        let kept: Vec<bool> = (0..2 * k).map(|at| [1, INPUTS - 1, INPUTS + 1, k + 3].contains(&at)).collect();
        let sparse = Sparse::prepare(&SparseWeight::masked(&dense, &kept, Structure::Unstructured, DType::F32).unwrap()).unwrap();
        assert_eq!(&sparse.starts[..], [0, 2, 3, 4, 4]);
        assert_eq!(&sparse.inputs[..], [1, 127, 3, 1]);
        assert_eq!(&sparse.values[..], [1.0, 127.0, (k + 3) as f32, 129.0]);
        assert_eq!(sparse.bytes(), 4 * 5 + 4 + 4 * 4);
    }

    #[test]
    fn outputs_of_a_block_share_their_inputs() {
        let dense = HostTensor::new(&[8, 4], (0..32).map(f64::from).collect()).unwrap();
        let blocks = |rows: usize| {
            let kept: Vec<bool> = (0..32).map(|at| at / 4 / rows == 1 && at % 4 >= 2).collect();
            Sparse::prepare(&SparseWeight::masked(&dense, &kept, Structure::Blocks { rows, columns: 2 }, DType::F32).unwrap()).unwrap()
        };
        let sparse = blocks(4);
        assert_eq!((sparse.together, &sparse.starts[..], &sparse.inputs[..]), (4, &[0, 0, 2][..], &[2, 3][..]));
        assert_eq!(&sparse.values[..], [18.0, 22.0, 26.0, 30.0, 19.0, 23.0, 27.0, 31.0]);
        assert_eq!(sparse.entries(0, 1), (&[2, 3][..], &sparse.values[..]));
        assert_eq!((blocks(2).together, &blocks(2).inputs[..]), (1, &[2, 3, 2, 3][..]));
    }
}
