//! What all transforms share: a checked view of a weight, scaling out of harm's way, and the product of two matrices.

use crossover_core::host::HostTensor;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::error::{CompressionError, Result};

/// A non-empty matrix of finite values, row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub transform: &'static str,
    pub rows: usize,
    pub columns: usize,
    pub values: &'a [f64],
}

impl<'a> Matrix<'a> {
    /// Checks the rank of the tensor, that it is not empty, and every value. NaN and infinities stop here: further on they would
    /// give arbitrary orders and factorisations that do not end.
    pub fn of(transform: &'static str, tensor: &'a HostTensor) -> Result<Self> {
        let &[rows, columns] = tensor.shape() else {
            return Err(wrong_shape(transform, tensor.shape(), "[outputs, inputs]"));
        };
        if tensor.is_empty() {
            return Err(wrong_shape(transform, tensor.shape(), "at least one row and one column"));
        }
        check_values(transform, tensor.values(), f64::MAX, "finite")?;
        Ok(Self { transform, rows, columns, values: tensor.values() })
    }

    /// As [`Matrix::of`], and every value within f32, in which engines hold scales and levels.
    pub fn within_f32(transform: &'static str, tensor: &'a HostTensor) -> Result<Self> {
        let matrix = Self::of(transform, tensor)?;
        check_values(transform, matrix.values, f64::from(f32::MAX), "within the range of f32")?;
        Ok(matrix)
    }

    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// The rows, one slice each.
    pub fn each_row(&self) -> std::slice::Chunks<'a, f64> {
        self.values.chunks(self.columns)
    }

    /// Divided by a power of two near its largest entry, and that power: squares then neither overflow nor vanish, and the
    /// division is exact.
    pub fn scaled(&self) -> (Mat<f64>, f64) {
        let scale = power_of_two_near(largest(self.values));
        (Mat::from_fn(self.rows, self.columns, |row, column| self.values[row * self.columns + column] / scale), scale)
    }

    pub fn parameter_error(&self, parameter: &'static str, given: impl ToString, expected: impl Into<String>) -> CompressionError {
        let (given, expected, shape) = (given.to_string(), expected.into(), self.shape().to_vec());
        CompressionError::Parameter { transform: self.transform, parameter, given, expected, shape }
    }
}

/// A shape error in one line.
pub(crate) fn wrong_shape(transform: &'static str, shape: &[usize], expected: impl Into<String>) -> CompressionError {
    CompressionError::Shape { transform, shape: shape.to_vec(), expected: expected.into() }
}

/// Refuses NaN and anything larger than `limit`.
pub(crate) fn check_values(transform: &'static str, values: &[f64], limit: f64, expected: &'static str) -> Result<()> {
    match values.iter().enumerate().find(|(_, value)| value.is_nan() || value.abs() > limit) {
        Some((position, &value)) => Err(CompressionError::Value { transform, position, value, expected }),
        None => Ok(()),
    }
}

/// The largest magnitude, 0 of nothing.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| value.abs().max(largest))
}

/// A power of two within a factor of four of a finite magnitude; 1 for zero.
pub(crate) fn power_of_two_near(magnitude: f64) -> f64 {
    // Beyond +-1022 the power or its inverse would not be a normal number.
    if magnitude > 0.0 { 2f64.powi(magnitude.log2().floor().clamp(-1022.0, 1022.0) as i32) } else { 1.0 }
}

/// The Euclidean norm, without overflow on the way.
pub(crate) fn norm<'a>(values: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    let scale = power_of_two_near(values.clone().fold(0.0, |largest, value| value.abs().max(largest)));
    scale * values.map(|value| (value / scale).powi(2)).sum::<f64>().sqrt()
}

/// left [m, k] times right [k, n], both row-major.
pub fn product(left: &HostTensor, right: &HostTensor) -> Result<HostTensor> {
    let (&[m, inner], &[k, n]) = (left.shape(), right.shape()) else {
        return Err(wrong_shape("matrix product", left.shape(), "two matrices"));
    };
    if inner != k {
        return Err(wrong_shape("matrix product", right.shape(), format!("[{inner}, n]")));
    }
    let mut out = Mat::zeros(m, n);
    let (left, right) = (MatRef::from_row_major_slice(left.values(), m, k), MatRef::from_row_major_slice(right.values(), k, n));
    matmul(out.as_mut(), Accum::Replace, left, right, 1.0, Par::Seq);
    row_major(out.as_ref())
}

/// A faer matrix as a host tensor.
pub(crate) fn row_major(matrix: MatRef<'_, f64>) -> Result<HostTensor> {
    let values = (0..matrix.nrows()).flat_map(|row| (0..matrix.ncols()).map(move |column| matrix[(row, column)])).collect();
    Ok(HostTensor::new(&[matrix.nrows(), matrix.ncols()], values)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_survive_the_ends_of_the_range() {
        assert_eq!(norm([3e300, 4e300].iter()), 5e300);
        assert_eq!(norm([3e-310, 4e-310].iter()) / 1e-310, 5e-310 / 1e-310);
        assert_eq!(norm([0.0; 3].iter()), 0.0);
        assert_eq!((power_of_two_near(1.0), power_of_two_near(7.9), power_of_two_near(0.0)), (1.0, 4.0, 1.0));
        assert!(power_of_two_near(f64::MAX).is_normal() && power_of_two_near(5e-324).is_normal());
    }

    #[test]
    fn a_product_in_row_major_order() {
        let left = HostTensor::new(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        let right = HostTensor::new(&[3, 1], vec![1.0, 0.0, -1.0]).unwrap();
        assert_eq!(product(&left, &right).unwrap().values(), [-2.0, -2.0]);
        assert!(product(&left, &left).is_err());
    }

    #[test]
    fn what_is_not_a_finite_matrix_is_refused_with_its_place() {
        let nan = HostTensor::new(&[1, 2], vec![0.0, f64::NAN]).unwrap();
        assert!(matches!(Matrix::of("test", &nan), Err(CompressionError::Value { position: 1, .. })));
        let large = HostTensor::new(&[1, 2], vec![1e39, 0.0]).unwrap();
        assert!(Matrix::of("test", &large).is_ok() && Matrix::within_f32("test", &large).is_err());
        for shape in [&[4][..], &[0, 4], &[1, 2, 2]] {
            let tensor = HostTensor::new(shape, vec![0.0; shape.iter().product()]).unwrap();
            assert!(matches!(Matrix::of("test", &tensor), Err(CompressionError::Shape { .. })));
        }
    }
}
