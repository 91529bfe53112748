//! Powers of two and exponentials on vectors.
//!
//! 2^t = 2^n 2^r with n the nearest whole number and |r| <= 1/2, where 2^r = 1 + r q(r): the constant is exact, so 2^0 is 1. e^x likewise,
//! with r = x - n ln 2 and ln 2 in two parts, so that no bits are lost for large arguments. The coefficients of q are minimax for the
//! relative error of the result (Remez exchange, computed with 45 digits): at most 3.9e-9 of degree 5 for singles, 8.6e-20 of degree 11 for
//! doubles, which is below their rounding. Below the subnormal numbers the result is 0, above the largest infinity; NaN stays.
//!
//! A 0 is not what the last product underflows to: some processors take a hundred cycles for a vector with a product below the normal numbers,
//! and minus infinity is what masks are made of. Such lanes are scaled as if they were 0, and emptied at the end.
//!
//! Both are within 1.5 units in the last place where multiply-adds round once, and within 2 on scalar paths.

use super::Vector;
use crate::element::Real;

/// What the two element types need.
pub(crate) trait Exponential: Sized + 'static {
    /// Coefficients of q for 2^r, from the constant one.
    const COEFFICIENTS: &'static [Self];
    /// Likewise for e^r.
    const NATURAL: &'static [Self];
    /// Below the first, e^x is 0, above the second infinite.
    const NATURAL_RANGE: [Self; 2];
    /// Below it, 2^t is 0.
    const LEAST_EXPONENT: Self;
    /// Above it, 2^t is infinite.
    const MOST_EXPONENT: Self;
    /// log2 e.
    const LOG2_E: Self;
    /// From it on numbers lie an eighth and more apart: where a rounding becomes an exponent, that is still harmless beside the rounding
    /// of the numbers.
    const FAR: Self;
    /// ln 2 in two parts; the first has so few bits that whole multiples of it are exact.
    const LN_2: [Self; 2];

    /// The nearest whole number, ties to even.
    fn nearest_whole(self) -> Self;
    /// self * 2^exponent for a whole exponent.
    fn times_power(self, exponent: Self) -> Self;
}

impl Exponential for f32 {
    const COEFFICIENTS: &'static [Self] = &[0.693_147_24, 0.240_226_5, 0.055_502_973, 0.009_618_031, 0.001_341_000_1, 0.000_154_697_32];
    const NATURAL: &'static [Self] = &[1.0, 0.499_999_94, 0.166_665_2, 0.041_668_39, 0.008_368_745, 0.001_381_454_7];
    const NATURAL_RANGE: [Self; 2] = [-104.0, 89.0];
    const LEAST_EXPONENT: Self = -151.0;
    const MOST_EXPONENT: Self = 129.0;
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const FAR: Self = (1u32 << 20) as f32;
    const LN_2: [Self; 2] = [0.693_359_4, -2.121_944_4e-4];

    fn nearest_whole(self) -> Self {
        self.round_ties_even()
    }
    fn times_power(self, exponent: Self) -> Self {
        libm::ldexpf(self, exponent as i32)
    }
}

impl Exponential for f64 {
    const COEFFICIENTS: &'static [Self] = &[
        std::f64::consts::LN_2,
        0.240_226_506_959_100_7,
        0.055_504_108_664_821_77,
        0.009_618_129_107_628_487,
        0.001_333_355_814_637_423,
        0.000_154_035_303_933_547_76,
        0.000_015_252_733_871_034_374,
        1.321_548_682_329_621_6e-6,
        1.017_804_529_675_026e-7,
        7.054_891_467_811_118e-9,
        4.457_533_018_944_603e-10,
        2.573_781_350_209_347e-11,
    ];
    const NATURAL: &'static [Self] = &[
        1.0,
        0.5,
        0.166_666_666_666_667_24,
        0.041_666_666_666_666_71,
        0.008_333_333_333_299_311,
        0.001_388_888_888_886_459_3,
        0.000_198_412_699_285_544_23,
        0.000_024_801_587_363_990_675,
        2.755_720_877_283_678_5e-6,
        2.755_724_034_635_301e-7,
        2.511_977_052_735_072_7e-8,
        2.092_507_967_657_182e-9,
    ];
    const NATURAL_RANGE: [Self; 2] = [-746.0, 710.0];
    const LEAST_EXPONENT: Self = -1077.0;
    const MOST_EXPONENT: Self = 1025.0;
    const LOG2_E: Self = std::f64::consts::LOG2_E;
    const FAR: Self = (1u64 << 49) as f64;
    const LN_2: [Self; 2] = [0.693_145_751_953_125, 1.428_606_820_309_417_3e-6];

    fn nearest_whole(self) -> Self {
        self.round_ties_even()
    }
    fn times_power(self, exponent: Self) -> Self {
        libm::ldexp(self, exponent as i32)
    }
}

