//! One pair: a fresh process of each build, the same cell in both, timed in turns.
//!
//! Two processes of the same program differ: where the kernel puts their pages, what the allocator returns, which cores their threads begin on. That
//! difference does not shrink however long a process is timed, so the pair of processes is the unit of evidence, and a pair is kept short. Both
//! live at once, those of one thread on [one core](super::one_core), and take short turns, ABBA and then BAAB, some times over, where A is base or head by lot: what drifts evenly hits both alike.
//!
//! A *round* is a turn of each and one of each again, and lasts some milliseconds; its figure is the logarithm of the ratio of two times, each the median of
//! the fastest quarter of what a side showed in it. A pair's figure is the median of those of its rounds. What others do on a shared machine comes and goes within
//! hundredths of a second and halves the speed meanwhile: compared over the whole pair, the fastest samples of one side are those of a moment that the other
//! may have missed; within a round both have met the same. So turns are short and many. On two virtual processors with neighbours, over 25 pairs of one program with
//! itself a cell (seven cells, one thread; the median of their standard deviations):
//!
//! | turns of | rounds | over the whole pair | median of the rounds |
//! |---|--:|--:|--:|
//! | 5 ms | 8 | 7.1 % | 5.3 % |
//! | 2 ms | 20 | 6.6 % | 3.3 % |
//! | 1 ms | 40 | 5.7 to 7.8 % | 2.5 to 4.6 % |
//! | 0.5 ms | 80 | 4.1 to 4.6 % | 1.6 to 1.8 % |
//! | 0.25 ms | 160 | 4.2 % | 2.8 % |
//! | 5 ms, beside two busy processes | 8 | 10.6 % | 8.0 % |
//! | 0.5 ms, beside two busy processes | 80 | 7.8 % | 6.0 % |
//!
//! Of 10, 20, 40 and 80 rounds of half-millisecond turns the median had 6.0, 4.4, 2.7 and 1.7 %: it still fell as fast as it can, so a pair lasts 320 ms. That makes
//! some 120 rounds of short calls, and 26 of calls of 1.5 ms. (All of this was measured before a turn had a first sample that does not count, and before both
//! stayed on one core.)
//!
//! What one core brings, on the same machine, in 45 pairs of a program with its copy (standard deviations of a pair; the two ways in turns, twice, and once beside two busy
//! processes):
//!
//! | cell | anywhere | on one core | anywhere, two busy processes | on one core, two busy processes |
//! |---|---|---|---|---|
//! | attention/flash on faer | 9.9, 4.1 % | 1.3, 1.4 % | 14.2 % | 1.8 % |
//! | attention/flash on simd | 3.1, 3.8 % | 1.6, 1.4 % | 11.0 % | 1.3 % |
//! | linear/dense on simd, 64 rows | 1.5, 2.1 % | 1.1, 0.9 % | 7.3 % | 1.0 % |
//! | linear/dense on simd, 1 row | 1.0, 0.6 % | 0.6, 0.5 % | 3.4 % | 0.6 % |
//! | softmax/stable on simd | 4.2, 10.7 % | 10.4, 4.1 % | 9.5 % | 6.9 % |
//!
//! Anywhere, a round resembles the next one (their correlation is 0.1 to 0.5), as each side has the neighbours of its own core; on one core it does not (-0.1 to 0.05). A pair
//! takes 0.50 s instead of 0.58, as no core has to be woken. Softmax shows what no core changes: in one pair of twenty-five one of the processes had pages in which its half megabyte
//! runs badly through a cache of as much, and was 25 to 50 % slower for as long as it lived; the others of its pairs had 0.8 to 1.8 %, and 1.7 to 3.3 % anywhere.
//!
//! Both heaps begin at one place, drawn for each pair ([`Launcher::shift_heaps`]). Nine places and three processes each, attention/dense on candle (256 tokens, 4 heads of 64), medians: 3.1 ms at
//! 0, 512, and 80 bytes into a page, 3.4 to 3.9 at 16 to 64, 4.0 at 2064. Without, base in a folder of one name's length and head in one of another's had places that differed the same way in all pairs:
//! 0.756 [0.751, 0.761] of a program and its copy, and 0.664 with a longer name. With the places drawn, and the length of the path nowhere in memory: 1.005 [1.000, 1.009].
//!
//! The price of one core: what a build does beside its calls (a thread that spins, memory that is given back late) slows the other side as well and is not seen, and a build that asks the system for its
//! cores is told of one. The price of rounds: a change that leaves some calls as they were is not seen where these are an eighth of the calls, or a third of calls longer than 0.3 ms, of
//! which a round has two.

