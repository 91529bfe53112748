//! The conformance suite on the engines of a build: every property of every operation, on inputs that no cell has.
//!
//! Cells have ordinary numbers, so an engine that drops a NaN, spreads a row that a mask hides or takes what it should refuse computes all of them right. The
//! worker has the suite in it and runs it on one engine a process (`crossover-worker conformance ENGINE`).
//!
//! | the suite | is |
//! |---|---|
//! | finds something wrong, or crashes | a regression, whatever was before; what is refused is not looked at, as a property is not tried further after a failure |
//! | is refused a property at a precision that is not in the baseline (`results/baselines/NAME-refusals.csv`) | a regression: a suite of refusals has no failures |
//! | has fewer cases of a property taken than there | likewise |
//! | has fewer refused | better |
//! | has fewer cases of a property than there | a regression where a larger share of them is refused, otherwise told |
//! | does not end in time, is ended by somebody, finds no memory, or cannot be started, and nothing was wrong by then | no verdict: that may be the machine's doing |
//!
//! What is refused does not depend on the instruction set: an engine that has no instructions for a precision computes in another one. So the baseline has no rows of
//! machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use crossover_results::write_atomically;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::commands::text::counted;
use crate::errors::{bad_input, environment};
use crate::gate::limits::{Limits, wait};
use crate::gate::verdict::Verdict;

use super::compare::Change;

/// A property of which an engine refuses cases at a precision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The engine.
    pub engine: String,
    /// The property and the precision, in the suite's words.
    pub what: String,
    /// Cases that it takes.
    pub taken: u32,
    /// Cases that it refuses, one or more.
    pub refused: u32,
}

impl Refusal {
    /// From the suite's line, without its beginning: `PROPERTY at PRECISION: REFUSED of CASES`.
    fn parse(engine: &str, said: &str) -> Option<Self> {
        let (what, counts) = said.rsplit_once(": ")?;
        let (refused, cases) = counts.split_once(" of ")?;
        let (refused, cases): (u32, u32) = (refused.parse().ok()?, cases.parse().ok()?);
        let one = Self { engine: engine.to_owned(), what: what.to_owned(), taken: cases.checked_sub(refused)?, refused };
        one.is_refusal().then_some(one)
    }

    fn is_refusal(&self) -> bool {
        self.refused > 0
    }

    fn cases(&self) -> u64 {
        u64::from(self.taken) + u64::from(self.refused)
    }

    /// Beside what it was before: the verdict where it changed. Cases that are new to the suite change nothing as long as as many as before are taken.
    fn change(&self, before: Option<&Self>) -> Option<(Verdict, String)> {
        let Self { what, taken, refused, .. } = self;
        let now = format!("{refused} of {}", counted(self.cases(), "case"));
        let Some(before) = before else { return Some((Verdict::Regressed, format!("{what} is refused now, in {now}"))) };
        let told = |between| format!("{what} is refused in {now}{between}, before in {} of {}", before.refused, before.cases());
        let has_lost_cases = self.cases() < before.cases();
        let larger_share = u64::from(*refused) * before.cases() > u64::from(before.refused) * self.cases();
        if (has_lost_cases && larger_share) || (!has_lost_cases && *taken < before.taken) {
            Some((Verdict::Regressed, told("")))
        } else if has_lost_cases {
            Some((Verdict::Pass, told(", of which the suite has fewer now")))
        } else {
            (*refused < before.refused).then(|| (Verdict::Improved, told(" only")))
        }
    }
}

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
    pub refusals: BTreeSet<Refusal>,
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

    /// What changed beside these refusals.
    pub fn changes(&self, baseline: &BTreeSet<Refusal>) -> Vec<Change> {
        let failures = self.failures.iter().map(|what| self.change(Verdict::Regressed, what.clone()));
        if self.cases == 0 || !self.failures.is_empty() {
            return failures.collect();
        }
        let (before, now) = (self.by_name(baseline), self.by_name(&self.refusals));
        let changed = now.iter().filter_map(|(what, one)| one.change(before.get(what).copied()));
        let gone =
            before.keys().filter(|what| !now.contains_key(*what)).map(|what| (Verdict::Improved, format!("{what} is refused no more")));
        changed.chain(gone).map(|(verdict, what)| self.change(verdict, what)).collect()
    }

    /// This engine's.
    fn by_name<'a>(&self, of: &'a BTreeSet<Refusal>) -> BTreeMap<&'a str, &'a Refusal> {
        of.iter().filter(|one| one.engine == self.engine).map(|one| (one.what.as_str(), one)).collect()
    }
}

/// Reads the refusals of a baseline; none where there is no such file.
pub fn read(path: &Path) -> Result<BTreeSet<Refusal>> {
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let damaged =
        |how: String| bad_input(format!("the refusals in {} are damaged: {how}; restore the file from the repository", path.display()));
    let rows = csv::Reader::from_path(path)
        .and_then(|reader| reader.into_deserialize().collect::<std::result::Result<Vec<Refusal>, csv::Error>>());
    let rows = rows.map_err(|error| damaged(error.to_string()))?;
    let mut refusals = BTreeSet::new();
    for row in rows {
        let name = format!("{}, {}", row.engine, row.what);
        if !row.is_refusal() {
            return Err(damaged(format!("{name}: none of its cases is refused")));
        }
        if has(&refusals, &row) {
            return Err(damaged(format!("{name}: it is there twice")));
        }
        refusals.insert(row);
    }
    Ok(refusals)
}

/// Is the engine refused the same property already?
fn has(refusals: &BTreeSet<Refusal>, one: &Refusal) -> bool {
    refusals.iter().any(|other| other.engine == one.engine && other.what == one.what)
}

