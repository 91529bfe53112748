//! What the exact gate found, for a terminal, a pull request, a program and a test report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::commands::text::{counted, wrap};
use crate::gate::sheet::{self, Entry, Sheet};
use crate::gate::verdict::Verdict;

use super::Row;
use super::compare::{Change, Compared};
use super::suite::Held;

/// Changes that are listed on a terminal; the other forms have all.
const LISTED: usize = 40;

/// What was looked at, and what came of it.
#[derive(Debug)]
pub struct Seen {
    /// What the cells show.
    pub rows: Vec<Row>,
    /// Cells of the experiment that no build of ours computes.
    pub left_out: usize,
    /// What the conformance suite says of their engines.
    pub suites: Vec<Held>,
    /// All of it beside the baseline.
    pub compared: Compared,
}

impl Seen {
    /// The verdict over all: where nothing regressed, a baseline of other machines, of none of these cells or of another compiler's build is no pass.
    pub fn verdict(&self) -> Verdict {
        if self.count(Verdict::Regressed) > 0 {
            return Verdict::Regressed;
        }
        let is_known = self.count(Verdict::Inconclusive) == 0;
        let is_held = is_known && !self.compared.is_all_new() && self.compared.of_other_machines().is_empty();
        if is_held { Verdict::Pass } else { Verdict::Inconclusive }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.compared.changes.iter().filter(|change| change.verdict == verdict).count()
    }

    /// Failures of the conformance suite, which cannot be accepted.
    fn failures(&self) -> usize {
        self.suites.iter().map(|held| held.failures.len()).sum()
    }
}

/// All that is told of it.
pub fn sheet(seen: &Seen) -> Sheet {
    let entries = entries(seen);
    let notes: Vec<String> = advice(seen).into_iter().collect();
    let title = format!("Exact gate: {}", seen.verdict().name());
    let summary = format!("{}. {}. {}.", counts(seen), with_row(seen), conformance(seen));
    Sheet {
        text: text(seen),
        markdown: sheet::markdown(&title, &summary, &entries, &notes),
        json: json(seen),
        junit: sheet::junit("crossover gate --exact", &entries),
    }
}

/// The engines of most of whose cells the baseline has rows of other instruction sets only, each with how many.
pub fn of_other_machines(seen: &Seen) -> Vec<String> {
    let told = |engine: &str| {
        let rows = seen.compared.rows[engine];
        let all = counted((rows.own + rows.elsewhere) as u64, "cell");
        format!("{} of {all} on {engine} have no row of its instruction set here", rows.elsewhere)
    };
    let engines: Vec<String> = seen.compared.of_other_machines().into_iter().map(told).collect();
    let isas: Vec<&str> = seen.compared.unknown_isas.iter().map(String::as_str).collect();
    match engines.is_empty() {
        true => engines,
        false => engines.into_iter().chain([format!("without rows: {}", isas.join("; "))]).collect(),
    }
}

/// For a terminal of 80 columns.
fn text(seen: &Seen) -> String {
    let changes = &seen.compared.changes;
    let mut out = String::new();
    for change in changes.iter().take(LISTED) {
        let words = format!("{}: {}", change.cell, change.what);
        let kind = if change.verdict == Verdict::Pass { "told" } else { change.verdict.name() };
        out += &wrap(&format!("{kind:<11}"), words.split(' '));
    }
    if changes.len() > LISTED {
        let _ = writeln!(out, "and {} more: --json has all", changes.len() - LISTED);
    }
    if seen.left_out > 0 {
        let _ = writeln!(out, "not compared: {} that no build of ours computes", counted(seen.left_out as u64, "cell"));
    }
    let _ = writeln!(out, "{}: {}\n{}", seen.verdict().name(), counts(seen), with_row(seen));
    out += &wrap("", conformance(seen).split(' '));
    if let Some(advice) = advice(seen) {
        out += &wrap("", advice.split(' '));
    }
    out
}

fn counts(seen: &Seen) -> String {
    let [regressed, improved] = [Verdict::Regressed, Verdict::Improved].map(|verdict| seen.count(verdict));
    let told = seen.compared.changes.len() - regressed - improved;
    format!("{}, {regressed} worse, {improved} better, {told} to be told", counted(seen.rows.len() as u64, "cell"))
}

fn with_row(seen: &Seen) -> String {
    format!("{} of {} with a row of this machine's instruction sets", seen.compared.known(), counted(seen.rows.len() as u64, "cell"))
}

fn conformance(seen: &Seen) -> String {
    let held = seen.suites.iter().map(|held| format!("{} ({} of {})", held.engine, held.failures.len(), counted(held.cases, "case")));
    format!("conformance suite, failures: {}", held.collect::<Vec<_>>().join(", "))
}

