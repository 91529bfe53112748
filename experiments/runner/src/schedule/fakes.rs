//! Workers, a clock and a journal made of memory, for tests of the scheduling alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crossover_core::axes::Axes;
use crossover_protocol::{
    AccuracyFigures, Capabilities, Conditions, EngineInfo, FailureKind, Fault, HelloReply, MeasuredReply, MeasuredSample, MemoryFigures,
    PROTOCOL_VERSION, PreparedReply, Request, Response, SupportLevel,
};
use crossover_results::schema::Record;

use crate::plan::{Group, PlannedCell};
use crate::schedule::random::Random;
use crate::schedule::{Clock, Sink};
use crate::worker::conversation::{Conversation, Launcher, Ready};
use crate::worker::failure::{Cause, WorkerFailure};
use crate::worker::steps::name_of;

/// A group whose cells are called by these names; names that begin with `base` are baselines.
pub(crate) fn group(names: &[&str]) -> Group {
    let cell = |name: &&str| PlannedCell {
        id: (*name).to_owned(),
        group: "g".into(),
        experiment: "test".into(),
        family: "attention".into(),
        variant: format!("attention/{name}"),
        engine: "fake".into(),
        baseline: name.starts_with("base"),
        axes: Axes::new(),
        matched: None,
        unfit: None,
    };
    Group { id: "g".into(), cells: names.iter().map(cell).collect() }
}

/// How the worker of one cell behaves.
#[derive(Clone)]
pub(crate) struct Script {
    /// Time of one call.
    pub(crate) call_ns: u64,
    /// Spread of it, as a share: uniform.
    pub(crate) spread: f64,
    pub(crate) disturbed: bool,
    /// Time that passes before each call without being measured.
    pub(crate) off_clock: Duration,
    pub(crate) passed: bool,
    pub(crate) support: SupportLevel,
    pub(crate) capable: bool,
    /// The step (and how many times it works before) that fails so.
    pub(crate) fails: Option<(&'static str, u32, Cause)>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            call_ns: 1_000_000,
            spread: 0.001,
            disturbed: false,
            off_clock: Duration::ZERO,
            passed: true,
            support: SupportLevel::Native,
            capable: true,
            fails: None,
        }
    }
}

/// What all fakes share.
#[derive(Default)]
pub(crate) struct World {
    now: Cell<Duration>,
    alive: Cell<usize>,
    pub(crate) most_alive: Cell<usize>,
    pub(crate) starts: Cell<usize>,
    scripts: RefCell<BTreeMap<String, Script>>,
    /// `cell:step`, in order.
    pub(crate) log: RefCell<Vec<String>>,
    pub(crate) broken_starts: Cell<usize>,
    pub(crate) records: RefCell<Vec<Record>>,
    pub(crate) disk_full_after: Cell<Option<usize>>,
    pub(crate) refused: RefCell<Vec<String>>,
    pub(crate) interrupt_at: Cell<Option<Duration>>,
    /// From this time on every call takes so many times as long: the machine has become slow.
    pub(crate) slow_down: Cell<Option<(Duration, u64)>>,
    /// How many times as long calls take at most while others use the machine; how much they do changes at random every 10 ms.
    pub(crate) weather: Cell<f64>,
    /// After so many more requests the clock jumps to this time.
    pub(crate) jump: Cell<Option<(u32, Duration)>>,
}

impl World {
    pub(crate) fn script(&self, cell: &str, script: Script) {
        self.scripts.borrow_mut().insert(cell.to_owned(), script);
    }

    pub(crate) fn now(&self) -> Duration {
        self.now.get()
    }

    fn weather_now(&self) -> f64 {
        let share = Random::new(self.now().as_millis() as u64 / 10).below(1_000_001) as f64 / 1e6;
        1.0 + share * (self.weather.get() - 1.0).max(0.0)
    }

    fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    pub(crate) fn log_of(&self, cell: &str) -> String {
        let log = self.log.borrow();
        let steps: Vec<&str> =
            log.iter().filter_map(|line| line.split_once(':').filter(|(own, _)| *own == cell)).map(|(_, step)| step).collect();
        steps.join(" ")
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.get()
    }
}

pub(crate) struct FakeClock(pub(crate) Rc<World>);

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        self.0.now.get()
    }
}

pub(crate) struct FakeSink(pub(crate) Rc<World>);

impl Sink for FakeSink {
    fn group_begins(&mut self, _: &Group) {}

    fn refuse(&mut self, cell: &PlannedCell) -> Option<String> {
        self.0.refused.borrow().contains(&cell.id).then(|| "no time".to_owned())
    }

    fn record(&mut self, new: Vec<Record>) -> anyhow::Result<()> {
        let mut records = self.0.records.borrow_mut();
        anyhow::ensure!(self.0.disk_full_after.get().is_none_or(|most| records.len() + new.len() <= most), "disk full");
        for record in new {
            self.0.log.borrow_mut().push(format!("{}:recorded", record.id));
            records.push(record);
        }
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        self.0.log.borrow_mut().push(format!("notice:{text}"));
    }

    fn group_ends(&mut self) {}

    fn build(&mut self, hello: &HelloReply) -> anyhow::Result<String> {
        Ok(format!("build of {}", hello.worker))
    }

    fn stderr(&mut self, _: &PlannedCell, _: &str) -> anyhow::Result<()> {
        Ok(())
    }
}

pub(crate) struct FakeLauncher(pub(crate) Rc<World>);

