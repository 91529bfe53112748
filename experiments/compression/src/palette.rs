//! Palettes: each entry becomes a code into a table of at most 256 levels that fit the weight's own distribution.
//!
//! Han et al. (2016, section 3) cluster trained weights by k-means. In one dimension the clusters are intervals, so a sorted copy and
//! binary searches make Lloyd's iteration (Lloyd, 1982) cheap. It starts from quantiles of the distinct values: the result is
//! deterministic and no level starts empty. It ends in a local optimum. Levels fit the weight better than a uniform grid of as many
//! codes, but products need a table look-up.

use crossover_core::dtype::DType;
use crossover_core::host::HostTensor;
use crossover_core::ops::WeightForm;
use crossover_core::palette::Palette;

use crate::error::Result;
use crate::matrix::Matrix;
use crate::saving::Saving;

/// Iterations after which the levels are taken as they are.
const ITERATIONS: usize = 100;

/// A weight as codes into levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Coded {
    /// The codes, for engines to pack.
    pub palette: Palette,
    /// What this saves.
    pub saving: Saving,
}

impl Coded {
    /// Accounts a palette that stands for a weight held in `dtype` before.
    pub(crate) fn new(weight: &HostTensor, palette: Palette, dtype: DType) -> Result<Self> {
        palette.check()?;
        let bytes = WeightForm::Palette { levels: palette.levels.len() }.ideal_bytes(palette.outputs, palette.inputs);
        let saving = Saving::new(weight, dtype, weight.len(), bytes, &palette.dequantized())?;
        Ok(Self { palette, saving })
    }
}

/// Codes of a weight into k levels, or into as many as it has distinct f32 values if they are fewer; scales are one. `dtype` is the
/// type it was held in before.
pub fn palette(weight: &HostTensor, k: usize, dtype: DType) -> Result<Coded> {
    let matrix = Matrix::within_f32("palette", weight)?;
    if !(2..=256).contains(&k) {
        return Err(matrix.parameter_error("the number of levels", k, "2 to 256"));
    }
    let mut sorted = matrix.values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let levels = levels(&sorted, k);
    let bounds: Vec<f64> = middles(&levels.iter().copied().map(f64::from).collect::<Vec<f64>>());
    // At most 256 levels, so a code fits.
    let codes = matrix.values.iter().map(|&value| bounds.partition_point(|&bound| bound < value) as u8).collect();
    let palette = Palette { outputs: matrix.rows, inputs: matrix.columns, codes, levels, scales: vec![1.0; matrix.rows] };
    Coded::new(weight, palette, dtype)
}

/// At most k ascending, different levels for ascending values.
fn levels(sorted: &[f64], k: usize) -> Vec<f32> {
    let mut distinct: Vec<f32> = sorted.iter().map(|&value| value as f32).collect();
    distinct.dedup();
    if distinct.len() <= k {
        return distinct;
    }
    let mut centres: Vec<f64> = (0..k).map(|at| f64::from(distinct[(2 * at + 1) * distinct.len() / (2 * k)])).collect();
    for _ in 0..ITERATIONS {
        let moved = step(sorted, &centres);
        if moved == centres {
            break;
        }
        centres = moved;
    }
    let mut levels: Vec<f32> = centres.into_iter().map(|centre| centre as f32).collect();
    levels.dedup();
    levels
}

/// Each centre moved to the mean of the values that are nearest to it; one that has none stays.
fn step(sorted: &[f64], centres: &[f64]) -> Vec<f64> {
    let ends = middles(centres).into_iter().map(|bound| sorted.partition_point(|&value| value <= bound)).chain([sorted.len()]);
    let clusters = ends.scan(0, |start, end| Some(&sorted[std::mem::replace(start, end)..end]));
    let mean = |(cluster, &centre): (&[f64], &f64)| match cluster {
        // A mean never leaves its interval, not even by rounding: the centres stay sorted.
        [first, .., last] => (cluster.iter().sum::<f64>() / cluster.len() as f64).clamp(*first, *last),
        [only] => *only,
        [] => centre,
    };
    clusters.zip(centres).map(mean).collect()
}

