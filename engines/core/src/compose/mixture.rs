//! A mixture of experts, composed: rows are moved into a table with places for every expert, and each expert runs on its own.
//!
//! The place of a token in its expert is a running count over a one-hot table [experts, choices]. Each expert has one row more than it has
//! places, for all that it drops; the rows are one table, tokens are added into it at their row, each expert runs on its own rows, the
//! dropped rows stay zero, and tokens fetch their row again, times the gate. Shapes do not depend on the data, so places that nobody took
//! are computed too. Counts and rows are in the compute type or in integers, so that a narrow precision routes as a wide one does.

use super::indices;
use super::places::places;
use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{Experts, Operand, Routes, TransformerBackend};
use crate::check::{self, MixtureSizes};
use crate::dtype::DType;
use crate::error::{Result, shape_error};
use crate::layout::Layout;
use crate::ops::{BinaryOp, LinearSpec, ReduceOp};
use crate::tensor::{Tensor, View, ViewMut};

/// Row numbers pass through the compute type, which may be f32.
const MOST_ROWS: usize = 1 << 24;

/// See the module, and [`TransformerBackend::mixture`] for the operands.
pub fn composed<B: TransformerBackend>(
    backend: &B,
    spec: LinearSpec,
    x: View<'_, B::Buffer>,
    routes: Routes<'_, B::Buffer>,
    experts: Experts<'_, B::Weight, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let sizes = check::mixture(&x.layout, &routes, &experts, &out.layout)?;
    if (sizes.places.saturating_add(1)).saturating_mul(sizes.experts) >= MOST_ROWS {
        let MixtureSizes { experts, places, .. } = sizes;
        let detail =
            format!("{experts} experts with {places} places and one more are not fewer than {MOST_ROWS} rows, which pass through f32");
        return Err(shape_error("mixture", detail));
    }
    indices::below(backend, "mixture", routes.chosen, sizes.experts, scratch)?;
    if sizes.tokens == 0 {
        return Ok(());
    }
    let mixture = Mixture { backend, sizes };
    scratch.scope(|scratch| {
        let rows = mixture.rows(routes.chosen, scratch)?;
        let outputs = mixture.run(spec, x, rows.view(), experts, scratch)?;
        mixture.combine(outputs.view(), rows.view(), routes.gates, out, scratch)?;
        scratch.give(outputs);
        scratch.give(rows);
        Ok(())
    })
}

struct Mixture<'b, B> {
    backend: &'b B,
    sizes: MixtureSizes,
}

