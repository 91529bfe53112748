//! Cross-entropy over tiles of the vocabulary: the same loss, and never more than one tile of logits.
//!
//! Wijmans et al. 2024, "Cut Your Losses in Large-Vocabulary Language Models", section 4.1, with the recurrence of Milakov and Gimelshein
//! 2018, algorithm 3, across tiles: a running maximum and a rescaled sum. The weight is prepared as one matrix a tile, the last of which
//! holds what is left. Memory falls from rows x vocabulary to rows x tile; the arithmetic is the same but for one rescaling a row and tile.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::TransformerBackend;
use crossover_core::error::{Result, shape_error};
use crossover_core::host::HostTensor;
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::output::{LOSSES, TARGETS, W, X, description, losses};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, DerivedSpec, Descriptor, Dim, Model, Placed, Role};
use crate::resolve::size;
use crate::variant::{Bound, Derived, Operands, Reference, Variant, source, wrong_inputs};

/// The variant.
pub struct CrossEntropyTiled;

/// One weight a tile.
pub struct Tiles<B: TransformerBackend> {
    w: Vec<B::Weight>,
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
            doc: "words handled together; the last tile may be shorter",
            kind: AxisKind::Int { min: 1, max: 1 << 24 },
            default: AxisDefault::Share { of: "vocabulary", divisor: 16 },
        }],
        &[X, TARGETS, W],
        &[WHOLE_TILES, LAST_TILE],
        (LOSSES, &[Condition { text: "tile must be at most vocabulary", holds: |axes| size(axes, "tile") <= size(axes, "vocabulary") }]),
        Model { flops: "batch*n*vocabulary*(2*d_model + 4)", scratch: "batch*n*tile" },
    );

    type Bound<B: TransformerBackend> = Tiles<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<Tiles<B>> {
        let mut w = operands.weights("w")?;
        if rest(axes) > 0 {
            w.push(operands.weight("w_last")?);
        }
        Ok(Tiles { w })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        let last = (rest(axes) > 0).then_some(LAST_TILE);
        [WHOLE_TILES].into_iter().chain(last).map(|tensor| tensor.placed(axes)).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let (tile, width, rest) = (size(axes, "tile"), size(axes, "d_model"), rest(axes));
        let values = source(drawn, "w")?.values();
        let Some((whole, last)) = values.split_at_checked(whole_tiles(axes) * tile * width) else {
            return Err(shape_error("softmax/cross-entropy-tiled", format!("{} weights for {width} channels", values.len())));
        };
        let whole = HostTensor::new(&[whole_tiles(axes), tile, width], whole.to_vec())?;
        let derived = Derived::default().weight("w", &whole, axes)?;
        if rest == 0 { Ok(derived) } else { derived.weight("w_last", &HostTensor::new(&[rest, width], last.to_vec())?, axes) }
    }
}

const WHOLE_TILES: DerivedSpec = DerivedSpec {
    name: "w",
    role: Role::Weight,
    shape: &[Dim::Of("floor(vocabulary / tile)", whole_tiles), Dim::Axis("tile"), Dim::Axis("d_model")],
    form: None,
};

/// What is left of the vocabulary, where something is.
const LAST_TILE: DerivedSpec =
    DerivedSpec { name: "w_last", role: Role::Weight, shape: &[Dim::Of("vocabulary mod tile", rest), Dim::Axis("d_model")], form: None };

fn whole_tiles(axes: &Axes) -> usize {
    size(axes, "vocabulary") / size(axes, "tile").max(1)
}

fn rest(axes: &Axes) -> usize {
    size(axes, "vocabulary") % size(axes, "tile").max(1)
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
        losses(backend, &self.w, [x, targets], out, scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::testing::assert_sound;
    use crate::softmax::cross_entropy::CrossEntropy;
    use crate::testing::{axes, axis_error, distance, drawn, run};

    #[test]
    fn tiles_of_any_size_give_the_loss_of_the_whole() {
        for distribution in ["gaussian", "extreme"] {
            let given = [("n", 9.into()), ("d_model", 16.into()), ("vocabulary", 96.into()), ("distribution", distribution.into())];
            let inputs = drawn::<CrossEntropy>(&axes::<CrossEntropy>(&given));
            let whole = run::<CrossEntropy>(&axes::<CrossEntropy>(&given), &inputs);
            for tile in [1i64, 8, 32, 36, 95, 96] {
                let [n, d_model, vocabulary, drawing] = given.clone();
                let axes = axes::<CrossEntropyTiled>(&[n, d_model, vocabulary, drawing, ("tile", tile.into())]);
                assert!(distance(&run::<CrossEntropyTiled>(&axes, &inputs), &whole) < 1e-11, "{distribution}, {tile}");
            }
        }
    }

    /// BERT's and GPT-2's vocabularies divide by nothing useful.
    #[test]
    fn costs_are_as_declared_with_a_shorter_last_tile() {
        for (vocabulary, tile) in [(503i64, 31i64), (306, 19), (100, 99)] {
            let given = [("n", 5.into()), ("d_model", 16.into()), ("vocabulary", vocabulary.into()), ("tile", tile.into())];
            let [n, d_model, vocabulary, tile] = given;
            assert_sound::<CrossEntropyTiled>(&[n, d_model, vocabulary, tile, ("precision", "f32".into())]);
        }
        for vocabulary in [50_257i64, 30_522] {
            axes::<CrossEntropyTiled>(&[("vocabulary", vocabulary.into())]);
        }
    }

    #[test]
    fn a_tile_wider_than_the_vocabulary_is_refused() {
        let error = axis_error::<CrossEntropyTiled>(&[("vocabulary", 96.into()), ("tile", 97.into())]);
        assert!(error.starts_with("softmax/cross-entropy-tiled: tile must be at most vocabulary (here"), "{error}");
    }
}
