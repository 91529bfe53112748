//! Dense synthesizer: each query makes its own row of scores, without looking at any key.
//!
//! Tay et al. 2021, section 3.1 (equations 1 and 2): scores = relu(x w1^T + b1) w2^T + b2 with n_kv outputs, then softmax and the mixture of
//! values. Here x is the head's q (the paper's x before any projection), and one pair of layers serves all heads. No products between
//! tokens, but as many scores, and w2 ties the layer to one length.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::Result;
use crossover_core::ops::LinearSpec;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::operands::Attended;
use super::synthesizer::{full, mix};
use super::{HEADS_DIVIDE, PROBLEM, QUERIES, TENSORS};
use crate::descriptor::{Descriptor, Dim, DrawRule, Model, Role, TensorSpec};
use crate::variant::{Bound, Operands, Reference, Variant};

/// The variant.
pub struct SynthesizerDense;

/// The two layers that make scores.
pub struct ScoreLayers<B: TransformerBackend> {
    w1: B::Weight,
    b1: Tensor<B::Buffer>,
    w2: B::Weight,
    b2: Tensor<B::Buffer>,
    causal: bool,
}

impl<B: TransformerBackend> ScoreLayers<B> {
    /// The full or the causal form.
    pub(super) fn bind(operands: &mut Operands<B>, causal: bool) -> Result<Self> {
        let [w1, w2] = [operands.weight("w1")?, operands.weight("w2")?];
        Ok(Self { w1, b1: operands.tensor("b1")?, w2, b2: operands.tensor("b2")?, causal })
    }
}

pub(super) const fn weight(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Weight, shape, draw: DrawRule::FanIn, only_with: None }
}

pub(super) const fn bias(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Vector, shape, draw: DrawRule::Around(0.0, 0.1), only_with: None }
}

impl Variant for SynthesizerDense {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: "attention/synthesizer-dense",
        summary: "scores made from each query alone by two layers: k is not read",
        citation: "Tay et al. 2021, section 3.1",
        task: "attention/full",
        problem: PROBLEM,
        parameters: &[],
        tensors: &[
            TENSORS[0],
            TENSORS[1],
            TENSORS[2],
            weight("w1", &[Dim::Axis("head_dim"), Dim::Axis("head_dim")]),
            bias("b1", &[Dim::Axis("head_dim")]),
            weight("w2", &[Dim::Axis("n_kv"), Dim::Axis("head_dim")]),
            bias("b2", &[Dim::Axis("n_kv")]),
        ],
        derived: &[],
        output: QUERIES,
        conditions: &[HEADS_DIVIDE],
        model: Model {
            flops: "batch*heads*n*(2*head_dim^2 + 2*head_dim + n_kv*(4*head_dim + 6))",
            scratch: "batch*heads*n*(head_dim + n_kv)",
        },
    };

    type Bound<B: TransformerBackend> = ScoreLayers<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<ScoreLayers<B>> {
        ScoreLayers::bind(operands, false)
    }

    fn exact(axes: &Axes) -> Reference {
        full(axes)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for ScoreLayers<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let operands = Attended::of("attention/synthesizer-dense", inputs)?;
        let Attended { q, batch, heads, n, n_kv, width, .. } = operands;
        let mut hidden = scratch.take(backend, backend.storage(), &[batch, heads, n, width])?;
        let mut scores = scratch.take(backend, backend.storage(), &[batch, heads, n, n_kv])?;
        backend.linear(LinearSpec { activation: Activation::Relu }, q, &self.w1, Some(self.b1.view()), hidden.view_mut())?;
        let plain = LinearSpec { activation: Activation::None };
        backend.linear(plain, hidden.view(), &self.w2, Some(self.b2.view()), scores.view_mut())?;
        mix(backend, &mut scores, self.causal, &operands, out)?;
        scratch.give(scores);
        scratch.give(hidden);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::approximation::{assert_closed_forms, dense, dot, identity, row, sized, weighted, with};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn it_is_the_formula_of_the_paper() {
        let axes = axes::<SynthesizerDense>(&with(&sized(2, 5, 8), &[("n_kv", 7.into())]));
        let drawn = drawn::<SynthesizerDense>(&axes);
        let values = |name: &str| drawn[name].values();
        let expected = weighted(&axes, &drawn, 0.0, |head, i, j| {
            let q = row(&drawn["q"], head, i);
            let hidden: Vec<f64> = (0..8).map(|c| (dot(q, &values("w1")[c * 8..][..8]) + values("b1")[c]).max(0.0)).collect();
            (dot(&hidden, &values("w2")[j * 8..][..8]) + values("b2")[j]).exp()
        });
        assert!(distance(&run::<SynthesizerDense>(&axes, &drawn), &expected) < 1e-10);
    }

    /// With one head, positive queries and the scaled keys themselves as second layer, the scores are those of dense attention.
    #[test]
    fn layers_that_hold_the_keys_are_dense_attention() {
        let axes = axes::<SynthesizerDense>(&sized(1, 9, 8));
        let mut drawn = drawn::<SynthesizerDense>(&axes);
        let positive = drawn["q"].values().iter().map(|x| x.abs()).collect();
        drawn.insert("q".into(), HostTensor::new(&[1, 1, 9, 8], positive).unwrap());
        drawn.insert("w1".into(), identity(8));
        let keys = drawn["k"].values().iter().map(|x| x / 8f64.sqrt()).collect();
        drawn.insert("w2".into(), HostTensor::new(&[9, 8], keys).unwrap());
        drawn.insert("b1".into(), HostTensor::new(&[8], vec![0.0; 8]).unwrap());
        drawn.insert("b2".into(), HostTensor::new(&[9], vec![0.0; 9]).unwrap());
        assert!(distance(&run::<SynthesizerDense>(&axes, &drawn), &dense(&axes, &drawn)) < 1e-12);
    }

    #[test]
    fn value_heads_that_are_shared_are_right() {
        let given = with(&sized(4, 16, 8), &[("kv_heads", 2.into()), ("n_kv", 24.into())]);
        assert_eq!(judged::<SynthesizerDense>(&given).complaint, None);
        assert_closed_forms::<SynthesizerDense>(&given);
    }

    #[test]
    fn heads_that_cannot_be_shared_are_refused() {
        assert!(axis_error::<SynthesizerDense>(&[("heads", 4.into()), ("kv_heads", 3.into())]).contains("kv_heads must divide heads"));
    }
}