fn advice(seen: &Seen) -> Option<String> {
    let acceptable = seen.count(Verdict::Regressed) > seen.failures() || seen.count(Verdict::Inconclusive) > 0;
    acceptable.then(|| "What is meant to change is accepted by `crossover gate --accept \"REASON\"`, to be committed with it.".to_owned())
}

/// For a program.
fn json(seen: &Seen) -> Value {
    let Seen { rows, left_out, suites, compared } = seen;
    let one = |change: &Change| json!({ "cell": change.cell, "verdict": change.verdict.name(), "what": change.what });
    let suite = |held: &Held| json!({ "engine": held.engine, "cases": held.cases, "failures": held.failures.len() });
    json!({
        "verdict": seen.verdict().name(), "cells": rows.len(), "with_row": compared.known(), "of_other_machines": compared.of_other_machines(),
        "unknown_isas": compared.unknown_isas, "not_compared": left_out, "conformance": suites.iter().map(suite).collect::<Vec<_>>(),
        "changes": compared.changes.iter().map(one).collect::<Vec<_>>(),
    })
}

/// Each cell with all that changed about it, then whatever else changed: cells that are gone, the suite, the program's size.
fn entries(seen: &Seen) -> Vec<Entry> {
    let mut changes: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
    seen.compared.changes.iter().for_each(|change| changes.entry(&change.cell).or_default().push(change));
    let mut entries: Vec<Entry> = Vec::with_capacity(seen.rows.len());
    for row in &seen.rows {
        let name = row.told();
        let of_cell = changes.remove(name.as_str()).unwrap_or_default();
        entries.push(entry(row.variant.clone(), name, &of_cell));
    }
    entries.extend(changes.into_iter().map(|(what, changes)| entry("beside the cells".to_owned(), what.to_owned(), &changes)));
    let is_of_others = seen.compared.is_all_new() || !seen.compared.of_other_machines().is_empty();
    if seen.verdict() == Verdict::Inconclusive && is_of_others {
        let (class, name) = ("beside the cells".to_owned(), "the baseline's rows".to_owned());
        let words = if seen.compared.is_all_new() { "there is none of these cells".to_owned() } else { of_other_machines(seen).join("; ") };
        entries.push(Entry { class, name, verdict: Verdict::Inconclusive, words });
    }
    entries
}

/// The worst of its changes, with the words of all.
fn entry(class: String, name: String, changes: &[&Change]) -> Entry {
    let has = |verdict: &Verdict| changes.iter().any(|change| change.verdict == *verdict);
    let verdict = Verdict::ALL.into_iter().find(has).unwrap_or(Verdict::Pass);
    let words = changes.iter().map(|change| change.what.as_str()).collect::<Vec<_>>().join("; ");
    Entry { class, name, verdict, words }
}

#[cfg(test)]
mod tests {
    use super::super::row;
    use super::*;
    use crate::gate::exact::compare::compare;

    #[test]
    fn all_forms_tell_of_all_changes_of_a_cell() {
        let baseline = [row("a", "avx2"), Row { variant: "norm/gone".into(), ..row("b", "avx2") }];
        let worse = Row { declared_bytes: Some(2000), flops: Some(6000), ..row("a", "avx2") };
        let rows = vec![worse, Row { variant: "norm/new".into(), ..row("c", "avx2") }];
        let seen = Seen { compared: compare(&baseline, &rows, &|_| false), rows, left_out: 0, suites: Vec::new() };
        let Sheet { text, markdown, json, junit } = sheet(&seen);
        assert!(text.contains("regressed: 2 cells, 3 worse, 0 better, 1 to be told\n1 of 2 cells with a row"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80) && text.contains("--accept"), "{text}");
        let both = "declared bytes grew from 1000 to 2000; operations grew from 5000 to 6000";
        assert!(markdown.starts_with("### Exact gate: regressed\n") && markdown.contains(both), "{markdown}");
        assert_eq!((&json["verdict"], json["changes"].as_array().map(Vec::len)), (&"regressed".into(), Some(4)));
        assert!(junit.contains("tests=\"3\" failures=\"2\"") && junit.contains(both) && junit.contains("norm/gone"), "{junit}");
    }

    #[test]
    fn rows_of_other_machines_are_named_by_engine() {
        let rows = vec![row("a", "neon")];
        let seen = Seen { compared: compare(&[row("a", "avx2")], &rows, &|_| false), rows, left_out: 0, suites: Vec::new() };
        assert_eq!(seen.verdict(), Verdict::Inconclusive);
        assert_eq!(of_other_machines(&seen), ["1 of 1 cell on simd have no row of its instruction set here", "without rows: neon"]);
        assert!(sheet(&seen).junit.contains("skipped=\"1\""));
    }
}
