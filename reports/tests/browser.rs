//! `index.html` in a real browser: Debian's `chromium`, driven through `chromedriver` by `browser/drive.py`, on reports of synthetic runs.
//!
//! Where the browser or its driver is missing, the test says so and is passed over; with `CROSSOVER_BROWSER=1` it fails instead.
//! `CROSSOVER_SCREENSHOTS=DIR` keeps the pictures, for people to look at.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossover_core::axes::AxisValue;
use crossover_core::testing::slow_tier;
use crossover_reports::{Format, write_report};
use crossover_results::schema::{Record, Sample};
use crossover_results::{Build, Manifest};
use support::{beside, failed, manifest, measured, run_of, twenty_cells};

const FAMILIES: [&str; 3] = ["attention", "ffn", "linear"];
const ENGINES: [&str; 4] = ["naive", "simd", "faer", "candle"];
const RANKS: [i64; 6] = [8, 32, 4, 16, 64, 128];
/// Of a family: the baseline, and others that are cheaper the longer the sequence.
const VARIANTS: usize = 5;

/// One point of the sweep.
#[derive(Clone, Copy)]
struct Place {
    problem: usize,
    engine: usize,
    precision: &'static str,
    variant: usize,
    rank: i64,
}

impl Place {
    fn family(self) -> &'static str {
        FAMILIES[self.problem % 3]
    }

    fn n(self) -> i64 {
        32 << (self.problem / 3 % 8)
    }

    fn threads(self) -> i64 {
        1 + (self.problem / 24 % 2) as i64
    }
}

/// A sweep of so many cells over families, lengths, threads, engines, precisions, variants and ranks.
fn sweep(cells: usize, ranks: &[i64]) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    for problem in 0.. {
        for engine in 0..ENGINES.len() {
            for precision in ["f32", "bf16"] {
                let baseline = all.len();
                for variant in 0..VARIANTS {
                    for rank in if variant == 0 { &[0] } else { ranks } {
                        let cell = one(all.len(), Place { problem, engine, precision, variant, rank: *rank });
                        let beside = all.get(baseline).and_then(beside);
                        all.push(Record { beside, ..cell });
                        if all.len() == cells {
                            return all;
                        }
                    }
                }
            }
        }
    }
    all
}

fn one(at: usize, place: Place) -> Record {
    let (id, group) = (format!("{at:08x}"), format!("g{}", place.problem));
    let (n, threads, variant) = (place.n(), place.threads(), place.variant);
    let name = format!("{}/{}", place.family(), ["dense", "flash", "window", "low-rank", "sorted"][variant]);
    let mut cell = if at % 40 == 39 {
        failed(&id, &group, &name, n, threads, "oom", "needs 9 GiB, has 2 GiB")
    } else {
        let share = if variant == 0 { n as u64 } else { 100 + 8 * place.rank as u64 + 40 * variant as u64 };
        measured(&id, &group, &name, n, threads, (n as u64 * share * 10 / (1 + place.engine as u64) / threads as u64).max(200))
    };
    cell.family = place.family().to_owned();
    cell.engine = ENGINES[place.engine].to_owned();
    cell.baseline = variant == 0;
    cell.axes.insert("precision".to_owned(), AxisValue::from(place.precision));
    if variant > 0 {
        cell.axes.insert("rank".to_owned(), AxisValue::Int(place.rank));
        let error = 1e-7 * (10f64.powi(variant as i32) + 100.0 / place.rank as f64);
        if let (Some(accuracy), Some(memory)) = (&mut cell.accuracy, &mut cell.memory) {
            (accuracy.err_method_rel, accuracy.error_ratio) = (Some(error), Some(error / 6e-8));
            memory.scratch_bytes = 4096 * variant as u64;
        }
    }
    if at == 1 {
        let samples = (0u32..300).map(|round| Sample { round, calls: 10, ns: 650_000 + 100 * u64::from(round), rejected: round == 5 });
        cell.samples = samples.collect();
    }
    cell
}

fn hostile() -> Vec<Record> {
    let names = [
        "</script><script>window.hacked = 1</script>",
        "<img src=x onerror=\"window.hacked = 1\">",
        "=cmd()|'x'!A1",
        "two\nlines & \"quotes\"",
        "\u{202e}gnp.exe",
        "{{scripts}}<!--",
        "constructor",
        "__proto__",
        &"x".repeat(300),
    ];
    let mut cells = Vec::new();
    for (index, name) in names.iter().enumerate() {
        for n in [128, 512] {
            let group = format!("g{n}");
            let mut dense = measured(&format!("dense{index}-{n}"), &group, "attention/dense", n, 1, 1000 * n as u64);
            (dense.baseline, dense.engine) = (true, (*name).to_owned());
            let mut cell = measured(&format!("id{index}-{n}"), &group, name, n, 1, 90_000);
            (cell.engine, cell.beside) = ((*name).to_owned(), beside(&dense));
            cell.axes.insert((*name).to_owned(), AxisValue::from(*name));
            cells.extend([dense, cell, failed(&format!("failed{index}-{n}"), &group, name, n, 1, "crashed", name)]);
        }
    }
    cells
}

