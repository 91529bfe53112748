//! The trait that every engine implements, and that every variant is written over.
//!
//! # How it is cut
//! *Required* are mid-level primitives: too small a set would force engines through slow paths, too large a one would make a new
//! engine a year's work. *Provided* are fusable operations whose default composes the primitives; an engine overrides those that it
//! accelerates and nothing else. The line between engine and variant: reordering the same mathematics is the engine's business,
//! changing it (or the asymptotic memory) is a variant's, so an engine never swaps the softmax recurrence or materialises scores
//! that a variant asked to stream.
//!
//! # What is coming, and by what it is carried
//! | need | carried by |
//! |---|---|
//! | dense, cross, GQA/MQA attention | `matmul` over split and broadcast views, `softmax` |
//! | streaming and block-sparse attention, decode, soft-cap | [`TransformerBackend::attention`] over a pattern, `query_offset`, `soft_cap` |
//! | padding and arbitrary masks, ALiBi, T5 bias | [`AttentionOperands::key_mask`], [`ScoreBias`] (by pair, or by distance in O(n)) |
//! | key/value cache | `copy` into a narrowed view; split keys merge by the log-sum-exp output |
//! | linear attention, chunked causal form, random features | `linear_attention`, `matmul`, `unary` (exp, cos, sin, elu+1) |
//! | Linformer, Nystrom, low-rank maps | `matmul` with alpha and beta, segment means by `reduce` over a split view |
//! | LSH | `reduce(ArgMax)`, `stable_argsort` for the order, `bucket_attention` over its chunks |
//! | routing, Sinkhorn sorting | `reduce(ArgMax)`, `stable_argsort`, `gather_rows`, attention over chunks |
//! | top-k, mixture of experts | `top_k` for the routing, `mixture` over prepared weights of each expert |
//! | CSR, N:M, block, low-rank, int8, int4, ternary linear | further arms of [`crate::weights::HostWeight`], one `linear` |
//! | convolution over the sequence | `depthwise_conv` |
//! | norms, add+norm, residual kinds | `normalize`, `add_norm`, `binary` |
//! | softmax kinds, adaptive and hierarchical softmax | `softmax`, `log_softmax`, `softmax_top_k`, `linear` over clusters of classes |
//! | cross-entropy, with all logits in memory or a tile of them | `cross_entropy` over vocabulary tiles of prepared weights |
//! | shared weights over layers | a variant keeps one prepared weight and uses it L times |
//! | copies between host and device, as cells | `transfer` |
//! | training | tensors are only touched through these methods, so an engine can record them (autograd) |
//!
//! # Memory
//! Outputs are preallocated by the caller, scratch comes from the [`Arena`], weights are prepared before the timer. A warm call on a
//! CPU engine allocates nothing.

mod operands;

pub use operands::{AttentionOperands, AttentionOutputs, BucketOperands, Experts, NormWeights, Operand, Routes, ScoreBias};

use std::borrow::Cow;

use crate::arena::Arena;
use crate::check;
use crate::compose;
use crate::dtype::{DType, Precision};
use crate::error::{EngineError, Result};
use crate::host::HostTensor;
use crate::isa::IsaChoice;
use crate::layout::Layout;
use crate::ops::{
    AttentionSpec, BinaryOp, BucketSpec, LinearAttentionSpec, LinearSpec, MatmulSpec, NormSpec, OpSpec, ReduceOp, Side, SoftmaxAlgorithm,
    UnaryOp,
};
use crate::pattern::AttentionPattern;
use crate::support::{NOTHING_TO_TRANSFER, Support};
use crate::tensor::{Buffer, Tensor, View, ViewMut};
use crate::weights::HostWeight;

/// What an engine is built with: one cell's precision, thread budget and instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// The cell's precision.
    pub precision: Precision,
    /// Threads that the engine may use; it keeps a pool of its own.
    pub threads: usize,
    /// The instruction set that it is to use.
    pub isa: IsaChoice,
}

impl EngineConfig {
    /// On the best instruction set that the engine has for this machine.
    pub const fn new(precision: Precision, threads: usize) -> Self {
        Self { precision, threads, isa: IsaChoice::Auto }
    }
}

/// What `list engines` and the records say about an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineDescription {
    /// Its name, as cells use it.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The instruction set that it dispatches to on this machine.
    pub isa: Cow<'static, str>,
    /// Names of the precisions for which it has kernels of its own.
    pub native: Vec<&'static str>,
}

