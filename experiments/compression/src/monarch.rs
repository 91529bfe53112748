//! Projection of a weight to Monarch form: two block-diagonal matrices with a fixed permutation between and after them.
//!
//! Dao et al. (2022, section 3.1; the projection is in section 3.3, theorem 1): under the permutation a Monarch matrix falls into
//! slices of rank one, so the nearest one is found slice by slice. Rectangular weights take the same block count on both sides. B
//! blocks have B (inputs + outputs) parameters and take two batched products instead of one; the error on a weight without that
//! structure is large, and falls as B grows.
//!
//! **Indices.** For B blocks, p = inputs / B and s = outputs / B:
//!
//! * `right` is [B, B, p]: block r reads the *neighbouring* inputs r p..(r + 1) p and gives the B values
//!   h[r, k] = sum_j right[r, k, j] x[r p + j];
//! * the permutation exchanges the two indices of h: block k of `left` reads h[r, k] for all r;
//! * `left` is [B, s, B]: block k writes *every B-th* output, y[i B + k] = sum_r left[k, i, r] h[r, k].
//!
//! So W[i B + k, r p + j] = left[k, i, r] right[r, k, j].

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;

use crate::error::Result;
use crate::matrix::{Matrix, wrong_shape};
use crate::saving::{Saving, dense_bytes};
use crate::svd::leading_pair;

/// The two block-diagonal factors of a weight; for their indices see the [module](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Monarch {
    /// [B, outputs / B, B], applied second.
    pub left: HostTensor,
    /// [B, B, inputs / B], applied first.
    pub right: HostTensor,
    /// What this saves.
    pub saving: Saving,
}

/// The nearest Monarch matrix of `blocks` blocks, which must divide both dimensions; each slice's factors have the same norm. Sizes are
/// counted with both factors in `dtype`.
pub fn monarch(weight: &HostTensor, blocks: usize, dtype: DType) -> Result<Monarch> {
    let matrix = Matrix::of("Monarch projection", weight)?;
    // Zero divides nothing but zero, and the weight is not empty.
    if !matrix.rows.is_multiple_of(blocks) || !matrix.columns.is_multiple_of(blocks) {
        return Err(matrix.parameter_error("the number of blocks", blocks, "a divisor of both dimensions"));
    }
    let (s, p) = (matrix.rows / blocks, matrix.columns / blocks);
    let (mut left, mut right) = (vec![0.0; blocks * s * blocks], vec![0.0; blocks * blocks * p]);
    let mut slice = Vec::with_capacity(s * p);
    for (k, r) in (0..blocks).flat_map(|k| (0..blocks).map(move |r| (k, r))) {
        slice.clear();
        for i in 0..s {
            let start = (i * blocks + k) * matrix.columns + r * p;
            slice.extend_from_slice(&matrix.values[start..start + p]);
        }
        let (column, row) = leading_pair(Matrix { rows: s, columns: p, values: &slice, ..matrix })?;
        column.iter().enumerate().for_each(|(i, value)| left[(k * s + i) * blocks + r] = *value);
        right[(r * blocks + k) * p..][..p].copy_from_slice(&row);
    }
    let (left, right) = (HostTensor::new(&[blocks, s, blocks], left)?, HostTensor::new(&[blocks, blocks, p], right)?);
    let bytes = dense_bytes(dtype, blocks * s, blocks) + dense_bytes(dtype, blocks * blocks, p);
    let saving = Saving::new(weight, dtype, left.len() + right.len(), bytes, &product(&left, &right)?)?;
    Ok(Monarch { left, right, saving })
}

impl Monarch {
    /// The dense weight that the factors stand for.
    pub fn product(&self) -> Result<HostTensor> {
        product(&self.left, &self.right)
    }
}

