//! Models of one stack: encoders and decoders.

use std::marker::PhantomData;

use crossover_core::arena::Arena;
use crossover_core::axes::Axes;
use crossover_core::backend::{Operand, TransformerBackend};
use crossover_core::error::{Result, shape_error};
use crossover_core::ops::{BinaryOp, ReduceOp, UnaryOp};
use crossover_core::reference::HostInputs;
use crossover_core::tensor::{View, ViewMut};

use super::architecture::{Architecture, CAUSAL_CONDITIONS, CONDITIONS};
use super::naming::Naming;
use super::stack::{self, Stack};
use super::table::{self, Table};
use super::{config, huggingface, text};
use crate::descriptor::{AxisKind, AxisSpec, Descriptor, Dim, DrawRule, Model, Placed, Role, TensorSpec};
use crate::inputs::draw_tensors;
use crate::resolve::{name, size};
use crate::variant::{Bound, Derived, Operands, Reference, Variant, wrong_inputs};

/// What makes a preset.
pub trait Preset: 'static {
    /// `model/kebab-name`.
    const NAME: &'static str;
    /// One line.
    const SUMMARY: &'static str;
    /// Where it comes from.
    const CITATION: &'static str;
    /// Sizes with their defaults.
    const SIZES: &'static [AxisSpec];
    /// Components and choices with their defaults.
    const CHOICES: &'static [AxisSpec];
    /// A decoder sees the past only.
    const CAUSAL: bool;
    /// Whose names a file of trained weights uses.
    const NAMING: Naming;
    /// What comes out.
    const END: End;
    /// Operations of a call with the original components.
    const FLOPS: &'static str;
}

/// What a model ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last layer's stream.
    Stream,
    /// Logits over the vocabulary.
    Logits,
    /// One vector a sequence: the mean over its tokens, with length one.
    Embedding,
}

/// A model of one stack.
pub struct Single<P>(PhantomData<P>);

/// The components of a preset are tensors too; `apply` would need them all, so only what every model has is listed.
const TENSORS: &[TensorSpec] = &[TensorSpec {
    name: "tokens",
    role: Role::Activation,
    shape: &[Dim::Axis("batch"), Dim::Axis("n")],
    draw: DrawRule::Below(|axes| size(axes, "vocabulary")),
    only_with: None,
}];

const STREAM: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("n"), Dim::Axis("d_model")];
const EMBEDDING: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("d_model")];
const LOGITS: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("n"), Dim::Axis("vocabulary")];

/// Scratch with the original components: the stream and its branch, and the widest moment between them.
const SCRATCH: &str = "batch*n*(5*d_model + 2*d_model*kv_heads/heads + max(0, d_ff - 2*d_model - 2*d_model*kv_heads/heads))";

impl<P: Preset> Variant for Single<P> {
    const DESCRIPTOR: Descriptor = Descriptor {
        name: P::NAME,
        summary: P::SUMMARY,
        citation: P::CITATION,
        task: P::NAME,
        problem: P::SIZES,
        parameters: P::CHOICES,
        tensors: TENSORS,
        derived: &[],
        output: match P::END {
            End::Stream => STREAM,
            End::Logits => LOGITS,
            End::Embedding => EMBEDDING,
        },
        conditions: if P::CAUSAL { CAUSAL_CONDITIONS } else { CONDITIONS },
        model: Model { flops: P::FLOPS, scratch: SCRATCH },
    };

    type Bound<B: TransformerBackend> = BoundModel<B>;

    fn bind<B: TransformerBackend>(operands: &mut Operands<B>, axes: &Axes) -> Result<BoundModel<B>> {
        let table = Table::bind(P::CAUSAL, operands)?;
        Ok(BoundModel { end: P::END, table, stack: Stack::bind(Architecture::of(axes, P::CAUSAL)?, operands)? })
    }

    /// The same weights with the original components.
    fn exact(axes: &Axes) -> Reference {
        original_components(axes, P::CHOICES)
    }

    fn reference(_axes: &Axes) -> Reference {
        Reference::Itself
    }

    fn draw(axes: &Axes) -> Result<HostInputs> {
        let mut all = draw_with_weights(&Self::drawn(axes), axes, P::NAMING, size(axes, "n"))?;
        if let Some(read) = all.remove(TEXT) {
            all.insert("tokens".to_owned(), read);
        }
        Ok(all)
    }

