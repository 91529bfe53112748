//! From a group of cells to their records: who is started when, who is asked next, and when a cell is done.
//!
//! Cells of one group solve the same problem, so they are measured *interleaved*: several workers live at once, and each round asks
//! each of them for a short batch of samples, in random order. Drift of the machine then hits all alike. A group larger than
//! `live_workers`, or than the memory for them, is cut into chunks; the baseline takes part in every chunk that has room for it, and a
//! cell's record has what the baseline showed in the very rounds that the cell was in, which is what its ratio divides by.
//!
//! For each cell: a memory pass in a process of its own, then a second fresh process that prepares, verifies, warms up and is
//! timed. A step that fails ends the cell with a record that says so, and nothing but the cell.
//!
//! What this trades away: each cell is prepared twice, which is the price of memory figures that no timing has touched; and where memory
//! is short, the largest cells have no baseline beside them, and their records say so.
//!
//! Everything here speaks to traits (workers, clock, journal); its tests need neither processes nor time.

mod baseline;
mod chunks;
mod clock;
mod exchange;
mod memory;
pub mod random;
mod reluctance;
mod rounds;
pub mod sampling;
mod start;
mod warm_up;

#[cfg(test)]
mod beside_tests;
#[cfg(test)]
pub(crate) mod fakes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crossover_protocol::HelloReply;
use crossover_results::schema::{Record, Status};

use crate::definition::Measure;
use crate::outcome::Draft;
use crate::plan::{Group, PlannedCell};
use crate::worker::conversation::Launcher;

pub use clock::{Clock, SystemClock};

use chunks::{Room, Seat};
use exchange::Exchange;
use memory::MemoryBudget;
use random::Random;
use reluctance::Reluctance;

/// Where the scheduler's findings go, and who decides whether there is time for more.
pub trait Sink {
    /// A group begins.
    fn group_begins(&mut self, group: &Group);

    /// A reason not to run this cell at all, where there is one: the time is spent, or would never do.
    fn refuse(&mut self, cell: &PlannedCell) -> Option<String>;

    /// Finished cells. When this returns, they are safe on the disk.
    fn record(&mut self, records: Vec<Record>) -> anyhow::Result<()>;

    /// Who a worker is; returns the fingerprint by which records refer to it.
    fn build(&mut self, hello: &HelloReply) -> anyhow::Result<String>;

    /// What a worker that has ended well wrote to stderr, at least the end of it.
    fn stderr(&mut self, cell: &PlannedCell, text: &str) -> anyhow::Result<()>;

    /// Something that the user should know now, and not only from the records.
    fn notice(&mut self, text: &str);

    /// A group has ended.
    fn group_ends(&mut self);
}

/// Why the scheduler stopped before the end of a group.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The user wants it.
    #[error("interrupted")]
    Interrupted,
    /// The records have nowhere to go.
    #[error(transparent)]
    Store(#[from] anyhow::Error),
}

/// Runs groups, one after the other.
pub struct Scheduler<'a> {
    launcher: &'a mut dyn Launcher,
    clock: &'a dyn Clock,
    sink: &'a mut dyn Sink,
    measure: &'a Measure,
    machine: String,
    exchange: Exchange,
    random: Random,
    reluctance: Reluctance,
}

impl<'a> Scheduler<'a> {
    /// `machine` is its fingerprint, `seed` decides the order within rounds, `exchange` is an absolute path to a folder for the files
    /// of workers that need them.
    pub fn new(
        launcher: &'a mut dyn Launcher,
        clock: &'a dyn Clock,
        sink: &'a mut dyn Sink,
        measure: &'a Measure,
        machine: String,
        seed: u64,
        exchange: PathBuf,
    ) -> Self {
        let (exchange, random) = (Exchange::new(exchange), Random::new(seed));
        Self { launcher, clock, sink, measure, machine, exchange, random, reluctance: Reluctance::default() }
    }

    /// Runs the cells of a group that are pending. Each of them is recorded when this returns without an error.
    pub fn run_group(&mut self, group: &Group, pending: impl Fn(&PlannedCell) -> bool) -> Result<(), Halt> {
        self.sink.group_begins(group);
        let (mut useless, memory) = (BTreeSet::new(), MemoryBudget::now(self.measure));
        let room = Room { workers: self.measure.live_workers, bytes: memory.together };
        for chunk in chunks::chunks(group, pending, memory::need, room) {
            self.run_chunk(group, chunk, memory, &mut useless)?;
        }
        self.sink.group_ends();
        Ok(())
    }

    /// `useless` are the baselines that failed: they are not started again and again as companions.
    fn run_chunk(&mut self, group: &Group, chunk: Vec<Seat<'_>>, memory: MemoryBudget, useless: &mut BTreeSet<String>) -> Result<(), Halt> {
        let (mut seats, mut refused) = (Vec::new(), Vec::new());
        for seat in chunk {
            match self.refuse(&seat, memory) {
                Some(_) if seat.companion => {}
                Some((status, reason)) => refused.push(Draft::new(seat.cell.clone(), self.machine.clone()).not_run(status, reason)),
                None if seat.companion && useless.contains(&seat.cell.id) => {}
                None => seats.push(seat),
            }
        }
        if !refused.is_empty() {
            self.sink.record(refused)?;
        }
        if seats.iter().all(|seat| seat.companion) {
            return Ok(());
        }
        let mut live = Vec::with_capacity(seats.len());
        for seat in seats {
            match self.start_cell(seat.cell, seat.companion)? {
                Some(started) => live.push(started),
                None => drop(useless.insert(seat.cell.id.clone())),
            }
        }
        self.run_rounds(group, live)
    }

    /// Why nothing is started for a cell, where it cannot be run or there is no memory or time for it.
    fn refuse(&mut self, seat: &Seat<'_>, memory: MemoryBudget) -> Option<(Status, String)> {
        if let Some(reason) = &seat.cell.unfit {
            return Some((Status::Unsupported, reason.clone()));
        }
        if let Some(reason) = memory.refuse(seat.bytes) {
            return Some((Status::Oom, reason));
        }
        if seat.companion { None } else { self.sink.refuse(seat.cell).map(|reason| (Status::OverBudget, reason)) }
    }

    /// Ends what lives longer than a group.
    pub fn close(&mut self) {
        self.exchange.close();
    }
}
