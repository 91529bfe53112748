//! Figures of size: a plan of a million cells in little memory, and a hundred thousand cells through the journal and Parquet in a minute.
//!
//! `CROSSOVER_SLOW=1` asks for all of it, the normal tier for a small part. The rate is held against processor time everywhere; by the
//! clock it hangs on how long the disk takes to sync, which happens once a group, so that is asked only of a machine that is not busy.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Bench;
use crossover::definition;
use crossover::plan::{Group, Plan, PlannedCell, Selection};
use crossover::schedule::{Scheduler, Sink, SystemClock};
use crossover::worker::conversation::{Conversation, Launcher, Ready};
use crossover::worker::failure::WorkerFailure;
use crossover_protocol::{
    AccuracyFigures, Capabilities, HelloReply, MeasuredReply, MeasuredSample, MemoryFigures, PROTOCOL_VERSION, PreparedReply, Request,
    Response, SupportLevel,
};
use crossover_results::schema::{Record, SCHEMA_VERSION};
use crossover_results::{Journal, Machine, Manifest, RunFolder};

/// Processor time of this thread.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Do others run here too?
fn is_busy() -> bool {
    let load: f64 = std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().parse().unwrap();
    load > 0.75 * std::thread::available_parallelism().unwrap().get() as f64
}

#[test]
fn a_plan_of_a_million_cells_streams() {
    let (lengths, most) = (if common::slow_tier() { 1000 } else { 50 }, 300 << 20);
    let bench = Bench::new(&format!(
        "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok']\n[sweep.axes]\n\
         n = 'steps(1..{lengths}, 1)'\nclasses = 'steps(1..1000, 1)'\n"
    ));
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
    command.arg("plan").arg(bench.experiment()).arg("--json");
    let began = Instant::now();
    let mut plan = bench.marked(command).spawn().unwrap();
    let (mut cells, mut high_water, pid) = (0, 0, plan.id());
    for line in BufReader::new(plan.stdout.take().unwrap()).lines() {
        cells += usize::from(line.unwrap().contains("\"id\":"));
        if cells % 10_000 == 0 {
            high_water = high_water.max(common::high_water_bytes(pid).unwrap_or(0));
        }
    }
    assert!(plan.wait().unwrap().success());
    println!("{cells} cells planned in {:?}, high water {} MiB", began.elapsed(), high_water >> 20);
    assert_eq!(cells, lengths * 1000);
    assert!(high_water > 0 && high_water < most, "{high_water}");
}

#[test]
fn stub_cells_go_through_journal_and_parquet() {
    let (lengths, engines) = (if common::slow_tier() { 12_500 } else { 250 }, 8);
    let names: Vec<String> = (0..engines).map(|at| format!("stub{at}")).collect();
    let text = format!(
        "name = 'stubs'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['*']\n[sweep.axes]\nn = 'steps(1..{lengths}, 1)'\n\
         classes = 8\n[measure]\ncell_budget_ms = 1\n"
    );
    // `steps` makes at most ten thousand values.
    let text =
        if common::slow_tier() { text.replace("'steps(1..12500, 1)'", "['steps(1..10000, 1)', 'steps(10001..12500, 1)']") } else { text };
    let definition = definition::parse(Path::new("stubs.toml"), &text).unwrap();
    let plan = Plan::new(&definition, &names, Selection::default()).unwrap();
    let bench = Bench::new(&text);
    let folder = RunFolder::create(&bench.run_folder()).unwrap();
    manifest(plan.cell_count()).write(&folder.manifest_path()).unwrap();
    let lock = folder.lock().unwrap();
    let mut sink = ToJournal(folder.open_journal(&lock).unwrap().0);
    let (clock, mut launcher, busy) = (SystemClock::start(), Stubs, is_busy());
    let (began, processor) = (Instant::now(), processor_time());
    let tmp = folder.path().join("tmp");
    let mut scheduler = Scheduler::new(&mut launcher, &clock, &mut sink, &definition.measure, "m".into(), 1, tmp);
    for group in plan.groups() {
        scheduler.run_group(&group, |_| true).unwrap();
    }
    scheduler.close();
    let journalled = began.elapsed();
    let finished = folder.finish().unwrap();
    let (cells, took, worked) = (lengths * engines, began.elapsed(), processor_time() - processor);
    let rate = |time: Duration| cells as f64 / time.as_secs_f64();
    let samples = finished.samples;
    println!("{cells} cells, {samples} samples: journal {journalled:.2?}, with Parquet {took:.2?}, {worked:.2?} of it at work");
    println!("{:.0} cells/s by the clock, {:.0} by processor time", rate(took), rate(worked));
    assert_eq!((finished.cells, plan.cell_count()), (cells as u64, cells as u64));
    assert!(finished.samples >= 10 * finished.cells && finished.recovery.damaged_total == 0);
    assert!(rate(worked) >= 2000.0, "{worked:?}");
    match common::slow_tier() && busy {
        true => eprintln!("SKIPPED: the machine is busy, so its rate by the clock says nothing"),
        false => assert!(!common::slow_tier() || rate(took) >= 2000.0, "{took:?}"),
    }
}

