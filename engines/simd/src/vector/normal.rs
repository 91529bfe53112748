//! GELU on vectors: x Phi(x), with the normal distribution function Phi.
//!
//! Phi(-a) = e^(-a^2 / 2) R(a), where R falls slowly from 1/2 and is a polynomial in t = (a - c) / (a + c), which carries 0..infinity to
//! -1..1. Then x Phi(x) = max(x, 0) - |x| Phi(-|x|) on both sides of 0: the far negative tail keeps its relative accuracy, where 1 + erf
//! would cancel, and nothing is to be chosen. What is lost is what the rounding of a^2 / 2 does to the exponential: the relative error is at
//! most (8 + 2 x^2) / 2 units in the last place below 0, and 4 units above.

use super::Vector;
use super::coefficients::Coefficients;
use super::exponential::{polynomial, two_to};
use crate::element::Real;

/// x Phi(x); minus infinity gives 0, NaN stays.
#[inline(always)]
pub(crate) fn gelu<V: Vector>(x: V) -> V {
    // NaN stays, because it is the second operand. From the limit on the tail is 0, whatever it is multiplied by.
    let size = V::splat(V::Element::NORMAL_LIMIT).min(x.abs());
    let lost = V::zero().sub(normal_tail(size));
    size.mul_add(lost, V::zero().max(x))
}

/// Phi(-a) for a from 0 to the limit.
#[inline(always)]
fn normal_tail<V: Vector>(size: V) -> V {
    let center = V::splat(V::Element::NORMAL_CENTER);
    let ratio = polynomial(V::Element::NORMAL, size.sub(center).mul(size.add(center).reciprocal()));
    // e^(-a^2 / 2) = 2^(h a), where the product's rounding is taken back by the multiply-add. It is in reach: the size is limited.
    let h = size.mul(V::splat(V::Element::from_f64(-0.5 * std::f64::consts::LOG2_E)));
    let whole = h.mul(size).round();
    two_to(h.mul_add(size, V::zero().sub(whole))).scale_by_power(whole).mul(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::function;
    use crate::vector::function::testing::{paths, run, worst_by, worst_in_units};

    function!(Gelu, x => gelu(x));

    fn right(x: f64) -> f64 {
        x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }

    /// The error in shares of what the head states. The reference of doubles rounds x^2 / 2 as well, and x / sqrt 2 before.
    fn share(unit: f64) -> impl Fn(f64, f64) -> f64 {
        move |x, value| ((value - right(x)) / right(x)).abs() / (unit * (8.0 + 2.0 * x * x))
    }

    #[test]
    fn it_is_right_to_the_stated_units() {
        for isa in paths() {
            let single = [
                worst_by::<f32, _>(isa, Gelu, [-12.9, -1e-3], share(2f64.powi(-24))),
                worst_in_units::<f32, _>(isa, Gelu, [1e-3, 20.0], right),
            ];
            let double = [
                worst_by::<f64, _>(isa, Gelu, [-37.4, -1e-3], share(2f64.powi(-53) * 2.0)),
                worst_in_units::<f64, _>(isa, Gelu, [1e-3, 20.0], right),
            ];
            println!("{isa:?}: {single:.2?} {double:.2?}");
            assert!(single[0] < 1.0 && single[1] < 4.0 && double[0] < 1.0 && double[1] < 6.0, "{isa:?} {single:?} {double:?}");
        }
    }

    #[test]
    fn special_values_stay_special() {
        for isa in paths() {
            let mut values = [0.0f32, -0.0, f32::NEG_INFINITY, -20.0, f32::INFINITY, f32::MAX, f32::NAN];
            run(isa, Gelu, &mut values);
            assert_eq!(values[..6], [0.0, 0.0, 0.0, 0.0, f32::INFINITY, f32::MAX], "{isa:?}");
            assert!(values[6].is_nan());
        }
    }
}
