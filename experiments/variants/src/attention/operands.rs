//! What the approximations of attention share: their operands with sizes, and conditions between axes.

use crossover_core::axes::Axes;
use crossover_core::check::MOST_POSITIONS;
use crossover_core::error::Result;
use crossover_core::tensor::View;

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition};
use crate::resolve::size;
use crate::variant::wrong_inputs;

/// q, k and v of a call, and their sizes.
pub(super) struct Attended<'a, S> {
    pub(super) q: View<'a, S>,
    pub(super) k: View<'a, S>,
    pub(super) v: View<'a, S>,
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) n: usize,
    pub(super) n_kv: usize,
    pub(super) width: usize,
}

impl<'a, S> Attended<'a, S> {
    /// Three views of four dimensions each whose sizes go together.
    pub(super) fn of(variant: &'static str, inputs: &[View<'a, S>]) -> Result<Self> {
        let &[q, k, v] = inputs else { return Err(wrong_inputs(variant, inputs)) };
        let (&[batch, heads, n, width], &[_, key_heads, n_kv, _]) = (q.shape(), k.shape()) else {
            return Err(wrong_inputs(variant, inputs));
        };
        if key_heads == 0 || !heads.is_multiple_of(key_heads) || *k.shape() != [batch, key_heads, n_kv, width] || k.shape() != v.shape() {
            return Err(wrong_inputs(variant, inputs));
        }
        Ok(Self { q, k, v, batch, heads, key_heads, n, n_kv, width })
    }
}

/// A parameter that is a number of things.
pub(super) const fn count(name: &'static str, doc: &'static str, default: AxisDefault) -> AxisSpec {
    AxisSpec { name, doc, kind: AxisKind::Int { min: 1, max: 1 << 31 }, default }
}

/// Another draw of the same random matrix.
pub(super) const REDRAW: AxisSpec = AxisSpec {
    name: "redraw",
    doc: "which draw of the random directions: another number gives independent ones",
    kind: AxisKind::Int { min: 0, max: 4095 },
    default: AxisDefault::Int(0),
};

/// For variants that treat each query head with its own keys.
pub(super) const EQUAL_HEADS: Condition = Condition {
    text: "this variant needs a key head for each query head: kv_heads = heads",
    holds: |axes: &Axes| size(axes, "heads") == size(axes, "kv_heads"),
};

/// For variants whose tokens are moved; engines may compare their positions (`crossover_core::compose::later`).
pub(super) const TOLD_APART: Condition = Condition {
    text: "positions are compared in f32, half a place apart: n must not exceed 2^23",
    holds: |axes: &Axes| size(axes, "n") <= MOST_POSITIONS,
};

/// For variants that pair blocks of queries with blocks of keys.
pub(super) const EQUAL_LENGTHS: Condition = Condition {
    text: "this variant pairs queries with keys of the same place: n_kv = n",
    holds: |axes: &Axes| size(axes, "n") == size(axes, "n_kv"),
};

/// Does the axis divide the other?
pub(super) fn divides(axes: &Axes, divisor: &str, of: &str) -> bool {
    size(axes, divisor) > 0 && size(axes, of).is_multiple_of(size(axes, divisor))
}
