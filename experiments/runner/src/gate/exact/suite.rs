//! The conformance suite on the engines of a build: every property of every operation, on inputs that no cell has.
//!
//! Cells have ordinary numbers, so an engine that drops a NaN, spreads a row that a mask hides or takes what it should refuse computes all of them right. The
//! worker has the suite in it and runs it on one engine a process (`crossover-worker conformance ENGINE`).
//!
//! | the suite | is |
//! |---|---|
//! | finds something wrong, or crashes | a regression, whatever was before; what is refused is not looked at, as a property is not tried further after a failure |
//! | is refused more than before | a regression, by the rules of [`super::refusals`]: a suite of refusals has no failures |
//! | does not end in time, is ended by somebody, finds no memory, or cannot be started, and nothing was wrong by then | no verdict: that may be the machine's doing |

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::errors::{bad_input, environment};
use crate::gate::limits::{Limits, wait};
use crate::gate::verdict::Verdict;

use super::compare::Change;
use super::refusals::{self, OfEngine};

/// What the suite says of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The engine.
    pub engine: String,
    /// Cases that were tried; none where it did not come to its end.
    pub cases: u64,
    /// What does not hold.
    pub failures: Vec<String>,
    /// What is refused.
    pub refusals: OfEngine,
}

impl Held {
    /// What it found by the time of an end before its end.
    fn cut_off(mut self, how: &str) -> Self {
        self.cases = 0;
        self.failures.push(format!("it did not come to its end: {how}"));
        self
    }

    fn change(&self, verdict: Verdict, what: String) -> Change {
        Change { cell: format!("the conformance suite on {}", self.engine), verdict, what }
    }

    /// What changed beside these refusals of the same engine.
    pub fn changes(&self, before: &OfEngine) -> Vec<Change> {
        let failures = self.failures.iter().map(|what| self.change(Verdict::Regressed, what.clone()));
        if self.cases == 0 || !self.failures.is_empty() {
            return failures.collect();
        }
        refusals::changes(before, &self.refusals).into_iter().map(|(verdict, what)| self.change(verdict, what)).collect()
    }
}

/// Runs the suite on an engine. An error is a worker that has none, or a suite of which the machine may have made an end.
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
    let (held, unread) = parse(engine, &said);
    let place = place(&complained);
    let how = match ended {
        Err(error) => format!("{error:#}"),
        Ok(status) if status.code() == Some(2) => {
            return Err(bad_input(format!(
                "{} cannot run the conformance suite on {engine} ({}): build it with the feature `conformance`, which is on where nobody turns it off",
                worker.display(),
                complaint(&complained)
            )));
        }
        Ok(status) => match end_by_the_machine(status, &complained) {
            Some(how) => how.to_owned(),
            None => return Ok(ended_by_itself(held, unread, status, &place)),
        },
    };
    // What was wrong by then stays wrong.
    if held.failures.is_empty() || (limits.stops)() {
        return Err(environment(format!("the conformance suite on {engine}: {how}{place}")));
    }
    Ok(held.cut_off(&format!("{how}{place}")))
}

/// Why the machine or its user may have made the end, and not the engine.
fn end_by_the_machine(status: ExitStatus, complained: &str) -> Option<&str> {
    let is = |signal: Signal| status.signal() == Some(signal.as_raw());
    if status.code() == Some(3) {
        Some(complaint(complained))
    } else if is(Signal::KILL) {
        Some("it was killed: was the machine out of memory?")
    } else if is(Signal::ABORT) && complained.contains("memory allocation of ") {
        Some("it found no memory")
    } else {
        [Signal::TERM, Signal::INT, Signal::HUP].into_iter().any(is).then_some("it was ended by somebody")
    }
}

fn text(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What it tried last.
fn place(complained: &str) -> String {
    let last = complained.lines().rev().find_map(|line| line.strip_prefix("trying "));
    last.map_or_else(String::new, |last| format!(", in {last}"))
}

/// The line that says what is wrong.
fn complaint(complained: &str) -> &str {
    let line =
        complained.lines().find(|line| line.starts_with("error:")).or_else(|| complained.lines().rfind(|line| !line.trim().is_empty()));
    line.unwrap_or("it said nothing")
}

/// What it said, and the first line of it that means nothing.
fn parse<'a>(engine: &str, said: &'a str) -> (Held, Option<&'a str>) {
    let mut held = Held { engine: engine.to_owned(), cases: 0, failures: Vec::new(), refusals: OfEngine::new() };
    let (end, mut unread) = (format!("conformance of {engine}: "), None);
    for line in said.lines() {
        if let Some(failure) = line.strip_prefix("failed: ") {
            held.failures.push(failure.to_owned());
        } else if let Some((what, cases)) = line.strip_prefix("refused: ").and_then(refusals::parse)
            && !held.refusals.contains_key(&what)
        {
            held.refusals.insert(what, cases);
        } else if let Some(cases) = line.strip_prefix(&end).and_then(|counts| counts.split(' ').next()?.parse().ok()) {
            held.cases = cases;
        } else {
            unread = unread.or(Some(line));
        }
    }
    (held, unread)
}

