//! Beside the peers: a document of its own, and a section of the summary, which also goes into a README.
//!
//! Both are made as a [`Document`], so that the page shows the very same words.

use std::collections::BTreeMap;
use std::collections::btree_map;

use polars::prelude::*;

use super::Context;
use super::listing::with_interval;
use super::ratio::APART;
use super::regime::regime;
use crate::answers::Answers;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::frames::peers::{Class, Entry, Peers, Row, Speed, Verdict};
use crate::runs::described;
use crate::text::document::{Cell, Document, Grid, Tone};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{percent, time};

/// The document's name.
pub(crate) const FILE: &str = "peers.md";
/// Its title.
pub(crate) const TITLE: &str = "Beside the peers";

const ABOUT: &str = "A peer is an engine in another program's worker. Speed is the median time of the fastest peer over that of the engine, on the same bits, \
    verified alike and measured in turns: above 1 is faster than every peer. (Elsewhere ratios are of times, and below 1 is faster.) The interval divides the \
    ends of both 95 % intervals crosswise.";

const READING: &str = "The fastest peer of a line has 1 and its time. A percentage is the share of the machine's ceiling. An engine stands with its fastest cell that \
    computes the function of the heading, named where it is another variant. A peer that computes in another precision than asked (emulated) counts all the same, as that \
    is what one gets from it; an engine of ours that does is in no mean.";

const APART_MEANS: &str = "†: the two are not known to be of the same rounds (the run was gone on with in between, memory had no room for both, or their baseline \
    drifted by more than the noise floor): no verdict, and in no mean.";

/// The whole document.
pub(crate) fn document(answers: &Answers<'_>, context: &Context<'_>) -> PolarsResult<Document> {
    let (peers, frame) = (&answers.peers, &answers.rows);
    let mut document = Document::default();
    document.text(ABOUT);
    for machine in peers.machines() {
        answer(&mut document, answers, machine, usize::MAX)?;
        document.heading(on("All rows", answers, machine));
        document.text(READING);
        if peers.on(machine).any(|row| row.entries.iter().any(is_apart)) {
            document.text(APART_MEANS);
        }
        let mut ops: Vec<(&str, Vec<&Row>)> = Vec::new();
        for row in peers.on(machine) {
            match ops.iter_mut().find(|(op, _)| *op == row.op) {
                Some((_, rows)) => rows.push(row),
                None => ops.push((&row.op, vec![row])),
            }
        }
        for (op, rows) in ops {
            document.heading(on(op, answers, machine));
            table(&mut document, frame, context, &rows)?;
        }
    }
    Ok(document)
}

/// The section of the summary, or of another document; `folder` leads from there to the report. Nothing where a run has no peers.
pub(crate) fn section(answers: &Answers<'_>, folder: &str, most: usize) -> PolarsResult<String> {
    if answers.peers.is_empty() {
        return Ok(String::new());
    }
    let mut document = Document::default();
    document.text(ABOUT);
    for machine in answers.peers.machines() {
        answer(&mut document, answers, machine, most)?;
    }
    Ok(format!("\n## {TITLE}\n{}\nAll rows: [{folder}{FILE}]({folder}{FILE}).\n", document.body(3)))
}

/// What is said of the engine that speaks for ours, and the rows that fall short: at most so many.
fn answer(document: &mut Document, answers: &Answers<'_>, machine: &str, most: usize) -> PolarsResult<()> {
    let peers = &answers.peers;
    let Some(engine) = peers.foremost(machine) else {
        document.text(format!("{}No engine of ours has a time beside a peer's.", of_machine(answers, machine)));
        return Ok(());
    };
    let speeds: Vec<(&Row, Speed)> = peers.on(machine).filter_map(|row| Some((row, row.of(engine)?.speed?))).collect();
    if speeds.is_empty() {
        document.text(format!("{}No row has a time of {engine} and of a peer.", of_machine(answers, machine)));
        return Ok(());
    }
    let ahead = speeds.iter().filter(|(_, speed)| speed.verdict == Verdict::Ahead).count();
    let others = peers.on(machine).count() - speeds.len();
    let mut told = format!(
        "{}{engine} is at least as fast as the fastest peer, by the lower end of the interval, in {ahead} of {}.",
        of_machine(answers, machine),
        counted(speeds.len() as u64, "row")
    );
    if others > 0 {
        told += &format!(" In {} more, it or every peer has no time.", counted(others as u64, "row"));
    }
    document.text(told);
    document.grid(classes(&peers.classes(machine, engine)));
    let short = peers.short(machine, engine);
    if short.is_empty() {
        return Ok(());
    }
    document.heading(on("Rows that fall short", answers, machine));
    document.text(format!(
        "Of {engine}, the slowest first. Slower is where the whole interval is below 1, and the speed by more than the noise floor."
    ));
    document.grid(shortfalls(&answers.rows, peers, &short[..short.len().min(most)], &answers.roles.problem)?);
    if short.len() > most {
        document.text(format!("And {}: see {FILE}.", counted((short.len() - most) as u64, "more row")));
    }
    Ok(())
}

