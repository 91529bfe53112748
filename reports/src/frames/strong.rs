//! Against what an optimisation has to win: the fastest way to compute the exact result on the same engine, not the slowest.
//!
//! An experiment names a plain baseline (`attention/dense`). Whoever ships a model would not run that where a streaming kernel or a cache
//! gives the same numbers sooner. So the *strong baseline* of a cell is the fastest exact cell of its set: same declared baseline, engine,
//! precision and threads. Exact is a variant that never errs more than [`EXACT`] times as much as the plain operation in the same
//! precision, over all cells of its machine; one that happens to be exact at one size, such as a window as long as the sequence, is not.
//!
//! Where there is no plain operation to err against, the record has no such ratio. If the variant computes the same function as its
//! declared baseline all the same (a cache beside its recomputation, a model with another attention), the baseline's error stands in for the
//! plain operation's. Else the error is the distance from the variant's own function (`own_function`), and tells nothing of the baseline's.
//!
//! Exact cells themselves are held against the declared baseline: streaming attention is an optimisation too, and has its crossover.
//!
//! Both medians are ratios to the same declared baseline, each measured in its own rounds, so drift between the two cells is divided
//! away. Where one of them was not beside that baseline, it is not (`strong_apart`). The interval is crosswise again. The strong one is picked by
//! its measured median and a little favoured by luck, which errs against the optimisation.

use crossover_results::schema::Status;
use crossover_variants::same_function::renamed;
use polars::prelude::*;

use super::baseline::base;
use crate::columns::{PRECISION, RUN, THREADS, axis_columns};

/// Rounding in another order may double an error; every approximation among the variants is an order of magnitude beyond.
pub(super) const EXACT: f64 = 2.0;

/// Adds to rows of the speed frame: `function` (the exact function that the error is measured against: empty where all of a task share it),
/// `own_function`, `exact`, `strong:id`, `strong:variant`, `strong_apart`, and `strong_ratio`, `strong_low`, `strong_high`, the time over that of the
/// strong baseline; null where the declared baseline did not end well.
pub(crate) fn with_strong(speed: LazyFrame) -> PolarsResult<LazyFrame> {
    let axes = axis_columns(&*speed.clone().collect_schema()?);
    let known = |axis: &&str| axes.iter().any(|known| known == axis);
    let ok = || col("status").eq(lit(Status::Ok.name()));
    let is_comparable = || col("error_ratio").is_not_null();
    let same_function = || function_of("variant").eq(function_of(&base("variant"))).fill_null(lit(false));
    let rows = speed.with_columns([
        when(is_comparable()).then(lit("")).otherwise(function_of("variant")).alias("function"),
        is_comparable().or(same_function()).not().alias("own_function"),
    ]);
    let (error, of_base) = (|| col("err_method_rel"), || col(base("err_method_rel").as_str()));
    let over_base = when(error().eq(lit(0.0)).and(of_base().eq(lit(0.0)))).then(lit(1.0)).otherwise(error() / of_base());
    let errs = when(is_comparable()).then(col("error_ratio")).when(same_function()).then(over_base);
    let of_variant: Vec<Expr> = ["machine", "variant"].into_iter().chain([PRECISION].into_iter().filter(known)).map(col).collect();
    let worst = errs.otherwise(lit(NULL)).filter(ok()).max().over(of_variant)?;
    let exact = col("own_baseline").or(worst.lt_eq(lit(EXACT)).fill_null(lit(false)));
    let rows = rows.with_column(exact.alias("exact"));

    let base_id = base("id");
    let base_is_ok = || col(base("status").as_str()).eq(lit(Status::Ok.name())).fill_null(lit(false));
    let same = [RUN, "machine", base_id.as_str(), "engine"].into_iter().chain([PRECISION, THREADS].into_iter().filter(known));
    let keys: Vec<Expr> = same.map(col).collect();
    let fastest = |column: &str, name: &str| col(column).first().alias(name);
    let strong = rows
        .clone()
        .filter(ok().and(col("exact")).and(base_is_ok()).and(col("ratio").gt(lit(0.0)).fill_null(lit(false))))
        .sort(["ratio", "id"], SortMultipleOptions::default())
        .group_by_stable(keys.clone())
        .agg([
            fastest("id", "fastest:id"),
            fastest("variant", "fastest:variant"),
            fastest("ratio", "fastest:ratio"),
            fastest("ratio_low", "fastest:low"),
            fastest("ratio_high", "fastest:high"),
            fastest("apart", "fastest:apart"),
        ]);
    let joined = rows.join(strong, keys.clone(), keys, JoinArgs::new(JoinType::Left));
    // The declared baseline is the strong one for what is exact itself, and where the engine has none of its own.
    let declared = || col("exact").or(col("fastest:id").is_null());
    let either = |own: Expr, fastest: Expr| when(declared()).then(own).otherwise(fastest);
    let apart = col("apart").or(declared().not().and(col("fastest:apart").fill_null(lit(false))));
    // A declared baseline has the ratio 1 to itself and no interval.
    // As the strong one it is 1 exactly; any other without an interval leaves the quotient without one.
    let is_declared = || col("fastest:id").eq(col(base_id.as_str())).fill_null(lit(false));
    let divisor = |fastest: &str| when(is_declared()).then(lit(1.0)).otherwise(col(fastest));
    let quotient = |ratio: &str, fastest: &str| either(col(ratio), col(ratio) / divisor(fastest));
    let over = |ratio: &str, fastest: &str| when(base_is_ok()).then(quotient(ratio, fastest)).otherwise(lit(NULL));
    Ok(joined
        .with_columns([
            either(col(base_id.as_str()), col("fastest:id")).alias("strong:id"),
            either(col(base("variant").as_str()), col("fastest:variant")).alias("strong:variant"),
            apart.alias("strong_apart"),
            over("ratio", "fastest:ratio").alias("strong_ratio"),
            over("ratio_low", "fastest:high").alias("strong_low"),
            over("ratio_high", "fastest:low").alias("strong_high"),
        ])
        .drop(by_name(["fastest:id", "fastest:variant", "fastest:ratio", "fastest:low", "fastest:high", "fastest:apart"], true, false)))
}

