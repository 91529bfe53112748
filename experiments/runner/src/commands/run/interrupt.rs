//! Signals that stop a run. While cells are measured a signal is noted, and the run winds up within two seconds; further ones change
//! nothing (`timeout` sends two, and the winding up is short). Before and after that, where nothing can be lost, it ends the program at
//! once. Either way the kernel ends the workers with the runner, and the journal holds whole cells only.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::errors::environment;

/// Notes the signals.
pub(in crate::commands) struct Interrupt {
    /// Set by the first signal.
    pub(in crate::commands) flag: Arc<AtomicBool>,
    which: Arc<AtomicUsize>,
    /// Ends the program at once.
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on.
    pub(in crate::commands) fn listen() -> Result<Self> {
        let interrupt = Self { flag: Arc::default(), which: Arc::default(), at_once: Arc::new(AtomicBool::new(true)) };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if !is_ignored(signal) {
                interrupt.register(signal).map_err(|error| environment(format!("signal {signal} cannot be caught: {error}")))?;
            }
        }
        Ok(interrupt)
    }

    fn register(&self, signal: i32) -> std::io::Result<()> {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&self.at_once))?;
        flag::register_usize(signal, Arc::clone(&self.which), signal as usize)?;
        flag::register(signal, Arc::clone(&self.flag))?;
        Ok(())
    }

    /// Winds up in good order after a signal while `measure` goes on.
    pub(in crate::commands) fn gently<T>(&self, measure: impl FnOnce() -> T) -> T {
        self.at_once.store(false, Ordering::Relaxed);
        let outcome = measure();
        // After a signal there is a message to write; without one, tables to make.
        self.at_once.store(self.signal().is_none(), Ordering::Relaxed);
        outcome
    }

    /// The signal that came, if one did.
    pub(in crate::commands) fn signal(&self) -> Option<usize> {
        self.flag.load(Ordering::Relaxed).then(|| self.which.load(Ordering::Relaxed))
    }

    /// 128 + the signal's number, as shells have it.
    pub(in crate::commands) fn exit_code(&self) -> ExitCode {
        ExitCode::from(u8::try_from(128 + self.signal().unwrap_or(0)).unwrap_or(3))
    }
}

/// Somebody before us said that this signal shall do nothing (`nohup`, a background job): then it does nothing.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
