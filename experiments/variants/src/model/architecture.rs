//! The shape of a Transformer as data: sizes, components, and where norm and position go. Read from a cell's axes, shared by all models.

use crossover_core::axes::Axes;
use crossover_core::error::{Result, shape_error};
use crossover_core::pattern::AttentionPattern;

use super::component::{self, Component};
use super::swapped::Swap;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Placed};
use crate::resolve::{name, number, size};

/// How a token's position enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Not at all.
    None,
    /// A fixed table of sines, added to the embedding (Vaswani et al. 2017, section 3.5).
    Sinusoidal,
    /// A trained table, added to the embedding.
    Learned,
    /// Rotation of queries and keys (Su et al. 2021).
    Rope,
    /// A slope a head, times the distance, added to the scores (Press et al. 2022).
    Alibi,
    /// A trained value for each head and bucket of distances, added to unscaled scores (Raffel et al. 2020, section 2.1).
    T5,
}

/// What a decoder's logits come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    /// The token table times a factor (Press and Wolf 2017).
    Tied(f64),
    /// A matrix of its own.
    Untied,
}

/// How self-attention gets its keys and values.
#[derive(Debug, Clone)]
pub enum Attending {
    /// The component itself, over a whole sequence of the model's length.
    Whole,
    /// Streamed over the pattern that the component stands for, so that a call may bring any number of tokens: over those of the call.
    Growing(AttentionPattern),
    /// The same, over a cache of all tokens so far, to which a call's tokens are added.
    Cached(AttentionPattern),
}

/// A stack of equal layers.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// In front of the layers' names: an encoder-decoder has two stacks.
    pub(super) prefix: &'static str,
    pub(super) batch: usize,
    pub(super) n: usize,
    pub(super) layers: usize,
    pub(super) d_model: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) vocabulary: usize,
    pub(super) causal: bool,
    /// The norm comes before the sublayer, and once more at the end.
    pub(super) pre_norm: bool,
    pub(super) biases: bool,
    pub(super) embedding_norm: bool,
    /// Factor of the embedding.
    pub(super) embedding_scale: f64,
    pub(super) head: Head,
    pub(super) position: Position,
    /// Base of the rotations.
    pub(super) rope_base: f64,
    pub(super) attention: Component,
    pub(super) attending: Attending,
    /// Over an encoder's output.
    pub(super) cross: Option<Component>,
    /// What stands in the place of dense layers.
    pub(super) linear: Option<Swap>,
    pub(super) ffn: Component,
    pub(super) norm: Component,
}

impl Architecture {
    /// Reads resolved axes; fails where a component does not fit.
    pub fn of(axes: &Axes, causal: bool) -> Result<Self> {
        Self::stack(axes, causal, "", size(axes, "n"), "attention", None)
    }

