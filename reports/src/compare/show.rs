//! A comparison for people.

use std::collections::BTreeSet;

use crossover_results::Machine;

use super::changes::Change;
use super::pairs::Beside;
use super::{Comparison, Pair, Verdict};
use crate::columns::{DECLARED_BYTES, Typed};
use crate::error::Result;
use crate::labels::Labels;
use crate::runs::{ASSUMED_FLOOR, Run, described};
use crate::text::document::{Cell, Document, Grid, Tone};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{bytes, ends, figure, moment, percent, scientific};

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Rows of each table.
    pub(crate) limit: usize,
    /// Has room for the intervals of ratios beside the baseline.
    pub(crate) is_wide: bool,
}

/// What is said of two runs; tables have at most `limit` rows, counts and means are always of all.
pub(crate) fn document(comparison: &Comparison<'_>, extent: Extent) -> Result<Document> {
    let mut out = Document::default();
    let labels = Labels::of(&comparison.cells)?;
    head(&mut out, comparison);
    times(&mut out, comparison, &labels, extent)?;
    means(&mut out, comparison, extent);
    statuses(&mut out, comparison, &labels, extent)?;
    errors(&mut out, comparison, &labels, extent)?;
    declared(&mut out, comparison, &labels, extent)?;
    for (heading, rows) in [("Only in A (vanished)", &comparison.vanished), ("Only in B (appeared)", &comparison.appeared)] {
        if !rows.is_empty() {
            out.heading(format!("{heading}: {}", counted(rows.len() as u64, "cell")));
            let status = comparison.cells.texts("status")?;
            for row in rows.iter().take(extent.limit) {
                out.item(format!("{} ({})", labels.label(*row)?, status.get(*row).unwrap_or("?")));
            }
            rest(&mut out, rows.len(), extent);
        }
    }
    Ok(out)
}

fn head(out: &mut Document, comparison: &Comparison<'_>) {
    for ((name, run), cells) in ["A", "B"].into_iter().zip(comparison.runs).zip(comparison.counts) {
        let builds: Vec<&str> = run.manifest.builds.iter().map(|build| build.fingerprint.as_str()).collect();
        let builds = if builds.is_empty() { String::new() } else { format!(", build {}", builds.join(" and ")) };
        let (experiment, started, cells) = (&run.manifest.experiment, moment(run.manifest.created_unix_ms), counted(cells as u64, "cell"));
        out.item(format!("{name} is {}: {experiment}, started {started}, {cells}{builds}", run.label));
    }
    let [a, b] = comparison.runs;
    match comparison.is_across_machines {
        false => out.item(format!("Machine: {}", described(&b.manifest.machine))),
        true => {
            out.item(format!("Machine of A: {}", described(&a.manifest.machine)));
            out.item(format!("Machine of B: {}", described(&b.manifest.machine)));
            out.text(
                "Across machines: every ratio of times compares the machines as much as the programs, and no verdict says which it was.",
            );
        }
    }
    out.text(
        "The runs were never interleaved, so whatever drifted between them is in every ratio of times. A decision needs both builds side by \
         side in one run.",
    );
    notes(comparison).into_iter().for_each(|note| out.item(note));
}

/// What else is not the same in both, and what is missing.
pub(super) fn notes(comparison: &Comparison<'_>) -> Vec<String> {
    let [a, b] = comparison.runs;
    let mut notes = Vec::new();
    let floor = |run: &Run| run.noise_floor().map_or_else(|| format!("not measured, {} taken for it", percent(ASSUMED_FLOOR)), percent);
    notes.push(format!("Noise floor: {} in A, {} in B; verdicts go by the larger one", floor(a), floor(b)));
    let builds = |run: &Run| run.manifest.builds.iter().map(|build| build.fingerprint.clone()).collect::<BTreeSet<_>>();
    match builds(a).len() {
        _ if builds(a) != builds(b) => {}
        0 => {}
        1 => notes.push(
            "Both runs are of the same build: what differs in times is the machine or a fresh process, and not the program; faster and slower \
             then say how far two processes of one program lie apart"
                .to_owned(),
        ),
        several => notes.push(format!("Both runs have cells of the same {several} builds: a cell may be of one build here and of another there")),
    }
    if [a, b].iter().any(|run| run.manifest.machine.fingerprint == Machine::UNKNOWN) {
        notes.push("Nobody said on which machine some of the cells were measured, so nothing tells whether it was the same one".to_owned());
    }
    if a.manifest.seed != b.manifest.seed {
        notes.push(format!("Seeds differ ({} and {}): the inputs and with them the errors are others", a.manifest.seed, b.manifest.seed));
    }
    for (name, run) in [("A", a), ("B", b)] {
        notes.extend(run.notes.iter().map(|note| format!("{name}: {note}")));
    }
    notes
}

