//! `crossover run`: from an experiment to a folder of records.
//!
//! The order of things: read and plan (`request`), open or resume the folder (`folder`), measure the machine (`ceilings`), run the groups
//! (`crate::schedule`) with every finished cell journalled at once (`recorder`), make the tables, take some cells again (`noise`), say what
//! came of it (`summary`).
//!
//! Exit codes: 0 all cells were recorded; 1 some of them are `wrong` or `crashed`, or time was too short for any; 2 bad input; 3 the environment (a folder that cannot
//! be written, a full disk, another run in the folder); 128 + n after signal n (130 for Ctrl-C). Whatever the reason to stop, what was
//! journalled stays, and `--resume` does the rest.

mod budget;
mod ceilings;
#[cfg(test)]
mod figures_tests;
mod folder;
mod interrupt;
mod noise;
mod order;
mod recorder;
mod request;
mod summary;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use crossover_protocol::text::tell;
use crossover_results::Index;
use crossover_results::schema::Status;

use crate::cli::RunArgs;
use crate::definition::Measure;
use crate::errors::{bad_input, finding, report};
use crate::paths::{self, Project};
use crate::plan::{Plan, PlannedCell};
use crate::progress::{Differences, Estimate, Progress, WEIGHED};
use crate::schedule::{Halt, Scheduler, SystemClock};
use crate::worker::launcher::{Bounds, ProcessLauncher};
use crate::worker::process::adopt_orphans;

use budget::TimeBudget;
use folder::OpenRun;
pub(super) use folder::{blame, command_line, name_of_now};
pub(super) use interrupt::Interrupt;
use noise::Before;
use recorder::{Recorder, weight};
use request::Request;
use summary::Tally;

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    adopt_orphans();
    let budget = TimeBudget::new(args.time_budget);
    if !args.all {
        return one(folder::choose(args)?, &budget, &interrupt);
    }
    if args.resume {
        return Err(bad_input("--all starts new runs; resume one with `crossover run --resume --out DIR`"));
    }
    // A filter that cannot be read is one mistake, and not one for each experiment.
    args.selection.selection()?;
    request::Options::of(&args.selection, &args.engines)?;
    let mut code = ExitCode::SUCCESS;
    for experiment in Project::find()?.experiments()? {
        let request = match Request::new(&experiment.file, &args.selection, &args.engines) {
            Ok(request) => request,
            // One that cannot begin, for want of its weights for example, is no reason not to run the others.
            Err(error) => {
                code = worse(code, report(&error));
                continue;
            }
        };
        let out = args.out.as_ref().map(|out| out.join(&request.definition.name));
        let own = one(folder::start(request, out.as_deref())?, &budget, &interrupt)?;
        if interrupt.signal().is_some() {
            return Ok(own);
        }
        code = worse(code, own);
    }
    Ok(code)
}

/// Of two exit codes the larger: the environment's before bad input before a finding.
fn worse(one: ExitCode, other: ExitCode) -> ExitCode {
    [3, 2, 1].map(ExitCode::from).into_iter().find(|code| [one, other].contains(code)).unwrap_or(ExitCode::SUCCESS)
}

