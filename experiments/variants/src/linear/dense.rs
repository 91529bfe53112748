//! A dense linear layer with bias and a fused activation: the baseline of its family.
//!
//! The weight is prepared before the timer in the cell's weight precision, so int8 and int4 rows of this variant are the quantised
//! baselines as well: precision `int8` is dynamic quantisation of the activations, `int8-weight` and `int4` of the weight alone.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::layer::{self, Layer, PROBLEM, TENSORS};
use crate::descriptor::{Descriptor, Dim, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Dense;

impl Variant for Dense {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "linear/dense",
        summary: "activation(x w^T + b)",
        citation: "the textbook affine layer",
        task: "linear",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: &[Dim::Rows, Dim::Axis("d_out")],
        conditions: &[],
        model: Model { flops: "batch*n*d_out*(2*d_in + 1 + activation)", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Layer<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Layer<B>> {
        Layer::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layer::exact(axes)
    }
}
