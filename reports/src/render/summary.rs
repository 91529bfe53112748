//! `summary.md`: what was run where, how it ended, who won, what failed.

use std::collections::{BTreeMap, BTreeSet};

use crossover_results::schema::Status;
use crossover_results::{Build, Instrument, Machine, Noise};
use polars::prelude::*;

use super::Context;
use super::speed::{OverCeiling, warning};
use super::{answer, engines, equal_cost, failures, headline, peers, published, ratio, unprofitable};
use crate::answers::Answers;
use crate::columns::{RUN, Typed};
use crate::pictures::{Picture, embedded};
use crate::runs::{ASSUMED_FLOOR, Run};
use crate::text::markdown::{Align, Table, code_block, counted, name, sentence};
use crate::text::units::{bytes, moment, percent, time};

/// The pictures of the summary.
pub(crate) struct Shown<'p> {
    /// Below the answer.
    pub(crate) crossovers: Vec<&'p Picture>,
    /// Beside the ranking of engines.
    pub(crate) engines: &'p [Picture],
    /// Below the section on the peers.
    pub(crate) peers: &'p [Picture],
}

/// Rows that fall short beside the peers.
const PEERS_SHORT: usize = 10;

/// The whole file; `links` are the other files of the report.
pub(crate) fn document(
    answers: &Answers<'_>,
    context: &Context<'_>,
    over: &[OverCeiling],
    links: &[&str],
    shown: &Shown<'_>,
) -> PolarsResult<String> {
    let (runs, cells) = (answers.runs, &answers.cells);
    let experiments: BTreeSet<&str> = runs.iter().map(|run| run.manifest.experiment.as_str()).collect();
    let experiments: Vec<String> = experiments.into_iter().map(name).collect();
    let mut out = format!("# Crossover report: {}\n", experiments.join(", "));
    out += &warning(over);
    out += &answer::section(answers, context, "")?;
    let links: Vec<String> = links.iter().map(|file| format!("[{file}]({file})")).collect();
    out += &format!("\nMore: {}.\n", links.join(" · "));
    out += &embedded(shown.crossovers.iter().copied(), "");
    out += &overview(&answers.overview)?;
    if cells.height() > 0 {
        out += &headline::section(&answers.headline, context)?;
        out += &unprofitable::section(&answers.unprofitable, context)?;
        out += &engines::section(&answers.engines, context)?;
        out += &embedded(shown.engines, "");
        out += &peers::section(answers, "", PEERS_SHORT)?;
        out += &embedded(shown.peers, "");
        out += &published::section(&answers.published, context)?;
        out += &equal_cost::section(cells)?;
        out += &failures::section(&answers.failures)?;
    }
    out += &left_out(runs);
    out += &notes(runs);
    out += &ratio::note(&answers.rows)?;
    out += &machines(cells, context, runs)?;
    Ok(out + &made_by(runs, cells)?)
}

fn made_by(runs: &[Run], cells: &DataFrame) -> PolarsResult<String> {
    let mut out = "\n## Made by\n".to_owned();
    let places = cells.ints(RUN)?;
    for (index, run) in runs.iter().enumerate() {
        let manifest = &run.manifest;
        let rows = places.iter().filter(|place| *place == Some(index as i64)).count();
        out += &format!("\n{}", code_block(&manifest.command));
        out += &format!(
            "\nRun {} of {}, started {}{}: {rows} of {} planned cells finished. Seed {}, plan {}.\n",
            name(&run.label),
            name(&manifest.experiment),
            moment(manifest.created_unix_ms),
            resumed(&manifest.resumed_unix_ms),
            manifest.cells_planned,
            manifest.seed,
            name(&manifest.plan_hash),
        );
        for build in &manifest.builds {
            let [worker, version, detail] = [&build.worker, &build.version, &build.detail].map(|text| sentence(text));
            out += &format!("\n* Worker {worker} {version} (build {}): {detail}\n", name(&build.fingerprint));
            out += &untold(build);
        }
    }
    Ok(out)
}

/// A run that was stopped and gone on with has seen the machine at several times.
fn resumed(moments: &[u64]) -> String {
    let times = |last: &u64| format!(", resumed {}, last {}", counted(moments.len() as u64, "time"), moment(*last));
    moments.last().map_or_else(String::new, times)
}

/// What the worker looked for beside the clock and could not have.
fn untold(build: &Build) -> String {
    let absent = |instrument: &Instrument| Some(format!("{} ({})", name(&instrument.name), sentence(instrument.absent.as_deref()?)));
    let absent: Vec<String> = build.instruments.iter().filter_map(absent).collect();
    if absent.is_empty() { String::new() } else { format!("  Not told here: {}.\n", absent.join(", ")) }
}

/// The machines of the manifests, and any that only the cells speak of.
fn machines(cells: &DataFrame, context: &Context<'_>, runs: &[Run]) -> PolarsResult<String> {
    let mut all: BTreeSet<&str> = cells.texts("machine")?.iter().flatten().collect();
    all.extend(runs.iter().map(|run| run.manifest.machine.fingerprint.as_str()));
    let mut out = format!("\n## {}\n\n", if all.len() > 1 { "Machines" } else { "Machine" });
    if context.several_machines {
        out += "Figures of different machines are never averaged, nor compared with each other's baselines.\n\n";
    }
    for fingerprint in all {
        out += &format!(
            "* {}{}\n",
            context.machine(fingerprint),
            context.machines.get(fingerprint).map_or_else(String::new, |machine| more(machine))
        );
    }
    Ok(out)
}

