//! A definition as the rest of the runner sees it: every name known, every number in its range.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crossover_core::axes::AxisValue;
use crossover_variants::descriptor::Descriptor;
use crossover_variants::matching::MatchMode;

use crate::filter::{Filter, Row};
use crate::series::Wanted;

/// One experiment.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The file it was read from.
    pub file: PathBuf,
    /// Its name, fit for a folder.
    pub name: String,
    /// The question that it answers.
    pub description: String,
    /// Seeds the order in which cells are interleaved.
    pub seed: u64,
    /// Axis values for every sweep, for the variants that have the axis.
    pub defaults: Vec<AxisSetting>,
    /// The grids.
    pub sweeps: Vec<Sweep>,
    /// How to measure.
    pub measure: Measure,
    /// Engines in other processes than ours, by the engine's name.
    pub workers: BTreeMap<String, WorkerCommand>,
}

/// One grid of cells.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Where it stands, for messages: `quick.toml:12`.
    pub place: String,
    /// The variants, in the order of the file.
    pub variants: Vec<&'static Descriptor>,
    /// The engines, in the order of the file.
    pub engines: Vec<EngineChoice>,
    /// The variants that the others are compared with, at most one for each task.
    pub baselines: Vec<&'static str>,
    /// Of the cells of a baseline, those for which this holds are what the others are compared with: where the question is about an axis.
    pub baseline_when: Option<Filter>,
    /// What the variants are to cost alike, where they are.
    pub matching: Option<Matching>,
    /// The axes: those of its bases, then its own, in the order of the file.
    pub axes: Vec<AxisSetting>,
    /// Points for which this does not hold are no part of the sweep. Variants that lack one of its axes are not concerned.
    pub when: Option<Filter>,
    /// Cells that somebody might miss, and why they are left out.
    pub excludes: Vec<Exclude>,
}

/// Cells that are left out although the sweep spans them.
#[derive(Debug, Clone)]
pub struct Exclude {
    /// Which.
    pub rule: Rule,
    /// Why, for people.
    pub because: String,
}

/// Which cells are left out.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Those for which this holds.
    When(Filter),
    /// Those of these engines that are beyond what their file says they support.
    Beyond {
        /// The engines of the file.
        engines: Vec<String>,
        /// What they support.
        support: Support,
    },
}

/// One thing that an engine file says of what its engines support.
#[derive(Debug, Clone)]
pub enum Support {
    /// These variants.
    Variants(Vec<&'static str>),
    /// These precisions, as cells spell them.
    Precisions(Vec<String>),
    /// Cells for which this holds, or that lack an axis which it looks at.
    When(Filter),
}

impl Exclude {
    /// Is this cell left out?
    pub fn takes(&self, row: &Row<'_>) -> bool {
        match &self.rule {
            Rule::When(filter) => filter.keeps(row),
            Rule::Beyond { engines, support } => engines.iter().any(|engine| engine == row.engine) && !support.has(row),
        }
    }

    /// The condition that somebody wrote.
    pub fn condition(&self) -> Option<&Filter> {
        match &self.rule {
            Rule::When(filter) | Rule::Beyond { support: Support::When(filter), .. } => Some(filter),
            Rule::Beyond { .. } => None,
        }
    }

    /// Does an engine file leave it out, and not the experiment?
    pub fn is_of_engine(&self) -> bool {
        matches!(self.rule, Rule::Beyond { .. })
    }
}

impl Support {
    fn has(&self, row: &Row<'_>) -> bool {
        match self {
            Self::Variants(names) => names.contains(&row.variant),
            Self::Precisions(names) => {
                row.axes.get("precision").and_then(AxisValue::as_text).is_some_and(|precision| names.iter().any(|name| name == precision))
            }
            Self::When(filter) => filter.admits(row),
        }
    }
}

/// Variants of one sweep compared at equal cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// What is made equal.
    pub mode: MatchMode,
    /// The share of the baseline's cost that every other variant is to have.
    pub share: f64,
    /// Where it was asked for.
    pub place: String,
}

/// One entry of a sweep's `engines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineChoice {
    /// `"*"`: every engine of our own worker.
    Ours,
    /// One engine, and where it was named.
    Named {
        /// Its name.
        name: String,
        /// Where it was named.
        place: String,
    },
}

