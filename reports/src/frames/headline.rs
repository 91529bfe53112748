//! Who is fastest: of every set of cells that share a baseline, the best cell against that baseline.
//!
//! Only cells with the status `ok` are ranked, and only against a baseline with the status `ok`: an emulated cell ran in another
//! precision than it says. The others are counted. The best of several is picked by its measured median, so it is a little
//! favoured by luck; the interval beside it does not correct for that, the number of cells that it was picked from tells.

use crossover_results::schema::Status;
use polars::prelude::*;

use super::baseline::{against, base};
use super::order::AxisRoles;
use crate::columns::{RUN, THREADS};

/// A speed is half of the truth: what the best one needs and gets wrong stands beside it.
const OF_THE_BEST: [&str; 11] =
    ["id", "variant", "engine", "median_ns", "ratio", "ratio_low", "ratio_high", "apart", "samples", "declared_ratio", "err_method_rel"];
/// Of the baseline as it was beside the best one; of its own record where nothing could be ranked.
const OF_BOTH: [&str; 2] = ["median_ns", "samples"];

/// One row a set, from rows with the columns of the speed and the memory frame. Columns: `run`, `machine`, `family`, `group`, the baseline's columns, the best cell's
/// ([`OF_THE_BEST`] and parameters; null where none could be ranked), the axes of the problem, `ranked` (cells that the best was picked
/// from) and `unranked` (other cells that are not the baseline).
pub(crate) fn headline(rows: LazyFrame, roles: &AxisRoles) -> LazyFrame {
    let ok = || col("status").eq(lit(Status::Ok.name()));
    let base_ok = col(base("status").as_str()).eq(lit(Status::Ok.name())).fill_null(lit(false));
    let ranked = || col("own_baseline").not().and(ok()).and(col("ratio").is_not_null()).and(col("base_ok"));
    let best = |name: &str| col(name).filter(ranked()).first();
    let mut columns: Vec<Expr> = OF_THE_BEST.map(best).into();
    columns.extend(roles.parameters.iter().map(|axis| best(axis)));
    columns.extend(roles.problem.iter().map(|axis| col(axis.as_str()).first()));
    let own = |name: &str| col(base(name).as_str()).first();
    columns.extend(["id", "variant", "engine", "status"].map(|name| own(name).alias(base(name))));
    columns.extend(OF_BOTH.map(|name| coalesce(&[best(&against(name)), own(name)]).alias(base(name))));
    columns.extend(roles.parameters.iter().map(|axis| col(base(axis).as_str()).first().alias(base(axis))));
    columns.push(ranked().sum().cast(DataType::Int64).alias("ranked"));
    columns.push(ranked().or(col("own_baseline")).not().sum().cast(DataType::Int64).alias("unranked"));
    let set = || [col(RUN), col("machine"), col("family"), col("group"), col(base("id").as_str()).alias("set")];
    // The base's columns are constant within a set, its id included.
    let in_order = rows
        .with_column(base_ok.alias("base_ok"))
        .sort_by_exprs([col("ratio"), col("median_ns"), col("id")], SortMultipleOptions::default().with_nulls_last(true));
    let sets = in_order.group_by(set()).agg(columns);
    let threads = roles.problem.iter().filter(|axis| *axis == THREADS);
    let mut order = vec![col("family"), col("machine")];
    order.extend(threads.chain([&RUN.to_owned()]).chain(&roles.problem).map(|name| col(name.as_str())));
    order.extend([col("group"), col(base("engine").as_str()), col("set")]);
    sets.sort_by_exprs(order, SortMultipleOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame};
    use crate::frames::baseline::with_baseline;
    use crate::frames::memory::memory;
    use crate::frames::order::axis_roles;
    use crate::frames::speed::speed;

    fn headlines(cells: &[Cell]) -> DataFrame {
        let cells = frame(cells).lazy();
        let roles = axis_roles(&cells).unwrap();
        headline(speed(memory(with_baseline(cells).unwrap())), &roles).collect().unwrap()
    }

    fn cell(id: &'static str, median: i64) -> Cell {
        Cell { id, median: Some(median), ..Cell::default() }
    }

    #[test]
    fn the_fastest_that_may_be_ranked_is_named() {
        let rows = headlines(&[
            Cell { baseline: true, ..cell("a", 1000) },
            cell("b", 500),
            cell("c", 800),
            Cell { status: "emulated", ..cell("d", 100) },
            Cell { id: "e", ..Cell::failed("oom", "x") },
        ]);
        assert_eq!(rows.height(), 1);
        assert_eq!(rows.texts("id").unwrap().get(0), Some("b"));
        assert_eq!(rows.doubles("ratio").unwrap().get(0), Some(0.5));
        assert_eq!(
            (rows.doubles("err_method_rel").unwrap().get(0), rows.doubles("declared_ratio").unwrap().get(0)),
            (Some(5e-7), Some(1.0))
        );
        assert_eq!((rows.ints("ranked").unwrap().get(0), rows.ints("unranked").unwrap().get(0)), (Some(2), Some(2)));
    }

    #[test]
    fn the_baselines_time_is_that_beside_the_best() {
        let dense = Cell { baseline: true, ..cell("a", 1000) };
        let rows = headlines(&[dense.clone(), Cell { beside: Some(("a", 2000)), ..cell("b", 500) }, cell("c", 300)]);
        // Against its own record of another time the third would be ahead by its ratio of 0.3; beside its baseline the second is.
        let shown = |rows: &DataFrame| {
            let ints = |column| rows.ints(column).unwrap().get(0).unwrap();
            (rows.texts("id").unwrap().get(0).unwrap().to_owned(), ints("base:median_ns"), ints("base:samples"))
        };
        assert_eq!((shown(&rows), rows.flags("apart").unwrap().get(0)), (("b".to_owned(), 2000, 7), Some(false)));
        let rows = headlines(&[dense.clone(), cell("c", 300)]);
        assert_eq!((shown(&rows), rows.flags("apart").unwrap().get(0)), (("c".to_owned(), 1000, 20), Some(true)));
        let rows = headlines(&[dense]);
        assert_eq!((rows.ints("base:median_ns").unwrap().get(0), rows.ints("base:samples").unwrap().get(0)), (Some(1000), Some(20)));
    }

    #[test]
    fn no_ranking_against_a_baseline_that_failed_or_was_emulated() {
        for status in ["oom", "emulated"] {
            let rows = headlines(&[Cell { baseline: true, status, ..cell("a", 1000) }, cell("b", 500)]);
            assert_eq!((rows.texts("id").unwrap().get(0), rows.texts("base:status").unwrap().get(0)), (None, Some(status)));
        }
        let rows = headlines(&[cell("b", 500)]);
        assert_eq!((rows.height(), rows.texts("base:id").unwrap().get(0)), (1, None));
    }

    #[test]
    fn engines_of_one_problem_stand_in_one_order() {
        let own = |id, engine| Cell { engine, baseline: true, ..cell(id, 1000) };
        for (first, second) in [("a", "b"), ("b", "a")] {
            let rows = headlines(&[own(first, "simd"), own(second, "naive")]);
            assert_eq!(rows.texts("base:engine").unwrap().iter().flatten().collect::<Vec<_>>(), ["naive", "simd"]);
        }
    }

    #[test]
    fn every_group_has_a_line_in_the_order_of_the_problem() {
        let problem = |group, n, id: &'static str| Cell { group, n, baseline: true, ..cell(id, 1000) };
        let rows = headlines(&[problem("x", 1024, "a"), problem("y", 128, "b")]);
        assert_eq!(rows.texts("base:id").unwrap().iter().flatten().collect::<Vec<_>>(), ["b", "a"]);
    }
}
