//! A report on ten million rows: within half a minute and three gigabytes, whether the tables are there or are made from the journal.
//!
//! The rows are those of a run's two tables, nearly all of them samples: twenty thousand cells of five hundred samples each. The normal
//! tier makes the same report of a hundredth of them, without looking at the clock; `CROSSOVER_SLOW=1` asks for all.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crossover_core::memory::kibibytes;
use crossover_core::testing::slow_tier;
use crossover_results::RunFolder;
use crossover_results::schema::{Record, Sample};
use support::{manifest, measured};

const SAMPLES: u32 = 500;
const LONGEST: Duration = Duration::from_secs(30);
const MOST_BYTES: u64 = 3_000_000_000;

/// Groups of ten variants, the first of which is the baseline.
fn cell(at: usize) -> Record {
    let (group, place) = (at / 10, at % 10);
    let (id, variant) = (format!("{at:016x}"), if place == 0 { "attention/dense".to_owned() } else { format!("attention/other-{place}") });
    // As long as no call is faster than the machine of the manifest can be.
    let (n, median) = (64 + group as i64, 1_000_000 + 1000 * (place as u64) + group as u64);
    let record = measured(&id, &format!("{group:016x}"), &variant, n, 1, median);
    let samples = (0..SAMPLES).map(|round| Sample { round, calls: 10, ns: 10 * median + u64::from(round % 7), rejected: round % 97 == 0 });
    Record { baseline: place == 0, samples: samples.collect(), ..record }
}

fn run_of(path: &Path, cells: usize) -> RunFolder {
    let folder = RunFolder::create(path).unwrap();
    manifest().write(&folder.manifest_path()).unwrap();
    let lock = folder.lock().unwrap();
    let (mut journal, _) = folder.open_journal(&lock).unwrap();
    for first in (0..cells).step_by(1000) {
        let batch: Vec<Record> = (first..cells.min(first + 1000)).map(cell).collect();
        journal.append_batch(&batch).unwrap();
    }
    folder.finish().unwrap();
    folder
}

/// How long the command takes, and the most memory that it had.
fn report(run: &Path, out: &Path) -> (Duration, u64) {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover-report"));
    let mut report = command.arg("report").arg(run).arg("--out").arg(out).stdout(Stdio::null()).spawn().unwrap();
    let mut high_water = 0;
    let status = loop {
        let text = std::fs::read_to_string(format!("/proc/{}/status", report.id())).unwrap_or_default();
        high_water = kibibytes(&text, "VmHWM").unwrap_or(high_water);
        match report.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    assert!(status.success());
    (began.elapsed(), high_water)
}

#[test]
fn ten_million_rows_are_reported_in_half_a_minute() {
    let slow = slow_tier();
    let cells = if slow { 20_000 } else { 200 };
    let temporary = tempfile::tempdir().unwrap();
    let (path, out) = (temporary.path().join("run"), temporary.path().join("out"));
    let folder = run_of(&path, cells);
    for remade in [false, true] {
        if remade {
            std::fs::remove_file(folder.cells_path()).unwrap();
            std::fs::remove_file(folder.samples_path()).unwrap();
        }
        let (took, high_water) = report(&path, &out);
        let tables = if remade { "made anew from the journal" } else { "as they are" };
        println!("{} rows, tables {tables}: {took:.2?}, high water {} MB", cells * (SAMPLES as usize + 1), high_water / 1_000_000);
        let csv = std::fs::read_to_string(out.join("cells.csv")).unwrap();
        assert_eq!(csv.lines().count(), cells + 1);
        assert!(high_water > 0 && high_water <= MOST_BYTES, "{high_water}");
        assert!(!slow || took <= LONGEST, "{took:?}");
    }
}
