//! Instruction counts: what two builds execute for the same call, counted by valgrind's callgrind.
//!
//! A count needs no quiet machine, and differs by a few instructions where a time differs by percents. It says nothing of caches and stalls, so it
//! stands beside the timed gate. Counted are
//!
//! * **cells**, on one thread, with the instruction sets that valgrind knows (no AVX-512). A worker is run twice, with few calls and with more; the
//!   difference, over the calls that it has more, is a call's count. All that is done once falls out of it, so no symbol needs to be known, and any
//!   revision can be counted;
//! * **commands** as wholes ([`Command`]): the planner, and the aggregation of a journal into tables. Hash tables begin with a random seed, which moves
//!   their counts by a percent or two: the smallest of some runs counts.
//!
//! Both builds must have computed a cell with the same instruction set, or nothing is compared. Not gungraun, which compares with the run before by
//! benchmarks that both revisions must have: here are two programs side by side, and all that is needed is a sum.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use crossover_protocol::{Cell, FailureKind, PROTOCOL_VERSION, ReadLine, Request, Response, SupportLevel, read_message};

use super::limits::{Limits, wait};
use super::verdict::Verdict;

/// Calls of the shorter and of the longer run.
const CALLS: [u32; 2] = [1, 9];
/// Runs of a command, of which the smallest count is taken.
const RUNS: usize = 3;
/// A cell whose count grew by more than this share regressed.
const CELL_TOLERATED: f64 = 0.01;
/// The same of a command.
const COMMAND_TOLERATED: f64 = 0.05;

/// The programs of one build.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `crossover-worker`.
    pub worker: PathBuf,
    /// `crossover`, where it lies beside the worker.
    pub command: Option<PathBuf>,
}

impl Programs {
    /// The worker, and the command in the same folder.
    pub fn beside(worker: PathBuf) -> Self {
        let command = Some(worker.with_file_name("crossover")).filter(|path| path.is_file());
        Self { worker, command }
    }
}

/// A command that is counted as a whole.
#[derive(Debug, Clone)]
pub struct Command {
    /// For people.
    pub name: &'static str,
    /// Its arguments; `OUT` becomes a new folder.
    pub arguments: Vec<String>,
}

/// A count, with what computed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Instructions of a call, or of the command.
    pub instructions: u64,
    /// The instruction set of a cell; none of a command.
    pub isa: String,
}

/// Why there is no count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncounted {
    /// The build does not have it: an unknown variant, an engine that says no.
    Absent(String),
    /// It was not to be had: no end in time, a program that does not run under valgrind.
    Failed(String),
}

impl Uncounted {
    fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<Refusal>() {
            Some(Refusal(why)) => Self::Absent(why.clone()),
            None => Self::Failed(format!("{error:#}")),
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Absent(why) | Self::Failed(why) => why,
        }
    }
}

/// A worker's no.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// What became of one cell or command.
#[derive(Debug, Clone)]
pub struct Counted {
    /// In words.
    pub name: String,
    /// Base's and head's counts, or why there is none.
    pub counts: [Result<Count, Uncounted>; 2],
    /// Growth beyond this share is a regression.
    pub tolerated: f64,
}

impl Counted {
    /// A cell that no build of ours computes.
    pub fn left_out(name: String, why: &str) -> Self {
        let absent = || Err(Uncounted::Absent(why.to_owned()));
        Self { name, counts: [absent(), absent()], tolerated: CELL_TOLERATED }
    }

    /// A command that could not even be tried.
    pub fn failed(name: String, why: &str) -> Self {
        let failed = || Err(Uncounted::Failed(why.to_owned()));
        Self { name, counts: [failed(), failed()], tolerated: COMMAND_TOLERATED }
    }

    /// Head's count over base's, where both can be compared.
    pub fn ratio(&self) -> Option<f64> {
        match &self.counts {
            [Ok(base), Ok(head)] if base.isa == head.isa && base.instructions > 0 => {
                Some(head.instructions as f64 / base.instructions as f64)
            }
            _ => None,
        }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        match (self.ratio(), &self.counts) {
            (Some(ratio), _) if ratio > 1.0 + self.tolerated => Verdict::Regressed,
            (Some(ratio), _) if ratio < 1.0 - self.tolerated => Verdict::Improved,
            (Some(_), _) => Verdict::Pass,
            (None, [Ok(_), Err(Uncounted::Absent(_))]) => Verdict::Regressed,
            // New in head.
            (None, [Err(Uncounted::Absent(_)), Ok(_)]) => Verdict::Pass,
            (None, [Err(Uncounted::Absent(_)), Err(Uncounted::Absent(_))]) => Verdict::NotCompared,
            (None, _) => Verdict::Inconclusive,
        }
    }

