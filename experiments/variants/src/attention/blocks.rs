//! Patterns of whole blocks, some of them drawn at random: what [`super::bigbird`] and [`super::block_sparse`] share.
//!
//! The random blocks come from a hash of seed, row and column, and not from the cell's seed: the pattern belongs to the variant, so that
//! repeating a cell with other inputs does not change what it computes.

use std::sync::Arc;

use crossover_core::axes::Axes;
use crossover_core::pattern::{AttentionPattern, BlockBitmap};

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec};
use crate::resolve::{number, size};

/// The axis of the seed.
pub(super) const PATTERN_SEED: AxisSpec = AxisSpec {
    name: "pattern_seed",
    doc: "seed of the random blocks",
    kind: AxisKind::Int { min: 0, max: i64::MAX },
    default: AxisDefault::Int(1),
};

/// Length of a block: sixteen to a sequence, unless said otherwise.
pub(super) const BLOCK: AxisSpec = super::count("block", "positions in a block", AxisDefault::Share { of: "n", divisor: 16 });

/// The share of blocks that a query block sees.
pub(super) const DENSITY: AxisSpec = AxisSpec {
    name: "density",
    doc: "share of all key blocks that a query block sees, its own included",
    kind: AxisKind::Float { min: 0.0, max: 1.0 },
    default: AxisDefault::Float(0.25),
};

/// Blocks of a sequence; the last may be shorter.
pub(super) fn blocks(axes: &Axes) -> usize {
    size(axes, "n").div_ceil(size(axes, "block").max(1))
}

/// How many blocks a query block sees at this density: at least its own.
pub(super) fn budget(axes: &Axes) -> usize {
    // Resolved densities are in 0..=1, so this is a small positive number.
    ((number(axes, "density") * blocks(axes) as f64).ceil() as usize).max(1)
}

/// Those `count` of the candidates that the seed puts first for this row.
pub(super) fn drawn(axes: &Axes, row: usize, candidates: impl Iterator<Item = usize>, count: usize) -> Vec<usize> {
    let seed = size(axes, "pattern_seed") as u64;
    let mut order: Vec<(u64, usize)> = candidates.map(|column| (mixed(mixed(mixed(seed) ^ row as u64) ^ column as u64), column)).collect();
    order.sort_unstable();
    order.into_iter().take(count).map(|(_, column)| column).collect()
}

/// The pattern in which each row of blocks sees these columns.
pub(super) fn bitmap(axes: &Axes, rows: &[Vec<usize>], causal: bool) -> AttentionPattern {
    let bitmap = BlockBitmap::new(size(axes, "block"), rows.len(), rows.len(), |row, column| rows[row].contains(&column));
    AttentionPattern::Blocks(Arc::new(if causal { bitmap.causal() } else { bitmap }))
}

/// The finaliser of splitmix64 (Steele et al. 2014).
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
