//! Axes: where a value lies, and which values are written beside it.
//!
//! One type serves every picture, so that all have the same ticks: powers of two for sizes that double, 1-2-5 for figures, and names for
//! what is no number. A range is made from the values that are to be shown; what lies outside is drawn at the edge.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<(f64, String)>,
}

/// More than these crowd an axis.
const MOST_TICKS: usize = 9;

impl Scale {
    /// For sizes: logarithmic with powers of two where that is how they grow, else linear.
    pub(super) fn sizes(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = ends(values);
        if low <= 0.0 || high <= 1.0 || high / low < 3.0 {
            return Self::linear(low, high);
        }
        let margin = (high / low).powf(0.05);
        let (first, last) = ((low / margin).log2().ceil() as i32, (high * margin).log2().floor() as i32);
        if last <= first {
            return Self::log_between(low / margin, high * margin);
        }
        let step = ((last - first) as usize / MOST_TICKS + 1).max(1);
        let ticks = (first..=last).step_by(step).map(|power| (2f64.powi(power), 2f64.powi(power).to_string())).collect();
        Self { low: low / margin, high: high * margin, is_log: true, ticks }
    }

    /// For figures over orders of magnitude. Values that are not positive have no place on it, and are not looked at.
    pub(super) fn log(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (low, high) = ends(values.filter(|value| *value > 0.0));
        let margin = (high / low).powf(0.06).max(1.05);
        Self::log_between(low / margin, high * margin)
    }

    fn log_between(low: f64, high: f64) -> Self {
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let of = |digits: &[f64]| -> Vec<f64> {
            let all = decades.clone().flat_map(|decade| digits.iter().map(move |digit| digit * 10f64.powi(decade)));
            all.filter(|tick| *tick >= low * 0.999 && *tick <= high * 1.001).collect()
        };
        let finest = [&[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0][..], &[1.0, 2.0, 5.0], &[1.0]].map(of);
        let ticks = finest.iter().find(|ticks| ticks.len() <= MOST_TICKS).unwrap_or(&finest[2]);
        let step = ticks.len().div_ceil(MOST_TICKS).max(1);
        Self { low, high, is_log: true, ticks: ticks.iter().step_by(step).map(|tick| (*tick, plain(*tick))).collect() }
    }

    fn linear(low: f64, high: f64) -> Self {
        let span = if high > low { high - low } else { low.abs().max(1.0) };
        let rough = span / (MOST_TICKS - 3) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * decade);
        let (low, high) = (low - span * 0.05, high + span * 0.05);
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        let ticks = (first..=last).map(|index| index as f64 * step).map(|tick| (tick, plain(tick))).collect();
        Self { low, high, is_log: false, ticks }
    }

    /// For things that have names: the first is at 0, the next at 1.
    pub(super) fn names(names: impl Iterator<Item = String>) -> Self {
        let ticks: Vec<(f64, String)> = names.enumerate().map(|(index, name)| (index as f64, name)).collect();
        Self { low: -0.5, high: ticks.len() as f64 - 0.5, is_log: false, ticks }
    }

    /// The same without its labels, for an upper panel over another.
    pub(super) fn unlabelled(mut self) -> Self {
        for (_, label) in &mut self.ticks {
            label.clear();
        }
        self
    }

    /// The same without ticks, for things that have their names elsewhere.
    pub(super) fn bare(mut self) -> Self {
        self.ticks.clear();
        self
    }

    /// The values at its ends.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }
}

/// The smallest and the largest; a range that has some width even where there are none.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (1.0, 1.0) }
}

/// A tick's label: as short as it can be.
fn plain(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&magnitude) {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let onto = |value: f64| if self.is_log { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let share = (onto(*value) - onto(self.low)) / (onto(self.high) - onto(self.low));
        // A value that is no number goes to the start; the cast of a share within 0..1 is exact enough by far.
        start + (share.clamp(0.0, 1.0) * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Light lines, between the ticks, are none.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.iter().map(|(tick, _)| *tick).collect() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map_or_else(String::new, |(_, label)| label.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn sizes_that_double_have_powers_of_two() {
        let scale = Scale::sizes([64.0, 4096.0, 300.0].into_iter());
        assert_eq!(labels(&scale), ["64", "128", "256", "512", "1024", "2048", "4096"]);
        assert_eq!(labels(&Scale::sizes([1.0, 1_048_576.0].into_iter())), ["0.5", "4", "32", "256", "2048", "16384", "131072", "1048576"]);
    }

    #[test]
    fn shares_are_linear_and_figures_go_by_decades() {
        assert_eq!(labels(&Scale::sizes([0.5, 0.9].into_iter())), ["0.5", "0.6", "0.7", "0.8", "0.9"]);
        assert_eq!(labels(&Scale::log([0.2, 5.0].into_iter())), ["0.2", "0.5", "1", "2", "5"]);
        assert_eq!(labels(&Scale::log([1e-7, 1.0, 0.0].into_iter())), ["1e-7", "1e-6", "1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]);
        assert!(!labels(&Scale::log([3.0].into_iter())).is_empty());
    }

    #[test]
    fn a_value_lies_where_its_logarithm_says() {
        let scale = Scale { low: 1.0, high: 100.0, is_log: true, ticks: Vec::new() };
        assert_eq!([1.0, 10.0, 100.0].map(|value| scale.map(&value, (0, 600))), [0, 300, 600]);
        assert_eq!([0.1, 1e9, f64::NAN, -1.0].map(|value| scale.map(&value, (600, 0))), [600, 0, 600, 600]);
    }

    #[test]
    fn nothing_to_show_is_a_range_too() {
        for scale in [Scale::log(std::iter::empty()), Scale::sizes(std::iter::empty()), Scale::sizes([7.0].into_iter())] {
            let (low, high) = scale.ends();
            assert!(low < high && low.is_finite() && high.is_finite(), "{scale:?}");
        }
    }
}
