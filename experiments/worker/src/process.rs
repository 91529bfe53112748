//! What a worker arranges with the operating system before anything else.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, Signal, getppid, setrlimit};

/// Asks to be killed when the runner dies, so that even a `kill -9` of the runner leaves no orphan. The setting survives exec.
pub fn die_with_parent() -> Result<()> {
    let parent = getppid();
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask to be killed with the runner")?;
    // The runner may have died between our start and the call above; then nobody will send the signal.
    if parent.is_some() && getppid() != parent {
        bail!("the process that started this worker is gone");
    }
    Ok(())
}

/// Bounds the address space, so that a hungry cell fails alone.
pub fn limit_memory(bytes: Option<u64>) -> Result<()> {
    let Some(bytes) = bytes else { return Ok(()) };
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit).with_context(|| format!("cannot limit the address space to {bytes} bytes"))
}

/// Keeps the process on the first so many of its cores, all of them where it has no more.
#[cfg(target_os = "linux")]
pub fn stay_on_cores(count: Option<usize>) -> Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Some(count) = count else { return Ok(()) };
    let allowed = sched_getaffinity(None).context("cannot ask which cores this process may use")?;
    let mut own = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).take(count).for_each(|core| own.set(core));
    sched_setaffinity(None, &own).with_context(|| format!("cannot keep this worker on {count} cores: leave out `pin = true`"))
}

/// Other systems do not say which core runs what.
#[cfg(not(target_os = "linux"))]
pub fn stay_on_cores(count: Option<usize>) -> Result<()> {
    match count {
        None => Ok(()),
        Some(_) => bail!("this system does not keep a process on its cores: leave out `pin = true`"),
    }
}

/// Replaces this process by another program.
pub fn become_program(command: &[String]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("no program to run") };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {program:?}: is it installed, and is its path right?"))
}

/// The processors that this process may run on.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Why so many threads are not measured.
pub fn crowded(threads: usize) -> String {
    let processors = processors();
    let noun = if processors == 1 { "processor" } else { "processors" };
    format!("{threads} threads on {processors} {noun} would take turns, and their times would say nothing: use at most {processors}")
}
