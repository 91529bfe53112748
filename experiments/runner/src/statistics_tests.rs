//! The statistics against published values, against all resamples there are, and against many random ones.

use super::*;
use crate::schedule::random::Random;

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

#[test]
fn binomial_tails_agree_with_exact_values() {
    assert!(close(binomial_at_least(10, 0.5, 8), 56.0 / 1024.0, 1e-15));
    assert!(close(binomial_at_least(10, 0.5, 1), 1023.0 / 1024.0, 1e-15));
    // Sums of the terms in exact integers.
    assert!(close(binomial_at_least(20, 0.3, 10), 0.047_961_897_331_343_435, 1e-14));
    assert!(close(binomial_at_least(1000, 0.5, 520), 0.108_724_146_602_070_44, 1e-12));
    // Far out on either side nothing is lost or made up.
    assert_eq!(binomial_at_least(100_000, 0.5, 1), 1.0);
    assert!(binomial_at_least(100_000, 0.5, 60_000) < 1e-100);
}

#[test]
fn the_distribution_is_that_of_efrons_example() {
    // n = 13 is the case that Efron 1979, section 3, works out; the figures are sums of exact binomial terms.
    let expected = [(2, 0.0015), (3, 0.0142), (4, 0.0549), (5, 0.1243), (6, 0.1936), (7, 0.2229), (8, 0.1936), (12, 0.0015)];
    let up_to = |k: usize| binomial_at_least(13, k as f64 / 13.0, 7);
    for (k, probability) in expected {
        assert!(close(up_to(k) - up_to(k - 1), probability, 5e-5), "k = {k}: {}", up_to(k) - up_to(k - 1));
    }
}

/// The percentile interval from every resample of n values that there is.
fn exhaustive(sorted: &[f64]) -> (f64, f64) {
    let n = sorted.len();
    let mut medians = Vec::new();
    for mut code in 0..n.pow(n as u32) {
        let mut resample: Vec<f64> = (0..n)
            .map(|_| {
                let value = sorted[code % n];
                code /= n;
                value
            })
            .collect();
        resample.sort_unstable_by(f64::total_cmp);
        medians.push(resample[n / 2]);
    }
    medians.sort_unstable_by(f64::total_cmp);
    let at = |p: f64| medians[(p * medians.len() as f64).ceil() as usize - 1];
    (at(0.025), at(0.975))
}

#[test]
fn the_interval_is_that_of_all_resamples() {
    for values in [vec![1.0, 2.0, 4.0], vec![1.0, 3.0, 3.5, 7.0, 20.0], vec![1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0]] {
        let summary = Summary::of(values.iter().copied()).unwrap();
        assert_eq!((summary.low, summary.high), exhaustive(&values), "{values:?}");
    }
}

fn median_of(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[test]
fn the_interval_is_that_of_many_random_resamples() {
    let mut random = Random::new(5);
    for n in [10, 25, 40, 101] {
        let values: Vec<f64> = (0..n).map(|_| 1000.0 + random.below(1_000_000) as f64).collect();
        let mut medians: Vec<f64> =
            (0..20_000).map(|_| median_of(&mut (0..n).map(|_| values[random.below(n)]).collect::<Vec<_>>())).collect();
        medians.sort_unstable_by(f64::total_cmp);
        let summary = Summary::of(values.iter().copied()).unwrap();
        // The quantiles of 20,000 resamples are good to some 0.2 % of probability; for even n ours may be wider.
        let (slack, wider) = (0.004, if n % 2 == 0 { 0.02 } else { 0.0 });
        let share_below = medians.iter().filter(|&&m| m < summary.low).count() as f64 / 20_000.0;
        let share_up_to = medians.iter().filter(|&&m| m <= summary.low).count() as f64 / 20_000.0;
        assert!(share_below <= 0.025 + slack && share_up_to >= 0.025 - slack - wider, "n = {n}: {share_below} {share_up_to}");
        let share_above = medians.iter().filter(|&&m| m > summary.high).count() as f64 / 20_000.0;
        let share_from = medians.iter().filter(|&&m| m >= summary.high).count() as f64 / 20_000.0;
        assert!(share_above <= 0.025 + slack && share_from >= 0.025 - slack - wider, "n = {n}: {share_above} {share_from}");
    }
}

#[test]
fn the_interval_covers_the_true_median() {
    // Skewed data, as timings are: 1000 exp(x), x triangular around 0, so the true median is 1000.
    let mut random = Random::new(11);
    let mut uniform = || random.below(1 << 53) as f64 / (1u64 << 53) as f64;
    for n in [10, 25, 60] {
        let covered = (0..2000)
            .filter(|_| {
                let values: Vec<f64> = (0..n).map(|_| 1000.0 * (uniform() - uniform()).exp()).collect();
                let summary = Summary::of(values).unwrap();
                (summary.low..=summary.high).contains(&1000.0)
            })
            .count();
        let share = covered as f64 / 2000.0;
        assert!((0.92..=0.985).contains(&share), "n = {n}: {share}");
    }
}

#[test]
fn small_cases_by_hand() {
    assert_eq!(Summary::of([]), None);
    let one = Summary::of([7.0]).unwrap();
    assert_eq!((one.count, one.median, one.low, one.high, one.min, one.p95), (1, 7.0, 7.0, 7.0, 7.0, 7.0));
    assert_eq!(one.relative_half_width(), None, "one sample is never enough");
    let even = Summary::of([4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!((even.median, even.min), (2.5, 1.0));
    let hundred = Summary::of((1..=100).rev().map(f64::from)).unwrap();
    assert_eq!((hundred.median, hundred.p95), (50.5, 95.0));
    assert!(hundred.low < 50.0 && hundred.high > 51.0);
    // Nearest rank: the 20th of 20 is beyond 95 %, the 19th is it.
    assert_eq!(Summary::of((1..=20).map(f64::from)).unwrap().p95, 19.0);
}

#[test]
fn the_width_is_relative_to_the_median() {
    let alike = Summary::of([5.0; 6]).unwrap();
    assert_eq!(alike.relative_half_width(), Some(0.0));
    assert_eq!(Summary::of([0.0; 6]).unwrap().relative_half_width(), Some(0.0), "a clock that saw nothing");
    let wide = Summary { count: 10, median: 100.0, low: 98.0, high: 104.0, min: 1.0, p95: 1.0 };
    assert!(close(wide.relative_half_width().unwrap(), 0.03, 1e-12));
}
