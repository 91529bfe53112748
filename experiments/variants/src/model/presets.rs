//! Models by name: the sizes and choices of published ones. Every size and every choice is an axis and can be overridden.

use super::architecture::{Style, choices, decode_sizes, double_choices, double_sizes, sizes, stepwise_sizes};
use super::double::{Double, DoublePreset};
use super::naming::Naming;
use super::single::{End, Preset, Single};
use super::stepwise::{Phase, Stepwise, StepwisePreset};
use crate::descriptor::{AxisSpec, Model};

/// A small encoder: BERT's layout at a size that any machine runs.
pub type Encoder = Single<EncoderPreset>;
/// A small decoder.
pub type Decoder = Single<DecoderPreset>;
/// A decoder reading its prompt.
pub type Prefill = Stepwise<PrefillPreset>;
/// A decoder taking steps over a cache.
pub type Decode = Stepwise<DecodePreset>;
/// The same steps without a cache.
pub type DecodeRecompute = Stepwise<DecodeRecomputePreset>;
/// BERT-base.
pub type BertBase = Single<BertBasePreset>;
/// all-MiniLM-L6.
pub type MiniLm = Single<MiniLmPreset>;
/// GPT-2 small.
pub type Gpt2Small = Single<Gpt2SmallPreset>;
/// A Llama-like block stack.
pub type LlamaLike = Single<LlamaLikePreset>;

/// all-MiniLM-L6-v2 with its weights, as it embeds sentences.
pub type Sentences = Single<SentencesPreset>;
/// A small encoder-decoder.
pub type EncoderDecoder = Double<EncoderDecoderPreset>;
/// Transformer (base).
pub type TransformerBase = Double<TransformerBasePreset>;
/// Transformer (big).
pub type TransformerBig = Double<TransformerBigPreset>;
/// T5-small.
pub type T5Small = Double<T5SmallPreset>;

/// Embeddings times the root of d_model, tied with the head (section 3.4); sines and cosines side by side, channel 2 i and 2 i + 1 (3.5).
const ORIGINAL: Style = Style {
    attention: "flash",
    ffn: "dense(activation=relu)",
    norm: "layer-norm",
    norm_position: "post",
    position: "sinusoidal",
    biases: "yes",
    embedding_norm: "no",
    embedding_scale: "root-d-model",
    head: "tied",
    weights: "seed",
    text: "seed",
};

/// No biases, norms that only scale, a tied head over the root of d_model; unscaled scores are in the weights of the queries.
const T5: Style = Style {
    attention: "flash",
    ffn: "dense-unbiased(activation=relu)",
    norm: "rms-norm(eps=1e-6,shift=no)",
    norm_position: "pre",
    position: "t5",
    biases: "no",
    embedding_norm: "no",
    embedding_scale: "one",
    head: "tied-scaled",
    weights: "seed",
    text: "seed",
};

const BERT: Style = Style {
    attention: "flash",
    ffn: "dense(activation=gelu)",
    norm: "layer-norm(eps=1e-12)",
    norm_position: "post",
    position: "learned",
    biases: "yes",
    embedding_norm: "yes",
    embedding_scale: "one",
    head: "tied",
    weights: "seed",
    text: "seed",
};

const GPT2: Style = Style {
    attention: "flash-causal",
    ffn: "dense(activation=gelu-tanh)",
    norm: "layer-norm",
    norm_position: "pre",
    position: "learned",
    biases: "yes",
    embedding_norm: "no",
    embedding_scale: "one",
    head: "tied",
    weights: "seed",
    text: "seed",
};

/// A head of its own; another base of the rotations, as later Llamas have it, is the axis `rope_base`.
const LLAMA: Style = Style {
    attention: "flash-causal",
    ffn: "swiglu",
    norm: "rms-norm(shift=no)",
    norm_position: "pre",
    position: "rope",
    biases: "no",
    embedding_norm: "no",
    embedding_scale: "one",
    head: "untied",
    weights: "seed",
    text: "seed",
};

