//! Layer norm in the sandwich, parallel and DeepNorm positions under names of their own.
//!
//! Each is `norm/layer-norm` with that position and nothing else, through the same [`Joined`], for those who look for the idea by its name:
//!
//! * sandwich (Ding et al. 2021, "CogView", section 2.4): what joins the stream is bounded by the second norm's scale, whatever the
//!   sublayer does: the overflows of pre-norm in half precision go away. Trades a second norm for that;
//! * parallel (Wang and Komatsuzaki 2021, GPT-J-6B; Chowdhery et al. 2022, PaLM, section 2): one norm serves attention and FFN side by side.
//!   One norm and one join less a block than in series. Trades away that the FFN sees what attention has just written. `norm(x)`
//!   stands for the first sublayer, and `other` is what the second one gave;
//! * DeepNorm (Wang et al. 2022, "DeepNet: Scaling Transformers to 1,000 Layers", section 3 and equation 9): alpha = (2 N)^(1/4) for a
//!   stack of N layers (encoder or decoder alone) keeps the update of the whole model bounded, so that post-norm trains at great depth.
//!   One product an element more than post-norm; the matching down-scaling of the initial weights costs nothing at run time.
//!
//! They compute three different functions, so each has a task of its own; other norms in the same position are compared through the
//! `position` axis of `norm/layer-norm` and its like.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};
use crossover_core::reference::{ExactOperation, NormPosition};

use super::joined::{BETA, EPS, GAMMA, Joined, STREAM_IN, Statistics, channels};
use super::{PROBLEM, STREAM, X};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model, TensorSpec};
use crate::resolve::number;
use crate::variant::{Operands, Reference, Variant};

/// A norm before and one after the sublayer.
pub struct SandwichNorm;

/// One norm for two sublayers.
pub struct ParallelNorm;

/// Post-norm of an enlarged stream.
pub struct DeepNorm;

const ALPHA: AxisSpec = AxisSpec {
    name: "alpha",
    doc: "factor of the stream: (2 N)^(1/4) for N layers (the default is for 12)",
    kind: AxisKind::Float { min: 0.0, max: 64.0 },
    default: AxisDefault::Float(2.213_363_839_400_643),
};

