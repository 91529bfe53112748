//! Against what an optimisation has to win: the fastest way to compute the exact result on the same engine, not the slowest.
//!
//! An experiment names a plain baseline (`attention/dense`). Whoever ships a model would not run that where a streaming kernel or a cache
//! gives the same numbers sooner. So the *strong baseline* of a cell is the fastest exact cell of its set: same declared baseline, engine,
//! precision and threads. Exact is a variant that never errs more than [`EXACT`] times as much as the plain operation in the same
//! precision, over all cells of the report; one that happens to be exact at one size, such as a window as long as the sequence, is not.
//!
//! Exact cells themselves are held against the declared baseline: streaming attention is an optimisation too, and has its crossover.
//!
//! Both medians are ratios to the same declared baseline, each measured in its own rounds, so drift between the two cells is divided
//! away. The interval is crosswise again. The strong one is picked by its measured median and a little favoured by luck, which errs against
//! the optimisation.

use crossover_results::schema::Status;
use polars::prelude::*;

use super::baseline::base;
use crate::columns::{PRECISION, RUN, THREADS, axis_columns};

/// Rounding in another order may double an error; every approximation among the variants is an order of magnitude beyond.
const EXACT: f64 = 2.0;

/// Adds to rows of the speed frame: `exact`, `strong:id`, `strong:variant`, and `strong_ratio`, `strong_low`, `strong_high`, the time over that of the
/// strong baseline.
pub(crate) fn with_strong(speed: LazyFrame) -> PolarsResult<LazyFrame> {
    let axes = axis_columns(&*speed.clone().collect_schema()?);
    let known = |axis: &&str| axes.iter().any(|known| known == axis);
    let ok = || col("status").eq(lit(Status::Ok.name()));
    let of_variant: Vec<Expr> = std::iter::once("variant").chain([PRECISION].into_iter().filter(known)).map(col).collect();
    let worst = col("error_ratio").filter(ok()).max().over(of_variant)?;
    let exact = col("own_baseline").or(worst.lt_eq(lit(EXACT)).fill_null(lit(false)));
    let rows = speed.with_column(exact.alias("exact"));

    let base_id = base("id");
    let same = [RUN, "machine", base_id.as_str(), "engine"].into_iter().chain([PRECISION, THREADS].into_iter().filter(known));
    let keys: Vec<Expr> = same.map(col).collect();
    let fastest = |column: &str, name: &str| col(column).first().alias(name);
    let strong = rows
        .clone()
        .filter(ok().and(col("exact")).and(col("ratio").is_not_null()))
        .sort(["ratio", "id"], SortMultipleOptions::default())
        .group_by_stable(keys.clone())
        .agg([
            fastest("id", "fastest:id"),
            fastest("variant", "fastest:variant"),
            fastest("ratio", "fastest:ratio"),
            fastest("ratio_low", "fastest:low"),
            fastest("ratio_high", "fastest:high"),
        ]);
    let joined = rows.join(strong, keys.clone(), keys, JoinArgs::new(JoinType::Left));
    // The declared baseline is the strong one for what is exact itself, and where the engine has none of its own.
    let declared = || col("exact").or(col("fastest:id").is_null());
    let either = |own: Expr, fastest: Expr| when(declared()).then(own).otherwise(fastest);
    // A declared baseline has the ratio 1 to itself and no interval.
    let over = |ratio: &str, fastest: &str| either(col(ratio), col(ratio) / coalesce(&[col(fastest), lit(1.0)]));
    Ok(joined
        .with_columns([
            either(col(base_id.as_str()), col("fastest:id")).alias("strong:id"),
            either(col(base("variant").as_str()), col("fastest:variant")).alias("strong:variant"),
            over("ratio", "fastest:ratio").alias("strong_ratio"),
            over("ratio_low", "fastest:high").alias("strong_low"),
            over("ratio_high", "fastest:low").alias("strong_high"),
        ])
        .drop(by_name(["fastest:id", "fastest:variant", "fastest:ratio", "fastest:low", "fastest:high"], true, false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame};
    use crate::frames::baseline::with_baseline;
    use crate::frames::speed::speed;

    fn strong(cells: &[Cell]) -> DataFrame {
        let rows = with_strong(speed(with_baseline(frame(cells).lazy()).unwrap())).unwrap();
        rows.sort(["id"], SortMultipleOptions::default()).collect().unwrap()
    }

    fn cell(id: &'static str, variant: &'static str, median: i64, error_ratio: f64) -> Cell {
        Cell { id, variant, median: Some(median), error_ratio: Some(error_ratio), ..Cell::default() }
    }

    fn set() -> Vec<Cell> {
        vec![
            Cell { baseline: true, ..cell("a", "attention/dense", 2000, 1.0) },
            cell("b", "attention/flash", 1000, 1.3),
            cell("c", "attention/window", 1500, 900.0),
        ]
    }

    #[test]
    fn an_approximation_is_held_against_the_fastest_exact_cell() {
        for cells in [set(), set().into_iter().rev().collect()] {
            let rows = strong(&cells);
            let against: Vec<_> = rows.texts("strong:id").unwrap().iter().map(Option::unwrap).collect();
            assert_eq!(against, ["a", "a", "b"]);
            let ratios: Vec<_> = rows.doubles("strong_ratio").unwrap().iter().map(Option::unwrap).collect();
            assert_eq!(ratios, [1.0, 0.5, 1.5]);
            // Medians are 10 % wide to either side, and so is the baseline's.
            let low = (0.75 * 0.9 / 1.1) / (0.5 * 1.1 / 0.9);
            assert!((rows.doubles("strong_low").unwrap().get(2).unwrap() - low).abs() < 1e-12);
        }
    }

    #[test]
    fn what_is_exact_at_one_size_only_is_not() {
        let mut cells = set();
        cells.push(Cell { group: "other", n: 64, ..cell("d", "attention/window", 10, 1.0) });
        cells.push(Cell { group: "other", n: 64, baseline: true, ..cell("e", "attention/dense", 100, 1.0) });
        let rows = strong(&cells);
        assert_eq!(rows.texts("strong:id").unwrap().get(3), Some("e"));
        assert_eq!(rows.flags("exact").unwrap().get(3), Some(false));
    }

    #[test]
    fn another_engine_or_precision_has_its_own() {
        let mut cells = set();
        cells.push(Cell { engine: "simd", ..cell("d", "attention/window", 500, 900.0) });
        cells.push(Cell { precision: "bf16", ..cell("e", "attention/window", 500, 900.0) });
        cells.push(Cell { status: "emulated", ..cell("f", "attention/flash", 10, 1.0) });
        let rows = strong(&cells);
        assert_eq!(rows.texts("strong:id").unwrap().iter().skip(2).collect::<Vec<_>>(), [Some("b"), Some("a"), Some("a"), Some("a")]);
    }

    #[test]
    fn without_a_baseline_there_is_nothing_to_win_against() {
        let rows = strong(&[cell("a", "attention/window", 10, 1.0)]);
        assert_eq!((rows.texts("strong:id").unwrap().get(0), rows.doubles("strong_ratio").unwrap().get(0)), (None, None));
    }
}
