//! Which command runs which engine, and the first words with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossover_core::device::has_own_memory;
use crossover_protocol::HEAP_OFFSET;

use crate::definition::{Measure, WorkerCommand};

use super::control_group::ControlGroups;
use super::conversation::{Conversation, Launcher, Ready};
use super::failure::{Cause, WorkerFailure};
use super::process::{WorkerCommandLine, WorkerProcess};
use super::steps;

/// Starts real processes.
///
/// Engines of our own run in `crossover-worker`. The commands of others are started through `crossover-worker exec --`, which asks
/// the kernel to end the process when the runner dies and then becomes the command, so that a killed runner leaves no orphan.
pub struct ProcessLauncher {
    own: PathBuf,
    foreign: BTreeMap<String, WorkerCommand>,
    bounds: Bounds,
    /// Where there are none, the limit is one on addresses.
    groups: Option<ControlGroups>,
    heap_offset: Option<u32>,
    interrupt: Arc<AtomicBool>,
}

/// What a worker may use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Is it kept on as many cores as it has threads?
    pub pin: bool,
}

impl Bounds {
    /// Those of an experiment.
    pub fn of(measure: &Measure) -> Self {
        Self { memory: measure.memory_limit, pin: measure.pin }
    }
}

impl ProcessLauncher {
    /// With our own worker's program, the commands of other engines by name, and what each worker may use.
    pub fn new(own: PathBuf, foreign: BTreeMap<String, WorkerCommand>, bounds: Bounds, interrupt: Arc<AtomicBool>) -> Self {
        let groups = bounds.memory.and_then(|_| ControlGroups::take_over(Path::new("/")));
        Self { own, foreign, bounds, groups, heap_offset: None, interrupt }
    }

    fn command_line(&self, engine: &str, threads: u32) -> WorkerCommandLine {
        let mut arguments = Vec::new();
        // A device's driver maps all of its memory and more: under a limit on addresses it could not start.
        if let Some(bytes) = self.bounds.memory.filter(|_| self.groups.is_none() && !has_own_memory(engine)) {
            arguments.push("--memory-limit".into());
            arguments.push(bytes.to_string().into());
        }
        if self.bounds.pin {
            arguments.push("--cores".into());
            arguments.push(threads.max(1).to_string().into());
        }
        // A library that sizes its pool by the environment, once for the process, would take every core: candle does.
        let mut environment = BTreeMap::from([("RAYON_NUM_THREADS".to_owned(), threads.to_string())]);
        if let Some(bytes) = self.heap_offset {
            // Of one length whatever the number is.
            environment.insert(HEAP_OFFSET.to_owned(), format!("{bytes:04}"));
        }
        let (mut program, mut folder) = (self.own.clone(), None);
        if let Some(foreign) = self.foreign.get(engine) {
            arguments.push("exec".into());
            arguments.push("--".into());
            arguments.extend(foreign.command.iter().map(OsString::from));
            environment.extend(foreign.env.clone());
            if foreign.folder.is_some() {
                folder.clone_from(&foreign.folder);
                // A relative path would begin there.
                program = std::path::absolute(&program).unwrap_or(program);
            }
        }
        // What is said of memory there may be about the device's, which no limit of ours is on.
        let memory_limit = self.bounds.memory.filter(|_| !has_own_memory(engine));
        WorkerCommandLine { program: program.into(), arguments, environment, folder, memory_limit }
    }

    fn greet(&self, command: &WorkerCommandLine, limit: Option<u64>, deadline: Duration) -> Result<Ready, WorkerFailure> {
        let mut process = WorkerProcess::start(command, Arc::clone(&self.interrupt))?;
        if let Some((groups, bytes)) = self.groups.as_ref().zip(limit) {
            process.limit(groups, bytes)?;
        }
        let mut conversation: Box<dyn Conversation> = Box::new(process);
        let hello = steps::hello(conversation.as_mut(), deadline)?;
        Ok(Ready { conversation, hello })
    }
}

impl Launcher for ProcessLauncher {
    fn start(&mut self, engine: &str, threads: u32, deadline: Duration) -> Result<Ready, WorkerFailure> {
        let mut ready = self.greet(&self.command_line(engine, threads), self.bounds.memory, deadline)?;
        if ready.hello.engines.iter().any(|known| known.name == engine) {
            return Ok(ready);
        }
        let known: BTreeSet<&str> = ready.hello.engines.iter().map(|known| known.name.as_str()).collect();
        let text =
            format!("worker {} has no engine {engine:?}, it has {}", ready.hello.worker, known.into_iter().collect::<Vec<_>>().join(", "));
        Err(WorkerFailure { step: "hello", cause: Cause::WrongAnswer(text), stderr_tail: ready.conversation.stderr_tail() })
    }

    fn shift_heaps(&mut self, bytes: u32) {
        self.heap_offset = Some(bytes);
    }

    fn start_clerk(&mut self, deadline: Duration) -> Result<Ready, WorkerFailure> {
        // Without the limit: it is there for the cells, and the references are larger than they.
        let (program, arguments, environment) = (self.own.clone().into(), Vec::new(), BTreeMap::new());
        let command = WorkerCommandLine { program, arguments, environment, folder: None, memory_limit: None };
        self.greet(&command, None, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_started_through_our_worker() {
        let foreign = WorkerCommand {
            command: vec!["python3".into(), "w.py".into()],
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            folder: None,
            step_timeout: None,
            place: String::new(),
        };
        let elsewhere = WorkerCommand { folder: Some("/there".into()), ..foreign.clone() };
        let foreign = BTreeMap::from([("numpy".to_owned(), foreign), ("mine".to_owned(), elsewhere)]);
        let (own, interrupt) = ("/x/worker".into(), Arc::default());
        let bounds = Bounds { memory: Some(77), pin: false };
        let mut launcher = ProcessLauncher { own, foreign, bounds, groups: None, heap_offset: None, interrupt };
        let numpy = launcher.command_line("numpy", 2);
        assert_eq!(numpy.program, "/x/worker");
        assert_eq!(numpy.arguments, ["--memory-limit", "77", "exec", "--", "python3", "w.py"]);
        assert_eq!((numpy.environment["A"].as_str(), numpy.folder), ("b", None));
        assert_eq!(launcher.command_line("mine", 2).folder, Some("/there".into()));
        let own = launcher.command_line("naive", 3);
        assert_eq!((own.arguments, own.memory_limit), (vec!["--memory-limit".into(), "77".into()], Some(77)));
        assert_eq!(own.environment, BTreeMap::from([("RAYON_NUM_THREADS".to_owned(), "3".to_owned())]));
        let device = launcher.command_line("candle-cuda", 1);
        assert!(device.arguments.is_empty() && device.memory_limit.is_none());
        launcher.shift_heaps(16);
        assert_eq!(launcher.command_line("naive", 3).environment[HEAP_OFFSET], "0016");
        launcher.bounds.pin = true;
        assert_eq!(launcher.command_line("naive", 3).arguments, ["--memory-limit", "77", "--cores", "3"]);
        assert_eq!(launcher.command_line("candle-cuda", 0).arguments, ["--cores", "1"]);
    }
}
