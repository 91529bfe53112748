//! Which entries of a weight stay: by magnitude, N of every M, or whole blocks.
//!
//! Magnitude pruning keeps the largest entries (Han et al., 2015, section 3), of the whole weight or of each row; a fixed number a row
//! balances the work of a kernel. N:M keeps the n largest of every m neighbouring inputs (Mishra et al., 2021, section 3), which
//! hardware can index with few bits. Block pruning keeps whole blocks, here by their Frobenius norm (Narang et al., 2017, section 3,
//! take the largest entry), which dense kernels can run. The more regular the mask, the faster the product and the larger the error at
//! the same sparsity. Nothing is retrained.

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::sparse::{SparseWeight, Structure};
use crossover_core::weights::HostWeight;

use crate::error::Result;
use crate::matrix::{Matrix, power_of_two_near, wrong_shape};
use crate::saving::Saving;

const TRANSFORM: &str = "sparsity mask";

/// How a mask is made. A sparsity is the share of entries that go, in [0, 1). Of equal entries those of lower index stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mask {
    /// Keeps the round((1 - sparsity) entries) of largest magnitude.
    Magnitude {
        /// Share of all entries that go.
        sparsity: f64,
    },
    /// Keeps the round((1 - sparsity) inputs) of largest magnitude in each row.
    MagnitudeRows {
        /// Share of a row's entries that go.
        sparsity: f64,
    },
    /// Keeps the n of largest magnitude of every m neighbouring inputs.
    NofM {
        /// How many stay; 1 to m.
        n: usize,
        /// Inputs of a group; divides the inputs.
        m: usize,
    },
    /// Keeps the round(density blocks), at least one, of largest Frobenius norm.
    Blocks {
        /// Outputs of a block; divides the outputs.
        rows: usize,
        /// Inputs of a block; divides the inputs.
        columns: usize,
        /// Share of the blocks that stay, in (0, 1].
        density: f64,
    },
}

/// A weight under a mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Masked {
    /// The sparse weight, for engines to pack.
    pub weight: HostWeight,
    /// For each entry, row-major, whether it stays.
    pub kept: Vec<bool>,
    /// What this saves.
    pub saving: Saving,
}

impl Mask {
    /// Which entries of the weight stay, row-major.
    pub fn kept(self, weight: &HostTensor) -> Result<Vec<bool>> {
        let weight = Matrix::of(TRANSFORM, weight)?;
        let magnitude = |values: &[f64], count| keep_largest(&values.iter().map(|value| value.abs()).collect::<Vec<f64>>(), count);
        match self {
            Self::Magnitude { sparsity } => Ok(magnitude(weight.values, survivors(&weight, sparsity, weight.values.len())?)),
            Self::MagnitudeRows { sparsity } => {
                let count = survivors(&weight, sparsity, weight.columns)?;
                Ok(weight.each_row().flat_map(|row| magnitude(row, count)).collect())
            }
            Self::NofM { n, m } => {
                if n == 0 || n > m {
                    return Err(weight.parameter_error("n of n:m", n, format!("1 to {m}")));
                }
                if !weight.columns.is_multiple_of(m) {
                    return Err(weight.parameter_error("m of n:m", m, format!("a divisor of the {} inputs", weight.columns)));
                }
                Ok(weight.values.chunks(m).flat_map(|group| magnitude(group, n)).collect())
            }
            Self::Blocks { rows, columns, density } => blocks(&weight, rows, columns, density),
        }
    }

    /// What an engine may rely on.
    pub fn structure(self) -> Structure {
        match self {
            Self::Magnitude { .. } | Self::MagnitudeRows { .. } => Structure::Unstructured,
            Self::NofM { n, m } => Structure::NofM { n, m },
            Self::Blocks { rows, columns, .. } => Structure::Blocks { rows, columns },
        }
    }

    /// Masks a weight and rounds what stays to a floating type.
    pub fn apply(self, weight: &HostTensor, dtype: DType) -> Result<Masked> {
        masked(weight, self.kept(weight)?, self.structure(), dtype)
    }
}

/// A weight under a mask from elsewhere, what stays rounded to a floating type. The error includes the rounding.
pub fn masked(weight: &HostTensor, kept: Vec<bool>, structure: Structure, dtype: DType) -> Result<Masked> {
    let matrix = Matrix::of(TRANSFORM, weight)?;
    if !dtype.is_float() {
        return Err(matrix.parameter_error("the type of the values", dtype, "f64, f32, bf16 or f16"));
    }
    let sparse = SparseWeight::masked(weight, &kept, structure, dtype)?;
    let stored = sparse.values.len();
    let dense = sparse.dequantized();
    let product = HostWeight::Sparse(sparse);
    let saving = Saving::new(weight, dtype, stored, product.ideal_bytes(), &dense)?;
    Ok(Masked { weight: product, kept, saving })
}

/// How many of `count` survive a sparsity.
fn survivors(weight: &Matrix<'_>, sparsity: f64, count: usize) -> Result<usize> {
    if !(0.0..1.0).contains(&sparsity) {
        return Err(weight.parameter_error("the sparsity", sparsity, "at least 0 and less than 1"));
    }
    Ok(((1.0 - sparsity) * count as f64).round() as usize)
}

/// True for the `count` largest scores; of equal ones those of lower index. Scores are not NaN.
pub(crate) fn keep_largest(scores: &[f64], count: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if count < order.len() {
        // The order is total, so the set of the first `count` is unique.
        order.select_nth_unstable_by(count, |&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    }
    let mut kept = vec![false; scores.len()];
    order.iter().take(count).for_each(|&at| kept[at] = true);
    kept
}

fn blocks(weight: &Matrix<'_>, rows: usize, columns: usize, density: f64) -> Result<Vec<bool>> {
    // Zero divides nothing but zero, and the weight is not empty.
    if !weight.rows.is_multiple_of(rows) || !weight.columns.is_multiple_of(columns) {
        return Err(wrong_shape(TRANSFORM, &weight.shape(), format!("multiples of the block [{rows}, {columns}]")));
    }
    if !(density > 0.0 && density <= 1.0) {
        return Err(weight.parameter_error("the density", density, "more than 0 and at most 1"));
    }
    let across = weight.columns / columns;
    let block_of = |at: usize| at / weight.columns / rows * across + at % weight.columns / columns;
    let mut squares = vec![0.0; weight.rows / rows * across];
    let scale = power_of_two_near(crate::matrix::largest(weight.values));
    weight.values.iter().enumerate().for_each(|(at, value)| squares[block_of(at)] += (value / scale).powi(2));
    let count = (density * squares.len() as f64).round() as usize;
    let kept = keep_largest(&squares, count.max(1));
    Ok((0..weight.values.len()).map(|at| kept[block_of(at)]).collect())
}

#[cfg(test)]
#[path = "masks_tests.rs"]
mod tests;
