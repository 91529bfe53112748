//! Sizes at which every variant runs in a moment, for whoever tries all of them.

use crossover_core::axes::{Axes, AxisValue};

use crate::descriptor::Descriptor;

/// Sizes by axis.
pub type Sizes = [(&'static str, i64)];

/// Heads, layers and vocabularies of a few tens; parameters keep their defaults, which follow the sizes.
pub const SMALL: [(&str, i64); 12] = [
    ("batch", 1),
    ("heads", 2),
    ("n", 32),
    ("head_dim", 16),
    ("d_model", 32),
    ("d_ff", 64),
    ("d_in", 32),
    ("d_out", 32),
    ("classes", 64),
    ("vocabulary", 64),
    ("layers", 1),
    ("d_hidden", 32),
];

/// Those that the variant has, and a precision, as a cell is asked for.
pub fn asked(descriptor: &Descriptor, sizes: &Sizes, precision: &str) -> Axes {
    let known = sizes.iter().filter(|(name, _)| descriptor.axis(name).is_some());
    let mut axes: Axes = known.map(|(name, size)| ((*name).to_owned(), AxisValue::Int(*size))).collect();
    axes.insert("precision".into(), precision.into());
    axes
}
