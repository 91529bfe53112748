//! Two depthwise-separable convolutions over the sequence in place of the two dense layers.
//!
//! Howard et al. 2017, section 3.1: a filter of `kernel` tokens for each channel, then a product over the channels (here the dense
//! layer's own). Neighbouring tokens mix inside the feed-forward layer, for 2 kernel (d_model + d_ff) operations a row on top of the
//! dense ones. Traded away: the independence of rows (`causal = yes` pads on the left only, so that no token sees a later one), and a
//! second hidden tensor. A kernel of one token with filters of 1 is the dense layer. It approximates no given layer, so its accuracy is
//! measured against itself.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{PreparedWeight, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::dense::Dense;
use super::layers::{FIRST, PLAIN, SECOND, X, activation, bias, weight};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Model, TensorSpec};
use crate::resolve::name;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// The variant.
pub struct DepthwiseSeparable;

/// A filter, a weight and a bias for each of the two convolutions.
pub struct Convolutions<B: TransformerBackend> {
    filters: [Tensor<B::Buffer>; 2],
    weights: [B::Weight; 2],
    biases: [Tensor<B::Buffer>; 2],
    spec: LinearSpec,
    causal: bool,
}

const fn filter(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { draw: DrawRule::FanIn, ..bias(name, shape) }
}

impl Variant for DepthwiseSeparable {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "ffn/depthwise-separable",
        summary: "activation(conv(x, f1) w1^T + b1), then conv(.., f2) w2^T + b2, one filter a channel",
        citation: "Howard et al. 2017, section 3.1",
        task: "ffn/conv",
        parameters: &[
            AxisSpec { name: "kernel", doc: "tokens of a filter", kind: AxisKind::Int { min: 1, max: 1024 }, default: AxisDefault::Int(3) },
            AxisSpec {
                name: "causal",
                doc: "whether filters reach backwards only",
                kind: AxisKind::Choice { of: &["no", "yes"] },
                default: AxisDefault::Text("no"),
            },
        ],
        tensors: &[
            X,
            filter("f1", &[Dim::Axis("d_model"), Dim::Axis("kernel")]),
            weight("w1", FIRST),
            bias("b1", &[Dim::Axis("d_ff")]),
            filter("f2", &[Dim::Axis("d_ff"), Dim::Axis("kernel")]),
            weight("w2", SECOND),
            bias("b2", &[Dim::Axis("d_model")]),
        ],
        model: Model {
            flops: "batch*n*(2*kernel*(d_model + d_ff) + 4*d_model*d_ff + d_ff*(1 + activation) + d_model)",
            scratch: "batch*n*(d_ff + max(d_model, d_ff))",
        },
        ..Dense::DESCRIPTOR
    };

    type Bound<B: TransformerBackend> = Convolutions<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Convolutions<B>> {
        Ok(Convolutions {
            filters: [operands.tensor("f1")?, operands.tensor("f2")?],
            weights: [operands.weight("w1")?, operands.weight("w2")?],
            biases: [operands.tensor("b1")?, operands.tensor("b2")?],
            spec: LinearSpec { activation: activation(axes) },
            causal: name(axes, "causal") == "yes",
        })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Convolutions<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(DepthwiseSeparable::DESCRIPTOR.name, inputs)) };
        let &[batch, n, _] = x.shape() else { return Err(wrong_inputs(DepthwiseSeparable::DESCRIPTOR.name, inputs)) };
        let hidden_shape = [batch, n, self.weights[0].outputs()];
        let mut mixed = scratch.take(backend, backend.storage(), x.shape())?;
        backend.depthwise_conv(x, self.filters[0].view(), self.causal, mixed.view_mut())?;
        let mut hidden = scratch.take(backend, backend.storage(), &hidden_shape)?;
        backend.linear(self.spec, mixed.view(), &self.weights[0], Some(self.biases[0].view()), hidden.view_mut())?;
        scratch.give(mixed);
        let mut mixed = scratch.take(backend, backend.storage(), &hidden_shape)?;
        backend.depthwise_conv(hidden.view(), self.filters[1].view(), self.causal, mixed.view_mut())?;
        scratch.give(hidden);
        backend.linear(PLAIN, mixed.view(), &self.weights[1], Some(self.biases[1].view()), out)?;
        scratch.give(mixed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dense_output, sizes};
    use super::*;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn filters_of_one_token_and_weight_one_are_dense() {
        let own = axes::<DepthwiseSeparable>(&sizes(&[("kernel", 1.into())]));
        let mut tensors = drawn::<DepthwiseSeparable>(&own);
        tensors.insert("f1".into(), HostTensor::new(&[16, 1], vec![1.0; 16]).unwrap());
        tensors.insert("f2".into(), HostTensor::new(&[32, 1], vec![1.0; 32]).unwrap());
        assert!(distance(&run::<DepthwiseSeparable>(&own, &tensors), &dense_output(&own, &tensors)) < 1e-14);
    }

    /// Two filters of three tokens together reach two tokens either way, or four backwards, and no further.
    #[test]
    fn a_token_reaches_its_neighbours_and_only_later_ones_if_causal() {
        for (causal, touched) in [("no", 0..5), ("yes", 2..7)] {
            let own = axes::<DepthwiseSeparable>(&sizes(&[("causal", causal.into()), ("n", 8.into()), ("batch", 1.into())]));
            let tensors = drawn::<DepthwiseSeparable>(&own);
            let mut changed = tensors.clone();
            let values = tensors["x"].values().iter().enumerate().map(|(at, &x)| if at / 16 == 2 { x + 1.0 } else { x });
            changed.insert("x".into(), HostTensor::new(&[1, 8, 16], values.collect()).unwrap());
            let (before, after) = (run::<DepthwiseSeparable>(&own, &tensors), run::<DepthwiseSeparable>(&own, &changed));
            let rows = before.values().chunks(16).zip(after.values().chunks(16)).map(|(before, after)| before != after);
            assert_eq!(rows.collect::<Vec<bool>>(), (0..8).map(|row| touched.contains(&row)).collect::<Vec<bool>>(), "{causal}");
        }
    }

    #[test]
    fn an_empty_filter_is_refused() {
        assert!(axis_error::<DepthwiseSeparable>(&sizes(&[("kernel", 0.into())])).contains("must be a whole number in 1..=1024"));
    }
}
