//! The conformance suite on the engines of a build: every property of every operation, on inputs that no cell has.
//!
//! Cells have ordinary numbers, so an engine that drops a NaN, spreads a row that a mask hides or takes what it should refuse computes all of them right. The
//! worker has the suite in it and runs it on one engine a process (`crossover-worker conformance ENGINE`). There is no baseline for it: a build passes
//! all of it, or something is wrong.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::errors::bad_input;
use crate::gate::instructions::{Limits, wait};
use crate::gate::verdict::Verdict;

use super::compare::Change;

/// What the suite says of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The engine.
    pub engine: String,
    /// Cases that were tried, as far as it came.
    pub cases: u64,
    /// What does not hold.
    pub failures: Vec<String>,
}

impl Held {
    /// As changes, each a regression.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let cell = format!("the conformance suite on {}", self.engine);
        self.failures.iter().map(move |what| Change { cell: cell.clone(), verdict: Verdict::Regressed, what: what.clone() })
    }
}

/// Runs the suite on an engine. An error is a worker that has none, or cannot be started.
pub fn hold(worker: &Path, engine: &str, limits: &Limits<'_>) -> Result<Held> {
    // Files take what it says: it may be more than a pipe does.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = Command::new(worker)
        .args(["conformance", engine])
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(err.try_clone()?)
        .spawn()
        .with_context(|| format!("{} cannot be started", worker.display()))?;
    let ended = wait(&mut child, limits);
    let (said, complained) = (text(&mut out)?, text(&mut err)?);
    if let Ok(status) = &ended
        && status.code() == Some(2)
    {
        return Err(bad_input(format!(
            "{} cannot run the conformance suite on {engine} ({}): build it with the feature `conformance`, which is on where nobody turns it off",
            worker.display(),
            last_line(&complained)
        )));
    }
    Ok(held(engine, &said, ended, &complained))
}

fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
}

fn held(engine: &str, said: &str, ended: Result<ExitStatus>, complained: &str) -> Held {
    let end = format!("conformance of {engine}: ");
    let mut held = Held { engine: engine.to_owned(), cases: 0, failures: Vec::new() };
    let mut count = None;
    for line in said.lines() {
        match line.strip_prefix(&end) {
            Some(counts) => count = counts.split(' ').next().and_then(|cases| cases.parse().ok()),
            None => held.failures.push(line.to_owned()),
        }
    }
    held.cases = count.unwrap_or_default();
    let is_whole = match &ended {
        Ok(status) => count.is_some() && status.code() == Some(i32::from(!held.failures.is_empty())),
        Err(_) => false,
    };
    if !is_whole {
        let how = match ended {
            Err(error) => format!("{error:#}"),
            Ok(status) => match status.signal() {
                Some(signal) => format!("it was ended by signal {signal}"),
                None => format!("it ended with code {}", status.code().unwrap_or_default()),
            },
        };
        held.failures.push(format!("it did not come to its end: {how}; its last words: {}", last_line(complained)));
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "conformance of x: 12 cases, 0 failures\n";

    fn failures(said: &str, ended: Result<i32>) -> Vec<String> {
        let held = held("x", said, ended.map(ExitStatus::from_raw), "thread panicked\nat once\n\n");
        assert_eq!(held.cases, if said.contains("12 cases") { 12 } else { 0 });
        held.failures
    }

    /// As the system tells an exit code.
    const fn code(code: i32) -> Result<i32> {
        Ok(code << 8)
    }

    #[test]
    fn only_a_suite_that_came_to_its_end_without_a_failure_has_none() {
        assert!(failures(END, code(0)).is_empty());
        assert_eq!(failures(&format!("gemm is off\n{END}"), code(1)), ["gemm is off"]);
        let cut = |how: &str| vec![format!("it did not come to its end: {how}; its last words: at once")];
        assert_eq!(failures("", code(0)), cut("it ended with code 0"));
        assert_eq!(failures(END, code(1)), cut("it ended with code 1"));
        assert_eq!(failures("", Ok(11)), cut("it was ended by signal 11"));
        assert_eq!(failures(END, Err(anyhow::anyhow!("no end within 9 s"))), cut("no end within 9 s"));
        let told = failures("gemm is off\n", Ok(6));
        assert_eq!((told[0].as_str(), told.len()), ("gemm is off", 2), "{told:?}");
    }
}
