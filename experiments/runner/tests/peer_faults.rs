//! Peers with something wrong: each gives a typed row or a clear message, and our own engine's row beside it is measured all the same.
//!
//! The libraries are stand-ins: a module `torch` on the path of a Python without site packages, or NumPy's worker with a fault put into it.

mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossover_results::read_records;
use crossover_results::schema::{Record, Status};
use python::{plain, root, with_numpy};

const SWEEP: &str = r#"
name = "at-fault"
description = "one cell for each of two engines"

[[sweep]]
variants = ["softmax/stable"]
engines = ["naive", "ENGINE"]
[sweep.axes]
n = 4
classes = 33

[measure]
min_samples = 3
cell_budget_ms = 20
sample_us = 50
step_timeout_s = SECONDS
"#;

/// What came of a run with one peer.
struct Outcome {
    code: Option<i32>,
    peer: Record,
    folder: tempfile::TempDir,
}

impl Outcome {
    fn reason(&self) -> &str {
        self.peer.reason.as_deref().unwrap_or_default()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("run").join(name)).unwrap()
    }

    /// Everything that workers wrote to stderr.
    fn stderr(&self) -> String {
        let files = fs::read_dir(self.folder.path().join("run/stderr")).unwrap();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

/// Runs the sweep with a peer that is started by this command, with these modules before all others; our engine's cell must be good.
fn run(engine: &str, seconds: u32, command: &[&Path], modules: &[(&str, &str)]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("modules");
    for (name, text) in modules {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let sweep = SWEEP.replace("ENGINE", engine).replace("SECONDS", &seconds.to_string());
    let worker = format!("[workers.{engine}]\ncommand = {command:?}\nenv = {{ PYTHONPATH = {path:?} }}\n");
    let definition = folder.path().join("at-fault.toml");
    fs::write(&definition, format!("{sweep}{worker}")).unwrap();
    let out = folder.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_crossover"))
        .args(["run".as_ref(), definition.as_os_str(), "--out".as_ref(), out.as_os_str()])
        .current_dir(root())
        .output()
        .unwrap();
    let records: Vec<Record> = read_records(&out.join("journal.txt")).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 2, "{}", String::from_utf8_lossy(&output.stderr));
    let (ours, peers): (Vec<Record>, Vec<Record>) = records.into_iter().partition(|record| record.engine == "naive");
    assert_eq!(ours[0].status, Status::Ok, "{:?}", ours[0].reason);
    Outcome { code: output.status.code(), peer: peers.into_iter().next().unwrap(), folder }
}

/// PyTorch's worker on a Python that has this as PyTorch, or nothing.
fn torch(seconds: u32, modules: &[(&str, &str)]) -> Option<Outcome> {
    let (python, worker) = (plain()?, root().join("engines/peers/torch_worker.py"));
    Some(run("torch", seconds, &[&python, Path::new("-S"), &worker], modules))
}

/// NumPy's worker, in which this is done to the call before it is used.
fn numpy_with(fault: &str) -> Option<Outcome> {
    let python = with_numpy()?;
    let text = format!(
        "import os, sys\nsys.path.insert(0, {peers:?})\nimport numpy_worker, worker_loop\n\nclass Planted(numpy_worker.NumpyWorker):\n    \
         def bind(self, cell, tensors, case):\n        bound = super().bind(cell, tensors, case)\n        right = bound.call\n{fault}        \
         bound.call = call\n        return bound\n\nworker_loop.main(Planted())\n",
        peers = root().join("engines/peers"),
    );
    let folder = tempfile::tempdir().unwrap();
    let worker: PathBuf = folder.path().join("planted.py");
    fs::write(&worker, text).unwrap();
    Some(run("numpy", 20, &[&python, &worker], &[]))
}

#[test]
fn a_peer_that_is_not_installed_is_a_row_that_says_what_to_install() {
    let Some(outcome) = torch(60, &[]) else { return };
    assert_eq!((outcome.peer.status, outcome.code), (Status::Unsupported, Some(0)), "{}", outcome.reason());
    let reason = outcome.reason();
    assert!(reason.contains("torch is not installed for ") && reason.contains("`just peers` makes an environment"), "{reason}");
}

#[test]
fn a_peer_that_cannot_be_imported_says_why_and_what_it_prints_harms_nothing() {
    let module = "import os\nprint('a banner')\nos.write(1, b'{\"type\":\"bye\"}\\n')\nraise ImportError('libcudart.so.13: not found')\n";
    let files = [("torch.py", module), ("torch-2.15.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.15.0\n")];
    let Some(outcome) = torch(60, &files) else { return };
    assert_eq!((outcome.peer.status, outcome.code), (Status::Unsupported, Some(0)), "{}", outcome.reason());
    assert!(outcome.reason().contains("torch is installed, but cannot be imported (libcudart.so.13: not found)"), "{}", outcome.reason());
    assert!(outcome.stderr().contains("a banner"));
}

#[test]
fn a_peer_that_hangs_at_import_runs_into_the_time_limit() {
    let Some(outcome) = torch(10, &[("torch.py", "import time\ntime.sleep(3600)\n")]) else { return };
    assert_eq!((outcome.peer.status, outcome.code), (Status::Timeout, Some(0)), "{}", outcome.reason());
    assert!(outcome.reason().contains("prepare: no answer within 10 s"), "{}", outcome.reason());
}

#[test]
fn a_peer_that_prints_on_stdout_is_measured_all_the_same() {
    let loud = "        def call():\n            print('UserWarning: this will change')\n            os.write(1, b'from C\\n')\n            \
                return right()\n";
    let Some(outcome) = numpy_with(loud) else { return };
    assert_eq!((outcome.peer.status, outcome.code), (Status::Ok, Some(0)), "{}", outcome.reason());
    assert!(outcome.peer.speed.is_some() && outcome.stderr().contains("from C"));
}

#[test]
fn a_peer_with_wrong_numbers_has_no_time() {
    let Some(outcome) = numpy_with("        def call():\n            return right() * numpy_worker.np.float32(1.001)\n") else { return };
    assert_eq!((outcome.peer.status, outcome.code), (Status::Wrong, Some(1)), "{}", outcome.reason());
    assert!(outcome.peer.speed.is_none() && outcome.reason().contains(" instead of "), "{}", outcome.reason());
}

#[test]
fn a_peer_of_another_version_runs_and_the_run_says_so() {
    let Some(python) = with_numpy() else { return };
    let files = [("numpy-1.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: numpy\nVersion: 1.0.0\n")];
    let outcome = run("numpy", 20, &[&python, &root().join("engines/peers/numpy_worker.py")], &files);
    assert_eq!((outcome.peer.status, outcome.code), (Status::Ok, Some(0)), "{}", outcome.reason());
    assert!(outcome.file("manifest.json").contains("numpy 1.0.0 (not the pinned "), "{}", outcome.file("manifest.json"));
    assert!(outcome.stderr().contains("numpy is 1.0.0, tested was "), "{}", outcome.stderr());
}
