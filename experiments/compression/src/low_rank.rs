//! Low-rank factors of a weight: W ~ A B with A [outputs, r] and B [r, inputs].
//!
//! Two thin products instead of one, r (outputs + inputs) parameters instead of outputs x inputs: it saves below r = outputs inputs /
//! (outputs + inputs) and costs accuracy by the singular values it drops (see [`crate::svd`]). Denton et al. (2014, section 3) applied
//! it to trained layers. Trained weights rarely fall off as fast as activations do, so small ranks hurt.

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;

use crate::error::{CompressionError, Result};
use crate::matrix::product;
use crate::saving::{Saving, dense_bytes};
use crate::svd::{Svd, thin_svd};

/// How the rank is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rank {
    /// This one.
    Number(usize),
    /// The smallest that keeps this share, in (0, 1], of the squared singular values.
    Energy(f64),
    /// The largest whose factors have at most this many parameters.
    Budget(usize),
}

/// Where the singular values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Their square roots to both: the factors have the same norm, which suits narrow types.
    Balanced,
    /// All to A; B has orthonormal rows.
    Left,
}

/// Two factors of a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// [outputs, r].
    pub a: HostTensor,
    /// [r, inputs].
    pub b: HostTensor,
    /// r.
    pub rank: usize,
    /// What this saves.
    pub saving: Saving,
}

/// Factors a weight. Sizes are counted with both factors in `dtype`; the factors themselves stay f64.
pub fn low_rank(weight: &HostTensor, rank: Rank, split: Split, dtype: DType) -> Result<LowRank> {
    let svd = thin_svd(weight)?;
    let rank = rank.of(&svd)?;
    let (a, b) = match split {
        Split::Balanced => svd.factors(rank, f64::sqrt, f64::sqrt)?,
        Split::Left => svd.factors(rank, |s| s, |_| 1.0)?,
    };
    let [outputs, inputs] = svd.shape();
    let bytes = dense_bytes(dtype, outputs, rank) + dense_bytes(dtype, rank, inputs);
    let saving = Saving::new(weight, dtype, a.len() + b.len(), bytes, &product(&a, &b)?)?;
    Ok(LowRank { a, b, rank, saving })
}

impl LowRank {
    /// A B.
    pub fn product(&self) -> Result<HostTensor> {
        product(&self.a, &self.b)
    }
}

impl Rank {
    /// The rank for a decomposed matrix.
    pub fn of(self, svd: &Svd) -> Result<usize> {
        let [outputs, inputs] = svd.shape();
        let error = |parameter, given: String, expected: String| {
            Err(CompressionError::Parameter { transform: "low rank", parameter, given, expected, shape: vec![outputs, inputs] })
        };
        match self {
            Self::Number(rank) if rank == 0 || rank > svd.s.len() => error("the rank", rank.to_string(), format!("1 to {}", svd.s.len())),
            Self::Number(rank) => Ok(rank),
            Self::Energy(share) if !(share > 0.0 && share <= 1.0) => {
                error("the share of energy", share.to_string(), "more than 0 and at most 1".to_owned())
            }
            Self::Energy(share) => Ok(by_energy(&svd.s, share)),
            Self::Budget(budget) if budget < outputs + inputs => {
                error("the parameter budget", budget.to_string(), format!("at least {} for rank 1", outputs + inputs))
            }
            Self::Budget(budget) => Ok((budget / (outputs + inputs)).min(svd.s.len())),
        }
    }
}

