//! `crossover gate --exact`: what must not change, against the committed baseline.
//!
//! Exit codes: 0 pass, 1 regressed, 2 bad input, which a baseline of other machines is (nothing regressed, but most cells have no row of this one's
//! instruction sets) and one that has none of these cells
//! or no size of a build by this compiler, 3 the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use crossover_protocol::HelloReply;
use crossover_protocol::text::tell;

use crate::cli::GateArgs;
use crate::definition::{self, Definition};
use crate::errors::{bad_input, finding};
use crate::gate::exact::accepted;
use crate::gate::exact::compare::compare;
use crate::gate::exact::machine;
use crate::gate::exact::outputs::{self, Seen};
use crate::gate::exact::refusals;
use crate::gate::exact::suite::{Held, hold};
use crate::gate::exact::table::{accept, read, write};
use crate::gate::exact::{Row, look};
use crate::gate::left_out;
use crate::gate::limits::Limits;
use crate::gate::size::{self, Size};
use crate::gate::verdict::Verdict;
use crate::paths::{self, Project};
use crate::plan::{Plan, PlannedCell};
use crate::worker::launcher::{Bounds, ProcessLauncher};
use crate::worker::process::adopt_orphans;

use super::expect_cells;
use super::gate::{Side, engines, write as tell_all};
use super::run::Interrupt;
use super::text::counted;

/// The experiment whose cells are looked at where none is named; a baseline is called like its experiment.
const EXACT: &str = "exact";
/// How long the conformance suite may take on one engine: it takes seconds.
const SUITE: Duration = Duration::from_secs(300);

/// Runs the command.
pub(super) fn exact(args: &GateArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    let file = paths::experiment_file(args.experiment.as_deref().unwrap_or(EXACT))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let path = project.root().join("results/baselines").join(format!("{name}.csv"));
    expect_acceptable(args)?;
    // Before a minute's work.
    let baseline = if args.accept.is_some() && !path.exists() { Vec::new() } else { read(&path)? };
    if args.accept.is_none() {
        accepted::expect_whole(&path, baseline.len())?;
    }
    let sizes_path = path.with_file_name(format!("{name}-size.csv"));
    let sizes = size::read(&sizes_path)?;
    let refusals_path = path.with_file_name(format!("{name}-refusals.csv"));
    let mut refused = refusals::read(&refusals_path)?;
    let definition = definition::load(&file)?;
    let interrupt = Interrupt::listen()?;
    adopt_orphans();
    let worker = Side::head(args)?;
    let mut launcher = worker.launcher(Bounds::default(), &interrupt.flag);
    let hello = worker.greet(&mut launcher, "head")?;
    let plan = Plan::new(&definition, &engines(std::slice::from_ref(&hello)), args.selection.selection()?)?;
    expect_cells(&plan)?;
    let (left, cells): (Vec<PlannedCell>, Vec<PlannedCell>) =
        plan.groups().flat_map(|group| group.cells).partition(|cell| left_out(cell, &definition).is_some());
    if cells.is_empty() {
        return Err(bad_input(format!("no build of ours computes any of these cells of {name} (of {} all are left out)", left.len())));
    }
    let limits = Limits { deadline: SUITE, stops: &|| interrupt.flag.load(Ordering::Relaxed) };
    // A worker without the suite is told before the cells are looked at.
    let looked = interrupt.gently(|| {
        suites(&cells, &worker.worker, &limits).and_then(|suites| Ok((look_at(&cells, &mut launcher, &hello, &definition)?, suites)))
    });
    if interrupt.flag.load(Ordering::Relaxed) {
        return Ok(interrupt.exit_code());
    }
    let (rows, suites) = looked?;
    // Of a part of the cells, the others are not gone.
    let asked = |row: &&Row| args.selection.is_whole() || rows.iter().any(|now| now.id == row.id);
    let (asked, others): (Vec<Row>, Vec<Row>) = baseline.into_iter().partition(|row| asked(&row));
    let mut compared = compare(&asked, &rows, &machine::has);
    let size = Size::of(&worker.worker, &hello)?;
    compared.changes.extend(size::compare(&sizes, &size));
    let none = refusals::OfEngine::new();
    compared.changes.splice(0..0, suites.iter().flat_map(|held| held.changes(refused.get(&held.engine).unwrap_or(&none))));
    compared.changes.sort_by_key(|change| Verdict::ALL.iter().position(|verdict| *verdict == change.verdict));
    let seen = Seen { rows, left_out: left.len(), suites, compared };
    let Some(reason) = &args.accept else { return judge(args, &path, &seen) };
    expect_right(&seen)?;
    // Cells that were not asked for stay as they are.
    let all: Vec<Row> = others.into_iter().chain(accept(asked, &seen.rows, args.selection.is_whole(), &machine::has)).collect();
    write(&path, &all)?;
    size::write(&sizes_path, sizes, size)?;
    // Those of other engines stay.
    refused.extend(seen.suites.iter().map(|held| (held.engine.clone(), held.refusals.clone())));
    refusals::write(&refusals_path, &refused)?;
    accepted::keep(&path, reason, &seen.compared.changes, all.len())?;
    tell(&format!("{} has {} now, {} of them new or replaced", path.display(), counted(all.len() as u64, "row"), seen.rows.len()));
    Ok(ExitCode::SUCCESS)
}

