//! From the wide frame to the rows of the table.

use std::collections::{BTreeMap, BTreeSet};

use crossover_core::device::is_on_device;
use crossover_results::schema::Status;
use polars::prelude::*;

use super::{Entry, Peers, Row, Speed, Verdict};
use crate::columns::{PRECISION, RUN, Typed, axis_name};
use crate::frames::order::AxisRoles;
use crate::frames::strong::EXACT;
use crate::runs::{ASSUMED_FLOOR, Run};

/// The worker that is ours.
const OWN: &str = "crossover-worker";
/// What a record has for a build where no worker said hello.
const UNKNOWN_BUILD: &str = "unknown";
/// Exact on most inputs only, so that nobody would run it in the others' place: it overflows.
const NO_SUBSTITUTE: [&str; 1] = ["softmax/naive"];

/// The rows of these runs. `rows` is the wide frame of the report.
pub(crate) fn peers(rows: &DataFrame, roles: &AxisRoles, runs: &[Run]) -> PolarsResult<Peers> {
    let foreign = |run: &Run| {
        let builds = run.manifest.builds.iter().filter(|build| build.worker != OWN);
        builds.map(|build| build.fingerprint.clone()).collect()
    };
    let told: Vec<Told> =
        runs.iter().map(|run| Told { foreign: foreign(run), resumed: run.manifest.resumed_unix_ms.clone(), floor: run.floor() }).collect();
    rows_of(rows, roles, &told)
}

/// What a run's manifest tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Builds of workers that are not ours.
    pub(super) foreign: BTreeSet<String>,
    /// When it was gone on with.
    pub(super) resumed: Vec<u64>,
    pub(super) floor: f64,
}

pub(super) fn rows_of(frame: &DataFrame, roles: &AxisRoles, runs: &[Told]) -> PolarsResult<Peers> {
    let peers = peer_engines(frame, runs)?;
    if peers.is_empty() {
        return Ok(Peers::default());
    }
    let [groups, engines, variants, statuses] = ["group", "engine", "variant", "status"].map(|column| frame.texts(column));
    let (groups, engines, variants, statuses) = (groups?, engines?, variants?, statuses?);
    let (places, exact) = (frame.ints(RUN)?, exact(frame)?);
    let is_peer = |row: usize| match (places.get(row), engines.get(row)) {
        (Some(run), Some(engine)) => peers.contains(&(run, engine.to_owned())),
        _ => false,
    };
    let mut sets: BTreeMap<(i64, &str, String, Option<String>), Vec<usize>> = BTreeMap::new();
    let contested: BTreeSet<(Option<i64>, Option<&str>)> =
        (0..frame.height()).filter(|row| is_peer(*row)).map(|row| (places.get(row), groups.get(row))).collect();
    for row in 0..frame.height() {
        let (Some(run), Some(group), Some(variant)) = (places.get(row), groups.get(row), variants.get(row)) else { continue };
        if !contested.contains(&(Some(run), Some(group))) || statuses.get(row) == Some(Status::Unchecked.name()) {
            continue;
        }
        let precision = precision(frame, row)?;
        let function =
            if exact.contains(&(variant, precision.clone())) { None } else { Some(with_parameters(frame, roles, row, variant)?) };
        sets.entry((run, group, precision, function)).or_default().push(row);
    }
    let mut all = Vec::new();
    for ((run, group, precision, function), rows) in sets {
        if rows.iter().any(|row| is_peer(*row)) {
            let told = usize::try_from(run).ok().and_then(|run| runs.get(run));
            all.push(row(frame, (run, group, precision, function), &rows, &is_peer, told)?);
        }
    }
    all.sort_by_key(|row| row.at);
    Ok(Peers { rows: all })
}

/// The variants that compute the exact function, with the precision. Emulated cells are no evidence for others, and good for themselves: where a
/// variant has no others, the more precise arithmetic shows all the same what it computes.
fn exact(frame: &DataFrame) -> PolarsResult<BTreeSet<(&str, String)>> {
    let (variants, statuses) = (frame.texts("variant")?, frame.texts("status")?);
    let (exact, ratios) = (frame.flags("exact")?, frame.doubles("error_ratio")?);
    let mut all = BTreeSet::new();
    for row in 0..frame.height() {
        let emulates = statuses.get(row) == Some(Status::Emulated.name()) && ratios.get(row).is_some_and(|ratio| ratio <= EXACT);
        if let Some(variant) =
            variants.get(row).filter(|variant| (exact.get(row) == Some(true) || emulates) && !NO_SUBSTITUTE.contains(variant))
        {
            all.insert((variant, precision(frame, row)?));
        }
    }
    Ok(all)
}

