//! A run as the gate reads it: of each cell its time, or why there is none, and what tells it from the same cell of another run.
//!
//! A measurement is known by its samples (one that has none by the moment when it was finished). `crossover import criterion` takes every benchmark that it
//! finds in the folder, so one that did not run again is in each import, and would be as many pairs. It is evidence once, in the first run of its side that has
//! it; one that both sides have is of one of them, and nobody knows of which.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crossover_results::Manifest;
use crossover_results::schema::{Record, Status, Stop};

use crate::criterion;
use crate::gate::failures::Lack;
use crate::gate::pair::fastest_quarter;
use crate::outcome::UNKNOWN_BUILD;
use crate::plan::PlannedCell;

/// A run that was named.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// As it was named.
    pub name: String,
    /// The experiment that it is of.
    pub experiment: String,
    /// The fingerprint of its machine.
    pub machine: String,
    /// When the last of its cells was finished (Unix time). Of an import that is when criterion wrote it, not when somebody brought it in.
    pub ended_unix_ms: u64,
    /// What it has of each cell, by the cell's id.
    pub cells: HashMap<String, Seen>,
}

impl Run {
    /// One without cells so far.
    pub fn new(name: String, manifest: &Manifest) -> Self {
        let (experiment, machine) = (manifest.experiment.clone(), manifest.machine.fingerprint.clone());
        Self { name, experiment, machine, ..Self::default() }
    }

    /// The next record of its journal; of a cell that was run again the last counts.
    pub fn add(&mut self, record: Record) {
        self.ended_unix_ms = self.ended_unix_ms.max(record.finished_unix_ms);
        self.cells.insert(record.id.clone(), Seen::from(record));
    }
}

/// Takes the time from every cell whose measurement an earlier run of the same side has as well, or any of the other side.
pub fn forget_copies(pairs: &mut [[Run; 2]]) {
    // The first run of each side that has a measurement.
    let mut first: HashMap<(String, u64), [Option<String>; 2]> = HashMap::new();
    for (side, run) in pairs.iter().flat_map(|pair| pair.iter().enumerate()) {
        for (id, seen) in &run.cells {
            first.entry((id.clone(), seen.print)).or_default()[side].get_or_insert_with(|| run.name.clone());
        }
    }
    for (side, run) in pairs.iter_mut().flat_map(|pair| pair.iter_mut().enumerate()) {
        for (id, seen) in &mut run.cells {
            let Some(runs) = first.get(&(id.clone(), seen.print)) else { continue };
            let earlier = runs[side].as_ref().filter(|name| **name != run.name);
            if let Some(other) = runs[1 - side].as_ref().or(earlier) {
                let what = if seen.time.is_ok() { "its samples are those" } else { "its record is that" };
                seen.time = Err(NoTime { kind: Kind::Unmeasured, why: format!("{what} of {other}") });
            }
        }
    }
}

/// A cell of a run.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The cell.
    pub cell: PlannedCell,
    /// Nanoseconds a call, or why there are none.
    pub time: Result<f64, NoTime>,
    /// The fingerprint of the build, where one is known.
    pub build: Option<String>,
    /// Of the measurement: a copy of it has the same.
    pub print: u64,
}

impl Seen {
    /// Was the output right, whatever the machine made of its times?
    pub fn is_right(&self) -> bool {
        matches!(self.time, Ok(_) | Err(NoTime { kind: Kind::Disturbed, .. }))
    }
}

impl From<Record> for Seen {
    fn from(record: Record) -> Self {
        let (time, print) = (time(&record), print(&record));
        let cell = PlannedCell {
            id: record.id,
            group: record.group,
            experiment: record.experiment,
            family: record.family,
            variant: record.variant,
            engine: record.engine,
            baseline: record.baseline,
            axes: record.axes,
            matched: None,
            unfit: None,
        };
        let build = Some(record.build).filter(|build| build != UNKNOWN_BUILD && build != criterion::BUILD);
        Self { cell, time, build, print }
    }
}

/// The median of the fastest quarter of a run's samples: others on the machine only ever add time.
fn time(record: &Record) -> Result<f64, NoTime> {
    let speed = match (record.status, &record.speed) {
        (Status::Ok | Status::Unchecked, Some(speed)) => speed,
        _ => return Err(NoTime::told(record)),
    };
    let none = |kind, why: &str| Err(NoTime { kind, why: why.to_owned() });
    if speed.stop == Stop::Disturbed.name() {
        return none(Kind::Disturbed, "all of its samples were disturbed");
    }
    let per_call: Vec<f64> = record.samples.iter().map(|sample| sample.ns as f64 / f64::from(sample.calls)).collect();
    let time = if per_call.is_empty() { speed.median_ns as f64 } else { fastest_quarter(per_call) };
    if time > 0.0 && time.is_finite() { Ok(time) } else { none(Kind::Unmeasured, "it took no time that the clock could see") }
}

fn print(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    if record.samples.is_empty() {
        (record.finished_unix_ms, record.elapsed_ns).hash(&mut hasher);
    }
    record.samples.iter().for_each(|sample| (sample.calls, sample.ns).hash(&mut hasher));
    hasher.finish()
}

/// Why a run has no time for a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTime {
    /// What it means.
    pub kind: Kind,
    /// In words.
    pub why: String,
}