/// A heading, with the machine where there are several.
fn on(heading: &str, answers: &Answers<'_>, machine: &str) -> String {
    if answers.peers.machines().len() > 1 { format!("{heading} on machine {machine}") } else { heading.to_owned() }
}

fn of_machine(answers: &Answers<'_>, machine: &str) -> String {
    match answers.machines.get(machine) {
        Some(known) if answers.peers.machines().len() > 1 => format!("{}: ", described(known)),
        _ => String::new(),
    }
}

/// The geometric means.
fn classes(classes: &[Class]) -> Grid {
    let mut grid = Grid::new([
        ("family", Align::Left),
        ("precision", Align::Left),
        ("mean speed [95 % CI]", Align::Right),
        ("rows", Align::Right),
        ("at least as fast", Align::Right),
        ("beside an emulating peer", Align::Right),
    ]);
    for class in classes {
        let ends = class.mean.interval.map(|(low, high)| (low.exp(), high.exp()));
        let tone = if class.ahead == class.rows { Tone::Good } else { Tone::Plain };
        grid.push([
            Cell::plain(class.family.as_deref().unwrap_or("all")),
            Cell::plain(&class.precision),
            Cell::plain(with_interval(class.mean.value.exp(), ends.map(|ends| ends.0), ends.map(|ends| ends.1))),
            Cell::plain(class.rows.to_string()),
            Cell::toned(class.ahead.to_string(), tone),
            Cell::plain(class.emulated.to_string()),
        ]);
    }
    grid
}

fn shortfalls(frame: &DataFrame, peers: &Peers, short: &[(&Row, &Entry, Speed)], problem: &[String]) -> PolarsResult<Grid> {
    let mut varying: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (row, ..) in short {
        let key = (row.machine.as_str(), row.op.as_str());
        if let btree_map::Entry::Vacant(place) = varying.entry(key) {
            let same: Vec<usize> = peers.on(&row.machine).filter(|other| other.op == row.op).map(|other| other.at).collect();
            place.insert(regime(frame, &same, problem)?.varying);
        }
    }
    let mut grid = Grid::new([
        ("operation", Align::Left),
        ("setting", Align::Left),
        ("speed [95 % CI]", Align::Right),
        ("verdict", Align::Left),
        ("fastest peer", Align::Left),
        ("share", Align::Right),
    ]);
    for (row, entry, speed) in short {
        let axes = varying.get(&(row.machine.as_str(), row.op.as_str())).map_or(&[][..], Vec::as_slice);
        let rival = row.rival().map_or_else(String::new, |rival| format!("{}{}", rival.engine, emulated(rival)));
        let tone = if speed.verdict == Verdict::Behind { Tone::Bad } else { Tone::Plain };
        grid.push([
            Cell::plain(format!("{}{}", row.op, emulated(entry))),
            Cell::plain(setting(frame, axes, row)?),
            Cell::plain(of_speed(speed)),
            Cell::toned(speed.verdict.name(), tone),
            Cell::plain(rival),
            Cell::plain(entry.share.map_or_else(|| ABSENT.to_owned(), percent)),
        ]);
    }
    Ok(grid)
}

