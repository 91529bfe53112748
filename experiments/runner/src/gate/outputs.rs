//! What a gate of times found, for a terminal, a pull request, a program and a test report.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::commands::text::{counted, wrap};
use crate::plan::PlannedCell;

use super::sheet::{self, Entry, Sheet, table_row};
use super::stages::{Judged, Outcome, Stage};
use super::verdict::{self, Evidence, Verdict, least_figures};
use super::{Compared, Findings};

/// All that is told of it.
pub fn sheet(findings: &Findings) -> Sheet {
    Sheet { text: text(findings), markdown: markdown(findings), json: json(findings), junit: junit(findings) }
}

/// For a terminal of 80 columns: what did not simply pass, what was not compared by its reasons, and the counts.
fn text(findings: &Findings) -> String {
    let mut out = wrap("", headline(findings).split(' '));
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
fn markdown(findings: &Findings) -> String {
    let mut out = format!("### Gate: {}\n\n{}: {}.\n", findings.overall().name(), headline(findings), counts(findings));
    let row = |judged: &Judged| {
        let (ratio, pairs) = match &judged.outcome {
            Outcome::Timed { evidence, .. } => (interval(evidence), evidence.pairs.to_string()),
            _ => (String::new(), String::new()),
        };
        table_row(&[judged.outcome.verdict().name(), &name(&judged.cell), &ratio, &pairs, &in_words(findings, &judged.outcome)])
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
fn json(findings: &Findings) -> Value {
    let cell = |judged: &Judged| {
        let PlannedCell { id, variant, engine, axes, .. } = &judged.cell;
        let mut row = json!({ "id": id, "variant": variant, "engine": engine, "axes": axes, "verdict": judged.outcome.verdict().name() });
        let more = match &judged.outcome {
            Outcome::Timed { stage, evidence, corrected, .. } => {
                let (low, high) = evidence.interval();
                json!({
                    "stage": stage.name(), "pairs": evidence.pairs, "ratio": evidence.ratio(), "ratio_low": finite(low), "ratio_high": finite(high),
                    "p": evidence.p_value, "p_corrected": corrected, "could_see": could_see(*stage, evidence, Terms::of(findings).least),
                })
            }
            Outcome::NoTime { screened: Some(evidence) } => {
                let (low, high) = evidence.interval();
                json!({
                    "reason": in_words(findings, &judged.outcome), "stage": Stage::Screening.name(), "pairs": evidence.pairs,
                    "ratio": evidence.ratio(), "ratio_low": finite(low), "ratio_high": finite(high),
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
        "min_effect": findings.min_effect, "seed": findings.seed, "not_compared": findings.count(Verdict::NotCompared), "notes": findings.notes,
        "advice": advice(findings), "cells": findings.judged.iter().map(cell).collect::<Vec<_>>(),
    })
}

/// For what reads test reports.
fn junit(findings: &Findings) -> String {
    let entry = |judged: &Judged| Entry {
        class: judged.cell.variant.clone(),
        name: name(&judged.cell),
        verdict: judged.outcome.verdict(),
        words: in_words(findings, &judged.outcome),
    };
    sheet::junit("crossover gate", &findings.judged.iter().map(entry).collect::<Vec<_>>())
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

/// What was held against what, how, and what `--seed` takes the same orders again.
fn headline(Findings { base, head, min_effect, seed, .. }: &Findings) -> String {
    let seed = seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
    format!("{head} against {base}, changes from {:.1} % on{seed}", 100.0 * min_effect)
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
    format!("{}: {}", name(&judged.cell), said(&judged.outcome, Terms { min_effect: 0.0, compared: Compared::Builds, least: None }))
}

fn in_words(findings: &Findings, outcome: &Outcome) -> String {
    said(outcome, Terms::of(findings))
}

/// What verdicts are to be read by.
#[derive(Clone, Copy)]
struct Terms {
    min_effect: f64,
    compared: Compared,
    /// With fewer pairs no change is certain, after the correction for the cells that were judged together.
    least: Option<usize>,
}

impl Terms {
    fn of(findings: &Findings) -> Self {
        let is_together = |judged: &&Judged| matches!(judged.outcome, Outcome::Timed { stage: Stage::Confirmation, .. });
        let together = findings.judged.iter().filter(is_together).count();
        Self { min_effect: findings.min_effect, compared: findings.compared, least: least_figures(together) }
    }
}

/// The smallest change that these pairs could have told from none; none where they are too few for any. The screening only excludes changes, of which its
/// interval alone says how large they would have to be.
fn could_see(stage: Stage, evidence: &Evidence, least: Option<usize>) -> Option<f64> {
    let is_enough = stage == Stage::Screening || least.is_some_and(|least| evidence.pairs >= least);
    finite(evidence.seen()).filter(|_| is_enough)
}

fn said(outcome: &Outcome, terms: Terms) -> String {
    match outcome {
        Outcome::Timed { stage, evidence, corrected, verdict } => {
            let change = change(evidence);
            let pairs = counted(evidence.pairs as u64, "pair");
            match verdict {
                Verdict::Inconclusive if evidence.half_width.is_infinite() => format!("{pairs} do not tell"),
                Verdict::Inconclusive => {
                    let seen = match (could_see(*stage, evidence, terms.least), terms.least) {
                        (Some(seen), _) => format!("a change of {:.1} % is the smallest that it could have seen", 100.0 * seen),
                        (None, Some(least)) => format!("of fewer than {least} no change is certain, however large"),
                        (None, None) => "of so many cells none can be certain".to_owned(),
                    };
                    format!("{change} over {pairs}; {seen}, and {:.1} % were asked about", 100.0 * terms.min_effect)
                }
                Verdict::Pass | Verdict::NotCompared => format!("{change} over {pairs}"),
                Verdict::Improved | Verdict::Regressed => {
                    let together = match terms.compared {
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
