//! From frames to Markdown. The rows, their order and their figures are settled when they come here.

pub(crate) mod accuracy;
pub(crate) mod answer;
pub(crate) mod crossover;
pub(crate) mod engines;
pub(crate) mod equal_cost;
pub(crate) mod failures;
pub(crate) mod family;
pub(crate) mod family_tables;
pub(crate) mod headline;
pub(crate) mod listing;
pub(crate) mod memory;
pub(crate) mod pareto;
pub(crate) mod peers;
pub(crate) mod published;
pub(crate) mod ratio;
pub(crate) mod regime;
pub(crate) mod scaling;
pub(crate) mod speed;
pub(crate) mod summary;
pub(crate) mod unprofitable;

use std::collections::BTreeMap;

use crossover_results::Machine;
use polars::prelude::*;

use crate::answers::Answers;
use crate::frames::order::AxisRoles;
use crate::runs::Run;
use crate::text::markdown::name;
use crate::text::units;

/// What all parts of a report have in common.
pub(crate) struct Context<'a> {
    /// The runs' names, by their place.
    pub(crate) labels: Vec<&'a str>,
    /// The noise floors of the runs, by which verdicts go: by how much a ratio differs from 1 without any reason.
    pub(crate) floors: Vec<f64>,
    /// What is known of the machines, by fingerprint.
    pub(crate) machines: BTreeMap<&'a str, &'a Machine>,
    /// True where cells of more than one machine are reported: tables then say of which.
    pub(crate) several_machines: bool,
    /// Which axes state the problem.
    pub(crate) roles: &'a AxisRoles,
}

impl<'a> Context<'a> {
    /// That of these answers.
    pub(crate) fn of(answers: &'a Answers<'_>) -> PolarsResult<Self> {
        Ok(Self {
            labels: answers.runs.iter().map(|run| run.label.as_str()).collect(),
            floors: answers.runs.iter().map(Run::floor).collect(),
            machines: answers.machines.clone(),
            several_machines: answers.cells.column("machine")?.as_materialized_series().n_unique()? > 1,
            roles: &answers.roles,
        })
    }

    /// A machine in a few words.
    pub(crate) fn machine(&self, fingerprint: &str) -> String {
        let Some(machine) = self.machines.get(fingerprint) else {
            return format!("{}, which no manifest describes", name(fingerprint));
        };
        let model = machine.cpu_model.as_deref().unwrap_or("unknown processor");
        let memory = machine.memory_bytes.map_or_else(String::new, |bytes| format!(", {}", units::bytes(bytes as f64)));
        format!("{}, {}{memory} ({})", name(model), machine.cores(), name(fingerprint))
    }

    /// A run's name.
    pub(crate) fn run(&self, run: Option<i64>) -> String {
        let label = run.and_then(|run| self.labels.get(usize::try_from(run).ok()?));
        label.map_or_else(|| "?".to_owned(), |label| name(label))
    }
}
