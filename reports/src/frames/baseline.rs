//! Puts beside every cell the baseline that it is compared with, as columns `base:NAME`.
//!
//! The baseline is one of the same group, in the same run, on the same machine: never another. Where the group has several (one
//! an engine, say), the one that agrees best counts: a baseline with itself, else the same engine, then the same precision, then
//! the same threads, then the most axes. A cell without a baseline has nulls there.

use polars::prelude::*;

use crate::columns::{PRECISION, RUN, THREADS, axis_columns};

/// Before the name of every column of the baseline.
pub(crate) const BASE: &str = "base:";

const SAME_GROUP: [&str; 3] = [RUN, "machine", "group"];
const TAKEN: [&str; 14] = [
    "id",
    "variant",
    "engine",
    "status",
    "median_ns",
    "ci_low_ns",
    "ci_high_ns",
    "weight_bytes",
    "activation_bytes",
    "scratch_bytes",
    "state_bytes",
    "allocator_peak_bytes",
    "high_water_bytes",
    "samples",
];

/// The name of a baseline's column.
pub(crate) fn base(column: &str) -> String {
    format!("{BASE}{column}")
}

/// Adds the columns of the baseline to every cell.
pub(crate) fn with_baseline(cells: LazyFrame) -> PolarsResult<LazyFrame> {
    let axes = axis_columns(&*cells.clone().collect_schema()?);
    let keys = SAME_GROUP.map(col);
    let taken = TAKEN.iter().copied().chain(axes.iter().map(String::as_str)).map(|name| col(name).alias(base(name)));
    let baselines = cells.clone().filter(col("baseline")).select(keys.iter().cloned().chain(taken).collect::<Vec<_>>());
    let differs = |name: &str| col(name).neq_missing(col(base(name).as_str()));
    let mut order = vec![col(RUN), col("id"), differs("id"), differs("engine")];
    order.extend([PRECISION, THREADS].iter().filter(|axis| axes.iter().any(|known| known == *axis)).map(|axis| differs(axis)));
    let others = axes.iter().map(|axis| differs(axis).cast(DataType::Int64));
    order.extend(others.reduce(|sum, one| sum + one));
    order.push(col(base("id").as_str()));
    let pairs = cells.join(baselines, keys.clone(), keys, JoinArgs::new(JoinType::Left));
    let best_first = pairs.sort_by_exprs(order, SortMultipleOptions::default());
    Ok(best_first.unique_stable(Some(cols([RUN, "id"])), UniqueKeepStrategy::First))
}

/// True for the rows that are their own baseline.
pub(crate) fn is_own_baseline() -> Expr {
    col("id").eq(col(base("id").as_str())).fill_null(lit(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame};

    fn bases(cells: &[Cell]) -> Vec<String> {
        let frame = with_baseline(frame(cells).lazy()).unwrap().sort(["id"], SortMultipleOptions::default()).collect().unwrap();
        let (ids, bases) = (frame.texts("id").unwrap(), frame.texts("base:id").unwrap());
        ids.iter().zip(bases.iter()).map(|(id, base)| format!("{}-{}", id.unwrap(), base.unwrap_or("none"))).collect()
    }

    #[test]
    fn the_baseline_of_the_same_engine_is_preferred() {
        let dense = Cell { baseline: true, ..Cell::default() };
        let cells = [
            Cell { id: "a", ..dense.clone() },
            Cell { id: "b", engine: "simd", ..dense.clone() },
            Cell { id: "c", engine: "simd", ..Cell::default() },
            Cell { id: "d", engine: "candle", ..Cell::default() },
        ];
        assert_eq!(bases(&cells), ["a-a", "b-b", "c-b", "d-a"]);
    }

    #[test]
    fn then_that_of_the_same_precision() {
        let cells = [
            Cell { id: "a", baseline: true, precision: "f32", ..Cell::default() },
            Cell { id: "b", baseline: true, precision: "bf16", ..Cell::default() },
            Cell { id: "c", precision: "bf16", ..Cell::default() },
            Cell { id: "d", precision: "int8", ..Cell::default() },
        ];
        assert_eq!(bases(&cells), ["a-a", "b-b", "c-b", "d-a"]);
    }

    #[test]
    fn never_one_of_another_machine_run_or_group() {
        let cells = [
            Cell { id: "a", baseline: true, ..Cell::default() },
            Cell { id: "b", machine: "other", ..Cell::default() },
            Cell { id: "c", run: 1, ..Cell::default() },
            Cell { id: "d", group: "other", ..Cell::default() },
        ];
        assert_eq!(bases(&cells), ["a-a", "b-none", "c-none", "d-none"]);
    }
}
