//! How a worker can fail, and which status of a record that is.

use std::fs;
use std::time::Duration;

use crossover_protocol::{FailureKind, Fault};
use crossover_results::schema::Status;
use thiserror::Error;

/// A request that got no usable answer.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{step}: {cause}")]
pub struct WorkerFailure {
    /// The step in which it happened: `start`, or the request's name.
    pub step: &'static str,
    /// What happened.
    pub cause: Cause,
    /// The last lines that the worker wrote to stderr.
    pub stderr_tail: Option<String>,
}

/// What happened to a worker.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Cause {
    /// It could not be started.
    #[error("the worker could not be started: {0}")]
    Spawn(String),
    /// It exited where an answer was due.
    #[error("the worker exited with code {code} instead of answering")]
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// The loader could not start it, because a library that it is linked to is not there.
    #[error(
        "the worker could not be started: {library} is not on this machine{}",
        if is_of_cuda(library) {
            ". A worker with the feature candle-cuda starts only where CUDA and its driver are installed; build it without that feature, or \
             name another worker by CROSSOVER_WORKER"
        } else {
            ": install it, or name another worker"
        }
    )]
    MissingLibrary {
        /// The library's file name.
        library: String,
    },
    /// It was ended by a signal that did not come from the runner.
    #[error("{}", describe_signal(*signal))]
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The kernel ended it, as the machine or a group around the runner had no memory left.
    #[error("the kernel killed the worker for want of memory: the machine, or a limit around the run, has less than it takes")]
    MachineMemory,
    /// It died of the memory that the experiment allows it.
    #[error(
        "the {} MB that `memory_limit_mb` of the experiment allows a worker were not enough{}", .limit / 1_000_000,
        if *.of_addresses { " (counted is what it reserves, as no control group is handed over to the run)" } else { "" }
    )]
    MemoryLimit {
        /// The limit in bytes.
        limit: u64,
        /// It is on addresses, which may be reserved and never used.
        of_addresses: bool,
    },
    /// It did not answer in time, and was killed for it.
    #[error("no answer within {} s: the worker was killed (the limit is `step_timeout_s` of the experiment, or of the engine)", .0.as_secs_f64())]
    Deadline(Duration),
    /// It wrote something that is no message, closed its stdin or stdout, or spoke without being asked.
    #[error("the worker broke the protocol: {0}")]
    Garbage(String),
    /// It answered, but not to the question.
    #[error("the worker's answer does not fit the request: {0}")]
    WrongAnswer(String),
    /// It said that it cannot; it is alive.
    #[error("{}", .0.message)]
    Fault(Fault),
    /// The user wants the run to stop: no verdict on the worker, and no record.
    #[error("interrupted")]
    Interrupted,
}

/// What may tell why a worker died.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traces<'t> {
    /// Its last words.
    pub(super) tail: Option<&'t str>,
    /// The limit on its memory.
    pub(super) memory_limit: Option<u64>,
    /// The same, where its control group was killed for it.
    pub(super) limit_that_killed: Option<u64>,
    /// Whether the kernel killed any process for want of memory while it lived; absent where the kernel does not count that.
    pub(super) kernel_killed: Option<bool>,
}

