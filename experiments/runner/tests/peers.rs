//! The NumPy worker for real: the same cells on our engine and on NumPy, in one run, both judged by the same references.
//!
//! Needs the virtual environment that `just peers-environment` makes. Without it the test says that it was skipped; in CI it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossover_results::read_records;
use crossover_results::schema::{Record, Status};

const SWEEPS: &str = r#"
name = "beside-numpy"
description = "naive and NumPy on the same cells"

[measure]
min_samples = 3
cell_budget_ms = 20
sample_us = 50

[[sweep]]
variants = ["attention/dense", "attention/causal"]
engines = ["naive", "numpy"]
baseline = "attention/dense"
[sweep.axes]
heads = 4
kv_heads = 2
head_dim = 8
n = 17
precision = ["f64", "f32", "bf16"]

[[sweep]]
variants = ["ffn/dense", "norm/layer-norm", "norm/none", "softmax/stable", "linear/dense"]
engines = ["naive", "numpy"]
[sweep.axes]
n = 9
d_model = 16
d_ff = 32
d_in = 16
d_out = 24
classes = 33
activation = ["relu", "gelu"]
position = ["plain", "post", "pre"]
precision = ["f64", "f32"]
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The interpreter that has NumPy, or why there is none.
fn python() -> Option<PathBuf> {
    let python = root().join(".venv/bin/python");
    let works = Command::new(&python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success());
    if works {
        return Some(python);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI needs the NumPy worker: run `just peers-environment`");
    eprintln!("skipped: {} has no NumPy (just peers-environment)", python.display());
    None
}

fn run(folder: &Path) -> Vec<Record> {
    let out = folder.join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_crossover"))
        .args(["run", &folder.join("beside-numpy.toml").to_string_lossy(), "--out", &out.to_string_lossy()])
        .current_dir(root())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    read_records(&out.join("journal.txt")).unwrap().map(Result::unwrap).collect()
}

#[test]
fn numpy_is_verified_and_timed_beside_our_engine() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let worker = root().join("engines/peers/numpy_worker.py");
    let command = format!("\n[workers.numpy]\ncommand = [{:?}, {:?}]\n", python, worker);
    fs::write(folder.path().join("beside-numpy.toml"), format!("{SWEEPS}{command}")).unwrap();
    let records = run(folder.path());
    assert_eq!(records.len(), 56);
    for record in &records {
        let expected = match (record.engine.as_str(), record.axes["precision"].as_text()) {
            ("numpy", Some("bf16")) => Status::Unsupported,
            _ => Status::Ok,
        };
        let place = format!("{} {} {:?}", record.engine, record.variant, record.axes);
        assert_eq!(record.status, expected, "{place}: {:?} {:?}", record.reason, record.stderr_tail);
        if expected == Status::Ok {
            let (speed, accuracy) = (record.speed.as_ref().unwrap(), record.accuracy.as_ref().unwrap());
            assert!(speed.median_ns > 0 && accuracy.tolerance_used.unwrap() <= 1.0, "{place}");
            assert!(record.memory.as_ref().unwrap().activation_bytes > 0, "{place}");
        }
    }
    // Rates can be compared only if operations are counted alike.
    for ours in records.iter().filter(|record| record.engine == "naive") {
        let beside = |record: &&Record| record.engine == "numpy" && record.variant == ours.variant && record.axes == ours.axes;
        let theirs = records.iter().find(beside).unwrap();
        if let (Some(ours_speed), Some(theirs_speed)) = (&ours.speed, &theirs.speed) {
            assert_eq!(ours_speed.flops, theirs_speed.flops, "{} {:?}", ours.variant, ours.axes);
        }
    }
    // Both engines solved the same problems: whatever group has one of them has the other.
    let groups = |engine: &str| {
        let mut groups: Vec<&str> = records.iter().filter(|record| record.engine == engine).map(|record| record.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(groups("naive"), groups("numpy"));
}
