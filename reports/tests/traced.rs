//! Every figure of a report can be traced: `trace.py`, which shares no code with the report, recomputes fifty random cells and every
//! crossover from the raw samples; and it notices a figure that is not what the samples say.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossover_reports::{Format, write_report};
use crossover_results::schema::Record;
use support::{beside, csv_rows, measured, run_of};

/// Dense takes n squared, streaming half of that and a little, a window 300 n, at six lengths on two engines; samples differ from cell to cell.
fn cells() -> Vec<Record> {
    let mut cells = Vec::new();
    for (group, n) in [("g1", 64i64), ("g2", 128), ("g3", 256), ("g4", 512), ("g5", 1024), ("g6", 2048)] {
        for (engine, slower) in [("naive", 7), ("simd", 1)] {
            let square = n as u64 * n as u64;
            let cell = |variant: &str, median: u64, error_ratio: f64| {
                let mut cell = measured(&format!("{group}-{engine}-{variant}"), group, variant, n, 1, median * slower + n as u64 % 13);
                cell.engine = engine.to_owned();
                cell.accuracy.as_mut().unwrap().error_ratio = Some(error_ratio);
                cell
            };
            let dense = Record { baseline: true, ..cell("attention/dense", 10 * square, 1.0) };
            let beside = beside(&dense);
            let mut of =
                |variant: &str, median: u64, error: f64| cells.push(Record { beside: beside.clone(), ..cell(variant, median, error) });
            of("attention/flash", 5 * square + 60_000, 1.2);
            of("attention/window", 3000 * n as u64, 900.0);
            of("attention/linear", 1000 * n as u64 + 900_000, 4000.0);
            of("attention/performer", 12 * square, 4000.0);
            cells.push(dense);
        }
    }
    cells
}

/// A run and the tables of its report.
struct Reported {
    folder: tempfile::TempDir,
    entry: PathBuf,
}

impl Reported {
    fn of(cells: &[Record]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (run, out) = (folder.path().join("run"), folder.path().join("out"));
        run_of(&run, cells);
        let entry = write_report(&[run], &out, &[Format::Csv], None).unwrap().entry;
        Self { folder, entry }
    }

    fn table(&self, file: &str) -> PathBuf {
        self.folder.path().join("out").join(file)
    }

    /// The line of a variant on an engine.
    fn crossover(&self, variant: &str, engine: &str) -> BTreeMap<String, String> {
        let rows = csv_rows(&fs::read_to_string(self.table("crossovers.csv")).unwrap());
        rows.into_iter().find(|row| row["variant"] == variant && row["engine"] == engine).unwrap()
    }

    fn trace(&self) -> (Option<i32>, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("trace.py");
        let folders = ["run", "out"].map(|name| self.folder.path().join(name));
        let output = Command::new("python3").arg(script).args(folders).output().expect("python3, which `.ci/run` needs too");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// What is said of the report with other values in some columns of a table; fields without a value stay so.
    fn trace_with(&self, file: &str, columns: &[&str], other: impl Fn(&str) -> String) -> (Option<i32>, String) {
        let path = self.table(file);
        let whole = fs::read_to_string(&path).unwrap();
        let mut rows = csv_rows(&whole);
        for row in &mut rows {
            for column in columns {
                let field = row.get_mut(*column).unwrap();
                if !field.is_empty() {
                    *field = other(field);
                }
            }
        }
        fs::write(&path, written(&rows)).unwrap();
        let said = self.trace();
        fs::write(&path, whole).unwrap();
        said
    }
}

fn written(rows: &[BTreeMap<String, String>]) -> String {
    let line = |fields: Vec<&String>| {
        let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
        quoted.join(",") + "\r\n"
    };
    line(rows[0].keys().collect()) + &rows.iter().map(|row| line(row.values().collect())).collect::<String>()
}

#[test]
fn fifty_cells_and_every_crossover_are_recomputed_from_the_samples() {
    let report = Reported::of(&cells());
    // Of tables alone, the cells are the file to begin with.
    assert_eq!(report.entry, report.table("cells.csv"));
    let (code, said) = report.trace();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("50 of 60 timed cells") && said.contains("8 of 8 crossovers"), "{said}");
    // The window is held against streaming attention where that is faster, and so meets it where 3000 n = 5 n^2 + 60000.
    let window = report.crossover("attention/window", "simd");
    assert!(window["verdict"] == "from" && window["against"].contains("attention/flash"), "{window:?}");
}