/// Empty where there is no such axis.
fn precision(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    Ok(if frame.schema().contains(PRECISION) { frame.shown(PRECISION, row)?.unwrap_or_default() } else { String::new() })
}

/// The engines of other programs, with their runs.
fn peer_engines(frame: &DataFrame, runs: &[Told]) -> PolarsResult<BTreeSet<(i64, String)>> {
    let mut peers = BTreeSet::new();
    if !frame.schema().contains("build") {
        return Ok(peers);
    }
    let (places, engines, builds, statuses) = (frame.ints(RUN)?, frame.texts("engine")?, frame.texts("build")?, frame.texts("status")?);
    let (mut spoke, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for row in 0..frame.height() {
        let (Some(run), Some(engine), Some(status)) = (places.get(row), engines.get(row), statuses.get(row)) else { continue };
        let engine = (run, engine.to_owned());
        match builds.get(row).filter(|build| !["", UNKNOWN_BUILD].contains(build)) {
            // What was imported has no worker.
            _ if status == Status::Unchecked.name() => drop(spoke.insert(engine)),
            Some(build) => {
                let told = usize::try_from(run).ok().and_then(|run| runs.get(run));
                if told.is_some_and(|told| told.foreign.contains(build)) {
                    peers.insert(engine.clone());
                }
                spoke.insert(engine);
            }
            None if [Status::Crashed.name(), Status::Timeout.name()].contains(&status) => drop(silent.insert(engine)),
            None => {}
        }
    }
    peers.extend(silent.into_iter().filter(|engine| !spoke.contains(engine) && !is_on_device(&engine.1)));
    Ok(peers)
}

/// `attention/window (window = 256)`.
fn with_parameters(frame: &DataFrame, roles: &AxisRoles, row: usize, variant: &str) -> PolarsResult<String> {
    let mut words = Vec::new();
    for axis in &roles.parameters {
        words.extend(frame.shown(axis, row)?.map(|value| format!("{} = {value}", axis_name(axis))));
    }
    Ok(if words.is_empty() { variant.to_owned() } else { format!("{variant} ({})", words.join(", ")) })
}

fn row(
    frame: &DataFrame,
    (run, group, precision, function): (i64, &str, String, Option<String>),
    rows: &[usize],
    is_peer: &dyn Fn(usize) -> bool,
    told: Option<&Told>,
) -> PolarsResult<Row> {
    let text = |column: &str, row: usize| Ok::<_, PolarsError>(frame.texts(column)?.get(row).unwrap_or_default().to_owned());
    let mut best: BTreeMap<(bool, String), (Preference, Entry)> = BTreeMap::new();
    for at in rows.iter().copied() {
        let entry = entry(frame, at, is_peer(at))?;
        let preference = preference(&entry);
        let key = (entry.is_peer, entry.engine.clone());
        if best.get(&key).is_none_or(|(known, _)| preference < *known) {
            best.insert(key, (preference, entry));
        }
    }
    let mut entries: Vec<Entry> = best.into_values().map(|(_, entry)| entry).collect();
    let times = entries.iter().enumerate().filter(|(_, entry)| entry.is_peer).filter_map(|(place, entry)| Some((place, entry.median?)));
    let fastest = times.min_by(|one, other| one.1.total_cmp(&other.1)).map(|(place, _)| place);
    if let Some(rival) = fastest {
        let rival = entries[rival].at;
        for entry in entries.iter_mut().filter(|entry| entry.median.is_some()) {
            entry.speed = speed(frame, entry.at, rival, told)?;
        }
    }
    let at = rows[0];
    let op = match function {
        Some(function) => function,
        // Without a declared baseline, what the peer was asked for.
        None => {
            let of_peer = entries.iter().enumerate().find(|(place, entry)| fastest.map_or(entry.is_peer, |fastest| fastest == *place));
            let of_peer = of_peer.map_or_else(String::new, |(_, entry)| entry.variant.clone());
            frame.shown("base:variant", at)?.unwrap_or(of_peer)
        }
    };
    let (machine, family) = (text("machine", at)?, text("family", at)?);
    Ok(Row { run, machine, family, op, at, group: group.to_owned(), precision, entries, fastest })
}

fn entry(frame: &DataFrame, at: usize, is_peer: bool) -> PolarsResult<Entry> {
    let text = |column: &str| Ok::<_, PolarsError>(frame.texts(column)?.get(at).unwrap_or_default().to_owned());
    let status = text("status")?;
    let is_timed = [Status::Ok.name(), Status::Emulated.name()].contains(&status.as_str());
    Ok(Entry {
        engine: text("engine")?,
        is_peer,
        at,
        variant: text("variant")?,
        median: frame.ints("median_ns")?.get(at).filter(|median| is_timed && *median > 0).map(|median| median as f64),
        share: if frame.schema().contains("share") { frame.doubles("share")?.get(at).filter(|_| is_timed) } else { None },
        status,
        speed: None,
    })
}

/// Which of an engine's cells stands for it: the lowest.
type Preference = (usize, u64, usize);

/// The fastest that is right; of those without a time the one that came furthest. A peer may emulate, one of ours only where nothing else is.
fn preference(entry: &Entry) -> Preference {
    let rank = match entry.median {
        Some(_) if entry.is_peer || !entry.is_emulated() => 0,
        Some(_) => 1,
        None => 2 + Status::ALL.iter().position(|status| status.name() == entry.status).unwrap_or(Status::ALL.len()),
    };
    (rank, entry.median.map_or(0, |median| median as u64), entry.at)
}

/// The time of the row `rival` over that of the row `own`.
fn speed(frame: &DataFrame, own: usize, rival: usize, told: Option<&Told>) -> PolarsResult<Option<Speed>> {
    let int =
        |column: &str, row: usize| Ok::<_, PolarsError>(frame.ints(column)?.get(row).filter(|value| *value > 0).map(|value| value as f64));
    let (Some(median), Some(of_rival)) = (int("median_ns", own)?, int("median_ns", rival)?) else { return Ok(None) };
    let ends = [int("ci_low_ns", rival)?, int("ci_high_ns", own)?, int("ci_high_ns", rival)?, int("ci_low_ns", own)?];
    let ends = match ends {
        _ if own == rival => None,
        [Some(rival_low), Some(own_high), Some(rival_high), Some(own_low)] => Some((rival_low / own_high, rival_high / own_low)),
        _ => None,
    };
    let (ratio, floor) = (of_rival / median, told.map_or(ASSUMED_FLOOR, |told| told.floor));
    let apart = own != rival && is_apart(frame, own, rival, told.map_or(&[], |told| &told.resumed), floor)?;
    Ok(Some(Speed { ratio, ends, apart, verdict: Verdict::of(ratio, ends, apart, floor) }))
}

/// Is anything known that speaks against the two having been measured in turns?
fn is_apart(frame: &DataFrame, one: usize, other: usize, resumed: &[u64], floor: f64) -> PolarsResult<bool> {
    // A baseline that has no time at all could not be beside anything.
    let (apart, of_base) = (frame.flags("apart")?, frame.ints("base:median_ns")?);
    if [one, other].iter().any(|row| apart.get(*row) == Some(true) && of_base.get(*row).is_some()) {
        return Ok(true);
    }
    let finished = if frame.schema().contains("finished_unix_ms") { Some(frame.ints("finished_unix_ms")?) } else { None };
    let moment = |row: usize| finished.and_then(|moments| u64::try_from(moments.get(row)?).ok());
    if let (Some(one), Some(other)) = (moment(one), moment(other))
        && resumed.iter().any(|moment| (one < *moment) != (other < *moment))
    {
        return Ok(true);
    }
    let (bases, against) = (frame.texts("base:id")?, frame.ints("against:median_ns")?);
    let shared = bases.get(one).is_some() && bases.get(one) == bases.get(other);
    let (Some(one), Some(other)) = (against.get(one), against.get(other)) else { return Ok(false) };
    Ok(shared && one > 0 && other > 0 && (one as f64 / other as f64).ln().abs() > floor.ln_1p())
}
