//! What a gate found, for a terminal, a pull request, a program and a test report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::commands::text::{counted, wrap};
use crate::plan::PlannedCell;

use super::stages::{Judged, Outcome};
use super::verdict::{self, Evidence, Verdict};
use super::{Compared, Findings};

/// For a terminal of 80 columns: what did not simply pass, what was not compared by its reasons, and the counts.
pub fn text(findings: &Findings) -> String {
    let mut out = wrap("", format!("{} against {}, changes from {} on", findings.head, findings.base, percent(findings)).split(' '));
    for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::NotCompared) {
        for judged in of_verdict(findings, verdict).filter(|judged| is_told(&judged.outcome)) {
            let words = format!("{}: {}", name(&judged.cell), in_words(findings, &judged.outcome));
            out += &line(verdict, &words);
        }
    }
    for (why, cells) in not_compared(findings) {
        let others = match cells.len() - 1 {
            0 => String::new(),
            others => format!(" and {}", counted(others as u64, "other cell")),
        };
        out += &line(Verdict::NotCompared, &format!("{}{others}: {why}", name(cells[0])));
    }
    for note in &findings.notes {
        out += &wrap("note: ", note.split(' '));
    }
    let _ = writeln!(out, "{}: {}", findings.overall().name(), counts(findings));
    if let Some(advice) = advice(findings) {
        out += &wrap("", advice.split(' '));
    }
    out
}

fn line(verdict: Verdict, words: &str) -> String {
    wrap(&format!("{:<13}", verdict.name()), words.split(' '))
}

/// The cells that were not compared, by the reason.
fn not_compared(findings: &Findings) -> BTreeMap<String, Vec<&PlannedCell>> {
    let mut found: BTreeMap<String, Vec<&PlannedCell>> = BTreeMap::new();
    for judged in of_verdict(findings, Verdict::NotCompared) {
        found.entry(in_words(findings, &judged.outcome)).or_default().push(&judged.cell);
    }
    found
}

/// For a comment on a pull request.
pub fn markdown(findings: &Findings) -> String {
    let mut out = format!(
        "### Gate: {}\n\n{} against {}, changes from {} on: {}.\n",
        findings.overall().name(),
        findings.head,
        findings.base,
        percent(findings),
        counts(findings)
    );
    let row = |judged: &Judged| {
        let (ratio, pairs) = match &judged.outcome {
            Outcome::Timed { evidence, .. } => (interval(evidence), evidence.pairs.to_string()),
            _ => (String::new(), String::new()),
        };
        let cells = [judged.outcome.verdict().name().to_owned(), name(&judged.cell), ratio, pairs, in_words(findings, &judged.outcome)];
        format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")).join(" | "))
    };
    const HEAD: &str = "\n| verdict | cell | time, head over base [98 % CI] | pairs | |\n|---|---|--:|--:|---|\n";
    let all = Verdict::ALL.into_iter().flat_map(|verdict| of_verdict(findings, verdict));
    let (told, others): (Vec<&Judged>, Vec<&Judged>) = all.partition(|judged| is_told(&judged.outcome));
    if !told.is_empty() {
        out += HEAD;
        out.extend(told.into_iter().map(row));
    }
    let (passed, others): (Vec<&Judged>, Vec<&Judged>) =
        others.into_iter().partition(|judged| judged.outcome.verdict() != Verdict::NotCompared);
    for (cells, what) in [(passed, "passed"), (others, "not compared")] {
        if !cells.is_empty() {
            out += &format!("\n<details><summary>{} {what}</summary>\n{HEAD}", counted(cells.len() as u64, "cell"));
            out.extend(cells.into_iter().map(row));
            out += "\n</details>\n";
        }
    }
    for note in findings.notes.iter().chain(&advice(findings)) {
        out += &format!("\n{note}\n");
    }
    out
}

/// For a program; `JSON.md` beside the crate describes it.
pub fn json(findings: &Findings) -> Value {
    let cell = |judged: &Judged| {
        let PlannedCell { id, variant, engine, axes, .. } = &judged.cell;
        let mut row = json!({ "id": id, "variant": variant, "engine": engine, "axes": axes, "verdict": judged.outcome.verdict().name() });
        let more = match &judged.outcome {
            Outcome::Timed { stage, evidence, corrected, .. } => {
                let (low, high) = evidence.interval();
                json!({
                    "stage": stage.name(), "pairs": evidence.pairs, "ratio": evidence.ratio(), "ratio_low": finite(low), "ratio_high": finite(high),
                    "p": evidence.p_value, "p_corrected": corrected, "could_see": finite(evidence.seen()),
                })
            }
            other => json!({ "reason": in_words(findings, other) }),
        };
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    };
    json!({
        "verdict": findings.overall().name(), "base": findings.base, "head": findings.head, "experiment": findings.experiment,
        "min_effect": findings.min_effect, "not_compared": findings.count(Verdict::NotCompared), "notes": findings.notes, "cells": findings.judged.iter().map(cell).collect::<Vec<_>>(),
    })
}

