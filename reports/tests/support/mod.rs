//! Runs for the tests, and readers of what the report wrote that share no code with it.

// Every test program uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crossover_core::axes::{Axes, AxisValue};
use crossover_results::schema::{Accuracy, Beside, Memory, Record, SCHEMA_VERSION, Sample, Speed, Status};
use crossover_results::{Build, Cache, Instrument, Machine, Manifest, Noise, RunFolder};

/// A manifest whose machine does 0.1 TFLOP/s.
pub fn manifest() -> Manifest {
    let cache = |level, kind: &str, bytes| Cache { level, kind: kind.into(), bytes };
    Manifest {
        schema: SCHEMA_VERSION,
        experiment: "attention-quick".into(),
        command: "crossover run attention-quick --set n=128,256".into(),
        created_unix_ms: 1_700_000_000_000,
        resumed_unix_ms: Vec::new(),
        definition_hash: "0011223344556677".into(),
        plan_hash: "8899aabbccddeeff".into(),
        cells_planned: 24,
        parts: Vec::new(),
        excluded: Default::default(),
        seed: 7,
        machine: Machine {
            fingerprint: "machine1".into(),
            cpu_model: Some("Example CPU".into()),
            logical_cores: Some(4),
            usable_cores: Some(2),
            memory_bytes: Some(16 << 30),
            kernel: Some("6.1.0".into()),
            caches: vec![cache(1, "data", 32 << 10), cache(2, "unified", 1 << 20)],
            governor: Some("performance".into()),
            turbo: Some(false),
        },
        builds: vec![Build {
            fingerprint: "build1".into(),
            worker: "crossover-worker".into(),
            version: "0.1.0".into(),
            detail: "x".into(),
            instruments: vec![
                Instrument { name: "load_average".into(), absent: None },
                Instrument { name: "energy_uj".into(), absent: Some("this machine has no powercap tree".into()) },
            ],
        }],
        ceilings: Some(serde_json::json!({
            "threads": 2, "isa": "avx2", "f64_flops_per_s": 50_000_000_000u64, "f32_flops_per_s": 100_000_000_000u64,
            "bandwidth": [
                {"level": "L1", "working_set_bytes": 16384, "read_bytes_per_s": 200_000_000_000u64, "copy_bytes_per_s": 150_000_000_000u64},
                {"level": "memory", "working_set_bytes": 268435456, "read_bytes_per_s": 10_000_000_000u64, "copy_bytes_per_s": 9_000_000_000u64},
            ],
        })),
        noise: Some(Noise { floor: 0.013, pairs: 20, steal_ns: Some(1_500_000), load_average: Some(0.5) }),
    }
}

/// Writes a finished run.
pub fn run_of(path: &Path, cells: &[Record]) {
    let folder = RunFolder::create(path).unwrap();
    manifest().write(&folder.manifest_path()).unwrap();
    let lock = folder.lock().unwrap();
    folder.open_journal(&lock).unwrap().0.append_batch(cells).unwrap();
    folder.finish().unwrap();
}

