//! The peers for real: the same cells on our engine and on theirs, in one run, all judged by the same references.
//!
//! NumPy's needs the virtual environment that `just peers-environment` makes. Without it the test says that it was skipped; in CI it fails. The
//! others are tried where they are installed (`just peers-installed`), and a skip says so.

mod python;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crossover_results::read_records;
use crossover_results::schema::{Record, Status};
use python::{has, root, with_numpy, with_peers};

/// Engine, library and worker of each of the heavy peers.
const PEERS: [(&str, &str, &str); 5] = [
    ("torch", "torch", "torch_worker.py"),
    ("torch-compile", "torch", "torch_worker.py"),
    ("torch-flex", "torch", "torch_worker.py"),
    ("openvino", "openvino", "openvino_worker.py"),
    ("onnxruntime", "onnxruntime", "onnx_worker.py"),
];

/// Small, in every family that the peers have, with odd sizes where a library could mistake them.
const PEER_SWEEPS: &str = r#"
name = "beside-peers"
description = "naive and the peers on the same cells"

[measure]
min_samples = 3
cell_budget_ms = 20
sample_us = 50
step_timeout_s = 300

[[sweep]]
variants = ["attention/flash-causal", "attention/window"]
engines = ENGINES
[sweep.axes]
heads = 4
head_dim = 16
n = 130
window = 7

[[sweep]]
variants = ["attention/decode"]
engines = ENGINES
[sweep.axes]
heads = 4
head_dim = 16
n_kv = 130

[[sweep]]
variants = ["linear/dense", "ffn/swiglu"]
engines = ENGINES
[sweep.axes]
n = 9
d_model = 32
d_ff = 64
d_in = 32
d_out = 48
activation = "gelu"
precision = ["f32", "bf16", "int8"]

[[sweep]]
variants = ["norm/layer-norm", "norm/rms-norm"]
engines = ENGINES
[sweep.axes]
n = 9
d_model = 48
position = "post"

[[sweep]]
variants = ["model/encoder"]
engines = ENGINES
[sweep.axes]
n = 12
vocabulary = 50
precision = ["f32", "bf16"]
"#;

/// Of each engine.
const CELLS: usize = 13;

/// What a cell comes to: what a library does not have, or has only where the processor has products of the type, says so, and nothing else does.
fn expected(engine: &str, variant: &str, precision: &str, has: &dyn Fn(&[&str]) -> bool) -> &'static [Status] {
    let (bf16, int8) = (has(&["avx512_bf16", "amx_bf16", "bf16"]), has(&["avx512_vnni", "avx_vnni", "amx_int8", "asimddp"]));
    match (engine, precision) {
        ("torch-flex", _) if !["attention/flash-causal", "attention/window"].contains(&variant) => &[Status::Unsupported],
        ("onnxruntime", "bf16") => &[Status::Unsupported],
        ("openvino", "int8") if !int8 => &[Status::Unsupported],
        // A layer with its activation is rounded in between.
        ("torch", "bf16") if variant == "linear/dense" => &[Status::Unsupported],
        ("torch-compile", "bf16") if variant == "linear/dense" && !has(&["avx512bw"]) => &[Status::Unsupported],
        ("torch" | "torch-compile" | "openvino", "bf16") if !bf16 => &[Status::Emulated],
        // Some of a model's nodes may still be executed in f32.
        ("openvino", "bf16") => &[Status::Ok, Status::Emulated],
        _ => &[Status::Ok],
    }
}

