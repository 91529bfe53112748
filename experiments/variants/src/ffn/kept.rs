//! What the narrower feed-forward layers share: some hidden units stay, dense.
//!
//! A hidden unit goes with its row of w1, its entry of b1 and its column of w2; what is left is a dense layer that every engine runs
//! without a sparse kernel.

use crossover_compression::structured::{saving_of, select_columns, select_rows};
use crossover_core::axes::Axes;
use crossover_core::error::Result;
use crossover_core::reference::HostInputs;

use super::layers::{made, made_vector};
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, DerivedSpec, Dim, Model};
use crate::linear::layer::failed;
use crate::resolve::{number, precision, size};
use crate::variant::{Derived, source};

/// The share of hidden units that stay.
pub(crate) const KEEP: AxisSpec = AxisSpec {
    name: "keep",
    doc: "share of the hidden units that stay; at least one does",
    kind: AxisKind::Float { min: 0.001, max: 1.0 },
    default: AxisDefault::Float(0.5),
};

/// How many stay.
pub(crate) fn units(axes: &Axes, share: &str) -> usize {
    let all = size(axes, "d_ff");
    ((number(axes, share) * all as f64).round() as usize).clamp(1, all.max(1))
}

const UNITS: Dim = Dim::Of("round(keep * d_ff)", |axes| units(axes, "keep"));

/// Narrower w1, b1 and w2.
pub(crate) const DERIVED: &[DerivedSpec] =
    &[made("w1", &[UNITS, Dim::Axis("d_model")]), made_vector("b1", &[UNITS]), made("w2", &[Dim::Axis("d_model"), UNITS])];

/// As dense, with fewer hidden units.
pub(crate) const MODEL: Model = Model {
    flops: "batch*n*(max(1, floor(keep*d_ff + 0.5))*(4*d_model + 1 + activation) + d_model)",
    scratch: "batch*n*max(1, floor(keep*d_ff + 0.5))",
};

/// w1, b1 and w2 of these units.
pub(crate) fn narrowed(axes: &Axes, drawn: &HostInputs, keep: &[usize]) -> Result<Derived> {
    let (w1, w2) = (source(drawn, "w1")?, source(drawn, "w2")?);
    let saving = saving_of(&[w1], w2, keep, precision(axes).weight).map_err(failed)?;
    let b1 = select_rows(source(drawn, "b1")?, keep).map_err(failed)?;
    let (w1, w2) = (select_rows(w1, keep).map_err(failed)?, select_columns(w2, keep).map_err(failed)?);
    Derived::default().saved(saving).tensor("b1", b1).weight("w1", &w1, axes)?.weight("w2", &w2, axes)
}
