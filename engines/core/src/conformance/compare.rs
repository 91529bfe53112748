//! Tolerances: what an element should be, how far off it may be, and how far off it is.

use crate::dtype::DType;
use crate::reference::gamma;

/// One element of a reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Target {
    pub(super) value: f64,
    /// Beyond this it is wrong.
    pub(super) hard: f64,
    /// Beyond this it is suspicious: rounding errors do not conspire.
    pub(super) soft: f64,
}

impl Target {
    /// Exactly this.
    pub(super) fn exact(value: f64) -> Self {
        Self::within(value, 0.0)
    }

    pub(super) fn within(value: f64, hard: f64) -> Self {
        Self { value, hard, soft: hard }
    }

    /// A sum of `terms` products of total magnitude `magnitude`, accumulated in `compute`, stored in `out`.
    pub(super) fn sum(value: f64, terms: usize, magnitude: f64, compute: DType, out: DType) -> Self {
        let u = compute.unit_roundoff();
        let fixed = storing(out, value) + compute.smallest_normal() * (terms as f64 + 1.0);
        let probable = 6.0 * (terms as f64).sqrt() * u * magnitude + fixed;
        let hard = gamma(terms, u) * magnitude + fixed;
        Self { value, hard, soft: probable.min(hard) }
    }
}

/// Error of keeping `value` in a type: half a unit in its last place, or half the smallest step.
pub(super) fn storing(dtype: DType, value: f64) -> f64 {
    let u = dtype.unit_roundoff();
    let value = value.abs().min(dtype.largest());
    u * value + u * dtype.smallest_normal()
}

/// Error of an element as shares of its two limits, or what is wrong with it.
pub(super) fn judge(dtype: DType, found: f64, target: Target) -> Result<Shares, ()> {
    let exact = Shares { hard: 0.0, suspicious: false, error: 0.0 };
    if found == target.value || (found.is_nan() && target.value.is_nan()) {
        return Ok(exact);
    }
    // Beyond the largest number of the type, infinity is right; close below it, it may be.
    let overflows = target.value.abs() + target.hard >= dtype.largest() * (1.0 - dtype.unit_roundoff());
    if overflows && found.is_infinite() && found.signum() == target.value.signum() {
        return Ok(exact);
    }
    let error = (found - target.value).abs();
    if error <= target.hard {
        let hard = if target.hard.is_finite() { error / target.hard } else { 0.0 };
        return Ok(Shares { hard, suspicious: error > target.soft, error });
    }
    Err(())
}

/// How much of a tolerance is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) hard: f64,
    pub(super) suspicious: bool,
    pub(super) error: f64,
}

/// An error in units in the last place of the exact value.
pub(super) fn ulps(dtype: DType, error: f64, exact: f64) -> f64 {
    let magnitude = exact.abs().clamp(dtype.smallest_normal(), dtype.largest());
    error / (2.0 * dtype.unit_roundoff() * magnitude.log2().floor().exp2())
}

/// True if two values have the same bits; NaNs are all alike.
pub(super) fn same_bits(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_is_wrong_and_nan_is_no_number() {
        let target = Target::within(1.0, 0.5);
        assert!(judge(DType::F32, 1.25, target).is_ok_and(|shares| shares.hard == 0.5));
        assert!(judge(DType::F32, 1.75, target).is_err());
        assert!(judge(DType::F32, f64::NAN, target).is_err());
        assert!(judge(DType::F32, 1.0, Target::exact(f64::NAN)).is_err());
        assert!(judge(DType::F16, f64::INFINITY, Target::within(1e6, 1.0)).is_ok());
        assert!(judge(DType::F16, f64::NEG_INFINITY, Target::within(1e6, 1.0)).is_err());
        assert!(judge(DType::F32, f64::INFINITY, Target::within(1e6, 1.0)).is_err());
    }

    #[test]
    fn a_unit_in_the_last_place() {
        assert_eq!(ulps(DType::F32, 2f64.powi(-23), 1.5), 1.0);
        assert_eq!(ulps(DType::F16, 2f64.powi(-11), 1.0), 0.5);
    }
}