/// A prepared weight, in the engine's own packing.
pub trait PreparedWeight {
    /// Bytes that it holds.
    fn bytes(&self) -> usize;
    /// Number of outputs.
    fn outputs(&self) -> usize;
    /// Number of inputs.
    fn inputs(&self) -> usize;
}

/// An engine: how the primitives run on one kind of hardware.
///
/// Every method checks its shapes (through [`crate::check`]) and answers a typed error, never a panic. Floating operands have the
/// storage type of the precision or its compute type; indices are i32.
pub trait TransformerBackend: Sized + 'static {
    /// Where its elements live.
    type Buffer: Buffer;
    /// Its packed weights.
    type Weight: PreparedWeight;

    /// Builds it for one cell. Fails with `Unsupported` where the configuration cannot be had.
    fn new(config: &EngineConfig) -> Result<Self>;
    /// What it is.
    fn describe() -> EngineDescription;
    /// What it was built with.
    fn config(&self) -> &EngineConfig;
    /// Threads that it really uses.
    fn threads_used(&self) -> usize;
    /// The instruction set that it really uses, where its configuration may force another than the described one.
    fn isa(&self) -> Cow<'static, str> {
        Self::describe().isa
    }
    /// How it would do this operation at the precision it was built with.
    fn supports(&self, operation: &OpSpec) -> Support;
    /// Waits until everything asked for is done.
    fn synchronize(&self) -> Result<()>;

    /// A buffer of that many elements; their values are unspecified.
    fn allocate(&self, dtype: DType, elements: usize) -> Result<Self::Buffer>;
    /// A tensor holding the host's values, rounded once to `dtype`.
    fn upload(&self, host: &HostTensor, dtype: DType) -> Result<Tensor<Self::Buffer>>;
    /// The elements of a view, widened to f64.
    fn download(&self, view: View<'_, Self::Buffer>) -> Result<HostTensor>;
    /// Sets every element.
    fn fill(&self, out: ViewMut<'_, Self::Buffer>, value: f64) -> Result<()>;
    /// Packs a weight; never inside the timer.
    fn prepare_weight(&self, weight: &HostWeight) -> Result<Self::Weight>;

    /// Copies, converting between types.
    fn copy(&self, x: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// C = alpha A B + beta C; A [.., m, k], B [.., k, n], C [.., m, n], equal leading dimensions.
    fn matmul(&self, spec: MatmulSpec, a: View<'_, Self::Buffer>, b: View<'_, Self::Buffer>, c: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// y = activation(x W^T + bias); x [.., inputs], y [.., outputs].
    fn linear(
        &self,
        spec: LinearSpec,
        x: View<'_, Self::Buffer>,
        weight: &Self::Weight,
        bias: Option<View<'_, Self::Buffer>>,
        out: ViewMut<'_, Self::Buffer>,
    ) -> Result<()>;
    /// Softmax over the last dimension by exactly this recurrence. A row of only minus infinity gives zeros.
    fn softmax(&self, algorithm: SoftmaxAlgorithm, x: Operand<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Normalises over the last dimension.
    fn normalize(
        &self,
        spec: NormSpec,
        x: Operand<'_, Self::Buffer>,
        weights: NormWeights<'_, Self::Buffer>,
        out: ViewMut<'_, Self::Buffer>,
    ) -> Result<()>;
    /// Elementwise function of one argument.
    fn unary(&self, op: UnaryOp, x: Operand<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Elementwise function of two arguments; both are broadcast to the output's shape.
    fn binary(&self, op: BinaryOp, a: Operand<'_, Self::Buffer>, b: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Reduces the last dimension: x [.., width], out [..].
    fn reduce(&self, op: ReduceOp, x: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Sets scores [.., queries, keys] of pairs outside the pattern to minus infinity; the first row and column stand for these
    /// positions.
    fn mask(&self, pattern: &AttentionPattern, query_offset: usize, key_offset: usize, scores: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// out = condition is not 0 ? out : otherwise; the condition is broadcast.
    fn select(&self, condition: View<'_, Self::Buffer>, otherwise: f64, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Rows of a table by index: table [rows, width], indices i32 `[count]`, out `[count, width]`.
    fn gather_rows(&self, table: View<'_, Self::Buffer>, indices: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// `out[indices[i]] += x[i]`: x [count, width], indices i32 `[count]`, out [rows, width]; in order of i.
    fn scatter_add_rows(&self, x: View<'_, Self::Buffer>, indices: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// The stable ascending order of each row of i32 keys, as i32 indices.
    fn stable_argsort(&self, keys: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// The k largest of each row, descending, ties by lower index: values [.., k], indices i32 [.., k].
    fn top_k(&self, x: View<'_, Self::Buffer>, values: ViewMut<'_, Self::Buffer>, indices: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Inclusive running sums along the last dimension.
    fn cumulative_sum(&self, x: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()>;
    /// Convolution along the sequence, one filter a channel: x [batch, n, channels], filter [channels, kernel], zero padding so that
    /// the length stays; `causal` pads on the left only.
    fn depthwise_conv(
        &self,
        x: View<'_, Self::Buffer>,
        filter: View<'_, Self::Buffer>,
        causal: bool,
        out: ViewMut<'_, Self::Buffer>,
    ) -> Result<()>;

    /// Attention over a pattern, streamed over key tiles (Dao et al., 2022, algorithm 1).
    fn attention(
        &self,
        spec: &AttentionSpec,
        operands: AttentionOperands<'_, Self::Buffer>,
        outputs: AttentionOutputs<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::attention::streamed(self, spec, operands, outputs, scratch)
    }

    /// Attention inside the chunks of a sorted sequence (Kitaev et al., 2020, section 2): tokens are cut into chunks of their order, queries
    /// and keys each by their own, and a query sees the keys of its chunk and of the one before. The first chunk has none before it.
    /// In the causal form it sees those of them that do not stand behind it in the sequence. Outputs and log-sum-exps are in the tokens'
    /// own order; a query that sees nothing gives zeros and minus infinity. What the causal form hides must be finite. A token that is out
    /// of range is an index error, one that an order names twice a shape error, as are more than 2^23 tokens: half a place between
    /// positions is not exact in f32 then.
    fn bucket_attention(
        &self,
        spec: BucketSpec,
        operands: BucketOperands<'_, Self::Buffer>,
        outputs: AttentionOutputs<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::bucket_attention::composed(self, spec, operands, outputs, scratch)
    }

    /// phi(q) (phi(k)^T v), normalised by phi(q) phi(k)^T 1 (Katharopoulos et al., 2020, equations 5 and 9-12). As in attention, the heads
    /// of k and v divide those of q, and phi(k)^T v is taken once for all query heads that share it.
    fn linear_attention(
        &self,
        spec: LinearAttentionSpec,
        q: View<'_, Self::Buffer>,
        k: View<'_, Self::Buffer>,
        v: View<'_, Self::Buffer>,
        out: ViewMut<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::linear_attention::chunked(self, spec, q, k, v, out, scratch)
    }

    /// out = norm(x + residual); the sum itself is kept where asked for.
    fn add_norm(
        &self,
        spec: NormSpec,
        x: View<'_, Self::Buffer>,
        residual: View<'_, Self::Buffer>,
        weights: NormWeights<'_, Self::Buffer>,
        sum: Option<ViewMut<'_, Self::Buffer>>,
        out: ViewMut<'_, Self::Buffer>,
    ) -> Result<()> {
        compose::fused::add_norm(self, spec, x, residual, weights, sum, out)
    }

    /// out = (activation(x Wg^T) * (x Wu^T)) Wd^T (Shazeer, 2020).
    fn gated_ffn(
        &self,
        spec: LinearSpec,
        x: View<'_, Self::Buffer>,
        weights: [&Self::Weight; 3],
        out: ViewMut<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::fused::gated_ffn(self, spec, x, weights, out, scratch)
    }

    /// out = sum over a token's choices of gate * (activation(x Wu^T + bu) Wd^T + bd), with the layers of the chosen expert (Shazeer et al.,
    /// 2017, section 2): x [tokens, width], out as x. An expert takes as many rows as it has places, of all tokens' first choices in
    /// the order of the tokens before all second ones; those that come later are dropped, and count 0 (Fedus et al., 2021, section
    /// 2.2). A choice that is no expert's number is an index error. Places that nobody takes may be computed or not.
    fn mixture(
        &self,
        spec: LinearSpec,
        x: View<'_, Self::Buffer>,
        routes: Routes<'_, Self::Buffer>,
        experts: Experts<'_, Self::Weight, Self::Buffer>,
        out: ViewMut<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::mixture::composed(self, spec, x, routes, experts, out, scratch)
    }

    /// Log-softmax over the last dimension: (x - the largest) - log sum exp (x - the largest), in this order. In a confident row the first
    /// difference is 0 and what is left is small; a largest entry that is added to the logarithm would round it away. A row of only minus
    /// infinity gives minus infinity; a NaN makes the whole row NaN, and plus infinity does so or gives the limit.
    fn log_softmax(&self, x: Operand<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>, scratch: &mut Arena<Self::Buffer>) -> Result<()> {
        compose::log_softmax::composed(self, x, out, scratch)
    }

    /// The k most probable classes of each row and their probabilities.
    fn softmax_top_k(
        &self,
        x: View<'_, Self::Buffer>,
        values: ViewMut<'_, Self::Buffer>,
        indices: ViewMut<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::fused::softmax_top_k(self, x, values, indices, scratch)
    }

    /// `-log softmax(x W^T)[target]` of each row: x [.., inputs], targets [..] as i32, out [..]. W comes in tiles of the vocabulary, one after
    /// the other, that may be of different sizes; more than the logits of one tile never stand in memory, and these in `logits`
    /// [.., at least the widest tile], in the compute type, whose values are unspecified afterwards. How many words are held at once is
    /// thus the caller's choice, up to all (one tile). Across tiles it is a running maximum and a rescaled sum (Milakov and Gimelshein,
    /// 2018, algorithm 3). A target that is no word's number is an index error.
    fn cross_entropy(
        &self,
        x: View<'_, Self::Buffer>,
        tiles: &[Self::Weight],
        targets: View<'_, Self::Buffer>,
        logits: ViewMut<'_, Self::Buffer>,
        out: ViewMut<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::cross_entropy::tiled(self, x, tiles, targets, logits, out, scratch)
    }

    /// Rotates pairs of channels by position: x [.., n, dim], cosines and sines [n, dim / 2] (Su et al., 2021; half-split pairs).
    fn rotary(
        &self,
        x: View<'_, Self::Buffer>,
        cosines: View<'_, Self::Buffer>,
        sines: View<'_, Self::Buffer>,
        out: ViewMut<'_, Self::Buffer>,
        scratch: &mut Arena<Self::Buffer>,
    ) -> Result<()> {
        compose::fused::rotary(self, x, cosines, sines, out, scratch)
    }

    /// Copies a tensor to the other side of the link between the host's memory and the device's. A tensor on the host is good for nothing
    /// but this and `download`; `out` is a whole buffer, which is on that side afterwards. Engines that compute in the host's memory have
    /// no such link.
    fn transfer(&self, to: Side, x: View<'_, Self::Buffer>, out: ViewMut<'_, Self::Buffer>) -> Result<()> {
        let operation = OpSpec::Transfer { elements: out.layout.len(), to };
        check::same_shape("transfer", &x.layout, &out.layout)?;
        Err(unsupported(Self::describe().name, &operation, NOTHING_TO_TRANSFER))
    }

    /// The most bytes of its device's memory that this process has held at once since this was last asked, as the device's own allocator
    /// counts them; `None` where the engine computes in the host's memory, or the device does not tell.
    fn take_device_peak(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// A tensor for which nobody else has a use yet; contents unspecified.
    fn tensor(&self, dtype: DType, shape: &[usize]) -> Result<Tensor<Self::Buffer>> {
        let layout = Layout::contiguous(shape)?;
        dtype.bytes(layout.len()).filter(|&bytes| bytes <= isize::MAX as usize).ok_or_else(|| EngineError::Allocation {
            elements: layout.len(),
            dtype,
            reason: "its size overflows".into(),
        })?;
        Ok(Tensor { buffer: self.allocate(dtype, layout.len())?, layout })
    }

    /// The storage type of this engine's precision.
    fn storage(&self) -> DType {
        self.config().precision.storage()
    }

    /// The compute type of this engine's precision.
    fn compute(&self) -> DType {
        self.config().precision.compute()
    }
}

/// The answer to an operation that the engine does not have, with the operation spelled out.
pub fn unsupported(engine: &'static str, operation: &OpSpec, reason: impl Into<String>) -> EngineError {
    EngineError::Unsupported { engine, operation: check::describe(operation), reason: reason.into() }
}
