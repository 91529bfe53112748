//! A worker process: started in a group of its own, asked over pipes, and always ended and reaped.
//!
//! Three threads of each worker sleep in system calls: one reads answers, one reads stderr, one waits for the exit. They report to
//! the main thread, which sleeps on a channel with a deadline. It wakes four times a second to see whether the user wants to stop
//! (some microseconds of processor time); nothing spins.
//!
//! A worker is started from the main thread only. Workers ask the kernel for a signal when their parent dies, and "parent" means
//! the *thread* that started them: a worker started by a short-lived thread would be killed under the runner's eyes.
//!
//! What is not covered: a worker that leaves its process group on purpose. Its pipes are given up after a moment, and the process
//! itself is left to whoever wrote it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crossover_protocol::{ReadLine, Request, Response, WireError, read_message, write_message};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid};

use super::control_group::{ControlGroup, ControlGroups};
use super::conversation::Conversation;
use super::failure::{Cause, Traces, WorkerFailure, kills_for_memory};
use super::stderr_tail::StderrTail;
use super::steps::name_of;

/// Enough for a reader with its buffer on the heap; there are three such threads a worker.
pub(super) const THREAD_STACK: usize = 256 << 10;
/// How often a waiting runner looks whether it shall stop.
const LOOK_AROUND: Duration = Duration::from_millis(250);
/// A wait that ends so much late was not waiting.
const OVERSLEPT: Duration = Duration::from_secs(1);
/// For an answer that is still in the pipe when the exit is seen first.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// For the stderr of a worker that lives.
const STILL_IN_THE_PIPE: Duration = Duration::from_millis(10);
/// From `quit` or SIGTERM to SIGKILL.
const PATIENCE: Duration = Duration::from_millis(1000);

/// What to start.
#[derive(Debug, Clone)]
pub struct WorkerCommandLine {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables set in addition to the runner's own.
    pub environment: BTreeMap<String, String>,
    /// The folder that it is started in, where that is not the runner's own.
    pub folder: Option<PathBuf>,
    /// The limit on its memory, where its last words about memory are put down to that.
    pub memory_limit: Option<u64>,
}

/// A running worker.
pub struct WorkerProcess {
    child: Child,
    group: Pid,
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    stderr: StderrTail,
    seen: Seen,
    status: Option<ExitStatus>,
    interrupt: Arc<AtomicBool>,
    /// Dropped after the worker has been reaped.
    control_group: Option<ControlGroup>,
    memory_limit: Option<u64>,
    /// How many processes the kernel had killed for want of memory when it was started.
    kills_before: Option<u64>,
}

enum Event {
    Message(Response),
    Garbage(WireError),
    Closed,
    Exited,
}

/// What was heard of the worker's end.
#[derive(Default, Clone, Copy)]
struct Seen {
    exited: bool,
    closed: bool,
}

impl WorkerProcess {
    /// Starts the worker. Call this from the main thread only.
    pub fn start(command: &WorkerCommandLine, interrupt: Arc<AtomicBool>) -> Result<Self, WorkerFailure> {
        let spawn_failure = |error: io::Error| WorkerFailure {
            step: "start",
            cause: Cause::Spawn(match &command.folder {
                // The system's message is the same for both.
                Some(folder) if !folder.is_dir() => format!("there is no folder {}, in which it is to be started", folder.display()),
                _ => format!("{}: {error}{}", command.program.to_string_lossy(), advice(&error)),
            }),
            stderr_tail: None,
        };
        let kills_before = kills_for_memory();
        let mut start = Command::new(&command.program);
        if let Some(name) = PathBuf::from(&command.program).file_name() {
            // What a program is told of its name stands in its memory, and moves what comes after: it is the same wherever the program lies.
            start.arg0(name);
        }
        start.args(&command.arguments).envs(&command.environment).process_group(0);
        if let Some(folder) = &command.folder {
            start.current_dir(folder);
        }
        let mut child = start.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(spawn_failure)?;
        let group = Pid::from_child(&child);
        match Self::listen(&mut child, group) {
            Ok((events, stderr)) => {
                let stdin = child.stdin.take();
                Ok(Self {
                    child,
                    group,
                    stdin,
                    events,
                    stderr,
                    seen: Seen::default(),
                    status: None,
                    interrupt,
                    control_group: None,
                    memory_limit: command.memory_limit,
                    kills_before,
                })
            }
            Err(error) => {
                end_group(&mut child, group);
                Err(spawn_failure(error))
            }
        }
    }

