//! `crossover gate`: is this build slower than that one? Exit codes: 0 pass or improved, 1 regressed, 2 bad input, 3 the environment, 4 inconclusive.

mod sides;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossover_results::write_atomically;

use crate::cli::GateArgs;
use crate::definition::{self, Definition};
use crate::errors::{StdoutClosed, bad_input};
use crate::gate::asked::Asked;
use crate::gate::builds::WORKER;
use crate::gate::pair::Builds;
use crate::gate::sheet::Sheet;
use crate::gate::stages::{Judged, Judgement, Outcome, Stage, Watch, judge};
use crate::gate::{Compared, Findings, left_out, outputs};
use crate::paths;
use crate::plan::{Plan, PlannedCell};
use crate::schedule::SystemClock;
use crate::worker::launcher::Bounds;
use crate::worker::process::adopt_orphans;

use super::run::Interrupt;
use super::text::counted;
use super::{expect_cells, gate_exact, gate_instructions, gate_runs, print, print_json};

pub(super) use sides::{Side, engines, sides};

/// Whose cells are timed where no experiment is named.
const TIMED: &str = "gate";

/// Runs the command.
pub fn gate(args: &GateArgs) -> Result<ExitCode> {
    if args.exact || args.accept.is_some() {
        return gate_exact::exact(args);
    }
    if args.instructions {
        return gate_instructions::instructions(args);
    }
    if !args.base_run.is_empty() {
        return gate_runs::runs(args);
    }
    expect_min_effect(args)?;
    let definition = definition::load(&paths::experiment_file(args.experiment.as_deref().unwrap_or(TIMED))?)?;
    // A filter that cannot be read must not cost two builds.
    args.selection.selection()?;
    let asked = asked(args, &definition);
    // Nor must a time in which not even one cell could be judged.
    expect_time(&asked, 1)?;
    let interrupt = Interrupt::listen()?;
    adopt_orphans();
    let [base, head] = sides(args, &[WORKER])?;
    let bounds = Bounds::of(&definition.measure);
    let (mut base_launcher, mut head_launcher) = (base.launcher(bounds, &interrupt.flag), head.launcher(bounds, &interrupt.flag));
    let hellos = [head.greet(&mut head_launcher, "head")?, base.greet(&mut base_launcher, "base")?];
    let plan = Plan::new(&definition, &engines(&hellos), args.selection.selection()?)?;
    expect_cells(&plan)?;
    let all: Vec<PlannedCell> = plan.groups().flat_map(|group| group.cells).collect();
    let cells: Vec<PlannedCell> = all.iter().filter(|cell| left_out(cell, &definition).is_none()).cloned().collect();
    expect_time(&asked, cells.len())?;
    let mut progress = Progress::new(Arc::clone(&interrupt.flag));
    let Judgement { judged, spent } = interrupt.gently(|| {
        let mut builds = Builds { base: &mut base_launcher, head: &mut head_launcher };
        judge(&mut builds, &cells, &asked, &SystemClock::start(), &mut progress)
    });
    progress.end();
    let judged = with_left_out(all, judged, &definition);
    expect_comparison(&definition.name, Compared::Builds, &judged)?;
    let mut notes: Vec<String> =
        judged.iter().filter_map(|judged| Some(format!("{}: {}", outputs::name(&judged.cell), judged.failed.as_ref()?))).collect();
    notes.extend(spent.map(|spent| spent.told()));
    if let Some(signal) = interrupt.signal() {
        notes.push(format!("stopped by signal {signal}: what was not measured by then is inconclusive"));
    }
    let findings = Findings {
        compared: Compared::Builds,
        base: base.told,
        head: head.told,
        experiment: definition.name,
        min_effect: args.min_effect,
        seed: Some(asked.seed),
        judged,
        notes,
    };
    write(args, &outputs::sheet(&findings))?;
    Ok(if interrupt.signal().is_some() { interrupt.exit_code() } else { ExitCode::from(findings.overall().exit_code()) })
}

/// Refuses what is no share.
pub(super) fn expect_min_effect(args: &GateArgs) -> Result<()> {
    if args.min_effect > 0.0 && args.min_effect < 1.0 {
        return Ok(());
    }
    Err(bad_input(format!("--min-effect {}: write a share between 0 and 1, such as 0.05 for 5 %", args.min_effect)))
}

