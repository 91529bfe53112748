//! Series of which it is known where they changed.

use proptest::prelude::*;

use super::change_points::{NotFinite, Random, Search, change_points};

const SEARCH: Search = Search { level: 0.05, shortest: 5, seed: 1 };

impl Random {
    /// About normal with a standard deviation of 1: twelve uniform ones (Irwin and Hall).
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }
}

/// Noise of a standard deviation of 1 about these levels, each for so many points.
fn noisy(seed: u64, levels: &[(f64, usize)]) -> Vec<f64> {
    let mut random = Random(seed);
    levels.iter().flat_map(|(level, count)| std::iter::repeat_n(*level, *count)).map(|level| level + random.normal()).collect()
}

fn places(series: &[f64], search: &Search) -> Vec<usize> {
    change_points(series, search).unwrap().iter().map(|change| change.at).collect()
}

/// The share of 300 series of noise that are said to have changed must be what is stated. Beyond 27 the true rate would be above 5 % with a
/// probability of less than one in a thousand (binomial); none at all would mean that nothing is ever found.
#[test]
fn noise_changes_as_seldom_as_stated() {
    let alarms = |of: &dyn Fn(u64) -> Vec<f64>| (0..300).filter(|seed| !places(&of(*seed), &SEARCH).is_empty()).count();
    let normal = alarms(&|seed| noisy(seed, &[(0.0, 40)]));
    // Mostly quiet, with one figure of ten far off: nothing about a distribution is taken for granted.
    let wild = alarms(&|seed| noisy(1000 + seed, &[(0.0, 40)]).iter().map(|x| if x.abs() > 1.65 { 20.0 * x } else { *x }).collect());
    // Half of the figures are equal to others.
    let tied = alarms(&|seed| noisy(2000 + seed, &[(0.0, 40)]).iter().map(|x| x.round()).collect());
    for count in [normal, wild, tied] {
        assert!((1..=27).contains(&count), "{normal}, {wild}, {tied} of 300");
    }
}

#[test]
fn a_step_of_three_deviations_is_found_at_its_place() {
    let mut exact = 0;
    for seed in 0..40 {
        let found = change_points(&noisy(seed, &[(0.0, 30), (3.0, 20)]), &Search { level: 0.001, ..SEARCH }).unwrap();
        assert!(!found.is_empty() && found[0].p <= 0.001, "{seed}: {found:?}");
        assert!(found.iter().any(|change| change.at.abs_diff(30) <= 2), "{seed}: {found:?}");
        exact += usize::from(found.iter().any(|change| change.at == 30));
    }
    assert!(exact >= 28, "{exact} of 40");
}

#[test]
fn two_steps_are_found_also_where_the_second_undoes_the_first() {
    for levels in [[0.0, 4.0, 8.0], [0.0, 4.0, 0.0], [0.0, -4.0, 3.0]] {
        for seed in 0..10 {
            let series = noisy(seed, &[(levels[0], 25), (levels[1], 12), (levels[2], 25)]);
            let found = places(&series, &Search { level: 0.002, ..SEARCH });
            assert_eq!(found.len(), 2, "{levels:?} {seed}: {found:?}");
            assert!(found[0].abs_diff(25) <= 1 && found[1].abs_diff(37) <= 1, "{levels:?} {seed}: {found:?}");
        }
    }
}

#[test]
fn outliers_are_no_change_and_do_not_hide_one() {
    let strict = Search { level: 0.01, ..SEARCH };
    let mut quiet = noisy(3, &[(0.0, 50)]);
    (quiet[20], quiet[33]) = (40.0, -60.0);
    assert_eq!(places(&quiet, &strict), [0; 0]);
    let mut step = noisy(4, &[(0.0, 25), (5.0, 25)]);
    (step[8], step[40]) = (30.0, -20.0);
    assert_eq!(places(&step, &strict), [25]);
}