use std::time::Duration;

use crossover_protocol::SupportLevel;

use crate::plan::PlannedCell;
use crate::schedule::Clock;
use crate::schedule::random::Random;
use crate::schedule::sampling::calls_per_sample;
use crate::statistics::Summary;
use crate::worker::conversation::{Conversation, Launcher};
use crate::worker::failure::WorkerFailure;
use crate::worker::steps::{self, Verified};

use super::failures::{Attempt, Lack};
use super::one_core::OneCore;

/// How a pair is measured.
#[derive(Debug, Clone, Copy)]
pub struct Design {
    /// How long a sample is to last.
    pub sample: Duration,
    /// How long a turn is to last, without its first sample.
    pub turn: Duration,
    /// How long all turns of a pair are to last; to start two processes comes on top.
    pub timing: Duration,
    /// How many rounds there are at least, however long they last.
    pub least_rounds: u32,
}

impl Default for Design {
    fn default() -> Self {
        Self { sample: Duration::from_micros(125), turn: Duration::from_micros(500), timing: Duration::from_millis(320), least_rounds: 8 }
    }
}

/// What is asked of both sides. It is the same of both: the fastest quarter of four samples of one call is faster than that of two, and no build is to gain by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turns {
    /// Samples of a turn that count.
    pub(super) samples: u32,
    /// Calls of a sample.
    pub(super) calls: u32,
    /// Rounds of four turns; an even number, as each begins with the other side than the one before.
    pub(super) rounds: u32,
}

impl Design {
    /// For two builds whose calls take so long.
    pub(super) fn turns(&self, [base_ns, head_ns]: [f64; 2]) -> Turns {
        let call_ns = (base_ns * head_ns).sqrt().max(1.0);
        let calls = calls_per_sample(call_ns, self.sample);
        let sample_ns = call_ns * f64::from(calls);
        let samples = ((self.turn.as_nanos() as f64 / sample_ns).round() as u32).clamp(1, 256);
        let round_ns = 4.0 * sample_ns * f64::from(samples + 1);
        let rounds = ((self.timing.as_nanos() as f64 / round_ns) as u32).max(self.least_rounds);
        Turns { samples, calls, rounds: rounds.next_multiple_of(2) }
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
    /// A build had no time for the cell, or both.
    Failed(Attempt),
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
    fn lack(self) -> Result<Lack, Trouble> {
        match self {
            Self::Worker(failure) => Lack::of(&failure).ok_or(Trouble::Interrupted),
            Self::Wrong(why) => Ok(Lack::Absent(format!("its output is wrong: {why}"))),
            Self::Emulated => Ok(Lack::Absent("it is computed in another precision than asked".to_owned())),
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
    /// Time of a call before the first turn.
    call_ns: f64,
    /// Of the samples of this round, per call.
    times: Vec<f64>,
}

impl Warm {
    /// The time of a call in this round; the next one begins anew.
    fn end_round(&mut self) -> f64 {
        fastest_quarter(std::mem::take(&mut self.times))
    }
}

/// A cell, and on what terms it is asked for.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The cell.
    pub cell: &'a PlannedCell,
    /// How it is measured.
    pub design: &'a Design,
    /// How long an answer may take.
    pub deadline: Duration,
    /// Are both outputs checked before?
    pub verified: bool,
}

/// A pair at work: what both sides are asked, and how long they took to answer.
struct Pair<'a> {
    terms: Terms<'a>,
    clock: &'a dyn Clock,
    longest: [Duration; 2],
}

/// The logarithm of head's time over base's, from two fresh processes.
pub fn measure(builds: &mut Builds<'_>, terms: Terms<'_>, clock: &dyn Clock, random: &mut Random) -> Result<f64, Trouble> {
    let _one_core = if terms.cell.threads() == 1 { OneCore::stay(random) } else { None };
    let mut pair = Pair { terms, clock, longest: [Duration::ZERO; 2] };
    let mut warm = [None, None];
    let mut lacks = [None, None];
    let heap = heap_offset(random);
    for side in draw_order(random) {
        builds.of(side).shift_heaps(heap);
        match pair.start(builds.of(side), side) {
            Ok(one) => warm[side as usize] = Some(one),
            Err(untimed) => lacks[side as usize] = Some(untimed.lack()?),
        }
    }
    let [Some(mut base), Some(mut head)] = warm else {
        return Err(Trouble::Failed(Attempt { lacks, longest: pair.longest }));
    };
    let turns = terms.design.turns([base.call_ns, head.call_ns]);
    let (mut order, mut logs) = (draw_order(random), Vec::new());
    for _ in 0..turns.rounds {
        for side in there_and_back(order) {
            let one = match side {
                Side::Base => &mut base,
                Side::Head => &mut head,
            };
            if let Err(failure) = pair.turn(one, side, turns) {
                lacks[side as usize] = Some(Untimed::from(failure).lack()?);
                return Err(Trouble::Failed(Attempt { lacks, longest: pair.longest }));
            }
        }
        logs.push((head.end_round() / base.end_round()).ln());
        order.reverse();
    }
    base.worker.quit();
    head.worker.quit();
    Ok(median(logs))
}

/// Where both heaps begin: at one of the places within a page at which an allocation may.
fn heap_offset(random: &mut Random) -> u32 {
    16 * random.below(256) as u32
}

fn draw_order(random: &mut Random) -> [Side; 2] {
    if random.below(2) == 0 { [Side::Base, Side::Head] } else { [Side::Head, Side::Base] }
}

fn there_and_back([first, second]: [Side; 2]) -> [Side; 4] {
    [first, second, second, first]
}

/// The median of the fastest quarter, whether others disturbed it or not: a side that is stalled by itself has slow samples throughout.
pub(super) fn fastest_quarter(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.truncate(times.len().div_ceil(4));
    median(times)
}

/// Not a number of none.
fn median(of: Vec<f64>) -> f64 {
    Summary::of(of).map_or(f64::NAN, |summary| summary.median)
}

impl Pair<'_> {
    /// The longest answer counts, whether it came in time or not.
    fn ask<T>(&mut self, side: Side, question: impl FnOnce() -> T) -> (T, Duration) {
        let asked = self.clock.now();
        let answer = question();
        let passed = self.clock.now().saturating_sub(asked);
        let longest = &mut self.longest[side as usize];
        *longest = passed.max(*longest);
        (answer, passed)
    }

