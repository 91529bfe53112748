//! `crossover plan`: the cells of an experiment, without running any. `JSON.md` beside the crate describes the JSON.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::matching::NEAR;
use serde_json::json;

use crate::cli::PlanArgs;
use crate::definition::{self, EngineFile, Measure};
use crate::paths;
use crate::plan::{Group, Match, Plan, PlannedCell};
use crate::progress::{Estimate, WEIGHED, Weight, rough};

use super::text::{counted, wrap};
use super::{expect_cells, expect_files, own_worker, print, print_json, processors};

/// Runs the command.
pub fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let selection = args.selection.selection()?;
    let mut definition = definition::load(&paths::experiment_file(&args.experiment)?)?;
    for file in &args.engines.engine_files {
        definition = definition.with_engine(&EngineFile::load(file)?)?;
    }
    let plan = Plan::new(&definition, &own_worker::engine_names()?, selection)?;
    expect_cells(&plan)?;
    expect_files(&plan)?;
    let time = predicted(&plan, &definition.measure);
    match (args.count, args.json) {
        (true, true) => print_json(&json!({
            "experiment": plan.experiment(), "groups": plan.group_count(), "cells": plan.cell_count(), "predicted_s": time.as_secs(),
        }))?,
        (true, false) => print(|out| writeln!(out, "{}", summary(&plan, time)))?,
        (false, true) => print(|out| as_json(out, &plan, time))?,
        (false, false) => print(|out| as_text(out, &plan, time))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a run is predicted to take, by the cost model alone. `run` corrects it as cells finish. In a large plan, evenly spread groups stand
/// for all.
fn predicted(plan: &Plan, measure: &Measure) -> Duration {
    let every = plan.cell_count().div_ceil(WEIGHED).max(1) as usize;
    let (mut estimate, mut weighed) = (Estimate::new(measure), 0u64);
    for cell in plan.groups().step_by(every).flat_map(|group| group.cells) {
        weighed += 1;
        if skipped(&cell).is_none() {
            estimate.expect(&Weight::of(&cell.variant, &cell.engine, &cell.axes));
        }
    }
    let scale = plan.cell_count() as f64 / weighed.max(1) as f64;
    Duration::try_from_secs_f64(estimate.left().as_secs_f64() * scale).unwrap_or(Duration::MAX)
}

fn summary(plan: &Plan, time: Duration) -> String {
    let (cells, groups) = (counted(plan.cell_count(), "cell"), counted(plan.group_count(), "group"));
    format!("{}: {cells} in {groups}, predicted to take {}", plan.experiment(), rough(time))
}

/// What a group shares as its heading, then a line for each cell with what is its own.
fn as_text(out: &mut dyn Write, plan: &Plan, time: Duration) -> io::Result<()> {
    for group in plan.groups() {
        let shared = shared_axes(&group);
        let words: Vec<String> = shared.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let task = group.cells.first().map_or("", PlannedCell::task);
        out.write_all(wrap(&format!("{task} "), words.iter().map(String::as_str)).as_bytes())?;
        for cell in &group.cells {
            let own: Vec<String> =
                cell.axes.iter().filter(|(name, _)| !shared.contains_key(*name)).map(|(name, value)| format!("{name}={value}")).collect();
            let marks = marks(cell);
            let words = [cell.variant.as_str(), cell.engine.as_str()]
                .into_iter()
                .chain(own.iter().map(String::as_str))
                .chain(marks.iter().flat_map(|mark| mark.split(' ')));
            out.write_all(wrap(&format!("  {} ", cell.id), words).as_bytes())?;
        }
    }
    for (because, cells) in plan.excluded() {
        out.write_all(wrap(&format!("left out: {}: ", counted(*cells, "cell")), because.split(' ')).as_bytes())?;
    }
    writeln!(out, "{}", summary(plan, time))
}

/// What is to be known about a cell beside its axes.
fn marks(cell: &PlannedCell) -> Vec<String> {
    let mut marks = Vec::new();
    if cell.baseline {
        marks.push("(baseline)".to_owned());
    }
    if let Some(matched) = &cell.matched {
        marks.push(told(matched));
    }
    marks.extend(skipped(cell).map(|reason| format!("(skipped: {reason})")));
    marks
}

/// Why a cell is not run, where that is known beforehand.
fn skipped(cell: &PlannedCell) -> Option<String> {
    let crowded = || format!("{} threads are more than the {} processors here", cell.threads(), processors());
    cell.unfit.clone().or_else(|| (cell.threads() > processors()).then(crowded))
}

fn told(matched: &Match) -> String {
    let (mode, off) = (matched.mode.name(), 100.0 * matched.deviation());
    let asked = if matched.share == 1.0 { format!("equal {mode}") } else { format!("{} of the baseline's {mode}", matched.share) };
    match &matched.knob {
        Ok(knob) if off.abs() > 100.0 * NEAR => format!("({knob} for {asked}, and still {off:+.1} % off)"),
        Ok(knob) => format!("({knob} for {asked}, {off:+.1} %)"),
        Err(why) => format!("(unmatched: {why}; {off:+.1} % off {asked})"),
    }
}

/// The axes that all cells of a group have with the same value.
fn shared_axes(group: &Group) -> Axes {
    let Some((first, others)) = group.cells.split_first() else { return Axes::new() };
    let everywhere = |(name, value): &(&String, &AxisValue)| others.iter().all(|cell| cell.axes.get(*name) == Some(*value));
    first.axes.iter().filter(everywhere).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// One object; each cell on a line of its own, written as it comes.
fn as_json(out: &mut dyn Write, plan: &Plan, time: Duration) -> io::Result<()> {
    let (name, groups, cells, time) = (serde_json::to_string(plan.experiment())?, plan.group_count(), plan.cell_count(), time.as_secs());
    writeln!(out, "{{\"experiment\":{name},\"groups\":{groups},\"cells\":{cells},\"predicted_s\":{time},\"plan\":[")?;
    let mut separator = "";
    for cell in plan.groups().flat_map(|group| group.cells) {
        let row = json!({
            "id": cell.id, "group": cell.group, "family": cell.family, "variant": cell.variant, "engine": cell.engine,
            "baseline": cell.baseline, "axes": cell.axes, "match": cell.matched.as_ref().map(match_row), "unfit": cell.unfit,
        });
        write!(out, "{separator}{row}")?;
        separator = ",\n";
    }
    writeln!(out, "\n]}}")
}

fn match_row(matched: &Match) -> serde_json::Value {
    let (knob, why) = match &matched.knob {
        Ok(knob) => (Some(*knob), None),
        Err(why) => (None, Some(why)),
    };
    json!({
        "mode": matched.mode.name(), "share": matched.share, "target": matched.target, "cost": matched.cost,
        "parameter": knob, "unmatched": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Selection;
    use std::path::Path;

    fn small() -> Plan {
        let text = "name = 'small'\n[[sweep]]\nvariants = ['norm/layer-norm', 'norm/none']\nengines = ['naive']\nbaseline = 'norm/none'\n\
                    [sweep.axes]\nn = [2, 4]\neps = [1e-5, 1e-6]\n";
        let definition = definition::parse(Path::new("small.toml"), text).unwrap();
        Plan::new(&definition, &["naive".to_owned()], Selection::default()).unwrap()
    }

    #[test]
    fn a_plan_reads_like_this() {
        let mut text = Vec::new();
        as_text(&mut text, &small(), Duration::from_secs(300)).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text, @"
        norm batch=1 cache=warm d_model=768 depth=12 distribution=gaussian isa=auto n=2
             position=plain precision=f32 seed=1 threads=1
          241b8f0eec77a2ba norm/layer-norm naive eps=1e-5
          7e5726e2ccaaaf61 norm/layer-norm naive eps=1e-6
          04511d4e73b150dd norm/none naive (baseline)
        norm batch=1 cache=warm d_model=768 depth=12 distribution=gaussian isa=auto n=4
             position=plain precision=f32 seed=1 threads=1
          b2005cb006466b12 norm/layer-norm naive eps=1e-5
          8bc7078152a4fa9a norm/layer-norm naive eps=1e-6
          1b5efdcf063cf611 norm/none naive (baseline)
        small: 6 cells in 2 groups, predicted to take 5 min
        ");
    }

    #[test]
    fn a_matched_plan_says_what_was_turned_and_what_is_off() {
        let text = "name = 'matched'\n[[sweep]]\nvariants = ['linear/dense', 'linear/low-rank', 'linear/monarch', 'linear/ternary']\n\
                    engines = ['naive']\nbaseline = 'linear/dense'\nmatch = 'parameters'\nmatch_share = 0.25\n\
                    [sweep.axes]\nd_in = 24\nd_out = 40\n";
        let definition = definition::parse(Path::new("matched.toml"), text).unwrap();
        let plan = Plan::new(&definition, &["naive".to_owned()], Selection::default()).unwrap();
        let mut text = Vec::new();
        as_text(&mut text, &plan, Duration::from_secs(2)).unwrap();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @"
        linear activation=none batch=1 cache=warm d_in=24 d_out=40 distribution=gaussian
               isa=auto n=128 precision=f32 seed=1 threads=1
          db8b7112b213e3c7 linear/dense naive (baseline)
          1137890adfce096b linear/low-rank naive rank=4 split=balanced (rank for 0.25 of
                           the baseline's parameters, and still +6.7 % off)
          ee3ab82da994f4eb linear/monarch naive blocks=4 (blocks for 0.25 of the
                           baseline's parameters, and still +6.7 % off)
          05f460dbb1b4ed34 linear/ternary naive (unmatched: no parameter of it sets its
                           parameters; +300.0 % off 0.25 of the baseline's parameters)
        matched: 4 cells in 1 group, predicted to take 2 s
        ");
        let mut text = Vec::new();
        as_json(&mut text, &plan, Duration::from_secs(2)).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(parsed["plan"][0]["match"], serde_json::Value::Null);
        let expected = json!({ "mode": "parameters", "share": 0.25, "target": 240, "cost": 256, "parameter": "rank", "unmatched": null });
        assert_eq!(parsed["plan"][1]["match"], expected);
    }

    #[test]
    fn the_json_is_one_document_with_the_documented_fields() {
        let mut text = Vec::new();
        as_json(&mut text, &small(), predicted(&small(), &Measure::default())).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(parsed["experiment"], "small");
        assert_eq!(parsed["cells"], parsed["plan"].as_array().unwrap().len());
        // Six cells of a second of samples each, and the start of their workers.
        assert_eq!(parsed["predicted_s"], 6);
        let cell = &parsed["plan"][0];
        assert_eq!((cell["id"].as_str().unwrap().len(), cell["group"].as_str().unwrap().len()), (16, 16));
        assert_eq!(cell["axes"]["n"], 2);
    }
}
