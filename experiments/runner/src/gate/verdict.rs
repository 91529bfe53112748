//! What pairs of fresh processes show: a test, an interval, and a verdict a cell.
//!
//! Evidence is the logarithm of head's time over base's, one figure for each pair of processes; of more pairs than [`MOST_FIGURES`], that many figures, each the mean of neighbours. The *test* is the sign-flip test of the
//! mean: if nothing changed, each figure could as well have the other sign, so the share of all sign patterns with a sum at least as large is
//! its probability. It takes no distribution for granted, and is exact. A figure counts in it as twice the median figure's size at most: a process that the kernel gave unlucky
//! pages is 25 to 50 % slower for as long as it lives, and one such pair in fifteen would hide a change of 5 % in all the others. (The limit depends on sizes alone, so the test stays exact. Where
//! one pair in twenty-five is so and the others have 1.2 %, a simulated change of 5 % is certain in 97 of 100 cells of fifteen pairs, and in 75 without the limit.) The *interval* is Student's t on the same figures, at 98 %: it lies
//! below a change of just the minimum effect once in a hundred, in the screening and once more in the confirmation, so that such a cell passes in two gates of a
//! hundred at most (of normal figures).
//!
//! | verdict | where |
//! |---|---|
//! | regressed, improved | the corrected probability is below [`LEVEL`], the mean beyond half of the minimum effect, and the interval does not exclude the minimum effect |
//! | pass | the interval excludes the minimum effect on both sides |
//! | inconclusive | neither: it could have seen no less than `seen` |
//! | not-compared | there are no two builds to compare: neither has the cell, it belongs to another program, or the runs of one side do not tell |
//!
//! The minimum effect is what a change must have to be worth a failed build. Asking the whole interval to lie beyond it would find a change
//! of just that size every other time; so it is enough that the interval reaches it, that the change is certain, and that it is no mere shadow
//! of it. A certain change whose interval stays below the minimum effect passes: that is what the minimum is for.

use crossover_results::statistics::{Confidence, student};

use crate::commands::text::counted;
use crate::statistics::Summary;

/// The probability of a false alarm over all cells of a gate together.
pub const LEVEL: f64 = 0.01;

/// A figure of the test is not larger than the median one by more than this factor.
const LARGEST: f64 = 2.0;

/// Figures for which all sign patterns are gone through.
pub const MOST_FIGURES: usize = 20;

/// The fewest figures that, all on one side, are certain after the correction for so many cells; none where even [`MOST_FIGURES`] are too few.
pub fn least_figures(cells: usize) -> Option<usize> {
    (1..=MOST_FIGURES).find(|figures| cells as f64 * 2.0 * 0.5f64.powi(*figures as i32) < LEVEL)
}

/// What became of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing as large as the minimum effect.
    Pass,
    /// Faster.
    Improved,
    /// Slower.
    Regressed,
    /// The pairs do not tell.
    Inconclusive,
    /// There were no two builds to compare: nothing is known of it.
    NotCompared,
}

impl Verdict {
    /// In the order in which they are told.
    pub const ALL: [Self; 5] = [Self::Regressed, Self::Inconclusive, Self::Improved, Self::Pass, Self::NotCompared];

    /// The name used in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
            Self::NotCompared => "not-compared",
        }
    }

    /// 0 pass or improved, 1 regressed, 4 where nothing could be told.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass | Self::Improved => 0,
            Self::Regressed => 1,
            Self::Inconclusive | Self::NotCompared => 4,
        }
    }
}

/// The verdict over all: a regression before all else, then what could not be told, then a gain. Where nothing was compared nothing is known,
/// and that is no pass.
pub fn overall(verdicts: impl Iterator<Item = Verdict> + Clone) -> Verdict {
    let order = [Verdict::Regressed, Verdict::Inconclusive, Verdict::Improved, Verdict::Pass];
    order.into_iter().find(|verdict| verdicts.clone().any(|one| one == *verdict)).unwrap_or(Verdict::Inconclusive)
}

/// How many there are of each, in words: `1 regressed, 2 pass of 3 cells`, and what was not compared behind them.
pub fn counts(verdicts: &[Verdict], noun: &str) -> String {
    let count = |verdict: Verdict| verdicts.iter().filter(|one| **one == verdict).count();
    let told = Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::NotCompared);
    let told = told.map(|verdict| (count(verdict), verdict.name())).filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, name)| format!("{count} {name}")).collect();
    let all = counted(verdicts.len() as u64, noun);
    let told = if told.is_empty() { format!("none of {all}") } else { format!("{} of {all}", told.join(", ")) };
    match count(Verdict::NotCompared) {
        0 => told,
        others => format!("{told}; not compared: {others}"),
    }
}

/// What the pairs of one cell show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Pairs.
    pub pairs: usize,
    /// Mean logarithm of head's time over base's, over the figures.
    pub log: f64,
    /// Half the width of its 98 % interval; infinite for fewer than two pairs.
    pub half_width: f64,
    /// Two-sided probability of so much, if nothing had changed.
    pub p_value: f64,
}