/// How many processes the kernel has killed for want of memory, on the whole machine.
pub(super) fn kills_for_memory() -> Option<u64> {
    let counters = fs::read_to_string("/proc/vmstat").ok()?;
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

impl Cause {
    /// The cause behind an exit code or a signal, where something tells it.
    pub(super) fn told_by(self, traces: &Traces<'_>) -> Self {
        /// What the loader exits with where it cannot bring a program to its start.
        const LOADER: i32 = 127;
        /// What our own worker exits with where its surroundings lack something.
        const UNABLE: i32 = 3;
        let Traces { tail, memory_limit, limit_that_killed, kernel_killed } = *traces;
        let library = tail.and_then(|tail| tail.lines().find_map(|line| line.split_once("error while loading shared libraries: ")));
        match (&self, library) {
            (Self::Exited { code: LOADER }, Some((_, rest))) => {
                Self::MissingLibrary { library: rest.split(':').next().unwrap_or(rest).to_owned() }
            }
            (Self::Exited { code: UNABLE }, _) if let Some(what) = tail.and_then(not_started) => Self::Spawn(what.to_owned()),
            (Self::Signalled { signal: SIGKILL }, _) if limit_that_killed.is_some() => {
                limit_that_killed.map_or(self, |limit| Self::MemoryLimit { limit, of_addresses: false })
            }
            (Self::Signalled { signal: SIGKILL }, _) if kernel_killed == Some(true) => Self::MachineMemory,
            (Self::Exited { .. } | Self::Signalled { .. }, _) if tail.is_some_and(speaks_of_memory) => {
                memory_limit.map_or(self, |limit| Self::MemoryLimit { limit, of_addresses: true })
            }
            _ => self,
        }
    }
}

impl WorkerFailure {
    /// True where the run is being stopped, so that nothing must be recorded.
    pub fn is_interruption(&self) -> bool {
        self.cause == Cause::Interrupted
    }

    /// True where the worker is still there and can be asked again.
    pub fn leaves_worker_alive(&self) -> bool {
        matches!(self.cause, Cause::Fault(_) | Cause::WrongAnswer(_))
    }

    /// The status of a cell that ended so.
    pub fn status(&self) -> Status {
        match &self.cause {
            Cause::Signalled { .. } | Cause::Exited { .. } if self.stderr_tail.as_deref().is_some_and(speaks_of_memory) => Status::Oom,
            Cause::Fault(Fault { kind: FailureKind::OutOfMemory, .. }) | Cause::MemoryLimit { .. } | Cause::MachineMemory => Status::Oom,
            Cause::Fault(Fault { kind: FailureKind::Unsupported, .. }) => Status::Unsupported,
            Cause::MissingLibrary { library } if is_of_cuda(library) => Status::Unsupported,
            Cause::Deadline(_) => Status::Timeout,
            _ => Status::Crashed,
        }
    }
}

/// What our own worker, which makes the limits and then becomes the program, says where it cannot become it.
fn not_started(tail: &str) -> Option<&str> {
    tail.lines().next_back()?.strip_prefix("error: ").filter(|line| line.starts_with("cannot start "))
}

/// A library that comes with CUDA or its driver: without it no worker for a GPU starts, and its cells have a reason that is not the
/// worker's fault. What else a worker lacks, it should have been installed with.
fn is_of_cuda(library: &str) -> bool {
    const NAMES: [&str; 6] = ["libcuda", "libcudart", "libcublas", "libcublasLt", "libnvrtc", "libcurand"];
    library.split_once(".so").is_some_and(|(name, _)| NAMES.contains(&name))
}

/// An allocator that gives up says so on stderr before it aborts, in one of a few fixed phrases (Rust, C++, Python, libc).
/// Under a limit on addresses that is the only sign, as nobody sends a SIGKILL then; a control group's limit ends a worker by one, without
/// a word. It is a guess by text, used only for workers that died by themselves.
fn speaks_of_memory(tail: &str) -> bool {
    const PHRASES: [&str; 5] = ["memory allocation of ", "std::bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory"];
    let speaks = |line: &str| PHRASES.iter().any(|phrase| line.contains(phrase));
    tail.lines().rev().filter(|line| !is_backtrace(line)).take(5).any(speaks)
}

/// A line of a Rust backtrace: with RUST_BACKTRACE set, many of them follow the words that matter.
fn is_backtrace(line: &str) -> bool {
    let start = line.trim_start();
    let frame = start.split_once(':').is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    frame || start.starts_with("at ") || start.starts_with("stack backtrace:") || start.starts_with("note: Some details are omitted")
}

const SIGKILL: i32 = 9;

fn describe_signal(signal: i32) -> String {
    let name = match signal {
        SIGKILL => "SIGKILL that the runner did not send, nor the kernel for want of memory as far as it tells",
        4 => "SIGILL: an instruction that this processor does not have",
        6 => "SIGABRT: it aborted",
        7 => "SIGBUS: memory or a mapped file that is not there",
        8 => "SIGFPE: an arithmetic fault",
        11 => "SIGSEGV: memory that is not its own",
        13 => "SIGPIPE",
        15 => "SIGTERM that the runner did not send",
        _ => return format!("the worker was ended by signal {signal}"),
    };
    format!("the worker was ended by {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(cause: Cause, tail: Option<&str>) -> WorkerFailure {
        WorkerFailure { step: "measure", cause, stderr_tail: tail.map(str::to_owned) }
    }

    #[test]
    fn a_missing_library_is_told_in_words() {
        let tail = "crossover-worker: error while loading shared libraries: libcuda.so.1: cannot open shared object file: No such file";
        let told = |cause: Cause, tail| cause.told_by(&Traces { tail: Some(tail), ..Traces::default() });
        let cause = told(Cause::Exited { code: 127 }, tail);
        assert_eq!(cause, Cause::MissingLibrary { library: "libcuda.so.1".into() });
        let failure = failure(cause, Some(tail));
        assert_eq!(failure.status(), Status::Unsupported);
        assert!(failure.to_string().contains("candle-cuda") && failure.to_string().contains("CROSSOVER_WORKER"), "{failure}");
        // Whose name merely begins like CUDA's, or has nothing to do with it, is missing through a fault of the worker's own.
        let missing = |cause| self::failure(cause, None);
        for other in ["libcurl.so.4", "libcups.so.2", "libopenblas.so.0"] {
            let failure = missing(Cause::MissingLibrary { library: other.into() });
            assert_eq!(failure.status(), Status::Crashed, "{other}");
            let text = failure.to_string();
            assert!(text.contains(other) && text.contains("install it") && !text.contains("CUDA"), "{text}");
        }
        for cuda in ["libcudart.so.13", "libcublasLt.so.13", "libnvrtc.so.13", "libcurand.so.10"] {
            assert_eq!(missing(Cause::MissingLibrary { library: cuda.into() }).status(), Status::Unsupported, "{cuda}");
        }
        // Another exit, or other words, stay what they are.
        assert_eq!(told(Cause::Exited { code: 1 }, tail), Cause::Exited { code: 1 });
        assert_eq!(told(Cause::Exited { code: 127 }, "not found"), Cause::Exited { code: 127 });
    }

    #[test]
    fn a_program_that_is_not_there_is_told_in_words() {
        let said = "cannot start \"pyhton3\": is it installed, and is its path right?: No such file or directory (os error 2)";
        let tail = format!("error: {said}\n");
        let cause = Cause::Exited { code: 3 }.told_by(&Traces { tail: Some(&tail), ..Traces::default() });
        assert_eq!(failure(cause, Some(&tail)).to_string(), format!("measure: the worker could not be started: {said}"));
    }

    #[test]
    fn each_cause_has_its_status() {
        let fault = |kind| Cause::Fault(Fault { kind, message: "m".into() });
        let table = [
            (Cause::Spawn("x".into()), Status::Crashed),
            (Cause::Exited { code: 0 }, Status::Crashed),
            (Cause::Signalled { signal: 11 }, Status::Crashed),
            (Cause::Signalled { signal: 9 }, Status::Crashed),
            (Cause::MachineMemory, Status::Oom),
            (Cause::Deadline(Duration::from_secs(1)), Status::Timeout),
            (Cause::Garbage("x".into()), Status::Crashed),
            (Cause::WrongAnswer("x".into()), Status::Crashed),
            (fault(FailureKind::Unsupported), Status::Unsupported),
            (fault(FailureKind::OutOfMemory), Status::Oom),
            (fault(FailureKind::Internal), Status::Crashed),
            (fault(FailureKind::BadRequest), Status::Crashed),
        ];
        for (cause, status) in table {
            assert_eq!(failure(cause.clone(), Some("thread panicked")).status(), status, "{cause}");
        }
    }

    #[test]
    fn an_allocator_that_gave_up_is_out_of_memory() {
        let tail = Some("x\nmemory allocation of 1073741824 bytes failed\n");
        assert_eq!(failure(Cause::Signalled { signal: 6 }, tail).status(), Status::Oom);
        let traced = format!(
            "memory allocation of 9 bytes failed\nstack backtrace:\n{}",
            "   3: alloc::raw_vec\n             at /x.rs:1\n".repeat(9)
        );
        assert_eq!(failure(Cause::Signalled { signal: 6 }, Some(&traced)).status(), Status::Oom);
        assert_eq!(failure(Cause::Exited { code: 1 }, Some("Traceback\nMemoryError")).status(), Status::Oom);
        // A worker that was alive, or that was killed by us, did not die of it.
        assert_eq!(failure(Cause::Garbage("x".into()), tail).status(), Status::Crashed);
        assert_eq!(failure(Cause::Deadline(Duration::from_secs(1)), tail).status(), Status::Timeout);
        // The experiment's own limit is named, where there is one.
        let told = |cause: Cause, tail, memory_limit| cause.told_by(&Traces { tail, memory_limit, ..Traces::default() });
        let limited = told(Cause::Signalled { signal: 6 }, tail, Some(1_000_000));
        assert_eq!(failure(limited.clone(), tail).status(), Status::Oom);
        let text = limited.to_string();
        assert!(text.starts_with("the 1 MB that `memory_limit_mb` of the experiment allows a worker were not enough"), "{text}");
        assert!(text.contains("what it reserves"), "{text}");
        assert_eq!(told(Cause::Signalled { signal: 6 }, tail, None), Cause::Signalled { signal: 6 });
        assert_eq!(told(Cause::Exited { code: 3 }, Some("x"), Some(1)), Cause::Exited { code: 3 });
        // A word far up in the log is no cause of death.
        let old = format!("out of memory\n{}", "line\n".repeat(6));
        assert_eq!(failure(Cause::Signalled { signal: 6 }, Some(&old)).status(), Status::Crashed);
    }

    #[test]
    fn who_was_killed_for_memory_is_told_by_whom() {
        let killed = |limit_that_killed, kernel_killed| {
            let traces = Traces { memory_limit: Some(9), limit_that_killed, kernel_killed, ..Traces::default() };
            Cause::Signalled { signal: SIGKILL }.told_by(&traces)
        };
        let limited = killed(Some(2_000_000), Some(true));
        assert_eq!(limited, Cause::MemoryLimit { limit: 2_000_000, of_addresses: false });
        assert_eq!(failure(limited, None).status(), Status::Oom);
        assert_eq!(killed(None, Some(true)), Cause::MachineMemory);
        for kernel in [Some(false), None] {
            assert_eq!(failure(killed(None, kernel), None).status(), Status::Crashed);
        }
        // Killed by somebody else, or dead of something else after one of its children was killed for the limit.
        for (signal, limit_that_killed) in [(SIGKILL, None), (11, Some(2_000_000))] {
            let cause = Cause::Signalled { signal };
            assert_eq!(cause.clone().told_by(&Traces { memory_limit: Some(9), limit_that_killed, ..Traces::default() }), cause);
        }
    }

    #[test]
    fn reasons_name_the_step_and_the_signal() {
        let text = failure(Cause::Signalled { signal: 11 }, None).to_string();
        assert_eq!(text, "measure: the worker was ended by SIGSEGV: memory that is not its own");
        assert!(failure(Cause::Signalled { signal: 9 }, None).to_string().contains("SIGKILL that the runner did not send"));
    }
}
