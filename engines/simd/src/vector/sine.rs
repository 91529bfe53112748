//! Sine and cosine on vectors.
//!
//! x = h pi + r with h the nearest whole number for the sine, and the nearest half of an odd one for the cosine, so that |r| <= pi / 2 (and
//! a little more where h was rounded to the other side). Then sin x = ± sin r by the parity of h, and cos x likewise. pi is subtracted in
//! three parts, each by one multiply-add: the first difference is exact, and the others are rounded to the precision of what is left, which
//! no argument up to the limit brings near zero faster than they do. sin r = r + r^3 p(r^2), p near minimax on |r| <= 1.6 (1.9e-8 of degree
//! 4 for singles, 3.7e-17 of degree 9 for doubles): within 2 units in the last place.
//!
//! Larger arguments, infinities and NaN go lane by lane through the scalar functions, and so does everything where a multiply-add rounds
//! twice.

use super::Vector;
use super::coefficients::Coefficients;
use super::exponential::polynomial;
use super::function::by_lane;
use crate::element::Real;

/// sin x.
#[inline(always)]
pub(crate) fn sin<V: Vector>(x: V) -> V {
    if !reducible(x) {
        return by_lane(x, V::Element::sin);
    }
    let whole = x.mul(V::splat(V::Element::ONE_BY_PI)).round();
    let sine = sine_of_rest(x, whole).mul(parity(whole));
    // A zero keeps its sign.
    x.where_equal(V::zero(), x, sine)
}

/// cos x.
#[inline(always)]
pub(crate) fn cos<V: Vector>(x: V) -> V {
    if !reducible(x) {
        return by_lane(x, V::Element::cos);
    }
    let half = V::splat(V::Element::from_f64(0.5));
    let whole = x.mul_add(V::splat(V::Element::ONE_BY_PI), V::zero().sub(half)).round();
    V::zero().sub(sine_of_rest(x, whole.add(half)).mul(parity(whole)))
}

/// Are all lanes small enough for three parts of pi, and is a multiply-add rounded once?
#[inline(always)]
fn reducible<V: Vector>(x: V) -> bool {
    V::LANES > 1 && x.abs().lanes_above::<false>(V::splat(V::Element::SINE_LIMIT)) == 0
}

/// sin(x - multiple pi).
#[inline(always)]
fn sine_of_rest<V: Vector>(x: V, multiple: V) -> V {
    let rest = V::Element::PI.iter().fold(x, |rest, &part| multiple.mul_add(V::splat(-part), rest));
    let square = rest.mul(rest);
    rest.mul(square).mul_add(polynomial(V::Element::SINE, square), rest)
}

/// 1 for an even number and -1 for an odd one.
#[inline(always)]
fn parity<V: Vector>(whole: V) -> V {
    let half = V::splat(V::Element::from_f64(0.5));
    let odd = whole.mul(half).round().mul_add(V::splat(V::Element::from_f64(-2.0)), whole);
    odd.mul(odd).mul_add(V::splat(V::Element::from_f64(-2.0)), V::splat(V::Element::ONE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::function;
    use crate::vector::function::testing::{paths, run, worst_in_units};

    function!(Sin, x => sin(x));
    function!(Cos, x => cos(x));

    #[test]
    fn both_are_right_to_their_stated_units() {
        for isa in paths() {
            for range in [[-1e-3, 1e-3], [-1.6, 1.6], [1.0, 40.0], [-1e4, -9e3], [9.9e4, 1.01e5]] {
                let singles = [worst_in_units::<f32, _>(isa, Sin, range, libm::sin), worst_in_units::<f32, _>(isa, Cos, range, libm::cos)];
                // Near their own limit, too. One unit more for doubles, whose reference is only a double itself.
                let far = range.map(|x| 999.9 * x);
                let doubles = [range, far].map(|range| {
                    worst_in_units::<f64, _>(isa, Sin, range, libm::sin).max(worst_in_units::<f64, _>(isa, Cos, range, libm::cos))
                });
                assert!(
                    singles.iter().all(|&worst| worst < 2.0) && doubles.iter().all(|&worst| worst < 3.0),
                    "{isa:?} {range:?}: {singles:?} {doubles:?}"
                );
            }
        }
    }

    /// Singles and doubles next to multiples of pi / 2, where all leading bits cancel.
    #[test]
    fn nothing_is_lost_next_to_the_zeros() {
        for isa in paths() {
            for multiple in (1..60_000).step_by(7).chain((60_000_000..63_000_000).step_by(997)) {
                let zero = f64::from(multiple) * std::f64::consts::FRAC_PI_2;
                let mut single = [zero as f32];
                let x = f64::from(single[0]);
                let (right, of_single) = if multiple % 2 == 0 {
                    run(isa, Sin, &mut single);
                    (libm::sin(x), single[0])
                } else {
                    run(isa, Cos, &mut single);
                    (libm::cos(x), single[0])
                };
                // Beyond the limit of singles these are the scalar functions.
                assert!((f64::from(of_single) - right).abs() <= 2.4e-7 * right.abs(), "{isa:?} {x}: {of_single} for {right}");
                let mut double = [zero];
                let right = if multiple % 2 == 0 {
                    run(isa, Sin, &mut double);
                    libm::sin(zero)
                } else {
                    run(isa, Cos, &mut double);
                    libm::cos(zero)
                };
                assert!((double[0] - right).abs() <= 6e-16 * right.abs(), "{isa:?} {zero}: {} for {right}", double[0]);
            }
        }
    }

    #[test]
    fn special_values_stay_special() {
        for isa in paths() {
            let special = [0.0f32, -0.0, f32::INFINITY, f32::NAN, 1e30, -1e30, 1e-40, 3.0];
            let (mut sines, mut cosines) = (special, special);
            run(isa, Sin, &mut sines);
            run(isa, Cos, &mut cosines);
            // Among values that only a function of one number takes, and among those that vectors take.
            let mut alone = [0.0f32, -0.0];
            run(isa, Sin, &mut alone);
            for zeros in [&sines[..2], &alone] {
                assert_eq!(zeros.iter().map(|zero| zero.to_bits()).collect::<Vec<_>>(), [0.0f32, -0.0].map(f32::to_bits), "{isa:?}");
            }
            assert!(sines[2..4].iter().chain(&cosines[2..4]).all(|value| value.is_nan()));
            assert_eq!((sines[4], sines[5], sines[6]), (libm::sinf(1e30), -libm::sinf(1e30), 1e-40));
            assert_eq!((cosines[0], cosines[1], cosines[4]), (1.0, 1.0, libm::cosf(1e30)));
        }
    }
}
