//! What a run costs beside its workers: cells of workers that answer at once go through the scheduler, the run's recorder (journal, progress,
//! cost model, tally, log) and the tables.
//!
//! `CROSSOVER_SLOW=1` asks for a hundred thousand cells, the normal tier for a small part. The rate is held against processor time
//! everywhere; by the clock it hangs on how long the disk takes to sync, which happens once a group, so that is asked only of a machine that
//! is not busy.

use std::fs::{self, File};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crossover_core::load::load_average;
use crossover_core::testing::slow_tier;
use crossover_protocol::{Request, Response};
use crossover_results::schema::SCHEMA_VERSION;
use crossover_results::{Index, Journal, Machine, Manifest, RunFolder, read_records};

use super::*;
use crate::definition;
use crate::plan::Selection;
use crate::schedule::fakes::{FakeClock, FakeLauncher, World};
use crate::worker::conversation::{Conversation, Launcher, Ready};
use crate::worker::failure::WorkerFailure;

const ENGINES: u64 = 8;
/// Cells a second.
const LEAST_RATE: f64 = 2000.0;
/// The engine whose workers have something to say.
const TALKATIVE: &str = "stub0";

#[test]
fn a_run_takes_little_beside_its_workers() {
    let lengths = if slow_tier() { 12_500 } else { 250 };
    // `steps` makes at most ten thousand values.
    let values = match lengths {
        ..=10_000 => format!("'steps(1..{lengths}, 1)'"),
        _ => format!("['steps(1..10000, 1)', 'steps(10001..{lengths}, 1)']"),
    };
    let text = format!(
        "name = 'stubs'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['*']\n[sweep.axes]\nn = {values}\nclasses = 8\n\
         [measure]\ncell_budget_ms = 20\n"
    );
    let definition = definition::parse(Path::new("stubs.toml"), &text).unwrap();
    let names: Vec<String> = (0..ENGINES).map(|at| format!("stub{at}")).collect();
    let plan = Plan::new(&definition, &names, Selection::default()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&temporary.path().join("run")).unwrap();
    let mut manifest = manifest(plan.cell_count());
    manifest.write(&folder.manifest_path()).unwrap();
    let lock = folder.lock().unwrap();
    let (mut journal, index) = folder.open_journal(&lock).unwrap();
    let busy = load_average(Path::new("/")).is_none_or(|load| load > 0.75 * f64::from(crate::commands::processors()));

    let (began, before) = (Instant::now(), worked_and_queued());
    let tally = run(&plan, &definition.measure, &mut journal, &folder, &mut manifest, &index);
    let journalled = began.elapsed();
    let finished = folder.finish().unwrap();
    let (took, after) = (began.elapsed(), worked_and_queued());
    let (worked, queued) = (after.0 - before.0, after.1 - before.1);

    let (cells, samples) = (lengths * ENGINES, finished.samples);
    let rate = |time: Duration| cells as f64 / time.as_secs_f64();
    println!("{cells} cells, {samples} samples: journal {journalled:.2?}, with Parquet {took:.2?}, {worked:.2?} of it at work");
    let alone = rate(took.saturating_sub(queued));
    println!("{:.0} cells/s by the clock, {alone:.0} without waiting for a processor, {:.0} by processor time", rate(took), rate(worked));
    assert_eq!((finished.cells, tally.count(Status::Ok)), (cells, cells));
    assert!(samples >= 10 * cells && finished.recovery.damaged_total == 0);
    assert_eq!(read_records(&folder.journal_path()).unwrap().count() as u64, cells);
    // Two workers a cell, each with a heading and a line.
    let said = fs::read_to_string(folder.stderr_path(TALKATIVE)).unwrap();
    assert_eq!(said.lines().count() as u64, 4 * cells / ENGINES);
    // A line a group, and now and then one more.
    let shown = fs::read_to_string(folder.path().join(SHOWN)).unwrap();
    assert!(shown.lines().count() as u64 >= lengths);
    assert!(rate(worked) >= LEAST_RATE, "{worked:?}");
    match slow_tier() && busy {
        true => eprintln!("SKIPPED: the machine is busy, so its rate by the clock says nothing"),
        false => assert!(!slow_tier() || rate(took) >= LEAST_RATE, "{took:?}"),
    }
}

