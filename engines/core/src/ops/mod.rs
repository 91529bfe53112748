//! The operations of the trait as values: what the cost model counts, what `supports` is asked about, what the meter logs.
//!
//! Each spec holds only what changes the arithmetic. Shapes come from the views at the call, and are copied into [`OpSpec`] for
//! questions asked before there are any tensors.

mod elementwise;

pub use elementwise::{BinaryOp, UnaryOp};

use std::fmt;

use crate::activation::Activation;
use crate::dtype::DType;
use crate::pattern::AttentionPattern;
use crate::sparse::Structure;

/// C = alpha A B + beta C over leading batch dimensions; transposes are in the views.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatmulSpec {
    /// Factor of the product.
    pub alpha: f64,
    /// Factor of what stands in C already; 0 overwrites it unread.
    pub beta: f64,
}

impl MatmulSpec {
    /// C = A B.
    pub const PLAIN: Self = Self { alpha: 1.0, beta: 0.0 };
    /// C = C + A B.
    pub const ACCUMULATE: Self = Self { alpha: 1.0, beta: 1.0 };

    /// C = alpha A B.
    pub const fn scaled(alpha: f64) -> Self {
        Self { alpha, beta: 0.0 }
    }
}

/// y = activation(x W^T + b) with a prepared weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinearSpec {
    /// Applied to the accumulator before it is rounded.
    pub activation: Activation,
}

/// Which softmax recurrence the engine must follow: these are different variants, so an engine may not swap them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SoftmaxAlgorithm {
    /// exp(x) / sum exp(x), without a shift: overflows, and is kept to show that it does.
    Naive,
    /// Three passes: maximum, shifted sum, quotient.
    Stable,
    /// Two passes: running maximum with a rescaled sum, then the quotient (Milakov and Gimelshein, 2018).
    Online,
}

impl SoftmaxAlgorithm {
    /// The name used in variants.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Stable => "stable",
            Self::Online => "online",
        }
    }
}

/// Normalisation of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormSpec {
    /// Which statistics.
    pub kind: NormKind,
    /// Added to the variance (or mean square) under the root.
    pub epsilon: f64,
}

/// Which statistics a normalisation takes over the last dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// (x - mean) / sqrt(variance + eps).
    Layer,
    /// x / sqrt(mean square + eps).
    Rms,
    /// LayerNorm over each of `groups` equal parts of the row.
    Group {
        /// Number of parts.
        groups: usize,
    },
}

/// Reductions over the last dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum.
    Sum,
    /// Arithmetic mean.
    Mean,
    /// Largest value; NaN if any is.
    Max,
    /// Smallest value; NaN if any is.
    Min,
    /// Index of the first largest value, as i32.
    ArgMax,
}

/// Attention over a pattern, streamed: never more than a tile of scores in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionSpec {
    /// Which pairs take part.
    pub pattern: AttentionPattern,
    /// Factor of q k, usually 1 / sqrt(head dim).
    pub scale: f64,
    /// Scores pass through cap * tanh(s / cap) where set.
    pub soft_cap: Option<f64>,
    /// Absolute position of the first query row (a decode step is not at 0).
    pub query_offset: usize,
}

/// Attention inside the chunks of a sorted sequence, each query to the keys of its own chunk and of the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketSpec {
    /// Tokens of a chunk of the order; divides their number.
    pub chunk: usize,
    /// Factor of q k, usually 1 / sqrt(head dim).
    pub scale: f64,
    /// Of these keys, those that do not stand behind the query in the sequence, wherever the order has put them.
    pub causal: bool,
    /// What is added to a token's score with itself, where keys stand in the order of the queries.
    pub self_bias: Option<f64>,
}

/// Linear attention: normalised (phi(q) (phi(k)^T v)), phi applied by the caller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearAttentionSpec {
    /// Keys up to the query only.
    pub causal: bool,
    /// Added to the normaliser.
    pub epsilon: f64,
    /// Rows handled together in the causal form.
    pub chunk: usize,
}

