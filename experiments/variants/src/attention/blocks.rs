//! Patterns of whole blocks, some of them drawn at random or given one by one: what [`super::bigbird`] and [`super::block_sparse`] share.
//!
//! The random blocks come from a hash of seed, row and column, and not from the cell's seed: the pattern belongs to the variant, so that
//! repeating a cell with other inputs does not change what it computes.

use std::sync::Arc;

use crossover_core::axes::Axes;
use crossover_core::pattern::{AttentionPattern, BlockBitmap};

use crate::descriptor::{AxisDefault, AxisKind, AxisSpec, Condition};
use crate::resolve::{name, number, size};

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

/// The blocks one by one, as a user gives them.
pub(super) const BITMAP: AxisSpec = AxisSpec {
    name: "bitmap",
    doc: "rows of 0 and 1, separated by /, such as 110/011/101: which key blocks each query block sees; density and pattern_seed are then \
          not read, and a block that sees none gives zeros",
    kind: AxisKind::Text,
    default: AxisDefault::Text(""),
};

/// What a given bitmap must be; [`bitmap_problem`] says what it is instead.
pub(crate) const DRAWN: &str = "bitmap has a row and a column of 0 or 1 for each block, rows separated by /";
/// The same for causal forms.
pub(crate) const DRAWN_CAUSAL: &str = "bitmap has a row and a column of 0 or 1 for each block, rows separated by /, and no 1 in the future";

pub(super) const BITMAP_FITS: Condition = Condition { text: DRAWN, holds: |axes: &Axes| bitmap_problem(axes).is_none() };
pub(super) const CAUSAL_BITMAP_FITS: Condition =
    Condition { text: DRAWN_CAUSAL, holds: |axes: &Axes| causal_bitmap_problem(axes).is_none() };

/// What is wrong with a given bitmap. Rows and columns are counted from 1.
pub(crate) fn bitmap_problem(axes: &Axes) -> Option<String> {
    let (text, count) = (name(axes, "bitmap"), blocks(axes));
    if text.is_empty() {
        return None;
    }
    let rows: Vec<&str> = text.split('/').collect();
    for (at, row) in rows.iter().enumerate() {
        if let Some((column, symbol)) = row.chars().enumerate().find(|(_, symbol)| !matches!(symbol, '0' | '1')) {
            return Some(format!("row {}, column {} is {symbol:?}, neither 0 nor 1", at + 1, column + 1));
        }
        if row.len() != count {
            let sizes = format!("n = {} makes {count} blocks of {}", size(axes, "n"), size(axes, "block"));
            return Some(format!("row {} has {} columns; {sizes}", at + 1, row.len()));
        }
    }
    (rows.len() != count)
        .then(|| format!("it has {} rows; n = {} makes {count} blocks of {}", rows.len(), size(axes, "n"), size(axes, "block")))
}

/// The same for causal forms.
pub(crate) fn causal_bitmap_problem(axes: &Axes) -> Option<String> {
    bitmap_problem(axes).or_else(|| {
        let early =
            given(axes)?.into_iter().enumerate().find_map(|(row, columns)| Some((row, columns.into_iter().find(|column| *column > row)?)));
        early.map(|(row, column)| format!("row {}, column {} is a later block", row + 1, column + 1))
    })
}

/// The columns that each row of a given bitmap sees.
fn given(axes: &Axes) -> Option<Vec<Vec<usize>>> {
    let text = name(axes, "bitmap");
    let ones = |row: &str| row.chars().enumerate().filter(|(_, symbol)| *symbol == '1').map(|(column, _)| column).collect();
    (!text.is_empty()).then(|| text.split('/').map(ones).collect())
}

/// The given bitmap, or for each row its own block and as many of the candidates as the density leaves room for.
pub(super) fn given_or_drawn(axes: &Axes, causal: bool) -> AttentionPattern {
    let (count, budget) = (blocks(axes), budget(axes));
    let row = |row: usize| -> Vec<usize> {
        let others = (0..if causal { row } else { count }).filter(|column| *column != row);
        std::iter::once(row).chain(drawn(axes, row, others, budget - 1)).collect()
    };
    bitmap(axes, &given(axes).unwrap_or_else(|| (0..count).map(row).collect()), causal)
}

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

/// The finaliser of splitmix64 (Steele et al. 2014): a hash of the number.
pub(super) fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