/// Projections, scores, two dense layers, norms and residuals; the embedding's own sum and norm.
const BERT_FLOPS: &str = "batch*n*(layers*(4*d_model*(d_model + d_model*kv_heads/heads) + 4*d_model*d_ff + 5*d_ff + 21*d_model \
    + n*(4*d_model + 5*heads)) + 8*d_model)";
/// The same with half of the scores, a norm at the end, and the head.
const GPT2_FLOPS: &str = "batch*n*(layers*(4*d_model*(d_model + d_model*kv_heads/heads) + 4*d_model*d_ff + 9*d_ff + 21*d_model \
    + (n + 1)/2*(4*d_model + 5*heads)) + 8*d_model + 2*d_model*vocabulary)";
/// The same with three dense layers, and rotations.
const LLAMA_FLOPS: &str = "batch*n*(layers*(4*d_model*(d_model + d_model*kv_heads/heads) + 6*d_model*d_ff + 5*d_ff + 10*d_model \
    + 3*(d_model + d_model*kv_heads/heads) + (n + 1)/2*(4*d_model + 5*heads)) + 4*d_model + 2*d_model*vocabulary)";

/// See [`Encoder`].
pub struct EncoderPreset;

impl Preset for EncoderPreset {
    const NAME: &'static str = "model/encoder";
    const SUMMARY: &'static str = "a small encoder in BERT's layout: any component swapped by name";
    const CITATION: &'static str = "Vaswani et al. 2017, section 3; Devlin et al. 2019, section 3";
    const SIZES: &'static [AxisSpec] = &sizes(128, 2, 128, 2, 1, 512, 1000);
    const CHOICES: &'static [AxisSpec] = &choices(&BERT);
    const CAUSAL: bool = false;
    const NAMING: Naming = Naming::Bert;
    const END: End = End::Stream;
    const FLOPS: &'static str = BERT_FLOPS;
}

/// See [`Decoder`].
pub struct DecoderPreset;

impl Preset for DecoderPreset {
    const NAME: &'static str = "model/decoder";
    const SUMMARY: &'static str = "a small decoder in GPT-2's layout with logits over the vocabulary";
    const CITATION: &'static str = "Radford et al. 2019, section 2.3";
    const SIZES: &'static [AxisSpec] = &sizes(128, 2, 128, 2, 1, 512, 1000);
    const CHOICES: &'static [AxisSpec] = &choices(&GPT2);
    const CAUSAL: bool = true;
    const NAMING: Naming = Naming::Gpt2;
    const END: End = End::Logits;
    const FLOPS: &'static str = GPT2_FLOPS;
}

/// See [`Prefill`].
pub struct PrefillPreset;

impl StepwisePreset for PrefillPreset {
    const NAME: &'static str = "model/prefill";
    const SUMMARY: &'static str = "a decoder reading a prompt into its cache: logits of the last token";
    const CITATION: &'static str = "Shazeer 2019, section 2.3; Radford et al. 2019, section 2.3";
    const PHASE: Phase = Phase::Prefill;
    const SIZES: &'static [AxisSpec] = &stepwise_sizes();
    const CHOICES: &'static [AxisSpec] = &choices(&GPT2);
    const MODEL: Model = Model {
        flops: "batch*(n*(layers*(4*d_model*(d_model + d_model*kv_heads/heads) + 4*d_model*d_ff + 9*d_ff + 21*d_model \
                + (n + 1)/2*(4*d_model + 5*heads)) + 8*d_model) + 2*d_model*vocabulary)",
        scratch: "batch*n*(5*d_model + max(0, d_ff - 2*d_model))",
    };
}

/// See [`Decode`].
pub struct DecodePreset;

