//! Batch normalisation at inference: an affine map of each channel, folded on the host from running statistics.
//!
//! Ioffe and Szegedy 2015, algorithm 2 (steps 8 to 12). With the mean and variance of the training set fixed, the normalised channel with its
//! gamma and beta is x scale + shift, both known before the first call: two operations an element and no reduction. Trades the statistics
//! of the row at hand for those of the past; the error against layer norm shows how far these are apart.

use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::BinaryOp;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, ViewMut};

use super::joined::{
    BETA, BETA_OUT, EPS, GAMMA, GAMMA_OUT, Joined, Norm, OTHER, PROBLEM, RESIDUAL, TASK, channels, joined_flops, layer_norm, of_exit,
    position, source,
};
use super::{STREAM, X};
use crate::descriptor::{DerivedSpec, Descriptor, Dim, Model, Placed, Role};
use crate::resolve::number;
use crate::variant::{Derived, Operands, Reference, Variant, source as drawn_source};

/// The variant.
pub struct BatchNorm;

/// Factor and summand of each channel.
pub struct ChannelMap<B: TransformerBackend> {
    scale: Tensor<B::Buffer>,
    shift: Tensor<B::Buffer>,
}

const fn folded(name: &'static str) -> DerivedSpec {
    DerivedSpec { name, role: Role::Vector, shape: &[Dim::Axis("d_model")], form: None }
}

impl Variant for BatchNorm {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "norm/batch-norm",
        summary: "x scale + shift, folded from running statistics of each channel",
        citation: "Ioffe and Szegedy 2015, algorithm 2",
        task: TASK,
        problem: PROBLEM,
        parameters: &[EPS],
        tensors: &[
            X,
            RESIDUAL,
            OTHER,
            source(GAMMA),
            source(BETA),
            source(channels("running_mean", 0.0, 0.1)),
            source(channels("running_variance", 1.0, 0.1)),
            source(GAMMA_OUT),
            source(BETA_OUT),
            source(of_exit(channels("running_mean_out", 0.0, 0.1))),
            source(of_exit(channels("running_variance_out", 1.0, 0.1))),
        ],
        derived: &[folded("scale"), folded("shift"), folded("scale_out"), folded("shift_out")],
        output: STREAM,
        conditions: &[],
        model: Model { flops: joined_flops!("2"), scratch: "0" },
    };

    type Bound<B: TransformerBackend> = Joined<ChannelMap<B>>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Self::Bound<B>> {
        Joined::bind(Self::DESCRIPTOR.name, position(axes)?, operands, |operands, suffix| {
            let mut tensor = |name: &str| operands.tensor(&format!("{name}{suffix}"));
            Ok(ChannelMap { scale: tensor("scale")?, shift: tensor("shift")? })
        })
    }

    fn exact(axes: &Axes) -> Reference {
        layer_norm(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        maps(axes).iter().flat_map(|map| [folded(map.scale), folded(map.shift)]).map(|tensor| tensor.placed(axes)).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        maps(axes).iter().try_fold(Derived::default(), |derived, map| {
            let [gamma, beta, mean, variance] = map.sources;
            let (gamma, beta) = (drawn_source(drawn, gamma)?, drawn_source(drawn, beta)?);
            let (mean, variance) = (drawn_source(drawn, mean)?, drawn_source(drawn, variance)?);
            let epsilon = number(axes, "eps");
            // A brought variance may be anything; a negative one gives NaN, which verification shows.
            let scale: Vec<f64> = gamma.values().iter().zip(variance.values()).map(|(gamma, v)| gamma / (v + epsilon).sqrt()).collect();
            let shift = beta.values().iter().zip(mean.values()).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
            let shape = gamma.shape().to_vec();
            Ok(derived.tensor(map.scale, HostTensor::new(&shape, scale)?).tensor(map.shift, HostTensor::new(&shape, shift)?))
        })
    }
}

/// The names of one folded norm.
struct Folded {
    scale: &'static str,
    shift: &'static str,
    /// Scale, shift, mean and variance of which it is made.
    sources: [&'static str; 4],
}

/// The norms of a position.
fn maps(axes: &Axes) -> &'static [Folded] {
    const BOTH: &[Folded] = &[
        Folded { scale: "scale", shift: "shift", sources: ["gamma", "beta", "running_mean", "running_variance"] },
        Folded { scale: "scale_out", shift: "shift_out", sources: ["gamma_out", "beta_out", "running_mean_out", "running_variance_out"] },
    ];
    if GAMMA_OUT.takes_part(axes) { BOTH } else { &BOTH[..1] }
}

impl<B: TransformerBackend> Norm<B> for ChannelMap<B> {
    fn normalize(&self, backend: &B, x: Operand<'_, B::Buffer>, mut out: ViewMut<'_, B::Buffer>) -> Result<()> {
        backend.binary(BinaryOp::Multiply, x, self.scale.view(), out.reborrow())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, self.shift.view(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{axes, distance, drawn, run};

    #[test]
    fn with_the_statistics_of_the_batch_every_channel_gets_mean_beta_and_deviation_gamma() {
        let axes = axes::<BatchNorm>(&[("n", 200.into()), ("d_model", 4.into()), ("eps", 0.0.into())]);
        let mut inputs = drawn::<BatchNorm>(&axes);
        let moments = |values: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let column = |channel: usize| values.iter().skip(channel).step_by(4).copied().collect::<Vec<f64>>();
            (0..4)
                .map(|channel| {
                    let column = column(channel);
                    let mean = column.iter().sum::<f64>() / 200.0;
                    (mean, column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 200.0)
                })
                .unzip()
        };
        let (mean, variance) = moments(inputs["x"].values());
        inputs.insert("running_mean".into(), HostTensor::new(&[4], mean).unwrap());
        inputs.insert("running_variance".into(), HostTensor::new(&[4], variance).unwrap());
        let (mean, variance) = moments(run::<BatchNorm>(&axes, &inputs).values());
        let deviation = variance.iter().map(|v| v.sqrt()).collect();
        assert!(distance(&HostTensor::new(&[4], mean).unwrap(), &inputs["beta"]) < 1e-13);
        assert!(distance(&HostTensor::new(&[4], deviation).unwrap(), &inputs["gamma"]) < 1e-13);
    }
}