    /// What there is to say of it.
    pub fn said(&self) -> String {
        match &self.counts {
            [Ok(base), Ok(head)] => match self.ratio() {
                Some(ratio) => format!("{} to {} instructions, {:+.2} %", base.instructions, head.instructions, 100.0 * (ratio - 1.0)),
                None if base.isa == head.isa => "base executed nothing that could be counted".to_owned(),
                None => {
                    format!("base computed it with {}, head with {}: counts of two instruction sets are not compared", base.isa, head.isa)
                }
            },
            [Ok(_), Err(head)] => format!("base can be counted, head cannot: {}", head.why()),
            [Err(Uncounted::Absent(why)), Ok(_)] => format!("new: base does not have it ({why})"),
            [Err(base), Ok(_)] => format!("head can be counted, base cannot: {}", base.why()),
            [Err(_), Err(head)] => format!("neither can be counted: {}", head.why()),
        }
    }
}

/// Why nothing is counted on this machine; `None` where valgrind is there.
pub fn missing() -> Option<String> {
    let asked = Process::new("valgrind").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match asked {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("`valgrind --version` ended with {status}")),
        Err(error) => Some(format!("valgrind cannot be started ({error}): install it, as by `apt install valgrind`")),
    }
}

/// Counts a cell in both builds.
pub fn cell(name: String, cell: &Cell, builds: &[Programs; 2], limits: &Limits<'_>) -> Counted {
    let counts = [0, 1].map(|side| cell_count(cell, &builds[side].worker, limits).map_err(|error| Uncounted::of(&error)));
    Counted { name, counts, tolerated: CELL_TOLERATED }
}

/// Counts a command in both builds.
pub fn command(command: &Command, builds: &[Programs; 2], limits: &Limits<'_>) -> Counted {
    let count = |programs: &Programs| -> Result<Count> {
        let path = programs.command.as_ref().context("there is no `crossover` beside this worker")?;
        let mut counts = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            let folder = tempfile::tempdir()?;
            let arguments = command.arguments.iter().map(|given| match given.as_str() {
                "OUT" => folder.path().join("out").into_os_string(),
                given => given.into(),
            });
            let mut process = callgrind(&programs.worker, folder.path());
            process.arg(path).args(arguments).env("CROSSOVER_WORKER", &programs.worker);
            counts.push(run(process, folder.path(), &[], limits)?.0);
        }
        Ok(Count { instructions: counts.into_iter().min().unwrap_or_default(), isa: String::new() })
    };
    let counts = [0, 1].map(|side| count(&builds[side]).map_err(|error| Uncounted::of(&error)));
    Counted { name: command.name.to_owned(), counts, tolerated: COMMAND_TOLERATED }
}

fn cell_count(cell: &Cell, worker: &Path, limits: &Limits<'_>) -> Result<Count> {
    let folder = tempfile::tempdir()?;
    let mut totals = [0, 0];
    let mut isa = String::new();
    for (total, calls) in totals.iter_mut().zip(CALLS) {
        let requests = [
            Request::Hello { protocol: PROTOCOL_VERSION },
            Request::Prepare { cell: cell.clone(), inputs: None },
            Request::Measure { samples: 1, calls },
            Request::Quit {},
        ];
        let lines = requests.iter().map(|request| Ok(serde_json::to_string(request)? + "\n")).collect::<Result<String>>()?;
        let mut process = callgrind(worker, folder.path());
        process.arg(worker).env("RAYON_NUM_THREADS", "1");
        let (instructions, said) = run(process, folder.path(), lines.as_bytes(), limits)?;
        *total = instructions;
        isa = instruction_set(&said)?;
    }
    let calls = u64::from(CALLS[1] - CALLS[0]);
    let more = totals[1].checked_sub(totals[0]).context("nine calls executed less than one")?;
    Ok(Count { instructions: more / calls, isa })
}

/// What computed a cell, by the worker's answers; an error where one of them is no success.
fn instruction_set(said: &[u8]) -> Result<String> {
    let (mut reader, mut isa, mut was_measured) = (said, None, false);
    while let ReadLine::Message(answer) = read_message::<Response>(&mut reader)? {
        match answer {
            Response::Hello(hello) if hello.protocol != PROTOCOL_VERSION => {
                bail!("it speaks protocol version {}, this program speaks {PROTOCOL_VERSION}", hello.protocol)
            }
            Response::Prepared(prepared) if prepared.support == SupportLevel::Emulated => {
                bail!(Refusal("it is computed in another precision than asked".to_owned()))
            }
            Response::Prepared(prepared) => isa = Some(prepared.isa),
            Response::Measured(_) => was_measured = true,
            Response::Failed(fault) => match fault.kind {
                FailureKind::Unsupported | FailureKind::BadRequest => bail!(Refusal(fault.message)),
                _ => bail!("{}", fault.message),
            },
            _ => {}
        }
    }
    isa.filter(|_| was_measured).context("it did not answer all requests")
}

