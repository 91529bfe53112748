//! Taylor softmax: p(x) / sum p(x) with the Taylor polynomial of e^x at 0, of even degree so that it is positive everywhere.
//!
//! De Brebisson and Vincent 2016, "An exploration of softmax alternatives belonging to the spherical loss family", section 2.3 (their
//! degree is 2). No exponential and no maximum: p is not shift-invariant, so the logits are taken as they are. Near e^x for |x| below about
//! one only: for wide logits it is another function, much flatter, and the error says so. Masking by minus infinity is not possible
//! (an even polynomial of it is plus infinity): a masked row must be handled before.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::UnaryOp;
use crossover_core::reference::ExactOperation;

use super::description;
use super::exponentials::Exponentials;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Model};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Taylor;

impl Variant for Taylor {
    const DESCRIPTOR: Descriptor = Descriptor {
        parameters: &[AxisSpec {
            name: "degree",
            doc: "degree of the polynomial; even",
            kind: AxisKind::Int { min: 2, max: 8 },
            default: AxisDefault::Int(2),
        }],
        conditions: &[Condition {
            text: "an odd degree may give negative probabilities: degree must be even",
            holds: |axes| size(axes, "degree").is_multiple_of(2),
        }],
        model: Model { flops: "batch*n*((2 + 2*degree)*classes + 1)", scratch: "batch*n*(classes + 1) + 1" },
        ..description(
            "softmax/taylor",
            "softmax with the Taylor polynomial of e^x at 0: no exponential, no maximum",
            "de Brebisson and Vincent 2016, section 2.3",
        )
    };

    type Bound<B: TransformerBackend> = Exponentials;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, axes: &Axes) -> Result<Exponentials> {
        Ok(Exponentials { steps: vec![UnaryOp::ExpTaylor { degree: size(axes, "degree") as u32 }], shifted: false })
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
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn the_second_degree_is_the_formula_of_the_paper() {
        let axes = axes::<Taylor>(&[("n", 7.into()), ("classes", 20.into())]);
        let inputs = drawn::<Taylor>(&axes);
        let rows = inputs["logits"].values().chunks(20).flat_map(|row| {
            let numerators: Vec<f64> = row.iter().map(|x| 1.0 + x + 0.5 * x * x).collect();
            let sum: f64 = numerators.iter().sum();
            numerators.into_iter().map(move |numerator| numerator / sum).collect::<Vec<_>>()
        });
        let expected = HostTensor::new(&[1, 7, 20], rows.collect()).unwrap();
        assert!(distance(&run::<Taylor>(&axes, &inputs), &expected) < 1e-14);
    }

    #[test]
    fn a_higher_degree_is_nearer_to_softmax() {
        let error = |degree: i64| judged::<Taylor>(&[("n", 16.into()), ("degree", degree.into())]).method.relative.unwrap();
        assert!(error(4) < 0.5 * error(2) && error(8) < 0.2 * error(4), "{} {} {}", error(2), error(4), error(8));
    }

    #[test]
    fn odd_degrees_are_refused() {
        let error = axis_error::<Taylor>(&[("degree", 3.into())]);
        assert!(error.contains("degree must be even (here"), "{error}");
    }
}