    /// One of two stacks: with the length of its own sequence, the axis of its self-attention, and for a decoder the length of the
    /// memory that its cross-attention sees.
    pub(super) fn stack(
        axes: &Axes,
        causal: bool,
        prefix: &'static str,
        n: usize,
        attention_axis: &str,
        memory: Option<usize>,
    ) -> Result<Self> {
        let [batch, d_model, heads, kv_heads] = ["batch", "d_model", "heads", "kv_heads"].map(|axis| size(axes, axis));
        let head_dim = d_model / heads.max(1);
        let attention_sizes =
            |n_kv| [("batch", batch), ("heads", heads), ("kv_heads", kv_heads), ("n", n), ("n_kv", n_kv), ("head_dim", head_dim)];
        let row_sizes = [("batch", batch), ("n", n), ("d_model", d_model), ("d_ff", size(axes, "d_ff"))];
        let chosen = |family: &str, axis: &str, sizes: &[(&str, usize)], inputs: usize| {
            let chosen = component::parse(family, name(axes, axis)).map_err(|problem| shape_error("model", problem))?;
            if causal && axis == attention_axis && !chosen.is_causal() {
                return Err(shape_error("model", format!("{} sees later tokens: a decoder needs causal attention", chosen.name())));
            }
            let sized = chosen.sized(axes, sizes, inputs)?;
            if causal && sized.looks_ahead() {
                return Err(shape_error("model", format!("{} sees later tokens: a decoder needs causal = yes", sized.name())));
            }
            Ok(sized)
        };
        Ok(Self {
            prefix,
            batch,
            n,
            layers: size(axes, "layers"),
            d_model,
            heads,
            kv_heads,
            vocabulary: size(axes, "vocabulary"),
            causal,
            pre_norm: name(axes, "norm_position") == "pre",
            biases: name(axes, "biases") == "yes",
            embedding_norm: name(axes, "embedding_norm") == "yes",
            embedding_scale: if name(axes, "embedding_scale") == "root-d-model" { (d_model as f64).sqrt() } else { 1.0 },
            head: match name(axes, "head") {
                "untied" => Head::Untied,
                "tied-scaled" => Head::Tied(1.0 / (d_model as f64).sqrt()),
                _ => Head::Tied(1.0),
            },
            rope_base: number(axes, "rope_base"),
            position: match name(axes, "position") {
                "sinusoidal" => Position::Sinusoidal,
                "learned" => Position::Learned,
                "rope" => Position::Rope,
                "alibi" => Position::Alibi,
                "t5" => Position::T5,
                _ => Position::None,
            },
            attention: chosen("attention", attention_axis, &attention_sizes(n), 3)?,
            attending: Attending::Whole,
            cross: memory.map(|n_kv| chosen("attention", "cross_attention", &attention_sizes(n_kv), 3)).transpose()?,
            linear: Swap::of(axes, n)?,
            ffn: chosen("ffn", "ffn", &row_sizes, 1)?,
            norm: chosen("norm", "norm", &row_sizes, 1)?,
        })
    }

    /// A decoder that is called again and again with the next tokens, up to `n` of them.
    pub(super) fn stepwise(axes: &Axes, n: usize, attending: fn(AttentionPattern) -> Attending) -> Result<Self> {
        let model = Self::stack(axes, true, "", n, "attention", None)?;
        let name = model.attention.name();
        let pattern = model.attention.streamed_pattern().ok_or_else(|| {
            shape_error(
                "model",
                format!("{name} cannot decode step by step: it is not the streaming attention over a pattern, such as flash-causal"),
            )
        })?;
        if let Some(name) = [&model.ffn, &model.norm].into_iter().find(|part| part.mixes_rows()).map(Component::name) {
            return Err(shape_error("model", format!("{name} cannot decode step by step: a token's result depends on its neighbours")));
        }
        Ok(Self { attending: attending(pattern), ..model })
    }

    /// Do queries and keys turn with their position?
    pub(super) fn rotates(&self) -> bool {
        self.position == Position::Rope
    }

    /// Do the scores of self-attention carry a bias by distance?
    pub(super) fn biases_scores(&self) -> bool {
        matches!(self.position, Position::Alibi | Position::T5)
    }

    pub(super) fn head_dim(&self) -> usize {
        self.d_model / self.heads.max(1)
    }

    /// Every component with its prefix.
    pub(super) fn components(&self) -> Vec<(String, &Component)> {
        let mut all = Vec::new();
        if self.embedding_norm {
            all.push((format!("{}embedding.norm.", self.prefix), &self.norm));
        }
        for layer in 0..self.layers {
            let within = |part: &str| format!("{}layers.{layer}.{part}.", self.prefix);
            all.extend([(within("attention"), &self.attention), (within("attention_norm"), &self.norm)]);
            if let Some(cross) = &self.cross {
                all.extend([(within("cross_attention"), cross), (within("cross_norm"), &self.norm)]);
            }
            all.extend([(within("ffn"), &self.ffn), (within("ffn_norm"), &self.norm)]);
        }
        if self.pre_norm {
            all.push((format!("{}final_norm.", self.prefix), &self.norm));
        }
        all
    }

    /// The components' tensors, beside the model's own.
    pub(super) fn component_tensors(&self, list: impl Fn(&Component, &str) -> Vec<Placed>) -> Vec<Placed> {
        self.components().iter().flat_map(|(prefix, component)| list(component, prefix)).collect()
    }
}