fn times(out: &mut Document, comparison: &Comparison<'_>, labels: &Labels<'_>, extent: Extent) -> Result<()> {
    out.heading("Times, B over A");
    let counts = Verdict::ALL.map(|verdict| format!("{} {}", comparison.count(verdict), said(verdict)));
    let of = counted(comparison.pairs.len() as u64, "cell");
    if comparison.pairs.is_empty() {
        out.text("The runs have no cell in common that is ok (or unchecked) in both and has a time in both.");
        return Ok(());
    }
    out.text(format!(
        "{of} in both: {}. Below 1, B is faster. Faster and slower are claimed together with an error of 5 % at most (Holm), as far as samples \
         of one process tell; apart: the baseline beside it changed as much; noise: nearer to 1 than the noise floor. The intervals are those \
         of one ratio each.",
        counts.join(", ")
    ));
    let columns = [
        ("ratio", Align::Right),
        ("95 % interval", Align::Left),
        ("beside", Align::Right),
        ("verdict", Align::Left),
        ("cell", Align::Left),
    ];
    let mut grid = Grid::new(columns);
    for pair in comparison.pairs.iter().take(extent.limit) {
        grid.push([
            Cell::plain(figure(pair.ratio)),
            Cell::plain(interval(pair.interval)),
            Cell::plain(beside(pair.beside, extent)),
            verdict(pair),
            Cell::plain(labels.label(pair.b)?),
        ]);
    }
    out.grid(grid);
    rest(out, comparison.pairs.len(), extent);
    let missing = comparison.pairs.iter().filter(|pair| pair.beside.is_none()).count();
    if missing > 0 {
        out.text(format!(
            "{} without a figure beside: baselines, and cells whose records do not name the same baseline (older layouts name none).",
            counted(missing as u64, "cell")
        ));
    }
    Ok(())
}

fn verdict(pair: &Pair) -> Cell {
    let tone = match pair.verdict {
        Verdict::Faster => Tone::Good,
        Verdict::Slower => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell::toned(said(pair.verdict), tone)
}

fn said(verdict: Verdict) -> String {
    verdict.name().replace('-', " ")
}

fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map_or_else(|| ABSENT.to_owned(), |(low, high)| ends(low, high))
}

fn beside(beside: Option<Beside>, extent: Extent) -> String {
    match beside {
        None => ABSENT.to_owned(),
        Some(beside) if extent.is_wide => format!("{} {}", figure(beside.ratio), interval(beside.interval)),
        Some(beside) => figure(beside.ratio),
    }
}

fn means(out: &mut Document, comparison: &Comparison<'_>, extent: Extent) {
    if comparison.means.is_empty() {
        return;
    }
    out.heading("Geometric means of the ratios");
    out.text("Over the cells that are ok in both. The interval (Student's t over the logarithms, cells of one problem taken together) is about the spread of the cells; drift between the runs is not in it.");
    let columns = [
        ("mean", Align::Right),
        ("95 % interval", Align::Left),
        ("cells", Align::Right),
        ("beside", Align::Right),
        ("cells", Align::Right),
        ("of", Align::Left),
    ];
    let mut grid = Grid::new(columns);
    for mean in &comparison.means {
        let of = mean.of.as_ref().map_or_else(|| "all".to_owned(), |(family, engine)| format!("{family} on {engine}"));
        let (beside, cells) = match &mean.beside {
            None => (ABSENT.to_owned(), "0".to_owned()),
            Some(beside) if extent.is_wide => (format!("{} {}", figure(beside.value), interval(beside.interval)), beside.count.to_string()),
            Some(beside) => (figure(beside.value), beside.count.to_string()),
        };
        grid.push([figure(mean.mean.value), interval(mean.mean.interval), mean.mean.count.to_string(), beside, cells, of].map(Cell::plain));
    }
    out.grid(grid);
}