    fn drawn(axes: &Axes) -> Vec<Placed> {
        // Resolved axes have passed the condition that every component fits.
        let Ok(model) = Architecture::of(axes, P::CAUSAL) else { return Vec::new() };
        [table::tokens("tokens", &model)].into_iter().chain(table::drawn(&model)).chain(stack::drawn(&model)).collect()
    }

    fn derived(axes: &Axes) -> Vec<Placed> {
        let Ok(model) = Architecture::of(axes, P::CAUSAL) else { return Vec::new() };
        table::derived(&model).into_iter().chain(stack::derived(&model)).collect()
    }

    fn derive(axes: &Axes, drawn: &HostInputs) -> Result<Derived> {
        let model = Architecture::of(axes, P::CAUSAL)?;
        let mut made = table::derive(&model, axes, drawn)?;
        stack::derive(&model, drawn, &mut made)?;
        Ok(made)
    }
}

/// Where [`draw_with_weights`] leaves the tokens of a text.
pub(super) const TEXT: &str = "text";

/// A model's tensors from a seed or from trained weights; with the latter also the first `n` tokens of each passage of a text, where the
/// axes name one.
pub(super) fn draw_with_weights(wanted: &[Placed], axes: &Axes, naming: Naming, n: usize) -> Result<HostInputs> {
    if name(axes, "weights") == "seed" {
        if name(axes, "text") != "seed" {
            return Err(shape_error("model", "a text needs a tokenizer, which comes with trained weights: set `weights` too"));
        }
        return draw_tensors(wanted, axes);
    }
    let folder = huggingface::folder(name(axes, "weights"))?;
    let trained = huggingface::load(&folder, naming, wanted, axes)?;
    let rest: Vec<Placed> = wanted.iter().filter(|tensor| !trained.contains_key(tensor.name.as_ref())).cloned().collect();
    let mut all = draw_tensors(&rest, axes)?;
    all.extend(trained);
    if name(axes, "text") != "seed" {
        let read = text::read(name(axes, "text"))?;
        all.insert(TEXT.to_owned(), text::passages(&folder, &read, size(axes, "batch"), n)?);
    }
    Ok(all)
}

/// The same model with the components that its preset has.
pub(super) fn original_components(axes: &Axes, choices: &[AxisSpec]) -> Reference {
    let mut original = axes.clone();
    for choice in choices.iter().filter(|choice| matches!(choice.kind, AxisKind::Component { .. })) {
        original.extend(choice.default.value().map(|value| (choice.name.to_owned(), value)));
    }
    // A trained model's own are those of its file; one that cannot be read fails where its weights are.
    if !["", "seed"].contains(&name(axes, "weights"))
        && let Ok(own) = huggingface::folder(name(axes, "weights")).and_then(|folder| config::original_components(&folder, &original))
    {
        original.extend(own);
    }
    if original == *axes { Reference::Itself } else { Reference::ItselfWith(original) }
}

/// A model with its weights.
pub struct BoundModel<B: TransformerBackend> {
    end: End,
    table: Table<B>,
    stack: Stack<B>,
}

