//! `crossover gate`: is this build slower than that one? Exit codes: 0 pass or improved, 1 regressed, 2 bad input, 3 the environment, 4 inconclusive.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossover_protocol::text::tell;
use crossover_results::write_atomically;

use crate::cli::GateArgs;
use crate::definition;
use crate::errors::{bad_input, environment};
use crate::gate::builds::{Repository, WORKER};
use crate::gate::pair::Builds;
use crate::gate::stages::{Asked, Outcome, Stage, Watch, judge};
use crate::gate::{Findings, outputs};
use crate::paths::{self, Project};
use crate::plan::{Plan, PlannedCell};
use crate::schedule::SystemClock;
use crate::worker::conversation::Launcher;
use crate::worker::launcher::{Bounds, ProcessLauncher};
use crate::worker::process::adopt_orphans;

use super::run::Interrupt;
use super::{expect_cells, gate_exact, gate_instructions, own_worker, print, print_json};

/// Whose cells are timed where no experiment is named.
const TIMED: &str = "gate";

/// How long a worker may take to say who it is.
pub(super) const HELLO: Duration = Duration::from_secs(30);

/// Runs the command.
pub fn gate(args: &GateArgs) -> Result<ExitCode> {
    if args.exact {
        return gate_exact::exact(args);
    }
    if args.instructions {
        return gate_instructions::instructions(args);
    }
    if !(args.min_effect > 0.0 && args.min_effect < 1.0) {
        return Err(bad_input(format!("--min-effect {}: write a share between 0 and 1, such as 0.05 for 5 %", args.min_effect)));
    }
    let interrupt = Interrupt::listen()?;
    adopt_orphans();
    let definition = definition::load(&paths::experiment_file(args.experiment.as_deref().unwrap_or(TIMED))?)?;
    let plan = Plan::new(&definition, &own_worker::engine_names()?, args.selection.selection()?)?;
    expect_cells(&plan)?;
    let cells: Vec<PlannedCell> = plan.groups().flat_map(|group| group.cells).filter(|cell| cell.unfit.is_none()).collect();
    let mut notes = Vec::new();
    let head = args.head_worker.clone().map_or_else(paths::worker_binary, Ok)?;
    let (base, told) = base_worker(args, &[WORKER], &mut notes)?;
    let launcher = |worker: &Path| {
        ProcessLauncher::new(worker.to_owned(), definition.workers.clone(), Bounds::of(&definition.measure), Arc::clone(&interrupt.flag))
    };
    let (mut base_launcher, mut head_launcher) = (launcher(&base), launcher(&head));
    greet(&mut base_launcher, "base", &base)?;
    greet(&mut head_launcher, "head", &head)?;
    let asked = Asked { min_effect: args.min_effect, budget: args.time_budget, seed: args.seed, ..Asked::default() };
    let mut progress = Progress::new(Arc::clone(&interrupt.flag));
    let judged = interrupt.gently(|| {
        let mut builds = Builds { base: &mut base_launcher, head: &mut head_launcher };
        judge(&mut builds, &cells, &asked, &SystemClock::start(), &mut progress)
    });
    progress.end();
    if judged.iter().all(|judged| matches!(judged.outcome, Outcome::New { .. } | Outcome::Neither { .. })) {
        return Err(bad_input(format!("base and head have no cell of {} in common: there is nothing to compare", definition.name)));
    }
    if let Some(signal) = interrupt.signal() {
        notes.push(format!("stopped by signal {signal}: what was not measured by then is inconclusive"));
    }
    let head_told = args.head_worker.as_ref().map_or_else(|| "this build".to_owned(), |path| path.display().to_string());
    let findings = Findings { base: told, head: head_told, experiment: definition.name, min_effect: args.min_effect, judged, notes };
    write(args, &findings)?;
    Ok(if interrupt.signal().is_some() { interrupt.exit_code() } else { ExitCode::from(findings.overall().exit_code()) })
}

/// The worker to compare with, which has all these programs beside it where it is built here, and what to call it.
pub(super) fn base_worker(args: &GateArgs, programs: &[&str], notes: &mut Vec<String>) -> Result<(PathBuf, String)> {
    if let Some(worker) = &args.base_worker {
        return match worker.is_file() {
            true => Ok((worker.clone(), worker.display().to_string())),
            false => Err(bad_input(format!("--base-worker {} is no file", worker.display()))),
        };
    }
    let project = Project::find()?;
    let repository = Repository::of(project.root(), "so there is no base revision: name a worker of it by --base-worker FILE")?;
    let revision = repository.resolve(args.base.as_deref())?;
    if repository.is_dirty()? {
        notes.push("the working tree has changes that no commit has: head is what was built last, with or without them".to_owned());
    }
    let worker = repository.worker(&revision, programs, &args.build, &mut |text| tell(text))?;
    let short = revision.commit.get(..12).unwrap_or(&revision.commit).to_owned();
    Ok((worker, format!("{} ({short})", revision.name)))
}

/// A worker of another protocol, or none at all, is better told before the first pair than after it.
fn greet(launcher: &mut ProcessLauncher, side: &str, worker: &Path) -> Result<()> {
    let ready = launcher
        .start_clerk(HELLO)
        .map_err(|failure| environment(format!("the worker of {side}, {}, cannot be used: {failure}", worker.display())))?;
    ready.conversation.quit();
    Ok(())
}

fn write(args: &GateArgs, findings: &Findings) -> Result<()> {
    let file = |path: &Option<PathBuf>, text: &dyn Fn() -> String| match path {
        Some(path) => write_atomically(path, text().as_bytes()).with_context(|| format!("{} cannot be written", path.display())),
        None => Ok(()),
    };
    // First where somebody looks: a file that cannot be written must not cost the verdict.
    match args.json {
        true => print_json(&outputs::json(findings))?,
        false => print(|out| out.write_all(outputs::text(findings).as_bytes()))?,
    }
    file(&args.markdown, &|| outputs::markdown(findings))?;
    file(&args.junit, &|| outputs::junit(findings))
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
