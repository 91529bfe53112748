//! What is needed to compare two sets of medians: ratios with standard errors, tests, and their correction for being many.
//!
//! A record has a median and the 95 % interval of it, and no more is used here. On the logarithmic scale the interval is taken for that of
//! a normal distribution, so its half width is 1.96 standard errors, and those of independent figures add as squares. This makes an interval
//! of the ratio and a test that agree with each other, which crosswise division of the ends (as in the report) does not give. It trades away the asymmetry
//! of the intervals of medians, which is small where the verdict is near.

use std::f64::consts::SQRT_2;

use libm::erfc;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A positive figure on the logarithmic scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    log: f64,
    /// Its standard error.
    error: f64,
}

impl Estimate {
    /// From a figure and its 95 % interval; none where these are not positive and in order.
    pub fn of(figure: f64, low: f64, high: f64) -> Option<Self> {
        let is_in_order = 0.0 < low && low <= high && 0.0 < figure && high.is_finite() && figure.is_finite();
        is_in_order.then(|| Self { log: figure.ln(), error: (high / low).ln() / (2.0 * Z) })
    }

    /// This over that, where both are independent.
    pub fn over(self, other: Self) -> Self {
        Self { log: self.log - other.log, error: self.error.hypot(other.error) }
    }

    /// The 95 % interval.
    pub fn interval(self) -> (f64, f64) {
        ((self.log - Z * self.error).exp(), (self.log + Z * self.error).exp())
    }

    /// Two-sided probability of such a figure, or one farther from 1, where the true one is 1.
    pub fn p_value(self) -> f64 {
        if self.log == 0.0 {
            return 1.0;
        }
        // An error of zero (a clock too coarse to see any spread) makes this infinite, and the probability zero.
        erfc(self.log.abs() / self.error / SQRT_2)
    }
}

/// Probabilities corrected for their number, in their order (Holm 1979, A simple sequentially rejective multiple test procedure): all that
/// stay below 5 % may be claimed together with an error of 5 % at most, whatever they have to do with each other.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut most: f64 = 0.0;
    for (rank, place) in order.into_iter().enumerate() {
        most = most.max(p_values[place] * (p_values.len() - rank) as f64).min(1.0);
        corrected[place] = most;
    }
    corrected
}

/// Of an interval: how often it has the true figure in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// 95 %: one in forty lies beyond either end.
    P95,
    /// 98 %: one in a hundred does.
    P98,
}

impl Confidence {
    /// The quantile of the normal distribution, and those of Student's t for 1 to 10 degrees of freedom, from any textbook's table.
    fn quantiles(self) -> (f64, [f64; 10]) {
        match self {
            Self::P95 => {
                (Z, [12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157, 2.228_139])
            }
            Self::P98 => (
                2.326_347_874_040_841,
                [31.820_516, 6.964_557, 4.540_703, 3.746_947, 3.364_930, 3.142_668, 2.997_952, 2.896_459, 2.821_438, 2.763_769],
            ),
        }
    }
}

/// By how many standard errors an interval reaches to either side, by Student's t. Beyond the table the Cornish-Fisher
/// expansion about the normal one (Abramowitz and Stegun 26.7.5), which is right to four digits from there on.
pub fn student(freedom: usize, confidence: Confidence) -> f64 {
    let Some(at) = freedom.checked_sub(1) else { return f64::INFINITY };
    let (normal, table) = confidence.quantiles();
    if let Some(known) = table.get(at) {
        return *known;
    }
    let (n, odd) = (freedom as f64, |power: i32| normal.powi(power));
    let terms = [
        (odd(3) + normal) / 4.0,
        (5.0 * odd(5) + 16.0 * odd(3) + 3.0 * normal) / 96.0,
        (3.0 * odd(7) + 19.0 * odd(5) + 17.0 * odd(3) - 15.0 * normal) / 384.0,
    ];
    normal + terms.iter().zip(1..).map(|(term, power)| term / n.powi(power)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64, within: f64) {
        assert!((value / expected - 1.0).abs() < within, "{value} is not {expected}");
    }

    #[test]
    fn an_interval_and_its_test_agree() {
        let (a, b) = (Estimate::of(100.0, 98.0, 102.0).unwrap(), Estimate::of(110.0, 107.0, 113.0).unwrap());
        let ratio = b.over(a);
        near(ratio.log.exp(), 1.1, 1e-12);
        // By hand: ln(102/98)/3.91993 = 0.0102056, ln(113/107)/3.91993 = 0.0139180, together 0.0172589; z = 0.0953102/0.0172589 = 5.52238.
        let (low, high) = ratio.interval();
        near(low, (0.095_310_2f64 - 1.959_964 * 0.017_258_9).exp(), 1e-5);
        near(high, (0.095_310_2f64 + 1.959_964 * 0.017_258_9).exp(), 1e-5);
        near(ratio.p_value(), 3.344e-8, 0.01);
        // At the very edge of the interval the probability is 5 %.
        near(Estimate { log: Z * 0.1, error: 0.1 }.p_value(), 0.05, 1e-9);
    }

    #[test]
    fn what_is_not_positive_has_no_logarithm() {
        assert_eq!(Estimate::of(0.0, 0.0, 1.0), None);
        assert_eq!(Estimate::of(1.0, 2.0, 1.0), None);
        assert_eq!(Estimate::of(1.0, 1.0, f64::INFINITY), None);
        let exact = |figure: f64| Estimate::of(figure, figure, figure).unwrap();
        assert_eq!(exact(2.0).over(exact(2.0)).p_value(), 1.0);
        assert_eq!(exact(2.0).over(exact(4.0)).p_value(), 0.0);
    }

    #[test]
    fn holm_by_hand() {
        // Sorted 0.01, 0.02, 0.03, 0.04 by 4, 3, 2, 1: 0.04, 0.06, 0.06 and 0.04, which may not fall below its forerunner.
        let corrected = holm(&[0.03, 0.01, 0.04, 0.02]);
        for (value, expected) in corrected.iter().zip([0.06, 0.04, 0.06, 0.06]) {
            near(*value, expected, 1e-12);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }

    #[test]
    fn students_quantiles_are_those_of_tables() {
        let tables = [
            (Confidence::P95, [(1, 12.706), (4, 2.776), (10, 2.228), (11, 2.201), (15, 2.131), (30, 2.042), (60, 2.000), (120, 1.980)]),
            (Confidence::P98, [(1, 31.821), (4, 3.747), (10, 2.764), (12, 2.681), (15, 2.602), (30, 2.457), (60, 2.390), (120, 2.358)]),
        ];
        for (confidence, table) in tables {
            for (freedom, known) in table {
                near(student(freedom, confidence), known, 3e-4);
            }
            // The table and the expansion meet.
            let at = |freedom| student(freedom, confidence);
            assert!(at(10) > at(11) && at(10) - at(11) < at(9) - at(10));
        }
        assert_eq!(student(0, Confidence::P95), f64::INFINITY);
    }
}
