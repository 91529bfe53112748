//! How much two measurements of the same thing differ here: the run's own floor, below which no difference means anything.
//!
//! After its last cell a run takes some of its good cells again, each in two fresh workers that are interleaved as in any group. The
//! largest difference between the two medians is the floor. Process launches differ in layout, so this says more than the interval of one
//! worker's samples; and as it is taken at the end of the run, it costs a run nothing that is interrupted. Where there is a time budget,
//! pairs are taken as long as it lasts.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use crossover_core::load::{load_average, stolen_ns};
use crossover_protocol::HelloReply;
use crossover_results::schema::{Record, Status};
use crossover_results::{Index, Noise, read_index};

use crate::paths;
use crate::plan::{Group, Plan, PlannedCell};
use crate::schedule::{Halt, Scheduler, Sink, SystemClock};
use crate::worker::launcher::{Bounds, ProcessLauncher};

use super::budget::TimeBudget;
use super::folder::{self, OpenRun, blame};
use super::interrupt::Interrupt;

/// Cells that are taken twice.
const PAIRS: usize = 8;
/// The machine before the run.
pub(super) struct Before {
    load: Option<f64>,
    stolen: Option<u64>,
}

impl Before {
    /// Looks at it now.
    pub(super) fn now() -> Self {
        Self { load: load_average(Path::new("/")), stolen: stolen_ns(Path::new("/")) }
    }
}

/// Takes the pairs and writes what came of them into the manifest.
pub(super) fn measure(open: &mut OpenRun, before: &Before, budget: &TimeBudget, interrupt: &Interrupt) -> Result<()> {
    let index = read_index(&open.folder.journal_path()).map_err(blame)?;
    let pairs = pairs(&open.request.plan, &index);
    if pairs.is_empty() {
        return Ok(());
    }
    let definition = &open.request.definition;
    let mut launcher = ProcessLauncher::new(
        paths::worker_binary()?,
        definition.workers.clone(),
        Bounds::of(&definition.measure),
        Arc::clone(&interrupt.flag),
    );
    let (clock, mut taken) = (SystemClock::start(), Taken::default());
    let machine = open.manifest.machine.fingerprint.clone();
    let exchange = folder::exchange(&open.folder)?;
    let mut scheduler = Scheduler::new(&mut launcher, &clock, &mut taken, &definition.measure, machine, definition.seed, exchange);
    let began = Instant::now();
    let mut outcome = Ok(());
    for (done, pair) in pairs.iter().enumerate() {
        // Pairs take about as long as each other.
        let predicted = (done > 0).then(|| began.elapsed() / u32::try_from(done).unwrap_or(u32::MAX));
        if budget.refuse(predicted).is_some() || outcome.is_err() {
            break;
        }
        outcome = scheduler.run_group(pair, |_| true);
    }
    scheduler.close();
    folder::sweep(&open.folder);
    match outcome {
        // The cells are all there; what pairs there are tell less than all would, so the floor is for another time.
        Err(Halt::Interrupted) => return Ok(()),
        Err(Halt::Store(error)) => return Err(error),
        Ok(()) => {}
    }
    let differences: Vec<f64> = taken.pairs.iter().filter_map(|pair| difference(pair)).collect();
    let Some(floor) = differences.iter().copied().reduce(f64::max) else { return Ok(()) };
    let steal_ns = before.stolen.zip(stolen_ns(Path::new("/"))).map(|(then, now)| now.saturating_sub(then));
    open.manifest.noise = Some(Noise { floor, pairs: differences.len() as u64, steal_ns, load_average: before.load });
    open.manifest.write(&open.folder.manifest_path()).map_err(blame)
}

/// A good cell of every so many groups, its baseline where it has one, as a group of two of the same.
fn pairs(plan: &Plan, index: &Index) -> Vec<Group> {
    let every = (plan.group_count() as usize).div_ceil(PAIRS).max(1);
    let twice = |group: Group| {
        let good = |cell: &&PlannedCell| index.cells.get(&cell.id) == Some(&Status::Ok);
        let chosen = group.cells.iter().filter(good).max_by_key(|cell| cell.baseline)?;
        let cell = PlannedCell { baseline: false, ..chosen.clone() };
        Some(Group { id: group.id, cells: vec![cell.clone(), cell] })
    };
    plan.groups().step_by(every).filter_map(twice).take(PAIRS).collect()
}

fn difference(pair: &[Record]) -> Option<f64> {
    let medians: Vec<f64> = pair.iter().filter_map(|record| Some(record.speed.as_ref()?.median_ns as f64)).collect();
    let [one, other] = medians[..] else { return None };
    (one > 0.0 && other > 0.0).then(|| (one / other).max(other / one) - 1.0)
}

/// Keeps the records of each group, and nothing else of it.
#[derive(Default)]
struct Taken {
    pairs: Vec<Vec<Record>>,
}

impl Sink for Taken {
    fn group_begins(&mut self, _: &Group) {
        self.pairs.push(Vec::new());
    }

    fn refuse(&mut self, _: &PlannedCell) -> Option<String> {
        None
    }

    fn record(&mut self, records: Vec<Record>) -> Result<()> {
        self.pairs.last_mut().into_iter().for_each(|pair| pair.extend(records.iter().cloned()));
        Ok(())
    }

    fn build(&mut self, _: &HelloReply) -> Result<String> {
        Ok(String::new())
    }

    fn stderr(&mut self, _: &PlannedCell, _: &str) -> Result<()> {
        Ok(())
    }

    fn notice(&mut self, _: &str) {}

    fn group_ends(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Draft;
    use crate::schedule::fakes::group;

    fn record(id: &str, median_ns: Option<u64>) -> Record {
        let cell = group(&[id]).cells.remove(0);
        let speed = median_ns.map(|median_ns| {
            serde_json::from_value(serde_json::json!({
                "median_ns": median_ns, "ci_low_ns": null, "ci_high_ns": null, "min_ns": 1, "p95_ns": 1, "samples": 1, "rejected": 0,
                "warmup_calls": 0, "prepare_ns": 0, "stop": "budget", "flops": 0, "bytes": 0, "threads_used": 1, "isa": "x"
            }))
            .unwrap()
        });
        Record { speed, ..Draft::new(cell, "m".into()).not_run(Status::OverBudget, "r".into()) }
    }

    #[test]
    fn a_difference_is_the_same_from_both_sides() {
        let of = |one, other| difference(&[record("a", one), record("a", other)]);
        assert_eq!(of(Some(110), Some(100)), of(Some(100), Some(110)));
        assert!((of(Some(110), Some(100)).unwrap() - 0.1).abs() < 1e-12);
        assert_eq!((of(Some(110), None), of(Some(0), Some(1))), (None, None));
    }
}
