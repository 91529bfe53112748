//! Attention: softmax(q k^T / sqrt(head_dim)) v, exactly or by some cheaper route.
//!
//! All variants of the family solve the same problem: q [batch, heads, n, head_dim] against k and v [batch, kv_heads, n_kv, head_dim].
//! Fewer key heads than query heads are shared by neighbouring query heads (grouped-query attention).

#[cfg(test)]
mod approximation;
pub mod arbitrary_mask;
pub mod bigbird;
pub mod bigbird_causal;
pub mod block_sparse;
pub mod block_sparse_causal;
mod blocks;
mod cache;
pub mod causal;
#[cfg(test)]
mod checks;
pub mod cosformer;
pub mod cosformer_causal;
pub mod cross;
pub mod cross_flash;
pub mod decode;
pub mod decode_gqa;
pub mod decode_int8;
pub mod decode_mla;
pub mod decode_window;
pub mod dense;
mod dilated;
pub mod dilated_window;
pub mod dilated_window_causal;
pub mod flash;
pub mod flash_causal;
pub mod gqa;
pub mod gqa_causal;
mod grouped;
pub mod head_pruning;
pub mod head_pruning_causal;
mod joined;
mod kernel_features;
mod latent;
pub mod linear;
pub mod linear_causal;
pub mod linformer;
pub mod longformer;
pub mod longformer_causal;
pub mod low_rank_projection;
pub mod low_rank_projection_causal;
pub mod memory_compressed;
pub mod mla;
pub mod mla_causal;
pub mod mqa;
pub mod mqa_causal;
pub mod nystrom;
mod operands;
pub mod padding_mask;
mod patterns;
pub mod performer;
pub mod performer_causal;
pub mod prefill;
mod random_directions;
pub mod random_fourier;
pub mod random_fourier_causal;
pub(crate) mod reasons;
pub mod reformer;
pub mod reformer_causal;
pub mod routing;
pub mod routing_causal;
mod scores;
pub mod sigmoid;
pub mod sigmoid_causal;
pub mod sinkhorn;
pub mod sinkhorn_causal;
pub mod soft_cap;
pub mod soft_cap_causal;
pub mod sparse_fixed;
pub mod sparse_strided;
pub mod svd_low_rank;
mod synthesizer;
pub mod synthesizer_dense;
pub mod synthesizer_dense_causal;
pub mod synthesizer_factorised;
pub mod synthesizer_factorised_causal;
pub mod synthesizer_factorised_random;
pub mod synthesizer_factorised_random_causal;
pub mod synthesizer_random;
pub mod synthesizer_random_causal;
pub mod talking_heads;
pub mod talking_heads_causal;
pub mod top_k;
pub mod top_k_causal;
pub mod window;
pub mod window_causal;

use crossover_core::axes::Axes;

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition, Dim, DrawRule, Role, TensorSpec};
use crate::registry::VariantVisitor;
use crate::resolve::size;

const LARGEST: i64 = 1 << 40;

const fn count(name: &'static str, doc: &'static str, default: AxisDefault) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: LARGEST }, default }
}

/// The sizes of the problem.
pub(crate) const PROBLEM: &[AxisSpec] = &[
    count("batch", "sequences handled together", AxisDefault::Int(1)),
    count("heads", "query heads", AxisDefault::Int(8)),
    count("kv_heads", "key and value heads; divides heads", AxisDefault::SameAs("heads")),
    count("n", "sequence length: query rows", AxisDefault::Int(128)),
    count("n_kv", "key and value rows", AxisDefault::SameAs("n")),
    count("head_dim", "channels of one head", AxisDefault::Int(64)),
];

const KEYS: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("kv_heads"), Dim::Axis("n_kv"), Dim::Axis("head_dim")];

/// Shape of q and of the output.
pub(crate) const QUERIES: &[Dim] = &[Dim::Axis("batch"), Dim::Axis("heads"), Dim::Axis("n"), Dim::Axis("head_dim")];

const fn activation(name: &'static str, shape: &'static [Dim]) -> TensorSpec {
    TensorSpec { name, role: Role::Activation, shape, draw: DrawRule::Distribution, only_with: None }
}

/// q, k and v.
pub(crate) const TENSORS: &[TensorSpec] = &[activation("q", QUERIES), activation("k", KEYS), activation("v", KEYS)];

pub(crate) const HEADS_DIVIDE: Condition = Condition {
    text: "kv_heads must divide heads",
    holds: |axes: &Axes| size(axes, "heads").is_multiple_of(size(axes, "kv_heads").max(1)),
};