    fn start(&mut self, launcher: &mut dyn Launcher, side: Side) -> Result<Warm, Untimed> {
        let Terms { cell, deadline, verified, .. } = self.terms;
        let mut worker = self.ask(side, || launcher.start(&cell.engine, cell.threads(), deadline)).0?.conversation;
        let prepared = self.ask(side, || steps::prepare(worker.as_mut(), cell.wire(), None, deadline)).0?;
        if prepared.support == SupportLevel::Emulated {
            return Err(Untimed::Emulated);
        }
        if verified
            && let Verified::Judged(figures) = self.ask(side, || steps::verify(worker.as_mut(), None, deadline)).0?
            && !figures.passed
        {
            return Err(Untimed::Wrong(figures.complaint.unwrap_or_default()));
        }
        let mut warm = Warm { worker, call_ns: 0.0, times: Vec::new() };
        // The first call pays for what no later one does; the second says how long one takes.
        for _ in 0..2 {
            warm.call_ns = median(self.take(&mut warm, side, 1, 1)?);
        }
        let calls = calls_per_sample(warm.call_ns, self.terms.design.sample);
        warm.call_ns = median(self.take(&mut warm, side, 3, calls)?);
        Ok(warm)
    }

    /// The first sample pays for what the other process took from the caches, and does not count.
    fn turn(&mut self, warm: &mut Warm, side: Side, turns: Turns) -> Result<(), WorkerFailure> {
        let times = self.take(warm, side, turns.samples + 1, turns.calls)?;
        warm.times.extend(times.into_iter().skip(1));
        Ok(())
    }

    /// Times of a call.
    fn take(&mut self, warm: &mut Warm, side: Side, samples: u32, calls: u32) -> Result<Vec<f64>, WorkerFailure> {
        let deadline = self.terms.deadline;
        let (taken, passed) = self.ask(side, || steps::measure(warm.worker.as_mut(), samples, calls, deadline));
        let taken = taken?;
        steps::check_claimed_time(warm.worker.as_mut(), &taken.samples, passed)?;
        Ok(taken.samples.iter().map(|sample| sample.ns as f64 / f64::from(sample.calls)).collect())
    }
}
