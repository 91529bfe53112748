//! RMS normalisation: x / sqrt(mean square + eps) * gamma + beta, without subtracting the mean.
//!
//! Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", section 3 (with the bias of their equation 4, so that it stands in for
//! layer norm tensor by tensor; most models leave it out). Saves the pass for the mean. Rows whose mean is zero are normalised exactly as
//! by layer norm; a common offset is not removed.

use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::{NormKind, NormSpec};

use super::joined::{
    BETA, BETA_OUT, EPS, GAMMA, GAMMA_OUT, Joined, OTHER, PROBLEM, RESIDUAL, Statistics, TASK, joined_flops, layer_norm, position,
};
use super::{STREAM, X};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Model, TensorSpec};
use crate::resolve::{name, number};
use crate::variant::{Operands, Reference, Variant};

/// Llama and T5 scale only.
const SHIFT: AxisSpec = AxisSpec {
    name: "shift",
    doc: "is there a trained shift?",
    kind: AxisKind::Choice { of: &["yes", "no"] },
    default: AxisDefault::Text("yes"),
};

/// The variant.
pub struct RmsNorm;

impl Variant for RmsNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/rms-norm",
        summary: "x over its root mean square, scaled, and shifted where asked for",
        citation: "Zhang and Sennrich 2019, section 3",
        task: TASK,
        problem: PROBLEM,
        parameters: &[EPS, SHIFT],
        tensors: &[
            X,
            RESIDUAL,
            OTHER,
            GAMMA,
            TensorSpec { only_with: Some(&[("shift", &["yes"])]), ..BETA },
            GAMMA_OUT,
            // A sandwich without shifts lacks that of its second norm, too.
            TensorSpec { only_with: Some(&[("shift", &["yes"]), ("position", &["sandwich"])]), ..BETA_OUT },
        ],
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("(3 + is(shift, yes))"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        let spec = NormSpec { kind: NormKind::Rms, epsilon: number(axes, "eps") };
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| match name(axes, "shift") {
            "no" => Ok(Statistics::scaled(spec, operands.tensor(&format!("gamma{suffix}"))?)),
            _ => Statistics::affine(spec, operands, suffix),
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::norm::layer_norm::LayerNorm;
    use crate::testing::{axes, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn without_its_shift_it_is_the_other_with_a_shift_of_zero() {
        let given = [("n", 5.into()), ("d_model", 32.into())];
        let mut inputs = drawn::<RmsNorm>(&axes::<RmsNorm>(&given));
        inputs.insert("beta".into(), HostTensor::new(&[32], vec![0.0; 32]).unwrap());
        let shifted = run::<RmsNorm>(&axes::<RmsNorm>(&given), &inputs);
        inputs.remove("beta");
        let bare = axes::<RmsNorm>(&[&given[..], &[("shift", "no".into())]].concat());
        assert_eq!(shifted, run::<RmsNorm>(&bare, &inputs));
    }

    #[test]
    fn without_its_shift_it_is_judged_against_layer_norm_without_one() {
        for position in ["plain", "sandwich", "deep-norm"] {
            let judgement =
                judged::<RmsNorm>(&[("n", 5.into()), ("d_model", 32.into()), ("position", position.into()), ("shift", "no".into())]);
            let missed = judgement.method.relative.unwrap();
            assert!(judgement.complaint.is_none() && missed > 1e-3 && missed < 0.5, "{position}: {judgement:?}");
        }
    }

    #[test]
    fn rows_of_mean_zero_are_normalised_as_by_layer_norm() {
        for position in ["plain", "post", "pre", "parallel", "deep-norm"] {
            let given = [("n", 5.into()), ("d_model", 32.into()), ("position", position.into())];
            let mut inputs = drawn::<RmsNorm>(&axes::<RmsNorm>(&given));
            for name in ["x", "residual"] {
                let Some(tensor) = inputs.get_mut(name) else { continue };
                let centred = tensor.values().chunks(32).flat_map(|row| {
                    let mean = row.iter().sum::<f64>() / 32.0;
                    row.iter().map(move |x| x - mean)
                });
                *tensor = HostTensor::new(&[1, 5, 32], centred.collect()).unwrap();
            }
            let dense = run::<LayerNorm>(&axes::<LayerNorm>(&given), &inputs);
            assert!(distance(&run::<RmsNorm>(&axes::<RmsNorm>(&given), &inputs), &dense) < 1e-13, "{position}");
        }
    }
}