/// As test runners have it: a regression is a failure; what could not be told, or was not compared, is skipped.
pub fn junit(findings: &Findings) -> String {
    let failures = findings.count(Verdict::Regressed);
    let skipped = findings.count(Verdict::Inconclusive) + findings.count(Verdict::NotCompared);
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"crossover gate\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">\n",
        findings.judged.len()
    );
    for judged in &findings.judged {
        let words = xml(&in_words(findings, &judged.outcome));
        let inner = match judged.outcome.verdict() {
            Verdict::Regressed => format!("<failure message=\"{words}\"/>"),
            Verdict::Inconclusive | Verdict::NotCompared => format!("<skipped message=\"{words}\"/>"),
            Verdict::Pass | Verdict::Improved => format!("<system-out>{words}</system-out>"),
        };
        let (class, cell) = (xml(&judged.cell.variant), xml(&name(&judged.cell)));
        let _ = writeln!(out, "  <testcase classname=\"{class}\" name=\"{cell}\">{inner}</testcase>");
    }
    out + "</testsuite>\n"
}

fn of_verdict(findings: &Findings, verdict: Verdict) -> impl Iterator<Item = &Judged> {
    findings.judged.iter().filter(move |judged| judged.outcome.verdict() == verdict)
}

/// A cell that was timed and passed needs no line of its own, nor does each that was not compared: these are told by their reasons.
fn is_told(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Timed { verdict: Verdict::Pass, .. }) && outcome.verdict() != Verdict::NotCompared
}

fn counts(findings: &Findings) -> String {
    let verdicts: Vec<Verdict> = findings.judged.iter().map(|judged| judged.outcome.verdict()).collect();
    verdict::counts(&verdicts, "cell")
}

fn percent(findings: &Findings) -> String {
    format!("{:.1} %", 100.0 * findings.min_effect)
}

/// What to do about an answer that is none.
fn advice(findings: &Findings) -> Option<String> {
    let todo = match findings.compared {
        Compared::Builds => "run the gate again on a quieter machine, give it more time (--time-budget), or fewer cells (--filter)",
        Compared::Runs => {
            "take runs of both in the order base, head, head, base, on a quieter machine, more of them or of fewer cells, with a base that works"
        }
    };
    (findings.count(Verdict::Inconclusive) > 0).then(|| format!("Inconclusive is no pass: {todo}."))
}

/// A cell in words.
pub fn name(cell: &PlannedCell) -> String {
    let sizes = ["n", "n_kv", "d_model", "d_in", "classes", "precision", "threads"];
    let shown = sizes.iter().filter_map(|axis| Some(format!("{axis}={}", cell.axes.get(*axis)?)));
    let parts: Vec<String> = [format!("{} on {}", cell.variant, cell.engine)].into_iter().chain(shown).collect();
    parts.join(" ")
}

/// A cell that was not timed, with the reason.
pub fn words(judged: &Judged) -> String {
    format!("{}: {}", name(&judged.cell), said(&judged.outcome, 0.0, Compared::Builds))
}

fn in_words(findings: &Findings, outcome: &Outcome) -> String {
    said(outcome, findings.min_effect, findings.compared)
}

fn said(outcome: &Outcome, min_effect: f64, compared: Compared) -> String {
    match outcome {
        Outcome::Timed { evidence, corrected, verdict, .. } => {
            let change = change(evidence);
            let pairs = counted(evidence.pairs as u64, "pair");
            match verdict {
                Verdict::Inconclusive if evidence.half_width.is_infinite() => format!("{pairs} do not tell"),
                Verdict::Inconclusive => format!(
                    "{change} over {pairs}; a change of {:.1} % is the smallest that it could have seen, and {:.1} % were asked about",
                    100.0 * evidence.seen(),
                    100.0 * min_effect
                ),
                Verdict::Pass | Verdict::NotCompared => format!("{change} over {pairs}"),
                Verdict::Improved | Verdict::Regressed => {
                    let together = match compared {
                        Compared::Builds => "suspects",
                        Compared::Runs => "cells",
                    };
                    format!("{change} over {pairs}, p = {corrected:.1e} over all {together}")
                }
            }
        }
        Outcome::Lost { why } => format!("base has a time for it, head does not: {why}"),
        Outcome::New { why } => format!("new: base has no time for it ({why})"),
        Outcome::Neither { why } => format!("no time in either build: {why}"),
        Outcome::Failed { why, .. } | Outcome::LeftOut { why } => why.clone(),
        Outcome::NoTime { screened: None } => "the time was spent before it was measured".to_owned(),
        Outcome::NoTime { screened: Some(evidence) } => format!(
            "the time was spent; {} of the screening, which decide nothing, say {}, and could have seen {:.1} %",
            counted(evidence.pairs as u64, "pair"),
            change(evidence),
            100.0 * evidence.seen()
        ),
    }
}

/// In percent: +2.1 % [+0.4, +3.8] %.
fn change(evidence: &Evidence) -> String {
    let percent = |ratio: f64| 100.0 * (ratio - 1.0);
    let (low, high) = evidence.interval();
    format!("{:+.1} % [{:+.1}, {:+.1}] %", percent(evidence.ratio()), percent(low), percent(high))
}

fn interval(evidence: &Evidence) -> String {
    let (low, high) = evidence.interval();
    format!("{:.3} [{low:.3}, {high:.3}]", evidence.ratio())
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn xml(text: &str) -> String {
    let escaped = |symbol: char| match symbol {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        // XML 1.0 has no way to write most of them.
        control if control.is_control() => " ".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}
