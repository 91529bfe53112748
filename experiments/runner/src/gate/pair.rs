//! One pair: a fresh process of each build, the same cell in both, timed in turns.
//!
//! Two processes of the same program differ: where the kernel puts their pages, what the allocator returns, which core they begin on. That
//! difference does not shrink however long a process is timed, so the pair of processes is the unit of evidence, and a pair is kept short. Both
//! live at once and take short turns, base first or head first by lot, then the other way round (ABBA or BAAB), some times over: what drifts evenly
//! hits both alike.
//!
//! A pair's figure is the logarithm of the ratio of two medians, each of the *fastest quarter* of a side's samples. What others do on a shared machine
//! only ever adds time, in bursts that reach many of one side's turns and few of the other's: beside a compiler, over twelve pairs of one program with
//! itself, the ratio of plain medians of a flash attention had a standard deviation of 42 %, that of the fastest samples 6 to 18 %; on a machine that
//! was left alone 2.4 % and 0.3 %. The price: a change that leaves an
//! eighth of the samples as they were is not seen here.

use std::time::Duration;

use crossover_protocol::{MeasuredSample, SupportLevel};

use crate::plan::PlannedCell;
use crate::schedule::Clock;
use crate::schedule::random::Random;
use crate::schedule::sampling::calls_per_sample;
use crate::statistics::Summary;
use crate::worker::conversation::{Conversation, Launcher};
use crate::worker::failure::WorkerFailure;
use crate::worker::steps::{self, Verified};

/// How a pair is measured.
#[derive(Debug, Clone, Copy)]
pub struct Design {
    /// How long a sample is to last.
    pub sample: Duration,
    /// How long a turn is to last.
    pub turn: Duration,
    /// How often both take two turns.
    pub rounds: usize,
    /// How long a step may take.
    pub deadline: Duration,
}

impl Default for Design {
    fn default() -> Self {
        Self { sample: Duration::from_micros(500), turn: Duration::from_millis(5), rounds: 8, deadline: Duration::from_secs(60) }
    }
}

/// One of the two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is compared with.
    Base = 0,
    /// What is judged.
    Head = 1,
}

/// Why there is no figure of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Base has no time for the cell.
    Base(String),
    /// Head has none.
    Head(String),
    /// Neither has; what is said is head's reason.
    Both(String),
    /// The user wants to stop.
    Interrupted,
}

/// Why one build has no time for a cell.
enum Untimed {
    Worker(WorkerFailure),
    /// The output is wrong, so its time means nothing.
    Wrong(String),
    /// It is computed in another precision than asked.
    Emulated,
}

impl From<WorkerFailure> for Untimed {
    fn from(failure: WorkerFailure) -> Self {
        Self::Worker(failure)
    }
}

impl Untimed {
    /// In words; nothing where the user wants to stop.
    fn told(self) -> Option<String> {
        match self {
            Self::Worker(failure) if failure.is_interruption() => None,
            Self::Worker(failure) => Some(failure.to_string()),
            Self::Wrong(why) => Some(format!("its output is wrong: {why}")),
            Self::Emulated => Some("it is computed in another precision than asked".to_owned()),
        }
    }
}

/// The launchers of both builds.
pub struct Builds<'a> {
    /// Starts base's workers.
    pub base: &'a mut dyn Launcher,
    /// Starts head's.
    pub head: &'a mut dyn Launcher,
}

impl Builds<'_> {
    fn of(&mut self, side: Side) -> &mut dyn Launcher {
        match side {
            Side::Base => self.base,
            Side::Head => self.head,
        }
    }
}

/// A worker that is ready to be timed.
struct Warm {
    worker: Box<dyn Conversation>,
    /// Time of a call so far.
    call_ns: f64,
    /// Of the samples, per call.
    times: Vec<f64>,
}

