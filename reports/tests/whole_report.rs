//! A run made with the store, reported by the command, and recomputed from the journal's raw samples by another path.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crossover_core::axes::AxisValue;
use crossover_reports::{Format, run_command, write_report};
use crossover_results::schema::{Beside, Record};
use crossover_results::{Manifest, RunFolder, read_records};
use support::{Table, beside, csv_rows, failed, manifest, measured, part, run_of, tables, twenty_cells};

/// Median time of one call, from the samples alone.
fn median_ns(record: &Record) -> Option<f64> {
    let mut calls: Vec<f64> =
        record.samples.iter().filter(|sample| !sample.rejected).map(|sample| sample.ns as f64 / f64::from(sample.calls)).collect();
    calls.sort_by(f64::total_cmp);
    calls.get(calls.len() / 2).copied()
}

/// A time as the tables write it, back in nanoseconds.
fn nanoseconds(text: &str) -> f64 {
    let mut words = text.split(' ');
    let figure: f64 = words.next().unwrap().parse().unwrap();
    let unit = match words.next().unwrap() {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        other => panic!("unit {other}"),
    };
    figure * unit
}

fn close(shown: f64, exact: f64) {
    assert!((shown / exact - 1.0).abs() < 0.006, "shown {shown}, recomputed {exact}");
}

#[test]
fn every_figure_agrees_with_the_raw_samples() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    let outcome = write_report(std::slice::from_ref(&run), &out, &[Format::Markdown, Format::Csv], None).unwrap();
    assert_eq!((outcome.cells, outcome.finding, outcome.entry), (20, false, out.join("summary.md")));

    let records: Vec<Record> = read_records(&RunFolder::open(&run).unwrap().journal_path()).unwrap().collect::<Result<_, _>>().unwrap();
    let baselines: BTreeMap<(&str, &str), &Record> =
        records.iter().filter(|record| record.baseline).map(|record| ((record.group.as_str(), record.engine.as_str()), record)).collect();
    let tables = tables(&part(&out, "Speed"));
    assert_eq!(tables.iter().map(|table| table.rows.len()).sum::<usize>(), records.len());
    for record in &records {
        let row = row_of(&tables, record);
        match median_ns(record) {
            None => assert_eq!(row["median"], format!("**{}**", record.status.name())),
            Some(median) => {
                close(nanoseconds(row["median"].trim_end_matches(" (emulated)")), median);
                let base = median_ns(baselines[&(record.group.as_str(), record.engine.as_str())]);
                match (record.baseline, base) {
                    (true, _) => assert_eq!(row["ratio"], "baseline"),
                    (false, None) => assert_eq!(row["ratio"], "–"),
                    (false, Some(base)) => close(row["ratio"].split(' ').next().unwrap().parse().unwrap(), median / base),
                }
                let speed = record.speed.as_ref().unwrap();
                close(row["GFLOP/s"].parse().unwrap(), speed.flops.unwrap() as f64 / median);
                close(row["GB/s"].parse().unwrap(), speed.bytes.unwrap() as f64 / median);
            }
        }
    }

    let rows = csv_rows(&fs::read_to_string(out.join("cells.csv")).unwrap());
    assert_eq!(rows.len(), records.len());
    for record in &records {
        let row = rows.iter().find(|row| row["id"] == record.id).unwrap();
        let median = median_ns(record).map_or_else(String::new, |median| format!("{}", median as u64));
        assert_eq!((row["median_ns"].as_str(), row["n"].as_str()), (median.as_str(), record.axes["n"].to_string().as_str()));
        assert_eq!(row["cosine"], record.accuracy.as_ref().and_then(|a| a.cosine).map_or_else(String::new, |c| format!("{c:?}")));
    }
}

