//! Learned positions: a trained table, one row a position, added to the input.
//!
//! Gehring et al. 2017, "Convolutional Sequence to Sequence Learning", section 3.1; Devlin et al. 2019 (BERT). Costs what the fixed table costs,
//! and `positions` x d_model trained numbers; there is nothing beyond its last row.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::sinusoidal::{Added, PROBLEM, STREAM, X};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::resolve::size;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Learned;

impl Variant for Learned {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "position/learned",
        summary: "a trained table of positions added to the input",
        citation: "Gehring et al. 2017, section 3.1",
        task: "position/embedding",
        problem: PROBLEM,
        parameters: &[AxisSpec {
            name: "positions",
            doc: "rows of the table: the longest sequence that it can serve",
            kind: AxisKind::Int { min: 1, max: 1 << 40 },
            default: AxisDefault::SameAs("n"),
        }],
        tensors: &[
            X,
            TensorSpec {
                name: "table",
                role: Role::Vector,
                shape: &[Dim::Axis("positions"), Dim::Axis("d_model")],
                draw: DrawRule::Around(0.0, 0.02),
                only_with: None,
            },
        ],
        derived: &[],
        output: STREAM,
        conditions: &[Condition {
            text: "the table must have a row for each token: n may not exceed positions",
            holds: |axes| size(axes, "n") <= size(axes, "positions"),
        }],
        model: Model { flops: "batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Added<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Added<B>> {
        Ok(Added { table: operands.tensor("table")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn the_first_rows_are_added_to_every_sequence() {
        let axes = axes::<Learned>(&[("batch", 2.into()), ("n", 5.into()), ("d_model", 4.into()), ("positions", 9.into())]);
        let inputs = drawn::<Learned>(&axes);
        let (x, table) = (inputs["x"].values(), inputs["table"].values());
        let expected = x.iter().enumerate().map(|(at, x)| x + table[at % 20]).collect();
        assert_eq!(distance(&run::<Learned>(&axes, &inputs), &HostTensor::new(&[2, 5, 4], expected).unwrap()), 0.0);
    }

    #[test]
    fn sequences_beyond_the_table_are_refused() {
        let error = axis_error::<Learned>(&[("n", 10.into()), ("positions", 9.into())]);
        assert!(
            error.starts_with("position/learned: the table must have a row for each token: n may not exceed positions (here"),
            "{error}"
        );
    }
}