/// Of a suite that ended by itself: what it said, and whether its end is that of one which came through.
fn ended_by_itself(held: Held, unread: Option<&str>, status: ExitStatus, place: &str) -> Held {
    match (status.signal(), status.code(), unread) {
        (Some(signal), ..) => held.cut_off(&format!("it was ended by signal {signal}{place}")),
        (None, _, Some(line)) => held.cut_off(&format!("it said {line:?}")),
        (None, code, None) if held.cases == 0 || code != Some(i32::from(!held.failures.is_empty())) => {
            let how = format!("it ended with code {} after {} cases{place}", code.unwrap_or_default(), held.cases);
            held.cut_off(&how)
        }
        _ => held,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const END: &str = "conformance of x: 12 cases, 0 failures\n";

    fn of(said: &str, status: i32) -> Held {
        let (held, unread) = parse("x", said);
        let complained = "trying gemm at f32\nthread panicked\ntrying softmax at f64\nnote: at once\n";
        ended_by_itself(held, unread, ExitStatus::from_raw(status), &place(complained))
    }

    /// As the system tells an exit code.
    const fn code(code: i32) -> i32 {
        code << 8
    }

    #[test]
    fn only_a_suite_that_came_to_its_end_without_a_failure_has_none() {
        let clean = of(END, code(0));
        assert_eq!((clean.cases, clean.failures.len()), (12, 0));
        assert_eq!(of(&format!("failed: gemm is off\n{END}"), code(1)).failures, ["gemm is off"]);
        let cut = |said: &str, status, how: &str| {
            let held = of(said, status);
            assert_eq!((held.cases, held.failures.last().unwrap().as_str()), (0, &*format!("it did not come to its end: {how}")));
            held.failures.len()
        };
        assert_eq!(cut("", code(0), "it ended with code 0 after 0 cases, in softmax at f64"), 1);
        assert_eq!(cut(END, code(1), "it ended with code 1 after 12 cases, in softmax at f64"), 1);
        assert_eq!(cut("failed: gemm is off\n", 11, "it was ended by signal 11, in softmax at f64"), 2);
        assert_eq!(cut(&format!("hello\n{END}"), code(0), "it said \"hello\""), 1);
        for refused in ["gemm: 4 of 3", "gemm: 0 of 3", "gemm: 3", "norm: 2 of 3"] {
            let said = format!("refused: norm: 1 of 3\nrefused: {refused}\n{END}");
            assert_eq!(cut(&said, code(0), &format!("it said \"refused: {refused}\"")), 1);
        }
        assert_eq!(cut("conformance of x: 0 cases, 0 failures\n", code(0), "it ended with code 0 after 0 cases, in softmax at f64"), 1);
    }

    /// The suite as a script with this body, on an engine `x`.
    fn hold_script(body: &str, deadline: Duration, stops: bool) -> Result<Held> {
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("worker");
        // Written by another process, so that none of this one's children holds it open for writing when it is started.
        let script = format!("#!/bin/sh\n{body}\n");
        let writing = Command::new("sh").args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""]).arg(&worker).arg(script).status();
        assert!(writing.unwrap().success());
        hold(&worker, "x", &Limits { deadline, stops: &|| stops })
    }

    #[test]
    fn an_end_that_the_machine_may_have_made_is_no_verdict_unless_something_was_wrong_before() {
        let (long, short) = (Duration::from_secs(60), Duration::from_secs(2));
        let refused = |body: &str, deadline, stops, words: &str| {
            let error = format!("{:#}", hold_script(body, deadline, stops).unwrap_err());
            assert!(error.contains(words), "{error}");
        };
        let late = "echo trying gemm at f32 >&2; exec sleep 60";
        refused(late, short, false, "the conformance suite on x: no end within 2 s, in gemm at f32");
        refused(late, long, true, "the conformance suite on x: stopped");
        refused("kill -9 $$", long, false, "was killed: was the machine out of memory?");
        refused("kill -15 $$", long, false, "was ended by somebody");
        refused("echo memory allocation of 9 bytes failed >&2; kill -6 $$", long, false, "found no memory");
        refused("echo error: no disk >&2; exit 3", long, false, "error: no disk");
        for (end, deadline) in [("exec sleep 60", short), ("kill -9 $$", long), ("exit 3", long)] {
            let held = hold_script(&format!("echo failed: gemm is off; {end}"), deadline, false).unwrap();
            assert_eq!((held.cases, held.failures.len(), held.failures[0].as_str()), (0, 2, "gemm is off"));
        }
        // An engine that falls over by itself is wrong.
        assert_eq!(hold_script("kill -11 $$", long, false).unwrap().failures.len(), 1);
    }

    #[test]
    fn refusals_are_looked_at_only_of_a_suite_that_found_nothing_wrong() {
        let held = of(&format!("refused: silu at f16: 2 of 3\n{END}"), code(0));
        let told: Vec<String> =
            held.changes(&OfEngine::new()).into_iter().map(|change| format!("{}: {}", change.cell, change.what)).collect();
        assert_eq!(told, ["the conformance suite on x: silu at f16 is refused now, in 2 of 3 cases"]);
        assert!(held.changes(&held.refusals).is_empty());
        // Of one that was cut off nobody knows what it would have been refused, and of one with a failure neither.
        assert_eq!(of("", 6).changes(&held.refusals).len(), 1);
        assert_eq!(of(&format!("failed: gelu is off\n{END}"), code(1)).changes(&held.refusals).len(), 1);
    }

    #[test]
    fn the_line_that_says_what_is_wrong_is_told() {
        let clap = "error: unrecognized subcommand 'conformance'\n\nFor more information, try '--help'.\n";
        assert_eq!(complaint(clap), "error: unrecognized subcommand 'conformance'");
        assert_eq!((complaint("a\nb\n\n"), complaint("")), ("b", "it said nothing"));
    }
}
