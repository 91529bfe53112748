//! From a run to the lines that it adds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crossover_core::axes::Axes;

use super::{Key, Line, Metric, Place};
use crate::error::{Result, StoreError};
use crate::journal::{Recovery, read_records};
use crate::manifest::Manifest;
use crate::run_folder::RunFolder;
use crate::schema::{Record, Status, Stop};

/// Hex digits that are kept of a commit's name: as many as git itself shortens to in a large repository.
const COMMIT_DIGITS: usize = 12;
/// Axes that people tell cells of a variant apart by.
const SHOWN: [&str; 6] = ["precision", "n", "d_model", "d_in", "d_out", "threads"];

/// The commit that a run's build was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub name: String,
    /// When it was made (Unix time, seconds).
    pub unix_s: u64,
}

/// What a run has for the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Recordable {
    /// Its lines, sorted, so that those of two runs stand in the same order.
    pub lines: Vec<Line>,
    /// Cells without any figure: `variant on engine (status)`.
    pub without: Vec<String>,
    /// Baselines without a ratio, because the run was interrupted between them and the one that they are divided by: `variant on engine`.
    pub apart: Vec<String>,
    /// When the run was started (Unix time, milliseconds).
    pub started_unix_ms: u64,
    /// What the pass over the journal found.
    pub recovery: Recovery,
}

/// The axes of a cell in a few words.
pub fn setting(axes: &Axes) -> String {
    SHOWN.iter().filter_map(|axis| Some(format!("{axis}={}", axes.get(*axis)?))).collect::<Vec<_>>().join(" ")
}

/// The lines of a finished run, or of what there is of one.
///
/// # Errors
/// When the run cannot be read, has no cell with a figure, or is of several machines or builds: no commit could answer for it.
pub fn lines_of(folder: &RunFolder, commit: &Commit) -> Result<Recordable> {
    let refuse = |reason: &str| StoreError::NotRecordable { path: folder.path().to_owned(), reason: reason.to_owned() };
    let manifest = Manifest::read(&folder.manifest_path())?;
    if !folder.journal_path().exists() {
        return Err(refuse("it has no journal (journal.txt)"));
    }
    let mut records = read_records(&folder.journal_path())?;
    let mut last: BTreeMap<String, Record> = BTreeMap::new();
    for record in records.by_ref() {
        let record = record?;
        last.insert(record.id.clone(), record);
    }
    let recovery = records.recovery().clone();
    if last.values().any(|record| record.machine != manifest.machine.fingerprint) {
        return Err(refuse("it has cells of several machines"));
    }
    if let Some(worker) = rebuilt(&manifest, last.values()) {
        return Err(refuse(&format!("{worker} was built anew while it went on, so it is of several commits")));
    }
    let Some(cores) = manifest.machine.usable_cores else {
        return Err(refuse("it does not say on which machine it was measured"));
    };
    let firsts = first_baselines(last.values());
    let mut lines = Vec::new();
    let (mut without, mut apart) = (Vec::new(), Vec::new());
    for record in last.values() {
        let mut first = firsts.get(record.group.as_str()).copied();
        if record.baseline && first.is_some_and(|first| is_interrupted(&manifest, first, record)) {
            apart.push(format!("{} on {}", record.variant, record.engine));
            first = None;
        }
        let of = lines_of_cell(record, first, (&manifest, cores), commit);
        if of.is_empty() {
            without.push(format!("{} on {} ({})", record.variant, record.engine, record.status.name()));
        }
        lines.extend(of);
    }
    if lines.is_empty() {
        return Err(refuse("no cell of it has a figure"));
    }
    lines.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(Recordable { lines, without, apart, started_unix_ms: manifest.created_unix_ms, recovery })
}

/// A worker of which cells of two builds are there.
fn rebuilt<'a>(manifest: &'a Manifest, records: impl Iterator<Item = &'a Record>) -> Option<&'a str> {
    let workers: HashMap<&str, &str> = manifest.builds.iter().map(|build| (build.fingerprint.as_str(), build.worker.as_str())).collect();
    let mut builds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records.filter(|record| has_figures(record)) {
        let worker = workers.get(record.build.as_str()).copied().unwrap_or("a worker");
        builds.entry(worker).or_default().insert(&record.build);
    }
    builds.into_iter().find(|(_, builds)| builds.len() > 1).map(|(worker, _)| worker)
}

fn has_figures(record: &Record) -> bool {
    matches!(record.status, Status::Ok | Status::Emulated)
}