fn expect_acceptable(args: &GateArgs) -> Result<()> {
    let Some(reason) = &args.accept else { return Ok(()) };
    if reason.trim().is_empty() {
        return Err(bad_input("--accept needs a reason in plain words: it is kept beside the baseline"));
    }
    if args.selection.sets() {
        return Err(bad_input("--accept writes the baseline's own cells: leave out --set and --threads"));
    }
    Ok(())
}

fn look_at(cells: &[PlannedCell], launcher: &mut ProcessLauncher, hello: &HelloReply, definition: &Definition) -> Result<Vec<Row>> {
    let isas: BTreeMap<String, String> = hello.engines.iter().map(|engine| (engine.name.clone(), engine.isa.clone())).collect();
    let rows = cells.iter().map(|cell| look(launcher, cell, &isas, definition.measure.deadline(&cell.engine)));
    rows.collect::<Result<_, _>>().context("a worker could not be asked")
}

/// The conformance suite on each engine that has a cell here.
fn suites(cells: &[PlannedCell], worker: &Path, limits: &Limits<'_>) -> Result<Vec<Held>> {
    let engines: BTreeSet<&str> = cells.iter().map(|cell| cell.engine.as_str()).collect();
    engines.into_iter().map(|engine| hold(worker, engine, limits)).collect()
}

fn expect_right(Seen { rows, suites, .. }: &Seen) -> Result<()> {
    if let Some((held, first)) = suites.iter().find_map(|held| Some((held, held.failures.first()?))) {
        return Err(bad_input(format!("no baseline is made of a build that the conformance suite finds wrong: {}: {first}", held.engine)));
    }
    let Some(bad) = rows.iter().find(|row| !row.is_right()) else { return Ok(()) };
    let why = bad.why.as_deref().unwrap_or("it does not say why");
    Err(bad_input(format!("no baseline is made of a cell without a right output: {}, {}: {why}", bad.told(), bad.support)))
}

/// Says what was found, and what follows from it.
fn judge(args: &GateArgs, path: &Path, seen: &Seen) -> Result<ExitCode> {
    tell_all(args, &outputs::sheet(seen))?;
    match seen.verdict() {
        Verdict::Regressed => Ok(finding()),
        Verdict::Inconclusive if seen.compared.is_all_new() => Err(bad_input(format!(
            "{} has none of the {} that were asked for: there is nothing to compare. Cells that are meant to be new are put into it by \
             `crossover gate --accept \"REASON\"`",
            path.display(),
            counted(seen.rows.len() as u64, "cell")
        ))),
        Verdict::Inconclusive if seen.compared.of_other_machines().is_empty() => Err(bad_input(
            "the worker's size is held against builds of the same compiler, and there is none; on a commit that is known to be good, \
             `crossover gate --accept \"REASON\"` takes this one's",
        )),
        Verdict::Inconclusive => Err(bad_input(format!(
            "{} is of other machines: {}. What does not depend on it was compared, and holds. On a commit that is known to be good, \
             `crossover gate --accept \"REASON\"` puts rows of this machine beside the others",
            path.display(),
            outputs::of_other_machines(seen).join("; ")
        ))),
        _ => Ok(ExitCode::SUCCESS),
    }
}