/// Instructions that the processor has, by the kernel's names.
fn processor_flags() -> BTreeSet<String> {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = told.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

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

fn run(folder: &Path, definition: &str) -> Vec<Record> {
    let (path, out) = (folder.join("beside.toml"), folder.join("run"));
    fs::write(&path, definition).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_crossover"))
        .args(["run", &path.to_string_lossy(), "--out", &out.to_string_lossy()])
        .current_dir(root())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    read_records(&out.join("journal.txt")).unwrap().map(Result::unwrap).collect()
}

/// Rates can be compared only if operations are counted alike, and shares of bandwidth only if bytes are.
fn assert_counted_alike(records: &[Record]) {
    for ours in records.iter().filter(|record| record.engine == "naive") {
        let is_beside = |record: &&Record| record.engine != "naive" && record.variant == ours.variant && record.axes == ours.axes;
        for theirs in records.iter().filter(is_beside) {
            if let (Some(ours_speed), Some(theirs_speed)) = (&ours.speed, &theirs.speed) {
                let place = format!("{} {} {:?}", theirs.engine, ours.variant, ours.axes);
                assert_eq!((ours_speed.flops, ours_speed.bytes), (theirs_speed.flops, theirs_speed.bytes), "{place}");
            }
        }
    }
}

/// The tests that are written in Python, with an interpreter.
fn assert_python_tests_pass(python: &Path) {
    let output = Command::new(python).args(["-m", "unittest", "-v", "engines/peers/tests.py"]).current_dir(root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said.lines().filter(|line| line.contains("skipped")).for_each(|line| eprintln!("{line}"));
}

#[test]
fn workers_in_python_count_check_and_sleep_as_they_promise() {
    [with_numpy(), with_peers()].into_iter().flatten().for_each(|python| assert_python_tests_pass(&python));
}

#[test]
fn the_other_peers_are_verified_beside_our_engine_where_they_are_installed() {
    let Some(python) = with_peers() else { return };
    let peers: Vec<_> = PEERS.iter().filter(|(_, package, _)| has(&python, package)).collect();
    let engines: Vec<&str> = ["naive"].into_iter().chain(peers.iter().map(|(engine, ..)| *engine)).collect();
    let worker = |(engine, _, program): &&(&str, &str, &str)| {
        format!("\n[workers.{engine}]\ncommand = [{python:?}, {:?}]\n", root().join("engines/peers").join(program))
    };
    let commands: String = peers.iter().map(worker).collect();
    let folder = tempfile::tempdir().unwrap();
    let records = run(folder.path(), &format!("{}{commands}", PEER_SWEEPS.replace("ENGINES", &format!("{engines:?}"))));
    assert_eq!(records.len(), CELLS * engines.len());
    let flags = processor_flags();
    for record in &records {
        let place = format!("{} {} {:?}: {:?} {:?}", record.engine, record.variant, record.axes, record.reason, record.stderr_tail);
        let precision = record.axes["precision"].as_text().unwrap();
        let expected = expected(&record.engine, &record.variant, precision, &|names| names.iter().any(|name| flags.contains(*name)));
        let without_compiler = record.engine.starts_with("torch-") && record.reason.as_ref().is_some_and(|text| text.contains("compiler"));
        assert!(expected.contains(&record.status) || without_compiler && record.status == Status::Unsupported, "{place}");
        assert_eq!(record.speed.as_ref().is_some_and(|speed| speed.median_ns > 0), record.status != Status::Unsupported, "{place}");
        assert!(record.status == Status::Ok || record.reason.is_some(), "{place}");
    }
    assert_counted_alike(&records);
}

#[test]
fn numpy_is_verified_and_timed_beside_our_engine() {
    let Some(python) = with_numpy() else { return };
    let folder = tempfile::tempdir().unwrap();
    let worker = root().join("engines/peers/numpy_worker.py");
    let command = format!("\n[workers.numpy]\ncommand = [{:?}, {:?}]\n", python, worker);
    let records = run(folder.path(), &format!("{SWEEPS}{command}"));
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
    assert_counted_alike(&records);
    // Both engines solved the same problems: whatever group has one of them has the other.
    let groups = |engine: &str| {
        let mut groups: Vec<&str> = records.iter().filter(|record| record.engine == engine).map(|record| record.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(groups("naive"), groups("numpy"));
}
