//! The thin singular value decomposition, by faer on one thread.
//!
//! Eckart and Young (1936): cutting it after r singular values gives the nearest matrix of rank r in the Frobenius norm. It costs
//! O(m n min(m, n)) once, before any timer; randomised range finders would be cheaper but inexact, and the error is a result here.

use crossover_core::host::HostTensor;
use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd_scratch};
use faer::{Mat, Par};

use crate::error::{CompressionError, Result};
use crate::matrix::{Matrix, product, row_major};

/// w = u diag(s) vt, with k = min(m, n). Each column of u has its entry of largest magnitude positive, which settles the signs.
#[derive(Debug, Clone, PartialEq)]
pub struct Svd {
    /// Left singular vectors in columns, [m, k].
    pub u: HostTensor,
    /// Singular values, descending, none negative.
    pub s: Vec<f64>,
    /// Right singular vectors in rows, [k, n].
    pub vt: HostTensor,
}

/// Decomposes a matrix.
pub fn thin_svd(matrix: &HostTensor) -> Result<Svd> {
    Svd::of(Matrix::of("singular value decomposition", matrix)?)
}

/// The nearest matrix of rank r.
pub fn truncated(matrix: &HostTensor, rank: usize) -> Result<HostTensor> {
    thin_svd(matrix)?.truncated(rank)
}

impl Svd {
    pub(crate) fn of(matrix: Matrix<'_>) -> Result<Self> {
        let (scaled, scale) = matrix.scaled();
        let (rows, columns) = (matrix.rows, matrix.columns);
        let size = rows.min(columns);
        let (mut u, mut v, mut s) = (Mat::zeros(rows, size), Mat::zeros(columns, size), Diag::zeros(size));
        let thin = ComputeSvdVectors::Thin;
        let mut memory = MemBuffer::new(svd_scratch::<f64>(rows, columns, thin, thin, Par::Seq, Default::default()));
        let (left, right, stack) = (Some(u.as_mut()), Some(v.as_mut()), MemStack::new(&mut memory));
        faer::linalg::svd::svd(scaled.as_ref(), s.as_mut(), left, right, Par::Seq, stack, Default::default())
            .map_err(|_| CompressionError::NoConvergence { transform: matrix.transform, shape: matrix.shape().to_vec() })?;
        settle_signs(&mut u, &mut v);
        // Rounding may leave a tiny negative zero; a negative singular value would break the square roots of the factors.
        let s = (0..size).map(|at| (s.column_vector()[at] * scale).max(0.0)).collect();
        Ok(Self { u: row_major(u.as_ref())?, s, vt: row_major(v.transpose())? })
    }

    /// [m, n].
    pub fn shape(&self) -> [usize; 2] {
        [self.u.shape()[0], self.vt.shape()[1]]
    }

    /// Left factor [m, r] and right factor [r, n] whose product is the nearest matrix of rank r. `left` and `right` say what
    /// each factor takes of a singular value; the product of the two must be the value itself.
    pub(crate) fn factors(&self, rank: usize, left: impl Fn(f64) -> f64, right: impl Fn(f64) -> f64) -> Result<(HostTensor, HostTensor)> {
        let ([rows, columns], size) = (self.shape(), self.s.len());
        if rank == 0 || rank > size {
            return Err(CompressionError::Parameter {
                transform: "low rank",
                parameter: "the rank",
                given: rank.to_string(),
                expected: format!("1 to {size}"),
                shape: vec![rows, columns],
            });
        }
        let scales: Vec<f64> = self.s[..rank].iter().map(|&s| left(s)).collect();
        let a = self.u.values().chunks(size).flat_map(|row| row.iter().zip(&scales).map(|(u, scale)| u * scale)).collect();
        let b = self.vt.values().chunks(columns).zip(&self.s[..rank]).flat_map(|(row, &s)| {
            let scale = right(s);
            row.iter().map(move |v| v * scale)
        });
        Ok((HostTensor::new(&[rows, rank], a)?, HostTensor::new(&[rank, columns], b.collect())?))
    }

    /// The nearest matrix of rank r.
    pub fn truncated(&self, rank: usize) -> Result<HostTensor> {
        let (a, b) = self.factors(rank, |s| s, |_| 1.0)?;
        product(&a, &b)
    }
}

/// The nearest matrix of rank one as a column and a row, each with the square root of the singular value.
pub(crate) fn leading_pair(matrix: Matrix<'_>) -> Result<(Vec<f64>, Vec<f64>)> {
    let (column, row) = Svd::of(matrix)?.factors(1, f64::sqrt, f64::sqrt)?;
    Ok((column.values().to_vec(), row.values().to_vec()))
}