#[test]
fn a_figure_that_is_not_of_the_samples_is_noticed() {
    let report = Reported::of(&cells());
    let larger = |field: &str| format!("1{field}");
    let figures = [("crossovers.csv", "ratio"), ("crossovers.csv", "at"), ("crossovers.csv", "points"), ("cells.csv", "median_ns")];
    for (file, column) in figures {
        let (code, said) = report.trace_with(file, &[column], larger);
        assert!(code == Some(1) && said.contains(file), "{column}: {code:?} {said}");
    }
    let (code, said) = report.trace_with("crossovers.csv", &["verdict"], |verdict| match verdict {
        "from" => "everywhere".to_owned(),
        _ => "from".to_owned(),
    });
    assert!(code == Some(1) && said.contains("verdict everywhere, the samples say from"), "{code:?} {said}");
    // In another gap between two sizes, and in its own interval all the same.
    let crossing = ["crossing", "crossing_low", "crossing_high"];
    let (code, said) = report.trace_with("crossovers.csv", &crossing, |_| "1500.0".to_owned());
    assert!(code == Some(1) && said.contains("the crossing 1500.0 is not between 64.0 and 128.0"), "{code:?} {said}");
}

#[test]
fn a_trace_of_nothing_is_a_failure() {
    let report = Reported::of(&cells());
    let (code, said) = report.trace_with("crossovers.csv", &["id"], |_| "gone".to_owned());
    assert!(code == Some(1) && said.contains("0 of 8 crossovers") && said.contains("nothing was traced"), "{code:?} {said}");
    let whole = fs::read_to_string(report.table("cells.csv")).unwrap();
    fs::write(report.table("cells.csv"), format!("{}\r\n", whole.lines().next().unwrap())).unwrap();
    let (code, said) = report.trace();
    assert!(code == Some(1) && said.contains("0 of 0 timed cells") && said.contains("nothing was traced"), "{code:?} {said}");
}

#[test]
fn what_samples_cannot_tell_is_counted_and_ratios_of_other_rounds_decide_nothing() {
    let mut cells = cells();
    for cell in &mut cells {
        match (cell.variant.as_str(), cell.engine.as_str()) {
            // As where the baseline was measured with other cells of the group once more.
            ("attention/window", "naive") => cell.beside.as_mut().unwrap().samples = 7,
            ("attention/linear", "simd") => cell.beside = None,
            _ => {}
        }
    }
    let report = Reported::of(&cells);
    let (code, said) = report.trace();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("7 of 8 crossovers") && said.contains("1 not: "), "{said}");
    assert_eq!(report.crossover("attention/linear", "simd")["verdict"], "undecided");
    assert_eq!(report.crossover("attention/linear", "naive")["verdict"], "from");
}

#[test]
fn without_a_plain_operation_the_error_of_the_baseline_stands_in() {
    let mut cells = Vec::new();
    for (group, n) in [("h1", 64i64), ("h2", 256), ("h3", 1024)] {
        let cell = |variant: &str, per_row: u64, error: f64| {
            let mut cell = measured(&format!("{group}-{variant}"), group, variant, n, 1, per_row * n as u64);
            cell.family = "softmax".into();
            let accuracy = cell.accuracy.as_mut().unwrap();
            (accuracy.error_ratio, accuracy.err_method_rel) = (None, Some(error));
            cell
        };
        let whole = Record { baseline: true, ..cell("softmax/cross-entropy", 1000, 1e-7) };
        for (variant, per_row) in [("softmax/cross-entropy-tiled", 500), ("softmax/adaptive", 700)] {
            cells.push(Record { beside: beside(&whole), ..cell(variant, per_row, 1.5e-7) });
        }
        cells.push(whole);
    }
    let report = Reported::of(&cells);
    let (code, said) = report.trace();
    assert!(code == Some(0) && said.contains("2 of 2 crossovers"), "{code:?} {said}");
    let lines = ["softmax/cross-entropy-tiled", "softmax/adaptive"].map(|variant| report.crossover(variant, "naive"));
    let told = lines.each_ref().map(|line| ["exact", "verdict", "against"].map(|column| line[column].as_str()));
    assert_eq!(told, [["true", "everywhere", "softmax/cross-entropy"], ["false", "never", "softmax/cross-entropy-tiled"]]);
    let (code, said) = report.trace_with("crossovers.csv", &["exact"], |_| "true".to_owned());
    assert!(code == Some(1) && said.contains("exact is true"), "{code:?} {said}");
}
