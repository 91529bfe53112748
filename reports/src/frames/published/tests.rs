//! By hand-made cells; also where the section's test takes its frames from.

use super::*;
use crate::examples::{Cell, frame};
use crate::frames::baseline::with_baseline;
use crate::frames::memory::memory;
use crate::frames::order::{axis_roles, sorted};
use crate::frames::speed::speed;

/// Figures beside the papers', for cells of the experiment of this name.
pub(crate) fn found(experiment: &str, cells: &[Cell], floor: Option<f64>) -> Published {
    let cells = frame(cells).lazy().with_column(lit(experiment).alias("experiment"));
    let roles = axis_roles(&cells).unwrap();
    let rows = sorted(speed(memory(with_baseline(cells).unwrap())), &roles).collect().unwrap();
    published(&rows, &roles, &[floor.unwrap_or(0.0)]).unwrap()
}

/// Cells of Linformer's table 3: dense takes n squared, the projection what is given for each length, at k = 128.
pub(crate) fn linformer(times: &[(i64, i64)]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (n, median) in times {
        let group: &'static str = format!("{n}").leak();
        let cell = Cell { group, n: *n, ..Cell::default() };
        let dense: &'static str = format!("{n}-dense").leak();
        cells.push(Cell { id: dense, baseline: true, median: Some(n * n), scratch: Some(n * n), ..cell.clone() });
        let id = format!("{n}-128").leak();
        cells.push(Cell {
            id,
            variant: "attention/linformer",
            rank: Some(128),
            median: Some(*median),
            scratch: Some(n * 128),
            beside: Some((dense, n * n)),
            ..cell
        });
    }
    cells
}

fn lines(table: &DataFrame, columns: &[&str]) -> Vec<String> {
    let shown = |row: usize| {
        columns.iter().map(|column| table.shown(column, row).unwrap().unwrap_or_else(|| "-".into())).collect::<Vec<_>>().join(" | ")
    };
    (0..table.height()).map(shown).collect()
}

#[test]
fn ratios_are_judged_by_side_and_size() {
    // The paper's speed-ups at k = 128 are 1.5, 1.7, 2.6, 3.4: ratios 0.667, 0.588, 0.385, 0.294. Medians here are 10 % wide to either side.
    let times = |share: [f64; 4]| {
        [512i64, 1024, 2048, 4096].into_iter().zip(share).map(|(n, share)| (n, ((n * n) as f64 * share) as i64)).collect::<Vec<_>>()
    };
    for backwards in [false, true] {
        let mut cells = linformer(&times([0.7, 0.4, 0.1, 2.0]));
        if backwards {
            cells.reverse();
        }
        let found = found("published-linformer-table3", &cells, None);
        let times = found.comparisons.clone().lazy().filter(col("measure").eq(lit("time"))).collect().unwrap();
        let expected = [
            "512 | agrees | within the interval of ours",
            "1024 | agrees | faster in both, the paper's is 1.47 times ours",
            "2048 | differs | faster in both, the paper's is 3.85 times ours",
            "4096 | differs | faster there, slower here",
        ];
        assert_eq!(lines(&times, &["n", "verdict", "reason"]), expected);
        let theirs = times.doubles("theirs").unwrap().get(0).unwrap();
        assert!((theirs - 1.0 / 1.5).abs() < 1e-12);
        assert!((times.doubles("ours").unwrap().get(0).unwrap() - 0.7).abs() < 1e-4);
        assert!(times.texts("known_differences").unwrap().get(0).unwrap().starts_with("a gpu there, a processor here; whole layers"));
    }
}

#[test]
fn a_lead_within_the_noise_is_no_lead() {
    let found = found("published-linformer-table3", &linformer(&[(512, 512 * 512 * 9 / 10)]), Some(0.2));
    assert_eq!(lines(&found.comparisons, &["measure", "verdict", "reason"])[1], "time | unclear | faster there, no difference shown here");
}

#[test]
fn memory_is_declared_bytes_over_those_of_dense() {
    let found = found("published-linformer-table3", &linformer(&[(4096, 1)]), None);
    let memory = found.comparisons.clone().lazy().filter(col("measure").eq(lit("memory"))).collect().unwrap();
    // 300 bytes of weights and activations besides the scratch, on both sides.
    let expected = (4096.0 * 128.0 + 300.0) / (4096.0 * 4096.0 + 300.0);
    assert!((memory.doubles("ours").unwrap().get(0).unwrap() - expected).abs() < 1e-12);
    assert_eq!(lines(&memory, &["verdict", "reason"]), ["differs | smaller in both, the paper's is 2.28 times ours"]);
}