impl StepwisePreset for DecodePreset {
    const NAME: &'static str = "model/decode";
    const SUMMARY: &'static str = "a decoder taking steps after a prompt, with a cache of keys and values: logits of each step";
    const CITATION: &'static str = "Shazeer 2019, section 2.4; Vaswani et al. 2017, section 3.1";
    const PHASE: Phase = Phase::Cached;
    const SIZES: &'static [AxisSpec] = &decode_sizes();
    const CHOICES: &'static [AxisSpec] = &choices(&GPT2);
    const MODEL: Model = Model {
        flops: "batch*(steps*(layers*(4*d_model*(d_model + d_model*kv_heads/heads) + 4*d_model*d_ff + 9*d_ff + 21*d_model \
                + (n + (steps + 1)/2)*(4*d_model + 5*heads)) + 8*d_model + 2*d_model*vocabulary) + is(choice, greedy)*(steps - 1)*vocabulary)",
        scratch: "batch*(1 + 5*d_model + max(0, d_ff - 2*d_model))",
    };
}

/// See [`DecodeRecompute`].
pub struct DecodeRecomputePreset;

impl StepwisePreset for DecodeRecomputePreset {
    const NAME: &'static str = "model/decode-recompute";
    const SUMMARY: &'static str = "the steps of model/decode without a cache: each reads everything so far";
    const CITATION: &'static str = "Vaswani et al. 2017, section 3.1";
    const PHASE: Phase = Phase::Recomputed;
    const SIZES: &'static [AxisSpec] = &decode_sizes();
    const CHOICES: &'static [AxisSpec] = &choices(&GPT2);
    // The lengths of all steps added up, and their squares.
    const MODEL: Model = Model {
        flops: "batch*((steps*n + steps*(steps + 1)/2)*(layers*(4*d_model*(d_model + d_model*kv_heads/heads) + 4*d_model*d_ff + 9*d_ff \
                + 21*d_model) + 8*d_model) + layers*(4*d_model + 5*heads)/2*(steps*n*(n + 1) + (2*n + 1)*steps*(steps + 1)/2 \
                + steps*(steps + 1)*(2*steps + 1)/6) + 2*steps*d_model*vocabulary + is(choice, greedy)*(steps - 1)*vocabulary)",
        scratch: "batch*(n + steps)*(2 + 5*d_model + 2*d_model*kv_heads/heads \
                  + max(0, d_ff - 2*d_model - 2*d_model*kv_heads/heads))",
    };
}

/// See [`BertBase`].
pub struct BertBasePreset;

impl Preset for BertBasePreset {
    const NAME: &'static str = "model/bert-base";
    const SUMMARY: &'static str = "BERT-base: 12 layers, 768 wide, 12 heads";
    const CITATION: &'static str = "Devlin et al. 2019, section 3";
    const SIZES: &'static [AxisSpec] = &sizes(128, 12, 768, 12, 1, 3072, 30522);
    const CHOICES: &'static [AxisSpec] = &choices(&BERT);
    const CAUSAL: bool = false;
    const NAMING: Naming = Naming::Bert;
    const END: End = End::Stream;
    const FLOPS: &'static str = BERT_FLOPS;
}

/// See [`MiniLm`].
pub struct MiniLmPreset;

impl Preset for MiniLmPreset {
    const NAME: &'static str = "model/minilm-l6";
    const SUMMARY: &'static str = "MiniLM-L6: 6 layers, 384 wide, 12 heads";
    const CITATION: &'static str = "Wang et al. 2020 (MiniLM), table 2; Reimers and Gurevych 2019";
    const SIZES: &'static [AxisSpec] = &sizes(128, 6, 384, 12, 1, 1536, 30522);
    const CHOICES: &'static [AxisSpec] = &choices(&BERT);
    const CAUSAL: bool = false;
    const NAMING: Naming = Naming::Bert;
    const END: End = End::Stream;
    const FLOPS: &'static str = BERT_FLOPS;
}

/// See [`Sentences`].
pub struct SentencesPreset;

impl Preset for SentencesPreset {
    const NAME: &'static str = "model/minilm-sentences";
    const SUMMARY: &'static str = "all-MiniLM-L6-v2: sentence embeddings by mean pooling, with trained weights where they are there";
    const CITATION: &'static str = "Reimers and Gurevych 2019, section 3; Wang et al. 2020 (MiniLM)";
    const SIZES: &'static [AxisSpec] = &sizes(128, 6, 384, 12, 1, 1536, 30522);
    const CHOICES: &'static [AxisSpec] = &choices(&BERT);
    const CAUSAL: bool = false;
    const NAMING: Naming = Naming::Bert;
    const END: End = End::Embedding;
    const FLOPS: &'static str = BERT_FLOPS;
}

