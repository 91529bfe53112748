//! What the sparse weights of linear and feed-forward layers share: the axes, and how many entries stay.
//!
//! The masks are those of `crossover_compression::masks`: by magnitude, without retraining. The counts here are those that it keeps, so
//! that a dry run knows them before there is a weight.

use crossover_compression::masks::{Mask, Masked};
use crossover_core::axes::Axes;
use crossover_core::error::Result;
use crossover_core::host::HostTensor;
use crossover_core::ops::WeightForm;

use super::layer::failed;
use crate::descriptor::{AxisDefault, AxisKind, AxisSpec};
use crate::resolve::{number, precision, size};

/// The share of entries that go.
pub(crate) const SPARSITY: AxisSpec = AxisSpec {
    name: "sparsity",
    doc: "share of the entries that are dropped, smallest first",
    kind: AxisKind::Float { min: 0.0, max: 0.999 },
    default: AxisDefault::Float(0.5),
};

/// Entries kept of each group.
pub(crate) const N_KEEP: AxisSpec = AxisSpec {
    name: "n_keep",
    doc: "entries kept of each group of m_group inputs, largest first",
    kind: AxisKind::Int { min: 1, max: 64 },
    default: AxisDefault::Int(2),
};

/// Inputs of a group.
pub(crate) const M_GROUP: AxisSpec = AxisSpec {
    name: "m_group",
    doc: "neighbouring inputs of a group; divides the inputs",
    kind: AxisKind::Int { min: 1, max: 64 },
    default: AxisDefault::Int(4),
};

/// Edge of a square block.
pub(crate) const BLOCK: AxisSpec = AxisSpec {
    name: "block",
    doc: "edge of a square block; divides inputs and outputs",
    kind: AxisKind::Int { min: 1, max: 1024 },
    default: AxisDefault::Int(16),
};

/// The share of blocks that stay.
pub(crate) const DENSITY: AxisSpec = AxisSpec {
    name: "density",
    doc: "share of the blocks that stay, those of largest norm first; at least one stays",
    kind: AxisKind::Float { min: 0.001, max: 1.0 },
    default: AxisDefault::Float(0.5),
};

/// By magnitude over the whole weight.
pub(crate) fn magnitude(axes: &Axes) -> Mask {
    Mask::Magnitude { sparsity: number(axes, "sparsity") }
}

/// n of every m.
pub(crate) fn n_of_m(axes: &Axes) -> Mask {
    Mask::NofM { n: size(axes, "n_keep"), m: size(axes, "m_group") }
}

/// Square blocks.
pub(crate) fn blocks(axes: &Axes) -> Mask {
    let edge = size(axes, "block");
    Mask::Blocks { rows: edge, columns: edge, density: number(axes, "density") }
}

/// The form of a masked weight [outputs, inputs], known before there is one.
pub(crate) fn form(mask: Mask, outputs: usize, inputs: usize, axes: &Axes) -> WeightForm {
    let entries = outputs.saturating_mul(inputs);
    let share = |share: f64, of: usize| (share * of as f64).round() as usize;
    let stored = match mask {
        Mask::Magnitude { sparsity } => share(1.0 - sparsity, entries),
        Mask::MagnitudeRows { sparsity } => outputs * share(1.0 - sparsity, inputs),
        Mask::NofM { n, m } => entries / m.max(1) * n,
        Mask::Blocks { rows, columns, density } => {
            let area = (rows * columns).max(1);
            share(density, entries / area).max(1) * area
        }
    };
    WeightForm::Sparse { dtype: precision(axes).weight, structure: mask.structure(), stored }
}

/// The masked weight, and what that saves.
pub(crate) fn masked(mask: Mask, weight: &HostTensor, axes: &Axes) -> Result<Masked> {
    mask.apply(weight, precision(axes).weight).map_err(failed)
}