/// The time that other baselines of a group are divided by.
fn first_baselines<'a>(records: impl Iterator<Item = &'a Record>) -> HashMap<&'a str, &'a Record> {
    let mut firsts: HashMap<&str, &Record> = HashMap::new();
    let order = |record: &Record| (record.engine.clone(), record.variant.clone(), record.id.clone());
    for record in records.filter(|record| record.baseline && has_figures(record) && record.speed.is_some()) {
        let first = firsts.entry(&record.group).or_insert(record);
        if order(record) < order(first) {
            *first = record;
        }
    }
    firsts
}

/// Did the run stop and go on between two cells? Their times may be of two days, and what changed in between is no change of the code.
fn is_interrupted(manifest: &Manifest, one: &Record, other: &Record) -> bool {
    manifest.resumed_unix_ms.iter().any(|moment| (one.finished_unix_ms < *moment) != (other.finished_unix_ms < *moment))
}

fn lines_of_cell(record: &Record, first: Option<&Record>, (manifest, cores): (&Manifest, u64), commit: &Commit) -> Vec<Line> {
    if !has_figures(record) {
        return Vec::new();
    }
    let line = |metric: Metric, against: &str, value: f64, interval: Option<(f64, f64)>| Line {
        key: Key {
            place: Place { machine: record.machine.clone(), cores, experiment: record.experiment.clone() },
            variant: record.variant.clone(),
            engine: record.engine.clone(),
            setting: setting(&record.axes),
            id: record.id.clone(),
            isa: record.speed.as_ref().and_then(|speed| speed.isa.clone()).unwrap_or_default(),
            metric,
            against: against.to_owned(),
        },
        commit: commit.name.chars().take(COMMIT_DIGITS).collect(),
        commit_unix_s: commit.unix_s,
        build: record.build.clone(),
        run_unix_ms: manifest.created_unix_ms,
        value,
        interval,
    };
    let exact = |metric: Metric, value: Option<f64>| value.map(|value| line(metric, "", value, None));
    let declared = record.memory.as_ref().map(|m| m.weight_bytes + m.activation_bytes + m.scratch_bytes + m.state_bytes);
    let ratio = ratio(record, first).map(|(against, value, interval)| line(Metric::TimeRatio, against, value, interval));
    let all = [
        ratio,
        exact(Metric::ErrImpl, record.accuracy.as_ref().and_then(|accuracy| accuracy.err_impl)),
        exact(Metric::DeclaredBytes, declared.map(|bytes| bytes as f64)),
        exact(Metric::WarmAllocations, record.memory.as_ref().and_then(|memory| memory.warm_allocations).map(|count| count as f64)),
        exact(Metric::Flops, record.speed.as_ref().and_then(|speed| speed.flops).map(|flops| flops as f64)),
    ];
    all.into_iter().flatten().collect()
}

/// A median and the ends of its interval, in nanoseconds.
type Time = (u64, Option<u64>, Option<u64>);

/// The cell divided by, the ratio, and its interval.
type Ratio<'a> = (&'a str, f64, Option<(f64, f64)>);

/// The time over that of the cell named first. None of samples that were all disturbed, nor where a clock was too coarse to see anything.
fn ratio<'a>(record: &'a Record, first: Option<&'a Record>) -> Option<Ratio<'a>> {
    let speed = record.speed.as_ref().filter(|speed| speed.stop != Stop::Disturbed.name())?;
    let (against, base): (&str, Time) = match (&record.beside, first) {
        (Some(beside), _) => (&beside.id, (beside.median_ns, beside.ci_low_ns, beside.ci_high_ns)),
        (None, Some(first)) if record.baseline && first.id != record.id => {
            let of = first.speed.as_ref().filter(|speed| speed.stop != Stop::Disturbed.name())?;
            (&first.id, (of.median_ns, of.ci_low_ns, of.ci_high_ns))
        }
        _ => return None,
    };
    let over = |upper: u64, lower: u64| (upper > 0 && lower > 0).then(|| rounded(upper as f64 / lower as f64));
    let value = over(speed.median_ns, base.0)?;
    // Crosswise, as in reports: at least as wide as the true one. Its ends are rounded like the value, so they stay around it.
    let interval = match (speed.ci_low_ns, speed.ci_high_ns, base.1, base.2) {
        (Some(low), Some(high), Some(base_low), Some(base_high)) => over(low, base_high).zip(over(high, base_low)),
        _ => None,
    };
    Some((against, value, interval))
}

/// Six digits: a hundred times finer than any two processes agree.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