impl Evidence {
    /// Of the logarithms of the pairs.
    pub fn of(logs: &[f64]) -> Self {
        let (pairs, count) = (logs.len(), logs.len().min(MOST_FIGURES));
        let figures: Vec<f64> = (0..count).map(|at| mean(&logs[at * pairs / count..(at + 1) * pairs / count])).collect();
        let half_width = match figures.len() {
            0 | 1 => f64::INFINITY,
            count => student(count - 1, Confidence::P98) * deviation(&figures) / (count as f64).sqrt(),
        };
        Self { pairs: logs.len(), log: mean(&figures), half_width, p_value: sign_flips(&limited(&figures)) }
    }

    /// Head's time over base's.
    pub fn ratio(&self) -> f64 {
        self.log.exp()
    }

    /// The 98 % interval of that.
    pub fn interval(&self) -> (f64, f64) {
        ((self.log - self.half_width).exp(), (self.log + self.half_width).exp())
    }

    /// The smallest change that it could have told from none.
    pub fn seen(&self) -> f64 {
        self.half_width.exp() - 1.0
    }

    /// True if it excludes a change of the minimum effect, in either direction.
    pub fn excludes(&self, min_effect: f64) -> bool {
        self.log.abs() + self.half_width < min_effect.ln_1p()
    }