/// The values of one axis, or of several that go hand in hand, as given; whether they fit is up to each variant.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisSetting {
    /// The axis; several of them take their values together and not in all combinations.
    pub names: Vec<String>,
    /// A value for each of the axes: one such point where they are fixed.
    pub points: Vec<Vec<Wanted>>,
    /// Where they were given: `quick.toml:14:1` or `--set n=1,2`.
    pub place: String,
}

impl AxisSetting {
    /// One axis.
    pub fn single(name: &str, values: impl IntoIterator<Item = Wanted>, place: String) -> Self {
        Self { names: vec![name.to_owned()], points: values.into_iter().map(|value| vec![value]).collect(), place }
    }

    /// The values of one of its axes; none where it says nothing about it.
    pub fn values_of(&self, name: &str) -> impl Iterator<Item = &Wanted> {
        let at = self.names.iter().position(|known| known == name);
        self.points.iter().filter_map(move |point| point.get(at?))
    }

    /// Without that axis; `None` where nothing is left.
    fn without(mut self, name: &str) -> Option<Self> {
        let Some(at) = self.names.iter().position(|known| known == name) else { return Some(self) };
        self.names.remove(at);
        self.points.iter_mut().for_each(|point| drop(point.remove(at)));
        let mut kept: Vec<Vec<Wanted>> = Vec::new();
        self.points.into_iter().for_each(|point| {
            if !kept.contains(&point) {
                kept.push(point)
            }
        });
        (!self.names.is_empty()).then_some(Self { points: kept, ..self })
    }

    /// These settings where they say nothing about the new one's axes, and the new one: in the place of an old one of the very same axes,
    /// else at the end.
    pub fn over(settings: Vec<Self>, new: Self) -> Vec<Self> {
        let same = settings.iter().position(|old| old.names == new.names);
        let mut kept = Vec::with_capacity(settings.len() + 1);
        for (at, old) in settings.into_iter().enumerate() {
            if Some(at) == same {
                kept.push(new.clone());
            } else {
                kept.extend(new.names.iter().try_fold(old, |old, name| old.without(name)));
            }
        }
        if same.is_none() {
            kept.push(new);
        }
        kept
    }
}

/// How cells are measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Stop when the confidence interval's half-width is below this share of the median.
    pub half_width: f64,
    /// Samples to take at least.
    pub min_samples: u32,
    /// Time to spend on the samples of one cell at most.
    pub cell_budget: Duration,
    /// How long a sample should take: short calls are repeated until they fill it.
    pub sample_time: Duration,
    /// A worker that needs longer for one answer is killed.
    pub step_timeout: Duration,
    /// The same for the engines that have a limit of their own.
    pub engine_timeouts: BTreeMap<String, Duration>,
    /// Workers that are kept alive at once: enough for a whole group, so that all of its cells are measured in turns with each other and with
    /// the baseline that they are compared with. Memory may allow fewer.
    pub live_workers: usize,
    /// Memory that one worker may take, in bytes.
    pub memory_limit: Option<u64>,
    /// Memory that all workers that live at once are predicted to take at most, in bytes; most of what is available where none is given.
    pub memory_budget: Option<u64>,
    /// Is each worker kept on as many cores as it has threads, the first ones that it may use?
    pub pin: bool,
}

impl Measure {
    /// How long the worker of an engine may take for one answer.
    pub fn deadline(&self, engine: &str) -> Duration {
        self.engine_timeouts.get(engine).copied().unwrap_or(self.step_timeout)
    }
}

impl Default for Measure {
    fn default() -> Self {
        Self {
            half_width: 0.02,
            min_samples: 10,
            cell_budget: Duration::from_secs(1),
            sample_time: Duration::from_micros(100),
            step_timeout: Duration::from_secs(60),
            engine_timeouts: BTreeMap::new(),
            live_workers: 128,
            memory_limit: None,
            memory_budget: None,
            pin: false,
        }
    }
}

/// How an engine's worker is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerCommand {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// The folder that it is started in, where that is not the runner's own.
    pub folder: Option<PathBuf>,
    /// How long it may take for one answer, where that is not what the experiment says.
    pub step_timeout: Option<Duration>,
    /// Where it was named, for messages.
    pub place: String,
}
