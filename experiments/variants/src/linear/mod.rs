//! Linear layers: activation(x w^T + b), exactly or with a compressed weight.

pub mod bf16_weights;
pub mod block_sparse;
pub mod csr;
pub mod dense;
pub mod f16_weights;
#[cfg(test)]
mod family_tests;
pub mod int4_group;
pub mod int8_weight_only;
pub mod kronecker;
pub(crate) mod layer;
pub mod low_rank;
pub mod monarch;
pub mod n_of_m;
pub mod palette;
pub(crate) mod sparse;
pub mod ternary;
#[cfg(test)]
pub(crate) mod testing;

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec};
use crate::registry::VariantVisitor;

/// Rows of any row-wise family.
pub(crate) const BATCH: AxisSpec = AxisSpec {
    name: "batch",
    doc: "sequences handled together",
    kind: AxisKind::Int { min: 1, max: 1 << 40 },
    default: AxisDefault::Int(1),
};

/// Rows of any row-wise family.
pub(crate) const ROWS: AxisSpec = AxisSpec {
    name: "n",
    doc: "rows: tokens of one sequence",
    kind: AxisKind::Int { min: 1, max: 1 << 40 },
    default: AxisDefault::Int(128),
};

/// An extent of a weight.
pub(crate) const fn width(name: &'static str, doc: &'static str, default: i64) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 40 }, default: AxisDefault::Int(default) }
}

/// The family's variants.
pub(crate) fn visit(visitor: &mut impl VariantVisitor) {
    visitor.visit::<dense::Dense>();
    visitor.visit::<low_rank::LowRank>();
    visitor.visit::<csr::Csr>();
    visitor.visit::<n_of_m::NofM>();
    visitor.visit::<block_sparse::BlockSparse>();
    visitor.visit::<int8_weight_only::Int8WeightOnly>();
    visitor.visit::<int4_group::Int4Group>();
    visitor.visit::<ternary::Ternary>();
    visitor.visit::<palette::PaletteLayer>();
    visitor.visit::<bf16_weights::Bf16Weights>();
    visitor.visit::<f16_weights::F16Weights>();
    visitor.visit::<kronecker::Kronecker>();
    visitor.visit::<monarch::MonarchLayer>();
}
