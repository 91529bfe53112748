//! The machine's ceilings, measured once per run and for each thread count that occurs in it, before the first cell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use crossover_protocol::Ceilings;

use crate::commands::processors;
use crate::paths;
use crate::worker::conversation::Launcher;
use crate::worker::failure::WorkerFailure;
use crate::worker::launcher::ProcessLauncher;
use crate::worker::steps;

use super::folder::{OpenRun, blame};
use super::interrupt::Interrupt;

/// A probe takes seconds; this is for machines under load.
const DEADLINE: Duration = Duration::from_secs(600);

/// Puts them into the manifest. A run without ceilings is worth having, so a failed probe is a warning.
pub(super) fn measure(open: &mut OpenRun, interrupt: &Interrupt) -> Result<()> {
    if open.manifest.ceilings.is_some() || open.done() == open.request.plan.cell_count() {
        return Ok(());
    }
    let mut launcher = ProcessLauncher::new(paths::worker_binary()?, BTreeMap::new(), None, Arc::clone(&interrupt.flag));
    match probe(&mut launcher, open.request.threads.iter().copied()) {
        Ok(ceilings) => {
            open.manifest.ceilings = Some(serde_json::to_value(&ceilings).context("the ceilings cannot be written")?);
            open.manifest.write(&open.folder.manifest_path()).map_err(blame)
        }
        // The run ends before its first cell, which says so.
        Err(failure) if failure.is_interruption() => Ok(()),
        Err(failure) => {
            eprintln!("warning: the machine's ceilings could not be measured, so shares of them will be missing ({failure})");
            Ok(())
        }
    }
}

fn probe(launcher: &mut ProcessLauncher, threads: impl Iterator<Item = u32>) -> Result<Vec<Ceilings>, WorkerFailure> {
    let mut worker = launcher.start_clerk(DEADLINE)?.conversation;
    // Cells of more threads than there are processors become `unsupported` rows, so no ceiling of theirs is ever asked for.
    let possible = threads.filter(|threads| *threads <= processors());
    let ceilings = possible.map(|threads| steps::probe(worker.as_mut(), threads, DEADLINE)).collect::<Result<_, _>>()?;
    worker.quit();
    Ok(ceilings)
}
