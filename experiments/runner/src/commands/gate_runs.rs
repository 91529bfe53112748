//! `crossover gate --base-run .. --head-run ..`: runs that were measured already, as criterion's are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use crossover_results::{Machine, Manifest, RunFolder, read_records};

use crate::cli::GateArgs;
use crate::errors::bad_input;
use crate::gate::runs::{Run, doubts, forget_copies, judge};
use crate::gate::verdict::MOST_FIGURES;
use crate::gate::{Compared, Findings, outputs};

use super::gate::{expect_comparison, expect_min_effect, write};
use super::run::blame;
use super::text::counted;

/// Runs the command.
pub(super) fn runs(args: &GateArgs) -> Result<ExitCode> {
    expect_min_effect(args)?;
    expect_pairs(args)?;
    let mut pairs = Vec::with_capacity(args.base_run.len());
    for (base, head) in args.base_run.iter().zip(&args.head_run) {
        pairs.push([read(base)?, read(head)?]);
    }
    let experiment = shared_experiment(&pairs)?;
    forget_copies(&mut pairs);
    let judged = judge(&pairs, args.min_effect);
    expect_comparison(&experiment, Compared::Runs, &judged)?;
    let mut notes: Vec<String> =
        judged.iter().filter_map(|judged| Some(format!("{}: {}", outputs::name(&judged.cell), judged.failed.as_ref()?))).collect();
    notes.extend(doubts(&pairs, &judged));
    let told = |runs: &[PathBuf]| format!("{} ({} ..)", counted(runs.len() as u64, "run"), runs[0].display());
    let (base, head) = (told(&args.base_run), told(&args.head_run));
    let findings = Findings { compared: Compared::Runs, base, head, experiment, min_effect: args.min_effect, seed: None, judged, notes };
    write(args, &outputs::sheet(&findings))?;
    Ok(ExitCode::from(findings.overall().exit_code()))
}

fn expect_pairs(args: &GateArgs) -> Result<()> {
    let (bases, heads) = (args.base_run.len(), args.head_run.len());
    if bases != heads {
        return Err(bad_input(format!(
            "{} of base and {} of head: the first of one and the first of the other are a pair, so name as many of both",
            counted(bases as u64, "run"),
            counted(heads as u64, "run")
        )));
    }
    // Whole runs are dear, and more of them than there are figures in the test would hardly tell more.
    if !(2..=MOST_FIGURES).contains(&bases) {
        return Err(bad_input(format!("{}: 2 to {MOST_FIGURES} can be judged", counted(bases as u64, "pair"))));
    }
    let mut seen = HashSet::new();
    match args.base_run.iter().chain(&args.head_run).find(|run| !seen.insert(run.canonicalize().unwrap_or_else(|_| (*run).clone()))) {
        Some(twice) => Err(bad_input(format!("{} is named twice: every run is evidence once", twice.display()))),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Run> {
    let folder = RunFolder::open(path).map_err(blame)?;
    let manifest = Manifest::read(&folder.manifest_path()).map_err(blame)?;
    let mut run = Run::new(path.display().to_string(), &manifest);
    let mut records = read_records(&folder.journal_path()).map_err(blame)?;
    let mut finished = HashSet::new();
    for record in &mut records {
        let record = record.map_err(blame)?;
        if record.machine != run.machine {
            return Err(bad_input(format!(
                "{} has a record of machine {}, and its manifest says {}: times of two can tell nothing",
                run.name, record.machine, run.machine
            )));
        }
        if record.status.is_final() {
            finished.insert(record.id.clone());
        } else {
            finished.remove(&record.id);
        }
        run.add(record);
    }
    // What is lost may be what speaks against head. A run that was gone on with since has all of its cells again.
    let recovery = records.recovery();
    let lost = recovery.damaged_total + u64::from(recovery.torn_bytes > 0);
    if lost > 0 && (finished.len() as u64) < manifest.cells_planned {
        return Err(bad_input(format!(
            "the journal of {} has {}, so nobody knows what else it said: `crossover run --resume` runs these cells again, and an import is made again \
             into another folder",
            run.name,
            counted(lost, "damaged line")
        )));
    }
    Ok(run)
}

/// The experiment that all runs are of; they must be of one machine, too.
fn shared_experiment(pairs: &[[Run; 2]]) -> Result<String> {
    let first = &pairs[0][0];
    for run in pairs.iter().flatten() {
        for (what, one, other) in [("experiment", &first.experiment, &run.experiment), ("machine", &first.machine, &run.machine)] {
            if one != other {
                let (first, this) = (&first.name, &run.name);
                return Err(bad_input(format!("the {what} of {this} is {other}, that of {first} is {one}: times of two can tell nothing")));
            }
        }
    }
    if first.machine == Machine::UNKNOWN {
        return Err(bad_input(
            "nobody said on which machine these runs were measured, and times of two machines can tell nothing: on the machine that measured them, \
             `crossover import criterion --here` says that it is this one",
        ));
    }
    Ok(first.experiment.clone())
}
