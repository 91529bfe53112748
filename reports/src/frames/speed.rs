//! How fast: the ratio to the baseline with its interval, rates, and the share of the machine's ceiling.

use crossover_core::device::is_on_device;
use polars::prelude::*;

use super::baseline::{against, is_own_baseline};
use super::quotient;
use crate::ceilings::{Ceilings, Products};
use crate::columns::{PRECISION, RUN, Typed};

/// Adds to cells with baselines: `own_baseline`, `ratio`, `ratio_low`, `ratio_high`, `gflops` (GFLOP/s), `gbytes` (GB/s).
///
/// Ratios are to the columns `against:..`. The interval divides the ends of both medians' intervals crosswise. A baseline has the ratio 1 to
/// itself and no interval.
pub(crate) fn speed(cells: LazyFrame) -> LazyFrame {
    let other = |expression: Expr| when(is_own_baseline()).then(lit(NULL).cast(DataType::Float64)).otherwise(expression);
    cells.with_columns([
        is_own_baseline().alias("own_baseline"),
        quotient("median_ns", &against("median_ns")).alias("ratio"),
        other(quotient("ci_low_ns", &against("ci_high_ns"))).alias("ratio_low"),
        other(quotient("ci_high_ns", &against("ci_low_ns"))).alias("ratio_high"),
        quotient("flops", "median_ns").alias("gflops"),
        quotient("bytes", "median_ns").alias("gbytes"),
    ])
}

/// Adds `share`: of the ceiling of the run's machine, 1 being all of it; null where there is none to compare with, as on a device: what is
/// measured is the processor.
///
/// Arithmetic counts against the peak of the products that the precision allows (see [`Products`]).
pub(crate) fn with_share(mut cells: DataFrame, ceilings: &[Option<&Ceilings>]) -> PolarsResult<DataFrame> {
    let (runs, medians) = (cells.ints(RUN)?, cells.ints("median_ns")?);
    let (flops, bytes, threads) = (cells.ints("flops")?, cells.ints("bytes")?, cells.ints("threads_used")?);
    let engines = cells.texts("engine")?;
    let precisions = cells.column(PRECISION).ok().map(|column| column.str()).transpose()?;
    let share = |row: usize| -> Option<f64> {
        if engines.get(row).is_some_and(is_on_device) {
            return None;
        }
        let ceilings = (*ceilings.get(usize::try_from(runs.get(row)?).ok()?)?)?;
        let count = |column: &Int64Chunked| u64::try_from(column.get(row)?).ok();
        let products = precisions.and_then(|column| column.get(row)).map_or(Products::Single, products);
        let (least, _) = ceilings.least_ns(count(flops)?, count(bytes)?, count(threads)?, products)?;
        let median = count(medians)?;
        (median > 0).then(|| least / median as f64)
    };
    let shares: Float64Chunked = (0..cells.height()).map(share).collect();
    cells.with_column(shares.with_name("share".into()).into_column())?;
    Ok(cells)
}

/// A precision that is not understood, as one of a later version, is taken as single.
pub(crate) fn products(precision: &str) -> Products {
    precision.parse().map_or(Products::Single, Products::of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, ceilings_json, frame};
    use crate::frames::baseline::with_baseline;

    fn rows(cells: &[Cell]) -> DataFrame {
        speed(with_baseline(frame(cells).lazy()).unwrap()).sort(["id"], SortMultipleOptions::default()).collect().unwrap()
    }

    fn baseline(median: i64) -> Cell {
        Cell { id: "a", baseline: true, median: Some(median), ..Cell::default() }
    }

    #[test]
    fn ratios_are_cell_over_baseline_with_a_crosswise_interval() {
        // The example's interval is 10 % to either side of the median.
        let rows = rows(&[baseline(2000), Cell { id: "b", median: Some(1000), ..Cell::default() }]);
        let value = |name, row| rows.doubles(name).unwrap().get(row);
        assert_eq!((value("ratio", 0), value("ratio_low", 0)), (Some(1.0), None));
        assert_eq!(value("ratio", 1), Some(0.5));
        assert_eq!(value("ratio_low", 1), Some(900.0 / 2200.0));
        assert_eq!(value("ratio_high", 1), Some(1100.0 / 1800.0));
        // 4000 operations and 800 bytes in 1000 ns.
        assert_eq!((value("gflops", 1), value("gbytes", 1)), (Some(4.0), Some(0.8)));
    }

    #[test]
    fn what_was_beside_a_cell_counts_and_not_the_baselines_record_of_another_time() {
        let cells = [baseline(2000), Cell { id: "b", median: Some(1000), beside: Some(("a", 4000)), ..Cell::default() }];
        let rows = rows(&cells);
        let value = |name, row| rows.doubles(name).unwrap().get(row);
        assert_eq!((value("ratio", 0), value("ratio_low", 0)), (Some(1.0), None));
        assert_eq!(value("ratio", 1), Some(0.25));
        assert_eq!((value("ratio_low", 1), value("ratio_high", 1)), (Some(900.0 / 4400.0), Some(1100.0 / 3600.0)));
    }

    #[test]
    fn no_ratio_without_two_times() {
        let failed = Cell { id: "a", baseline: true, ..Cell::failed("oom", "x") };
        let compared = rows(&[failed, Cell { id: "b", ..Cell::default() }, Cell { id: "c", ..Cell::failed("oom", "x") }]);
        assert_eq!(compared.doubles("ratio").unwrap().null_count(), 3);
        assert_eq!(compared.doubles("gflops").unwrap().null_count(), 2);
        // A clock too coarse for the cell is no reason to divide by zero.
        assert_eq!(rows(&[baseline(0)]).doubles("ratio").unwrap().null_count(), 1);
    }

    #[test]
    fn shares_go_by_the_runs_ceilings_and_the_precision() {
        let ceilings = Ceilings::read(&ceilings_json(), &[]).unwrap();
        let cells = [
            Cell { id: "a", ..baseline(1000) },
            Cell { id: "b", precision: "f64", ..baseline(1000) },
            Cell { id: "c", run: 1, ..baseline(1000) },
            Cell { id: "d", ..Cell::failed("oom", "x") },
            Cell { id: "e", engine: "candle-cuda", ..baseline(1) },
        ];
        let rows = with_share(rows(&cells), &[Some(&ceilings), None]).unwrap();
        let shares: Vec<_> = rows.doubles("share").unwrap().iter().collect();
        // 4000 operations at 100 GFLOP/s are 40 ns, at 50 GFLOP/s 80 ns.
        assert_eq!(shares, [Some(0.04), Some(0.08), None, None, None]);
    }

    #[test]
    fn products_go_by_what_they_see_of_the_activations() {
        let all = ["f64", "f32", "bf16", "int8", "int8/f32/f32", "nonsense"].map(products);
        use Products::{Bf16, Double, Int8, Single};
        assert_eq!(all, [Double, Single, Bf16, Int8, Single, Single]);
    }
}