    /// The verdict, where the probability corrected for the number of cells is `corrected`.
    pub fn verdict(&self, corrected: f64, min_effect: f64) -> Verdict {
        let least = min_effect.ln_1p();
        if !self.log.is_finite() {
            Verdict::Inconclusive
        } else if self.excludes(min_effect) {
            Verdict::Pass
        } else if corrected >= LEVEL || self.log.abs() < least / 2.0 {
            Verdict::Inconclusive
        } else if self.log > 0.0 {
            Verdict::Regressed
        } else {
            Verdict::Improved
        }
    }
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

/// The standard deviation that these are a sample of; not a number of fewer than two.
pub fn deviation(of: &[f64]) -> f64 {
    if of.len() < 2 {
        return f64::NAN;
    }
    let middle = mean(of);
    (of.iter().map(|one| (one - middle).powi(2)).sum::<f64>() / (of.len() as f64 - 1.0)).sqrt()
}

/// With sizes of at most [`LARGEST`] times the median size.
fn limited(figures: &[f64]) -> Vec<f64> {
    let median = Summary::of(figures.iter().map(|one| one.abs())).map_or(0.0, |summary| summary.median);
    // Not `clamp`, which does not take a limit that is no number.
    figures.iter().map(|one| one.max(-LARGEST * median).min(LARGEST * median)).collect()
}

/// The share of all patterns of signs that bring a sum at least as far from 0 as that of these figures.
fn sign_flips(logs: &[f64]) -> f64 {
    debug_assert!(logs.len() <= MOST_FIGURES, "{} figures have too many patterns", logs.len());
    let Some((first, others)) = logs.split_first() else { return 1.0 };
    let observed = logs.iter().sum::<f64>().abs();
    // Rounding must not make the pattern itself fall short of itself.
    let enough = observed * (1.0 - 1e-12);
    // All signs turned give the same distance: the first may stay. Each pattern differs from the one before by one sign (Gray's code).
    let patterns = 1u64 << others.len();
    let mut signs = vec![1.0; others.len()];
    let mut sum = first + others.iter().sum::<f64>();
    let mut as_far = u64::from(sum.abs() >= enough);
    for pattern in 1..patterns {
        let at = pattern.trailing_zeros() as usize;
        sum -= 2.0 * signs[at] * others[at];
        signs[at] = -signs[at];
        as_far += u64::from(sum.abs() >= enough);
    }
    as_far as f64 / patterns as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_flips_by_hand() {
        assert_eq!(sign_flips(&[]), 1.0);
        assert_eq!(sign_flips(&[0.3]), 1.0);
        // Of four patterns of two signs, those that keep 3 + 4 and its opposite are as far.
        assert_eq!(sign_flips(&[3.0, 4.0]), 0.5);
        assert_eq!(sign_flips(&[1.0; 10]), 2.0 / 1024.0);
        // 1 + 2 + 3 - 4 = 2: sums of at least 2 in size are 10, 8, 6, 4, 4, 2, 2 and their opposites, of 16; one pair is 0.
        assert_eq!(sign_flips(&[1.0, 2.0, 3.0, -4.0]), 14.0 / 16.0);
        let twice: Vec<f64> = (0..MOST_FIGURES).map(|at| if at % 2 == 0 { 0.01 } else { 0.012 }).collect();
        assert_eq!(sign_flips(&twice), 2.0 / (1u64 << MOST_FIGURES) as f64);
    }

    #[test]
    fn one_process_with_unlucky_pages_hides_nothing() {
        let mut figures = vec![0.05; 14];
        figures.push(-0.3);
        assert_eq!(limited(&figures).last(), Some(&-0.1));
        // The figures have a sum of 0.6. So do those with the last sign turned and two others, and fewer turned have more.
        let patterns = f64::from(1 + (1 + 14 + 91));
        assert!((Evidence::of(&figures).p_value - 2.0 * patterns / f64::from(1 << 15)).abs() < 1e-12);
        assert!(sign_flips(&figures) > LEVEL);
        assert_eq!(limited(&[0.0, 0.0, 0.3]), [0.0; 3]);
        assert!(limited(&[]).is_empty());
    }

    #[test]
    fn an_interval_is_students() {
        // Mean 0.05, standard deviation 0.01, four pairs: 4.541 times 0.005.
        let evidence = Evidence::of(&[0.05 - 0.01, 0.05 + 0.01, 0.05 - 0.007_071_067_8, 0.05 + 0.007_071_067_8]);
        assert!((evidence.log - 0.05).abs() < 1e-12 && (evidence.half_width - 4.540_703 * 0.005).abs() < 1e-6, "{evidence:?}");
        assert_eq!(Evidence::of(&[0.1]).half_width, f64::INFINITY);
        assert_eq!(Evidence::of(&[]).p_value, 1.0);
        assert!(deviation(&[0.1]).is_nan() && deviation(&[]).is_nan());
    }

    #[test]
    fn of_many_pairs_neighbours_make_one_figure() {
        let figures: Vec<f64> = (0..MOST_FIGURES).map(|at| 0.05 + 0.001 * at as f64).collect();
        let pairs: Vec<f64> = figures.iter().flat_map(|figure| [figure + 0.3, figure - 0.3]).collect();
        let (of_pairs, of_figures) = (Evidence::of(&pairs), Evidence::of(&figures));
        assert_eq!((of_pairs.pairs, of_pairs.p_value), (2 * MOST_FIGURES, of_figures.p_value));
        assert!(
            (of_pairs.log - of_figures.log).abs() < 1e-12 && (of_pairs.half_width - of_figures.half_width).abs() < 1e-12,
            "{of_pairs:?}"
        );
    }

    #[test]
    fn more_pairs_are_never_less_certain() {
        let p_values: Vec<f64> = (1..=3 * MOST_FIGURES).map(|pairs| Evidence::of(&vec![0.05; pairs]).p_value).collect();
        assert!(p_values.is_sorted_by(|fewer, more| fewer >= more), "{p_values:?}");
        // Of 21 pairs the last two make one figure.
        let mut pairs = vec![0.05; MOST_FIGURES - 1];
        pairs.extend([0.25, -0.15]);
        assert!((Evidence::of(&pairs).log - 0.05).abs() < 1e-12 && Evidence::of(&pairs).half_width < 1e-12);
    }

    #[test]
    fn the_least_figures_of_which_anything_is_certain() {
        assert_eq!([1, 2, 5, 6, 10, 40, 100, 5_242].map(least_figures), [8, 9, 10, 11, 11, 13, 15, 20].map(Some));
        assert_eq!(least_figures(5_243), None);
    }

    #[test]
    fn what_was_not_compared_is_no_pass_and_is_counted_apart() {
        use Verdict::{Improved, Inconclusive, NotCompared, Pass, Regressed};
        for (all, verdict, told) in [
            (&[Pass, NotCompared, Regressed][..], Regressed, "1 regressed, 1 pass of 3 cells; not compared: 1"),
            (&[Improved, NotCompared], Improved, "1 improved of 2 cells; not compared: 1"),
            (&[Pass], Pass, "1 pass of 1 cell"),
            (&[NotCompared, NotCompared], Inconclusive, "none of 2 cells; not compared: 2"),
            (&[], Inconclusive, "none of 0 cells"),
        ] {
            assert_eq!((overall(all.iter().copied()), counts(all, "cell").as_str()), (verdict, told));
        }
        assert_eq!(NotCompared.exit_code(), 4);
    }

    #[test]
    fn each_verdict() {
        let of = |log: f64, half_width: f64| Evidence { pairs: 20, log, half_width, p_value: 0.0 };
        let verdict = |log, half_width, p| of(log, half_width).verdict(p, 0.05);
        assert_eq!(verdict(0.0, 0.01, 0.9), Verdict::Pass);
        // Certain, and smaller than what would matter.
        assert_eq!(verdict(0.02, 0.005, 1e-6), Verdict::Pass);
        // Of just the minimum effect.
        assert_eq!(verdict(0.05, 0.01, 1e-6), Verdict::Regressed);
        assert_eq!(verdict(-0.05, 0.01, 1e-6), Verdict::Improved);
        assert_eq!(verdict(0.2, 0.01, 1e-6), Verdict::Regressed);
        // Much noise, or a probability that is not small after its correction.
        assert_eq!(verdict(0.02, 0.2, 0.8), Verdict::Inconclusive);
        assert_eq!(verdict(0.2, 0.1, 0.06), Verdict::Inconclusive);
        // No figure at all.
        assert_eq!(verdict(f64::NAN, f64::NAN, 0.0), Verdict::Inconclusive);
        // A shadow of the minimum effect in an interval that holds it.
        assert_eq!(verdict(0.02, 0.04, 0.01), Verdict::Inconclusive);
        assert!((of(0.0, 0.1).seen() - 0.105_170_9).abs() < 1e-6);
    }
}
