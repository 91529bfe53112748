//! `crossover gate --exact`: what must not change, against the committed baseline.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use crossover_protocol::text::tell;
use serde_json::json;

use crate::cli::GateArgs;
use crate::definition;
use crate::errors::{bad_input, environment, finding};
use crate::gate::exact::{Change, Row, compare, look, read, write};
use crate::gate::pair::Design;
use crate::gate::size::{self, Size};
use crate::gate::verdict::Verdict;
use crate::outcome::unix_ms;
use crate::paths::{self, Project};
use crate::plan::{Plan, PlannedCell};
use crate::worker::conversation::Launcher;
use crate::worker::launcher::{Bounds, ProcessLauncher};
use crate::worker::process::adopt_orphans;

use super::gate::HELLO;
use super::run::Interrupt;
use super::text::{counted, wrap};
use super::{expect_cells, own_worker, print, print_json};

/// The experiment whose cells are looked at where none is named; a baseline is called like its experiment.
const EXACT: &str = "exact";
/// Changes that are listed; all are in the JSON.
const LISTED: usize = 40;

/// Runs the command.
pub(super) fn exact(args: &GateArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    let experiment = args.experiment.as_deref().unwrap_or(EXACT);
    let file = paths::experiment_file(experiment)?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let path = project.root().join("results/baselines").join(format!("{name}.csv"));
    if args.accept.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        return Err(bad_input("--accept needs a reason in plain words: it is kept beside the baseline"));
    }
    let is_whole = args.selection.filter.is_empty() && args.selection.set.is_empty();
    if args.accept.is_some() && !args.selection.set.is_empty() {
        return Err(bad_input("--accept writes the baseline's own cells: leave out --set"));
    }
    // Before a minute's work.
    let baseline = if args.accept.is_some() && !path.exists() { Vec::new() } else { read(&path)? };
    let interrupt = Interrupt::listen()?;
    adopt_orphans();
    let definition = definition::load(&file)?;
    let plan = Plan::new(&definition, &own_worker::engine_names()?, args.selection.selection()?)?;
    expect_cells(&plan)?;
    let cells: Vec<PlannedCell> = plan.groups().flat_map(|group| group.cells).collect();
    let worker = args.head_worker.clone().map_or_else(paths::worker_binary, Ok)?;
    let mut launcher = ProcessLauncher::new(worker.clone(), definition.workers.clone(), Bounds::default(), Arc::clone(&interrupt.flag));
    let design = Design { deadline: definition.measure.step_timeout, ..Design::default() };
    let rows = interrupt.gently(|| cells.iter().map(|cell| look(&mut launcher, cell, &design)).collect::<Result<Vec<Row>, _>>());
    if interrupt.flag.load(Ordering::Relaxed) {
        return Ok(interrupt.exit_code());
    }
    let rows = rows.context("a worker could not be asked")?;
    // Of a part of the cells, the others are not gone.
    let asked = |row: &&Row| is_whole || rows.iter().any(|now| now.id == row.id);
    let (baseline, others): (Vec<Row>, Vec<Row>) = baseline.into_iter().partition(|row| asked(&row));
    let mut changes = compare(&baseline, &rows);
    let sizes_path = path.with_file_name(format!("{name}-size.csv"));
    let sizes = size::read(&sizes_path)?;
    let ready = launcher.start_clerk(HELLO).map_err(|failure| environment(format!("the worker cannot be asked who it is: {failure}")))?;
    let size = Size::of(&worker, &ready.hello)?;
    ready.conversation.quit();
    changes.extend(size::compare(&sizes, &size));
    if let Some(reason) = &args.accept {
        if let Some(bad) = rows.iter().find(|row| ["failed", "wrong"].contains(&row.support.as_str())) {
            let why = bad.why.as_deref().unwrap_or("it does not say why");
            let Row { variant, engine, setting, support, .. } = bad;
            return Err(bad_input(format!(
                "no baseline is made of a cell without a right output: {variant} on {engine}, {setting}, {support}: {why}"
            )));
        }
        // Cells that were not asked for stay as they are: of another machine's instruction set, say, which this one cannot have looked at.
        let all: Vec<Row> = others.into_iter().chain(rows).collect();
        write(&path, &all)?;
        size::write(&sizes_path, sizes, size)?;
        keep_reason(&path, reason, &changes)?;
        tell(&format!("{} has {} now", path.display(), counted(all.len() as u64, "cell")));
        return Ok(ExitCode::SUCCESS);
    }
    say(args, &rows, &changes)?;
    Ok(if changes.iter().any(|change| change.verdict == Verdict::Regressed) { finding() } else { ExitCode::SUCCESS })
}

/// A line behind those of earlier changes: when, how much, why.
fn keep_reason(baseline: &Path, reason: &str, changes: &[Change]) -> Result<()> {
    let name = baseline.file_stem().unwrap_or_default().to_string_lossy();
    let path: PathBuf = baseline.with_file_name(format!("{name}-accepted.csv"));
    let is_new = !path.exists();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    if is_new {
        writer.write_record(["unix_ms", "regressed", "improved", "told", "reason"])?;
    }
    let count = |verdict: Verdict| changes.iter().filter(|change| change.verdict == verdict).count().to_string();
    let counts = [Verdict::Regressed, Verdict::Improved, Verdict::Pass].map(count);
    writer.write_record([&unix_ms().to_string(), &counts[0], &counts[1], &counts[2], reason.trim()])?;
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    file.write_all(&bytes).with_context(|| format!("{} cannot be written", path.display()))
}

fn say(args: &GateArgs, rows: &[Row], changes: &[Change]) -> Result<()> {
    let count = |verdict: Verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    let (regressed, improved, told) = (count(Verdict::Regressed), count(Verdict::Improved), count(Verdict::Pass));
    let overall = if regressed > 0 { "regressed" } else { "pass" };
    if args.json {
        let one = |change: &Change| json!({ "cell": change.cell, "verdict": change.verdict.name(), "what": change.what });
        return print_json(&json!({
            "verdict": overall, "cells": rows.len(), "changes": changes.iter().map(one).collect::<Vec<_>>(),
        }));
    }
    print(|out| {
        for change in changes.iter().take(LISTED) {
            let words = format!("{}: {}", change.cell, change.what);
            let kind = if change.verdict == Verdict::Pass { "told" } else { change.verdict.name() };
            out.write_all(wrap(&format!("{kind:<11}"), words.split(' ')).as_bytes())?;
        }
        if changes.len() > LISTED {
            writeln!(out, "and {} more: --json has all", changes.len() - LISTED)?;
        }
        let cells = counted(rows.len() as u64, "cell");
        writeln!(out, "{overall}: {cells}, {regressed} worse, {improved} better, {told} to be told")?;
        if regressed > 0 {
            let advice = "What is meant to change is accepted by `crossover gate --exact --accept \"REASON\"`, to be committed with it.";
            out.write_all(wrap("", advice.split(' ')).as_bytes())?;
        }
        Ok(())
    })
}