/// The machine became half as fast after the first part of the group: who is held against the time of another loses or wins by that alone.
#[test]
fn ratios_are_to_the_baseline_of_the_same_rounds_and_others_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    let cell = |id: &str, median| measured(id, "g", &format!("attention/{id}"), 128, 1, median);
    let dense = Record { baseline: true, ..cell("dense", 100_000) };
    let later = Beside { median_ns: 200_000, ci_low_ns: Some(190_000), ci_high_ns: Some(210_000), samples: 9, ..beside(&dense).unwrap() };
    let flash = Record { beside: Some(later), ..cell("flash", 150_000) };
    let older = Record { schema: 3, ..cell("window", 120_000) };
    run_of(&run, &[dense, flash.clone(), older]);
    write_report(&[run], &out, &[Format::Markdown, Format::Csv], None).unwrap();
    let speed = part(&out, "Speed");
    let [summary, csv] = ["summary.md", "cells.csv"].map(|file| fs::read_to_string(out.join(file)).unwrap());
    let shown: Vec<(String, String)> = tables(&speed)[0].rows.iter().map(|row| (row["variant"].clone(), row["ratio"].clone())).collect();
    let (low, high) = (flash.speed.as_ref().unwrap().ci_low_ns.unwrap(), flash.speed.as_ref().unwrap().ci_high_ns.unwrap());
    let interval = format!("0.750 [{:.3}, {:.3}]", low as f64 / 210_000.0, high as f64 / 190_000.0);
    let expected = [("attention/dense", "baseline"), ("attention/flash", interval.as_str()), ("attention/window", "1.20 [1.18, 1.22] †")];
    assert_eq!(shown, expected.map(|(variant, ratio)| (variant.to_owned(), ratio.to_owned())));
    assert!(speed.contains("\n†: the ratio is to the baseline's own record"), "{speed}");
    assert!(summary.contains("* Marked †: 1 of 2 ratios of times."), "{summary}");
    let best = &tables(&summary).into_iter().find(|table| table.heading == "attention").unwrap().rows[0];
    let of_best = ["fastest", "ratio [95 % CI]", "its median", "samples", "verdict"].map(|column| best[column].as_str());
    assert_eq!(of_best, ["attention/flash on naive", interval.as_str(), "200 µs", "11 / 9", "faster"]);
    let rows = csv_rows(&csv);
    let fields = |id: &str| {
        ["beside_id", "beside_median_ns", "beside_samples"].map(|column| rows.iter().find(|row| row["id"] == id).unwrap()[column].clone())
    };
    assert_eq!((fields("flash"), fields("window")), (["dense", "200000", "9"].map(str::to_owned), [(); 3].map(|()| String::new())));
}

#[test]
fn nothing_is_marked_where_every_ratio_is_of_one_time() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    let dense = Record { baseline: true, ..measured("a", "g", "attention/dense", 128, 1, 1000) };
    let flash = Record { beside: beside(&dense), ..measured("b", "g", "attention/flash", 128, 1, 500) };
    // A cell without a time has no ratio that could be marked.
    run_of(&run, &[dense, flash, failed("c", "g", "attention/window", 128, 1, "oom", "too large")]);
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    for file in ["attention.md", "summary.md"] {
        assert!(!fs::read_to_string(out.join(file)).unwrap().contains('†'), "{file}");
    }
}

/// Writes a run under a manifest that differs from the usual one.
fn run_with(path: &Path, change: impl Fn(&mut Manifest)) {
    run_of(path, &[measured("a", "g", "attention/flash", 128, 1, 1000)]);
    let mut own = manifest();
    change(&mut own);
    own.write(&path.join("manifest.json")).unwrap();
}

#[test]
fn what_shards_leave_out_is_added_up_and_a_repeated_plan_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let excluding = |name: &str, experiment: &str, plan: &str, cells: [(&str, u64); 2]| {
        let path = folder.path().join(name);
        run_with(&path, |manifest| {
            (manifest.experiment, manifest.plan_hash) = (experiment.to_owned(), plan.to_owned());
            manifest.excluded = cells.into_iter().map(|(because, cells)| (because.to_owned(), cells)).collect();
        });
        path
    };
    let left_out = |runs: &[PathBuf]| {
        let out = folder.path().join("out");
        write_report(runs, &out, &[Format::Markdown], None).unwrap();
        let summary = fs::read_to_string(out.join("summary.md")).unwrap();
        let (_, section) = summary.split_once("## Left out by the experiment\n\n").unwrap();
        section.split("\n\n").next().unwrap().trim().to_owned()
    };
    let shards = [excluding("1", "quick", "p1", [("slow", 3), ("big", 1)]), excluding("2", "quick", "p2", [("slow", 3), ("wide", 2)])];
    assert_eq!(left_out(&shards), "* 1 cell: big\n* 6 cells: slow\n* 2 cells: wide");
    let again = excluding("3", "quick", "p2", [("slow", 3), ("wide", 2)]);
    assert_eq!(left_out(&[shards.as_slice(), &[again]].concat()), "* 1 cell: big\n* 6 cells: slow\n* 2 cells: wide");
    let other = excluding("4", "full", "p4", [("slow", 5), ("wide", 1)]);
    let expected = "* full, 5 cells: slow\n* full, 1 cell: wide\n* quick, 1 cell: big\n* quick, 6 cells: slow\n* quick, 2 cells: wide";
    assert_eq!(left_out(&[shards.as_slice(), &[other]].concat()), expected);
}

#[test]
fn a_resumed_run_says_how_often_and_the_noise_floor_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let summary = |moments: &[u64]| {
        let (run, out) = (folder.path().join(moments.len().to_string()), folder.path().join("out"));
        run_with(&run, |manifest| manifest.resumed_unix_ms = moments.to_vec());
        write_report(&[run], &out, &[Format::Markdown], None).unwrap();
        fs::read_to_string(out.join("summary.md")).unwrap()
    };
    assert!(summary(&[]).contains("started 2023-11-14 22:13 UTC: 1 of 24"));
    let text = summary(&[1_700_000_600_000, 1_700_003_600_000]);
    assert!(text.contains("started 2023-11-14 22:13 UTC, resumed 2 times, last 2023-11-14 23:13 UTC: 1 of 24"), "{text}");
    assert!(text.contains("differed from itself by 1.30 % at most (20 pairs). A ratio nearer to 1 than that is noise"), "{text}");
}

