//! Feed-forward layers: two linear maps with a non-linearity between them, exactly or compressed.
//!
//! | task | variants |
//! |---|---|
//! | `ffn` | approximate the dense layer of given weights |
//! | `ffn/gated` | five gates (Shazeer 2020), each a function of its own |
//! | `ffn/stack` | several layers with residuals, with weights of their own or shared |
//! | `ffn/moe`, `ffn/conv` | layers of another kind with parameters of their own |
//!
//! Quantised weights are a precision, not a variant.

pub mod activation_sparsity;
pub mod bilinear;
pub mod block_sparse;
pub mod bottleneck;
pub mod core_periphery;
pub mod dense;
pub mod dense_unbiased;
pub mod depthwise_separable;
#[cfg(test)]
mod family_tests;
pub(crate) mod gated;
pub mod geglu;
pub mod glu;
pub(crate) mod kept;
pub(crate) mod layers;
pub mod low_rank;
pub(crate) mod moe;
pub mod moe_top1;
pub mod moe_top2;
pub mod monarch;
pub mod n_of_m;
pub mod pruned;
pub mod reglu;
pub mod shared_stack;
pub mod stack;
pub mod structured;
pub mod swiglu;
#[cfg(test)]
mod testing;

use crate::registry::VariantVisitor;

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<dense::Dense>();
    visitor.visit::<dense_unbiased::DenseUnbiased>();
    visitor.visit::<glu::Glu>();
    visitor.visit::<reglu::Reglu>();
    visitor.visit::<geglu::Geglu>();
    visitor.visit::<swiglu::Swiglu>();
    visitor.visit::<bilinear::Bilinear>();
    visitor.visit::<low_rank::LowRank>();
    visitor.visit::<bottleneck::Bottleneck>();
    visitor.visit::<structured::Structured>();
    visitor.visit::<core_periphery::CorePeriphery>();
    visitor.visit::<pruned::Pruned>();
    visitor.visit::<n_of_m::NofM>();
    visitor.visit::<block_sparse::BlockSparse>();
    visitor.visit::<monarch::Monarch>();
    visitor.visit::<activation_sparsity::ActivationSparsity>();
    visitor.visit::<depthwise_separable::DepthwiseSeparable>();
    visitor.visit::<moe_top1::MoeTop1>();
    visitor.visit::<moe_top2::MoeTop2>();
    visitor.visit::<stack::Stack>();
    visitor.visit::<shared_stack::SharedStack>();
}
