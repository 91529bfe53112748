//! Softmax with a tabulated exponential: e^x as the nearest of 2^bits powers of two an octave.
//!
//! After Tang (1989, section 3), without his correction of the fraction: one lookup and an exponent shift. Trades a relative error of
//! 2^(2^-(bits + 1)) - 1 in each numerator for having no arithmetic at all beyond the reduction.

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
pub struct Table;

impl Variant for Table {
    const DESCRIPTOR: Descriptor = Descriptor {
        parameters: &[AxisSpec {
            name: "bits",
            doc: "logarithm of the number of entries of the table",
            kind: AxisKind::Int { min: 1, max: 12 },
            default: AxisDefault::Int(6),
        }],
        model: Model { flops: "batch*n*(5*classes + 2)", scratch: "batch*n*(classes + 1) + 1" },
        ..description("softmax/table", "softmax with e^x from a table of 2^bits entries", "Tang 1989, section 3, without the correction")
    };

    type Bound<B: TransformerBackend> = Exponentials;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Exponentials> {
        Ok(Exponentials { steps: vec![UnaryOp::ExpTable { bits: size(axes, "bits") as u32 }], shifted: true })
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
    fn each_bit_halves_the_error() {
        let error =
            |bits: i64| judged::<Table>(&[("n", 32.into()), ("classes", 64.into()), ("bits", bits.into())]).method.relative.unwrap();
        let ratios: Vec<f64> = [2, 4, 6].map(|bits| error(bits) / error(bits + 2)).to_vec();
        assert!(ratios.iter().all(|ratio| (3.0..5.3).contains(ratio)), "{ratios:?}");
    }

    #[test]
    fn tables_that_are_too_large_are_refused() {
        assert_eq!(axis_error::<Table>(&[("bits", 13.into())]), "softmax/table: bits = 13 must be a whole number in 1..=12");
    }
}