struct ToJournal(Journal);

impl Sink for ToJournal {
    fn group_begins(&mut self, _: &Group) {}

    fn refuse(&mut self, _: &PlannedCell) -> Option<String> {
        None
    }

    fn record(&mut self, records: Vec<Record>) -> anyhow::Result<()> {
        Ok(self.0.append_batch(&records)?)
    }

    fn build(&mut self, _: &HelloReply) -> anyhow::Result<String> {
        Ok("stub".into())
    }

    fn stderr(&mut self, _: &PlannedCell, _: &str) -> anyhow::Result<()> {
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        panic!("{text}");
    }

    fn group_ends(&mut self) {}
}

/// Workers without a process, which answer at once.
struct Stubs;

impl Launcher for Stubs {
    fn start(&mut self, _: &str, _: u32, _: Duration) -> Result<Ready, WorkerFailure> {
        let hello = HelloReply {
            protocol: PROTOCOL_VERSION,
            worker: "stub".into(),
            version: "1".into(),
            build: "none".into(),
            engines: Vec::new(),
            capabilities: Capabilities { draws_inputs: true, judges: true, empties_caches: false },
            instruments: Vec::new(),
        };
        Ok(Ready { conversation: Box::new(Stub), hello })
    }

    fn start_clerk(&mut self, deadline: Duration) -> Result<Ready, WorkerFailure> {
        self.start("", 1, deadline)
    }
}

struct Stub;

impl Conversation for Stub {
    fn request(&mut self, request: &Request, _: Duration) -> Result<Response, WorkerFailure> {
        Ok(match request {
            Request::Prepare { .. } => Response::Prepared(PreparedReply {
                support: SupportLevel::Native,
                reason: None,
                prepare_ns: 1,
                derive_ns: None,
                transform: None,
                flops: 1000,
                bytes: 100,
                threads_used: 1,
                isa: "none".into(),
            }),
            Request::Account {} => Response::Accounted(MemoryFigures { high_water_bytes: 1, ..MemoryFigures::default() }),
            Request::Measure { samples, calls } => {
                let sample = MeasuredSample { calls: *calls, ns: 1000 * u64::from(*calls), disturbed: false };
                Response::Measured(MeasuredReply { samples: vec![sample; *samples as usize], conditions: None })
            }
            _ => Response::Verified(AccuracyFigures {
                passed: true,
                complaint: None,
                err_impl: Some(1e-9),
                err_impl_rel: None,
                tolerance_used: None,
                err_method: None,
                err_method_rel: None,
                cosine: None,
                error_ratio: None,
                divergence: None,
                top_1_agreement: None,
                nonfinite: 0,
                rows_checked: 1,
                rows_total: 1,
            }),
        })
    }

    fn stderr_tail(&mut self) -> Option<String> {
        None
    }

    fn quit(self: Box<Self>) -> Option<String> {
        None
    }
}

fn manifest(cells_planned: u64) -> Manifest {
    Manifest {
        excluded: Default::default(),
        schema: SCHEMA_VERSION,
        experiment: "stubs".into(),
        command: "none".into(),
        created_unix_ms: 0,
        definition_hash: String::new(),
        plan_hash: String::new(),
        cells_planned,
        seed: 1,
        machine: Machine::detect(),
        builds: Vec::new(),
        ceilings: None,
        noise: None,
    }
}