/// The one row of the speed tables that a record became.
fn row_of<'a>(tables: &'a [Table], record: &Record) -> &'a BTreeMap<String, String> {
    let threads = format!("{} thread", record.axes["threads"]);
    let mut found = tables
        .iter()
        .filter(|table| table.heading.starts_with(&threads))
        .flat_map(|table| &table.rows)
        .filter(|row| row["variant"] == record.variant && row["engine"] == record.engine && row["n"] == record.axes["n"].to_string());
    let row = found.next().unwrap_or_else(|| panic!("no row for {record:?}"));
    assert!(found.next().is_none());
    row
}

#[test]
fn the_order_of_the_journal_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let mut reports = Vec::new();
    for turn in ["a", "b"] {
        let mut cells = twenty_cells();
        if turn == "b" {
            cells.reverse();
        }
        let (run, out) = (folder.path().join(turn).join("run"), folder.path().join(turn).join("out"));
        run_of(&run, &cells);
        write_report(&[run], &out, &[Format::Markdown, Format::Csv], None).unwrap();
        reports.push(["summary.md", "attention.md", "cells.csv", "crossovers.csv"].map(|file| fs::read_to_string(out.join(file)).unwrap()));
    }
    assert_eq!(reports[0], reports[1]);
}

#[test]
fn hostile_names_stay_text_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    let names = ["<script>alert(1)</script>", "a|b`c`", "=cmd()|'x'!A1", "two\nlines\r\n# heading", "\u{202e}gnp.exe", &"x".repeat(300)];
    let mut cells = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut cell = measured(&format!("id{index}"), "g", name, 128, 1, 1000);
        cell.engine = (*name).to_owned();
        cell.axes.insert((*name).to_owned(), AxisValue::from(*name));
        cells.push(cell);
        cells.push(failed(&format!("failed{index}"), "g", name, 128, 1, "crashed", name));
    }
    run_of(&run, &cells);
    write_report(&[run], &out, &[Format::Markdown, Format::Csv], None).unwrap();
    for file in ["summary.md", "attention.md"] {
        let text = fs::read_to_string(out.join(file)).unwrap();
        assert!(!text.contains("<script") && !text.contains('\u{202e}') && !text.contains(&"x".repeat(201)), "{file}");
        assert!(!text.lines().any(|line| line.starts_with("# heading") || line.starts_with("lines")), "{file}");
        // Every row of a table has as many cells as its heading.
        for table in tables(&text) {
            assert!(table.rows.iter().all(|row| row.len() == table.columns), "{file}: {}", table.heading);
        }
    }
    let csv = fs::read_to_string(out.join("cells.csv")).unwrap();
    let rows = csv_rows(&csv);
    assert_eq!(rows.len(), cells.len());
    assert!(rows.iter().any(|row| row["engine"] == "'=cmd()|'x'!A1") && rows.iter().any(|row| row["engine"] == "x".repeat(300)));
    assert!(!csv.contains('\u{202e}') && rows.iter().any(|row| row["engine"] == "two\nlines\r\n# heading"));
}

#[test]
fn nothing_one_cell_and_all_failed_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str, cells: &[Record]| {
        let (run, out) = (folder.path().join(name), folder.path().join(format!("{name}-out")));
        run_of(&run, cells);
        write_report(&[run], &out, &[Format::Markdown, Format::Csv], None).unwrap();
        (fs::read_to_string(out.join("summary.md")).unwrap(), fs::read_dir(&out).unwrap().count(), part(&out, "Speed"))
    };
    let (summary, files, _) = report("empty", &[]);
    assert!(summary.contains("There are no cells") && files == 8, "{summary}");
    let (summary, ..) = report("one", &[measured("a", "g", "attention/flash", 128, 1, 1000)]);
    assert!(summary.contains("no baseline in this group"), "{summary}");
    let (summary, _, speed) = report("failed", &[failed("a", "g", "attention/flash", 128, 1, "oom", "needs 9 GiB")]);
    assert!(summary.contains("**No cell is ok.**") && summary.contains("needs 9 GiB") && speed.contains("**oom**"), "{summary}");
}

#[test]
fn a_figure_above_the_ceiling_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    // 4,000,000 operations in 1 µs are 4 TFLOP/s, on a machine that can do 0.1.
    let mut fast = measured("a", "g", "attention/flash", 128, 1, 1000);
    fast.speed.as_mut().unwrap().flops = Some(4_000_000);
    run_of(&run, &[fast]);
    let arguments =
        ["crossover-report".as_ref(), "report".as_ref(), run.as_os_str(), "--out".as_ref(), out.as_os_str()].map(|word| word.to_owned());
    assert_eq!(format!("{:?}", run_command(arguments)), format!("{:?}", ExitCode::from(1)));
    let summary = fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(summary.contains("**Warning: 1 figure above 100 % of the machine's ceiling.**"), "{summary}");
    assert!(part(&out, "Speed").contains("**4000 % (impossible)**"));
}
