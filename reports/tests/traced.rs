//! Every figure of a report can be traced: `trace.py`, which shares no code with the report, recomputes fifty random cells and every
//! crossover from the raw samples; and it notices a figure that is not what the samples say.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use crossover_reports::{Format, write_report};
use crossover_results::schema::Record;
use support::{beside, measured, run_of};

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

fn trace(run: &Path, out: &Path) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("trace.py");
    let output = Command::new("python3").arg(script).arg(run).arg(out).output().expect("python3, which `.ci/run` needs too");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn fifty_cells_and_every_crossover_are_recomputed_from_the_samples() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &cells());
    write_report(std::slice::from_ref(&run), &out, &[Format::Csv], None).unwrap();
    let (code, said) = trace(&run, &out);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("50 of 60 timed cells") && said.contains("8 of 8 crossovers"), "{said}");
    // The window is held against streaming attention where that is faster, and so meets it where 3000 n = 5 n^2 + 60000.
    let crossovers = fs::read_to_string(out.join("crossovers.csv")).unwrap();
    let window = crossovers.lines().find(|line| line.contains("attention/window") && line.contains("simd")).unwrap();
    assert!(window.contains("from") && window.contains("attention/flash"), "{window}");

    for (file, column) in [("crossovers.csv", "ratio"), ("cells.csv", "median_ns")] {
        let path = out.join(file);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, with_another_figure(&whole, column)).unwrap();
        let (code, said) = trace(&run, &out);
        assert!(code == Some(1) && said.contains("the samples say"), "{file}: {code:?} {said}");
        fs::write(&path, whole).unwrap();
    }
}

/// The table with a one before the first digit of every figure in a column; fields before it have no commas of their own.
fn with_another_figure(table: &str, column: &str) -> String {
    let mut lines = table.lines();
    let heading = lines.next().unwrap();
    let place = heading.split(',').position(|name| name == column).unwrap();
    let changed = lines.map(|line| {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        fields[place].insert(0, '1');
        fields.join(",")
    });
    std::iter::once(heading.to_owned()).chain(changed).collect::<Vec<_>>().join("\r\n") + "\r\n"
}
