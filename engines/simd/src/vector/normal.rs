//! The normal distribution function Phi on vectors, which is GELU's gate.
//!
//! Phi(-a) = e^(-a^2 / 2) R(a), where R falls slowly from 1/2 and is a polynomial in t = (a - c) / (a + c), which carries 0..infinity to
//! -1..1; and Phi(a) = 1 - Phi(-a). So the far negative tail keeps its relative accuracy, where 1 + erf cancels. What is lost is what the
//! rounding of a^2 / 2 does to the exponential: the relative error is at most (8 + x^2) / 2 units in the last place below 0, and 3 units
//! above.

use super::coefficients::Coefficients;
use super::exponential::polynomial;
use super::{Vector, exp_of_negative};
use crate::element::Real;

/// Phi(x): the share of a normal distribution that is below x. NaN stays.
#[inline(always)]
pub(crate) fn normal_below<V: Vector>(x: V) -> V {
    let (zero, one, center) = (V::zero(), V::splat(V::Element::ONE), V::splat(V::Element::NORMAL_CENTER));
    // NaN stays, because it is the second operand.
    let size = V::splat(V::Element::NORMAL_LIMIT).min(x.abs());
    let ratio = polynomial(V::Element::NORMAL, size.sub(center).mul(size.add(center).reciprocal()));
    let tail = exp_of_negative(size.mul(size).mul(V::splat(V::Element::from_f64(-0.5)))).mul(ratio);
    x.where_less(zero, tail, one.sub(tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::function;
    use crate::vector::function::testing::{paths, run, worst_by, worst_in_units};

    function!(Normal, x => normal_below(x));

    fn right(x: f64) -> f64 {
        0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }

    /// The error in shares of what the head states. The reference of doubles rounds x^2 / 2 as well, and x / sqrt 2 before.
    fn share(unit: f64) -> impl Fn(f64, f64) -> f64 {
        move |x, value| (value - right(x)).abs() / right(x) / (unit * (8.0 + x * x))
    }

    #[test]
    fn it_is_right_to_the_stated_units() {
        for isa in paths() {
            let single = [
                worst_by::<f32, _>(isa, Normal, [-12.9, 0.0], share(2f64.powi(-24))),
                worst_in_units::<f32, _>(isa, Normal, [0.0, 20.0], right),
            ];
            let double = [
                worst_by::<f64, _>(isa, Normal, [-37.4, 0.0], share(2f64.powi(-53) * 3.0)),
                worst_in_units::<f64, _>(isa, Normal, [0.0, 20.0], right),
            ];
            println!("{isa:?}: {single:.2?} {double:.2?}");
            assert!(single[0] < 1.0 && single[1] < 3.0 && double[0] < 1.0 && double[1] < 4.0, "{isa:?} {single:?} {double:?}");
        }
    }

    #[test]
    fn special_values_stay_special() {
        for isa in paths() {
            let mut values = [f32::NEG_INFINITY, -20.0, f32::INFINITY, f32::MAX, f32::NAN];
            run(isa, Normal, &mut values);
            assert_eq!(values[..4], [0.0, 0.0, 1.0, 1.0], "{isa:?}");
            assert!(values[4].is_nan());
            let mut zero = [0.0f64, -0.0];
            run(isa, Normal, &mut zero);
            assert!(zero.iter().all(|value| (value - 0.5).abs() < 2e-16), "{isa:?} {zero:?}");
        }
    }
}