#[test]
fn what_cannot_change_did_not() {
    assert_eq!(places(&[], &SEARCH), [0; 0]);
    assert_eq!(places(&[7.25; 60], &SEARCH), [0; 0]);
    // Too short for two stretches, however far apart they are; long enough with one point more.
    let steep = |count: usize| (0..count).map(|point| if point < 5 { 0.0 } else { 1000.0 }).collect::<Vec<f64>>();
    assert_eq!(places(&steep(9), &SEARCH), [0; 0]);
    assert_eq!(places(&steep(10), &SEARCH), [5]);
    // Two values only, in no order.
    let coin: Vec<f64> = (0..60u32).map(|point| f64::from((point * 7 % 11) & 1)).collect();
    assert_eq!(places(&coin, &Search { level: 0.01, ..SEARCH }), [0; 0]);
}

#[test]
fn steps_between_equal_figures_are_at_their_place() {
    let series: Vec<f64> = [1.0; 12].into_iter().chain([2.0; 8]).chain([1.0; 10]).collect();
    assert_eq!(places(&series, &Search { level: 0.01, ..SEARCH }), [12, 20]);
}

#[test]
fn a_figure_that_is_none_is_refused_by_its_place() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(change_points(&[1.0, bad, 2.0], &SEARCH), Err(NotFinite { at: 1 }));
    }
    assert_eq!(NotFinite { at: 1 }.to_string(), "figure 2 of the series is not finite");
}

#[test]
fn the_same_series_has_the_same_answer() {
    let series = noisy(5, &[(0.0, 30), (1.0, 30)]);
    let of = |seed| change_points(&series, &Search { seed, ..SEARCH }).unwrap();
    assert_eq!(of(1), of(1));
}

/// The best split by the formula alone: every pair of every two stretches.
fn by_hand(series: &[f64], shortest: usize) -> (f64, usize) {
    let mean = |a: &[f64], b: &[f64]| a.iter().flat_map(|x| b.iter().map(move |y| (x - y).abs())).sum::<f64>() / (a.len() * b.len()) as f64;
    // Pairs of a point with itself have no distance, and are not counted.
    let own = |a: &[f64]| mean(a, a) * a.len() as f64 / (a.len() - 1) as f64;
    let mut best = (f64::NEG_INFINITY, 0);
    for end in 2 * shortest..=series.len() {
        for border in shortest..=end - shortest {
            let (a, b) = (&series[..border], &series[border..end]);
            let (m, k) = (a.len() as f64, b.len() as f64);
            let energy = m * k / (m + k) * (2.0 * mean(a, b) - own(a) - own(b));
            if energy > best.0 {
                best = (energy, border);
            }
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_running_sums_are_those_of_all_pairs(series in prop::collection::vec(-1e3f64..1e3, 6..40), shortest in 2usize..4) {
        let (energy, _) = by_hand(&series, shortest);
        let (found, at) = super::change_points::best_split(&series, shortest).unwrap();
        prop_assert!((found - energy).abs() <= 1e-9 * energy.abs().max(1.0), "{found} is not {energy}");
        prop_assert!(at >= shortest && at + shortest <= series.len());
    }

    #[test]
    fn whatever_the_figures_stretches_are_long_enough_and_scale_changes_nothing(
        series in prop::collection::vec(prop_oneof![Just(0.0), -1e3f64..1e3], 0..60),
        shift in -8.0f64..8.0,
    ) {
        let search = Search { level: 0.2, ..SEARCH };
        let found = change_points(&series, &search).unwrap();
        let mut ends = vec![0];
        ends.extend(found.iter().map(|change| change.at));
        ends.push(series.len());
        prop_assert!(found.is_empty() || ends.windows(2).all(|pair| pair[1] >= pair[0] + 5), "{ends:?}");
        prop_assert!(found.iter().all(|change| change.p > 0.0 && change.p <= 0.2));
        // By a power of two: the same digits, so the same answer to the last bit.
        let scaled: Vec<f64> = series.iter().map(|figure| figure * shift.round().exp2()).collect();
        prop_assert_eq!(change_points(&scaled, &search).unwrap(), found);
    }
}
