//! What the mixtures of experts share: routing with a fixed capacity, and the experts' layers.
//!
//! A router gives each token a probability for each expert; the `k` best experts take it, with places given in token order (all first
//! choices before all second ones). An expert has `capacity` times its even share of places, so that shapes do not depend on the data; a
//! token that finds none is dropped there and gets nothing from that expert (the residual around the layer carries it). Empty places
//! are computed all the same: that, too, is the price of static shapes.
//!
//! How it is done over the trait: the place of a token in its expert is a running count over a one-hot table [experts, tokens]. Each
//! expert has one row more than its capacity, for all that it drops; the rows are one table, tokens are added into it at their row,
//! each expert runs on its own rows, the dropped rows are set to zero, and tokens fetch their row again, times the gate. Probabilities,
//! counts and rows are in the compute type or in integers, so a narrow precision routes as a wide one does.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, PreparedWeight, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::layout::Layout;
use crossover_core::ops::{BinaryOp, LinearSpec, ReduceOp, SoftmaxAlgorithm};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::layers::{PLAIN, X, activation, bias, weight};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Dim, Role, TensorSpec};
use crate::resolve::{number, size};
use crate::variant::{Bound, Derived, Operands, wrong_inputs};

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

/// The numbers of the experts, to be compared with choices.
pub(crate) const DERIVED: &[DerivedSpec] =
    &[DerivedSpec { name: "numbers", role: Role::Vector, shape: &[EXPERTS, Dim::Of("1", |_| 1)], form: None }];

/// Makes them.
pub(crate) fn derive(axes: &Axes, _drawn: &HostInputs) -> Result<Derived> {
    let count = size(axes, "experts");
    Ok(Derived::default().tensor("numbers", HostTensor::new(&[count, 1], (0..count).map(|at| at as f64).collect())?))
}

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
    numbers: Tensor<B::Buffer>,
}

