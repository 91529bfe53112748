//! Linear layers: activation(x w^T + b), exactly or with a compressed weight.

pub mod dense;

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec};

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