    /// Starts the three threads.
    fn listen(child: &mut Child, group: Pid) -> io::Result<(Receiver<Event>, StderrTail)> {
        let no_pipe = || io::Error::other("a pipe is missing");
        let stdout = child.stdout.take().ok_or_else(no_pipe)?;
        let stderr = StderrTail::of(child.stderr.take().ok_or_else(no_pipe)?)?;
        // A short channel: a worker that floods its stdout fills the pipe, not the runner's memory.
        let (sender, events) = sync_channel(4);
        let exits = sender.clone();
        let thread = |name: &str| thread::Builder::new().name(name.into()).stack_size(THREAD_STACK);
        thread("worker-stdout").spawn(move || read_answers(stdout, &sender))?;
        thread("worker-exit").spawn(move || {
            // NOWAIT leaves the zombie: until the main thread reaps it, neither its pid nor its group can be anybody else's.
            while let Err(Errno::INTR) = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
            let _ = exits.send(Event::Exited);
        })?;
        Ok((events, stderr))
    }

    /// The worker's process id, which is its group's too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Limits the memory of a worker that has not been asked anything yet.
    pub fn limit(&mut self, groups: &ControlGroups, bytes: u64) -> Result<(), WorkerFailure> {
        match groups.limit(self.id(), bytes) {
            Ok(group) => self.control_group = Some(group),
            Err(error) => return Err(self.fail("start", Cause::Spawn(format!("its memory cannot be limited: {error}")))),
        }
        Ok(())
    }

