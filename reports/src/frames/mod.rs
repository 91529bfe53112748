//! One module a question, each a function from frame to frame: no files, no formats, and the same rows in the same order
//! whatever order the cells came in.

pub(crate) mod accuracy;
pub(crate) mod baseline;
pub(crate) mod course;
pub(crate) mod crossover;
pub(crate) mod engines;
pub(crate) mod failures;
pub(crate) mod headline;
pub(crate) mod memory;
pub(crate) mod order;
pub(crate) mod overview;
pub(crate) mod pareto;
pub(crate) mod peers;
pub(crate) mod published;
pub(crate) mod scaling;
pub(crate) mod series;
pub(crate) mod speed;
pub(crate) mod standing;
pub(crate) mod strong;
pub(crate) mod unprofitable;

use polars::prelude::*;

/// This integer column over that one, as a double; null where either is missing or the lower one is zero.
fn quotient(upper: &str, lower: &str) -> Expr {
    when(col(lower).gt(lit(0)))
        .then(col(upper).cast(DataType::Float64) / col(lower).cast(DataType::Float64))
        .otherwise(lit(NULL).cast(DataType::Float64))
}

/// Those of `columns` that `rows` has, at the places `at`, with `more` columns behind them; sorted by those of `order` that there are.
fn taken(rows: &DataFrame, at: &[usize], columns: &[&str], more: DataFrame, order: &[&str]) -> PolarsResult<DataFrame> {
    let at = IdxCa::from_vec("row".into(), at.iter().map(|row| *row as IdxSize).collect());
    let known: Vec<&str> = columns.iter().copied().filter(|column| rows.schema().contains(column)).collect();
    let mut table = rows.select(known)?.take(&at)?;
    table.hstack_mut(more.columns())?;
    let order: Vec<&str> = order.iter().copied().filter(|column| table.schema().contains(column)).collect();
    table.sort(order, SortMultipleOptions::default().with_maintain_order(true))
}
