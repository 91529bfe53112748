//! `crossover gate --base-run .. --head-run ..`: runs that were measured already, as criterion's are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use crossover_results::{Manifest, RunFolder, read_records};

use crate::cli::GateArgs;
use crate::errors::bad_input;
use crate::gate::runs::{Timed, Times, judge};
use crate::gate::verdict::{LEVEL, MOST_PAIRS};
use crate::gate::{Findings, outputs};

use super::gate::{expect_comparison, expect_min_effect, write};
use super::run::blame;
use super::text::counted;

/// Runs the command.
pub(super) fn runs(args: &GateArgs) -> Result<ExitCode> {
    expect_min_effect(args)?;
    expect_pairs(args)?;
    let mut terms = None;
    let mut pairs = Vec::with_capacity(args.base_run.len());
    for (base, head) in args.base_run.iter().zip(&args.head_run) {
        pairs.push([times(base, &mut terms)?, times(head, &mut terms)?]);
    }
    let experiment = terms.map(|terms| terms.experiment).unwrap_or_default();
    let judged = judge(&pairs, args.min_effect);
    expect_comparison(&experiment, &judged)?;
    let mut notes: Vec<String> =
        judged.iter().filter_map(|judged| Some(format!("{}: {}", outputs::name(&judged.cell), judged.failed.as_ref()?))).collect();
    let least = least_pairs();
    if pairs.len() < least {
        notes.push(format!("of fewer than {least} pairs no change can be certain, however large: bring more runs of both"));
    }
    let told = |runs: &[PathBuf]| format!("{} ({} ..)", counted(runs.len() as u64, "run"), runs[0].display());
    let (base, head) = (told(&args.base_run), told(&args.head_run));
    let findings = Findings { base, head, experiment, min_effect: args.min_effect, judged, notes };
    write(args, &findings)?;
    Ok(ExitCode::from(findings.overall().exit_code()))
}

/// Of so many all on one side are rarer than the level; one cell alone is the best case.
fn least_pairs() -> usize {
    (1..=MOST_PAIRS).find(|pairs| 2.0 * 0.5f64.powi(*pairs as i32) < LEVEL).unwrap_or(MOST_PAIRS)
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
    if !(2..=MOST_PAIRS).contains(&bases) {
        return Err(bad_input(format!("{}: 2 to {MOST_PAIRS} can be judged", counted(bases as u64, "pair"))));
    }
    let mut seen = HashSet::new();
    match args.base_run.iter().chain(&args.head_run).find(|run| !seen.insert(run.canonicalize().unwrap_or_else(|_| (*run).clone()))) {
        Some(twice) => Err(bad_input(format!("{} is named twice: every run is evidence once", twice.display()))),
        None => Ok(()),
    }
}

/// What all runs must share.
struct SharedTerms {
    experiment: String,
    machine: String,
    first: PathBuf,
}

/// The times of a run; of the first one on, all must be of the same experiment and machine.
fn times(path: &Path, terms: &mut Option<SharedTerms>) -> Result<Times> {
    let folder = RunFolder::open(path).map_err(blame)?;
    let manifest = Manifest::read(&folder.manifest_path()).map_err(blame)?;
    let (experiment, machine) = (manifest.experiment, manifest.machine.fingerprint);
    let shared =
        terms.get_or_insert_with(|| SharedTerms { experiment: experiment.clone(), machine: machine.clone(), first: path.to_owned() });
    for (what, one, other) in [("experiment", &shared.experiment, &experiment), ("machine", &shared.machine, &machine)] {
        if one != other {
            let (first, this) = (shared.first.display(), path.display());
            return Err(bad_input(format!("the {what} of {this} is {other}, that of {first} is {one}: times of two can tell nothing")));
        }
    }
    let mut found = Times::new();
    for record in read_records(&folder.journal_path()).map_err(blame)? {
        let record = record.map_err(blame)?;
        found.insert(record.id.clone(), Timed::from(record));
    }
    Ok(found)
}