/// See [`Gpt2Small`].
pub struct Gpt2SmallPreset;

impl Preset for Gpt2SmallPreset {
    const NAME: &'static str = "model/gpt2-small";
    const SUMMARY: &'static str = "GPT-2 small: 12 layers, 768 wide, 12 heads, tied head";
    const CITATION: &'static str = "Radford et al. 2019, table 2";
    const SIZES: &'static [AxisSpec] = &sizes(128, 12, 768, 12, 1, 3072, 50257);
    const CHOICES: &'static [AxisSpec] = &choices(&GPT2);
    const CAUSAL: bool = true;
    const NAMING: Naming = Naming::Gpt2;
    const END: End = End::Logits;
    const FLOPS: &'static str = GPT2_FLOPS;
}

/// See [`LlamaLike`].
pub struct LlamaLikePreset;

impl Preset for LlamaLikePreset {
    const NAME: &'static str = "model/llama-like";
    const SUMMARY: &'static str = "Llama's layout: RoPE, RMSNorm, SwiGLU, grouped queries; 4 layers, 512 wide";
    const CITATION: &'static str = "Touvron et al. 2023, section 2.2; Ainslie et al. 2023";
    const SIZES: &'static [AxisSpec] = &sizes(128, 4, 512, 8, 2, 1408, 32000);
    const CHOICES: &'static [AxisSpec] = &choices(&LLAMA);
    const CAUSAL: bool = true;
    const NAMING: Naming = Naming::Llama;
    const END: End = End::Logits;
    const FLOPS: &'static str = LLAMA_FLOPS;
}

/// See [`EncoderDecoder`].
pub struct EncoderDecoderPreset;

impl DoublePreset for EncoderDecoderPreset {
    const NAME: &'static str = "model/encoder-decoder";
    const SUMMARY: &'static str = "a small encoder-decoder in the original layout: any component swapped by name";
    const CITATION: &'static str = "Vaswani et al. 2017, section 3";
    const SIZES: &'static [AxisSpec] = &double_sizes(64, 2, 128, 2, 512, 1000);
    const CHOICES: &'static [AxisSpec] = &double_choices(&ORIGINAL);
}

/// See [`TransformerBase`].
pub struct TransformerBasePreset;

impl DoublePreset for TransformerBasePreset {
    const NAME: &'static str = "model/transformer-base";
    const SUMMARY: &'static str = "Transformer (base): 6 + 6 layers, 512 wide, 8 heads";
    const CITATION: &'static str = "Vaswani et al. 2017, table 3";
    const SIZES: &'static [AxisSpec] = &double_sizes(64, 6, 512, 8, 2048, 37000);
    const CHOICES: &'static [AxisSpec] = &double_choices(&ORIGINAL);
}

/// See [`TransformerBig`].
pub struct TransformerBigPreset;

impl DoublePreset for TransformerBigPreset {
    const NAME: &'static str = "model/transformer-big";
    const SUMMARY: &'static str = "Transformer (big): 6 + 6 layers, 1024 wide, 16 heads";
    const CITATION: &'static str = "Vaswani et al. 2017, table 3";
    const SIZES: &'static [AxisSpec] = &double_sizes(64, 6, 1024, 16, 4096, 37000);
    const CHOICES: &'static [AxisSpec] = &double_choices(&ORIGINAL);
}

/// See [`T5Small`].
pub struct T5SmallPreset;

impl DoublePreset for T5SmallPreset {
    const NAME: &'static str = "model/t5-small";
    const SUMMARY: &'static str = "T5-small: 6 + 6 layers, 512 wide, 8 heads, biases by distance";
    const CITATION: &'static str = "Raffel et al. 2020, section 2.1 and 3.6";
    const SIZES: &'static [AxisSpec] = &double_sizes(64, 6, 512, 8, 2048, 32128);
    const CHOICES: &'static [AxisSpec] = &double_choices(&T5);
}
