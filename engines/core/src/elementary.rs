//! Cheaper exponentials: the f64 definitions to which every engine is held.
//!
//! Three ways from an exact to a cheap e^x. A polynomial or a table after the reduction e^x = 2^i 2^f (as Tang 1989 reduces and tabulates,
//! without his care for the last bit) keeps a relative error that does not depend on x. The plain Taylor polynomial at 0 (de Brebisson
//! and Vincent 2015, the Taylor softmax) is cheaper still, and is near e^x around 0 only: it is another function, not another way to
//! compute this one.
//!
//! The reduction is one product with log2 e, so that a large |x| costs up to |x| units of relative error: what a fast kernel does.
//! Traded away for having one definition: each is evaluated in f64, also where an engine would use fewer digits.

use std::f64::consts::{LN_2, LOG2_E};
use std::sync::LazyLock;

/// Highest degree of the polynomials.
pub const MAX_DEGREE: u32 = 8;
/// Most bits of an index into the table: 4096 entries.
pub const MAX_TABLE_BITS: u32 = 12;

const COEFFICIENTS: usize = MAX_DEGREE as usize + 1;

/// Beyond these, 2^y is infinity or 0 in f64 whatever the fraction.
const EXPONENTS: std::ops::RangeInclusive<f64> = -1100.0..=1100.0;

/// 2^x.
pub fn exp2(x: f64) -> f64 {
    libm::exp2(x)
}

/// e^x as 2^i p(f) with i = x log2 e rounded to an integer, f the rest in [-1/2, 1/2], and p the Taylor polynomial of 2^f of this
/// degree. Its relative error is at most sqrt(2) (ln 2 / 2)^(d + 1) / (d + 1)!. NaN stays, underflow gives 0, overflow infinity.
/// Degrees outside 1..=8 count as the nearest of these.
pub fn exp_polynomial(x: f64, degree: u32) -> f64 {
    static OF_TWO: LazyLock<[f64; COEFFICIENTS]> = LazyLock::new(|| coefficients(LN_2));
    let y = x * LOG2_E;
    scaled(y, || {
        let exponent = y.round_ties_even();
        (horner(&OF_TWO, y - exponent, degree), exponent as i32)
    })
}

/// e^x as the entry nearest to it in a table of 2^bits powers of two an octave: 2^(k / 2^bits) with k = x log2 e 2^bits rounded. Its
/// relative error is at most 2^(2^-(bits + 1)) - 1. NaN stays, underflow gives 0, overflow infinity. Bits outside 1..=12 count as the
/// nearest of these.
pub fn exp_table(x: f64, bits: u32) -> f64 {
    // One table for all: a coarser one is every so many-th of its entries.
    static FINEST: LazyLock<Vec<f64>> = LazyLock::new(|| {
        let entries = 1u32 << MAX_TABLE_BITS;
        (0..entries).map(|entry| libm::exp2(f64::from(entry) / f64::from(entries))).collect()
    });
    let (y, bits) = (x * LOG2_E, bits.clamp(1, MAX_TABLE_BITS));
    scaled(y, || {
        let nearest = (y * f64::from(1u32 << bits)).round_ties_even() as i32;
        // An arithmetic shift rounds down, so that the entry is never negative.
        let (exponent, entry) = (nearest >> bits, nearest & ((1 << bits) - 1));
        (FINEST[(entry as usize) << (MAX_TABLE_BITS - bits)], exponent)
    })
}

/// The Taylor polynomial of e^x at 0: the sum of x^k / k! for k up to the degree. Even degrees are positive everywhere. Degrees outside
/// 1..=8 count as the nearest of these.
pub fn exp_taylor(x: f64, degree: u32) -> f64 {
    static OF_E: LazyLock<[f64; COEFFICIENTS]> = LazyLock::new(|| coefficients(1.0));
    horner(&OF_E, x, degree)
}

/// rate^k / k!.
fn coefficients(rate: f64) -> [f64; COEFFICIENTS] {
    let mut term = 1.0;
    std::array::from_fn(|k| {
        if k > 0 {
            term *= rate / k as f64;
        }
        term
    })
}

