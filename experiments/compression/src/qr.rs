//! Orthonormal rows from random ones, for orthogonal random features.
//!
//! Choromanski et al. (2021, section 2.4) draw the directions of random features orthogonal in blocks of the dimension, which lowers
//! the variance of the estimate. The rows come from the QR decomposition of the transposed block, with the diagonal of R made positive:
//! without that the distribution would not be uniform (Mezzadri, 2007, section 5).

use crossover_core::host::HostTensor;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply,
};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::{Conj, Mat, Par};

use crate::error::Result;
use crate::matrix::Matrix;

/// The rows of a matrix [r, n] made orthonormal, in order, each block of n rows by itself: with r <= n all rows are orthonormal.
///
/// A row that depends on earlier ones (a zero row) is replaced by some unit vector orthogonal to the others.
pub fn orthonormal_rows(matrix: &HostTensor) -> Result<HostTensor> {
    let matrix = Matrix::of("orthonormal rows", matrix)?;
    let size = matrix.columns;
    let mut values = Vec::with_capacity(matrix.values.len());
    for block in matrix.values.chunks(size * size) {
        let block = Matrix { rows: block.len() / size, values: block, ..matrix };
        orthonormalise(block, &mut values);
    }
    Ok(HostTensor::new(&matrix.shape(), values)?)
}

/// Appends the orthonormal rows of a block with at most as many rows as columns.
fn orthonormalise(block: Matrix<'_>, values: &mut Vec<f64>) {
    let (size, count) = (block.columns, block.rows);
    let mut factors = block.scaled().0.transpose().to_owned();
    let width = recommended_block_size::<f64>(size, count);
    let mut coefficients = Mat::zeros(width, count);
    let scratch = qr_in_place_scratch::<f64>(size, count, width, Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    qr_in_place(factors.as_mut(), coefficients.as_mut(), Par::Seq, MemStack::new(&mut memory), Default::default());
    let mut q = Mat::<f64>::identity(size, count);
    let mut memory = MemBuffer::new(apply_scratch::<f64>(size, width, count));
    apply(factors.as_ref(), coefficients.as_ref(), Conj::No, q.as_mut(), Par::Seq, MemStack::new(&mut memory));
    for column in 0..count {
        let sign = if factors[(column, column)] < 0.0 { -1.0 } else { 1.0 };
        values.extend(q.col_as_slice(column).iter().map(|value| sign * value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{distance, matrix, normal, not_finite};

    fn dot(rows: &HostTensor, a: usize, b: usize) -> f64 {
        let row = |at: usize| rows.values().chunks(rows.shape()[1]).nth(at).unwrap();
        row(a).iter().zip(row(b)).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn rows_of_a_block_are_orthonormal_and_keep_their_directions() {
        for (rows, columns) in [(1, 1), (1, 7), (5, 5), (3, 8), (20, 8), (70, 64)] {
            let drawn = normal(rows, columns, 4);
            let made = orthonormal_rows(&drawn).unwrap();
            for a in 0..rows {
                for b in a / columns * columns..=a {
                    let expected = f64::from(u8::from(a == b));
                    assert!((dot(&made, a, b) - expected).abs() < 1e-13, "{rows} x {columns}: {a}, {b}");
                }
            }
            // The first row of each block is only made shorter or longer, never turned around.
            for first in (0..rows).step_by(columns) {
                let length = dot(&drawn, first, first).sqrt();
                let along: f64 = (0..columns).map(|at| drawn.values()[first * columns + at] * made.values()[first * columns + at]).sum();
                assert!((along - length).abs() < 1e-12 * length, "{rows} x {columns}: {first}");
            }
        }
    }

    #[test]
    fn gram_and_schmidt_agree_on_an_example() {
        let made = orthonormal_rows(&matrix(2, 2, vec![3.0, 4.0, 0.0, 10.0])).unwrap();
        assert!(distance(&made, &matrix(2, 2, vec![0.6, 0.8, -0.8, 0.6])) < 1e-15);
    }

    #[test]
    fn dependent_and_zero_rows_still_give_orthonormal_ones() {
        let made = orthonormal_rows(&matrix(3, 3, vec![1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])).unwrap();
        for (a, b) in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)] {
            assert!((dot(&made, a, b) - f64::from(u8::from(a == b))).abs() < 1e-14);
        }
        assert!(not_finite().iter().all(|bad| orthonormal_rows(bad).is_err()));
    }
}
