//! One number with the variance of the error that an engine may have there, and what one rounding adds to it.
//!
//! A rounding to a type with unit roundoff u is taken as an independent error of standard deviation u |y| (its worst case; a uniform
//! error would have u |y| / sqrt 3 at most), so that variances of successive roundings add: the probabilistic model of Higham and Mary
//! 2019, section 2. A result that one rounding of exact operands leaves unchanged is exact on every engine and stays without variance.

use super::SLACK;
use crate::dtype::DType;

/// A value and the variance of the error that an engine may have there; an infinite variance says that nothing is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) variance: f64,
}

impl Estimate {
    /// Without error.
    pub(super) fn exact(value: f64) -> Self {
        Self { value, variance: 0.0 }
    }

    /// A computed value. Infinities and NaN are determined where all operands are; a variance that is no number says nothing.
    pub(super) fn computed(value: f64, variance: f64, operands_known: bool) -> Self {
        let variance = match (operands_known, value.is_finite()) {
            (false, _) => f64::INFINITY,
            (true, false) => 0.0,
            _ if variance.is_nan() => f64::INFINITY,
            _ => variance,
        };
        Self { value, variance }
    }

    /// The value, with nothing known about it.
    pub(super) fn undetermined(value: f64) -> Self {
        Self { value, variance: f64::INFINITY }
    }

    /// False if nothing is known about the value.
    pub(super) fn is_known(self) -> bool {
        self.variance < f64::INFINITY
    }

    /// How far off an engine may be before it counts as wrong.
    pub(super) fn reach(self) -> f64 {
        SLACK * self.variance.sqrt()
    }

    /// Computed in this type with an own error of this many units; results below its normal numbers may be flushed to zero.
    pub(super) fn rounded_in(self, compute: DType, units: f64) -> Self {
        self.with_rounding(compute, units, compute.smallest_normal())
    }

    /// Stored in this type. An integer holds exact results only.
    pub(super) fn stored_as(self, dtype: DType) -> Self {
        if dtype.is_float() {
            return self.with_rounding(dtype, 1.0, dtype.unit_roundoff() * dtype.smallest_normal());
        }
        let variance = if self.variance > 0.0 { f64::INFINITY } else { 0.0 };
        Self { value: dtype.round(self.value), variance }
    }

    fn with_rounding(self, dtype: DType, units: f64, floor: f64) -> Self {
        let Self { value, variance } = self;
        if !value.is_finite() || !self.is_known() || (variance == 0.0 && units <= 1.0 && dtype.round(value) == value) {
            return self;
        }
        let u = dtype.unit_roundoff();
        let (reach, overflow) = (self.reach() + (units - 1.0).max(0.0) * u * value.abs(), dtype.largest() * (1.0 + u));
        if value.abs() - reach > overflow {
            return Self::exact(f64::INFINITY.copysign(value));
        }
        if value.abs() + reach > overflow {
            return Self::undetermined(value);
        }
        Self { value, variance: variance + square(units * u * value) + square(floor) }
    }
}

/// How the results of an operation are rounded: once in the compute type, once more where they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounding {
    pub(super) compute: DType,
    pub(super) storage: DType,
}

impl Rounding {
    /// The estimate after both roundings, of which the first is of this many units.
    pub(super) fn apply(self, estimate: Estimate, units: f64) -> Estimate {
        estimate.rounded_in(self.compute, units).stored_as(self.storage)
    }
}

/// Variance of the roundings in a sum of `terms` terms, with unit roundoff `u`, in whatever order an engine takes them.
///
/// Each addition errs by u times the partial sum that it gives. For terms in random order the squares of the partial sums add up to about
/// K (s^2 / 3 + w / 6), where s is the sum and w the sum of the squared terms. Half of K (s^2 + w) is between 1.5 and 3 times that, and
/// covers the rounding of each product too. A sequence that is ordered on purpose (all large positive terms first) has larger partial
/// sums than this; a blocked or vectorised sum has smaller ones.
pub(super) fn summing(terms: usize, u: f64, sum: f64, squares: f64) -> f64 {
    0.5 * terms as f64 * u * u * (sum * sum + squares)
}

/// x^2.
pub(super) fn square(x: f64) -> f64 {
    x * x
}

/// x^2 times a variance. A factor of exactly zero leaves nothing of even an unknown number.
pub(super) fn scaled(factor: f64, variance: f64) -> f64 {
    if factor == 0.0 || variance == 0.0 { 0.0 } else { factor * factor * variance }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_results_stay_exact_and_others_get_one_unit() {
        assert_eq!(Estimate::exact(1.5).stored_as(DType::Bf16), Estimate::exact(1.5));
        let third = Estimate::exact(1.0 / 3.0).stored_as(DType::Bf16);
        let unit = DType::Bf16.unit_roundoff() / 3.0;
        assert!((third.variance.sqrt() - unit).abs() < 1e-6 * unit);
    }

    #[test]
    fn overflow_is_certain_or_open() {
        assert_eq!(Estimate::exact(-1e6).stored_as(DType::F16), Estimate::exact(f64::NEG_INFINITY));
        let near = Estimate { value: 65_000.0, variance: 1e6 }.stored_as(DType::F16);
        assert!(!near.is_known());
        assert!(Estimate::exact(65_504.0).stored_as(DType::F16).is_known());
    }

    #[test]
    fn what_is_no_number_is_unknown_unless_its_operands_are_known() {
        assert!(!Estimate::computed(1.0, f64::NAN, true).is_known());
        assert!(Estimate::computed(f64::NAN, f64::NAN, true).is_known());
        assert!(!Estimate::computed(f64::NAN, 0.0, false).is_known());
        assert_eq!(scaled(0.0, f64::INFINITY), 0.0);
    }
}