/// The smallest rank with sum s_i^2 >= share of the total; 1 for a zero matrix.
fn by_energy(s: &[f64], share: f64) -> usize {
    let largest = s.first().copied().unwrap_or(0.0);
    if largest == 0.0 {
        return 1;
    }
    // One running sum for both sides of the comparison, so that a share of 1 is met in spite of rounding.
    let energies: Vec<f64> = s
        .iter()
        .scan(0.0, |sum, s| {
            *sum += (s / largest).powi(2);
            Some(*sum)
        })
        .collect();
    let wanted = share * energies[energies.len() - 1];
    1 + energies.partition_point(|&energy| energy < wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::norm;
    use crate::testing::{distance, matrix, normal, not_finite, weights};
    use proptest::prelude::*;

    fn factored(weight: &HostTensor, rank: Rank) -> LowRank {
        low_rank(weight, rank, Split::Balanced, DType::F32).unwrap()
    }

    #[test]
    fn ranks_by_energy_and_by_budget() {
        // Singular values 4, 2, 2, 1: energies 16, 20, 24, 25.
        let mut values = vec![0.0; 20];
        for (at, s) in [4.0, 2.0, 2.0, 1.0].into_iter().enumerate() {
            values[at * 5 + at] = s;
        }
        let weight = matrix(4, 5, values);
        for (share, rank) in [(1e-9, 1), (0.63, 1), (0.65, 2), (0.79, 2), (0.81, 3), (0.95, 3), (0.97, 4), (1.0, 4)] {
            assert_eq!(factored(&weight, Rank::Energy(share)).rank, rank, "{share}");
        }
        for (budget, rank) in [(9, 1), (17, 1), (18, 2), (36, 4), (1000, 4)] {
            assert_eq!(factored(&weight, Rank::Budget(budget)).rank, rank, "{budget}");
        }
        assert!((factored(&weight, Rank::Number(3)).saving.relative_error - 0.2).abs() < 1e-14);
    }

    #[test]
    fn both_splits_give_one_product_and_the_stated_sizes() {
        let weight = normal(24, 16, 2);
        let balanced = factored(&weight, Rank::Number(3));
        let left = low_rank(&weight, Rank::Number(3), Split::Left, DType::F32).unwrap();
        assert!(distance(&balanced.product().unwrap(), &left.product().unwrap()) < 1e-13);
        assert!((norm(balanced.a.values().iter()) - norm(balanced.b.values().iter())).abs() < 1e-12);
        assert!((norm(left.b.values().iter()) - 3f64.sqrt()).abs() < 1e-13);
        assert_eq!((balanced.a.shape(), balanced.b.shape()), (&[24, 3][..], &[3, 16][..]));
        let saving = balanced.saving;
        assert_eq!((saving.parameters_before, saving.parameters_after), (384, 120));
        assert_eq!((saving.bytes_before, saving.bytes_after), (1536, 480));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn more_rank_is_never_worse_and_full_rank_reproduces(weight in weights(8)) {
            let full = weight.shape()[0].min(weight.shape()[1]);
            let errors: Vec<f64> = (1..=full).map(|rank| factored(&weight, Rank::Number(rank)).saving.relative_error).collect();
            prop_assert!(errors.windows(2).all(|pair| pair[1] <= pair[0] + 1e-14), "{errors:?}");
            prop_assert!(errors[full - 1] < 1e-12);
        }
    }

    #[test]
    fn a_zero_weight_has_rank_one_and_no_error() {
        let zero = factored(&matrix(3, 2, vec![0.0; 6]), Rank::Energy(0.9));
        assert_eq!((zero.rank, zero.saving.relative_error), (1, 0.0));
    }

    #[test]
    fn impossible_requests_are_errors() {
        let weight = normal(3, 5, 1);
        let requests = [Rank::Number(0), Rank::Number(4), Rank::Energy(0.0), Rank::Energy(1.1), Rank::Energy(f64::NAN), Rank::Budget(7)];
        for rank in requests {
            let error = low_rank(&weight, rank, Split::Balanced, DType::F32).unwrap_err();
            assert!(matches!(error, CompressionError::Parameter { .. }) && error.to_string().contains("expected"), "{error}");
        }
        for bad in not_finite() {
            assert!(low_rank(&bad, Rank::Number(1), Split::Left, DType::F32).is_err());
        }
    }
}