/// Valgrind, as which the worker goes on: so it dies with this process, whatever ends that.
fn callgrind(worker: &Path, folder: &Path) -> Process {
    let mut process = dying_with_us(worker);
    let mut out = std::ffi::OsString::from("--callgrind-out-file=");
    out.push(folder.join("counts"));
    process.args(["valgrind", "--tool=callgrind", "-q"]).arg(out).arg("--");
    process
}

/// A process that the kernel ends when this one ends; its program and arguments are to follow.
pub fn dying_with_us(worker: &Path) -> Process {
    let mut process = Process::new(worker);
    process.args(["exec", "--"]);
    process
}

/// The count of a run and what it said, which must be short enough for a pipe's buffer or be read by then: files take it.
fn run(mut process: Process, folder: &Path, input: &[u8], limits: &Limits<'_>) -> Result<(u64, Vec<u8>)> {
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    let mut child = process
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&out)?)
        .stderr(std::fs::File::create(&err)?)
        .spawn()
        .context("valgrind cannot be started")?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why by its status.
        let _ = stdin.write_all(input);
    }
    let status = wait(&mut child, limits)?;
    if !status.success() {
        let said = std::fs::read_to_string(&err).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        bail!("under valgrind it ended with {status}: {last}");
    }
    let counts = std::fs::read_to_string(folder.join("counts")).context("callgrind left no counts")?;
    Ok((total(&counts)?, std::fs::read(&out)?))
}

/// The sum of callgrind's file.
fn total(counts: &str) -> Result<u64> {
    let line = counts.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| anyhow!("callgrind's file has no line `totals:` with a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Given<'a> = Result<(u64, &'a str), Uncounted>;

    fn counted(base: Given<'_>, head: Given<'_>) -> Counted {
        let count = |given: Given<'_>| given.map(|(instructions, isa)| Count { instructions, isa: isa.into() });
        Counted { name: "x".into(), counts: [count(base), count(head)], tolerated: 0.01 }
    }

    #[test]
    fn each_verdict_and_what_is_said_of_it() {
        let absent = |why: &str| Err(Uncounted::Absent(why.to_owned()));
        let failed = |why: &str| Err(Uncounted::Failed(why.to_owned()));
        for (base, head, verdict, said) in [
            (Ok((1000, "avx2")), Ok((1010, "avx2")), Verdict::Pass, "1000 to 1010 instructions, +1.00 %"),
            (Ok((1000, "avx2")), Ok((1011, "avx2")), Verdict::Regressed, "+1.10 %"),
            (Ok((1000, "avx2")), Ok((900, "avx2")), Verdict::Improved, "-10.00 %"),
            (Ok((1000, "avx2")), Ok((900, "scalar")), Verdict::Inconclusive, "base computed it with avx2, head with scalar"),
            (Ok((0, "avx2")), Ok((900, "avx2")), Verdict::Inconclusive, "nothing that could be counted"),
            (Ok((1000, "avx2")), absent("gone"), Verdict::Regressed, "head cannot: gone"),
            (Ok((1000, "avx2")), failed("late"), Verdict::Inconclusive, "head cannot: late"),
            (absent("not there"), Ok((1, "avx2")), Verdict::Pass, "new: base does not have it (not there)"),
            (failed("late"), Ok((1, "avx2")), Verdict::Inconclusive, "head can be counted, base cannot: late"),
            (absent("a"), absent("b"), Verdict::NotCompared, "neither can be counted: b"),
            (failed("a"), failed("b"), Verdict::Inconclusive, "neither can be counted: b"),
        ] {
            let counted = counted(base, head);
            assert_eq!(counted.verdict(), verdict, "{counted:?}");
            assert!(counted.said().contains(said), "{}", counted.said());
        }
    }

    #[test]
    fn the_sum_is_the_last_one_and_its_absence_is_an_error() {
        assert_eq!(total("events: Ir\nsummary: 5\nfn=x\ntotals: 7\n").unwrap(), 7);
        for bad in ["", "totals: \n", "totals: many\n"] {
            assert!(total(bad).unwrap_err().to_string().contains("totals"), "{bad:?}");
        }
    }

    #[test]
    fn answers_must_be_successes() {
        let prepared =
            r#"{"type":"prepared","support":"native","reason":null,"prepare_ns":1,"flops":1,"bytes":1,"threads_used":1,"isa":"avx2"}"#;
        let measured = r#"{"type":"measured","samples":[{"calls":1,"ns":5,"disturbed":false}]}"#;
        let of = |lines: &[&str]| instruction_set((lines.join("\n") + "\n").as_bytes()).map_err(|error| error.to_string());
        assert_eq!(of(&[prepared, measured]).unwrap(), "avx2");
        assert!(of(&[prepared]).unwrap_err().contains("did not answer"));
        assert!(of(&[&prepared.replace("native", "emulated"), measured]).unwrap_err().contains("another precision"));
        let failed = r#"{"type":"failed","kind":"bad-request","message":"no such cell"}"#;
        assert_eq!(of(&[failed, measured]).unwrap_err(), "no such cell");
    }
}