/// Where tokens go, for all first choices and then all second ones.
struct Routes<S> {
    /// [tokens, choices], in the compute type.
    gates: Tensor<S>,
    /// [choices * tokens]: row in the table of all experts' places.
    rows: Tensor<S>,
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
            numbers: operands.tensor("numbers")?,
        })
    }

    /// Probabilities and rows for x [tokens, d_model].
    fn route(&self, backend: &B, x: View<'_, B::Buffer>, places: usize, scratch: &mut Arena<B::Buffer>) -> Result<Routes<B::Buffer>> {
        let (tokens, experts, compute) = (x.shape()[0], self.router.outputs(), backend.compute());
        let mut gates = scratch.take(backend, compute, &[tokens, self.choices])?;
        let mut chosen = scratch.take(backend, DType::I32, &[tokens, self.choices])?;
        let mut probabilities = scratch.take(backend, compute, &[tokens, experts])?;
        backend.linear(PLAIN, x, &self.router, None, probabilities.view_mut())?;
        backend.softmax(SoftmaxAlgorithm::Stable, Operand::InPlace, probabilities.view_mut())?;
        backend.top_k(probabilities.view(), gates.view_mut(), chosen.view_mut())?;
        scratch.give(probabilities);
        let mut rows = scratch.take(backend, DType::I32, &[self.choices * tokens])?;
        self.place(backend, chosen.view(), places, rows.view_mut(), scratch)?;
        scratch.give(chosen);
        Ok(Routes { gates, rows })
    }

    /// The row of each choice: expert (places + 1) + place, where the last place is that of the dropped.
    fn place(
        &self,
        backend: &B,
        chosen: View<'_, B::Buffer>,
        places: usize,
        rows: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (experts, count, compute) = (self.router.outputs(), chosen.layout.len(), backend.compute());
        let table = [experts, count];
        let mut choices = scratch.take(backend, compute, &[1, count])?;
        // All first choices, then all second ones.
        let by_choice = choices.view_mut().with(|layout| layout.merge(0)?.split(0, self.choices, count / self.choices.max(1)))?;
        backend.copy(chosen.transposed()?, by_choice)?;
        let mut is_chosen = scratch.take(backend, compute, &table)?;
        backend.binary(BinaryOp::Equal, Operand::Of(choices.view()), self.numbers.view(), is_chosen.view_mut())?;
        scratch.give(choices);
        let mut row_of = scratch.take(backend, compute, &table)?;
        self.count(backend, is_chosen.view(), row_of.view_mut(), scratch)?;
        let mut constant = scratch.take(backend, compute, &[1, 1])?;
        let mut offsets = scratch.take(backend, compute, &[experts, 1])?;
        // Counts start at 1; what goes beyond the capacity shares one row.
        backend.fill(constant.view_mut(), (places + 1) as f64)?;
        backend.binary(BinaryOp::Minimum, Operand::InPlace, constant.view(), row_of.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::Of(self.numbers.view()), constant.view(), offsets.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, offsets.view(), row_of.view_mut())?;
        scratch.give(offsets);
        scratch.give(constant);
        // One entry of each column is not zero: a maximum picks it without rounding.
        backend.binary(BinaryOp::Multiply, Operand::InPlace, is_chosen.view(), row_of.view_mut())?;
        scratch.give(is_chosen);
        let mut picked = scratch.take(backend, compute, &[count])?;
        backend.reduce(ReduceOp::Max, row_of.view().transposed()?, picked.view_mut())?;
        scratch.give(row_of);
        backend.copy(picked.view(), rows)?;
        scratch.give(picked);
        Ok(())
    }

    /// Running counts along the rows of a table of zeros and ones: in integers, which stay exact.
    fn count(&self, backend: &B, ones: View<'_, B::Buffer>, counts: ViewMut<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let mut whole = scratch.take(backend, DType::I32, ones.shape())?;
        let mut running = scratch.take(backend, DType::I32, ones.shape())?;
        backend.copy(ones, whole.view_mut())?;
        backend.cumulative_sum(whole.view(), running.view_mut())?;
        backend.copy(running.view(), counts)?;
        scratch.give(running);
        scratch.give(whole);
        Ok(())
    }

    /// The experts' outputs, row by row of the table of all places; zero where tokens were dropped. Row 0 belongs to nobody.
    fn run_experts(
        &self,
        backend: &B,
        x: View<'_, B::Buffer>,
        rows: View<'_, B::Buffer>,
        places: usize,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let &[tokens, d_model] = x.shape() else { return Err(wrong_inputs(self.variant, &[x])) };
        let (experts, storage) = (self.w1.len(), backend.storage());
        let table = [1 + experts * (places + 1), d_model];
        let mut given = scratch.take(backend, storage, &table)?;
        let mut outputs = scratch.take(backend, storage, &table)?;
        backend.fill(given.view_mut(), 0.0)?;
        backend.fill(outputs.view_mut(), 0.0)?;
        for choice in 0..self.choices {
            backend.scatter_add_rows(x, rows.narrow(0, choice * tokens, tokens)?, given.view_mut())?;
        }
        let d_ff = self.w1.first().map_or(0, PreparedWeight::outputs);
        let mut hidden = scratch.take(backend, storage, &[places, d_ff])?;
        for (expert, (w1, w2)) in self.w1.iter().zip(&self.w2).enumerate() {
            let start = 1 + expert * (places + 1);
            let own = |biases: &Layout| biases.narrow(0, expert, 1)?.merge(0);
            let (b1, b2) = (self.b1.view().with(own)?, self.b2.view().with(own)?);
            backend.linear(self.spec, given.view().narrow(0, start, places)?, w1, Some(b1), hidden.view_mut())?;
            backend.linear(PLAIN, hidden.view(), w2, Some(b2), outputs.view_mut().narrow(0, start, places)?)?;
        }
        scratch.give(hidden);
        scratch.give(given);
        Ok(outputs)
    }

    /// Gates that sum to 1 over the choices of a token.
    fn normalise(&self, backend: &B, gates: &mut Tensor<B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let mut sum = scratch.take(backend, backend.compute(), &[gates.shape()[0]])?;
        backend.reduce(ReduceOp::Sum, gates.view(), sum.view_mut())?;
        let column = sum.view().with(|layout| layout.unsqueeze(1))?;
        backend.binary(BinaryOp::Divide, Operand::InPlace, column, gates.view_mut())?;
        scratch.give(sum);
        Ok(())
    }

    /// out = sum over choices of gate times the expert's output.
    fn combine(
        &self,
        backend: &B,
        outputs: View<'_, B::Buffer>,
        routes: &Routes<B::Buffer>,
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[tokens, d_model] = out.shape() else { return Err(wrong_inputs(self.variant, &[outputs])) };
        let gate = |choice| routes.gates.view().narrow(1, choice, 1);
        let rows = |choice| routes.rows.view().narrow(0, choice * tokens, tokens);
        backend.gather_rows(outputs, rows(0)?, out.reborrow())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, gate(0)?, out.reborrow())?;
        for choice in 1..self.choices {
            let mut fetched = scratch.take(backend, backend.storage(), &[tokens, d_model])?;
            backend.gather_rows(outputs, rows(choice)?, fetched.view_mut())?;
            backend.binary(BinaryOp::Multiply, Operand::InPlace, gate(choice)?, fetched.view_mut())?;
            backend.binary(BinaryOp::Add, Operand::InPlace, fetched.view(), out.reborrow())?;
            scratch.give(fetched);
        }
        Ok(())
    }
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
        let mut routes = self.route(backend, x, places, scratch)?;
        if self.choices > 1 {
            self.normalise(backend, &mut routes.gates, scratch)?;
        }
        let outputs = self.run_experts(backend, x, routes.rows.view(), places, scratch)?;
        self.combine(backend, outputs.view(), &routes, out.with(|layout| layout.merge(0))?, scratch)?;
        scratch.give(outputs);
        scratch.give(routes.rows);
        scratch.give(routes.gates);
        Ok(())
    }
}

/// The same layer for every expert, made of the given tensors' first one.
#[cfg(test)]
pub(crate) fn with_equal_experts(tensors: &mut HostInputs, experts: usize) {
    for name in ["w1", "b1", "w2", "b2"] {
        let first = super::testing::part(&tensors[name], 0);
        let shape: Vec<usize> = std::iter::once(experts).chain(first.shape().iter().copied()).collect();
        let repeated = HostTensor::new(&shape, first.values().repeat(experts)).expect("as many as the shape says");
        tensors.insert(name.into(), repeated);
    }
}
