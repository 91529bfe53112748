//! Interpreters for the tests of workers in Python. One that is not there is said, and in CI it is an error.

#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The interpreter that has NumPy, or why there is none.
pub fn with_numpy() -> Option<PathBuf> {
    let python = root().join(".venv/bin/python");
    if can(&python, "import numpy") {
        return Some(python);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI needs the NumPy worker: run `just peers-environment`");
    eprintln!("skipped: {} has no NumPy (just peers-environment)", python.display());
    None
}

/// The interpreter that has the other peers: that of `just peers-installed`, or what CROSSOVER_PEERS_PYTHON names.
pub fn with_peers() -> Option<PathBuf> {
    let python = std::env::var_os("CROSSOVER_PEERS_PYTHON").map_or_else(|| root().join(".venv-peers/bin/python"), PathBuf::from);
    if can(&python, "import numpy") {
        return Some(python);
    }
    eprintln!(
        "skipped: there is no {}, which `just peers-installed` makes: PyTorch, OpenVINO and ONNX Runtime are not tried",
        python.display()
    );
    None
}

/// Does this interpreter have a library?
pub fn has(python: &Path, package: &str) -> bool {
    let there = can(python, &format!("import importlib.metadata as m; m.version({package:?})"));
    if !there {
        eprintln!("skipped: {package} is not installed for {}", python.display());
    }
    there
}

/// Any interpreter.
pub fn plain() -> Option<PathBuf> {
    let python = PathBuf::from("python3");
    if can(&python, "import dataclasses") {
        return Some(python);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI needs python3");
    eprintln!("skipped: there is no python3 on the path");
    None
}

fn can(python: &Path, statement: &str) -> bool {
    Command::new(python).args(["-c", statement]).output().is_ok_and(|output| output.status.success())
}
