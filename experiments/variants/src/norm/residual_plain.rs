//! The plain residual connection, x + residual: the baseline of the residual kinds.
//!
//! He et al. 2016, "Deep Residual Learning for Image Recognition", section 3.2.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::reference::{ExactOperation, NormPosition};

use super::joined::STREAM_IN;
use super::none::Sum;
use super::{PROBLEM, RESIDUAL_TASK, STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct ResidualPlain;

impl Variant for ResidualPlain {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/residual-plain",
        summary: "x + residual",
        citation: "He et al. 2016, section 3.2",
        task: RESIDUAL_TASK,
        problem: PROBLEM,
        parameters: &[],
        tensors: &[X, STREAM_IN],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "batch*n*d_model", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Sum;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Sum> {
        Ok(Sum { name: Self::DESCRIPTOR.name, position: NormPosition::Post })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Operation(ExactOperation::ResidualAdd)
    }
}
