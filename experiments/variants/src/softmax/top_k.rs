//! The k most probable classes of each row and their probabilities: softmax and selection in one operation, or as two steps.
//!
//! What sampling from a language model asks for. Milakov and Gimelshein 2018, section 4: fused, the selection rides on the pass that
//! finds the sum, and the probabilities of the other classes are never written. The unfused form writes all of them, then selects.
//! The places of the k classes are found too, but the output of the variant is the probabilities, largest first.

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::dtype::DType;
use crossover_core::error::Result;
use crossover_core::ops::SoftmaxAlgorithm;
use crossover_core::tensor::{View, ViewMut};

use super::description;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Descriptor, Dim, Model};
use crate::resolve::size;
use crate::variant::{Bound, Operands, Reference, Variant, wrong_inputs};

/// Softmax and selection in one operation.
pub struct TopKFused;

/// Softmax, then selection.
pub struct TopKUnfused;

/// Which of the two.
pub struct Selection {
    fused: bool,
}

const fn selection(name: &'static str, summary: &'static str, model: Model) -> Descriptor {
    Descriptor {
        task: "softmax/top-k",
        parameters: &[AxisSpec {
            name: "k",
            doc: "classes to select",
            kind: AxisKind::Int { min: 1, max: 1 << 20 },
            default: AxisDefault::Int(8),
        }],
        output: &[Dim::Rows, Dim::Axis("k")],
        conditions: &[Condition { text: "k may not exceed the number of classes", holds: |axes| size(axes, "k") <= size(axes, "classes") }],
        model,
        ..description(name, summary, "Milakov and Gimelshein 2018, section 4")
    }
}

impl Variant for TopKFused {
    const DESCRIPTOR: Descriptor = selection(
        "softmax/top-k-fused",
        "the k largest probabilities of each row, in one operation",
        Model { flops: "5*batch*n*classes", scratch: "batch*n*k" },
    );

    type Bound<B: TransformerBackend> = Selection;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Selection> {
        Ok(Selection { fused: true })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl Variant for TopKUnfused {
    const DESCRIPTOR: Descriptor = selection(
        "softmax/top-k-unfused",
        "softmax of whole rows, then the k largest of each",
        Model { flops: "batch*n*classes*(5 + floor(log2(max(classes, 2))))", scratch: "batch*n*(classes + k)" },
    );

    type Bound<B: TransformerBackend> = Selection;

    fn bind<B: TransformerBackend>(_operands: &mut Operands<B>, _axes: &Axes) -> Result<Selection> {
        Ok(Selection { fused: false })
    }

    fn exact(_axes: &Axes) -> Reference {
        Reference::Itself
    }
}

impl<B: TransformerBackend> Bound<B> for Selection {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[logits] = inputs else { return Err(wrong_inputs("softmax/top-k", inputs)) };
        let mut places = scratch.take(backend, DType::I32, out.shape())?;
        if self.fused {
            backend.softmax_top_k(logits, out, places.view_mut(), scratch)?;
        } else {
            let mut probabilities = scratch.take(backend, backend.storage(), logits.shape())?;
            backend.softmax(SoftmaxAlgorithm::Stable, Operand::Of(logits), probabilities.view_mut())?;
            backend.top_k(probabilities.view(), out, places.view_mut())?;
            scratch.give(probabilities);
        }
        scratch.give(places);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::softmax::stable::Stable;
    use crate::testing::{axes, axis_error, distance, drawn, run};
    use crossover_core::host::HostTensor;

    #[test]
    fn both_give_the_largest_entries_of_the_softmax() {
        let whole = [("n", 6.into()), ("classes", 40.into())];
        let given = [whole[0].clone(), whole[1].clone(), ("k", 5.into())];
        let inputs = drawn::<TopKFused>(&axes::<TopKFused>(&given));
        let softmax = run::<Stable>(&axes::<Stable>(&whole), &inputs);
        let best = softmax.values().chunks(40).flat_map(|row| {
            let mut row = row.to_vec();
            row.sort_by(|a, b| b.total_cmp(a));
            row[..5].to_vec()
        });
        let best = HostTensor::new(&[1, 6, 5], best.collect()).unwrap();
        assert!(distance(&run::<TopKFused>(&axes::<TopKFused>(&given), &inputs), &best) < 1e-15);
        assert!(distance(&run::<TopKUnfused>(&axes::<TopKUnfused>(&given), &inputs), &best) < 1e-15);
    }

    #[test]
    fn more_than_there_are_cannot_be_selected() {
        let error = axis_error::<TopKFused>(&[("classes", 4.into()), ("k", 5.into())]);
        assert!(error.starts_with("softmax/top-k-fused: k may not exceed the number of classes (here"), "{error}");
    }
}