impl<B: TransformerBackend> Bound<B> for BoundModel<B> {
    fn run(
        &mut self,
        backend: &B,
        inputs: &[View<'_, B::Buffer>],
        out: ViewMut<'_, B::Buffer>,
        scratch: &mut Arena<B::Buffer>,
    ) -> Result<()> {
        let &[tokens] = inputs else { return Err(wrong_inputs("model", inputs)) };
        let stream = self.stack.stream(backend, self.table.tokens.view(), (0, tokens), None, scratch)?;
        match self.end {
            End::Stream => backend.copy(stream.view(), out)?,
            End::Logits => self.table.logits(backend, stream.view(), out)?,
            End::Embedding => embed(backend, stream.view(), out, scratch)?,
        }
        scratch.give(stream);
        Ok(())
    }
}

/// The mean over the tokens, divided by its length (Reimers and Gurevych 2019, section 3).
fn embed<B: TransformerBackend>(
    backend: &B,
    stream: View<'_, B::Buffer>,
    out: ViewMut<'_, B::Buffer>,
    scratch: &mut Arena<B::Buffer>,
) -> Result<()> {
    let (batch, width) = (stream.layout.dim_from_end(2), stream.layout.dim_from_end(0));
    let mut mean = scratch.take(backend, backend.compute(), &[batch, width])?;
    let mut squares = scratch.take(backend, backend.compute(), &[batch, width])?;
    let mut length = scratch.take(backend, backend.compute(), &[batch])?;
    backend.reduce(ReduceOp::Mean, stream.transposed()?, mean.view_mut())?;
    backend.unary(UnaryOp::Square, Operand::Of(mean.view()), squares.view_mut())?;
    backend.reduce(ReduceOp::Sum, squares.view(), length.view_mut())?;
    backend.unary(UnaryOp::Sqrt, Operand::InPlace, length.view_mut())?;
    backend.binary(BinaryOp::Divide, Operand::Of(mean.view()), length.view().with(|layout| layout.unsqueeze(1))?, out)?;
    scratch.give(length);
    scratch.give(squares);
    scratch.give(mean);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crossover_core::axes::AxisValue;

    use crate::model::presets::{Decoder, Encoder, T5Small};
    use crate::testing::{axes, axis_error, distance, drawn, judged, run};

    const SMALL: [(&str, i64); 7] =
        [("n", 16), ("layers", 1), ("d_model", 16), ("heads", 2), ("d_ff", 32), ("vocabulary", 32), ("batch", 1)];

    fn given(choices: &[(&'static str, &str)]) -> Vec<(&'static str, AxisValue)> {
        let sizes = SMALL.iter().map(|(name, value)| (*name, AxisValue::Int(*value)));
        sizes.chain(choices.iter().map(|(name, value)| (*name, AxisValue::from(*value)))).collect()
    }

    #[test]
    fn a_component_that_changes_nothing_gives_the_original() {
        let original = judged::<Encoder>(&given(&[]));
        let same = judged::<Encoder>(&given(&[("attention", "window(window=16)")]));
        let other = judged::<Encoder>(&given(&[("attention", "window(window=1)")]));
        assert!(original.method.relative.unwrap() < 1e-14 && same.method.relative.unwrap() < 1e-13, "{same:?}");
        assert!(other.method.relative.unwrap() > 1e-3 && other.complaint.is_none(), "{other:?}");
    }

    #[test]
    fn later_tokens_leave_earlier_logits_alone() {
        let axes = axes::<Decoder>(&given(&[]));
        let mut inputs = drawn::<Decoder>(&axes);
        let before = run::<Decoder>(&axes, &inputs);
        let mut tokens = inputs["tokens"].values().to_vec();
        tokens[15] = 31.0 - tokens[15];
        inputs.insert("tokens".into(), crossover_core::host::HostTensor::new(&[1, 16], tokens).unwrap());
        let after = run::<Decoder>(&axes, &inputs);
        assert_eq!(before.values()[..15 * 32], after.values()[..15 * 32]);
        assert!(distance(&before, &after) > 0.0);
    }

    #[test]
    fn components_that_do_not_fit_say_why_before_anything_runs() {
        for (choices, wanted) in [
            (given(&[("attention", "flash")]), "attention/flash sees later tokens: a decoder needs causal attention"),
            (given(&[("attention", "gqa-causal")]), "attention/gqa-causal cannot be a component"),
            (given(&[("norm", "layer-drop")]), "norm/layer-drop cannot be a component: it is a stack of layers"),
            (given(&[("ffn", "depthwise-separable")]), "ffn/depthwise-separable sees later tokens"),
            (given(&[("ffn", "low-rank(rank=0)")]), "rank = 0 must be a whole number"),
            (given(&[("ffn", "dense(d_model=8)")]), "ffn/dense has no parameter \"d_model\""),
            (given(&[("position", "alibi"), ("attention", "causal")]), "must be flash"),
        ] {
            let error = axis_error::<Decoder>(&choices);
            assert!(error.contains(wanted), "{error}");
        }
        let error = axis_error::<T5Small>(&given(&[("causal_attention", "linear-causal")]));
        assert!(error.contains("in a decoder flash-causal"), "{error}");
    }
}
