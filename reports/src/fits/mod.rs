//! Small samples: a straight line through points, a mean of values that come in clusters, and rank correlation.
//!
//! All of it is in closed form: no random numbers, so the same cells give the same figures whoever asks. Each function's interval rests on what
//! its head says, and is absent rather than guessed where there are too few values for one.

pub(crate) mod kendall;

use crossover_results::statistics::{Confidence, student};

/// A straight line through points, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) slope: f64,
    /// 95 % interval of the slope, as if the points lay around a line independently and evenly; absent below three points.
    pub(crate) interval: Option<(f64, f64)>,
    /// How far the farthest point is from the line.
    pub(crate) farthest: f64,
}

/// The line through these points; none where they have fewer than two different places.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    if spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let slope = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
    let rest = |point: &(f64, f64)| point.1 - y - slope * (point.0 - x);
    let squares: f64 = points.iter().map(|point| rest(point).powi(2)).sum();
    let interval = points.len().checked_sub(2).filter(|freedom| *freedom > 0).map(|freedom| {
        let half = student(freedom, Confidence::P95) * (squares / freedom as f64 / spread).sqrt();
        (slope - half, slope + half)
    });
    Some(Line { slope, interval, farthest: points.iter().map(|point| rest(point).abs()).fold(0.0, f64::max) })
}

/// A mean over values that come in clusters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mean {
    pub(crate) value: f64,
    /// 95 % interval; absent where all values are of one cluster.
    pub(crate) interval: Option<(f64, f64)>,
    /// Number of values.
    pub(crate) count: usize,
    /// Number of clusters.
    pub(crate) clusters: usize,
}

/// The mean of all values, each counting alike. Values of one cluster are taken to vary together, so the interval is over the clusters: the
/// cluster-robust standard error of a mean (Liang and Zeger 1986) with Student's t at clusters - 1 degrees of freedom.
pub(crate) fn mean(clusters: &[Vec<f64>]) -> Option<Mean> {
    let clusters: Vec<&Vec<f64>> = clusters.iter().filter(|values| !values.is_empty()).collect();
    let count: usize = clusters.iter().map(|values| values.len()).sum();
    if count == 0 {
        return None;
    }
    let value = clusters.iter().map(|values| values.iter().sum::<f64>()).sum::<f64>() / count as f64;
    let several = clusters.len();
    let interval = (several > 1).then(|| {
        let squares: f64 = clusters.iter().map(|values| values.iter().map(|one| one - value).sum::<f64>().powi(2)).sum();
        let error = (squares * several as f64 / (several - 1) as f64).sqrt() / count as f64;
        let half = student(several - 1, Confidence::P95) * error;
        (value - half, value + half)
    });
    Some(Mean { value, interval, count, clusters: several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_agrees_with_a_worked_example() {
        // By hand: x 1 to 5, y 2 4 5 4 5: slope 0.6, residual sum of squares 2.4, standard error sqrt(2.4 / 3 / 10).
        let points = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0), (4.0, 4.0), (5.0, 5.0)];
        let line = line(&points).unwrap();
        assert!((line.slope - 0.6).abs() < 1e-12);
        let (low, high) = line.interval.unwrap();
        let half = 3.182_446 * (0.08f64).sqrt();
        assert!((low - (0.6 - half)).abs() < 1e-9 && (high - (0.6 + half)).abs() < 1e-9, "{low} {high}");
        // The third point lies at 5 where the line has 4, the others nearer.
        assert!((line.farthest - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_line_needs_two_places_and_an_interval_three_points() {
        assert_eq!(line(&[]), None);
        assert_eq!(line(&[(1.0, 2.0), (1.0, 3.0)]), None);
        let two = line(&[(1.0, 2.0), (2.0, 4.0)]).unwrap();
        assert_eq!((two.slope, two.interval), (2.0, None));
    }

    #[test]
    fn a_mean_of_single_values_is_the_usual_one() {
        // 1 2 3 4: mean 2.5, standard deviation 1.29099, standard error 0.645497, t of 3 degrees 3.182446.
        let mean = mean(&[vec![1.0], vec![2.0], vec![3.0], vec![4.0]]).unwrap();
        let (low, high) = mean.interval.unwrap();
        assert_eq!((mean.value, mean.count, mean.clusters), (2.5, 4, 4));
        assert!((high - low - 2.0 * 3.182_446 * 0.645_497).abs() < 1e-5);
    }

    #[test]
    fn values_of_one_cluster_are_no_independent_evidence() {
        let apart = mean(&[vec![1.0], vec![1.0], vec![3.0], vec![3.0]]).unwrap();
        let together = mean(&[vec![1.0, 1.0], vec![3.0, 3.0]]).unwrap();
        let width = |mean: Mean| mean.interval.map(|(low, high)| high - low).unwrap();
        assert_eq!((apart.value, together.value), (2.0, 2.0));
        assert!(width(together) > 3.0 * width(apart));
        assert_eq!(mean(&[vec![1.0, 2.0]]).unwrap().interval, None);
        assert_eq!(mean(&[vec![], vec![]]), None);
    }
}
