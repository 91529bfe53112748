//! Softmax with a polynomial exponential: 2^i p(f) after splitting x log2 e into a whole and a fraction.
//!
//! The reduction is Tang's (1989, section 3), with a Taylor polynomial of 2^f of the given degree in place of his table; on vector units
//! without an exponential this is what fast kernels do (FlashAttention-4's software exponential is of degree 3). Trades a relative error
//! of sqrt(2) (ln 2 / 2)^(d + 1) / (d + 1)! in each numerator for a handful of multiply-adds; the normalised row is off by at most twice
//! that.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::UnaryOp;
use crossover_core::reference::ExactOperation;

use super::description;
use super::exponentials::Exponentials;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct FastExp;

impl Variant for FastExp {
    const DESCRIPTOR: Descriptor = Descriptor {
        parameters: &[AxisSpec {
            name: "degree",
            doc: "degree of the polynomial on the fraction",
            kind: AxisKind::Int { min: 1, max: 8 },
            default: AxisDefault::Int(3),
        }],
        model: Model { flops: "batch*n*((4 + 2*degree)*classes + 2)", scratch: "batch*n*(classes + 1) + 1" },
        ..description("softmax/fast-exp", "softmax with 2^i p(f) for e^x, p a polynomial", "Tang 1989, section 3")
    };

    type Bound<B: TransformerBackend> = Exponentials;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Exponentials> {
        Ok(Exponentials { steps: vec![UnaryOp::ExpPolynomial { degree: size(axes, "degree") as u32 }], shifted: true })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::Softmax)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axis_error, judged};

    #[test]
    fn the_error_falls_with_the_degree_and_stays_within_twice_its_bound() {
        let mut last = f64::INFINITY;
        for (degree, bound) in [(1, 1.7e-1), (2, 2.0e-2), (3, 1.7e-3), (5, 7.0e-6)] {
            let error = judged::<FastExp>(&[("n", 16.into()), ("classes", 64.into()), ("degree", degree.into())]).method.relative.unwrap();
            assert!(error < last && error < bound, "degree {degree}: {error:e} after {last:e}");
            last = error;
        }
    }

    #[test]
    fn degrees_that_are_not_defined_are_refused() {
        assert_eq!(axis_error::<FastExp>(&[("degree", 9.into())]), "softmax/fast-exp: degree = 9 must be a whole number in 1..=8");
    }
}