fn horner(coefficients: &[f64; COEFFICIENTS], x: f64, degree: u32) -> f64 {
    let degree = degree.clamp(1, MAX_DEGREE) as usize;
    coefficients[..degree].iter().rev().fold(coefficients[degree], |sum, &coefficient| sum * x + coefficient)
}

/// A significand times a power of two, for a y with 2^y in reach; else what is beyond.
fn scaled(y: f64, parts: impl FnOnce() -> (f64, i32)) -> f64 {
    if y.is_nan() {
        y
    } else if EXPONENTS.contains(&y) {
        let (significand, exponent) = parts();
        libm::ldexp(significand, exponent)
    } else if y > 0.0 {
        f64::INFINITY
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest relative error against the exponential of the standard library.
    fn worst(function: impl Fn(f64) -> f64) -> f64 {
        (-70_000..=70_000).map(|step| f64::from(step) * 1e-2).map(|x| (function(x) / x.exp() - 1.0).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn polynomials_meet_their_bound_and_use_most_of_it() {
        let mut factorial = 1.0;
        for degree in 1..=MAX_DEGREE {
            factorial *= f64::from(degree + 1);
            let bound = std::f64::consts::SQRT_2 * (0.5 * LN_2).powi(degree as i32 + 1) / factorial;
            let found = worst(|x| exp_polynomial(x, degree));
            // |x| up to 700 units of the reduction.
            assert!(found <= bound + 1e-13, "degree {degree}: {found:e} above {bound:e}");
            assert!(found >= 0.5 * bound, "degree {degree}: {found:e} far below {bound:e}");
        }
    }

    #[test]
    fn tables_meet_their_bound_and_use_most_of_it() {
        for bits in 1..=MAX_TABLE_BITS {
            let bound = (0.5f64.powi(bits as i32 + 1)).exp2() - 1.0;
            let found = worst(|x| exp_table(x, bits));
            assert!(found <= bound + 1e-13 && found >= 0.9 * bound, "{bits} bits: {found:e}, bound {bound:e}");
        }
    }

    #[test]
    fn the_taylor_polynomial_is_good_near_zero_only() {
        assert_eq!(exp_taylor(3.0, 1), 4.0);
        assert_eq!(exp_taylor(-2.0, 2), 1.0);
        let mut factorial = 1.0;
        for degree in 1..=MAX_DEGREE {
            factorial *= f64::from(degree + 1);
            for x in [-1.0f64, -0.3, 0.0, 0.1, 1.0] {
                let bound = x.abs().powi(degree as i32 + 1) / factorial * x.max(0.0).exp();
                assert!((exp_taylor(x, degree) - x.exp()).abs() <= bound + 1e-15, "degree {degree} at {x}");
            }
        }
        assert!(exp_taylor(-10.0, 8) > 100.0);
    }

    #[test]
    fn extremes_are_limits_and_nan_stays() {
        let reduced: [fn(f64) -> f64; 3] = [exp2, |x| exp_polynomial(x, 3), |x| exp_table(x, 4)];
        for function in reduced {
            assert!(function(f64::NAN).is_nan());
            assert_eq!([f64::INFINITY, 1e300, 1100.0].map(function), [f64::INFINITY; 3]);
            assert_eq!([f64::NEG_INFINITY, -1e300, -1100.0].map(function), [0.0; 3]);
            assert_eq!(function(0.0), 1.0);
        }
        // Subnormal results are rounded once, and are not flushed.
        let subnormal = exp_table(-740.0, 12);
        assert!(subnormal > 0.0 && (subnormal / (-740.0f64).exp() - 1.0).abs() < 0.1);
        assert!(exp_taylor(f64::NAN, 2).is_nan());
        assert_eq!(exp_taylor(f64::NEG_INFINITY, 3), f64::NEG_INFINITY);
        assert_eq!(exp_taylor(f64::NEG_INFINITY, 2), f64::INFINITY);
    }
}
