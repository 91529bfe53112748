//! GELU on vectors: x Phi(x), with the normal distribution function Phi.
//!
//! Phi(-a) = e^(-a^2 / 2) R(a), where R falls slowly from 1/2 and is a polynomial in t = (a - c) / (a + c), which carries 0..infinity to
//! -1..1. Then x Phi(x) = max(x, 0) - |x| Phi(-|x|) on both sides of 0: the far negative tail keeps its relative accuracy, where 1 + erf
//! would cancel, and nothing is to be chosen. What is lost is what the rounding of a^2 / 2 does to the exponential: the relative error is at
//! most (8 + 2 x^2) / 2 units in the last place below 0, and 4 units above.

use super::Vector;
use super::coefficients::Coefficients;
use super::exponential::{polynomials, powers_of_two};
use crate::element::Real;

/// x Phi(x); minus infinity gives 0, NaN stays.
#[inline(always)]
pub(crate) fn gelu<V: Vector>(x: V) -> V {
    let mut one = [x];
    gelus(&mut one);
    one[0]
}

/// The same of several vectors in their place, step by step for all: one alone is a chain too long for the processor to look past it at the next.
#[inline(always)]
pub(crate) fn gelus<V: Vector, const COUNT: usize>(vectors: &mut [V; COUNT]) {
    let mut sizes = [V::zero(); COUNT];
    for (size, x) in sizes.iter_mut().zip(&*vectors) {
        // From the limit on the tail is nothing, and so is half of a size of 0, whose exponential is no number too small to be normal.
        // NaN has a size of 0, too, and stays where x itself is looked at.
        let size_of_x = x.abs();
        *size = size_of_x.where_less(V::splat(V::Element::NORMAL_LIMIT), size_of_x, V::zero());
    }
    for ((x, size), tail) in vectors.iter_mut().zip(sizes).zip(normal_tails(&sizes)) {
        *x = size.mul_add(V::zero().sub(tail), V::zero().max(*x));
    }
}

/// Phi(-a) of each a, from 0 to the limit.
#[inline(always)]
fn normal_tails<V: Vector, const COUNT: usize>(sizes: &[V; COUNT]) -> [V; COUNT] {
    let center = V::splat(V::Element::NORMAL_CENTER);
    let minus_half_log2_e = V::splat(V::Element::from_f64(-0.5 * std::f64::consts::LOG2_E));
    let (mut places, mut rests, mut scales) = ([V::zero(); COUNT], [V::zero(); COUNT], [V::zero(); COUNT]);
    for (((place, rest), scale), &size) in places.iter_mut().zip(&mut rests).zip(&mut scales).zip(sizes) {
        *place = size.sub(center).mul(size.add(center).reciprocal());
        // e^(-a^2 / 2) = 2^(h a), where the product's rounding is taken back by the multiply-add. It is in reach: the size is limited.
        let h = size.mul(minus_half_log2_e);
        let [whole, nearest] = h.nearest_multiple(size);
        (*rest, *scale) = (h.mul_add(size, V::zero().sub(whole)), nearest);
    }
    let (mut tails, ratios) = (rests, polynomials(V::Element::NORMAL, &places));
    powers_of_two(&mut tails, scales);
    for (tail, ratio) in tails.iter_mut().zip(ratios) {
        *tail = tail.mul(ratio);
    }
    tails
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