/// Causal forms number queries and keys alike; a decode step is a variant of its own.
pub(crate) const SQUARE: Condition = Condition {
    text: "a causal variant needs as many keys as queries: n_kv = n",
    holds: |axes: &Axes| size(axes, "n") == size(axes, "n_kv"),
};

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<dense::Dense>();
    visitor.visit::<causal::Causal>();
    visitor.visit::<flash::Flash>();
    visitor.visit::<flash_causal::FlashCausal>();
    visitor.visit::<linear::Linear>();
    visitor.visit::<linear_causal::LinearCausal>();
    visitor.visit::<performer::Performer>();
    visitor.visit::<performer_causal::PerformerCausal>();
    visitor.visit::<random_fourier::RandomFourier>();
    visitor.visit::<random_fourier_causal::RandomFourierCausal>();
    visitor.visit::<cosformer::Cosformer>();
    visitor.visit::<cosformer_causal::CosformerCausal>();
    visitor.visit::<window::Window>();
    visitor.visit::<window_causal::WindowCausal>();
    visitor.visit::<dilated_window::DilatedWindow>();
    visitor.visit::<dilated_window_causal::DilatedWindowCausal>();
    visitor.visit::<sparse_strided::SparseStrided>();
    visitor.visit::<sparse_fixed::SparseFixed>();
    visitor.visit::<longformer::Longformer>();
    visitor.visit::<bigbird::BigBird>();
    visitor.visit::<bigbird_causal::BigBirdCausal>();
    visitor.visit::<block_sparse::BlockSparse>();
    visitor.visit::<block_sparse_causal::BlockSparseCausal>();
    visitor.visit::<gqa::Gqa>();
    visitor.visit::<gqa_causal::GqaCausal>();
    visitor.visit::<mqa::Mqa>();
    visitor.visit::<mqa_causal::MqaCausal>();
    visitor.visit::<mla::Mla>();
    visitor.visit::<mla_causal::MlaCausal>();
    visitor.visit::<prefill::Prefill>();
    visitor.visit::<decode::Decode>();
    visitor.visit::<decode_gqa::DecodeGqa>();
    visitor.visit::<decode_window::DecodeWindow>();
    visitor.visit::<decode_mla::DecodeMla>();
    visitor.visit::<decode_int8::DecodeInt8>();
    visitor.visit::<cross::Cross>();
    visitor.visit::<cross_flash::CrossFlash>();
    visitor.visit::<padding_mask::PaddingMask>();
    visitor.visit::<arbitrary_mask::ArbitraryMask>();
    visitor.visit::<sigmoid::Sigmoid>();
    visitor.visit::<sigmoid_causal::SigmoidCausal>();
    visitor.visit::<talking_heads::TalkingHeads>();
    visitor.visit::<talking_heads_causal::TalkingHeadsCausal>();
    visitor.visit::<head_pruning::HeadPruning>();
    visitor.visit::<head_pruning_causal::HeadPruningCausal>();
    visitor.visit::<soft_cap::SoftCap>();
    visitor.visit::<soft_cap_causal::SoftCapCausal>();
    visitor.visit::<top_k::TopK>();
    visitor.visit::<top_k_causal::TopKCausal>();
    visitor.visit::<linformer::Linformer>();
    visitor.visit::<low_rank_projection::LowRankProjection>();
    visitor.visit::<low_rank_projection_causal::LowRankProjectionCausal>();
    visitor.visit::<memory_compressed::MemoryCompressed>();
    visitor.visit::<nystrom::Nystrom>();
    visitor.visit::<svd_low_rank::SvdLowRank>();
    visitor.visit::<synthesizer_dense::SynthesizerDense>();
    visitor.visit::<synthesizer_dense_causal::SynthesizerDenseCausal>();
    visitor.visit::<synthesizer_random::SynthesizerRandom>();
    visitor.visit::<synthesizer_random_causal::SynthesizerRandomCausal>();
    visitor.visit::<synthesizer_factorised::SynthesizerFactorised>();
    visitor.visit::<synthesizer_factorised_causal::SynthesizerFactorisedCausal>();
    visitor.visit::<synthesizer_factorised_random::SynthesizerFactorisedRandom>();
    visitor.visit::<synthesizer_factorised_random_causal::SynthesizerFactorisedRandomCausal>();
    visitor.visit::<longformer_causal::LongformerCausal>();
    visitor.visit::<reformer::Reformer>();
    visitor.visit::<reformer_causal::ReformerCausal>();
    visitor.visit::<routing::Routing>();
    visitor.visit::<routing_causal::RoutingCausal>();
    visitor.visit::<sinkhorn::Sinkhorn>();
    visitor.visit::<sinkhorn_causal::SinkhornCausal>();
}
