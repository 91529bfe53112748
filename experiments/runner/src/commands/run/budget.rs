//! `--time-budget`: how long a run may take, and which cells still fit.

use std::time::{Duration, Instant};

use crate::progress::rough;

/// The time of one invocation, over all its experiments.
pub(super) struct TimeBudget {
    began: Instant,
    whole: Option<Duration>,
}

impl TimeBudget {
    /// Starts to count.
    pub(super) fn new(whole: Option<Duration>) -> Self {
        Self { began: Instant::now(), whole }
    }

    /// Is there an end to it?
    pub(super) fn is_limited(&self) -> bool {
        self.whole.is_some()
    }

    /// Why a cell that is predicted to take so long is not to be started, where it is not.
    pub(super) fn refuse(&self, predicted: Option<Duration>) -> Option<String> {
        refuse(self.whole?, self.began.elapsed(), predicted)
    }
}

fn refuse(whole: Duration, spent: Duration, predicted: Option<Duration>) -> Option<String> {
    let left = whole.saturating_sub(spent);
    if left.is_zero() {
        return Some(format!("the time budget of {} was spent; --resume runs this cell", rough(whole)));
    }
    let predicted = predicted.filter(|predicted| *predicted > left)?;
    let (whole, left, predicted) = (rough(whole), rough(left), rough(predicted));
    Some(format!("it is predicted to take {predicted}, and {left} are left of the time budget of {whole}; --resume runs this cell"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_refused_when_time_is_spent_or_it_would_not_fit() {
        let (whole, second) = (Duration::from_secs(60), Duration::from_secs(1));
        assert_eq!(refuse(whole, second, None), None);
        assert_eq!(refuse(whole, second, Some(59 * second)), None);
        assert!(refuse(whole, 50 * second, Some(20 * second)).unwrap().starts_with("it is predicted to take 20 s, and 10 s are left"));
        assert!(refuse(whole, 61 * second, None).unwrap().contains("of 60 s was spent"));
        assert_eq!(TimeBudget::new(None).refuse(Some(Duration::MAX)), None);
    }
}
