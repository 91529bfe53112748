//! What the mixtures of experts share: routing with a fixed capacity, and the experts' layers.
//!
//! A router gives each token a probability for each expert; the `k` best experts take it, with places given in token order (all first
//! choices before all second ones). An expert has `capacity` times its even share of places, so that shapes do not depend on the data; a
//! token that finds none is dropped there and gets nothing from that expert (the residual around the layer carries it). Places stay empty
//! where others overflow; an engine may compute them or not.
//!
//! Probabilities and gates are in the compute type, so a narrow precision routes as a wide one does. Where tokens go by them, and what
//! becomes of them there, is the trait's `mixture`.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Experts, Operand, PreparedWeight, Routes, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearSpec, ReduceOp, SoftmaxAlgorithm};
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::layers::{PLAIN, X, activation, bias, weight};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Dim, TensorSpec};
use crate::resolve::{number, size};
use crate::variant::{Bound, Operands, wrong_inputs};

/// How many experts.
pub(crate) const fn experts(min: i64) -> AxisSpec {
    // As many as a bf16 counts exactly.
    AxisSpec { name: "experts", doc: "experts to choose from", kind: AxisKind::Int { min, max: 256 }, default: AxisDefault::Int(4) }
}

/// How many places.
pub(crate) const CAPACITY: AxisSpec = AxisSpec {
    name: "capacity",
    doc: "places of an expert, in even shares of the tokens",
    kind: AxisKind::Float { min: 0.01, max: 256.0 },
    default: AxisDefault::Float(1.25),
};

const EXPERTS: Dim = Dim::Axis("experts");

/// x, the router, and the layers of every expert.
pub(crate) const TENSORS: &[TensorSpec] = &[
    X,
    weight("router", &[EXPERTS, Dim::Axis("d_model")]),
    weight("w1", &[EXPERTS, Dim::Axis("d_ff"), Dim::Axis("d_model")]),
    bias("b1", &[EXPERTS, Dim::Axis("d_ff")]),
    weight("w2", &[EXPERTS, Dim::Axis("d_model"), Dim::Axis("d_ff")]),
    bias("b2", &[EXPERTS, Dim::Axis("d_model")]),
];

/// Row numbers pass through a floating type.
pub(crate) const COUNTABLE: Condition = Condition {
    text: "experts * (places + 1) must be below 2^24: row numbers pass through f32",
    holds: |axes: &Axes| {
        let tokens = size(axes, "batch").saturating_mul(size(axes, "n"));
        let places = places(tokens, size(axes, "experts"), 2, number(axes, "capacity"));
        places.saturating_add(1).saturating_mul(size(axes, "experts")) < 1 << 24
    },
};

/// Places of one expert: its even share times the capacity, and no more than there are tokens.
fn places(tokens: usize, experts: usize, choices: usize, capacity: f64) -> usize {
    let share = capacity * choices as f64 * tokens as f64 / experts.max(1) as f64;
    (share.ceil() as usize).clamp(1, tokens.max(1))
}

/// The formula of [`places`] for one or two choices.
macro_rules! places_formula {
    ($choices:literal) => {
        concat!("min(ceil(capacity*", $choices, "*batch*n/experts), batch*n)")
    };
}
pub(crate) use places_formula;

/// A router and its experts.
pub struct Mixture<B: TransformerBackend> {
    variant: &'static str,
    choices: usize,
    capacity: f64,
    spec: LinearSpec,
    router: B::Weight,
    w1: Vec<B::Weight>,
    b1: Tensor<B::Buffer>,
    w2: Vec<B::Weight>,
    b2: Tensor<B::Buffer>,
}

impl<B: TransformerBackend> Mixture<B> {
    /// Takes the router and the experts.
    pub(crate) fn bind(variant: &'static str, choices: usize, operands: &mut Operands<B>, axes: &Axes) -> Result<Self> {
        Ok(Self {
            variant,
            choices,
            capacity: number(axes, "capacity"),
            spec: LinearSpec { activation: activation(axes) },
            router: operands.weight("router")?,
            w1: operands.weights("w1")?,
            b1: operands.tensor("b1")?,
            w2: operands.weights("w2")?,
            b2: operands.tensor("b2")?,
        })
    }

    /// The best experts of each token of x [tokens, d_model], and their probabilities in the compute type: [tokens, choices].
    fn route(&self, backend: &B, x: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<[Tensor<B::Buffer>; 2]> {
        let (tokens, experts, compute) = (x.shape()[0], self.router.outputs(), backend.compute());
        let mut gates = scratch.take(backend, compute, &[tokens, self.choices])?;
        let mut chosen = scratch.take(backend, DType::I32, &[tokens, self.choices])?;
        let mut probabilities = scratch.take(backend, compute, &[tokens, experts])?;
        backend.linear(PLAIN, x, &self.router, None, probabilities.view_mut())?;
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, probabilities.view_mut())?;
        backend.top_k(probabilities.view(), gates.view_mut(), chosen.view_mut())?;
        scratch.give(probabilities);
        if self.choices > 1 {
            normalise(backend, &mut gates, scratch)?;
        }
        Ok([chosen, gates])
    }
}

/// Gates that sum to 1 over the choices of a token.
fn normalise<B: TransformerBackend>(backend: &B, gates: &mut Tensor<B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
    let mut sum = scratch.take(backend, backend.compute(), &[gates.shape()[0]])?;
    backend.reduce(ReduceOp::Sum, gates.view(), sum.view_mut())?;
    let column = sum.view().with(|layout| layout.unsqueeze(1))?;
    backend.binary(BinaryOp::Divide, Operand::InPlace, column, gates.view_mut())?;
    scratch.give(sum);
    Ok(())
}

impl<B: TransformerBackend> Bound<B> for Mixture<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x] = inputs else { return Err(wrong_inputs(self.variant, inputs)) };
        if x.layout.rank() != 3 {
            return Err(wrong_inputs(self.variant, inputs));
        }
        let x = x.with(|layout| layout.merge(0))?;
        let places = places(x.shape()[0], self.w1.len(), self.choices, self.capacity);
        let [chosen, gates] = self.route(backend, x, scratch)?;
        let routes = Routes { chosen: chosen.view(), gates: gates.view(), places };
        let experts = Experts { up: &self.w1, up_bias: self.b1.view(), down: &self.w2, down_bias: self.b2.view() };
        backend.mixture(self.spec, x, routes, experts, out.with(|layout| layout.merge(0))?, scratch)?;
        scratch.give(chosen);
        scratch.give(gates);
        Ok(())
    }
}

/// The same layer for every expert, made of the given tensors' first one.
#[cfg(test)]
pub(crate) fn with_equal_experts(tensors: &mut crossover_core::reference::HostInputs, experts: usize) {
    use crossover_core::host::HostTensor;
    for name in ["w1", "b1", "w2", "b2"] {
        let first = super::testing::part(&tensors[name], 0);
        let shape: Vec<usize> = std::iter::once(experts).chain(first.shape().iter().copied()).collect();
        let repeated = HostTensor::new(&shape, first.values().repeat(experts)).expect("as many as the shape says");
        tensors.insert(name.into(), repeated);
    }
}