/// A cell that took about `median` ns a call, with eleven samples (one of them rejected) and figures that follow from them.
pub fn measured(id: &str, group: &str, variant: &str, n: i64, threads: i64, median: u64) -> Record {
    // Spread evenly around the median, in an order that is not sorted.
    let spread = [3, -1, 0, 4, -5, 1, -2, 5, -3, 2, -4].map(|step: i64| (median as i64 + step * median as i64 / 100) as u64);
    let mut samples: Vec<Sample> =
        (0u32..).zip(spread).map(|(round, ns)| Sample { round, calls: 10, ns: ns * 10, rejected: false }).collect();
    samples.push(Sample { round: 11, calls: 10, ns: median * 1000, rejected: true });
    let n_bytes = n as u64 * 64 * 4;
    Record {
        status: Status::Ok,
        reason: None,
        support: Some("native".into()),
        speed: Some(Speed {
            median_ns: median,
            ci_low_ns: Some(spread[1]),
            ci_high_ns: Some(spread[5]),
            min_ns: spread[4],
            p95_ns: spread[7],
            samples: 11,
            rejected: 1,
            warmup_calls: Some(3),
            prepare_ns: Some(77),
            stop: "converged".into(),
            flops: Some(10 * n as u64 * n as u64 / 64),
            bytes: Some(n_bytes),
            threads_used: Some(threads as u64),
            isa: Some("avx2".into()),
        }),
        memory: Some(Memory {
            weight_bytes: 0,
            activation_bytes: n_bytes,
            scratch_bytes: n as u64 * n as u64 * 4,
            state_bytes: 0,
            allocator_peak_bytes: Some(n_bytes + n as u64 * n as u64 * 4),
            warm_allocations: Some(0),
            high_water_bytes: 5 << 20,
            device_peak_bytes: None,
        }),
        accuracy: Some(Accuracy {
            err_impl: Some(1.25e-7),
            err_impl_rel: Some(3.0e-8),
            tolerance_used: Some(0.25),
            err_method: Some(2.5e-7),
            err_method_rel: Some(6.0e-8),
            cosine: Some(0.999_999_5),
            error_ratio: Some(1.5),
            divergence: None,
            top_1_agreement: None,
            nonfinite: 0,
            rows_checked: 64,
            rows_total: n as u64,
        }),
        samples,
        ..failed(id, group, variant, n, threads, "ok", "")
    }
}

/// What a record has beside it where it was measured in all the rounds of its baseline's record; nothing where that has no time.
pub fn beside(baseline: &Record) -> Option<Beside> {
    let Speed { median_ns, ci_low_ns, ci_high_ns, samples, .. } = *baseline.speed.as_ref()?;
    Some(Beside { id: baseline.id.clone(), median_ns, ci_low_ns, ci_high_ns, samples })
}

/// A cell without figures.
pub fn failed(id: &str, group: &str, variant: &str, n: i64, threads: i64, status: &str, reason: &str) -> Record {
    let axes = [
        ("n".to_owned(), AxisValue::Int(n)),
        ("head_dim".to_owned(), AxisValue::Int(64)),
        ("precision".to_owned(), AxisValue::from("f32")),
        ("threads".to_owned(), AxisValue::Int(threads)),
    ];
    Record {
        schema: SCHEMA_VERSION,
        id: id.into(),
        group: group.into(),
        experiment: "attention-quick".into(),
        family: "attention".into(),
        variant: variant.into(),
        engine: "naive".into(),
        baseline: false,
        axes: Axes::from(axes),
        status: Status::ALL.into_iter().find(|known| known.name() == status).unwrap(),
        reason: Some(reason.into()),
        stderr_tail: None,
        support: None,
        finished_unix_ms: 1_700_000_000_000,
        elapsed_ns: 5,
        speed: None,
        beside: None,
        memory: None,
        accuracy: None,
        transform: None,
        matching: None,
        conditions: None,
        samples: Vec::new(),
        batches: Vec::new(),
        machine: "machine1".into(),
        build: "build1".into(),
    }
}

