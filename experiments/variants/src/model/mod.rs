//! Whole models: embedding, a stack of layers, and what comes out, with every component chosen by name.
//!
//! A component is a variant of another family, with the same code that is timed alone: `attention=linformer(rank=64)`. Accuracy is held
//! against the same model with its original components, on the same weights: the cosine that a user of a trained model cares for.
//!
//! Read in this order: [`architecture`] (sizes and choices), [`component`] (variants by name), `layer`, `stack`, [`single`], `double` and
//! [`stepwise`] (what a call does), [`presets`].

pub mod architecture;
mod attention_block;
pub mod component;
mod config;
mod double;
pub mod huggingface;
mod layer;
pub mod naming;
mod originals;
pub mod presets;
mod projection;
pub mod single;
pub mod stack;
pub mod stepwise;
#[cfg(test)]
mod stepwise_tests;
mod swapped;
mod table;
pub mod text;

use crossover_core::axes::Axes;
use crossover_core::error::EngineError;

use crate::registry::VariantVisitor;
use crate::resolve::name;

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<presets::Encoder>();
    visitor.visit::<presets::Decoder>();
    visitor.visit::<presets::Prefill>();
    visitor.visit::<presets::Decode>();
    visitor.visit::<presets::DecodeRecompute>();
    visitor.visit::<presets::BertBase>();
    visitor.visit::<presets::MiniLm>();
    visitor.visit::<presets::Sentences>();
    visitor.visit::<presets::Gpt2Small>();
    visitor.visit::<presets::LlamaLike>();
    visitor.visit::<presets::EncoderDecoder>();
    visitor.visit::<presets::TransformerBase>();
    visitor.visit::<presets::TransformerBig>();
    visitor.visit::<presets::T5Small>();
}

/// Why components do not fit a model, for resolved axes that fail [`architecture::MISFIT`].
pub(crate) fn misfit(axes: &Axes) -> Option<String> {
    let problem = match (axes.contains_key("causal_attention"), axes.contains_key("steps")) {
        (true, _) => double::stacks(axes).err(),
        (_, true) => stepwise::architecture(axes, stepwise::Phase::Cached).err(),
        _ => architecture::Architecture::of(axes, false).err().or_else(|| architecture::Architecture::of(axes, true).err()),
    };
    problem.map(detail)
}

/// A file that resolved axes name and that is not there, with what to do about it: known without reading any weights.
pub fn missing_file(axes: &Axes) -> Option<String> {
    let named = |axis| Some(name(axes, axis)).filter(|named| !["", "seed"].contains(named));
    let folder = named("weights").map(huggingface::folder)?;
    let (Ok(folder), Some(text)) = (folder.as_ref(), named("text")) else { return folder.err().map(detail) };
    text::find(text).and_then(|_| text::tokenizer(folder)).err().map(detail)
}

/// What is wrong, without the operation: it is the model, which is named already.
fn detail(error: EngineError) -> String {
    match error {
        EngineError::Shape { detail, .. } => detail,
        other => other.to_string(),
    }
}
