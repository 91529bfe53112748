//! The logistic function and the hyperbolic tangent on vectors.
//!
//! sigmoid(x) = 1 / (1 + e^-x), from the side where the exponential does not overflow: within 3 units in the last place.
//!
//! tanh(x) = x + x^3 p(x^2) for |x| < 5/8, with p minimax for the relative error (7.4e-9 of degree 4 for singles, 6.8e-19 of degree 11 for
//! doubles), and 1 - 2 / (e^2|x| + 1) beyond, where nothing cancels: within 2.5 units. Both are computed and one is chosen: a branch would
//! have to look at all lanes. Zeros keep their sign, infinities give 1 and -1, NaN stays.

use super::coefficients::Coefficients;
use super::exponential::polynomial;
use super::{Vector, exp, exp_of_negative};
use crate::element::Real;

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<V: Vector>(x: V) -> V {
    let (zero, one) = (V::zero(), V::splat(V::Element::ONE));
    let power = exp_of_negative(zero.sub(x.abs()));
    x.where_less(zero, power, one).mul(one.add(power).reciprocal())
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<V: Vector>(x: V) -> V {
    let (one, two) = (V::splat(V::Element::ONE), V::splat(V::Element::from_f64(2.0)));
    let size = x.abs();
    let square = size.mul(size);
    let small = size.mul(square).mul_add(polynomial(V::Element::TANH, square), size);
    let large = one.sub(two.div(exp(size.add(size)).add(one)));
    size.where_less(V::splat(V::Element::from_f64(0.625)), small, large).with_sign_of(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::function;
    use crate::vector::function::testing::{paths, run, worst_in_units};

    function!(Tanh, x => tanh(x));
    function!(Sigmoid, x => sigmoid(x));

    fn logistic(x: f64) -> f64 {
        if x < 0.0 { libm::exp(x) / (1.0 + libm::exp(x)) } else { 1.0 / (1.0 + libm::exp(-x)) }
    }

    #[test]
    fn both_are_right_to_their_stated_units() {
        for isa in paths() {
            let mut worst = [0f64; 4];
            for range in [[-1e-3, 1e-3], [-0.7, 0.7], [0.5, 10.0], [-30.0, -0.5], [-87.0, 87.0]] {
                let found = [
                    worst_in_units::<f32, _>(isa, Tanh, range, libm::tanh),
                    worst_in_units::<f32, _>(isa, Sigmoid, range, logistic),
                    worst_in_units::<f64, _>(isa, Tanh, range, libm::tanh),
                    worst_in_units::<f64, _>(isa, Sigmoid, range, logistic),
                ];
                worst = std::array::from_fn(|at| worst[at].max(found[at]));
            }
            println!("{isa:?}: {worst:.2?}");
            // One unit more for doubles, whose reference is only a double itself.
            assert!(worst[..2].iter().all(|&worst| worst < 3.0) && worst[2..].iter().all(|&worst| worst < 4.0), "{isa:?} {worst:?}");
        }
    }

    #[test]
    fn special_values_stay_special() {
        for isa in paths() {
            let special = [0.0f32, -0.0, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::NAN];
            let (mut tangents, mut gates) = (special, special);
            run(isa, Tanh, &mut tangents);
            run(isa, Sigmoid, &mut gates);
            assert_eq!(tangents[..6], [0.0, 0.0, 1.0, -1.0, 1.0, -1.0], "{isa:?}");
            assert!(tangents[1].is_sign_negative() && tangents[0].is_sign_positive() && tangents[6].is_nan());
            assert_eq!(gates[..6], [0.5, 0.5, 1.0, 0.0, 1.0, 0.0], "{isa:?}");
            assert!(gates[6].is_nan());
            let mut tiny = [1e-40f32, -1e-30];
            run(isa, Tanh, &mut tiny);
            assert_eq!(tiny, [1e-40, -1e-30], "{isa:?}");
        }
    }
}
