//! Products with weights of which only some entries are stored, or whose entries are codes into a table of levels.
//!
//! Plain loops: a sparse row takes as many steps as it has stored entries, block by block, and one search for each tile of inputs; a
//! palette decodes each weight inside the product. Sums go over the inputs in ascending order, as everywhere in this engine. What is
//! traded away is reuse: a block is read once for each of its rows, and x once for each output.

use std::ops::Range;

use crossover_core::dtype::{DType, Precision};
use crossover_core::error::{EngineError, Result};
use crossover_core::palette::Palette;
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::tensor::Buffer;

use crate::buffer::{NaiveBuffer, typed};
use crate::element::{Element, Real};
use crate::weight::copied;

/// Stored blocks, in the order of the host form.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) structure: Structure,
    starts: Vec<u32>,
    columns: Vec<u32>,
    pub(crate) values: NaiveBuffer,
}

/// Codes, one a byte.
#[derive(Debug)]
pub(crate) struct Coded {
    codes: Vec<u8>,
    pub(crate) levels: Vec<f32>,
    scales: Vec<f32>,
}

impl Stored {
    /// Of a weight that was checked.
    pub(crate) fn prepare(weight: &SparseWeight, precision: Precision) -> Result<Self> {
        expect_type(weight.dtype, precision)?;
        Ok(Self {
            structure: weight.structure,
            starts: copied(DType::I32, &weight.starts)?,
            columns: copied(DType::I32, &weight.columns)?,
            values: NaiveBuffer::rounded(weight.dtype, &weight.values)?,
        })
    }

    /// Values and indices as they are held.
    pub(crate) fn bytes(&self) -> usize {
        let indices = size_of_val(self.starts.as_slice()) + size_of_val(self.columns.as_slice());
        self.values.dtype().bytes(self.values.len()).map_or(usize::MAX, |values| values.saturating_add(indices))
    }

    /// sums[j] += x[p] * W[output + j, input + p] for the stored p in ascending order.
    pub(crate) fn add_products<R: Real>(&self, sums: &mut [R], x: &[R], output: usize, input: usize) {
        typed!(&self.values, values => self.add_products_of(values, sums, x, output, input));
    }

    fn add_products_of<T: Element, R: Real>(&self, values: &[T], sums: &mut [R], x: &[R], output: usize, input: usize) {
        let (rows, columns) = self.structure.block();
        let inputs = input..input + x.len();
        for (output, sum) in (output..).zip(sums) {
            let (block_row, row) = (output / rows, output % rows);
            for block in self.blocks_within(block_row, &inputs) {
                let first = self.columns[block] as usize * columns;
                // A block may begin before these inputs, or end behind them.
                let cut = first.max(inputs.start)..(first + columns).min(inputs.end);
                let of_row = &values[(block * rows + row) * columns..][..columns];
                let stored = &of_row[cut.start - first..cut.end - first];
                for (&x, &value) in x[cut.start - input..cut.end - input].iter().zip(stored) {
                    *sum = *sum + x * value.load();
                }
            }
        }
    }

    /// The blocks of a block row that reach into these inputs; block columns ascend, so they are neighbours.
    fn blocks_within(&self, block_row: usize, inputs: &Range<usize>) -> Range<usize> {
        let (_, columns) = self.structure.block();
        let (start, end) = (self.starts[block_row] as usize, self.starts[block_row + 1] as usize);
        let of_row = &self.columns[start..end];
        let before = of_row.partition_point(|&column| (column as usize + 1) * columns <= inputs.start);
        let within = of_row[before..].partition_point(|&column| (column as usize) * columns < inputs.end);
        start + before..start + before + within
    }
}

impl Coded {
    /// Of a palette that was checked.
    pub(crate) fn prepare(palette: &Palette) -> Result<Self> {
        // The codes are one byte each; the nearest type in words is int8.
        Ok(Self {
            codes: copied(DType::I8, &palette.codes)?,
            levels: copied(DType::F32, &palette.levels)?,
            scales: copied(DType::F32, &palette.scales)?,
        })
    }

    /// Codes, levels and scales as they are held: a byte for each code, however few levels there are.
    pub(crate) fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(self.levels.as_slice()) + size_of_val(self.scales.as_slice())
    }

    /// sums[j] += x[p] * (level * scale of row j) for p = 0, 1, 2, ..., the weight rounded to the compute type.
    pub(crate) fn add_products<R: Real>(&self, sums: &mut [R], x: &[R], (output, input): (usize, usize), inputs: usize) {
        for (output, sum) in (output..).zip(sums) {
            let scale = R::from_f32(self.scales[output]);
            for (&x, &code) in x.iter().zip(&self.codes[output * inputs + input..]) {
                *sum = *sum + x * (R::from_f32(self.levels[usize::from(code)]) * scale);
            }
        }
    }
}

/// Dense or stored values must be floating and no wider than the type in which they are multiplied.
pub(crate) fn expect_type(dtype: DType, precision: Precision) -> Result<()> {
    if dtype.is_float() && dtype.unit_roundoff() >= precision.compute().unit_roundoff() {
        return Ok(());
    }
    Err(EngineError::ElementType { operation: "weight", expected: precision.compute(), found: dtype })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_core::host::HostTensor;

    #[test]
    fn blocks_that_straddle_a_tile_are_cut() {
        let dense = HostTensor::new(&[2, 6], (1..=12).map(f64::from).collect()).unwrap();
        let kept = [true, false, false, true, false, false, true, false, false, true, false, false];
        let weight = SparseWeight::masked(&dense, &kept, Structure::Blocks { rows: 2, columns: 3 }, DType::F32).unwrap();
        let stored = Stored::prepare(&weight, Precision::F32).unwrap();
        assert_eq!(stored.bytes(), 4 * 12 + 4 * 2 + 4 * 2);
        let x = [1f32, 10.0, 100.0, 1e3, 1e4, 1e5];
        for tile in 1..=6 {
            let mut sums = [0f32; 2];
            for start in (0..6).step_by(tile) {
                stored.add_products(&mut sums, &x[start..6.min(start + tile)], 0, start);
            }
            assert_eq!(sums, [654321.0, 1320987.0], "tiles of {tile}");
        }
    }

    #[test]
    fn a_search_finds_the_blocks_of_a_tile() {
        let dense = HostTensor::new(&[1, 8], vec![1.0; 8]).unwrap();
        let kept = [true, true, false, false, true, false, false, true];
        let weight = SparseWeight::masked(&dense, &kept, Structure::Unstructured, DType::F32).unwrap();
        let stored = Stored::prepare(&weight, Precision::F32).unwrap();
        assert_eq!(stored.blocks_within(0, &(0..8)), 0..4);
        assert_eq!(stored.blocks_within(0, &(1..5)), 1..3);
        assert_eq!(stored.blocks_within(0, &(2..4)), 2..2);
        assert_eq!(stored.blocks_within(0, &(5..8)), 3..4);
    }
}
