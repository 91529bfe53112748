//! Sparse weights on the host: the stored blocks of each block row, in one form for CSR, N:M and block sparsity.
//!
//! CSR is a block of one by one; N:M is CSR with exactly n entries in every m neighbouring inputs, which an engine may pack without
//! row starts and with short indices. One form keeps masks, engines and the cost model to one path; [`Structure`] says what an engine
//! may rely on.

use crate::dtype::DType;
use crate::error::{Result, shape_error};
use crate::host::HostTensor;

/// What is known of where the stored entries lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Structure {
    /// Anywhere.
    Unstructured,
    /// Exactly `n` in every `m` neighbouring inputs of a row (Mishra et al., 2021, section 3).
    NofM {
        /// Stored of each group.
        n: usize,
        /// Inputs of a group.
        m: usize,
    },
    /// Whole blocks.
    Blocks {
        /// Outputs of a block.
        rows: usize,
        /// Inputs of a block.
        columns: usize,
    },
}

impl Structure {
    /// Extents of one stored block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::Blocks { rows, columns } => (rows, columns),
            Self::Unstructured | Self::NofM { .. } => (1, 1),
        }
    }

    /// Bytes of the indices that a plain packing needs: four for each start and column, but for N:M the bits of a place in its group.
    pub fn index_bytes(self, outputs: usize, stored: usize) -> usize {
        let (rows, columns) = self.block();
        match self {
            Self::NofM { m, .. } => stored.saturating_mul(m.max(2).next_power_of_two().ilog2() as usize).div_ceil(8),
            _ => 4 * (stored / (rows * columns).max(1)).saturating_add(outputs.div_ceil(rows.max(1)) + 1),
        }
    }
}

/// A sparse weight [outputs, inputs].
#[derive(Debug, Clone, PartialEq)]
pub struct SparseWeight {
    /// Number of rows.
    pub outputs: usize,
    /// Number of columns.
    pub inputs: usize,
    /// Where the entries lie.
    pub structure: Structure,
    /// The type in which engines hold the values.
    pub dtype: DType,
    /// For each block row the position of its first block, and one more: the number of blocks.
    pub starts: Vec<u32>,
    /// For each block its block column, ascending within a block row.
    pub columns: Vec<u32>,
    /// The values of each block, row-major, rounded to the type.
    pub values: Vec<f64>,
}

impl SparseWeight {
    /// Keeps the blocks of a dense weight in which `kept` (of the weight's shape) is true anywhere. Blocks must divide the weight, and
    /// under N:M each group must have exactly n kept entries.
    pub fn masked(weight: &HostTensor, kept: &[bool], structure: Structure, dtype: DType) -> Result<Self> {
        let &[outputs, inputs] = weight.shape() else {
            return Err(shape_error("sparse weight", format!("{:?} is not [outputs, inputs]", weight.shape())));
        };
        let (rows, columns) = structure.block();
        let divides = rows > 0 && columns > 0 && outputs.is_multiple_of(rows) && inputs.is_multiple_of(columns);
        if kept.len() != weight.len() || !divides || inputs > u32::MAX as usize || weight.len() > u32::MAX as usize {
            let detail = format!("a mask of {} for [{outputs}, {inputs}] in blocks of {rows} x {columns}", kept.len());
            return Err(shape_error("sparse weight", detail));
        }
        if let Structure::NofM { n, m } = structure {
            let whole = m > 0 && inputs.is_multiple_of(m);
            if !whole || kept.chunks(m).any(|group| group.iter().filter(|&&kept| kept).count() != n) {
                return Err(shape_error(
                    "sparse weight",
                    format!("the mask does not keep {n} of every {m} inputs of [{outputs}, {inputs}]"),
                ));
            }
        }
        let (mut starts, mut block_columns, mut values) = (vec![0u32], Vec::new(), Vec::new());
        for block_row in 0..outputs / rows {
            for block_column in 0..inputs / columns {
                let cells = (0..rows)
                    .flat_map(|row| (0..columns).map(move |column| (block_row * rows + row) * inputs + block_column * columns + column));
                if cells.clone().any(|at| kept[at]) {
                    block_columns.push(block_column as u32);
                    values.extend(cells.map(|at| dtype.round(weight.values()[at])));
                }
            }
            starts.push(block_columns.len() as u32);
        }
        Ok(Self { outputs, inputs, structure, dtype, starts, columns: block_columns, values })
    }