const fn count(name: &'static str, doc: &'static str, default: AxisDefault) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 24 }, default }
}

const fn choice(name: &'static str, doc: &'static str, of: &'static [&'static str], default: &'static str) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Choice { of }, default: AxisDefault::Text(default) }
}

/// The sizes of a model.
pub(super) const fn sizes(n: i64, layers: i64, d_model: i64, heads: i64, kv_divisor: i64, d_ff: i64, vocabulary: i64) -> [AxisSpec; 8] {
    [
        count("batch", "sequences handled together", AxisDefault::Int(1)),
        count("n", "tokens of a sequence", AxisDefault::Int(n)),
        count("layers", "equal layers", AxisDefault::Int(layers)),
        count("d_model", "width of the stream", AxisDefault::Int(d_model)),
        count("heads", "query heads; divides d_model", AxisDefault::Int(heads)),
        count("kv_heads", "key and value heads; divides heads", AxisDefault::Share { of: "heads", divisor: kv_divisor }),
        count("d_ff", "hidden units of the feed-forward layer", AxisDefault::Int(d_ff)),
        count("vocabulary", "tokens that there are", AxisDefault::Int(vocabulary)),
    ]
}

/// What a preset decides beside the sizes.
pub(super) struct Style {
    pub(super) attention: &'static str,
    pub(super) ffn: &'static str,
    pub(super) norm: &'static str,
    pub(super) norm_position: &'static str,
    pub(super) position: &'static str,
    pub(super) biases: &'static str,
    pub(super) embedding_norm: &'static str,
    pub(super) embedding_scale: &'static str,
    pub(super) head: &'static str,
    pub(super) weights: &'static str,
    pub(super) text: &'static str,
}

const fn text(name: &'static str, doc: &'static str, default: &'static str) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Text, default: AxisDefault::Text(default) }
}

const fn component_of(name: &'static str, family: &'static str, doc: &'static str, default: &'static str) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Component { family }, default: AxisDefault::Text(default) }
}

const fn component(name: &'static str, doc: &'static str, default: &'static str) -> AxisSpec {
    component_of(name, name, doc, default)
}

/// The choices of a model, with a preset's defaults.
pub(super) const fn choices(style: &Style) -> [AxisSpec; 13] {
    [
        component("attention", "self-attention: a variant of that family, e.g. linformer(rank=64)", style.attention),
        component("linear", "layers of the projections and of ffn = dense: a variant of that family, e.g. int8-weight-only", "dense"),
        component("ffn", "feed-forward layer: a variant of that family, e.g. low-rank(rank=64)", style.ffn),
        component("norm", "normalisation: a variant of that family, e.g. rms-norm", style.norm),
        choice("norm_position", "after the residual joins (post) or before the sublayer (pre)", &["post", "pre"], style.norm_position),
        choice("position", "how a token's position enters", &["none", "sinusoidal", "learned", "rope", "alibi", "t5"], style.position),
        AxisSpec {
            name: "rope_base",
            doc: "base of the rotations of position = rope: the slowest pair of channels turns by about 1 / base a token",
            kind: AxisKind::Float { min: 1.0, max: 1e12 },
            default: AxisDefault::Float(10_000.0),
        },
        choice("biases", "biases of the projections of attention", &["yes", "no"], style.biases),
        choice("embedding_norm", "a norm right after the embedding", &["yes", "no"], style.embedding_norm),
        choice("embedding_scale", "factor of the embedding, before positions are added", &["one", "root-d-model"], style.embedding_scale),
        choice(
            "head",
            "a decoder's head: the token table (tied), the same over the root of d_model (tied-scaled), or a matrix of its own (untied)",
            &["tied", "tied-scaled", "untied"],
            style.head,
        ),
        text("weights", "seed, or a folder with model.safetensors and tokenizer.json in Hugging Face's layout", style.weights),
        text("text", "seed (random tokens), or the name of a text file whose passages the model reads", style.text),
    ]
}

