//! A conversation with our own worker, for the commands that ask it one thing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result};
use crossover_protocol::{FailureKind, Fault};

use crate::errors::{bad_input, environment};
use crate::paths;
use crate::worker::conversation::{Launcher, Ready};
use crate::worker::failure::{Cause, WorkerFailure};
use crate::worker::launcher::{Bounds, ProcessLauncher};

/// A worker says hello in milliseconds; this is for machines under load.
pub(super) const HELLO: Duration = Duration::from_secs(30);

/// Starts the worker and exchanges hellos.
pub(super) fn start() -> Result<Ready> {
    let mut launcher = ProcessLauncher::new(paths::worker_binary()?, BTreeMap::new(), Bounds::default(), Arc::default());
    launcher.start_clerk(HELLO).map_err(explain)
}

/// The names of its engines.
pub(super) fn engine_names() -> Result<Vec<String>> {
    let ready = start()?;
    let names = ready.hello.engines.iter().map(|engine| engine.name.clone()).collect();
    ready.conversation.quit();
    Ok(names)
}

/// What the worker refuses is the user's affair; where it fails or dies it is the environment's.
pub(super) fn explain(failure: WorkerFailure) -> Error {
    if let Cause::Fault(Fault { kind, message }) = &failure.cause {
        return match kind {
            FailureKind::BadRequest | FailureKind::Unsupported => bad_input(message.clone()),
            FailureKind::OutOfMemory | FailureKind::Internal => environment(message.clone()),
        };
    }
    let mut message = failure.to_string();
    if let Some(tail) = &failure.stderr_tail {
        message += "\n  its last words on stderr:";
        tail.lines().for_each(|line| message.extend(["\n    ", line]));
    }
    environment(message)
}
