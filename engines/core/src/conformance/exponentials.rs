//! Cheaper exponentials, which are held to their own f64 definitions and not to e^x; and parameters for which there is no definition.

use crate::backend::TransformerBackend;
use crate::elementary::{MAX_DEGREE, MAX_TABLE_BITS};
use crate::ops::{OpSpec, UnaryOp};

use super::Property;
use super::elementwise::{apply, check_unary};
use super::trial::{Outcome, Stop, Trial, fail};

pub(super) fn properties<B: TransformerBackend>() -> Vec<Property<B>> {
    vec![
        Property { name: "approximate-exponentials", operation: "unary", check: approximate_exponentials },
        Property { name: "undefined-parameters", operation: "unary", check: undefined_parameters },
    ]
}

fn approximate_exponentials<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let mut up_to = |most: u32| 1 + t.source.below(most as usize) as u32;
    let ops = [
        UnaryOp::ExpPolynomial { degree: up_to(MAX_DEGREE) },
        UnaryOp::ExpTable { bits: up_to(MAX_TABLE_BITS) },
        UnaryOp::ExpTaylor { degree: up_to(MAX_DEGREE) },
    ];
    ops.into_iter().try_for_each(|op| check_unary(t, op))
}

/// What is not defined must be refused, and not be taken for something near it.
fn undefined_parameters<B: TransformerBackend>(t: &mut Trial<'_, B>) -> Outcome {
    let (degree, bits) = (t.source.choose(&[0, MAX_DEGREE + 1, u32::MAX]), t.source.choose(&[0, MAX_TABLE_BITS + 1, u32::MAX]));
    for op in [UnaryOp::ExpPolynomial { degree }, UnaryOp::ExpTable { bits }, UnaryOp::ExpTaylor { degree }] {
        let x = t.given(t.storage(), &[2], &[0.5, -1.0])?;
        match t.map(&OpSpec::Unary { elements: 2, op }, &x, |engine, x, out| engine.unary(op, x, out)) {
            Err(Stop::Refused) => {}
            Err(failed) => return Err(failed),
            Ok(_) => return fail(format!("{op:?} is not defined, but runs")),
        }
    }
    Ok(())
}

/// How far a function moves when its argument is off by the roundings of x log2 e. These functions jump where the reduction takes the
/// next power or the next entry: near such a point either side is right.
pub(super) fn around(op: UnaryOp, x: f64, value: f64, u: f64) -> f64 {
    let reach = 2.0 * u * x.abs();
    [x - reach, x + reach].into_iter().map(|x| (apply(op, x) - value).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::elementwise::error;
    use crate::dtype::DType;

    /// 2^i p(f) with every step rounded to f32; the reduction by one product, or with log2 e in two parts.
    fn polynomial_in_f32(x: f32, degree: u32, precise: bool) -> f32 {
        let y = x * std::f32::consts::LOG2_E;
        let whole = y.round_ties_even();
        let rest = if precise { x.mul_add(std::f32::consts::LOG2_E, -whole) } else { y - whole };
        let (mut coefficient, mut coefficients) = (1f64, vec![1f32]);
        for k in 1..=degree {
            coefficient *= std::f64::consts::LN_2 / f64::from(k);
            coefficients.push(coefficient as f32);
        }
        coefficients.iter().rev().fold(0.0, |sum, &coefficient| sum * rest + coefficient) * whole.exp2()
    }

    fn table_in_f32(x: f32, bits: u32) -> f32 {
        let scale = (1u32 << bits) as f32;
        ((x * std::f32::consts::LOG2_E * scale).round_ties_even() / scale).exp2()
    }

    fn taylor_in_f32(x: f32, degree: u32) -> f32 {
        let (mut term, mut sum) = (1f32, 1f32);
        for k in 1..=degree {
            term *= x / k as f32;
            sum += term;
        }
        sum
    }

    #[test]
    fn plain_f32_kernels_are_within_the_tolerance() {
        let u = DType::F32.unit_roundoff();
        for x in (-8000..=8000).map(|step| step as f32 * 1.093_7e-2) {
            for size in 1..=MAX_DEGREE {
                let bits = size + 4;
                for (op, found) in [
                    (UnaryOp::ExpPolynomial { degree: size }, polynomial_in_f32(x, size, false)),
                    (UnaryOp::ExpPolynomial { degree: size }, polynomial_in_f32(x, size, true)),
                    (UnaryOp::ExpTable { bits }, table_in_f32(x, bits)),
                    (UnaryOp::ExpTaylor { degree: size }, taylor_in_f32(x, size)),
                ] {
                    let x = f64::from(x);
                    let value = apply(op, x);
                    let allowed = error(op, x, value, u) + 100.0 * DType::F32.smallest_normal();
                    let off = (f64::from(found) - value).abs();
                    assert!(off <= allowed, "{op:?} at {x}: {found:e} for {value:e}, off by {off:e}, allowed {allowed:e}");
                }
            }
        }
    }
}
