//! Cross-entropy over tiles of the vocabulary, composed of layers and of what is done to their rows.
//!
//! The recurrence of Milakov and Gimelshein 2018, algorithm 3, across tiles: a running maximum and a rescaled sum. After the last tile the
//! loss is log(sum) + (maximum - the target's logit), in this order: of a confident row the difference is 0, and what is left is small. One tile is the plain loss, with the logits of all words in memory at once.

use super::columns::{column, reduce};
use super::indices;
use super::picker::{Picker, numbers};
use super::places::places;
use crate::activation::Activation;
use crate::arena::Arena;
use crate::backend::{Operand, PreparedWeight, TransformerBackend};
use crate::check;
use crate::error::Result;
use crate::ops::{BinaryOp, LinearSpec, ReduceOp, UnaryOp};
use crate::tensor::{Buffer, Tensor, View, ViewMut};

/// Words that are compared with the target at once, at most.
const COMPARED: usize = 1024;

/// The running state of each row: [.., 1] in the compute type.
struct Running<S> {
    maximum: Tensor<S>,
    sum: Tensor<S>,
    /// Whatever is needed for a moment.
    spare: Tensor<S>,
}

impl<S: Buffer> Running<S> {
    /// Takes a tile of logits in, and leaves exponentials there.
    fn absorb<B: TransformerBackend<Buffer = S>>(&mut self, backend: &B, first: bool, mut logits: ViewMut<'_, S>) -> Result<()> {
        let Self { maximum, sum, spare } = self;
        if first {
            reduce(backend, ReduceOp::Max, logits.as_view(), maximum)?;
        } else {
            reduce(backend, ReduceOp::Max, logits.as_view(), spare)?;
            backend.binary(BinaryOp::Maximum, Operand::InPlace, maximum.view(), spare.view_mut())?;
            // sum = sum exp(old maximum - new maximum).
            backend.binary(BinaryOp::Subtract, Operand::InPlace, spare.view(), maximum.view_mut())?;
            backend.unary(UnaryOp::Exp, Operand::InPlace, maximum.view_mut())?;
            backend.binary(BinaryOp::Multiply, Operand::InPlace, maximum.view(), sum.view_mut())?;
            backend.copy(spare.view(), maximum.view_mut())?;
        }
        backend.binary(BinaryOp::Subtract, Operand::InPlace, maximum.view(), logits.reborrow())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, logits.reborrow())?;
        if first {
            return reduce(backend, ReduceOp::Sum, logits.as_view(), sum);
        }
        reduce(backend, ReduceOp::Sum, logits.as_view(), spare)?;
        backend.binary(BinaryOp::Add, Operand::InPlace, spare.view(), sum.view_mut())
    }
}

/// See the module, and [`TransformerBackend::cross_entropy`] for the operands.
pub fn tiled<B: TransformerBackend>(
    backend: &B,
    x: View<'_, B::Buffer>,
    tiles: &[B::Weight],
    targets: View<'_, B::Buffer>,
    mut logits: ViewMut<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let sizes = check::cross_entropy(&x.layout, tiles, [&targets.layout, &logits.layout, &out.layout])?;
    check::of_type("cross-entropy", backend.compute(), logits.dtype())?;
    indices::below(backend, "cross-entropy", targets, sizes.classes, scratch)?;
    scratch.scope(|scratch| {
        let last = logits.layout.rank() - 1;
        let like = logits.layout;
        let targets = numbers(backend, targets, like.shape(), scratch)?;
        let numbers = places(backend, sizes.widest.min(COMPARED), scratch)?;
        let mut picker = Picker::new(backend, &numbers, like.shape(), scratch)?;
        scratch.give(numbers);
        let mut running = Running {
            maximum: column(backend, like.shape(), scratch)?,
            sum: column(backend, like.shape(), scratch)?,
            spare: column(backend, like.shape(), scratch)?,
        };
        let mut start = 0;
        for (at, tile) in tiles.iter().enumerate() {
            let words = tile.outputs();
            let mut logits = logits.reborrow().narrow(last, 0, words)?;
            backend.linear(LinearSpec { activation: Activation::None }, x, tile, None, logits.reborrow())?;
            for first in (0..words).step_by(COMPARED) {
                let part = logits.as_view().narrow(last, first, COMPARED.min(words - first))?;
                picker.look(start + first, part, targets.view(), scratch)?;
            }
            running.absorb(backend, at == 0, logits)?;
            start += words;
        }
        let picked = picker.finish(scratch);
        let Running { mut maximum, mut sum, spare } = running;
        backend.unary(UnaryOp::Log, Operand::InPlace, sum.view_mut())?;
        backend.binary(BinaryOp::Subtract, Operand::InPlace, picked.view(), maximum.view_mut())?;
        let flat = |tensor: &Tensor<B::Buffer>| tensor.layout.reshape(out.shape());
        let (log, behind) = (View { buffer: &sum.buffer, layout: flat(&sum)? }, View { buffer: &maximum.buffer, layout: flat(&maximum)? });
        backend.binary(BinaryOp::Add, Operand::Of(log), behind, out)?;
        for done in [targets, maximum, sum, spare, picked] {
            scratch.give(done);
        }
        Ok(())
    })
}
