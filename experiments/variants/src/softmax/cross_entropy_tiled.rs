//! Cross-entropy over tiles of the vocabulary: the same loss, and never more than one tile of logits.
//!
//! Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models", section 4.1, with the recurrence of Milakov and Gimelshein 2018,
//! algorithm 3, across tiles: a running maximum and a rescaled sum. The weight is prepared as one matrix a tile. Memory falls from
//! rows x vocabulary to rows x tile; the arithmetic is the same but for one rescaling a row and tile.

use crossover_core::activation::Activation;
use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::Result;
use crossover_core::ops::{BinaryOp, LinearSpec, ReduceOp, UnaryOp};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{Tensor, View, ViewMut};

use super::columns::{column, reduce, wide};
use super::output::{LOSSES, Picker, TARGETS, W, X, counted, description, numbers, places};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, Model, Role};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct CrossEntropyTiled;

/// One weight a tile, and the places of a tile.
pub struct Tiles<B: TransformerBackend> {
    w: Vec<B::Weight>,
    places: Tensor<B::Buffer>,
}

impl Variant for CrossEntropyTiled {
    const DESCRIPTOR: Descriptor = description(
        [
            "softmax/cross-entropy-tiled",
            "-log softmax(w x)[target], one tile of logits at a time",
            "Wijmans et al. 2024, section 4.1; Milakov and Gimelshein 2018",
        ],
        &[AxisSpec {
            name: "tile",
            doc: "words handled together; divides vocabulary",
            kind: AxisKind::Int { min: 1, max: 1 << 24 },
            default: AxisDefault::Share { of: "vocabulary", divisor: 16 },
        }],
        &[X, TARGETS, W],
        &[
            DerivedSpec {
                name: "w",
                role: Role::Weight,
                shape: &[Dim::Of("vocabulary / tile", tiles), Dim::Axis("tile"), Dim::Axis("d_model")],
                form: None,
            },
            places(&[Dim::Axis("tile")]),
        ],
        (
            LOSSES,
            &[Condition {
                text: "tile must divide vocabulary",
                holds: |axes| size(axes, "vocabulary").is_multiple_of(size(axes, "tile").max(1)),
            }],
        ),
        Model {
            flops: "batch*n*(vocabulary*(2*d_model + 7) + 6*vocabulary/tile - 2) + vocabulary - tile",
            scratch: "batch*n*(2*tile + 6) + tile + 1",
        },
    );

    type Bound<B: TransformerBackend> = Tiles<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, _axes: &Axes) -> Result<Tiles<B>> {
        Ok(Tiles { w: operands.weights("w")?, places: operands.tensor("places")? })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let shape = [tiles(axes), size(axes, "tile"), size(axes, "d_model")];
        let w = source(drawn, "w")?.clone().reshaped(&shape)?;
        Derived::default().tensor("places", counted(shape[1])?).weight("w", &w, axes)
    }
}

fn tiles(axes: &Axes) -> usize {
    size(axes, "vocabulary") / size(axes, "tile").max(1)
}

/// The running state of each row: [.., 1] in the compute type.
struct Running<S> {
    maximum: Tensor<S>,
    sum: Tensor<S>,
    /// Whatever is needed for a moment.
    spare: Tensor<S>,
}

impl<S: crossover_core::tensor::Buffer> Running<S> {
    /// Takes a tile of logits in, and leaves exponentials there.
    fn absorb<B: TransformerBackend<Buffer = S>>(&mut self, backend: &B, first: bool, logits: &mut Tensor<S>) -> Result<()> {
        let Self { maximum, sum, spare } = self;
        if first {
            reduce(backend, ReduceOp::Max, logits.view(), maximum)?;
        } else {
            reduce(backend, ReduceOp::Max, logits.view(), spare)?;
            backend.binary(BinaryOp::Maximum, Operand::InPlace, maximum.view(), spare.view_mut())?;
            // sum = sum exp(old maximum - new maximum).
            backend.binary(BinaryOp::Subtract, Operand::InPlace, spare.view(), maximum.view_mut())?;
            backend.unary(UnaryOp::Exp, Operand::InPlace, maximum.view_mut())?;
            backend.binary(BinaryOp::Multiply, Operand::InPlace, maximum.view(), sum.view_mut())?;
            backend.copy(spare.view(), maximum.view_mut())?;
        }
        backend.binary(BinaryOp::Subtract, Operand::InPlace, maximum.view(), logits.view_mut())?;
        backend.unary(UnaryOp::Exp, Operand::InPlace, logits.view_mut())?;
        if first {
            return reduce(backend, ReduceOp::Sum, logits.view(), sum);
        }
        reduce(backend, ReduceOp::Sum, logits.view(), spare)?;
        backend.binary(BinaryOp::Add, Operand::InPlace, spare.view(), sum.view_mut())
    }
}

impl<B: TransformerBackend> Bound<B> for Tiles<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[x, targets] = inputs else { return Err(wrong_inputs("softmax/cross-entropy-tiled", inputs)) };
        let targets = numbers(backend, targets, x.shape(), scratch)?;
        let mut picker = Picker::new(backend, &self.places, x.shape(), scratch)?;
        let mut logits = wide(backend, x.shape(), picker.tile(), scratch)?;
        let mut running = Running {
            maximum: column(backend, x.shape(), scratch)?,
            sum: column(backend, x.shape(), scratch)?,
            spare: column(backend, x.shape(), scratch)?,
        };
        for (at, w) in self.w.iter().enumerate() {
            backend.linear(LinearSpec { activation: Activation::None }, x, w, None, logits.view_mut())?;
            picker.look(at * picker.tile(), logits.view(), targets.view(), scratch)?;
            running.absorb(backend, at == 0, &mut logits)?;
        }
        let picked = picker.finish(scratch);
        let Running { mut maximum, mut sum, spare } = running;
        backend.unary(UnaryOp::Log, Operand::InPlace, sum.view_mut())?;
        backend.binary(BinaryOp::Add, Operand::InPlace, sum.view(), maximum.view_mut())?;
        backend.binary(BinaryOp::Subtract, Operand::Of(maximum.view()), picked.view(), out)?;
        for done in [targets, logits, maximum, sum, spare, picked] {
            scratch.give(done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::cross_entropy::CrossEntropy;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn tiles_of_any_size_give_the_loss_of_the_whole() {
        for distribution in ["gaussian", "extreme"] {
            let given = [("n", 9.into()), ("d_model", 16.into()), ("vocabulary", 96.into()), ("distribution", distribution.into())];
            let inputs = drawn::<CrossEntropy>(&axes::<CrossEntropy>(&given));
            let whole = run::<CrossEntropy>(&axes::<CrossEntropy>(&given), &inputs);
            for tile in [1i64, 8, 32, 96] {
                let [n, d_model, vocabulary, drawing] = given.clone();
                let axes = axes::<CrossEntropyTiled>(&[n, d_model, vocabulary, drawing, ("tile", tile.into())]);
                assert!(distance(&run::<CrossEntropyTiled>(&axes, &inputs), &whole) < 1e-11, "{distribution}, {tile}");
            }
        }
    }

    #[test]
    fn a_tile_must_divide() {
        let error = axis_error::<CrossEntropyTiled>(&[("vocabulary", 96.into()), ("tile", 36.into())]);
        assert!(error.starts_with("softmax/cross-entropy-tiled: tile must divide vocabulary (here"), "{error}");
    }
}
