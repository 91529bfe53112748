//! Rotary positions for sequences longer than in training, by linear interpolation: positions are divided by a factor.
//!
//! Chen et al. 2023, "Extending Context Window of Large Language Models via Positional Interpolation", section 3.2. Every angle stays within
//! what training has seen; neighbours move closer together, which costs resolution at short distances.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;

use super::rotated::{BASE, EVEN, FACTOR, OFFSET, Rotated, description, tables};
use crate::descriptor::Descriptor;
use crate::resolve::number;
use crate::variant::{Derived, Operands, Reference, Variant};

/// The variant.
pub struct RopeLinear;

impl Variant for RopeLinear {
    const DESCRIPTOR: Descriptor = description(
        ["position/rope-linear", "rotary positions, divided by a factor", "Chen et al. 2023, section 3.2"],
        &[BASE, OFFSET, FACTOR],
        &[EVEN],
    );

    type Bound<B: TransformerBackend> = Rotated<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Rotated<B>> {
        Rotated::bind(operands)
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
        let (base, factor) = (number(axes, "base"), number(axes, "factor"));
        tables(axes, |position, exponent| position / factor * base.powf(-exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::rope::Rope;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn factor_one_is_rope_and_factor_four_shows_position_eight_as_two() {
        let given = |offset: i64| [("heads", 2.into()), ("n", 1.into()), ("head_dim", 8.into()), ("offset", offset.into())];
        let inputs = drawn::<Rope>(&axes::<Rope>(&given(0)));
        let at = |offset: i64, factor: f64| {
            let [heads, n, head_dim, offset] = given(offset);
            run::<RopeLinear>(&axes::<RopeLinear>(&[heads, n, head_dim, offset, ("factor", factor.into())]), &inputs)
        };
        let rope = |offset: i64| run::<Rope>(&axes::<Rope>(&given(offset)), &inputs);
        assert!(distance(&at(8, 1.0), &rope(8)) < 1e-15);
        assert!(distance(&at(8, 4.0), &rope(2)) < 1e-15);
    }
}