/// 2^t.
#[inline(always)]
pub(crate) fn exp2<V: Vector>(t: V) -> V {
    // NaN stays, because it is the second operand.
    let least = V::Element::LEAST_EXPONENT;
    let near = exponent(least, V::splat(V::Element::MOST_EXPONENT).min(t));
    let whole = near.round();
    emptied_below(least, t, two_to(near.sub(whole)).scale_by_power(whole))
}

/// 2^t for t that is not above the largest exponent, or NaN.
#[inline(always)]
pub(crate) fn exp2_of_negative<V: Vector>(t: V) -> V {
    let mut power = [t];
    exp2_of_negatives(&mut power);
    power[0]
}

/// e^x.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: V) -> V {
    let [least, most] = V::Element::NATURAL_RANGE;
    // NaN stays, as above.
    emptied_below(least, x, natural(exponent(least, V::splat(most).min(x))))
}

/// e^x for x that is not above 0, or NaN.
#[inline(always)]
pub(crate) fn exp_of_negative<V: Vector>(x: V) -> V {
    let mut power = [x];
    exp_of_negatives(&mut power);
    power[0]
}

/// [`exp_of_negative`] of several vectors, in their place.
#[inline(always)]
pub(crate) fn exp_of_negatives<V: Vector, const COUNT: usize>(vectors: &mut [V; COUNT]) {
    let ([high, low], least) = (V::Element::LN_2, V::splat(V::Element::NATURAL_RANGE[0]));
    let (high, low) = (V::splat(V::Element::ZERO - high), V::splat(V::Element::ZERO - low));
    let (given, mut powers) = (*vectors, [V::zero(); COUNT]);
    for (x, power) in vectors.iter_mut().zip(&mut powers) {
        let [whole, nearest] = x.nearest_multiple_from(least, V::splat(V::Element::LOG2_E));
        (*x, *power) = (whole.mul_add(low, whole.mul_add(high, *x)), nearest);
    }
    scaled_from(least, given, V::Element::NATURAL, vectors, powers);
}

/// [`exp2_of_negative`] of several vectors, in their place.
#[inline(always)]
pub(crate) fn exp2_of_negatives<V: Vector, const COUNT: usize>(vectors: &mut [V; COUNT]) {
    let least = V::splat(V::Element::LEAST_EXPONENT);
    let (given, mut powers) = (*vectors, [V::zero(); COUNT]);
    for (t, power) in vectors.iter_mut().zip(&mut powers) {
        let [whole, nearest] = t.nearest_multiple_from(least, V::splat(V::Element::ONE));
        (*t, *power) = (t.sub(whole), nearest);
    }
    scaled_from(least, given, V::Element::COEFFICIENTS, vectors, powers);
}

/// What a power's exponent is made of: x, and 0 where the power is nothing.
#[inline(always)]
fn exponent<V: Vector>(least: V::Element, x: V) -> V {
    x.where_less(V::splat(least), V::zero(), x)
}

/// The power of x, which is nothing where x lies below the least.
#[inline(always)]
fn emptied_below<V: Vector>(least: V::Element, x: V, power: V) -> V {
    x.where_less(V::splat(least), V::zero(), power)
}

/// The rests r of exponents to 2^r 2^n, for the powers of two that [`Vector::nearest_multiple`] left.
#[inline(always)]
pub(super) fn powers_of_two<V: Vector, const COUNT: usize>(rests: &mut [V; COUNT], powers: [V; COUNT]) {
    let sums = polynomials(V::Element::COEFFICIENTS, rests);
    for ((rest, sum), power) in rests.iter_mut().zip(sums).zip(powers) {
        *rest = sum.mul_add(*rest, V::splat(V::Element::ONE)).scale_by_nearest(power);
    }
}

