//! The tutorial on an engine of one's own, done: its files are taken out of the page, its commands are run, and what it promises is looked for.
//!
//! Needs Python 3, of which it uses the standard library alone. Without it the test says that it was skipped; in CI it fails.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crossover_results::read_records;
use crossover_results::schema::{Record, Status};

/// One fenced block: its language, the name of its file if it has one, and its text.
struct Block {
    language: String,
    file: Option<String>,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn blocks() -> Vec<Block> {
    let page = fs::read_to_string(root().join("engines/peers/TUTORIAL.md")).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(head) => {
                let mut words = head.split(' ').map(str::to_owned);
                blocks.push(Block { language: words.next().unwrap(), file: words.next(), text: String::new() });
                is_open = true;
            }
            None if is_open => {
                let block = blocks.last_mut().unwrap();
                block.text += line;
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!is_open, "a block is not closed");
    blocks
}

fn has_python() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "CI needs Python 3");
    if !there {
        eprintln!("skipped: there is no python3");
    }
    there
}

/// Runs a line of a shell in the folder, with `crossover` on the path.
fn shell(folder: &Path, line: &str) -> Output {
    let programs = Path::new(env!("CARGO_BIN_EXE_crossover")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = [programs.to_owned()].into_iter().chain(std::env::split_paths(&path));
    let path: OsString = std::env::join_paths(paths).unwrap();
    Command::new("bash").args(["-c", line]).current_dir(folder).env("PATH", path).env("CROSSOVER_ROOT", root()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn records(run: &Path) -> Vec<Record> {
    read_records(&run.join("journal.txt")).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_the_tutorial_builds_runs() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    for block in &blocks {
        if let Some(file) = &block.file {
            fs::write(folder.path().join(file), &block.text).unwrap();
        }
    }
    let program = blocks.iter().find(|block| block.language == "python").unwrap();
    let lines = program.text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 70, "about sixty lines are promised, and there are {lines}");
    let mut said_by: BTreeMap<String, String> = BTreeMap::new();
    for line in blocks.iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines()) {
        let output = shell(folder.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", said(&output));
        said_by.insert(line.split(" my-").next().unwrap().to_owned(), said(&output));
    }
    let said_of = |begin: &str| said_by.iter().find(|(line, _)| line.contains(begin)).map(|(_, text)| text.as_str()).unwrap();
    assert!(said_of("echo").contains("\"worker\": \"my-engine\""));
    assert!(said_of("plan").contains("mine does not support it (`variants` in my-engine.toml)"), "{}", said_of("plan"));

    let records = records(&folder.path().join("my-run"));
    let (mine, ours): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.engine == "mine");
    assert!(!mine.is_empty() && !ours.is_empty());
    for record in &mine {
        assert_eq!(record.status, Status::Ok, "{:?}: {:?} {:?}", record.axes, record.reason, record.stderr_tail);
        let beside = |other: &&&Record| other.group == record.group && other.status == Status::Ok && other.variant == record.variant;
        let other = ours.iter().find(beside).unwrap_or_else(|| panic!("nothing of ours beside {:?}", record.axes));
        // Rates can be compared only if operations are counted alike.
        let flops = |record: &Record| record.speed.as_ref().unwrap().flops;
        assert_eq!(flops(record), flops(other));
    }
    let peers = fs::read_to_string(folder.path().join("my-report/peers.md")).unwrap();
    assert!(peers.contains("mine (peer)") && peers.contains("## softmax/stable"), "{peers}");
    assert!(fs::read_to_string(folder.path().join("my-report/index.html")).unwrap().contains("Beside the peers"));
}