/// `n = 128, bf16, 2 threads`: the axes that tell a row from others of its operation.
fn setting(frame: &DataFrame, axes: &[String], row: &Row) -> PolarsResult<String> {
    let mut words = Vec::new();
    for axis in axes {
        words.extend(frame.shown(axis, row.at)?.map(|value| match axis.as_str() {
            PRECISION => value,
            THREADS => value.parse().map_or(value, |threads| counted(threads, "thread")),
            _ => format!("{} = {value}", axis_name(axis)),
        }));
    }
    Ok(words.join(", "))
}

/// All rows of one operation, a column for every engine that has a cell in one of them.
fn table(document: &mut Document, frame: &DataFrame, context: &Context<'_>, rows: &[&Row]) -> PolarsResult<()> {
    let at: Vec<usize> = rows.iter().map(|row| row.at).collect();
    let regime = regime(frame, &at, &context.roles.problem)?;
    if !regime.constant.is_empty() {
        let spelled: Vec<String> = regime.constant.iter().map(|(axis, value)| format!("{} = {value}", axis_name(axis))).collect();
        document.text(format!("Regime: {}.", spelled.join(", ")));
    }
    let several_runs = rows.iter().any(|row| row.run != rows[0].run);
    let mut engines: Vec<(bool, &str)> =
        rows.iter().flat_map(|row| &row.entries).map(|entry| (entry.is_peer, entry.engine.as_str())).collect();
    engines.sort_unstable();
    engines.dedup();
    let mut columns: Vec<(String, Align)> = several_runs.then(|| (RUN.to_owned(), Align::Left)).into_iter().collect();
    columns.extend(regime.varying.iter().map(|axis| (axis_name(axis).to_owned(), Align::Right)));
    columns.extend(
        engines.iter().map(|(is_peer, engine)| (if *is_peer { format!("{engine} (peer)") } else { (*engine).to_owned() }, Align::Right)),
    );
    let mut grid = Grid { columns, rows: Vec::new() };
    for row in rows {
        let label = || usize::try_from(row.run).ok().and_then(|run| context.labels.get(run)).map_or("?", |label| *label);
        let mut cells: Vec<Cell> = several_runs.then(|| Cell::plain(label())).into_iter().collect();
        for axis in &regime.varying {
            cells.push(Cell::plain(frame.shown(axis, row.at)?.unwrap_or_else(|| ABSENT.to_owned())));
        }
        cells.extend(engines.iter().map(|(_, engine)| match row.of(engine) {
            Some(entry) => shown(row, entry),
            None => Cell::plain(ABSENT),
        }));
        grid.rows.push(cells);
    }
    document.grid(grid);
    Ok(())
}

/// `1.32 [1.28, 1.36], 62.0 %, flash`.
fn shown(row: &Row, entry: &Entry) -> Cell {
    let is_rival = row.rival().is_some_and(|rival| rival.at == entry.at);
    let figure = match (entry.median, &entry.speed) {
        (Some(median), Some(_)) if is_rival => format!("1 ({})", time(median)),
        (Some(_), Some(speed)) => of_speed(speed),
        (Some(median), None) => time(median),
        (None, _) => return Cell::plain(&entry.status),
    };
    let share = entry.share.map_or_else(String::new, |share| format!(", {}", percent(share)));
    let is_named = row.op == entry.variant || row.op.starts_with(&format!("{} (", entry.variant));
    let variant = entry.variant.split_once('/').map_or(entry.variant.as_str(), |(_, variant)| variant);
    let variant = if is_named { String::new() } else { format!(", {variant}") };
    let tone = match entry.speed.map(|speed| speed.verdict) {
        Some(Verdict::Ahead) if !entry.is_peer => Tone::Good,
        Some(Verdict::Behind) if !entry.is_peer => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell::toned(format!("{figure}{share}{variant}{}", emulated(entry)), tone)
}

fn of_speed(speed: &Speed) -> String {
    let text = with_interval(speed.ratio, speed.ends.map(|ends| ends.0), speed.ends.map(|ends| ends.1));
    if speed.apart { format!("{text} {APART}") } else { text }
}

fn emulated(entry: &Entry) -> &'static str {
    if entry.is_emulated() { " (emulated)" } else { "" }
}

fn is_apart(entry: &Entry) -> bool {
    entry.speed.is_some_and(|speed| speed.apart)
}
