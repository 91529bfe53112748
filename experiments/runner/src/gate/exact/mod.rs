//! The exact gate: what must not change from build to build, whatever the machine is doing meanwhile.
//!
//! Every cell of an experiment is brought up once, accounted and verified, and never timed. What it shows is held against a committed table
//! (`results/baselines/NAME.csv`, [`table`]) by the rules of [`compare`]. The engines of these cells are held to the conformance suite beside ([`suite`]), and what they refuse
//! to it against a table of its own ([`refusals`]). What it finds is told by [`outputs`].
//!
//! Kernels differ between instruction sets: what they hold natively, what they pack, how they round. So the table has a row for each cell *and*
//! instruction set that somebody accepted, and a cell is held against the row of its own. A machine whose instruction set has none is not let pass:
//! what does not depend on it still gates, and the gate says that the table is of other machines.
//!
//! A worker that the machine did not let work (no memory left, it cannot be started) says nothing of the build: the gate ends with an error. One that does not
//! answer in time is asked once more, as a stalled machine passes and a program that hangs does not.

pub mod accepted;
pub mod compare;
pub mod machine;
pub mod outputs;
pub mod refusals;
pub mod suite;
pub mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use crossover_results::history::setting;
use crossover_results::schema::Status;
use serde::{Deserialize, Serialize};

use crate::gate::failures::Lack;
use crate::outcome::support_name;
use crate::plan::PlannedCell;
use crate::worker::conversation::Launcher;
use crate::worker::failure::WorkerFailure;
use crate::worker::steps::{self, Verified};

/// What one cell shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The cell.
    pub id: String,
    /// `family/kebab-name`.
    pub variant: String,
    /// The engine.
    pub engine: String,
    /// The axes that tell it from others of its variant, for people.
    pub setting: String,
    /// `native`, `composed`, `emulated`, `unsupported`, `wrong` or `failed`.
    pub support: String,
    /// The instruction set that computed it, or that the engine would have used.
    pub isa: String,
    /// Largest absolute error against the same variant in f64.
    pub err_impl: Option<f64>,
    /// The largest error as a share of its tolerance.
    pub tolerance_used: Option<f64>,
    /// Weights, activations, scratch and state.
    pub declared_bytes: Option<u64>,
    /// Allocations of a call after warm-up.
    pub warm_allocations: Option<u64>,
    /// Operations of a call.
    pub flops: Option<u64>,
    /// Why it failed or is wrong; of this very build, so no part of the table.
    #[serde(skip)]
    pub why: Option<String>,
}

/// What the cell shows in a fresh worker. `isas` are the instruction sets of the engines, for a cell that does not come as far as to say its own.
pub fn look(
    launcher: &mut dyn Launcher,
    cell: &PlannedCell,
    isas: &BTreeMap<String, String>,
    deadline: Duration,
) -> Result<Row, WorkerFailure> {
    let unseen = Row {
        id: cell.id.clone(),
        variant: cell.variant.clone(),
        engine: cell.engine.clone(),
        setting: setting(&cell.axes),
        support: "unsupported".to_owned(),
        isa: isas.get(&cell.engine).cloned().unwrap_or_default(),
        err_impl: None,
        tolerance_used: None,
        declared_bytes: None,
        warm_allocations: None,
        flops: None,
        why: None,
    };
    let mut row = unseen.clone();
    let mut seen = fill(&mut row, launcher, cell, deadline);
    if seen.as_ref().is_err_and(|failure| matches!(Lack::of(failure), Some(Lack::Late(_)))) {
        row = unseen;
        seen = fill(&mut row, launcher, cell, deadline);
    }
    let Err(failure) = seen else { return Ok(row) };
    match Lack::of(&failure) {
        None | Some(Lack::Denied(_)) => return Err(failure),
        Some(_) if failure.status() == Status::Unsupported => {}
        Some(_) => {
            "failed".clone_into(&mut row.support);
            row.why = Some(failure.to_string());
        }
    }
    Ok(row)
}

fn fill(row: &mut Row, launcher: &mut dyn Launcher, cell: &PlannedCell, deadline: Duration) -> Result<(), WorkerFailure> {
    let mut worker = launcher.start(&cell.engine, cell.threads(), deadline)?.conversation;
    let prepared = steps::prepare(worker.as_mut(), cell.wire(), None, deadline)?;
    row.isa.clone_from(&prepared.isa);
    row.flops = Some(prepared.flops);
    let verified = steps::verify(worker.as_mut(), None, deadline)?;
    // Last, as it ends the cell.
    let memory = steps::account(worker.as_mut(), deadline)?;
    row.declared_bytes = Some(memory.weight_bytes + memory.activation_bytes + memory.scratch_bytes + memory.state_bytes);
    row.warm_allocations = memory.warm_allocations;
    support_name(prepared.support).clone_into(&mut row.support);
    if let Verified::Judged(figures) = verified {
        (row.err_impl, row.tolerance_used) = (figures.err_impl, figures.tolerance_used);
        if !figures.passed {
            "wrong".clone_into(&mut row.support);
            row.why = figures.complaint;
        }
    }
    worker.quit();
    Ok(())
}

impl Row {
    /// In words.
    pub fn told(&self) -> String {
        format!("{} on {}, {}", self.variant, self.engine, self.setting)
    }

    /// Has it an output that is right?
    pub fn is_right(&self) -> bool {
        !["failed", "wrong"].contains(&self.support.as_str())
    }

    /// Is it computed at all, rightly or not?
    pub fn is_computed(&self) -> bool {
        !["failed", "unsupported"].contains(&self.support.as_str())
    }
}

#[cfg(test)]
pub(super) fn row(id: &str, isa: &str) -> Row {
    Row {
        id: id.into(),
        variant: "attention/flash".into(),
        engine: "simd".into(),
        setting: "precision=f32 n=48".into(),
        support: "native".into(),
        isa: isa.into(),
        err_impl: Some(1e-7),
        tolerance_used: Some(0.1),
        declared_bytes: Some(1000),
        warm_allocations: Some(0),
        flops: Some(5000),
        why: None,
    }
}