/// Puts the refusals of these engines in the places of their earlier ones.
pub fn write(path: &Path, mut refusals: BTreeSet<Refusal>, held: &[Held]) -> Result<()> {
    refusals.retain(|refusal| held.iter().all(|held| held.engine != refusal.engine));
    refusals.extend(held.iter().flat_map(|held| held.refusals.iter().cloned()));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for refusal in refusals {
        writer.serialize(refusal)?;
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(write_atomically(path, &bytes)?)
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
    let mut held = Held { engine: engine.to_owned(), cases: 0, failures: Vec::new(), refusals: BTreeSet::new() };
    let (end, mut unread) = (format!("conformance of {engine}: "), None);
    for line in said.lines() {
        if let Some(failure) = line.strip_prefix("failed: ") {
            held.failures.push(failure.to_owned());
        } else if let Some(refusal) = line.strip_prefix("refused: ").and_then(|said| Refusal::parse(engine, said))
            && !has(&held.refusals, &refusal)
        {
            held.refusals.insert(refusal);
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

    fn refusals(engine: &str, said: &[&str]) -> BTreeSet<Refusal> {
        said.iter().map(|said| Refusal::parse(engine, said).unwrap()).collect()
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
    fn what_is_refused_now_is_worse_and_what_no_more_is_better() {
        let said = ["gelu at f16: 1 of 3", "gemm at int8: 3 of 3", "norm at f16: 2 of 4", "silu at f16: 2 of 3", "softmax at f16: 1 of 3"];
        let held = of(&format!("{}{END}", said.map(|line| format!("refused: {line}\n")).concat()), code(0));
        assert_eq!(held.refusals, refusals("x", &said));
        let mut baseline = refusals("x", &["gelu at f16: 3 of 3", "gemm at int8: 3 of 3", "mean at f16: 3 of 3"]);
        // Of `norm` the suite has a case more, which is refused.
        baseline.extend(refusals("x", &["norm at f16: 1 of 3", "silu at f16: 1 of 3"]));
        baseline.extend(refusals("y", &["softmax at f16: 1 of 3"]));
        let told: Vec<String> =
            held.changes(&baseline).iter().map(|change| format!("{}: {}", change.verdict.name(), change.what)).collect();
        let expected = [
            "improved: gelu at f16 is refused in 1 of 3 cases only, before in 3 of 3",
            "regressed: silu at f16 is refused in 2 of 3 cases, before in 1 of 3",
            "regressed: softmax at f16 is refused now, in 1 of 3 cases",
            "improved: mean at f16 is refused no more",
        ];
        assert_eq!(told, expected);
        // Of one that was cut off nobody knows what it would have been refused, and of one with a failure neither.
        assert_eq!(of("", 6).changes(&baseline).len(), 1);
        assert_eq!(of(&format!("failed: gelu is off\n{END}"), code(1)).changes(&baseline).len(), 1);
    }

    #[test]
    fn where_the_suite_has_fewer_cases_their_share_decides() {
        let change = |before: &str, now: &str| {
            let of = |said: &str| Refusal::parse("x", &format!("gemm at int8: {said}")).unwrap();
            of(now).change(Some(&of(before))).map(|(verdict, what)| format!("{}: {what}", verdict.name()))
        };
        let told =
            |verdict: &str, now: &str, before: &str| Some(format!("{verdict}: gemm at int8 is refused in {now}, before in {before}"));
        assert_eq!(change("4 of 12", "1 of 1"), told("regressed", "1 of 1 case", "4 of 12"));
        assert_eq!(change("4 of 12", "4 of 8"), told("regressed", "4 of 8 cases", "4 of 12"));
        for (before, now) in
            [("12 of 12", "1 of 1 case"), ("12 of 12", "8 of 8 cases"), ("6 of 12", "4 of 8 cases"), ("6 of 12", "1 of 8 cases")]
        {
            let counts = now.rsplit_once(' ').unwrap().0;
            assert_eq!(change(before, counts), told("pass", &format!("{now}, of which the suite has fewer now"), before));
        }
        assert_eq!(change("6 of 12", "6 of 12"), None);
        assert_eq!(change("12 of 12", "20 of 20"), None);
    }

    #[test]
    fn refusals_take_the_places_of_those_of_their_engine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x-refusals.csv");
        assert!(read(&path).unwrap().is_empty());
        let mut before = refusals("x", &["old: 1 of 2"]);
        before.extend(refusals("y", &["kept: 2 of 2"]));
        write(&path, before, &[of(&format!("refused: new: 1 of 3\n{END}"), code(0))]).unwrap();
        let mut expected = refusals("x", &["new: 1 of 3"]);
        expected.extend(refusals("y", &["kept: 2 of 2"]));
        assert_eq!(read(&path).unwrap(), expected);
        for (text, how) in [
            ("engine,what\nx\n", ""),
            ("x,gemm,3,0\n", "x, gemm: none of its cases"),
            ("x,gemm,3,1\nx,gemm,2,2\n", "x, gemm: it is there twice"),
        ] {
            std::fs::write(&path, if how.is_empty() { text.to_owned() } else { format!("engine,what,taken,refused\n{text}") }).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains(how), "{error}");
        }
    }

    #[test]
    fn the_line_that_says_what_is_wrong_is_told() {
        let clap = "error: unrecognized subcommand 'conformance'\n\nFor more information, try '--help'.\n";
        assert_eq!(complaint(clap), "error: unrecognized subcommand 'conformance'");
        assert_eq!((complaint("a\nb\n\n"), complaint("")), ("b", "it said nothing"));
    }
}
