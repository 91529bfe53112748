//! One module a question, each a function from frame to frame: no files, no formats, and the same rows in the same order
//! whatever order the cells came in.

pub(crate) mod accuracy;
pub(crate) mod baseline;
pub(crate) mod crossover;
pub(crate) mod failures;
pub(crate) mod headline;
pub(crate) mod memory;
pub(crate) mod order;
pub(crate) mod overview;
pub(crate) mod series;
pub(crate) mod speed;
pub(crate) mod strong;

use polars::prelude::*;

/// This integer column over that one, as a double; null where either is missing or the lower one is zero.
fn quotient(upper: &str, lower: &str) -> Expr {
    when(col(lower).gt(lit(0)))
        .then(col(upper).cast(DataType::Float64) / col(lower).cast(DataType::Float64))
        .otherwise(lit(NULL).cast(DataType::Float64))
}