/// The bounds between neighbouring levels.
fn middles(levels: &[f64]) -> Vec<f64> {
    levels.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantise::{Granularity, Scheme, quantise};
    use crate::testing::{matrix, normal, not_finite};
    use proptest::prelude::*;

    #[test]
    fn two_clusters_get_their_means() {
        let weight = matrix(2, 3, vec![1.0, 10.0, 2.0, 11.0, 3.0, 12.0]);
        let made = palette(&weight, 2, DType::F32).unwrap();
        assert_eq!((&made.palette.levels[..], &made.palette.codes[..]), (&[2.0, 11.0][..], &[0, 1, 0, 1, 0, 1][..]));
        assert_eq!(made.palette.scales, [1.0, 1.0]);
        assert_eq!((made.saving.bytes_before, made.saving.bytes_after), (24, 1 + 4 * (2 + 2)));
    }

    #[test]
    fn a_level_that_loses_all_its_values_stays_and_does_no_harm() {
        // Most entries are one value, so that quantiles of all entries would coincide.
        let mut values = vec![0.0; 96];
        values.extend([1.0, 2.0, 50.0, 51.0]);
        let made = palette(&matrix(10, 10, values), 4, DType::F32).unwrap();
        assert!(made.palette.levels.is_sorted() && made.palette.levels.len() == 4);
        assert!(made.saving.relative_error < 0.02, "{:?}", made.palette.levels);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn as_many_levels_as_values_reproduce_exactly(k in 2usize..20, picks in prop::collection::vec(0usize..20, 1..60)) {
            let weight = matrix(1, picks.len(), picks.iter().map(|&pick| (pick % k) as f64 * 0.375 - 2.0).collect());
            let made = palette(&weight, k, DType::F32).unwrap();
            prop_assert_eq!((made.palette.dequantized(), made.saving.relative_error), (weight, 0.0));
        }

        #[test]
        fn every_entry_gets_a_nearest_level(values in prop::collection::vec(-10.0..10.0f64, 30), k in 2usize..12) {
            let made = palette(&matrix(5, 6, values.clone()), k, DType::F32).unwrap();
            for (value, became) in values.iter().zip(made.palette.dequantized().values()) {
                let nearest = made.palette.levels.iter().map(|&level| (value - f64::from(level)).abs()).fold(f64::MAX, f64::min);
                prop_assert!((value - became).abs() <= nearest + 1e-12);
            }
        }
    }

    #[test]
    fn more_levels_cost_less_accuracy_and_fit_better_than_a_grid() {
        let weight = normal(64, 64, 5);
        let errors = [2, 4, 8, 16, 64, 256].map(|k| palette(&weight, k, DType::F32).unwrap().saving.relative_error);
        assert!(errors.windows(2).all(|pair| pair[1] < 0.8 * pair[0]), "{errors:?}");
        // Two levels on a normal density: +-0.798 deviations, 0.603 of the norm (Max, 1960, table I: 0.3634 of the power).
        assert!((errors[0] - 0.3634f64.sqrt()).abs() < 0.02, "{errors:?}");
        let grid = quantise(&weight, 4, Granularity::Tensor, Scheme::Asymmetric, DType::F32).unwrap().saving.relative_error;
        assert!(errors[3] < grid);
    }

    #[test]
    fn zeros_work_and_impossible_requests_are_errors() {
        let zero = matrix(2, 3, vec![0.0; 6]);
        assert_eq!(palette(&zero, 4, DType::F32).unwrap().palette.dequantized(), zero);
        let extremes = matrix(1, 3, vec![-f64::from(f32::MAX), 0.0, f64::from(f32::MAX)]);
        assert!(palette(&extremes, 2, DType::F32).unwrap().saving.relative_error.is_finite());
        for k in [0, 1, 257] {
            assert!(palette(&zero, k, DType::F32).unwrap_err().to_string().contains("2 to 256"));
        }
        assert!(not_finite().iter().all(|bad| palette(bad, 4, DType::F32).is_err()));
    }
}
