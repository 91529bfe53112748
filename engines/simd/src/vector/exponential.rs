//! Powers of two and exponentials on vectors.
//!
//! 2^t = 2^n 2^r with n the nearest whole number and |r| <= 1/2, where 2^r = 1 + r q(r): the constant is exact, so 2^0 is 1. The
//! coefficients of q are minimax for the relative error of 2^r (Remez exchange, computed with 40 digits): 3.9e-9 of degree 5 for singles,
//! 8.5e-20 of degree 11 for doubles, which is below their rounding. Below the subnormal numbers the result is 0, above the largest
//! infinity; NaN stays.

use super::Vector;
use crate::element::Real;

/// What the two element types need.
pub(crate) trait Exponential: Sized + 'static {
    /// Coefficients of q, from the constant one.
    const COEFFICIENTS: &'static [Self];
    /// Below it, 2^t is 0.
    const LEAST_EXPONENT: Self;
    /// Above it, 2^t is infinite.
    const MOST_EXPONENT: Self;
    /// log2 e.
    const LOG2_E: Self;
    /// ln 2 in two parts; the first has so few bits that whole multiples of it are exact.
    const LN_2: [Self; 2];

    /// The nearest whole number, ties to even.
    fn nearest_whole(self) -> Self;
    /// self * 2^exponent for a whole exponent.
    fn times_power(self, exponent: Self) -> Self;
}

impl Exponential for f32 {
    const COEFFICIENTS: &'static [Self] = &[0.693_147_24, 0.240_226_5, 0.055_502_973, 0.009_618_031, 0.001_341_000_1, 0.000_154_697_32];
    const LEAST_EXPONENT: Self = -151.0;
    const MOST_EXPONENT: Self = 129.0;
    const LOG2_E: Self = std::f32::consts::LOG2_E;
    const LN_2: [Self; 2] = [0.693_359_375, -2.121_944_4e-4];

    fn nearest_whole(self) -> Self {
        self.round_ties_even()
    }
    fn times_power(self, exponent: Self) -> Self {
        libm::ldexpf(self, exponent as i32)
    }
}

impl Exponential for f64 {
    const COEFFICIENTS: &'static [Self] = &[
        0.693_147_180_559_945_3,
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
    const LEAST_EXPONENT: Self = -1077.0;
    const MOST_EXPONENT: Self = 1025.0;
    const LOG2_E: Self = std::f64::consts::LOG2_E;
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
    // NaN stays, because both are the second operand where one of them is NaN.
    let t = V::splat(V::Element::LEAST_EXPONENT).max(V::splat(V::Element::MOST_EXPONENT).min(t));
    let whole = t.round();
    two_to(t.sub(whole)).scale_by_power(whole)
}

/// e^x with less than one unit in the last place beyond its rounding: x is reduced by ln 2 in two parts, so that no bits are lost for
/// large arguments.
#[inline(always)]
pub(crate) fn exp<V: Vector>(x: V) -> V {
    let [high, low] = V::Element::LN_2;
    let per_octave = V::Element::LOG2_E;
    let t = V::splat(V::Element::LEAST_EXPONENT).max(V::splat(V::Element::MOST_EXPONENT).min(x.mul(V::splat(per_octave))));
    let whole = t.round();
    // Where t was clamped, the rest is meaningless; clamped again it stays finite, and the power of two settles the result.
    let rest = whole.mul_add(V::splat(V::Element::ZERO - low), whole.mul_add(V::splat(V::Element::ZERO - high), x));
    let (one, minus_one) = (V::splat(V::Element::ONE), V::splat(V::Element::ZERO - V::Element::ONE));
    let rest = minus_one.max(one.min(rest.mul(V::splat(per_octave))));
    two_to(rest).scale_by_power(whole)
}

/// 2^r for |r| up to a little more than 1/2.
#[inline(always)]
fn two_to<V: Vector>(r: V) -> V {
    let coefficients = V::Element::COEFFICIENTS;
    let last = coefficients.len() - 1;
    let sum = (0..last).rev().fold(V::splat(coefficients[last]), |sum, at| sum.mul_add(r, V::splat(coefficients[at])));
    sum.mul_add(r, V::splat(V::Element::ONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};
    use crate::vector::Lanes;
    use crossover_core::isa::IsaChoice;

    /// 2^x or e^x of every value, in place.
    struct Apply<'a, E> {
        values: &'a mut [E],
        natural: bool,
    }

    impl<E: Lanes> Kernel<E> for Apply<'_, E> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector<Element = E>>(self) {
            for part in self.values.chunks_mut(V::LANES) {
                // SAFETY: the length of the part is what is accessed.
                unsafe {
                    let x = V::load_first(part.as_ptr(), part.len());
                    let y = if self.natural { exp(x) } else { exp2(x) };
                    y.store_first(part.as_mut_ptr(), part.len());
                }
            }
        }
    }

    fn paths() -> impl Iterator<Item = Isa> {
        IsaChoice::ALL.into_iter().filter_map(|choice| Isa::chosen(choice).ok())
    }

    /// The largest error in units of the last place of the right value, over this range.
    fn worst<E: Lanes>(isa: Isa, natural: bool, range: [f64; 2], unit: f64) -> f64 {
        let count = 100_003;
        let at = |index: usize| E::from_f64(range[0] + (range[1] - range[0]) * index as f64 / f64::from(count as u32)).to_f64();
        let mut values: Vec<E> = (0..count).map(|index| E::from_f64(at(index))).collect();
        isa.run(Apply { values: &mut values, natural });
        let right = |x: f64| if natural { libm::exp(x) } else { libm::exp2(x) };
        let errors = values.iter().enumerate().map(|(index, value)| ((value.to_f64() - right(at(index))) / right(at(index))).abs() / unit);
        errors.fold(0.0, f64::max)
    }

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        for isa in paths() {
            for natural in [false, true] {
                let single = worst::<f32>(isa, natural, [-80.0, 80.0], 2f64.powi(-24));
                assert!(single < 4.0, "{isa:?} {natural} f32 {single}");
                // The reference is only a double itself.
                let double = worst::<f64>(isa, natural, [-600.0, 600.0], 2f64.powi(-53));
                assert!(double < 5.0, "{isa:?} {natural} f64 {double}");
            }
        }
    }

    #[test]
    fn special_values_stay_special() {
        for isa in paths() {
            for natural in [false, true] {
                let mut values = [0.0f32, f32::NEG_INFINITY, -1e30, -200.0, 1e30, f32::INFINITY, f32::NAN, -0.0];
                isa.run(Apply { values: &mut values, natural });
                assert_eq!(values[..6], [1.0, 0.0, 0.0, 0.0, f32::INFINITY, f32::INFINITY], "{isa:?} {natural}");
                assert!(values[6].is_nan() && values[7] == 1.0);
                let mut subnormal = [if natural { -100.0f32 } else { -140.0 }];
                isa.run(Apply { values: &mut subnormal, natural });
                let right = if natural { (-100f64).exp() } else { (-140f64).exp2() };
                assert!((f64::from(subnormal[0]) - right).abs() <= 2f64.powi(-149), "{isa:?} {natural} {subnormal:?}");
            }
        }
    }
}
