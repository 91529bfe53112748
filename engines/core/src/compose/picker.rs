//! The logit of each row's target, found over primitives: engines have no gather of single elements.

use crate::arena::Arena;
use crate::backend::{Operand, TransformerBackend};
use crate::error::Result;
use crate::ops::{BinaryOp, ReduceOp};
use crate::tensor::{Tensor, View};

use super::columns::{column, reduce, wide};

/// Target numbers [..] as [.., 1] in the compute type, exactly.
pub fn numbers<B: TransformerBackend>(
    backend: &B,
    targets: View<'_, B::Buffer>,
    like: &[usize],
    scratch: &mut Arena<B::Buffer>,
) -> Result<Tensor<B::Buffer>> {
    let mut numbers = column(backend, like, scratch)?;
    backend.copy(targets, numbers.view_mut().with(|layout| layout.reshape(targets.shape()))?)?;
    Ok(numbers)
}

/// Finds the target's logit by comparing every place with it, a tile at a time: engines have no gather of single elements.
pub struct Picker<'a, B: TransformerBackend> {
    backend: &'a B,
    /// Numbers of the classes of the tile at hand, in the compute type.
    places: Tensor<B::Buffer>,
    /// The first of them.
    start: usize,
    /// One element: by how much they grow from tile to tile. Sums of whole numbers are exact, and so are the comparisons.
    step: Tensor<B::Buffer>,
    /// [.., 1]: what a tile holds of the target, and what was found so far.
    part: Tensor<B::Buffer>,
    picked: Tensor<B::Buffer>,
}

impl<'a, B: TransformerBackend> Picker<'a, B> {
    /// For rows like these; `places` are the i32 numbers of the places of a tile.
    pub fn new(backend: &'a B, places: &Tensor<B::Buffer>, like: &[usize], scratch: &mut Arena<B::Buffer>) -> Result<Self> {
        let mut floating = scratch.take(backend, backend.compute(), places.shape())?;
        backend.copy(places.view(), floating.view_mut())?;
        let step = scratch.take(backend, backend.compute(), &[1])?;
        let (part, mut picked) = (column(backend, like, scratch)?, column(backend, like, scratch)?);
        backend.fill(picked.view_mut(), 0.0)?;
        Ok(Self { backend, places: floating, start: 0, step, part, picked })
    }

    /// Classes of a tile.
    pub fn tile(&self) -> usize {
        self.places.layout.len()
    }

    /// Adds the logits [.., up to a tile] of classes from `start` on to what was found, where a target is one of them. Tiles come in order.
    pub fn look(
        &mut self,
        start: usize,
        logits: View<'_, B::Buffer>,
        targets: View<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let (backend, columns) = (self.backend, logits.layout.dim_from_end(0));
        if start > self.start {
            backend.fill(self.step.view_mut(), (start - self.start) as f64)?;
            backend.binary(BinaryOp::Add, Operand::InPlace, self.step.view(), self.places.view_mut())?;
            self.start = start;
        }
        let mut hits = wide(backend, logits.shape(), columns, scratch)?;
        let mut own = wide(backend, logits.shape(), columns, scratch)?;
        let places = self.places.view().narrow(0, 0, columns)?;
        backend.binary(BinaryOp::Equal, Operand::Of(places), targets, hits.view_mut())?;
        // Chosen, not multiplied: 0 times an infinite logit of another class would be NaN.
        backend.copy(logits, own.view_mut())?;
        backend.select(hits.view(), 0.0, own.view_mut())?;
        reduce(backend, ReduceOp::Sum, own.view(), &mut self.part)?;
        scratch.give(own);
        scratch.give(hits);
        backend.binary(BinaryOp::Add, Operand::InPlace, self.part.view(), self.picked.view_mut())
    }

    /// What was found: [.., 1].
    pub fn finish(self, scratch: &mut Arena<B::Buffer>) -> Tensor<B::Buffer> {
        for done in [self.places, self.step, self.part] {
            scratch.give(done);
        }
        self.picked
    }
}