/// Runs what is left of one run.
fn one(mut open: OpenRun, budget: &TimeBudget, interrupt: &Interrupt) -> Result<ExitCode> {
    let (began, before) = (Instant::now(), Before::now());
    // Nobody may be there to read it: the run goes on all the same.
    let _ = writeln!(io::stderr(), "{}", open.heading());
    ceilings::measure(&mut open, interrupt)?;
    let (outcome, tally) = interrupt.gently(|| measure(&mut open, budget, interrupt))?;
    folder::sweep(&open.folder);
    match outcome {
        Ok(()) => {
            // The tables first: they are what the run was for.
            let finished = open.folder.finish().map_err(blame)?;
            if open.manifest.noise.is_none() {
                interrupt.gently(|| ceilings::measure_again(&mut open, budget, interrupt))?;
                interrupt.gently(|| noise::measure(&mut open, &before, budget, interrupt))?;
            }
            summary::conclude(&open, &finished, &tally, began.elapsed())?;
            if interrupt.signal().is_some() {
                return Ok(interrupt.exit_code());
            }
            let [wrong, crashed, late, done, emulated] =
                [Status::Wrong, Status::Crashed, Status::OverBudget, Status::Ok, Status::Emulated].map(|status| tally.count(status));
            let has_no_time = late > 0 && done + emulated == 0;
            if has_no_time {
                tell("warning: nothing was measured: the time was too short for any cell");
            }
            Ok(if wrong + crashed > 0 || has_no_time { finding() } else { ExitCode::SUCCESS })
        }
        Err(Halt::Interrupted) => {
            let _ = writeln!(io::stderr(), "{}", summary::interrupted(&open, &tally));
            Ok(interrupt.exit_code())
        }
        Err(Halt::Store(error)) if !open.folder.manifest_path().exists() => Err(error),
        Err(Halt::Store(error)) => Err(error.context(summary::stopped(&open))),
    }
}

/// Runs the groups; the outcome, and what was recorded in any case.
fn measure(open: &mut OpenRun, budget: &TimeBudget, interrupt: &Interrupt) -> Result<(Result<(), Halt>, Tally)> {
    let exchange = folder::exchange(&open.folder)?;
    let OpenRun { folder, journal, manifest, request, index, resumed, .. } = open;
    let Request { definition, plan, .. } = request;
    let worker = paths::worker_binary()?;
    let mut launcher =
        ProcessLauncher::new(worker, definition.workers.clone(), Bounds::of(&definition.measure), Arc::clone(&interrupt.flag));
    let (clock, machine) = (SystemClock::start(), manifest.machine.fingerprint.clone());
    let weighs = plan.cell_count() <= WEIGHED;
    let (done, estimate, differences) = expected(plan, index, &definition.measure, weighs);
    let progress = Progress::on_stderr(plan.cell_count(), done, estimate, differences);
    let tally = Tally::of_earlier(index);
    let mut recorder = Recorder { journal, folder, manifest, resumed: resumed.take(), budget, progress, tally, weighs };
    let mut scheduler = Scheduler::new(&mut launcher, &clock, &mut recorder, &definition.measure, machine, definition.seed, exchange);
    let mut outcome = Ok(());
    for group in order::groups(plan, budget.is_limited()) {
        let pending = |cell: &PlannedCell| !OpenRun::has(index, &cell.id);
        if !group.cells.iter().any(pending) {
            continue;
        }
        outcome = match interrupt.signal() {
            Some(_) => Err(Halt::Interrupted),
            None => scheduler.run_group(&group, pending),
        };
        if outcome.is_err() {
            break;
        }
    }
    scheduler.close();
    recorder.progress.finish();
    Ok((outcome, recorder.tally))
}

/// What a display is to know: how many cells are there already, what is left, and how the groups differ.
fn expected(plan: &Plan, index: &Index, measure: &Measure, weighs: bool) -> (u64, Estimate, Differences) {
    let (mut estimate, mut differences, mut done) = (Estimate::new(measure), Differences::default(), 0);
    for group in plan.groups() {
        group.cells.first().into_iter().for_each(|cell| differences.add(&cell.family, &cell.axes));
        for cell in &group.cells {
            if OpenRun::has(index, &cell.id) {
                done += 1;
            } else {
                estimate.expect(&weight(&cell.variant, &cell.engine, &cell.axes, weighs));
            }
        }
    }
    (done, estimate, differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_exit_codes_the_larger_stays_whichever_came_first() {
        for (one, other, larger) in [(0, 0, 0), (1, 0, 1), (3, 1, 3), (2, 3, 3), (1, 2, 2)] {
            let [one, other, larger] = [one, other, larger].map(ExitCode::from);
            assert_eq!((worse(one, other), worse(other, one)), (larger, larger));
        }
    }
}
