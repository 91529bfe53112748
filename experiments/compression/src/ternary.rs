//! Ternary weights: -1, 0 or 1 times a scale a row.
//!
//! Li et al. (2016, section 2.2) approximate the nearest ternary weight: what is smaller than 0.7 times the mean magnitude of its row
//! becomes zero, and the scale is the mean magnitude of the rest. Products become additions; without retraining the relative error of a
//! normal weight is about 0.44.

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::palette::Palette;

use crate::error::Result;
use crate::matrix::Matrix;
use crate::palette::Coded;

/// The threshold in mean magnitudes: between the optima of uniform (2/3) and normal (3/4) weights (Li et al., 2016, section 2.2).
const THRESHOLD: f64 = 0.7;

/// Codes of the levels -1, 0 and 1.
const MINUS: u8 = 0;
const ZERO: u8 = 1;
const PLUS: u8 = 2;

/// Ternary codes of a weight. `dtype` is the type it was held in before.
pub fn ternary(weight: &HostTensor, dtype: DType) -> Result<Coded> {
    let matrix = Matrix::within_f32("ternary weights", weight)?;
    let mut codes = Vec::with_capacity(weight.len());
    let scales = matrix.each_row().map(|row| encode(row, &mut codes)).collect();
    let palette = Palette { outputs: matrix.rows, inputs: matrix.columns, codes, levels: vec![-1.0, 0.0, 1.0], scales };
    Coded::new(weight, palette, dtype)
}

/// Appends the codes of a row and returns its scale; 0 for a row of zeros.
fn encode(row: &[f64], codes: &mut Vec<u8>) -> f32 {
    let threshold = THRESHOLD * row.iter().map(|value| value.abs()).sum::<f64>() / row.len() as f64;
    let kept = row.iter().map(|value| value.abs()).filter(|&magnitude| magnitude > threshold);
    let (sum, count) = kept.fold((0.0, 0u32), |(sum, count), magnitude| (sum + magnitude, count + 1));
    codes.extend(row.iter().map(|&value| match value {
        value if value.abs() <= threshold => ZERO,
        value if value > 0.0 => PLUS,
        _ => MINUS,
    }));
    (sum / f64::from(count.max(1))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{matrix, normal, not_finite};

    #[test]
    fn a_worked_example() {
        // Mean magnitudes 2.5 and 0.5, thresholds 1.75 and 0.35.
        let weight = matrix(2, 4, vec![4.0, -1.0, 2.0, -3.0, 0.0, 1.0, -1.0, 0.0]);
        let made = ternary(&weight, DType::F32).unwrap();
        assert_eq!(made.palette.codes, [PLUS, ZERO, PLUS, MINUS, ZERO, PLUS, MINUS, ZERO]);
        assert_eq!(made.palette.scales, [3.0, 1.0]);
        assert_eq!(made.palette.dequantized().values(), [3.0, 0.0, 3.0, -3.0, 0.0, 1.0, -1.0, 0.0]);
        assert_eq!(made.saving.relative_error, (3.0f64 / 32.0).sqrt());
        assert_eq!((made.saving.bytes_before, made.saving.bytes_after), (32, 2 + 4 * (2 + 3)));
    }

    #[test]
    fn a_ternary_weight_comes_back_exactly() {
        let weight = matrix(2, 3, vec![0.5, -0.5, 0.0, 0.0, 2.0, 2.0]);
        let made = ternary(&weight, DType::F32).unwrap();
        assert_eq!((made.palette.dequantized(), made.saving.relative_error), (weight, 0.0));
    }

    #[test]
    fn the_error_on_normal_weights_is_that_of_the_best_ternary_quantiser() {
        // The optimum for a normal density is 0.436 of the norm (threshold 0.612 deviations, mean 1.224 above it); 0.7 x 0.798 is near it.
        let error = ternary(&normal(64, 256, 1), DType::F32).unwrap().saving.relative_error;
        assert!((0.42..0.46).contains(&error), "{error}");
    }

    #[test]
    fn zeros_work_and_bad_values_are_errors() {
        let zero = matrix(2, 3, vec![0.0; 6]);
        assert_eq!(ternary(&zero, DType::F32).unwrap().palette.dequantized(), zero);
        assert!(not_finite().iter().all(|bad| ternary(bad, DType::F32).is_err()));
        assert!(ternary(&matrix(1, 1, vec![1e39]), DType::F32).is_err());
    }
}
