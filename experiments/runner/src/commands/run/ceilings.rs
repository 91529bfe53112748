//! The machine's ceilings for each thread count that occurs in a run, measured before its first cell and after its last. Other work on the
//! machine can only lower a figure, so the higher of the two counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use crossover_protocol::Ceilings;
use crossover_protocol::text::tell;
use crossover_results::ceilings::joined;
use serde_json::Value;

use crate::commands::processors;
use crate::paths;
use crate::worker::conversation::Launcher;
use crate::worker::failure::WorkerFailure;
use crate::worker::launcher::{Bounds, ProcessLauncher};
use crate::worker::steps;

use super::budget::TimeBudget;
use super::folder::{OpenRun, blame};
use super::interrupt::Interrupt;

/// A probe takes seconds; this is for machines under load.
const DEADLINE: Duration = Duration::from_secs(600);

/// Measures them again at the end of a run; of each figure the higher stays. Without a first measurement, which has told why, or without
/// time left there is no second.
pub(super) fn measure_again(open: &mut OpenRun, budget: &TimeBudget, interrupt: &Interrupt) -> Result<()> {
    let Some(first) = open.manifest.ceilings.as_ref().and_then(Value::as_array) else { return Ok(()) };
    if budget.refuse(None).is_some() {
        return Ok(());
    }
    let mut launcher = ProcessLauncher::new(paths::worker_binary()?, BTreeMap::new(), Bounds::default(), Arc::clone(&interrupt.flag));
    let second = match probe(&mut launcher, open.request.threads.iter().copied()) {
        Ok(second) => second,
        Err(failure) if failure.is_interruption() => return Ok(()),
        Err(failure) => {
            tell(&format!(
                "warning: the machine's ceilings could not be measured again, so those from before the first cell stay ({failure})"
            ));
            return Ok(());
        }
    };
    let second = second.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>().context("the ceilings cannot be written")?;
    open.manifest.ceilings = joined(first.iter().chain(&second));
    open.manifest.write(&open.folder.manifest_path()).map_err(blame)
}

/// Puts them into the manifest. A run without ceilings is worth having, so a failed probe is a warning.
pub(super) fn measure(open: &mut OpenRun, interrupt: &Interrupt) -> Result<()> {
    if open.manifest.ceilings.is_some() || open.done() == open.request.plan.cell_count() {
        return Ok(());
    }
    let mut launcher = ProcessLauncher::new(paths::worker_binary()?, BTreeMap::new(), Bounds::default(), Arc::clone(&interrupt.flag));
    match probe(&mut launcher, open.request.threads.iter().copied()) {
        Ok(ceilings) => {
            open.manifest.ceilings = Some(serde_json::to_value(&ceilings).context("the ceilings cannot be written")?);
            open.manifest.write(&open.folder.manifest_path()).map_err(blame)
        }
        // The run ends before its first cell, which says so.
        Err(failure) if failure.is_interruption() => Ok(()),
        Err(failure) => {
            tell(&format!("warning: the machine's ceilings could not be measured, so shares of them will be missing ({failure})"));
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
