//! `crossover gate --instructions`: what two builds execute, counted under callgrind.

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crossover_protocol::text::tell;
use serde_json::{Value, json};

use crate::cli::GateArgs;
use crate::definition;
use crate::errors::bad_input;
use crate::gate::builds::{COMMAND, WORKER};
use crate::gate::instructions::{self, Command, Counted, Programs};
use crate::gate::limits::{Limits, wait};
use crate::gate::sheet::{self, Entry, Sheet};
use crate::gate::verdict::{self, Verdict, overall};
use crate::gate::{left_out, outputs};
use crate::paths;
use crate::plan::{Plan, PlannedCell};
use crate::worker::launcher::Bounds;
use crate::worker::process::adopt_orphans;

use super::expect_cells;
use super::gate::{Side, engines, sides, write};
use super::run::Interrupt;
use super::text::{counted, wrap};

/// The experiment whose cells are counted where none is named.
const COUNTED: &str = "instructions";
/// How long one run under valgrind may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs the command.
pub(super) fn instructions(args: &GateArgs) -> Result<ExitCode> {
    if let Some(why) = instructions::missing() {
        write(args, &nothing(&why))?;
        return Ok(ExitCode::from(Verdict::Inconclusive.exit_code()));
    }
    let definition = definition::load(&paths::experiment_file(args.experiment.as_deref().unwrap_or(COUNTED))?)?;
    // A filter that cannot be read must not cost two builds.
    args.selection.selection()?;
    let interrupt = Interrupt::listen()?;
    adopt_orphans();
    let [base, head] = sides(args, &[WORKER, COMMAND])?;
    let hello = |side: &Side, name| side.greet(&mut side.launcher(Bounds::default(), &interrupt.flag), name);
    let plan = Plan::new(&definition, &engines(&[hello(&head, "head")?, hello(&base, "base")?]), args.selection.selection()?)?;
    expect_cells(&plan)?;
    let (left, cells): (Vec<PlannedCell>, Vec<PlannedCell>) =
        plan.groups().flat_map(|group| group.cells).partition(|cell| left_out(cell, &definition).is_some());
    let builds = [&base, &head].map(|side| Programs::beside(side.worker.clone()));
    let limits = Limits { deadline: DEADLINE, stops: &|| interrupt.flag.load(Ordering::Relaxed) };
    // Cells that were chosen are meant alone.
    let is_whole = args.experiment.is_none() && args.selection.is_whole();
    let mut paths = interrupt.gently(|| count(&cells, is_whole, &builds, &limits))?;
    if (limits.stops)() {
        return Ok(interrupt.exit_code());
    }
    paths.extend(left.iter().map(|cell| Counted::left_out(name(cell), &left_out(cell, &definition).unwrap_or_default())));
    if paths.iter().all(|path| path.ratio().is_none() && [Verdict::Pass, Verdict::NotCompared].contains(&path.verdict())) {
        return Err(bad_input(format!("base and head have no cell of {} in common that can be counted", definition.name)));
    }
    write(args, &sheet(&base.told, &paths))?;
    Ok(ExitCode::from(overall(paths.iter().map(Counted::verdict)).exit_code()))
}

fn count(cells: &[PlannedCell], is_whole: bool, builds: &[Programs; 2], limits: &Limits<'_>) -> Result<Vec<Counted>> {
    let mut paths = Vec::with_capacity(cells.len() + 2);
    for (done, cell) in cells.iter().enumerate() {
        if (limits.stops)() {
            return Ok(paths);
        }
        if done % 10 == 0 {
            tell(&format!("counting: {done} of {}", counted(cells.len() as u64, "cell")));
        }
        paths.push(instructions::cell(name(cell), &cell.wire(), builds, limits));
    }
    if is_whole {
        tell("counting: the planner and the aggregation");
        paths.extend(whole_commands(builds, limits)?);
    }
    Ok(paths)
}

fn name(cell: &PlannedCell) -> String {
    match cell.axes.get("isa") {
        Some(isa) => format!("{} isa={isa}", outputs::name(cell)),
        None => outputs::name(cell),
    }
}