/// Four problems, two engines, failures of five kinds; in one of the groups a baseline has no time, and two cells had none beside them.
pub fn twenty_cells() -> Vec<Record> {
    let mut cells = Vec::new();
    for (group, n, threads) in [("g1", 128, 1), ("g2", 512, 1), ("g3", 128, 2), ("g4", 512, 2)] {
        for engine in ["naive", "simd"] {
            let fast = if engine == "simd" { 4 } else { 1 };
            let id = |name: &str| format!("{group}-{engine}-{name}");
            let square = n as u64 * n as u64;
            let mut dense = measured(&id("dense"), group, "attention/dense", n, threads, square * 10 / fast);
            if (group, engine) == ("g4", "simd") {
                dense = failed(&id("dense"), group, "attention/dense", n, threads, "oom", "needs 3 GiB, has 2 GiB");
            }
            dense.baseline = true;
            let mut flash = measured(&id("flash"), group, "attention/flash", n, threads, square * 7 / fast + 1000);
            flash.memory.as_mut().unwrap().scratch_bytes = 4096;
            flash.beside = beside(&dense);
            for mut cell in [dense, flash] {
                cell.engine = engine.to_owned();
                cells.push(cell);
            }
        }
    }
    let mut emulated = measured("emulated", "g1", "attention/window", 128, 1, 5000);
    emulated.status = Status::Emulated;
    emulated.support = Some("emulated".into());
    emulated.reason = Some("no kernel for this precision: computed in f32".into());
    let mut wrong = failed("wrong", "g2", "attention/window", 512, 1, "wrong", "row 3 misses its tolerance 4.2 times");
    wrong.accuracy = measured("x", "g", "v", 512, 1, 1000).accuracy.map(|accuracy| Accuracy {
        tolerance_used: Some(4.2),
        nonfinite: 2,
        cosine: None,
        ..accuracy
    });
    let mut loose = measured("loose", "g3", "attention/window", 128, 2, 165_000);
    loose.accuracy.as_mut().unwrap().tolerance_used = Some(0.000_2);
    // As a worker that does not count its allocations.
    let memory = loose.memory.as_mut().unwrap();
    (memory.allocator_peak_bytes, memory.warm_allocations) = (None, None);
    cells.extend([emulated, wrong, loose, failed("crash", "g4", "attention/window", 512, 2, "crashed", "signal 11: illegal instruction")]);
    cells
}

/// A Markdown table with the last heading above it.
#[derive(Debug)]
pub struct Table {
    pub heading: String,
    pub columns: usize,
    /// Cells by column; a column name that occurs again gets a number behind it.
    pub rows: Vec<BTreeMap<String, String>>,
}

/// The section `## title` of every family's document in a report's folder, by the documents' names.
pub fn part(out: &Path, title: &str) -> String {
    let documents = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let is_family = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("summary.md");
    let mut documents: Vec<PathBuf> = documents.filter(is_family).collect();
    documents.sort();
    let section = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let (_, from) = text.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("{}: no {title}", path.display()));
        from.split("\n## ").next().unwrap().trim().to_owned() + "\n"
    };
    documents.into_iter().map(section).collect()
}

/// Every table of a text.
pub fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let (mut heading, mut names): (String, Option<Vec<String>>) = (String::new(), None);
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().to_owned();
        }
        if !line.starts_with('|') {
            names = None;
            continue;
        }
        let cells = split_row(line);
        match &names {
            None => {
                let unique = |index: usize| match cells[..index].iter().filter(|cell| **cell == cells[index]).count() {
                    0 => cells[index].clone(),
                    before => format!("{} {}", cells[index], before + 1),
                };
                names = Some((0..cells.len()).map(unique).collect());
                tables.push(Table { heading: heading.clone(), columns: cells.len(), rows: Vec::new() });
            }
            Some(_) if cells.iter().all(|cell| cell.chars().all(|c| matches!(c, '-' | ':')) && !cell.is_empty()) => {}
            Some(names) => tables.last_mut().unwrap().rows.push(names.iter().cloned().zip(cells).collect()),
        }
    }
    tables
}

/// The cells of one row; `\|` does not end a cell.
fn split_row(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut escaped) = (Vec::new(), String::new(), false);
    for c in line.trim().trim_start_matches('|').chars() {
        match c {
            '|' if !escaped => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            _ => cell.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    assert!(cell.is_empty(), "a row that does not end with |: {line}");
    cells
}

/// The rows of a CSV file by column, read by the rules of RFC 4180.
pub fn csv_rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let (mut records, mut record, mut field): (Vec<Vec<String>>, Vec<String>, String) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            _ => field.push(c),
        }
    }
    let heading = records.remove(0);
    assert!(records.iter().all(|record| record.len() == heading.len()));
    records.into_iter().map(|record| heading.iter().cloned().zip(record).collect()).collect()
}
