//! Running the real command with fake workers, and looking at what it leaves behind.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crossover_core::memory::kibibytes;
pub use crossover_core::testing::slow_tier;
use crossover_results::read_records;
use crossover_results::schema::Record;

/// The fake worker's program.
pub const WORKER: &str = env!("CARGO_BIN_EXE_crossover-fake-worker");
const MARKER: &str = "CROSSOVER_TEST_MARKER";

/// A folder with an experiment and the run made of it.
pub struct Bench {
    pub folder: tempfile::TempDir,
}

impl Bench {
    /// With the text of an experiment.
    pub fn new(definition: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tiny.toml"), definition).unwrap();
        Self { folder }
    }

    pub fn experiment(&self) -> PathBuf {
        self.folder.path().join("tiny.toml")
    }

    pub fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// `crossover run tiny.toml --out run` and more arguments. All processes below it can be found by a mark in their environment.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
        command.arg("run").arg(self.experiment()).arg("--out").arg(self.run_folder()).args(more);
        self.marked(command)
    }

    pub fn resume(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
        command.args(["run", "--resume", "--out"]).arg(self.run_folder());
        self.marked(command)
    }

    pub fn marked(&self, mut command: Command) -> Command {
        command.env("CROSSOVER_WORKER", WORKER).env(MARKER, self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn records(&self) -> BTreeMap<String, Record> {
        let mut found = BTreeMap::new();
        let mut records = read_records(&self.run_folder().join("journal.txt")).unwrap();
        for record in records.by_ref() {
            let record = record.unwrap();
            assert!(found.insert(record.id.clone(), record).is_none(), "a cell was recorded twice");
        }
        assert_eq!(records.recovery().damaged_total, 0, "a frame is damaged");
        found
    }

    /// Every record by engine, for experiments with one cell an engine.
    pub fn by_engine(&self) -> BTreeMap<String, Record> {
        self.records().into_values().map(|record| (record.engine.clone(), record)).collect()
    }

    /// Processes of this bench that are still there, the caller's own children included.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("{MARKER}={}", self.folder.path().display());
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .collect()
    }

    /// Waits until no process is left, up to the limit.
    pub fn assert_no_process_left(&self, limit: Duration) {
        let began = Instant::now();
        while !self.processes().is_empty() {
            assert!(
                began.elapsed() < limit * patience(),
                "still there: {:?}",
                self.processes().iter().map(|pid| command_line(*pid)).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for pid in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

pub fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// What a finished command said, for messages of failed tests.
pub fn said(output: &Output) -> String {
    format!(
        "exit {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Processor time of all threads of a process.
pub fn processor_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |path: &Path| fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok();
    Duration::from_nanos(tasks.filter_map(|task| of(&task.path())).sum())
}

/// The high-water mark of a process's memory.
pub fn high_water_bytes(pid: u32) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM")
}

/// How much longer than promised something may take where the machine is not ours alone; the slow tier asks for the promise itself.
pub fn patience() -> u32 {
    if slow_tier() { 1 } else { 4 }
}