/// How a prepared weight is held; part of the question to `supports`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightForm {
    /// Dense in a floating type.
    Dense(DType),
    /// int8 codes with one scale a row of the weight.
    Int8PerChannel,
    /// int4 codes with one scale a group of inputs.
    Int4Group {
        /// Inputs that share a scale.
        group: usize,
    },
    /// Only some entries, with their places.
    Sparse {
        /// Type of the stored values.
        dtype: DType,
        /// Where they lie.
        structure: Structure,
        /// Stored values.
        stored: usize,
    },
    /// Codes into a table of levels, one scale an output.
    Palette {
        /// Entries of the table.
        levels: usize,
    },
}

/// In words, without the counts: a reason to refuse a form is the same reason at every size.
impl fmt::Display for WeightForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense(dtype) => write!(f, "a dense {dtype} matrix"),
            Self::Int8PerChannel => f.write_str("int8 codes"),
            Self::Int4Group { .. } => f.write_str("int4 codes"),
            Self::Sparse { dtype, .. } => write!(f, "a sparse {dtype} matrix"),
            Self::Palette { .. } => f.write_str("codes into a table of levels"),
        }
    }
}

/// An end of the link between the host's memory and that of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host's memory.
    Host,
    /// The memory that the engine computes in.
    Device,
}

/// One operation with its sizes.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the fields are the sizes that the operation's own docs name")]
pub enum OpSpec {
    Matmul {
        batch: usize,
        m: usize,
        n: usize,
        k: usize,
    },
    Linear {
        rows: usize,
        inputs: usize,
        outputs: usize,
        form: WeightForm,
        spec: LinearSpec,
        bias: bool,
    },
    Softmax {
        rows: usize,
        classes: usize,
        algorithm: SoftmaxAlgorithm,
    },
    LogSoftmax {
        rows: usize,
        classes: usize,
    },
    Normalize {
        rows: usize,
        width: usize,
        kind: NormKind,
    },
    Unary {
        elements: usize,
        op: UnaryOp,
    },
    Binary {
        elements: usize,
        op: BinaryOp,
    },
    Reduce {
        rows: usize,
        width: usize,
        op: ReduceOp,
    },
    Mask {
        rows: usize,
        columns: usize,
    },
    Select {
        elements: usize,
    },
    Copy {
        elements: usize,
    },
    GatherRows {
        rows: usize,
        width: usize,
    },
    ScatterAddRows {
        rows: usize,
        width: usize,
    },
    StableArgSort {
        rows: usize,
        width: usize,
    },
    TopK {
        rows: usize,
        width: usize,
        k: usize,
    },
    CumulativeSum {
        rows: usize,
        width: usize,
    },
    DepthwiseConv {
        rows: usize,
        channels: usize,
        kernel: usize,
    },
    Attention {
        batch: usize,
        heads: usize,
        key_heads: usize,
        head_dim: usize,
        value_dim: usize,
        queries: usize,
        keys: usize,
        pairs: u64,
    },
    /// `orders` is 1 where keys stand in the order of the queries, 2 elsewhere.
    BucketAttention {
        batch_heads: usize,
        n: usize,
        width: usize,
        chunk: usize,
        causal: bool,
        orders: usize,
    },
    LinearAttention {
        batch_heads: usize,
        queries: usize,
        keys: usize,
        features: usize,
        value_dim: usize,
        causal: bool,
    },
    AddNorm {
        rows: usize,
        width: usize,
        kind: NormKind,
    },
    GatedFfn {
        rows: usize,
        width: usize,
        hidden: usize,
        activation: Activation,
    },
    Mixture {
        tokens: usize,
        choices: usize,
        places: usize,
        experts: usize,
        width: usize,
        hidden: usize,
        activation: Activation,
        form: WeightForm,
    },
    SoftmaxTopK {
        rows: usize,
        classes: usize,
        k: usize,
    },
    CrossEntropy {
        rows: usize,
        inputs: usize,
        classes: usize,
        form: WeightForm,
    },
    Rotary {
        rows: usize,
        width: usize,
    },
    Transfer {
        elements: usize,
        to: Side,
    },
}