impl NoTime {
    fn told(record: &Record) -> Self {
        // A worker tells its build as soon as it has started.
        let has_started = record.build != UNKNOWN_BUILD;
        let kind = match record.status {
            Status::Wrong => Kind::Wrong,
            Status::Crashed if has_started => Kind::Crashed,
            Status::Crashed | Status::Oom => Kind::Denied,
            Status::Timeout => Kind::Late,
            Status::Unsupported | Status::Emulated if has_started => Kind::Absent,
            // Of what the runner refused by itself nobody asked the build.
            Status::Unsupported | Status::Emulated | Status::Ok | Status::Unchecked | Status::OverBudget => Kind::Unmeasured,
        };
        let reason = record.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        Self { kind, why: format!("{}{reason}", record.status.name()) }
    }

    /// What it says of the build; nothing where the build was not asked, or not heard.
    pub fn lack(&self) -> Option<Lack> {
        let why = self.why.clone();
        match self.kind {
            Kind::Wrong | Kind::Absent => Some(Lack::Absent(why)),
            Kind::Crashed => Some(Lack::Crashed(why)),
            // Not late: whose doing that is shows beside a run under the same load, and the other one lay minutes apart.
            Kind::Denied | Kind::Late => Some(Lack::Denied(why)),
            Kind::Disturbed | Kind::Unmeasured => None,
        }
    }
}

/// What it means that a run has no time for a cell, the most telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The output is wrong.
    Wrong,
    /// The build crashed.
    Crashed,
    /// It could not be started, or was out of memory, which may be the machine's doing.
    Denied,
    /// It did not answer in time.
    Late,
    /// It says that it does not have the cell, or not in the precision that was asked.
    Absent,
    /// The machine disturbed all samples.
    Disturbed,
    /// The run did not measure it.
    Unmeasured,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::{Benchmark, Origin};
    use crate::outcome::Draft;
    use crate::schedule::fakes::group;
    use crate::statistics::Summary;

    fn imported(run: &str, ns: u64) -> Run {
        let samples: Vec<(u32, u64)> = (1..=20).map(|calls| (calls, u64::from(calls) * ns)).collect();
        let benchmark = Benchmark {
            full_id: "fib".into(),
            group: "fib".into(),
            function: None,
            value: None,
            summary: Summary::of(samples.iter().map(|(calls, ns)| *ns as f64 / f64::from(*calls))).unwrap(),
            samples,
            written_unix_ms: ns,
        };
        let mut run = Run { name: run.into(), ..Run::default() };
        run.add(criterion::record(&benchmark, &Origin { experiment: "criterion".into(), machine: "m".into() }));
        run
    }

    fn times(pairs: &[[Run; 2]]) -> Vec<Result<f64, String>> {
        let seen = pairs.iter().flatten().flat_map(|run| run.cells.values());
        seen.map(|seen| seen.time.clone().map_err(|without| without.why)).collect()
    }

    #[test]
    fn samples_that_an_earlier_run_has_are_no_evidence_once_more() {
        let mut pairs = [
            [imported("b1", 100), imported("h1", 110)],
            [imported("b2", 100), imported("h2", 110)],
            [imported("b3", 101), imported("h3", 100)],
        ];
        assert_eq!(times(&pairs).iter().filter(|time| time.is_ok()).count(), 6);
        forget_copies(&mut pairs);
        let of = |run: &str| Err(format!("its samples are those of {run}"));
        // The last one of head has base's samples: whose they are nobody knows, so that base loses them as well.
        assert_eq!(times(&pairs), [of("h3"), Ok(110.0), of("h3"), of("h1"), Ok(101.0), of("b1")]);
    }

    #[test]
    fn a_run_ended_when_criterion_wrote_its_last_benchmark() {
        let mut run = imported("b1", 100);
        run.add(Record { finished_unix_ms: 7, ..Draft::new(group(&["x"]).cells.remove(0), "m".into()).not_run(Status::Oom, "no".into()) });
        assert_eq!((run.ended_unix_ms, run.cells.len()), (100, 2));
        assert!(run.cells.values().all(|seen| seen.build.is_none()), "nobody knows which builds these are");
    }

    #[test]
    fn each_status_without_a_time_says_what_it_means() {
        let draft = Draft::new(group(&["x"]).cells.remove(0), "m".into());
        for (status, build, kind, says) in [
            (Status::Wrong, "b", Kind::Wrong, true),
            (Status::Crashed, "b", Kind::Crashed, true),
            (Status::Crashed, UNKNOWN_BUILD, Kind::Denied, true),
            (Status::Oom, "b", Kind::Denied, true),
            (Status::Timeout, "b", Kind::Late, true),
            (Status::Emulated, "b", Kind::Absent, true),
            (Status::Unsupported, UNKNOWN_BUILD, Kind::Unmeasured, false),
            (Status::OverBudget, "b", Kind::Unmeasured, false),
        ] {
            let record = Record { build: build.into(), ..draft.clone().not_run(status, "why".into()) };
            let without = Seen::from(record).time.unwrap_err();
            assert_eq!((without.kind, without.why.as_str(), without.lack().is_some()), (kind, &*format!("{}: why", status.name()), says));
        }
    }
}