fn more(machine: &Machine) -> String {
    let caches = machine.caches.iter().map(|cache| format!("L{} {} {}", cache.level, name(&cache.kind), bytes(cache.bytes as f64)));
    let mut parts: Vec<String> = caches.collect();
    parts.extend(machine.kernel.as_deref().map(|kernel| format!("kernel {}", name(kernel))));
    parts.extend(machine.governor.as_deref().map(|governor| format!("governor {}", name(governor))));
    parts.extend(machine.turbo.map(|turbo| format!("turbo {}", if turbo { "on" } else { "off" })));
    if parts.is_empty() { String::new() } else { format!("; {}", parts.join(", ")) }
}

fn overview(frame: &DataFrame) -> PolarsResult<String> {
    let mut out = "\n## How the cells ended\n\n".to_owned();
    if frame.height() == 0 {
        return Ok(out + "There are no cells: nothing was finished.\n");
    }
    let (families, statuses, counts) = (frame.texts("family")?, frame.texts("status")?, frame.ints("cells")?);
    let present: BTreeSet<&str> = statuses.iter().flatten().collect();
    // In the usual order; a status that this version does not know comes last.
    let mut columns: Vec<&str> = Status::ALL.iter().map(|status| status.name()).filter(|status| present.contains(status)).collect();
    columns.extend(present.iter().filter(|status| Status::ALL.iter().all(|known| known.name() != **status)));
    let mut headings = vec![("family".to_owned(), Align::Left), ("cells".to_owned(), Align::Right)];
    headings.extend(columns.iter().map(|status| (name(status), Align::Right)));
    let mut table = Table::new(headings);
    let row_of = |label: String, belongs: &dyn Fn(Option<&str>) -> bool| {
        let count = |status: Option<&str>| -> i64 {
            let counted = |row: &usize| belongs(families.get(*row)) && (status.is_none() || statuses.get(*row) == status);
            (0..frame.height()).filter(counted).filter_map(|row| counts.get(row)).sum()
        };
        let mut row = vec![label, count(None).to_string()];
        row.extend(columns.iter().map(|status| count(Some(*status)).to_string()));
        row
    };
    let names: BTreeSet<&str> = families.iter().flatten().collect();
    for family in &names {
        table.push(row_of(name(family), &|other| other == Some(*family)));
    }
    if names.len() > 1 {
        table.push(row_of("all".to_owned(), &|_| true));
    }
    out += &table.render();
    if !present.contains(Status::Ok.name()) {
        out += "\n**No cell is ok.** The reasons are below.\n";
    }
    Ok(out)
}

/// What the experiments leave out on purpose, which somebody may miss. Shards leave out a part each, repetitions of a plan the same cells.
fn left_out(runs: &[Run]) -> String {
    let (mut plans, mut sums): (BTreeSet<&str>, BTreeMap<(&str, &str), u64>) = (BTreeSet::new(), BTreeMap::new());
    for manifest in runs.iter().map(|run| &run.manifest).filter(|manifest| plans.insert(&manifest.plan_hash)) {
        for (because, cells) in &manifest.excluded {
            *sums.entry((&manifest.experiment, because)).or_default() += cells;
        }
    }
    let several = runs.iter().any(|run| run.manifest.experiment != runs[0].manifest.experiment);
    let line = |((experiment, because), cells): ((&str, &str), u64)| {
        let whose = if several { format!("{}, ", name(experiment)) } else { String::new() };
        format!("* {whose}{}: {}\n", counted(cells, "cell"), sentence(because))
    };
    let lines: Vec<String> = sums.into_iter().map(line).collect();
    if lines.is_empty() { String::new() } else { format!("\n## Left out by the experiment\n\n{}", lines.concat()) }
}

fn notes(runs: &[Run]) -> String {
    let mut lines = Vec::new();
    for run in runs {
        let who = if runs.len() > 1 { format!("{}: ", name(&run.label)) } else { String::new() };
        lines.push(format!("* {who}{}\n", run.manifest.noise.as_ref().map_or_else(unmeasured, noise)));
        lines.extend(run.notes.iter().map(|note| format!("* {who}{}\n", sentence(note))));
    }
    format!("\n## Noise and notes\n\n{}", lines.concat())
}

fn unmeasured() -> String {
    format!(
        "Noise was not measured, so {} are taken for its floor: a ratio nearer to 1 than that is no finding here. (`crossover run` measures it at its end.)",
        percent(ASSUMED_FLOOR)
    )
}

fn noise(noise: &Noise) -> String {
    let mut text = format!(
        "Noise floor: the same cell, measured in two fresh workers in turns, differed from itself by {} at most ({}). A ratio nearer to 1 than \
         that is noise, whatever its interval says",
        percent(noise.floor),
        counted(noise.pairs, "pair")
    );
    if let Some(steal) = noise.steal_ns {
        text += &format!(". Stolen by the hypervisor during the run: {}, all cores together", time(steal as f64));
    }
    if let Some(load) = noise.load_average {
        text += &format!(". Load average before the run: {load:.2}");
    }
    text + "."
}
