//! How much a gate is to measure: pairs, time, and what a change must have to be worth a word.
//!
//! How many pairs confirm a suspect hangs on how noisy its screening was: the time goes where the noise is.

use std::time::Duration;

use crate::definition::Measure;

use super::pair::Design;
use super::verdict::{MOST_FIGURES, least_figures};

/// Figures beyond those of which a change can be certain at all, so that one or two may come out on the wrong side.
const SPARE_FIGURES: usize = 2;
/// A change of the minimum effect is to be so many standard errors from none: four make it certain after the correction for forty cells, and two more nearly always.
const STANDARD_ERRORS: f64 = 6.0;
/// Five pairs may lie closer together than most do.
const CAUTION: f64 = 1.5;

/// How much is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// A change of this share is worth a failed build.
    pub min_effect: f64,
    /// Pairs of the screening.
    pub screening: usize,
    /// The most pairs that confirm a suspect.
    pub confirmation: usize,
    /// When to stop.
    pub budget: Option<Duration>,
    /// How a pair is measured.
    pub design: Design,
    /// What the experiment says of deadlines.
    pub measure: Measure,
    /// Decides the order of everything.
    pub seed: u64,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            min_effect: 0.05,
            screening: 5,
            confirmation: 2 * MOST_FIGURES,
            budget: None,
            design: Design::default(),
            measure: Measure::default(),
            seed: 1,
        }
    }
}

impl Asked {
    /// How many pairs confirm each of so many suspects, whose pairs in the screening had this standard deviation (not a number where there were no two).
    pub(super) fn pairs_to_confirm(&self, suspects: usize, deviation: f64) -> usize {
        let least = least_figures(suspects).map_or(MOST_FIGURES, |least| MOST_FIGURES.min(least + SPARE_FIGURES));
        let wanted = (STANDARD_ERRORS * CAUTION * deviation / self.min_effect.ln_1p()).powi(2);
        // What is not a number is not known to be quiet.
        let wanted = if wanted.is_nan() { self.confirmation } else { wanted.ceil() as usize };
        wanted.max(least).min(self.confirmation)
    }

    /// With less than this no cell of so many can be judged: they take turns, and the screening comes first.
    pub fn least_budget(&self, cells: usize) -> Duration {
        self.design.timing * u32::try_from(self.screening * cells).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noisier_suspects_are_confirmed_by_more_pairs() {
        let asked = Asked::default();
        let pairs = |deviation| asked.pairs_to_confirm(40, deviation);
        assert_eq!([0.0, 0.01, 0.022, 0.024, 0.025, 0.1, f64::NAN].map(pairs), [15, 15, 17, 20, 22, 40, 40]);
        assert_eq!((asked.pairs_to_confirm(1, 0.0), asked.pairs_to_confirm(1_000_000, 0.0)), (10, 20));
        assert_eq!(Asked { confirmation: 0, ..asked }.pairs_to_confirm(1, 0.0), 0);
    }
}