impl<B: TransformerBackend> Mixture<'_, B> {
    /// The row of each choice, all first ones before all second ones: expert (places + 1) + place, where the last place is that of the
    /// dropped. Places count from 1, so that row 0 belongs to nobody.
    fn rows(&self, chosen: View<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<Tensor<B::Buffer>> {
        let (backend, compute, MixtureSizes { tokens, choices: each, experts, places: room, .. }) =
            (self.backend, self.backend.compute(), self.sizes);
        let (count, mut rows) = (tokens * each, scratch.take(backend, DType::I32, &[tokens * each])?);
        let mut choices = scratch.take(backend, compute, &[1, count])?;
        let by_choice = choices.view_mut().with(|layout| layout.merge(0)?.split(0, each, tokens))?;
        backend.copy(chosen.transposed()?, by_choice)?;
        let whole = places(backend, experts, scratch)?;
        let mut numbers = scratch.take(backend, compute, &[experts, 1])?;
        backend.copy(whole.view(), numbers.view_mut().with(|layout| layout.merge(0))?)?;
        scratch.give(whole);
        let mut is_chosen = scratch.take(backend, compute, &[experts, count])?;
        backend.binary(BinaryOp::Equal, Operand::Of(choices.view()), numbers.view(), is_chosen.view_mut())?;
        scratch.give(choices);
        let mut row_of = scratch.take(backend, compute, &[experts, count])?;
        self.count(is_chosen.view(), row_of.view_mut(), scratch)?;
        let mut constant = scratch.take(backend, compute, &[1, 1])?;
        // What goes beyond the places shares one row.
        backend.fill(constant.view_mut(), (room + 1) as f64)?;
        backend.binary(BinaryOp::Minimum, Operand::InPlace, constant.view(), row_of.view_mut())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, constant.view(), numbers.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, numbers.view(), row_of.view_mut())?;
        scratch.give(constant);
        scratch.give(numbers);
        // One entry of each column is not zero: a maximum picks it without rounding.
        backend.binary(BinaryOp::Multiply, Operand::InPlace, is_chosen.view(), row_of.view_mut())?;
        scratch.give(is_chosen);
        let mut picked = scratch.take(backend, compute, &[count])?;
        backend.reduce(ReduceOp::Max, row_of.view().transposed()?, picked.view_mut())?;
        scratch.give(row_of);
        backend.copy(picked.view(), rows.view_mut())?;
        scratch.give(picked);
        Ok(rows)
    }

    /// Running counts along the rows of a table of zeros and ones: in integers, which stay exact.
    fn count(&self, ones: View<'_, B::Buffer>, counts: ViewMut<'_, B::Buffer>, scratch: &mut Arena<B::Buffer>) -> Result<()> {
        let mut whole = scratch.take(self.backend, DType::I32, ones.shape())?;
        let mut running = scratch.take(self.backend, DType::I32, ones.shape())?;
        self.backend.copy(ones, whole.view_mut())?;
        self.backend.cumulative_sum(whole.view(), running.view_mut())?;
        self.backend.copy(running.view(), counts)?;
        scratch.give(running);
        scratch.give(whole);
        Ok(())
    }

    /// The experts' outputs, row by row of the table of all places; zero where tokens were dropped.
    fn run(
        &self,
        spec: LinearSpec,
        x: View<'_, B::Buffer>,
        rows: View<'_, B::Buffer>,
        experts: Experts<'_, B::Weight, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<Tensor<B::Buffer>> {
        let (backend, MixtureSizes { tokens, choices, places, width, hidden, .. }) = (self.backend, self.sizes);
        let (storage, table) = (backend.storage(), [1 + self.sizes.experts * (places + 1), width]);
        let mut given = scratch.take(backend, storage, &table)?;
        let mut outputs = scratch.take(backend, storage, &table)?;
        backend.fill(given.view_mut(), 0.0)?;
        backend.fill(outputs.view_mut(), 0.0)?;
        for choice in 0..choices {
            backend.scatter_add_rows(x, rows.narrow(0, choice * tokens, tokens)?, given.view_mut())?;
        }
        let mut middle = scratch.take(backend, storage, &[places, hidden])?;
        for (expert, (up, down)) in experts.up.iter().zip(experts.down).enumerate() {
            let start = 1 + expert * (places + 1);
            let own = |biases: &Layout| biases.narrow(0, expert, 1)?.merge(0);
            let (up_bias, down_bias) = (experts.up_bias.with(own)?, experts.down_bias.with(own)?);
            backend.linear(spec, given.view().narrow(0, start, places)?, up, Some(up_bias), middle.view_mut())?;
            let plain = LinearSpec { activation: Activation::None };
            backend.linear(plain, middle.view(), down, Some(down_bias), outputs.view_mut().narrow(0, start, places)?)?;
        }
        scratch.give(middle);
        scratch.give(given);
        Ok(outputs)
    }

    /// out = sum over choices of gate times the expert's output.
    fn combine(
        &self,
        outputs: View<'_, B::Buffer>,
        rows: View<'_, B::Buffer>,
        gates: View<'_, B::Buffer>,
        mut out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (backend, MixtureSizes { tokens, choices, width, .. }) = (self.backend, self.sizes);
        let of = |choice: usize| rows.narrow(0, choice * tokens, tokens);
        backend.gather_rows(outputs, of(0)?, out.reborrow())?;
        backend.binary(BinaryOp::Multiply, Operand::InPlace, gates.narrow(1, 0, 1)?, out.reborrow())?;
        for choice in 1..choices {
            let mut fetched = scratch.take(backend, backend.storage(), &[tokens, width])?;
            backend.gather_rows(outputs, of(choice)?, fetched.view_mut())?;
            backend.binary(BinaryOp::Multiply, Operand::InPlace, gates.narrow(1, choice, 1)?, fetched.view_mut())?;
            backend.binary(BinaryOp::Add, Operand::InPlace, fetched.view(), out.reborrow())?;
            scratch.give(fetched);
        }
        Ok(())
    }
}