/// The name of the function that a variant which is its own reference computes.
fn function_of(column: &str) -> Expr {
    renamed().fold(col(column), |other, (variant, function)| when(col(column).eq(lit(variant))).then(lit(function)).otherwise(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Typed;
    use crate::examples::{Cell, frame, together};
    use crate::frames::baseline::with_baseline;
    use crate::frames::speed::speed;

    fn strong(cells: &[Cell]) -> DataFrame {
        of(&together(cells))
    }

    fn of(cells: &[Cell]) -> DataFrame {
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
    fn the_same_function_without_a_plain_operation_is_exact_and_another_is_its_own() {
        let own = |id, variant, median: i64, error: f64| Cell { error_ratio: None, error: Some(error), ..cell(id, variant, median, 1.0) };
        let rows = strong(&[
            Cell { baseline: true, ..own("a", "model/decode-recompute", 2000, 1e-7) },
            own("b", "model/decode", 1000, 1.2e-7),
            own("c", "ffn/bilinear", 500, 1e-7),
            own("d", "model/encoder", 400, 0.1),
        ]);
        let flags = |column: &str| rows.flags(column).unwrap().iter().map(Option::unwrap).collect::<Vec<_>>();
        assert_eq!(flags("own_function"), [false, false, true, true]);
        assert_eq!(flags("exact"), [true, true, false, false]);
        assert_eq!(rows.texts("strong:id").unwrap().get(3), Some("b"));
        let functions: Vec<_> = rows.texts("function").unwrap().iter().map(Option::unwrap).collect();
        assert_eq!(functions[..3], ["model/decode-recompute", "model/decode-recompute", "ffn/bilinear"]);
    }

    #[test]
    fn a_time_of_other_rounds_and_an_emulated_baseline_are_no_evidence() {
        let mut cells = together(&set());
        cells[1].beside = None;
        let rows = of(&cells);
        let flags: Vec<_> = rows.flags("strong_apart").unwrap().iter().map(Option::unwrap).collect();
        assert_eq!(flags, [false, true, true], "the window's ratio goes over the streaming one's");
        let mut cells = set();
        cells[0].status = "emulated";
        assert_eq!(strong(&cells).doubles("strong_ratio").unwrap().iter().collect::<Vec<_>>(), [None; 3]);
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
