//! The nearest Kronecker product of a weight: W ~ A (x) B.
//!
//! Van Loan and Pitsianis (1993, section 2): with each block of W laid out as one row of a rearranged matrix, A (x) B becomes the outer
//! product of the entries of A and of B, so the best rank-one approximation there is the nearest Kronecker product here. Its m1 n1 + m2
//! n2 parameters are very few, and the error is accordingly large unless the weight has that structure. The decomposition is that of an
//! [m1 n1, m2 n2] matrix: balanced factor shapes of a large weight take a while.

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;

use crate::error::{CompressionError, Result};
use crate::matrix::{Matrix, wrong_shape};
use crate::saving::{Saving, dense_bytes};
use crate::svd::leading_pair;

/// Two factors of a weight [m1 m2, n1 n2]: W[i1 m2 + i2, j1 n2 + j2] ~ A[i1, j1] B[i2, j2].
#[derive(Debug, Clone, PartialEq)]
pub struct Kronecker {
    /// [m1, n1].
    pub a: HostTensor,
    /// [m2, n2].
    pub b: HostTensor,
    /// What this saves.
    pub saving: Saving,
}

/// The nearest A (x) B with A of the shape [m1, n1], which must divide the weight; both factors have the same norm. Sizes are counted with
/// both in `dtype`.
pub fn nearest_kronecker(weight: &HostTensor, a_shape: [usize; 2], dtype: DType) -> Result<Kronecker> {
    let matrix = Matrix::of("Kronecker product", weight)?;
    let [m1, n1] = a_shape;
    // Zero divides nothing but zero, and the weight is not empty.
    if !matrix.rows.is_multiple_of(m1) || !matrix.columns.is_multiple_of(n1) {
        return Err(matrix.parameter_error("the shape of A", format!("{a_shape:?}"), "divisors of both dimensions"));
    }
    let (m2, n2) = (matrix.rows / m1, matrix.columns / n1);
    let mut rearranged = Vec::with_capacity(weight.len());
    for (i1, j1) in (0..m1).flat_map(|i1| (0..n1).map(move |j1| (i1, j1))) {
        for i2 in 0..m2 {
            let start = (i1 * m2 + i2) * matrix.columns + j1 * n2;
            rearranged.extend_from_slice(&matrix.values[start..start + n2]);
        }
    }
    let (a, b) = leading_pair(Matrix { rows: m1 * n1, columns: m2 * n2, values: &rearranged, ..matrix })?;
    let (a, b) = (HostTensor::new(&[m1, n1], a)?, HostTensor::new(&[m2, n2], b)?);
    let bytes = dense_bytes(dtype, m1, n1) + dense_bytes(dtype, m2, n2);
    let saving = Saving::new(weight, dtype, a.len() + b.len(), bytes, &product(&a, &b)?)?;
    Ok(Kronecker { a, b, saving })
}

impl Kronecker {
    /// A (x) B as a dense weight.
    pub fn product(&self) -> Result<HostTensor> {
        product(&self.a, &self.b)
    }
}

/// A (x) B as a dense matrix [m1 m2, n1 n2].
pub fn product(a: &HostTensor, b: &HostTensor) -> Result<HostTensor> {
    let (&[m1, n1], &[m2, n2]) = (a.shape(), b.shape()) else {
        return Err(wrong_shape("Kronecker product", a.shape(), format!("a matrix, as the other factor of {:?}", b.shape())));
    };
    let (rows, columns) = match (m1.checked_mul(m2), n1.checked_mul(n2)) {
        (Some(rows), Some(columns)) if rows.checked_mul(columns).is_some() => (rows, columns),
        _ => return Err(CompressionError::from(crossover_core::error::shape_error("Kronecker product", "the product is too large"))),
    };
    let entry = |row: usize, column: usize| a.values()[row / m2 * n1 + column / n2] * b.values()[row % m2 * n2 + column % n2];
    let values = (0..rows).flat_map(|row| (0..columns).map(move |column| entry(row, column))).collect();
    Ok(HostTensor::new(&[rows, columns], values)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::norm;
    use crate::saving::relative_error;
    use crate::testing::{matrix, normal, not_finite};
    use proptest::prelude::*;

    #[test]
    fn the_product_is_laid_out_in_blocks() {
        let made = product(&matrix(1, 2, vec![1.0, 10.0]), &matrix(2, 2, vec![1.0, 2.0, 3.0, 4.0])).unwrap();
        assert_eq!(made, matrix(2, 4, vec![1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]));
        assert!(product(&made, &HostTensor::new(&[2], vec![1.0; 2]).unwrap()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_kronecker_product_is_found_again((m1, n1, m2, n2) in (1usize..5, 1usize..5, 1usize..5, 1usize..5), seed in 0u64..1000) {
            let weight = product(&normal(m1, n1, seed), &normal(m2, n2, seed + 1)).unwrap();
            let made = nearest_kronecker(&weight, [m1, n1], DType::F32).unwrap();
            prop_assert!(made.saving.relative_error < 1e-12);
            prop_assert_eq!((made.a.shape(), made.b.shape()), (&[m1, n1][..], &[m2, n2][..]));
        }
    }

    #[test]
    fn no_change_of_a_factor_comes_nearer() {
        let weight = normal(6, 8, 3);
        let made = nearest_kronecker(&weight, [2, 4], DType::F32).unwrap();
        assert!((norm(made.a.values().iter()) - norm(made.b.values().iter())).abs() < 1e-12);
        for at in 0..made.a.len() {
            for change in [-0.01, 0.01] {
                let mut values = made.a.values().to_vec();
                values[at] += change;
                let other = product(&matrix(2, 4, values), &made.b).unwrap();
                assert!(relative_error(&weight, &other).unwrap() > made.saving.relative_error);
            }
        }
        assert_eq!((made.saving.parameters_before, made.saving.parameters_after, made.saving.bytes_after), (48, 14, 56));
    }

    #[test]
    fn trivial_factors_are_exact_and_zero_works() {
        let weight = normal(3, 4, 1);
        for shape in [[1, 1], [3, 4]] {
            assert!(nearest_kronecker(&weight, shape, DType::F32).unwrap().saving.relative_error < 1e-14);
        }
        let zero = matrix(4, 4, vec![0.0; 16]);
        assert_eq!(nearest_kronecker(&zero, [2, 2], DType::F32).unwrap().product().unwrap(), zero);
    }

    #[test]
    fn impossible_requests_are_errors() {
        for shape in [[2, 2], [3, 3], [0, 2], [3, 0]] {
            let message = nearest_kronecker(&normal(3, 4, 1), shape, DType::F32).unwrap_err().to_string();
            assert!(message.contains("[3, 4]") && message.contains("divisors"), "{message}");
        }
        assert!(not_finite().iter().all(|bad| nearest_kronecker(bad, [2, 2], DType::F32).is_err()));
    }
}
