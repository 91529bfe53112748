//! Natural logarithms on vectors.
//!
//! x = 2^n m with m in [sqrt 1/2, sqrt 2], and log m = 2 artanh s for s = f / (2 + f), f = m - 1: with R = s^2 p(s^2) for the terms beyond
//! 2 s, it is f - (f^2 / 2 - s (f^2 / 2 + R)), which keeps the bits of f that s lost. p is minimax for the relative error (see
//! `coefficients.rs`). n ln 2 is added in two parts. Within 1.5 units in the last place; 0 gives minus infinity, what is below 0 NaN.

use super::coefficients::Coefficients;
use super::exponential::polynomial;
use super::{Exponential, Vector};
use crate::element::Real;

/// log x.
#[inline(always)]
pub(crate) fn log<V: Vector>(x: V) -> V {
    let [smallest, factor, exponent] = V::Element::SUBNORMAL.map(V::splat);
    let [one, half, two] = [1.0, 0.5, 2.0].map(|value| V::splat(V::Element::from_f64(value)));
    let (whole, m) = x.where_less(smallest, x.mul(factor), x).split();
    let whole = x.where_less(smallest, whole.sub(exponent), whole);
    let root = V::splat(V::Element::from_f64(std::f64::consts::SQRT_2));
    let (whole, m) = (root.where_less(m, whole.add(one), whole), root.where_less(m, m.mul(half), m));
    let f = m.sub(one);
    let s = f.div(two.add(f));
    let (square, half_square) = (s.mul(s), half.mul(f).mul(f));
    let rest = square.mul(polynomial(V::Element::LOG, square));
    let [high, low] = V::Element::LN_2.map(V::splat);
    let correction = half_square.sub(s.mul_add(half_square.add(rest), whole.mul(low)));
    special(x, whole.mul_add(high, f.sub(correction)))
}

/// Where the formula does not hold.
#[inline(always)]
fn special<V: Vector>(x: V, y: V) -> V {
    let [least, most, nan] = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN].map(|value| V::splat(V::Element::from_f64(value)));
    let y = x.where_less(V::zero(), nan, y);
    let y = x.where_equal(V::zero(), least, y);
    let y = x.where_equal(most, most, y);
    x.where_equal(x, y, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::function;
    use crate::vector::function::testing::{paths, run, worst_in_units};

    function!(Log, x => log(x));

    #[test]
    fn it_is_right_to_two_units() {
        for isa in paths() {
            for range in [[1e-6, 0.5], [0.5, 1.0 - 1e-6], [1.0 + 1e-6, 2.0], [2.0, 1000.0], [1e30, 1e38]] {
                let single = worst_in_units::<f32, _>(isa, Log, range, libm::log);
                let double = worst_in_units::<f64, _>(isa, Log, range, libm::log);
                println!("{isa:?} {range:?}: {single:.2} {double:.2}");
                assert!(single < 2.0 && double < 2.5, "{isa:?} {range:?} {single} {double}");
            }
        }
    }

    #[test]
    fn special_values_stay_special() {
        for isa in paths() {
            let mut values = [1.0f32, 0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0, f32::NAN];
            run(isa, Log, &mut values);
            assert_eq!(values[..4], [0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY], "{isa:?}");
            assert!(values[4..].iter().all(|value| value.is_nan()), "{isa:?} {values:?}");
            let mut small = [f32::from_bits(1), 1e-40, f32::MIN_POSITIVE];
            let right = small.map(|value| f64::from(value).ln());
            run(isa, Log, &mut small);
            assert!(small.iter().zip(right).all(|(value, right)| (f64::from(*value) / right - 1.0).abs() < 1e-7), "{isa:?} {small:?}");
        }
    }
}
