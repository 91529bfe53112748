//! RMS normalisation: x / sqrt(mean square + eps) * gamma + beta, without subtracting the mean.
//!
//! Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", section 3 (with the bias of their equation 4, so that it stands in for
//! layer norm tensor by tensor; most models leave it out). Saves the pass for the mean. Rows whose mean is zero are normalised exactly as
//! by layer norm; a common offset is not removed.

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
pub struct RmsNorm;

impl Variant for RmsNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/rms-norm",
        summary: "x over its root mean square, scaled and shifted",
        citation: "Zhang and Sennrich 2019, section 3",
        task: TASK,
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: TENSORS,
        derived: &[],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("4"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<Statistics<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        let spec = NormSpec { kind: NormKind::Rms, epsilon: number(axes, "eps") };
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| Statistics::affine(spec, operands, suffix))
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
    use crate::testing::{axes, distance, drawn, run};
    use crossover_core::host::HostTensor;

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