    /// The dense weight that it stands for.
    pub fn dequantized(&self) -> HostTensor {
        let (rows, columns) = self.structure.block();
        let mut dense = vec![0.0; self.outputs * self.inputs];
        for (block_row, ends) in self.starts.windows(2).enumerate() {
            for block in ends[0] as usize..ends[1] as usize {
                for row in 0..rows {
                    let to = (block_row * rows + row) * self.inputs + self.columns[block] as usize * columns;
                    let from = (block * rows + row) * columns;
                    dense[to..to + columns].copy_from_slice(&self.values[from..from + columns]);
                }
            }
        }
        // As many values as the shape says, by construction.
        HostTensor::new(&[self.outputs, self.inputs], dense).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// True if the columns of a row ascend and, under N:M, n of them lie in each group.
    fn in_order(&self, columns: &[u32]) -> bool {
        let groups = match self.structure {
            Structure::NofM { n, m } => {
                let in_group = |(at, &column): (usize, &u32)| column as usize / m == at / n.max(1);
                m > 0
                    && self.inputs.is_multiple_of(m)
                    && n.checked_mul(self.inputs / m) == Some(columns.len())
                    && columns.iter().enumerate().all(in_group)
            }
            Structure::Unstructured | Structure::Blocks { .. } => true,
        };
        groups && columns.is_sorted_by(|a, b| a < b)
    }

    /// Checks what an engine relies on: the fields are public.
    pub fn check(&self) -> Result<()> {
        let (rows, columns) = self.structure.block();
        let divides = rows > 0 && columns > 0 && self.outputs.is_multiple_of(rows) && self.inputs.is_multiple_of(columns);
        let divides = divides && self.outputs.checked_mul(self.inputs).is_some();
        let starts = divides
            && self.starts.len() == self.outputs / rows + 1
            && self.starts.first() == Some(&0)
            && self.starts.last().is_some_and(|&last| last as usize == self.columns.len())
            && self.starts.is_sorted();
        let blocks = starts
            && rows.checked_mul(columns).and_then(|block| block.checked_mul(self.columns.len())) == Some(self.values.len())
            && self.columns.iter().all(|&column| (column as usize) < self.inputs / columns)
            && self.starts.windows(2).all(|ends| self.in_order(&self.columns[ends[0] as usize..ends[1] as usize]));
        if blocks {
            Ok(())
        } else {
            Err(shape_error("sparse weight", format!("the indices do not fit [{}, {}]", self.outputs, self.inputs)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_the_rest_is_zero() {
        let dense = HostTensor::new(&[2, 4], (1..=8).map(f64::from).collect()).unwrap();
        let kept = [true, false, false, true, false, false, true, true];
        let csr = SparseWeight::masked(&dense, &kept, Structure::Unstructured, DType::F32).unwrap();
        assert_eq!(csr.dequantized().values(), [1.0, 0.0, 0.0, 4.0, 0.0, 0.0, 7.0, 8.0]);
        let halves = SparseWeight::masked(&dense, &kept, Structure::Blocks { rows: 2, columns: 2 }, DType::F32).unwrap();
        assert_eq!(halves.dequantized(), dense);
        let one = [true, false, false, false, false, false, false, false];
        let block = SparseWeight::masked(&dense, &one, Structure::Blocks { rows: 2, columns: 2 }, DType::F32).unwrap();
        assert_eq!(block.dequantized().values(), [1.0, 2.0, 0.0, 0.0, 5.0, 6.0, 0.0, 0.0]);
        assert!(block.check().is_ok());
    }

    #[test]
    fn masks_that_do_not_fit_are_errors() {
        let dense = HostTensor::new(&[2, 4], vec![1.0; 8]).unwrap();
        let two_of_four = Structure::NofM { n: 2, m: 4 };
        let good = [true, true, false, false, false, true, false, true];
        assert!(SparseWeight::masked(&dense, &good, two_of_four, DType::F32).is_ok());
        for (kept, structure) in [
            (vec![true; 8], two_of_four),
            (vec![true; 7], Structure::Unstructured),
            (vec![true; 8], Structure::Blocks { rows: 2, columns: 3 }),
            (vec![true; 8], Structure::Blocks { rows: 0, columns: 1 }),
            (vec![true; 8], Structure::NofM { n: 3, m: 3 }),
        ] {
            assert!(SparseWeight::masked(&dense, &kept, structure, DType::F32).is_err(), "{structure:?}");
        }
    }

    #[test]
    fn indices_that_do_not_fit_are_errors() {
        let dense = HostTensor::new(&[2, 4], vec![1.0; 8]).unwrap();
        let kept = [true, true, false, false, false, true, false, true];
        let good = SparseWeight::masked(&dense, &kept, Structure::NofM { n: 2, m: 4 }, DType::F32).unwrap();
        good.check().unwrap();
        let changed = |change: fn(&mut SparseWeight)| {
            let mut weight = good.clone();
            change(&mut weight);
            weight.check().is_err()
        };
        assert!(changed(|weight| weight.columns[0] = 4), "outside");
        assert!(changed(|weight| weight.columns.swap(0, 1)), "out of order");
        assert!(changed(|weight| weight.columns[0] = 1), "twice");
        assert!(changed(|weight| weight.starts[1] = 1), "three in a group");
        assert!(changed(|weight| weight.starts[2] = 3), "an end before the last");
        assert!(changed(|weight| weight.starts.truncate(2)), "a row missing");
        assert!(changed(|weight| weight.values.truncate(3)), "a value missing");
        assert!(changed(|weight| weight.structure = Structure::NofM { n: 2, m: 0 }), "groups of none");
        assert!(changed(|weight| weight.structure = Structure::NofM { n: 1, m: 2 }), "other groups");
        assert!(changed(|weight| weight.structure = Structure::Blocks { rows: 2, columns: usize::MAX }), "absurd blocks");
    }
}
