//! Layer normalisation: (x - mean) / sqrt(variance + eps) * gamma + beta over the channels of each row.
//!
//! Ba, Kiros and Hinton, "Layer Normalization" (2016), section 3; post-norm as in Vaswani et al. (2017), pre-norm as in Xiong et al.,
//! "On Layer Normalization in the Transformer Architecture" (2020).

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};

use super::joined::{BETA, EPS, GAMMA, Joined, POSITION, RESIDUAL, layer_norm, position};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LayerNorm;

impl Variant for LayerNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/layer-norm",
        summary: "layer norm, alone or with the residual (post: norm(x + residual), pre: residual + norm(x))",
        citation: "Ba et al. 2016, section 3; Xiong et al. 2020",
        task: "norm",
        problem: PROBLEM,
        parameters: &[POSITION, EPS],
        tensors: &[X, RESIDUAL, GAMMA, BETA],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: "batch*n*d_model*(8 - is(position, plain))", scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Joined<B>> {
        Ok(Joined {
            name: Self::DESCRIPTOR.name,
            gamma: operands.tensor("gamma")?,
            beta: Some(operands.tensor("beta")?),
            spec: NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") },
            position: position(axes),
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm(axes)
    }
}
