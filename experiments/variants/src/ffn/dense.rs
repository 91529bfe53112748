//! The dense feed-forward layer: activation(x w1^T + b1) w2^T + b2.
//!
//! Vaswani et al. (2017), section 3.3, with ReLU; GELU (Hendrycks and Gimpel, 2016, exact and by tanh), SiLU and squared ReLU (So et al.
//! 2021, section 3) by parameter. The hidden tensor is scratch: d_ff / d_model times the input.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;

use super::layers::{self, PROBLEM, STREAM, TENSORS, TwoLayers};
use crate::descriptor::{Descriptor, Model};
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct Dense;

impl Variant for Dense {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/dense",
        summary: "activation(x w1^T + b1) w2^T + b2",
        citation: "Vaswani et al. 2017, section 3.3; Hendrycks and Gimpel 2016 (GELU)",
        task: "ffn",
        problem: PROBLEM,
        parameters: &[],
        tensors: TENSORS,
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "batch*n*(4*d_model*d_ff + d_ff*(1 + activation) + d_model)", scratch: "batch*n*d_ff" },
    };

    type Bound<B: TransformerBackend> = TwoLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<TwoLayers<B>> {
        TwoLayers::bind(Self::DESCRIPTOR.name, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        layers::exact(axes)
    }
}