/// Where the progress goes.
const SHOWN: &str = "progress.txt";

/// The groups of a run as `measure` takes them, with workers that are no processes.
fn run(plan: &Plan, measure: &Measure, journal: &mut Journal, folder: &RunFolder, manifest: &mut Manifest, index: &Index) -> Tally {
    let weighs = plan.cell_count() <= WEIGHED;
    let budget = TimeBudget::new(None);
    let shown = Box::new(File::create(folder.path().join(SHOWN)).unwrap());
    let (done, estimate, differences) = expected(plan, index, measure, weighs);
    let progress = Progress::in_lines(shown, plan.cell_count(), done, estimate, differences);
    let mut recorder =
        Recorder { journal, folder, manifest, resumed: None, budget: &budget, progress, tally: Tally::of_earlier(index), weighs };
    let world = Rc::new(World::default());
    let (clock, mut launcher) = (FakeClock(Rc::clone(&world)), Stubs { fakes: FakeLauncher(Rc::clone(&world)), world });
    let mut scheduler = Scheduler::new(&mut launcher, &clock, &mut recorder, measure, "m".into(), 1, folder.path().join("tmp"));
    for group in order::groups(plan, false) {
        scheduler.run_group(&group, |_| true).unwrap();
    }
    scheduler.close();
    recorder.tally
}

/// Fakes that forget what they were asked, as a hundred thousand cells would fill the memory with it.
struct Stubs {
    fakes: FakeLauncher,
    world: Rc<World>,
}

impl Launcher for Stubs {
    fn start(&mut self, engine: &str, threads: u32, deadline: Duration) -> Result<Ready, WorkerFailure> {
        self.world.log.borrow_mut().clear();
        let Ready { conversation, hello } = self.fakes.start(engine, threads, deadline)?;
        Ok(Ready { conversation: Box::new(Stub { conversation, talks: engine == TALKATIVE }), hello })
    }

    fn start_clerk(&mut self, deadline: Duration) -> Result<Ready, WorkerFailure> {
        self.fakes.start_clerk(deadline)
    }
}

/// A worker that may have something to say at its end.
struct Stub {
    conversation: Box<dyn Conversation>,
    talks: bool,
}

impl Conversation for Stub {
    fn request(&mut self, request: &Request, deadline: Duration) -> Result<Response, WorkerFailure> {
        self.conversation.request(request, deadline)
    }

    fn stderr_tail(&mut self) -> Option<String> {
        self.conversation.stderr_tail()
    }

    fn quit(self: Box<Self>) -> Option<String> {
        self.conversation.quit();
        self.talks.then(|| "a word of mine".to_owned())
    }
}

/// Processor time of this thread, and the time for which it was ready to run and others had the processors.
fn worked_and_queued() -> (Duration, Duration) {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let mut times = text.split(' ').map(|ns| Duration::from_nanos(ns.parse().unwrap_or(0)));
    (times.next().unwrap(), times.next().unwrap())
}

fn manifest(cells_planned: u64) -> Manifest {
    Manifest {
        excluded: Default::default(),
        schema: SCHEMA_VERSION,
        experiment: "stubs".into(),
        command: "none".into(),
        created_unix_ms: 0,
        resumed_unix_ms: Vec::new(),
        definition_hash: String::new(),
        plan_hash: String::new(),
        cells_planned,
        parts: Vec::new(),
        seed: 1,
        machine: Machine::detect(),
        builds: Vec::new(),
        ceilings: None,
        noise: None,
    }
}
