//! Layer normalisation: (x - mean) / sqrt(variance + eps) * gamma + beta over the channels of each row.
//!
//! Ba, Kiros and Hinton, "Layer Normalization" (2016), section 3; post-norm as in Vaswani et al. (2017), pre-norm as in Xiong et al.,
//! "On Layer Normalization in the Transformer Architecture" (2020).

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};

use super::STREAM;
use super::joined::{EPS, Joined, PROBLEM, Statistics, TASK, TENSORS, joined_flops, layer_norm, position};
use crate::descriptor::{Descriptor, Model};
use crate::resolve::number;
use crate::variant::{Operands, Reference, Variant};

/// The variant.
pub struct LayerNorm;

impl Variant for LayerNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/layer-norm",
        summary: "layer norm, alone or where it joins the residual stream",
        citation: "Ba et al. 2016, section 3; Xiong et al. 2020",
        task: TASK,
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: TENSORS,
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("7"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| Statistics::affine(spec, operands, suffix))
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm(axes)
    }
}