/// Writes the page on one or more runs of these cells into `folder/name`.
fn page(folder: &Path, name: &str, runs: &[Vec<Record>]) -> PathBuf {
    let out = folder.join(name);
    let paths: Vec<PathBuf> = (0..runs.len()).map(|at| folder.join("runs").join(format!("{name}-{at}"))).collect();
    for (at, (path, cells)) in paths.iter().zip(runs).enumerate() {
        run_of(path, cells);
        if runs.len() > 1 {
            let mut own = manifest();
            own.machine.fingerprint = format!("machine{}", at + 1);
            own.machine.cpu_model = Some(format!("Processor {}", at + 1));
            own.write(&path.join("manifest.json")).unwrap();
        }
    }
    write_report(&paths, &out, &[Format::Markdown, Format::Csv, Format::Html], None).unwrap();
    out.join("index.html")
}

fn pages(folder: &Path) {
    let usual = page(folder, "usual", &[sweep(1500, &RANKS[..2])]);
    let bytes = fs::metadata(usual).unwrap().len();
    assert!(bytes <= 5_000_000, "{bytes}");
    page(folder, "large", &[sweep(10_000, &RANKS)]);
    page(folder, "hostile", &[hostile()]);
    page(folder, "empty", &[Vec::new()]);
    page(folder, "one", &[vec![measured("a", "g", "attention/flash", 128, 1, 1000)]]);
    page(folder, "failed", &[vec![failed("a", "g", "attention/flash", 128, 1, "oom", "needs 9 GiB")]]);
    let other = twenty_cells().into_iter().map(|cell| Record { machine: "machine2".into(), ..cell }).collect();
    page(folder, "machines", &[twenty_cells(), other]);
    // As of a layout without accuracy, memory and baselines beside, on one engine.
    let older = |cell: Record| Record { schema: 1, accuracy: None, memory: None, beside: None, engine: "naive".into(), ..cell };
    page(folder, "older", &[sweep(500, &RANKS[..2]).into_iter().filter(|cell| cell.engine == "naive").map(older).collect()]);
    // A run that was stopped before it measured its noise.
    page(folder, "stopped", &[twenty_cells()]);
    let run = folder.join("runs/stopped-0");
    Manifest { cells_planned: 600, noise: None, ..manifest() }.write(&run.join("manifest.json")).unwrap();
    write_report(&[run], &folder.join("stopped"), &[Format::Html], None).unwrap();
}

/// The usual page's sweep with one of its engines in another program's worker.
fn beside_a_peer(folder: &Path) {
    let theirs =
        |cell: Record| if cell.engine == "candle" { Record { engine: "torch".into(), build: "theirs".into(), ..cell } } else { cell };
    page(folder, "peers", &[sweep(1500, &RANKS[..2]).into_iter().map(theirs).collect()]);
    let run = folder.join("runs/peers-0");
    let mut told = manifest();
    let build = Build { fingerprint: "theirs".into(), worker: "torch-worker".into(), ..told.builds[0].clone() };
    told.builds.push(build);
    told.write(&run.join("manifest.json")).unwrap();
    write_report(&[run], &folder.join("peers"), &[Format::Html], None).unwrap();
}

/// What the page starts from.
fn data(page: &Path) -> serde_json::Value {
    let text = fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    assert!(!data.contains('<'), "nothing in the data may begin an element");
    serde_json::from_str(data).unwrap()
}

#[test]
fn the_page_has_every_cell_and_evenly_thinned_samples() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(&page(folder.path(), "usual", &[sweep(200, &RANKS[..2])]));
    assert_eq!(data["cells"]["rows"], 200);
    let columns = data["cells"]["columns"].as_array().unwrap();
    let ids = columns.iter().find(|column| column["name"] == "id").unwrap();
    let row = ids["codes"].as_array().unwrap().iter().position(|code| ids["words"][code.as_u64().unwrap() as usize] == "00000001").unwrap();
    let samples = data["samples"]["cells"][row].as_array().unwrap();
    // Every fifth of 300, the sixth of which was rejected, in nanoseconds a call.
    assert_eq!((samples.len(), &samples[0], &samples[1], &samples[2]), (61, &300.into(), &65000.into(), &(-65050).into()));
    let failed = data["samples"]["cells"].as_array().unwrap().iter().filter(|samples| samples.is_null()).count();
    assert_eq!(failed, 200 / 40, "cells that failed have no samples");
    page(folder.path(), "hostile", &[hostile()]);
    assert_eq!(self::data(&folder.path().join("hostile/index.html"))["cells"]["rows"], 54);
}

/// The program, by its name on the path.
fn found(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[test]
fn the_page_works_in_a_browser() {
    let [driver, chromium, python] = ["chromedriver", "chromium", "python3"].map(found);
    let (Some(driver), Some(chromium), Some(python)) = (driver, chromium, python) else {
        let wanted = std::env::var_os("CROSSOVER_BROWSER").is_some_and(|value| value == "1");
        assert!(!wanted, "CROSSOVER_BROWSER=1, but chromium, chromedriver or python3 is not on the path");
        println!("skipped: chromium, chromedriver or python3 is not on the path");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    beside_a_peer(folder.path());
    let pictures = std::env::var_os("CROSSOVER_SCREENSHOTS").map_or_else(|| folder.path().join("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures).unwrap();
    // The page's own aim is 100 ms; a machine that does other work may take three times as long.
    let most_ms = if slow_tier() { "100" } else { "300" };
    let drive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/drive.py");
    let output = Command::new(python).arg(drive).args([&driver, &chromium, folder.path(), &pictures]).arg(most_ms).output().unwrap();
    let [told, failure] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    println!("{told}");
    assert!(output.status.success(), "{told}{failure}");
}