/// The logarithm of head's time over base's, from two fresh processes. With `verified`, both outputs are checked before.
pub fn measure(
    builds: &mut Builds<'_>,
    cell: &PlannedCell,
    design: &Design,
    clock: &dyn Clock,
    random: &mut Random,
    verified: bool,
) -> Result<f64, Trouble> {
    let first = draw_order(random);
    let mut warm = Vec::with_capacity(2);
    let mut without: [Option<String>; 2] = [None, None];
    for side in first {
        match start(builds, cell, design, clock, side, verified) {
            Ok(one) => warm.push((side, one)),
            Err(untimed) => without[side as usize] = Some(untimed.told().ok_or(Trouble::Interrupted)?),
        }
    }
    match without {
        [None, None] => {}
        [Some(why), None] => return Err(Trouble::Base(why)),
        [None, Some(why)] => return Err(Trouble::Head(why)),
        [Some(_), Some(why)] => return Err(Trouble::Both(why)),
    }
    let mut logs = [0.0; 2];
    for side in (0..design.rounds).flat_map(|_| there_and_back(draw_order(random))) {
        let Some((_, one)) = warm.iter_mut().find(|(own, _)| *own == side) else { continue };
        if let Err(failure) = turn(one, design, clock) {
            let why = Untimed::from(failure).told().ok_or(Trouble::Interrupted)?;
            return Err(if side == Side::Head { Trouble::Head(why) } else { Trouble::Base(why) });
        }
    }
    for (side, one) in warm {
        logs[side as usize] = undisturbed(one.times).ln();
        one.worker.quit();
    }
    Ok(logs[Side::Head as usize] - logs[Side::Base as usize])
}

fn draw_order(random: &mut Random) -> [Side; 2] {
    if random.below(2) == 0 { [Side::Base, Side::Head] } else { [Side::Head, Side::Base] }
}

fn there_and_back([first, second]: [Side; 2]) -> [Side; 4] {
    [first, second, second, first]
}

/// The median of the fastest quarter.
fn undisturbed(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.truncate(times.len().div_ceil(4));
    Summary::of(times).map_or(f64::NAN, |summary| summary.median)
}

fn start(
    builds: &mut Builds<'_>,
    cell: &PlannedCell,
    design: &Design,
    clock: &dyn Clock,
    side: Side,
    verified: bool,
) -> Result<Warm, Untimed> {
    let ready = builds.of(side).start(&cell.engine, cell.threads(), design.deadline)?;
    let mut worker = ready.conversation;
    let prepared = steps::prepare(worker.as_mut(), cell.wire(), None, design.deadline)?;
    if prepared.support == SupportLevel::Emulated {
        return Err(Untimed::Emulated);
    }
    if verified
        && let Verified::Judged(figures) = steps::verify(worker.as_mut(), None, design.deadline)?
        && !figures.passed
    {
        return Err(Untimed::Wrong(figures.complaint.unwrap_or_default()));
    }
    let mut warm = Warm { worker, call_ns: 0.0, times: Vec::new() };
    // The first call pays for what no later one does; the second says how long one takes.
    for _ in 0..2 {
        take(&mut warm, 1, 1, design, clock)?;
    }
    let calls = calls_per_sample(warm.call_ns, design.sample);
    take(&mut warm, 2, calls, design, clock)?;
    warm.times.clear();
    Ok(warm)
}

fn turn(warm: &mut Warm, design: &Design, clock: &dyn Clock) -> Result<(), WorkerFailure> {
    let calls = calls_per_sample(warm.call_ns, design.sample);
    let sample_ns = (warm.call_ns * f64::from(calls)).max(1.0);
    let samples = ((design.turn.as_nanos() as f64 / sample_ns) as u32).clamp(1, 256);
    take(warm, samples, calls, design, clock)
}

fn take(warm: &mut Warm, samples: u32, calls: u32, design: &Design, clock: &dyn Clock) -> Result<(), WorkerFailure> {
    let asked = clock.now();
    let taken = steps::measure(warm.worker.as_mut(), samples, calls, design.deadline)?;
    let passed = clock.now().saturating_sub(asked);
    steps::check_claimed_time(warm.worker.as_mut(), &taken.samples, passed)?;
    let per_call = |sample: &MeasuredSample| sample.ns as f64 / f64::from(sample.calls);
    // Disturbed ones too: the fastest quarter is taken of all, on either side, and a side that is stalled by itself has slow ones throughout.
    warm.times.extend(taken.samples.iter().map(per_call));
    warm.call_ns = Summary::of(taken.samples.iter().map(per_call)).map_or(warm.call_ns, |summary| summary.median);
    Ok(())
}