/// The planner, and the aggregation of a run that base measures here: a later build reads what an earlier one wrote.
fn whole_commands(builds: &[Programs; 2], limits: &Limits<'_>) -> Result<Vec<Counted>> {
    let planner = Command { name: "crossover plan quick", arguments: ["plan", "quick", "--count"].map(str::to_owned).into() };
    let name = "crossover merge (a run of `smoke`)";
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let aggregation = match small_run(&builds[0], &run, limits) {
        Ok(()) => {
            let arguments = ["merge".to_owned(), run.display().to_string(), "--out".to_owned(), "OUT".to_owned()].into();
            instructions::command(&Command { name, arguments }, builds, limits)
        }
        Err(error) => Counted::failed(name.to_owned(), &format!("{error:#}")),
    };
    Ok(vec![instructions::command(&planner, builds, limits), aggregation])
}

fn small_run(programs: &Programs, out: &Path, limits: &Limits<'_>) -> Result<()> {
    let command = programs.command.as_ref().context("there is no `crossover` beside base's worker")?;
    let mut run = instructions::dying_with_us(&programs.worker);
    run.arg(command).args(["run", "smoke", "--out"]).arg(out).env("CROSSOVER_WORKER", &programs.worker);
    let mut child = run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = wait(&mut child, limits)?;
    // 1 is a finding about a cell: the journal is there all the same.
    match status.code() {
        Some(0 | 1) => Ok(()),
        _ => bail!("base's `crossover run smoke` ended with {status}"),
    }
}

/// All that is told of it.
fn sheet(base: &str, paths: &[Counted]) -> Sheet {
    let verdicts: Vec<Verdict> = paths.iter().map(Counted::verdict).collect();
    let overall = overall(verdicts.iter().copied()).name();
    let (headline, counts) = (format!("instructions against {base}"), verdict::counts(&verdicts, "path"));
    let class = |path: &Counted| path.name.split(' ').next().unwrap_or_default().to_owned();
    let entry = |path: &Counted| Entry { class: class(path), name: path.name.clone(), verdict: path.verdict(), words: path.said() };
    let entries: Vec<Entry> = paths.iter().map(entry).collect();
    let mut text = wrap("", headline.split(' '));
    for path in paths.iter().filter(|path| path.verdict() != Verdict::Pass || path.ratio().is_none()) {
        let words = format!("{}: {}", path.name, path.said());
        text += &wrap(&format!("{:<13}", path.verdict().name()), words.split(' '));
    }
    text += &format!("{overall}: {counts}\n");
    let title = format!("Instructions: {overall}");
    Sheet {
        text,
        markdown: sheet::markdown(&title, &format!("{headline}: {counts}."), &entries, &[]),
        json: json!({ "verdict": overall, "base": base, "paths": paths.iter().map(path_json).collect::<Vec<_>>() }),
        junit: sheet::junit("crossover gate --instructions", &entries),
    }
}

fn path_json(path: &Counted) -> Value {
    let [base, head] = path.counts.each_ref().map(|count| count.as_ref().ok());
    json!({
        "path": path.name, "verdict": path.verdict().name(), "base": base.map(|count| count.instructions),
        "head": head.map(|count| count.instructions), "isa": base.or(head).map(|count| count.isa.as_str()).filter(|isa| !isa.is_empty()),
        "ratio": path.ratio(), "tolerated": path.tolerated, "said": path.said(),
    })
}

/// Where nothing can be counted nothing was judged: that is no pass.
fn nothing(why: &str) -> Sheet {
    let words = format!("inconclusive: nothing was counted: {why}");
    let entry = Entry { class: "instructions".into(), name: "valgrind".into(), verdict: Verdict::Inconclusive, words: why.to_owned() };
    Sheet {
        text: wrap("", words.split(' ')),
        markdown: sheet::markdown("Instructions: inconclusive", "Nothing was counted.", std::slice::from_ref(&entry), &[]),
        json: json!({ "verdict": Verdict::Inconclusive.name(), "reason": why, "paths": [] }),
        junit: sheet::junit("crossover gate --instructions", &[entry]),
    }
}