#[test]
fn orders_and_crossings_are_over_what_both_have() {
    // Here it is slower than dense at first, and overtakes it between 1024 and 2048.
    let times: Vec<(i64, i64)> =
        [(512, 20), (1024, 14), (2048, 6), (4096, 4), (8192, 2)].map(|(n, tenths)| (n, n * n * tenths / 10)).into();
    let found = found("published-linformer-table3", &linformer(&times), None);
    let expected = "5 | everywhere | from | differs | another course over the same lengths";
    assert_eq!(found.crossings.height(), 1);
    assert_eq!(lines(&found.crossings, &["points", "theirs", "ours", "verdict", "reason"]), [expected]);
    let crossing = found.crossings.doubles("our_crossing").unwrap().get(0).unwrap();
    assert!(crossing > 1024.0 && crossing < 2048.0, "{crossing}");
    // Five falling ratios of one method are no order of methods.
    let orders = found.ranks.clone().lazy().filter(col("n").is_null()).collect().unwrap();
    let expected = ["memory | 5 | - | unclear", "time | 5 | - | unclear"];
    assert_eq!(lines(&orders, &["measure", "figures", "tau", "verdict"]), expected);
}

#[test]
fn an_order_is_of_methods_at_the_same_length() {
    // At each length the paper's smaller k is faster, and so is ours.
    let lengths = [512, 1024, 2048, 4096, 8192, 16_384];
    let mut cells = linformer(&lengths.map(|n| (n, n * 30)));
    for (n, k, share) in lengths.iter().flat_map(|n| [(*n, 32, 10), (*n, 256, 60)]) {
        let like = cells.iter().find(|cell| cell.n == n && !cell.baseline).unwrap().clone();
        cells.push(Cell { id: format!("{n}-{k}").leak(), rank: Some(k), median: Some(n * share), ..like });
    }
    let found = found("published-linformer-table3", &cells, None);
    let orders = found.ranks.clone().lazy().filter(col("measure").eq(lit("time")).and(col("n").is_null())).collect().unwrap();
    let figures: usize = lines(&orders, &["figures"])[0].parse().unwrap();
    assert!(figures >= 12, "{figures}");
    assert_eq!(lines(&orders, &["tau", "verdict", "reason"]), ["1.0 | agrees | the same order beyond chance"]);
    let single = found.ranks.clone().lazy().filter(col("measure").eq(lit("time")).and(col("n").eq(lit(512)))).collect().unwrap();
    assert_eq!(lines(&single, &["verdict"]), ["unclear"], "of two methods at one length chance cannot be ruled out");
}

#[test]
fn few_figures_are_no_order() {
    let found = found("published-linformer-table3", &linformer(&[(512, 1), (1024, 2), (2048, 3)]), None);
    let orders = found.ranks.clone().lazy().filter(col("n").is_null().and(col("measure").eq(lit("time")))).collect().unwrap();
    assert_eq!(lines(&orders, &["verdict", "reason"]), ["unclear | no two methods at the same length"]);
}

#[test]
fn failures_and_lost_baselines_are_rows_with_a_reason() {
    let mut cells = linformer(&[(512, 100), (1024, 100)]);
    (cells[1].status, cells[1].median) = ("oom", None);
    (cells[2].status, cells[2].median) = ("timeout", None);
    let found = found("published-linformer-table3", &cells, None);
    let times = found.comparisons.clone().lazy().filter(col("measure").eq(lit("time"))).collect().unwrap();
    assert_eq!(lines(&times, &["n", "verdict", "reason"]), ["512 | none | here: oom", "1024 | none | no dense cell here that ended well"]);
}

#[test]
fn without_an_interval_nothing_is_claimed() {
    let cells = frame(&linformer(&[(512, 100)]))
        .lazy()
        .with_columns([lit("published-linformer-table3").alias("experiment"), lit(NULL).cast(DataType::Int64).alias("ci_low_ns")]);
    let roles = axis_roles(&cells).unwrap();
    let rows = sorted(speed(memory(with_baseline(cells).unwrap())), &roles).collect().unwrap();
    let found = published(&rows, &roles, &[0.0]).unwrap().comparisons;
    assert_eq!(lines(&found, &["measure", "verdict", "reason"])[1], "time | unclear | too few samples here for an interval");
}

#[test]
fn other_experiments_are_beside_no_paper() {
    for name in ["quick", "published-by-nobody", "linformer-table3"] {
        assert_eq!(found(name, &linformer(&[(512, 100)]), None).comparisons.height(), 0, "{name}");
    }
}