fn statuses(out: &mut Document, comparison: &Comparison<'_>, labels: &Labels<'_>, extent: Extent) -> Result<()> {
    let reasons = comparison.cells.texts("reason")?;
    let lists = [("Statuses", &comparison.changes.status), ("Support by the engine", &comparison.changes.support)];
    for (what, changes) in lists {
        if changes.is_empty() {
            continue;
        }
        out.heading(format!("{what} that changed: {}", counted(changes.len() as u64, "cell")));
        let mut grid = Grid::new([("A", Align::Left), ("B", Align::Left), ("cell", Align::Left)]);
        for Change { a, b, before, after } in changes.iter().take(extent.limit) {
            let word = |text: &Option<String>| Cell::plain(text.as_deref().unwrap_or(ABSENT));
            let reason = reasons.get(*b).or(reasons.get(*a)).map_or_else(String::new, |reason| format!(" ({reason})"));
            grid.push([word(before), word(after), Cell::plain(labels.label(*b)? + &reason)]);
        }
        out.grid(grid);
        rest(out, changes.len(), extent);
    }
    Ok(())
}

fn errors(out: &mut Document, comparison: &Comparison<'_>, labels: &Labels<'_>, extent: Extent) -> Result<()> {
    let changes = &comparison.changes;
    out.heading("Accuracy");
    let (same, changed) = (changes.judged - changes.errors.len(), changes.errors.len());
    out.text(format!(
        "Of {} with errors in both, {same} have the same err_impl and err_method to the last bit, {changed} have not.",
        counted(changes.judged as u64, "cell")
    ));
    let mut grid = Grid::new([
        ("err_impl: A", Align::Right),
        ("B", Align::Right),
        ("err_method: A", Align::Right),
        ("B", Align::Right),
        ("cell", Align::Left),
    ]);
    for Change { b, before, after, .. } in changes.errors.iter().take(extent.limit) {
        let error = |error: Option<f64>| Cell::plain(error.map_or_else(|| ABSENT.to_owned(), scientific));
        let [implementation, method] = [0, 1].map(|error| (before[error], after[error]));
        let cell = Cell::plain(labels.label(*b)?);
        grid.push([error(implementation.0), error(implementation.1), error(method.0), error(method.1), cell]);
    }
    out.grid(grid);
    rest(out, changed, extent);
    Ok(())
}

fn declared(out: &mut Document, comparison: &Comparison<'_>, labels: &Labels<'_>, extent: Extent) -> Result<()> {
    let changes = &comparison.changes;
    out.heading("Declared bytes");
    let changed = changes.bytes.len();
    out.text(format!(
        "Of {} with declared bytes in both, {} have the same, {changed} have not.",
        counted(changes.declared as u64, "cell"),
        changes.declared - changed
    ));
    let mut grid = Grid::new([("A", Align::Right), ("B", Align::Right), ("changed", Align::Left), ("cell", Align::Left)]);
    for Change { b, before, after, .. } in changes.bytes.iter().take(extent.limit) {
        let total = |parts: &[i64; 4]| Cell::plain(bytes(parts.iter().map(|part| *part as f64).sum()));
        let parts = DECLARED_BYTES.iter().zip(before.iter().zip(after)).filter(|(_, (before, after))| before != after);
        let parts: Vec<&str> = parts.map(|(name, _)| name.trim_end_matches("_bytes")).collect();
        grid.push([total(before), total(after), Cell::plain(parts.join(", ")), Cell::plain(labels.label(*b)?)]);
    }
    out.grid(grid);
    rest(out, changed, extent);
    Ok(())
}

fn rest(out: &mut Document, all: usize, extent: Extent) {
    if all > extent.limit {
        out.text(format!("And {} more: --limit {all} shows all.", all - extent.limit));
    }
}
