//! What a gate found, for a terminal, a pull request, a program and a test report.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::commands::text::{counted, wrap};
use crate::plan::PlannedCell;

use super::Findings;
use super::stages::{Judged, Outcome};
use super::verdict::{Evidence, Verdict};

/// Verdicts in the order in which they are told.
const ORDER: [Verdict; 4] = [Verdict::Regressed, Verdict::Inconclusive, Verdict::Improved, Verdict::Pass];

/// For a terminal of 80 columns: what did not simply pass, and the counts.
pub fn text(findings: &Findings) -> String {
    let mut out = wrap("", format!("{} against {}, changes from {} on", findings.head, findings.base, percent(findings)).split(' '));
    for verdict in ORDER {
        let told = findings.judged.iter().filter(|judged| judged.outcome.verdict() == verdict && is_told(&judged.outcome));
        for judged in told {
            let words = format!("{}: {}", name(&judged.cell), said(&judged.outcome, findings.min_effect));
            out += &wrap(&format!("{:<13}", verdict.name()), words.split(' '));
        }
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
        let cells =
            [judged.outcome.verdict().name().to_owned(), name(&judged.cell), ratio, pairs, said(&judged.outcome, findings.min_effect)];
        format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")).join(" | "))
    };
    const HEAD: &str = "\n| verdict | cell | time, head over base [95 % CI] | pairs | |\n|---|---|--:|--:|---|\n";
    let of = |told: bool| {
        ORDER.into_iter().flat_map(move |verdict| of_verdict(findings, verdict).filter(move |judged| is_told(&judged.outcome) == told))
    };
    if of(true).next().is_some() {
        out += HEAD;
        out.extend(of(true).map(row));
    }
    if of(false).next().is_some() {
        out += &format!("\n<details><summary>{} passed</summary>\n{HEAD}", counted(of(false).count() as u64, "cell"));
        out.extend(of(false).map(row));
        out += "\n</details>\n";
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
            other => json!({ "reason": said(other, findings.min_effect) }),
        };
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    };
    json!({
        "verdict": findings.overall().name(), "base": findings.base, "head": findings.head, "experiment": findings.experiment,
        "min_effect": findings.min_effect, "notes": findings.notes, "cells": findings.judged.iter().map(cell).collect::<Vec<_>>(),
    })
}

/// As test runners have it: a regression is a failure, what could not be told is skipped.
pub fn junit(findings: &Findings) -> String {
    let (failures, skipped) = (findings.count(Verdict::Regressed), findings.count(Verdict::Inconclusive));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"crossover gate\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\">\n",
        findings.judged.len()
    );
    for judged in &findings.judged {
        let words = xml(&said(&judged.outcome, findings.min_effect));
        let inner = match judged.outcome.verdict() {
            Verdict::Regressed => format!("<failure message=\"{words}\"/>"),
            Verdict::Inconclusive => format!("<skipped message=\"{words}\"/>"),
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

/// A cell that was timed and passed needs no line of its own.
fn is_told(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Timed { verdict: Verdict::Pass, .. } | Outcome::Neither { .. })
}

fn counts(findings: &Findings) -> String {
    let told = ORDER.into_iter().map(|verdict| (findings.count(verdict), verdict.name())).filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, name)| format!("{count} {name}")).collect();
    format!("{} of {}", told.join(", "), counted(findings.judged.len() as u64, "cell"))
}

fn percent(findings: &Findings) -> String {
    format!("{:.1} %", 100.0 * findings.min_effect)
}

/// What to do about an answer that is none.
fn advice(findings: &Findings) -> Option<String> {
    (findings.count(Verdict::Inconclusive) > 0).then(|| {
        "Inconclusive is no pass: run the gate again on a quieter machine, give it more time (--time-budget), or fewer cells (--filter).".to_owned()
    })
}

/// A cell in words.
pub fn name(cell: &PlannedCell) -> String {
    let sizes = ["n", "n_kv", "d_model", "d_in", "classes", "precision", "threads"];
    let shown = sizes.iter().filter_map(|axis| Some(format!("{axis}={}", cell.axes.get(*axis)?)));
    let parts: Vec<String> = [format!("{} on {}", cell.variant, cell.engine)].into_iter().chain(shown).collect();
    parts.join(" ")
}

fn said(outcome: &Outcome, min_effect: f64) -> String {
    match outcome {
        Outcome::Timed { evidence, corrected, verdict, .. } => {
            let share = 100.0 * (evidence.ratio() - 1.0);
            let (low, high) = evidence.interval();
            let ends = format!("[{:+.1}, {:+.1}] %", 100.0 * (low - 1.0), 100.0 * (high - 1.0));
            let pairs = counted(evidence.pairs as u64, "pair");
            match verdict {
                Verdict::Inconclusive if evidence.half_width.is_infinite() => format!("{pairs} do not tell"),
                Verdict::Inconclusive => format!(
                    "{share:+.1} % {ends} over {pairs}; a change of {:.1} % is the smallest that it could have seen, and {:.1} % were asked about",
                    100.0 * evidence.seen(),
                    100.0 * min_effect
                ),
                Verdict::Pass => format!("{share:+.1} % {ends} over {pairs}"),
                Verdict::Improved | Verdict::Regressed => {
                    format!("{share:+.1} % {ends} over {pairs}, p = {corrected:.1e} over all suspects")
                }
            }
        }
        Outcome::Lost { why } => format!("base has a time for it, head does not: {why}"),
        Outcome::New { why } => format!("new: base has no time for it ({why})"),
        Outcome::Neither { why } => format!("no time in either build: {why}"),
        Outcome::NoTime => "the time was spent before it was measured".to_owned(),
    }
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
