//! The feed-forward layer with only the square blocks of largest norm of both weights.
//!
//! Block pruning (Narang et al. 2017, section 3, who take the largest entry of a block; here it is the Frobenius norm), without
//! retraining. Each stored block is a small dense product. Traded away: accuracy, more than any finer mask of as many entries. Density 1 is
//! the dense layer.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::WeightForm;
use crossover_core::reference::HostInputs;

use super::dense::Dense;
use super::layers::{self, FIRST, SECOND, TwoLayers};
use crate::descriptor::{Condition, DerivedSpec, Descriptor, Model, Role};
use crate::linear::layer::FLOATING;
use crate::linear::sparse::{BLOCK, DENSITY, blocks, form, masked};
use crate::resolve::size;
use crate::variant::{Derived, Operands, Reference, Variant, source};

/// The variant.
pub struct BlockSparse;

fn first(axes: &Axes) -> WeightForm {
    form(blocks(axes), size(axes, "d_ff"), size(axes, "d_model"), axes)
}

fn second(axes: &Axes) -> WeightForm {
    form(blocks(axes), size(axes, "d_model"), size(axes, "d_ff"), axes)
}

impl Variant for BlockSparse {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/block-sparse",
        summary: "the dense layer with only the square blocks of w1 and w2 of largest norm",
        citation: "Narang et al. 2017, section 3",
        parameters: &[BLOCK, DENSITY],
        derived: &[
            DerivedSpec { name: "w1", role: Role::Weight, shape: FIRST, form: Some(first) },
            DerivedSpec { name: "w2", role: Role::Weight, shape: SECOND, form: Some(second) },
        ],
        conditions: &[
            FLOATING,
            Condition {
                text: "block must divide d_model and d_ff",
                holds: |axes: &Axes| ["d_model", "d_ff"].iter().all(|axis| size(axes, axis).is_multiple_of(size(axes, "block"))),
            },
        ],
        model: Model {
            flops: "batch*n*(4*block^2*max(1, floor(density*d_model*d_ff/block^2 + 0.5)) + d_ff*(1 + activation) + d_model)",
            scratch: "batch*n*d_ff",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = TwoLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<TwoLayers<B>> {
        TwoLayers::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let made = |name: &str| masked(blocks(axes), source(drawn, name)?, axes);
        let (one, two) = (made("w1")?, made("w2")?);
        Ok(Derived::default().compressed("w1", one.weight, one.saving).compressed("w2", two.weight, two.saving))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error_against_dense, sizes};
    use super::*;
    use crate::testing::axis_error;

    #[test]
    fn all_blocks_are_dense_and_fewer_err_more() {
        let error = |share: f64| error_against_dense::<BlockSparse>(&[("density", share.into()), ("block", 4.into())]);
        let errors: Vec<f64> = [1.0, 0.75, 0.5, 0.25].map(error).into();
        assert!(errors[0] < 1e-14 && errors.is_sorted_by(|a, b| a < b), "{errors:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(axis_error::<BlockSparse>(&sizes(&[("block", 5.into())])).contains("block must divide d_model and d_ff"));
    }
}
