//! A weight of which only the square blocks of largest norm are stored.
//!
//! Block pruning (Narang et al. 2017, section 3, who take the largest entry of a block; here it is the Frobenius norm), without
//! retraining. Each stored block is a small dense product, with one index for all its entries. Traded away: accuracy, more than any finer
//! mask of as many entries. Density 1 is the dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::layer::{self, FLOATING, Layer, WEIGHT};
use super::sparse::{BLOCK, DENSITY, blocks, form, masked};
use crate::descriptor::{Condition, DerivedSpec, Descriptor, Model, Role};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct BlockSparse;

fn stored(axes: &Axes) -> WeightForm {
    form(blocks(axes), size(axes, "d_out"), size(axes, "d_in"), axes)
}

impl Variant for BlockSparse {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/block-sparse",
        summary: "activation(x w^T + b) with only the square blocks of w of largest norm",
        citation: "Narang et al. 2017, section 3",
        parameters: &[BLOCK, DENSITY],
        derived: &[DerivedSpec { name: "w", role: Role::Weight, shape: WEIGHT, form: Some(stored) }],
        conditions: &[
            FLOATING,
            Condition {
                text: "block must divide d_in and d_out",
                holds: |axes: &Axes| ["d_in", "d_out"].iter().all(|axis| size(axes, axis).is_multiple_of(size(axes, "block"))),
            },
        ],
        model: Model {
            flops: "batch*n*(2*block^2*max(1, floor(density*d_in*d_out/block^2 + 0.5)) + d_out*(1 + activation))",
            scratch: "0",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Layer<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Layer<B>> {
        Layer::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layer::exact(axes)
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let made = masked(blocks(axes), source(drawn, "w")?, axes)?;
        Ok(Derived::default().compressed("w", made.weight, made.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn all_blocks_are_dense_and_coarser_blocks_err_more() {
        assert!(error_against_dense::<BlockSparse>(&[("density", 1.0.into()), ("block", 4.into())]) < 1e-14);
        let errors: Vec<f64> = [1, 2, 4, 8].map(|edge: i64| error_against_dense::<BlockSparse>(&[("block", edge.into())])).into();
        assert!(errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<BlockSparse>(&sizes(&[("block", 5.into())])).contains("block must divide d_in and d_out"));
        assert!(axis_error::<BlockSparse>(&sizes(&[("density", 0.0.into())])).contains("must be a number in 0.001..=1"));
    }
}