    /// Waits for the answer to a request that was written.
    fn answer(&mut self, deadline: Duration) -> Result<Response, Cause> {
        let begin = Instant::now();
        let mut until = begin + deadline;
        loop {
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(Cause::Interrupted);
            }
            let asked = Instant::now();
            let left = until.saturating_duration_since(asked);
            let wait = left.min(LOOK_AROUND);
            let event = self.events.recv_timeout(wait);
            // While this process was stopped (Ctrl-Z, a debugger) nobody listened: that time is not the worker's.
            let stopped = asked.elapsed().saturating_sub(wait);
            let was_stopped = stopped > OVERSLEPT;
            if was_stopped {
                until += stopped;
            }
            match event {
                Ok(Event::Message(response)) => return Ok(response),
                Ok(Event::Garbage(error)) => return Err(self.behind_garbage(error)),
                Ok(Event::Exited) => {
                    self.seen.exited = true;
                    until = until.min(Instant::now() + LAST_WORDS);
                }
                Ok(Event::Closed) => {
                    self.seen.closed = true;
                    until = until.min(Instant::now() + PATIENCE);
                }
                Err(RecvTimeoutError::Disconnected) => self.seen = Seen { exited: true, closed: true },
                Err(RecvTimeoutError::Timeout) if left > LOOK_AROUND || was_stopped => {}
                // Exited, but a descendant still holds the pipe; or closed, but still there; or simply late.
                Err(RecvTimeoutError::Timeout) if self.seen.exited => return Err(self.cause_of_death()),
                Err(RecvTimeoutError::Timeout) if self.seen.closed => {
                    return Err(Cause::Garbage("it closed its stdout while an answer was due".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => return Err(Cause::Deadline(deadline)),
            }
            if self.seen.exited && self.seen.closed {
                return Err(self.cause_of_death());
            }
        }
    }

    /// Reaps a worker that has exited by itself, and says how.
    fn cause_of_death(&mut self) -> Cause {
        match self.reap() {
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Cause::Exited { code },
                (None, signal) => Cause::Signalled { signal: signal.unwrap_or(0) },
            },
            None => Cause::Garbage("it vanished, and somebody else took its exit status".to_owned()),
        }
    }

    /// Half a line, or a crash handler's words, are the last sign of a worker that a signal ended: then that is the cause.
    fn behind_garbage(&mut self, error: WireError) -> Cause {
        self.wait_for_exit(LAST_WORDS);
        if self.seen.exited
            && let cause @ Cause::Signalled { signal } = self.cause_of_death()
            && signal != Signal::PIPE.as_raw()
        {
            return cause;
        }
        Cause::Garbage(error.to_string())
    }

    /// Waits for the exit, up to `patience`; answers that still come are passed over.
    fn wait_for_exit(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.seen.exited {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Exited) | Err(RecvTimeoutError::Disconnected) => self.seen.exited = true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return,
            }
        }
    }

    /// SIGTERM, some patience, SIGKILL; nothing of the group is left afterwards.
    fn terminate(&mut self) {
        self.stdin = None;
        if self.status.is_none() && !self.seen.exited {
            let _ = kill_process_group(self.group, Signal::TERM);
            self.wait_for_exit(PATIENCE);
        }
        self.reap();
    }

    /// SIGKILL to what is left of the group, and every exit status taken.
    fn reap(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.stdin = None;
            self.status = end_group(&mut self.child, self.group);
            self.seen.exited = true;
        }
        self.status
    }

    fn fail(&mut self, step: &'static str, cause: Cause) -> WorkerFailure {
        match cause {
            // Stopping must be quick, and the worker has done nothing wrong.
            Cause::Interrupted => drop(self.reap()),
            _ => self.terminate(),
        }
        self.stderr.settle(LAST_WORDS);
        let tail = self.stderr.text();
        let traces = Traces {
            tail: tail.as_deref(),
            memory_limit: self.memory_limit,
            limit_that_killed: self.control_group.as_ref().and_then(ControlGroup::limit_that_killed),
            kernel_killed: self.kills_before.zip(kills_for_memory()).map(|(before, now)| now > before),
        };
        let cause = cause.told_by(&traces);
        WorkerFailure { step, cause, stderr_tail: tail }
    }

    fn write(&mut self, request: &Request) -> Result<(), WireError> {
        // A request is far smaller than a pipe's buffer and the worker reads them one by one, so this does not block.
        match &mut self.stdin {
            Some(stdin) => write_message(stdin, request),
            None => Err(WireError::Io(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Conversation for WorkerProcess {
    fn request(&mut self, request: &Request, deadline: Duration) -> Result<Response, WorkerFailure> {
        let step = name_of(request);
        if let Ok(event) = self.events.try_recv() {
            match event {
                Event::Message(_) => return Err(self.fail(step, Cause::Garbage("it spoke without being asked".to_owned()))),
                Event::Garbage(error) => return Err(self.fail(step, Cause::Garbage(error.to_string()))),
                Event::Closed => self.seen.closed = true,
                Event::Exited => self.seen.exited = true,
            }
        }
        // A pipe that broke means that the worker is gone or going: waiting for a moment finds out how.
        let is_broken = self.write(request).is_err();
        let deadline = if is_broken { deadline.min(PATIENCE) } else { deadline };
        match self.answer(deadline) {
            Err(Cause::Deadline(_)) if is_broken => {
                Err(self.fail(step, Cause::Garbage("it closed its stdin before it was done".to_owned())))
            }
            Ok(Response::Failed(fault)) => Err(WorkerFailure { step, cause: Cause::Fault(fault), stderr_tail: self.stderr_tail() }),
            Ok(response) => Ok(response),
            Err(cause) => Err(self.fail(step, cause)),
        }
    }

    fn stderr_tail(&mut self) -> Option<String> {
        // What was written before the answer is in the pipe, but perhaps not yet read.
        self.stderr.settle(STILL_IN_THE_PIPE);
        self.stderr.text()
    }

    fn quit(mut self: Box<Self>) -> Option<String> {
        if self.status.is_none() && self.write(&Request::Quit {}).is_ok() {
            self.stdin = None;
            self.wait_for_exit(PATIENCE);
        }
        self.terminate();
        self.stderr.settle(LAST_WORDS);
        self.stderr.text()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.reap();
    }
}

/// Lets orphans of the workers become children of this process, so that they can be reaped and none stays behind as a zombie.
pub fn adopt_orphans() {
    // An older kernel cannot: then the system's first process reaps them, as always.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Kills what is left of a group and reaps all of it. The group's number is still ours: its leader has not been reaped.
fn end_group(child: &mut Child, group: Pid) -> Option<ExitStatus> {
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait().ok();
    // Orphans that came to us (see `adopt_orphans`). All are killed, so this waits for the kernel only.
    while matches!(waitpgid(group, WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {}
    status
}

fn read_answers(stdout: impl Read, events: &SyncSender<Event>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let event = match read_message(&mut reader) {
            Ok(ReadLine::Message(response)) => Event::Message(response),
            Ok(ReadLine::End) => break,
            Err(error) => {
                // Nothing after this can be trusted. Leaving closes the pipe, so a worker that goes on writing gets SIGPIPE.
                let _ = events.send(Event::Garbage(error));
                return;
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Closed);
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (is it installed, and is its folder in PATH?)",
        io::ErrorKind::PermissionDenied => " (is it executable?)",
        _ => "",
    }
}