/// The condition whose reason `misfit` knows.
pub const MISFIT: &str = "every component must fit the model";

/// What any model asks of its sizes, and that every component fits.
pub(super) const fn conditions(fits: fn(&Axes) -> bool) -> [Condition; 5] {
    [
        Condition { text: "heads must divide d_model", holds: |axes| size(axes, "d_model").is_multiple_of(size(axes, "heads").max(1)) },
        Condition { text: "kv_heads must divide heads", holds: |axes| size(axes, "heads").is_multiple_of(size(axes, "kv_heads").max(1)) },
        Condition {
            text: "rope rotates pairs of channels: d_model / heads must be even",
            holds: |axes| name(axes, "position") != "rope" || (size(axes, "d_model") / size(axes, "heads").max(1)).is_multiple_of(2),
        },
        Condition {
            text: "alibi and t5 add a bias to the scores, which only the streaming attention takes: self-attention must be flash, in a decoder \
                   flash-causal",
            holds: |axes| {
                let biased = ["alibi", "t5"].contains(&name(axes, "position"));
                let streams = |axis: &str| ["", "flash", "flash-causal"].contains(&name(axes, axis));
                !biased || (streams("attention") && streams("causal_attention"))
            },
        },
        Condition { text: MISFIT, holds: fits },
    ]
}

/// Those of an encoder.
pub(super) const CONDITIONS: &[Condition] = &conditions(|axes| Architecture::of(axes, false).is_ok());

/// Those of a stack that keeps to the past.
pub(super) const CAUSAL_CONDITIONS: &[Condition] = &conditions(|axes| Architecture::of(axes, true).is_ok());

/// Those of two stacks.
pub(super) const DOUBLE_CONDITIONS: &[Condition] = &conditions(super::double::fits);

/// Sizes of a decoder that is called step by step.
pub(super) const fn stepwise_sizes() -> [AxisSpec; 9] {
    let [batch, n, layers, d_model, heads, kv_heads, d_ff, vocabulary] = sizes(128, 2, 128, 2, 1, 512, 1000);
    let n = AxisSpec { doc: "tokens of the prompt", ..n };
    let steps = count("steps", "tokens that follow the prompt", AxisDefault::Int(8));
    [batch, n, steps, layers, d_model, heads, kv_heads, d_ff, vocabulary]
}

/// The same with the choice of tokens.
pub(super) const fn decode_sizes() -> [AxisSpec; 10] {
    let [batch, n, steps, layers, d_model, heads, kv_heads, d_ff, vocabulary] = stepwise_sizes();
    let chosen =
        choice("choice", "tokens after the first: given, or the largest logit of the step before", &["forced", "greedy"], "forced");
    [batch, n, steps, layers, d_model, heads, kv_heads, d_ff, vocabulary, chosen]
}

/// Sizes of a model of two stacks.
pub(super) const fn double_sizes(n: i64, layers: i64, d_model: i64, heads: i64, d_ff: i64, vocabulary: i64) -> [AxisSpec; 9] {
    let [batch, n, layers, d_model, heads, kv_heads, d_ff, vocabulary] = sizes(n, layers, d_model, heads, 1, d_ff, vocabulary);
    let target = count("n_target", "tokens of the target sequence", AxisDefault::SameAs("n"));
    [batch, n, target, layers, d_model, heads, kv_heads, d_ff, vocabulary]
}

/// Choices of a model of two stacks.
pub(super) const fn double_choices(style: &Style) -> [AxisSpec; 13] {
    let [attention, linear, ffn, norm, norm_position, position, rope_base, biases, embedding_norm, embedding_scale, head, _, _] =
        choices(style);
    [
        attention,
        component_of("causal_attention", "attention", "the decoder's self-attention: a variant of the family attention", "flash-causal"),
        component_of("cross_attention", "attention", "attention to the encoder: a variant of the family attention", "flash"),
        linear,
        ffn,
        norm,
        norm_position,
        position,
        rope_base,
        biases,
        embedding_norm,
        embedding_scale,
        head,
    ]
}