fn asked(args: &GateArgs, definition: &Definition) -> Asked {
    let (measure, seed) = (definition.measure.clone(), args.seed.unwrap_or_else(drawn_seed));
    Asked { min_effect: args.min_effect, budget: args.time_budget, measure, seed, ..Asked::default() }
}

/// Another one for each gate, short enough to be typed: with one for all, a machine's gates would have the same luck of orders, cores and heaps.
fn drawn_seed() -> u64 {
    u64::from(RandomState::new().hash_one(std::process::id()) as u32)
}

/// Refuses a time in which no cell could be judged, before any of it is spent.
fn expect_time(asked: &Asked, cells: usize) -> Result<()> {
    let Some(budget) = asked.budget else { return Ok(()) };
    let least = asked.least_budget(cells);
    if budget >= least {
        return Ok(());
    }
    let each = asked.least_budget(1).as_secs_f64();
    let what = match cells {
        0 | 1 => format!("a cell takes {each:.1} s at least; give it more"),
        _ => format!(
            "{cells} cells take {} s at least, {each:.1} s each; give it more, or fewer cells (--filter)",
            least.as_secs_f64().ceil()
        ),
    };
    Err(bad_input(format!("--time-budget {}s is too short for any verdict: {what}", budget.as_secs_f64())))
}

/// Those that were judged and those that were left out, in the order of the plan.
fn with_left_out(all: Vec<PlannedCell>, judged: Vec<Judged>, definition: &Definition) -> Vec<Judged> {
    let mut judged = judged.into_iter();
    let of = |cell: PlannedCell| match left_out(&cell, definition) {
        Some(why) => Some(Judged { cell, outcome: Outcome::LeftOut { why }, failed: None }),
        None => judged.next(),
    };
    all.into_iter().filter_map(of).collect()
}

/// Refuses to call it a pass where nothing was compared.
pub(super) fn expect_comparison(experiment: &str, compared: Compared, judged: &[Judged]) -> Result<()> {
    if judged.iter().any(|judged| judged.outcome.was_compared()) {
        return Ok(());
    }
    let cells = counted(judged.len() as u64, "cell");
    let first = judged.first().map(outputs::words).unwrap_or_default();
    let what = match compared {
        Compared::Builds => format!("base and head have no cell of {experiment} in common"),
        Compared::Runs => format!("no cell of these runs of {experiment} can be compared"),
    };
    Err(bad_input(format!("{what}: there is nothing to compare. Of {cells} the first: {first}")))
}

/// The files first, as somebody may have gone who should read the rest; but a file that cannot be written must not cost the verdict, nor
/// must a reader that has gone (`| head`).
pub(super) fn write(args: &GateArgs, sheet: &Sheet) -> Result<()> {
    let file = |path: Option<&Path>, text: &str| match path {
        Some(path) => write_atomically(path, text.as_bytes()).with_context(|| format!("{} cannot be written", path.display())),
        None => Ok(()),
    };
    let files = [
        file(args.markdown.as_deref(), &sheet.markdown),
        file(args.junit.as_deref(), &sheet.junit),
        file(args.json_file(), &format!("{:#}\n", sheet.json)),
    ];
    let printed = match args.prints_json() {
        true => print_json(&sheet.json),
        false => print(|out| out.write_all(sheet.text.as_bytes())),
    };
    printed.or_else(|error| if error.is::<StdoutClosed>() { Ok(()) } else { Err(error) })?;
    files.into_iter().collect()
}

/// A line on standard error now and then.
struct Progress {
    last: Instant,
    is_terminal: bool,
    interrupted: Arc<AtomicBool>,
}

impl Watch for Progress {
    fn stops(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    fn tell(&mut self, stage: Stage, done: usize, all: usize) {
        let pause = if self.is_terminal { Duration::from_millis(200) } else { Duration::from_secs(20) };
        if self.last.elapsed() < pause && done < all {
            return;
        }
        self.last = Instant::now();
        let (begin, end) = if self.is_terminal { ("\r", "") } else { ("", "\n") };
        // Nobody may be there to read it: the gate goes on all the same.
        let _ = write!(io::stderr(), "{begin}{}: {done} of {all} pairs{end}", stage.name());
    }
}

impl Progress {
    fn new(interrupted: Arc<AtomicBool>) -> Self {
        Self { last: Instant::now(), is_terminal: io::stderr().is_terminal(), interrupted }
    }

    fn end(&self) {
        if self.is_terminal {
            let _ = writeln!(io::stderr());
        }
    }
}