/// r to (1 + r q(r)) 2^n where `given` is not below the least, and 0 elsewhere: there r is anything, but no number too small to be normal.
#[inline(always)]
fn scaled_from<V: Vector, const COUNT: usize>(
    least: V,
    given: [V; COUNT],
    coefficients: &[V::Element],
    rests: &mut [V; COUNT],
    powers: [V; COUNT],
) {
    let sums = polynomials(coefficients, rests);
    for (((rest, sum), power), x) in rests.iter_mut().zip(sums).zip(powers).zip(given) {
        *rest = sum.mul_add(*rest, V::splat(V::Element::ONE)).scale_by_nearest_from(power, x, least);
    }
}

/// [`polynomial`] of several, step by step for all: each is a chain of instructions too long for the processor to look past it at the next.
#[inline(always)]
pub(super) fn polynomials<V: Vector, const COUNT: usize>(coefficients: &[V::Element], places: &[V; COUNT]) -> [V; COUNT] {
    let last = coefficients.len() - 1;
    let mut sums = [V::splat(coefficients[last]); COUNT];
    for step in (0..last).rev() {
        for (sum, place) in sums.iter_mut().zip(places) {
            *sum = sum.mul_add(*place, V::splat(coefficients[step]));
        }
    }
    sums
}

/// e^x where it is neither too small nor too large.
#[inline(always)]
fn natural<V: Vector>(x: V) -> V {
    let [high, low] = V::Element::LN_2;
    let whole = x.mul(V::splat(V::Element::LOG2_E)).round();
    let rest = whole.mul_add(V::splat(V::Element::ZERO - low), whole.mul_add(V::splat(V::Element::ZERO - high), x));
    one_and(V::Element::NATURAL, rest).scale_by_power(whole)
}

/// 2^r for |r| up to a little more than 1/2.
#[inline(always)]
pub(super) fn two_to<V: Vector>(r: V) -> V {
    one_and(V::Element::COEFFICIENTS, r)
}

/// 1 + r q(r).
#[inline(always)]
fn one_and<V: Vector>(coefficients: &[V::Element], r: V) -> V {
    polynomial(coefficients, r).mul_add(r, V::splat(V::Element::ONE))
}

/// The sum of coefficients times powers of x, from the constant one, by Horner's rule.
#[inline(always)]
pub(super) fn polynomial<V: Vector>(coefficients: &[V::Element], x: V) -> V {
    let last = coefficients.len() - 1;
    (0..last).rev().fold(V::splat(coefficients[last]), |sum, at| sum.mul_add(x, V::splat(coefficients[at])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::function::testing::{paths, run, worst_in_units};
    use crate::vector::{Function, function};

    function!(Natural, x => exp(x));
    function!(OfTwo, x => exp2(x));

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        for isa in paths() {
            let singles = [
                worst_in_units::<f32, _>(isa, Natural, [-87.0, 88.7], libm::exp),
                worst_in_units::<f32, _>(isa, OfTwo, [-125.0, 127.9], libm::exp2),
            ];
            let doubles = [
                worst_in_units::<f64, _>(isa, Natural, [-700.0, 709.7], libm::exp),
                worst_in_units::<f64, _>(isa, OfTwo, [-1010.0, 1023.9], libm::exp2),
            ];
            println!("{isa:?}: {singles:.2?} {doubles:.2?}");
            // The reference of doubles is only a double itself.
            assert!(
                singles.iter().all(|&worst| worst < 2.0) && doubles.iter().all(|&worst| worst < 2.5),
                "{isa:?} {singles:?} {doubles:?}"
            );
        }
    }

    fn special<F: Function<f32>>(function: F, natural: bool) {
        for isa in paths() {
            let mut values = [0.0f32, f32::NEG_INFINITY, -1e30, -200.0, 1e30, f32::INFINITY, f32::NAN, -0.0];
            run(isa, function, &mut values);
            assert_eq!(values[..6], [1.0, 0.0, 0.0, 0.0, f32::INFINITY, f32::INFINITY], "{isa:?} {natural}");
            assert!(values[6].is_nan() && values[7] == 1.0);
            let mut subnormal = [if natural { -100.0f32 } else { -140.0 }];
            run(isa, function, &mut subnormal);
            let right = if natural { (-100f64).exp() } else { (-140f64).exp2() };
            assert!((f64::from(subnormal[0]) - right).abs() <= 2f64.powi(-149), "{isa:?} {natural} {subnormal:?}");
        }
    }

    #[test]
    fn special_values_stay_special() {
        special(Natural, true);
        special(OfTwo, false);
    }
}
