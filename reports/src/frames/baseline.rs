//! Puts beside every cell the baseline that it is compared with, as columns `base:NAME`.
//!
//! The baseline is one of the same group, in the same run, on the same machine: never another. Where the group has several (one
//! an engine, say), the one that agrees best counts: a baseline with itself, else the one that the cell was measured beside, then the
//! same engine, then the same precision, then the same threads, then the most axes. A cell without a baseline has nulls there.
//!
//! What a time is divided by stands in columns `against:NAME`: the baseline as it was measured in the same rounds as the cell. Records of
//! older layouts have none of that, nor has a cell that had no baseline beside it. There it is the baseline's own record, of whatever
//! time, and `apart` is true.

use polars::prelude::*;

use crate::columns::{PRECISION, RUN, THREADS, axis_columns};

/// Before the name of every column of the baseline.
pub(crate) const BASE: &str = "base:";

const SAME_GROUP: [&str; 3] = [RUN, "machine", "group"];
const TAKEN: [&str; 15] = [
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
    "err_method_rel",
];

/// Before the name of every column of the times that a cell is held against.
const AGAINST: &str = "against:";
/// The columns of the baseline beside a cell, by the columns of the baseline's own record that they stand for.
const BESIDE: [(&str, &str); 4] = [
    ("median_ns", "beside_median_ns"),
    ("ci_low_ns", "beside_ci_low_ns"),
    ("ci_high_ns", "beside_ci_high_ns"),
    ("samples", "beside_samples"),
];

/// The name of a column of the times that a cell is held against.
pub(crate) fn against(column: &str) -> String {
    format!("{AGAINST}{column}")
}

/// The name of a baseline's column.
pub(crate) fn base(column: &str) -> String {
    format!("{BASE}{column}")
}

/// Adds the columns of the baseline to every cell, and what its time is held against.
pub(crate) fn with_baseline(cells: LazyFrame) -> PolarsResult<LazyFrame> {
    let axes = axis_columns(&*cells.clone().collect_schema()?);
    let keys = SAME_GROUP.map(col);
    let taken = TAKEN.iter().copied().chain(axes.iter().map(String::as_str)).map(|name| col(name).alias(base(name)));
    let baselines = cells.clone().filter(col("baseline")).select(keys.iter().cloned().chain(taken).collect::<Vec<_>>());
    let differs = |name: &str| col(name).neq_missing(col(base(name).as_str()));
    let elsewhere = || col("beside_id").neq_missing(col(base("id").as_str()));
    let mut order = vec![col(RUN), col("id"), differs("id"), elsewhere(), differs("engine")];
    order.extend([PRECISION, THREADS].iter().filter(|axis| axes.iter().any(|known| known == *axis)).map(|axis| differs(axis)));
    let others = axes.iter().map(|axis| differs(axis).cast(DataType::Int64));
    order.extend(others.reduce(|sum, one| sum + one));
    order.push(col(base("id").as_str()));
    let pairs = cells.join(baselines, keys.clone(), keys, JoinArgs::new(JoinType::Left));
    let best_first = pairs.sort_by_exprs(order, SortMultipleOptions::default());
    let compared = best_first.unique_stable(Some(cols([RUN, "id"])), UniqueKeepStrategy::First);
    let either = |(own, beside): &(&str, &str)| when(elsewhere()).then(col(base(own).as_str())).otherwise(col(*beside)).alias(against(own));
    let mut columns: Vec<Expr> = BESIDE.iter().map(either).collect();
    columns.push(is_own_baseline().not().and(elsewhere()).alias("apart"));
    Ok(compared.with_columns(columns))
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

    fn compared(cells: &[Cell]) -> DataFrame {
        with_baseline(frame(cells).lazy()).unwrap().sort(["id"], SortMultipleOptions::default()).collect().unwrap()
    }

    fn bases(cells: &[Cell]) -> Vec<String> {
        let frame = compared(cells);
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
    fn the_one_beside_comes_first_with_what_it_showed_then() {
        let dense = Cell { baseline: true, ..Cell::default() };
        let cells = [
            Cell { id: "a", engine: "simd", ..dense.clone() },
            Cell { id: "b", ..dense.clone() },
            Cell { id: "c", beside: Some(("a", 3000)), ..Cell::default() },
            Cell { id: "d", beside: Some(("b", 4000)), ..Cell::default() },
            // Older, or alone.
            Cell { id: "e", ..Cell::default() },
            // Its baseline's record is lost.
            Cell { id: "f", beside: Some(("z", 5000)), ..Cell::default() },
        ];
        assert_eq!(bases(&cells), ["a-a", "b-b", "c-a", "d-b", "e-b", "f-b"]);
        let frame = compared(&cells);
        let ints = |column: &str| frame.ints(column).unwrap().iter().map(Option::unwrap).collect::<Vec<_>>();
        assert_eq!(ints("against:median_ns"), [1000, 1000, 3000, 4000, 1000, 1000]);
        assert_eq!(ints("against:ci_low_ns"), [900, 900, 2700, 3600, 900, 900]);
        assert_eq!(ints("against:ci_high_ns"), [1100, 1100, 3300, 4400, 1100, 1100]);
        assert_eq!(ints("against:samples"), [20, 20, 7, 7, 20, 20]);
        let apart: Vec<bool> = frame.flags("apart").unwrap().iter().map(Option::unwrap).collect();
        assert_eq!(apart, [false, false, false, false, true, true]);
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