const fn description(
    [name, summary, citation, task]: [&'static str; 4],
    parameters: &'static [AxisSpec],
    tensors: &'static [TensorSpec],
    flops: &'static str,
) -> Descriptor {
    let model = Model { flops, scratch: "0" };
    Descriptor {
        name,
        summary,
        citation,
        task,
        problem: PROBLEM,
        parameters,
        tensors,
        derived: &[],
        output: STREAM,
        conditions: &[],
        model,
    }
}

fn bind<B: TransformerBackend>(
    name: &'static str,
    position: NormPosition,
    operands: &mut Operands<B>,
    axes: &Axes,
) -> Result<Joined<Statistics<B>>> {
    let spec = NormSpec { kind: NormKind::Layer, epsilon: number(axes, "eps") };
    Joined::bind(name, position, operands, |operands, suffix| Statistics::affine(spec, operands, suffix))
}

fn placed(axes: &Axes, position: NormPosition) -> Reference {
    Reference::Operation(ExactOperation::LayerNorm { epsilon: number(axes, "eps"), position })
}

fn deep_norm(axes: &Axes) -> NormPosition {
    NormPosition::DeepNorm { alpha: number(axes, "alpha") }
}

impl Variant for SandwichNorm {
    const DESCRIPTOR: Descriptor = description(
        [
            "norm/layer-norm-sandwich",
            "residual + norm_out(norm(x)): a norm before and one after the sublayer",
            "Ding et al. 2021, section 2.4",
            "norm/sandwich",
        ],
        &[EPS],
        &[X, STREAM_IN, GAMMA, BETA, channels("gamma_out", 1.0, 0.1), channels("beta_out", 0.0, 0.1)],
        "15*batch*n*d_model",
    );

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        bind(Self::DESCRIPTOR.name, NormPosition::Sandwich, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        placed(axes, NormPosition::Sandwich)
    }
}

impl Variant for ParallelNorm {
    const DESCRIPTOR: Descriptor = description(
        [
            "norm/layer-norm-parallel",
            "residual + norm(x) + other: one norm for two sublayers side by side",
            "Wang and Komatsuzaki 2021; Chowdhery et al. 2022, section 2",
            "norm/parallel",
        ],
        &[EPS],
        &[X, STREAM_IN, TensorSpec { name: "other", ..X }, GAMMA, BETA],
        "9*batch*n*d_model",
    );

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        bind(Self::DESCRIPTOR.name, NormPosition::Parallel, operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        placed(axes, NormPosition::Parallel)
    }
}

impl Variant for DeepNorm {
    const DESCRIPTOR: Descriptor = description(
        ["norm/layer-norm-deep-norm", "norm(alpha residual + x)", "Wang et al. 2022, section 3", "norm/deep-norm"],
        &[EPS, ALPHA],
        &[X, STREAM_IN, GAMMA, BETA],
        "9*batch*n*d_model",
    );

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        bind(Self::DESCRIPTOR.name, deep_norm(axes), operands, axes)
    }

    fn exact(axes: &Axes) -> Reference {
        placed(axes, deep_norm(axes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::joined::plain_layer_norm;
    use crate::norm::layer_norm::LayerNorm;
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::axes::AxisValue;
    use crossover_core::host::HostTensor;

    const SIZES: [(&str, i64); 2] = [("n", 6), ("d_model", 16)];

    fn with(extra: &[(&'static str, AxisValue)]) -> Vec<(&'static str, AxisValue)> {
        SIZES.iter().map(|(name, size)| (*name, (*size).into())).chain(extra.iter().cloned()).collect()
    }

    /// Layer norm in that position, on the same tensors.
    fn layer_norm(position: &str, inputs: &crossover_core::reference::HostInputs) -> HostTensor {
        run::<LayerNorm>(&axes::<LayerNorm>(&with(&[("position", position.into())])), inputs)
    }

    #[test]
    fn a_sandwich_is_two_norms_and_a_sum_however_large_the_input() {
        let axes = axes::<SandwichNorm>(&with(&[("distribution", "extreme".into())]));
        let inputs = drawn::<SandwichNorm>(&axes);
        let of = |name: &str| inputs[name].values();
        let inner = plain_layer_norm(of("x"), of("gamma"), of("beta"), 1e-5);
        let outer = plain_layer_norm(&inner, of("gamma_out"), of("beta_out"), 1e-5);
        let expected = outer.iter().zip(of("residual")).map(|(a, b)| a + b).collect();
        let out = run::<SandwichNorm>(&axes, &inputs);
        assert!(distance(&out, &HostTensor::new(&[1, 6, 16], expected).unwrap()) < 1e-12);
        assert_eq!(distance(&out, &layer_norm("sandwich", &inputs)), 0.0);
    }

    #[test]
    fn parallel_without_the_other_sublayer_is_pre_norm() {
        let axes = axes::<ParallelNorm>(&with(&[]));
        let mut inputs = drawn::<ParallelNorm>(&axes);
        assert_eq!(distance(&run::<ParallelNorm>(&axes, &inputs), &layer_norm("parallel", &inputs)), 0.0);
        inputs.insert("other".into(), HostTensor::new(&[1, 6, 16], vec![0.0; 96]).unwrap());
        let parallel = run::<ParallelNorm>(&axes, &inputs);
        inputs.remove("other");
        assert!(distance(&parallel, &layer_norm("pre", &inputs)) < 1e-14);
    }

    #[test]
    fn deep_norm_with_alpha_one_is_post_norm_and_the_default_is_for_twelve_layers() {
        let deep = |alpha: f64| axes::<DeepNorm>(&with(&[("alpha", alpha.into())]));
        let inputs = drawn::<DeepNorm>(&deep(1.0));
        let gap = |alpha: f64| distance(&run::<DeepNorm>(&deep(alpha), &inputs), &layer_norm("post", &inputs));
        assert!(gap(1.0) < 1e-14 && gap(2.0) > 1e-2);
        let default = axes::<DeepNorm>(&with(&[]));
        assert!((number(&default, "alpha") - 24f64.powf(0.25)).abs() < 1e-12);
        assert!(distance(&run::<DeepNorm>(&default, &inputs), &layer_norm("deep-norm", &inputs)) < 1e-14);
    }
}
