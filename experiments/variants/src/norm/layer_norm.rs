//! Layer normalisation: (x - mean) / sqrt(variance + eps) * gamma + beta over the channels of each row.
//!
//! Ba, Kiros and Hinton, "Layer Normalization" (2016), section 3; post-norm as in Vaswani et al. (2017), pre-norm as in Xiong et al.,
//! "On Layer Normalization in the Transformer Architecture" (2020). What the other positions are for ([`super::joined`] has them for every
//! norm):
//!
//! * sandwich (Ding et al. 2021, "CogView", section 2.4): what joins the stream is bounded by the second norm's scale, whatever the
//!   sublayer does: the overflows of pre-norm in half precision go away. Trades a second norm for that;
//! * parallel (Wang and Komatsuzaki 2021, GPT-J-6B; Chowdhery et al. 2022, PaLM, section 2): one norm serves attention and FFN side by side.
//!   One norm and one join less a block than in series. Trades away that the FFN sees what attention has just written. `norm(x)`
//!   stands for the first sublayer, and `other` is what the second one gave;
//! * deep-norm (Wang et al. 2022, "DeepNet: Scaling Transformers to 1,000 Layers", section 3 and equation 9): alpha = (2 N)^(1/4) for a
//!   stack of N layers (encoder or decoder alone) keeps the update of the whole model bounded, so that post-norm trains at great depth.
//!   One product an element more than post-norm; the matching down-scaling of the initial weights costs nothing at run time.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::joined::plain_layer_norm;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn a_sandwich_is_two_norms_and_a_sum_however_large_the_input() {
        let given = [("n", 6.into()), ("d_model", 16.into()), ("position", "sandwich".into()), ("distribution", "extreme".into())];
        let axes = axes::<LayerNorm>(&given);
        let inputs = drawn::<LayerNorm>(&axes);
        let of = |name: &str| inputs[name].values();
        let inner = plain_layer_norm(of("x"), of("gamma"), of("beta"), 1e-5);
        let outer = plain_layer_norm(&inner, of("gamma_out"), of("beta_out"), 1e-5);
        let expected = outer.iter().zip(of("residual")).map(|(a, b)| a + b).collect();
        assert!(distance(&run::<LayerNorm>(&axes, &inputs), &HostTensor::new(&[1, 6, 16], expected).unwrap()) < 1e-12);
    }
}