/// Flips pairs of vectors so that each left one has its largest entry (the first of equals) positive.
fn settle_signs(u: &mut Mat<f64>, v: &mut Mat<f64>) {
    for column in 0..u.ncols() {
        let left = u.col_as_slice_mut(column);
        let largest = left.iter().fold(0.0f64, |largest, &value| if value.abs() > largest.abs() { value } else { largest });
        if largest < 0.0 {
            left.iter_mut().chain(v.col_as_slice_mut(column)).for_each(|value| *value = -*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saving::relative_error;
    use crate::testing::{distance, matrix, normal, not_finite, weights};
    use proptest::prelude::*;

    fn orthonormal(vectors: &HostTensor) -> f64 {
        let &[rows, columns] = vectors.shape() else { unreachable!() };
        let dot = |a: usize, b: usize| {
            (0..columns).map(|at| vectors.values()[a * columns + at] * vectors.values()[b * columns + at]).sum::<f64>()
        };
        (0..rows)
            .flat_map(|a| (0..rows).map(move |b| (a, b)))
            .map(|(a, b)| (dot(a, b) - f64::from(u8::from(a == b))).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn a_known_decomposition() {
        // diag(3, -2) with its rows exchanged: the signs are settled by the left vectors.
        let svd = thin_svd(&matrix(2, 2, vec![0.0, -2.0, 3.0, 0.0])).unwrap();
        assert!((svd.s[0] - 3.0).abs() < 1e-15 && (svd.s[1] - 2.0).abs() < 1e-15);
        assert!(distance(&svd.u, &matrix(2, 2, vec![0.0, 1.0, 1.0, 0.0])) < 1e-15);
        assert!(distance(&svd.vt, &matrix(2, 2, vec![1.0, 0.0, 0.0, -1.0])) < 1e-15);
    }

    #[test]
    fn vectors_are_orthonormal_and_values_descend() {
        for (rows, columns) in [(1, 1), (1, 9), (9, 1), (17, 5), (33, 64), (130, 140)] {
            let svd = thin_svd(&normal(rows, columns, 3)).unwrap();
            assert!(orthonormal(&svd.vt) < 1e-12, "{rows} x {columns}");
            let ut = HostTensor::new(&[svd.s.len(), rows], svd.u.array().t().iter().copied().collect()).unwrap();
            assert!(orthonormal(&ut) < 1e-12 && svd.s.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn the_error_is_that_of_eckart_and_young() {
        let weight = normal(40, 24, 1);
        let svd = thin_svd(&weight).unwrap();
        let size = svd.s.iter().map(|s| s * s).sum::<f64>();
        for rank in 1..=24 {
            let dropped = svd.s[rank..].iter().map(|s| s * s).sum::<f64>();
            let error = relative_error(&weight, &svd.truncated(rank).unwrap()).unwrap();
            assert!((error - (dropped / size).sqrt()).abs() < 1e-12, "rank {rank}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn full_rank_reproduces_the_matrix(weight in weights(12)) {
            let svd = thin_svd(&weight).unwrap();
            prop_assert!(relative_error(&weight, &svd.truncated(svd.s.len()).unwrap()).unwrap() < 1e-12);
            prop_assert!(svd.s.iter().all(|&s| s >= 0.0));
        }
    }

    #[test]
    fn the_ends_of_the_range_and_zero_work() {
        for size in [1e300, 1e-300, 5e-324] {
            let weight = matrix(2, 3, [1.0, 2.0, 3.0, 4.0, 5.0, -6.0].map(|value| value * size).to_vec());
            assert!(relative_error(&weight, &truncated(&weight, 2).unwrap()).unwrap() < 0.2, "{size}");
        }
        let zero = matrix(3, 5, vec![0.0; 15]);
        assert_eq!(thin_svd(&zero).unwrap().s, [0.0; 3]);
        assert_eq!(truncated(&zero, 2).unwrap(), zero);
    }

    #[test]
    fn impossible_requests_are_errors() {
        let weight = normal(3, 5, 1);
        for rank in [0, 4] {
            let message = truncated(&weight, rank).unwrap_err().to_string();
            assert!(message.contains("[3, 5]") && message.contains("1 to 3"), "{message}");
        }
        for bad in not_finite() {
            assert!(matches!(thin_svd(&bad), Err(CompressionError::Value { position: 5, .. })));
        }
    }
}
