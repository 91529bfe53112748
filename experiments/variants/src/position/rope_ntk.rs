//! Rotary positions for sequences longer than in training, by a larger base ("NTK-aware").
//!
//! bloc97 2023, as described by Peng et al. 2023, "YaRN", section 3.1: with base' = base factor^(d / (d - 2)) the slowest pair turns slower by
//! exactly the factor, as in linear interpolation, the fastest not at all, and those between by a power of it. Short distances keep their
//! resolution; nothing is divided evenly.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;

use super::rotated::{BASE, EVEN, FACTOR, OFFSET, Rotated, description, tables};
use crate::descriptor::{Condition, Descriptor};
use crate::resolve::{number, size};
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct RopeNtk;

impl Variant for RopeNtk {
    const DESCRIPTOR: Descriptor = description(
        ["position/rope-ntk", "rotary positions with the base enlarged for longer sequences", "Peng et al. 2023, section 3.1"],
        &[BASE, OFFSET, FACTOR],
        &[
            EVEN,
            Condition {
                text: "one pair has no slower one to stretch: head_dim must be at least 4",
                holds: |axes| size(axes, "head_dim") > 2,
            },
        ],
    );

    type Bound<B: TransformerBackend> = Rotated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Rotated<B>> {
        Rotated::bind(operands)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let width = size(axes, "head_dim") as f64;
        let base = number(axes, "base") * number(axes, "factor").powf(width / (width - 2.0));
        tables(axes, |position, exponent| position * base.powf(-exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::rope::Rope;
    use crate::position::rope_linear::RopeLinear;
    use crate::testing::{axes, axis_error, drawn, run};
    use crossover_core::axes::AxisValue;

    #[test]
    fn the_fastest_pair_is_that_of_rope_and_the_slowest_that_of_interpolation() {
        let given: [(&str, AxisValue); 3] = [("heads", 1.into()), ("n", 5.into()), ("head_dim", 8.into())];
        let with_factor = [given[0].clone(), given[1].clone(), given[2].clone(), ("factor", 3.0.into())];
        let inputs = drawn::<Rope>(&axes::<Rope>(&given));
        let rope = run::<Rope>(&axes::<Rope>(&given), &inputs);
        let linear = run::<RopeLinear>(&axes::<RopeLinear>(&with_factor), &inputs);
        let own = run::<RopeNtk>(&axes::<RopeNtk>(&with_factor), &inputs);
        for row in 0..5 {
            for (channel, expected) in [(0, &rope), (4, &rope), (3, &linear), (7, &linear)] {
                let at = 8 * row + channel;
                assert!((own.values()[at] - expected.values()[at]).abs() < 1e-14, "row {row}, channel {channel}");
            }
        }
        assert!((own.values()[33] - rope.values()[33]).abs() > 1e-4 && (own.values()[33] - linear.values()[33]).abs() > 1e-4);
    }

    #[test]
    fn a_single_pair_is_refused() {
        let error = axis_error::<RopeNtk>(&[("head_dim", 2.into())]);
        assert!(error.contains("head_dim must be at least 4 (here"), "{error}");
    }
}
