//! Outputs whose rows tell of classes: probabilities, their logarithms, or logits.
//!
//! An error in such a row matters by what it does to the distribution, which the largest difference does not show: a logit may be off by
//! one far below the top and change nothing. So two more figures are taken against the exact row: the Kullback-Leibler divergence
//! (Kullback and Leibler 1951), and whether the same class comes first.

use crate::descriptor::{Descriptor, Dim};

/// What the values of a row over classes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// They sum to one.
    Probabilities,
    /// Natural logarithms of such.
    LogProbabilities,
    /// What a softmax makes probabilities of.
    Logits,
}

impl Scores {
    /// What a variant's output rows are; `None` where their values are not about classes.
    pub fn of(descriptor: &Descriptor) -> Option<Self> {
        let Some(Dim::Axis("classes" | "vocabulary")) = descriptor.output.last() else { return None };
        Some(match descriptor.task {
            "softmax" => Self::Probabilities,
            "softmax/log" | "output/log-probabilities" => Self::LogProbabilities,
            _ => Self::Logits,
        })
    }

    /// Logarithms of the probabilities that a row stands for, which need not sum to one yet.
    fn logarithms(self, row: &[f64]) -> Vec<f64> {
        match self {
            Self::Probabilities => row.iter().map(|value| value.ln()).collect(),
            Self::LogProbabilities | Self::Logits => row.to_vec(),
        }
    }

    /// The Kullback-Leibler divergence of `output` from `exact` in nats, each brought to the sum of one first: low precisions miss it.
    /// Infinite where the output gives nothing to a class that has a share; not a number where a value is none.
    pub fn divergence(self, output: &[f64], exact: &[f64]) -> f64 {
        let (output, exact) = (normalised(self.logarithms(output)), normalised(self.logarithms(exact)));
        let term = |(q, p): (&f64, &f64)| if *p == f64::NEG_INFINITY && !q.is_nan() { 0.0 } else { p.exp() * (p - q) };
        let sum: f64 = output.iter().zip(&exact).map(term).sum();
        // It is never negative but for the rounding of the sum.
        if sum < 0.0 { 0.0 } else { sum }
    }
}

/// Subtracts the logarithm of the sum. A row of nothing but zero probabilities (all masked) stays as it is.
fn normalised(mut logarithms: Vec<f64>) -> Vec<f64> {
    let largest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_finite() {
        let sum: f64 = logarithms.iter().map(|value| (value - largest).exp()).sum();
        let shift = largest + sum.ln();
        logarithms.iter_mut().for_each(|value| *value -= shift);
    }
    logarithms
}

/// Does the output put a class first that is first in the exact row (one of the first, where several tie)?
pub fn same_first(output: &[f64], exact: &[f64]) -> bool {
    let largest = |row: &[f64]| row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (first, top) = (largest(output), largest(exact));
    let chosen = output.iter().position(|value| *value == first);
    !output.iter().any(|value| value.is_nan()) && chosen.is_some_and(|at| exact[at] == top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{entries, find};

    #[test]
    fn rows_over_classes_are_known_by_their_last_side() {
        let of = |variant: &str| Scores::of(find(variant).unwrap().descriptor);
        assert_eq!(of("softmax/stable"), Some(Scores::Probabilities));
        assert_eq!(of("softmax/sparsemax"), Some(Scores::Probabilities));
        assert_eq!(of("softmax/log-softmax"), Some(Scores::LogProbabilities));
        assert_eq!(of("softmax/output-dense"), Some(Scores::LogProbabilities));
        assert_eq!(of("model/decoder"), Some(Scores::Logits));
        for other in ["softmax/top-k-fused", "softmax/cross-entropy", "attention/dense", "model/encoder"] {
            assert_eq!(of(other), None, "{other}");
        }
        // Logits are what models end in: a softmax or output layer has gone on from there, whatever its task is called.
        let mut logits = entries().into_iter().filter(|entry| Scores::of(entry.descriptor) == Some(Scores::Logits));
        assert!(logits.all(|entry| entry.descriptor.family() == "model"));
    }

    #[test]
    fn the_divergence_is_that_of_the_textbook_in_every_form() {
        // KL((1/2, 1/2) || (1/4, 3/4)) = ln(2/sqrt 3).
        let expected = (2.0 / 3f64.sqrt()).ln();
        let (exact, output) = ([0.5, 0.5], [0.25, 0.75]);
        let logs = |row: [f64; 2]| row.map(f64::ln);
        for (scores, output, exact) in [
            (Scores::Probabilities, output, exact),
            // What misses the sum of one is brought there.
            (Scores::Probabilities, output.map(|value| 1.01 * value), exact),
            (Scores::LogProbabilities, logs(output), logs(exact)),
            (Scores::Logits, logs(output).map(|value| value + 7.0), logs(exact).map(|value| value - 3.0)),
        ] {
            let divergence = scores.divergence(&output, &exact);
            assert!((divergence - expected).abs() < 1e-12, "{scores:?}: {divergence}");
        }
        assert_eq!(Scores::Probabilities.divergence(&exact, &exact), 0.0);
    }

    #[test]
    fn what_gets_nothing_is_infinitely_far_and_what_is_masked_is_not() {
        let of = |output: &[f64], exact: &[f64]| Scores::Probabilities.divergence(output, exact);
        assert_eq!(of(&[1.0, 0.0], &[0.5, 0.5]), f64::INFINITY);
        assert_eq!(of(&[0.5, 0.5], &[1.0, 0.0]), 2f64.ln());
        assert_eq!(of(&[0.0, 0.0], &[0.0, 0.0]), 0.0);
        assert!(of(&[f64::NAN, 1.0], &[0.0, 1.0]).is_nan());
    }

    #[test]
    fn the_first_class_may_be_any_of_those_that_tie() {
        assert!(same_first(&[0.1, 0.7, 0.2], &[0.2, 0.5, 0.3]));
        assert!(!same_first(&[0.7, 0.1, 0.2], &[0.2, 0.5, 0.3]));
        assert!(same_first(&[0.1, 0.7, 0.2], &[0.4, 0.4, 0.2]));
        assert!(!same_first(&[f64::NAN, 0.7, 0.2], &[0.2, 0.5, 0.3]));
        assert!(!same_first(&[], &[]));
    }
}