/// The dense weight [outputs, inputs] of two factors with the indices of the [module](self).
pub fn product(left: &HostTensor, right: &HostTensor) -> Result<HostTensor> {
    let (&[blocks, s, read], &[right_blocks, given, p]) = (left.shape(), right.shape()) else {
        return Err(wrong_shape("Monarch product", left.shape(), "[blocks, s, blocks] beside [blocks, blocks, p]"));
    };
    if [read, right_blocks, given] != [blocks; 3] {
        return Err(wrong_shape("Monarch product", right.shape(), format!("[{blocks}, {blocks}, p] beside {:?}", left.shape())));
    }
    let mut values = Vec::with_capacity(blocks * s * blocks * p);
    for (i, k) in (0..s).flat_map(|i| (0..blocks).map(move |k| (i, k))) {
        for r in 0..blocks {
            let factor = left.values()[(k * s + i) * blocks + r];
            values.extend(right.values()[(r * blocks + k) * p..][..p].iter().map(|value| factor * value));
        }
    }
    Ok(HostTensor::new(&[blocks * s, blocks * p], values)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{distance, matrix, normal, not_finite};
    use proptest::prelude::*;

    fn factors(blocks: usize, s: usize, p: usize, seed: u64) -> (HostTensor, HostTensor) {
        let left = normal(blocks * s, blocks, seed).reshaped(&[blocks, s, blocks]).unwrap();
        let right = normal(blocks * blocks, p, seed + 1).reshaped(&[blocks, blocks, p]).unwrap();
        (left, right)
    }

    #[test]
    fn the_dense_weight_does_what_the_two_steps_do() {
        let (blocks, s, p) = (3, 4, 2);
        let (left, right) = factors(blocks, s, p, 1);
        let x = normal(1, blocks * p, 9);
        let hidden = |r: usize, k: usize| (0..p).map(|j| right.array()[[r, k, j]] * x.values()[r * p + j]).sum::<f64>();
        let mut stepwise = vec![0.0; blocks * s];
        for (k, i) in (0..blocks).flat_map(|k| (0..s).map(move |i| (k, i))) {
            stepwise[i * blocks + k] = (0..blocks).map(|r| left.array()[[k, i, r]] * hidden(r, k)).sum();
        }
        let at_once = crate::matrix::product(&product(&left, &right).unwrap(), &x.reshaped(&[blocks * p, 1]).unwrap()).unwrap();
        assert!(distance(&at_once, &matrix(blocks * s, 1, stepwise)) < 1e-13);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_monarch_matrix_is_its_own_projection((blocks, s, p) in (1usize..5, 1usize..5, 1usize..5), seed in 0u64..1000) {
            let (left, right) = factors(blocks, s, p, seed);
            let made = monarch(&product(&left, &right).unwrap(), blocks, DType::F32).unwrap();
            prop_assert!(made.saving.relative_error < 1e-12);
            prop_assert_eq!((made.left.shape(), made.right.shape()), (left.shape(), right.shape()));
        }
    }

    #[test]
    fn more_blocks_come_nearer_and_single_entries_are_exact() {
        let weight = normal(16, 16, 2);
        let made = [1, 2, 4, 8, 16].map(|blocks| monarch(&weight, blocks, DType::F32).unwrap().saving);
        assert!(made.windows(2).all(|pair| pair[1].relative_error < pair[0].relative_error));
        assert!(made[4].relative_error < 1e-14);
        assert_eq!(made.map(|saving| saving.parameters_after), [32, 64, 128, 256, 512]);
        let rectangular = monarch(&normal(8, 12, 3), 4, DType::F32).unwrap();
        assert_eq!((rectangular.left.shape(), rectangular.right.shape()), (&[4, 2, 4][..], &[4, 4, 3][..]));
        assert_eq!((rectangular.saving.bytes_before, rectangular.saving.bytes_after), (384, 4 * (32 + 48)));
    }

    #[test]
    fn zeros_work_and_impossible_requests_are_errors() {
        let zero = matrix(4, 4, vec![0.0; 16]);
        assert_eq!(monarch(&zero, 2, DType::F32).unwrap().product().unwrap(), zero);
        for blocks in [0, 2, 3] {
            let message = monarch(&normal(3, 4, 1), blocks, DType::F32).unwrap_err().to_string();
            assert!(message.contains("[3, 4]") && message.contains("a divisor"), "{message}");
        }
        assert!(product(&factors(2, 3, 1, 1).0, &factors(3, 3, 1, 1).1).is_err() && product(&zero, &zero).is_err());
        assert!(not_finite().iter().all(|bad| monarch(bad, 2, DType::F32).is_err()));
    }
}