impl FakeLauncher {
    fn ready(&mut self, worker: &str, capable: bool) -> Ready {
        let world = Rc::clone(&self.0);
        world.starts.set(world.starts.get() + 1);
        world.alive.set(world.alive.get() + 1);
        world.most_alive.set(world.most_alive.get().max(world.alive.get()));
        world.pass(Duration::from_millis(5));
        let engine = EngineInfo { name: "fake".into(), summary: String::new(), isa: "none".into(), native: vec![] };
        let hello = HelloReply {
            protocol: PROTOCOL_VERSION,
            worker: worker.into(),
            version: "1".into(),
            build: "b".into(),
            engines: vec![engine],
            capabilities: Capabilities { draws_inputs: capable, judges: capable, empties_caches: capable },
            instruments: vec![],
        };
        let random = Random::new(world.starts.get() as u64);
        Ready {
            conversation: Box::new(FakeWorker { world, cell: worker.into(), script: Script::default(), seen: BTreeMap::new(), random }),
            hello,
        }
    }
}

impl Launcher for FakeLauncher {
    fn start(&mut self, _: &str, _: u32, _: Duration) -> Result<Ready, WorkerFailure> {
        if self.0.broken_starts.get() > 0 {
            self.0.broken_starts.set(self.0.broken_starts.get() - 1);
            return Err(WorkerFailure { step: "hello", cause: Cause::Exited { code: 1 }, stderr_tail: Some("no such library".into()) });
        }
        let capable = self.0.scripts.borrow().values().all(|script| script.capable);
        Ok(self.ready("worker", capable))
    }

    fn start_clerk(&mut self, _: Duration) -> Result<Ready, WorkerFailure> {
        Ok(self.ready("clerk", true))
    }
}

struct FakeWorker {
    world: Rc<World>,
    cell: String,
    script: Script,
    seen: BTreeMap<&'static str, u32>,
    random: Random,
}

impl FakeWorker {
    fn batch(&mut self, samples: u32, calls: u32) -> MeasuredReply {
        MeasuredReply { samples: (0..samples).map(|_| self.sample(calls)).collect(), conditions: Some(Conditions::default()) }
    }

    fn sample(&mut self, calls: u32) -> MeasuredSample {
        let spread = (self.random.below(2_000_001) as f64 / 1e6 - 1.0) * self.script.spread;
        let times = self.world.slow_down.get().filter(|(from, _)| self.world.now() >= *from).map_or(1, |(_, times)| times);
        let ns = (self.script.call_ns as f64 * f64::from(calls) * (1.0 + spread) * self.world.weather_now()) as u64 * times;
        self.world.pass(Duration::from_nanos(ns) + self.script.off_clock * calls);
        MeasuredSample { calls, ns, disturbed: self.script.disturbed }
    }
}

fn figures(passed: bool) -> AccuracyFigures {
    AccuracyFigures {
        passed,
        complaint: (!passed).then(|| "row 3 is off by 7".to_owned()),
        err_impl: Some(1e-9),
        rows_checked: 1,
        rows_total: 1,
        ..AccuracyFigures::default()
    }
}

impl Conversation for FakeWorker {
    fn request(&mut self, request: &Request, _: Duration) -> Result<Response, WorkerFailure> {
        let step = name_of(request);
        if let Request::Prepare { cell, inputs } = request {
            self.cell.clone_from(&cell.id);
            self.script = self.world.scripts.borrow().get(&cell.id).cloned().unwrap_or_default();
            assert_eq!(inputs.is_some(), !self.script.capable);
        }
        self.world.log.borrow_mut().push(format!("{}:{step}", self.cell));
        self.world.pass(Duration::from_micros(50));
        if let Some((left, to)) = self.world.jump.take() {
            if left == 0 { self.world.now.set(to) } else { self.world.jump.set(Some((left - 1, to))) }
        }
        if self.world.interrupt_at.get().is_some_and(|at| self.world.now.get() >= at) {
            return Err(WorkerFailure { step, cause: Cause::Interrupted, stderr_tail: None });
        }
        let seen = self.seen.entry(step).or_default();
        *seen += 1;
        if let Some((at, after, cause)) = &self.script.fails
            && *at == step
            && *seen > *after
        {
            return Err(WorkerFailure { step, cause: cause.clone(), stderr_tail: Some("last words".into()) });
        }
        Ok(match request {
            Request::Prepare { .. } => Response::Prepared(PreparedReply {
                support: self.script.support,
                reason: (self.script.support == SupportLevel::Emulated).then(|| "computed in f32".to_owned()),
                prepare_ns: 7,
                derive_ns: None,
                transform: None,
                flops: 1000,
                bytes: 100,
                threads_used: 1,
                isa: "none".into(),
            }),
            Request::Verify { output: Some(_) } | Request::Materialize { .. } => Response::Written {},
            Request::Verify { output: None } | Request::Judge { .. } => Response::Verified(figures(self.script.passed)),
            Request::Account {} => Response::Accounted(MemoryFigures { weight_bytes: 11, ..MemoryFigures::default() }),
            Request::Measure { samples, calls } => Response::Measured(self.batch(*samples, *calls)),
            other => Response::Failed(Fault { kind: FailureKind::BadRequest, message: name_of(other).into() }),
        })
    }

    fn stderr_tail(&mut self) -> Option<String> {
        None
    }

    fn quit(self: Box<Self>) -> Option<String> {
        self.world.log.borrow_mut().push(format!("{}:quit", self.cell));
        None
    }
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        self.world.alive.set(self.world.alive.get() - 1);
    }
}
