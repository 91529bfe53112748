//! What the manifests tell, for the page: runs, machines, noise, ceilings.

use std::collections::BTreeSet;

use polars::prelude::PolarsResult;
use serde_json::{Map, Value, json};

use super::columns::shown;
use crate::answers::Answers;
use crate::reservations::{self, Remark};
use crate::runs::Run;

/// Longest list of experiments in the title.
const NAMED: usize = 3;

/// `Crossover report: quick`, with the experiments' names.
pub(super) fn title(answers: &Answers<'_>) -> String {
    let names: BTreeSet<&str> = answers.runs.iter().map(|run| run.manifest.experiment.as_str()).collect();
    let mut named: Vec<String> = names.iter().take(NAMED).map(|name| shown(name)).collect();
    if names.len() > NAMED {
        named.push(format!("{} more", names.len() - NAMED));
    }
    format!("Crossover report: {}", named.join(", "))
}

/// The fields of the page's object that are about the report as a whole.
pub(super) fn facts(answers: &Answers<'_>, links: &[&str]) -> PolarsResult<Map<String, Value>> {
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| drop(facts.insert(name.to_owned(), value));
    add("problem", visible(json!(answers.roles.problem)));
    add("parameters", visible(json!(answers.roles.parameters)));
    let mut runs = Vec::new();
    for (place, one) in answers.runs.iter().enumerate() {
        runs.push(run(one, &reservations::of_run(answers.runs, &answers.cells, place)?));
    }
    add("runs", Value::from(runs));
    let machines = answers.machines.values().map(|machine| json!(machine));
    add("machines", machines.map(visible).collect());
    add("links", visible(json!(links)));
    Ok(facts)
}

/// `warnings` limit what the figures are worth and stand on top of the page, `remarks` are to be known beside.
fn run(run: &Run, told: &[Remark]) -> Value {
    let of = |warns: bool| told.iter().filter(|remark| remark.warns == warns).map(|remark| remark.text.as_str()).collect::<Vec<_>>();
    let manifest = &run.manifest;
    visible(json!({
        "label": run.label,
        "experiment": manifest.experiment,
        "command": manifest.command,
        "created": manifest.created_unix_ms,
        "resumed": manifest.resumed_unix_ms,
        "planned": manifest.cells_planned,
        "excluded": manifest.excluded,
        "seed": manifest.seed,
        "plan": manifest.plan_hash,
        "machine": manifest.machine.fingerprint,
        "builds": manifest.builds,
        "noise": manifest.noise,
        "floor": run.floor(),
        "warnings": of(true),
        "remarks": of(false),
        "ceilings": run.ceilings.as_ref().and(manifest.ceilings.as_ref()),
        "notes": run.notes,
    }))
}

/// All texts within as the page may show them, keys included.
fn visible(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(values) => values.into_iter().map(visible).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (shown(&name), visible(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_in_keys_or_values() {
        let value = visible(json!({"a\u{202e}": ["x\u{0}", {"b": "\u{200b}"}], "n": 1}));
        assert_eq!(value, json!({"a\\u{202e}": ["x\\u{0}", {"b": "\\u{200b}"}], "n": 1}));
    }
}
