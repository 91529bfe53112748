//! What a transform saves, and what it costs in accuracy.

use crossover_core::dtype::{DType, Precision};
use crossover_core::host::HostTensor;
use crossover_core::ops::WeightForm;
use crossover_core::weights::HostWeight;

use crate::error::Result;
use crate::matrix::{power_of_two_near, wrong_shape};

/// Sizes before and after, and the distance from the given weight.
///
/// Parameters are the entries, factor entries or codes that remain; scales, tables and indices are none, but count as bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saving {
    /// Entries of the given weight.
    pub parameters_before: usize,
    /// Entries or codes of the product.
    pub parameters_after: usize,
    /// Bytes of the given weight in the stated type.
    pub bytes_before: usize,
    /// Bytes of the product in the stated type, with its scales, tables and indices, without packing overhead.
    pub bytes_after: usize,
    /// ||given - product|| / ||given|| in the Frobenius norm, with the product as it is returned.
    pub relative_error: f64,
}

impl Saving {
    /// Compares a weight, held densely in `dtype`, with what it became.
    pub(crate) fn new(weight: &HostTensor, dtype: DType, parameters_after: usize, bytes_after: usize, became: &HostTensor) -> Result<Self> {
        let (rows, columns) = rows_and_columns(weight.shape());
        let bytes_before = dense_bytes(dtype, rows, columns);
        Ok(Self {
            parameters_before: weight.len(),
            parameters_after,
            bytes_before,
            bytes_after,
            relative_error: relative_error(weight, became)?,
        })
    }

    /// Compares a weight, held densely in `dtype`, with the same entries in another form (codes, a narrower type).
    pub fn of_form(weight: &HostTensor, dtype: DType, became: &HostWeight) -> Result<Self> {
        Self::new(weight, dtype, weight.len(), became.ideal_bytes(), &became.dequantized())
    }

    /// Over several weights together: sums of the sizes, and the largest of the errors; NaN if one of them is. None of no weights.
    pub fn total(savings: &[Self]) -> Option<Self> {
        savings.iter().copied().reduce(|all, one| Self {
            parameters_before: all.parameters_before + one.parameters_before,
            parameters_after: all.parameters_after + one.parameters_after,
            bytes_before: all.bytes_before + one.bytes_before,
            bytes_after: all.bytes_after + one.bytes_after,
            // `f64::max` passes over NaN, and a weight that came to nothing would hide among others.
            relative_error: if all.relative_error.is_nan() || all.relative_error > one.relative_error {
                all.relative_error
            } else {
                one.relative_error
            },
        })
    }

    /// Parameters after over parameters before.
    pub fn parameter_ratio(&self) -> f64 {
        self.parameters_after as f64 / self.parameters_before as f64
    }

    /// Bytes after over bytes before.
    pub fn byte_ratio(&self) -> f64 {
        self.bytes_after as f64 / self.bytes_before as f64
    }
}

/// The relative Frobenius error of an approximation; 0 if both are zero, infinite if only the given one is.
pub fn relative_error(given: &HostTensor, approximation: &HostTensor) -> Result<f64> {
    if given.shape() != approximation.shape() {
        return Err(wrong_shape("relative error", approximation.shape(), format!("{:?}", given.shape())));
    }
    let scale = power_of_two_near(crate::matrix::largest(given.values()));
    let pairs = given.values().iter().zip(approximation.values());
    let (error, size) = pairs.fold((0.0, 0.0), |(error, size), (given, approximation)| {
        (error + (given / scale - approximation / scale).powi(2), size + (given / scale).powi(2))
    });
    Ok(if error == 0.0 { 0.0 } else { (error / size).sqrt() })
}

/// Bytes of a dense matrix in a type; the integer types come with their scales.
pub(crate) fn dense_bytes(dtype: DType, rows: usize, columns: usize) -> usize {
    WeightForm::of(Precision::new(dtype, DType::F32, DType::F32)).ideal_bytes(rows, columns)
}

/// The last dimension, and all others as one.
pub(crate) fn rows_and_columns(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [before @ .., columns] => (before.iter().product(), *columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f64]) -> HostTensor {
        HostTensor::new(&[1, values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn errors_are_relative_to_the_given_weight() {
        assert_eq!(relative_error(&row(&[3.0, 4.0]), &row(&[3.0, 0.0])).unwrap(), 0.8);
        assert_eq!(relative_error(&row(&[3e300, 4e300]), &row(&[3e300, 0.0])).unwrap(), 0.8);
        assert_eq!(relative_error(&row(&[0.0]), &row(&[0.0])).unwrap(), 0.0);
        assert_eq!(relative_error(&row(&[0.0]), &row(&[1.0])).unwrap(), f64::INFINITY);
        assert!(relative_error(&row(&[0.0]), &row(&[1.0, 2.0])).is_err());
    }

    #[test]
    fn several_weights_add_up_and_the_largest_error_stands() {
        let one = Saving { parameters_before: 8, parameters_after: 2, bytes_before: 32, bytes_after: 8, relative_error: 0.5 };
        let two = Saving { parameters_before: 4, parameters_after: 4, bytes_before: 16, bytes_after: 4, relative_error: 0.25 };
        let sum = Saving { parameters_before: 12, parameters_after: 6, bytes_before: 48, bytes_after: 12, relative_error: 0.5 };
        assert_eq!((Saving::total(&[one, two]), Saving::total(&[])), (Some(sum), None));
    }

    #[test]
    fn one_broken_weight_is_not_hidden_by_the_others() {
        let of = |relative_error| Saving { parameters_before: 1, parameters_after: 1, bytes_before: 4, bytes_after: 4, relative_error };
        for order in [[f64::NAN, 0.5, 0.25], [0.5, f64::NAN, 0.25], [0.5, 0.25, f64::NAN]] {
            assert!(Saving::total(&order.map(of)).unwrap().relative_error.is_nan(), "{order:?}");
        }
    }

    #[test]
    fn codes_keep_their_number_and_narrow_types_halve_the_bytes() {
        let weight = row(&[1.0, 0.5, -2.0, 3.0]);
        let half = HostWeight::Dense { values: weight.rounded(DType::Bf16), dtype: DType::Bf16 };
        let saving = Saving::of_form(&weight, DType::F32, &half).unwrap();
        assert_eq!((saving.parameter_ratio(), saving.byte_ratio(), saving.relative_error), (1.0, 0.5, 0.0));
    }

    #[test]
    fn bytes_follow_the_type_and_count_scales() {
        assert_eq!([DType::F64, DType::F32, DType::Bf16].map(|dtype| dense_bytes(dtype, 3, 5)), [120, 60, 30]);
        assert_eq!(dense_bytes(DType::I8, 3, 5), 15 + 3 * 4);
        let saving = Saving::new(&row(&[1.0, 0.0, 0.0, 0.0]), DType::F32, 1, 4, &row(&[1.0, 0.0, 0.0, 0.0])).unwrap();
        assert_eq!((saving.parameter_ratio(), saving.byte_ratio(), saving.relative_error), (0.25, 0.25, 0.0));
    }
}
