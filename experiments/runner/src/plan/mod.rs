//! The plan: from a definition to cells, in groups that are measured together.
//!
//! A cell is a variant, an engine and the values of all axes; its id is a hash of these, without the axes that say nothing at their
//! default ([`SILENT`]). Cells of one group solve the same problem (task, sizes, precision, threads, seed, distribution) and differ in
//! variant, engine and parameters.
//!
//! A plan does not hold its cells: it is the lists of values, and a walk over their product. So a million cells cost a walk and
//! not a gigabyte, at the price of walking twice: once to check and count everything before anything runs, once to run.
//!
//! Where the usual defaults of a variant do not go with the sizes, or where variants are to be compared at equal cost, the axes of a cell
//! take a search (`fit`); everywhere else they are just written down. What a search has found is kept, so that the second walk need not
//! search again: such cells do cost memory, some hundred bytes each. Conditions on what is set come before.
//!
//! The order is the file's: sweeps, then problem and common axes with the first one varying slowest, and inside a group the
//! variants, their parameters and the engines. A cell that an earlier sweep has already is left out.

mod baselines;
mod engine_names;
mod error;
mod fit;
mod grid;
mod identity;
mod selection;
mod walk;

use std::collections::{BTreeMap, HashSet};

use crossover_core::axes::{Axes, AxisValue};
use crossover_protocol::Cell;
use crossover_variants::registry;

use crate::definition::{Definition, Exclude};
use crate::filter::Filter;

pub use error::PlanError;
pub use fit::Match;
pub use identity::{SILENT, cell_id, group_id};
pub use selection::{Override, Selection, Shard};
use walk::Counts;
pub use walk::Groups;

use fit::Fits;
use grid::Grid;

/// One cell to run.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCell {
    /// Hash of variant, engine and axes.
    pub id: String,
    /// Hash of the problem.
    pub group: String,
    /// The experiment's name.
    pub experiment: String,
    /// The variant's family.
    pub family: String,
    /// The variant.
    pub variant: String,
    /// The engine.
    pub engine: String,
    /// Is it what the others of its group are compared with?
    pub baseline: bool,
    /// Every axis, defaults filled in.
    pub axes: Axes,
    /// How it was brought to the cost of the others, where the sweep asks for it.
    pub matched: Option<Match>,
    /// Why it cannot be run although nobody asked for anything wrong: no default of the variant fits these sizes, the baseline has no cost
    /// there that it could match, or a file that it names is not there.
    pub unfit: Option<String>,
}

impl PlannedCell {
    /// The threads that its engine may use.
    pub fn threads(&self) -> u32 {
        self.axes.get("threads").and_then(AxisValue::as_int).and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
    }

    /// As workers are asked for it.
    pub fn wire(&self) -> Cell {
        Cell { id: self.id.clone(), variant: self.variant.clone(), engine: self.engine.clone(), axes: self.axes.clone() }
    }
}

impl PlannedCell {
    /// The task of its variant: the exact function that all of its group compute or approximate.
    pub fn task(&self) -> &str {
        registry::find(&self.variant).map_or(self.family.as_str(), |entry| entry.descriptor.task)
    }
}

/// Cells that solve the same problem and are measured together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Hash of the problem.
    pub id: String,
    /// At least one cell.
    pub cells: Vec<PlannedCell>,
}

/// A checked plan: every cell of it can be asked for.
#[derive(Debug)]
pub struct Plan {
    experiment: String,
    grids: Vec<Grid>,
    filters: Vec<Filter>,
    part: Option<Part>,
    counts: Counts,
    /// What the walks have found out about cells whose axes take a search.
    fits: Fits,
}

/// The groups of one shard.
#[derive(Debug)]
struct Part {
    shard: Shard,
    groups: HashSet<u64>,
}

/// More cells than anybody waits for: at a millisecond each they would take half a day.
const MOST_CANDIDATES: u128 = 50_000_000;

impl Plan {
    /// Lays the definition out over the engines (`ours` are those of our own worker) and checks every cell that is kept.
    pub fn new(definition: &Definition, ours: &[String], selection: Selection) -> Result<Self, PlanError> {
        let grids = grid::lay_out(definition, ours, &selection.set)?;
        let candidates: u128 = grids.iter().map(Grid::candidates).fold(0, u128::saturating_add);
        if candidates > MOST_CANDIDATES {
            return Err(PlanError::TooLarge { experiment: definition.name.clone(), candidates, most: MOST_CANDIDATES });
        }
        let Selection { filters, shard, .. } = selection;
        let known = engine_names::known(definition, ours);
        engine_names::check_spelling(&grids, &filters, &known)?;
        let (counts, fits) = (Counts::default(), Fits::default());
        let mut plan = Self { experiment: definition.name.clone(), grids, filters, part: None, counts, fits };
        plan.counts = walk::count_and_check(&plan)?;
        if plan.counts.cells == 0 {
            engine_names::check_filters(&plan.filters, &known)?;
        }
        match shard {
            Some(shard) => plan.part(shard),
            None => Ok(plan),
        }
    }

    /// One part of the whole plan.
    pub fn part(mut self, shard: Shard) -> Result<Self, PlanError> {
        self.part = Some(Part { shard, groups: shard.deal(walk::group_hashes(&self)) });
        self.counts = walk::count_and_check(&self)?;
        Ok(self)
    }

    /// The experiment's name.
    pub fn experiment(&self) -> &str {
        &self.experiment
    }

    /// How many cells there are.
    pub fn cell_count(&self) -> u64 {
        self.counts.cells
    }

    /// How many groups there are.
    pub fn group_count(&self) -> u64 {
        self.counts.groups
    }

    /// How many cells the experiment leaves out, by its reason; none where a reason holds for no cell.
    pub fn excluded(&self) -> &BTreeMap<String, u64> {
        &self.counts.excluded
    }

    /// What took the cells of a plan that has none; nothing where it has some.
    pub fn why_empty(&self) -> Option<String> {
        let Counts { cells, excluded, removed, .. } = &self.counts;
        if *cells > 0 {
            return None;
        }
        let took = |count: u64, what: &str| (count > 0).then(|| format!("{what} {count}"));
        let parts = [
            took(removed.when, "`when` takes"),
            took(removed.filter, "--filter takes"),
            took(excluded.values().sum(), if self.has_engine_files() { "`exclude` and the engine files take" } else { "`exclude` takes" }),
            self.part.as_ref().map(|part| format!("there are fewer groups than the parts of --shard {}", part.shard)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Some(format!("no cell is left: {}", parts.join(", ")))
    }

    /// Does an engine file say what its engines support?
    fn has_engine_files(&self) -> bool {
        self.grids.iter().flat_map(|grid| &grid.excludes).any(Exclude::is_of_engine)
    }

    /// What is missing where every cell wants a file that is not there: nothing could be run at all.
    pub fn missing_file(&self) -> Option<&str> {
        let cells: u64 = self.counts.without_file.values().sum();
        self.counts.without_file.keys().next().filter(|_| cells == self.counts.cells).map(String::as_str)
    }

    /// The groups, one at a time.
    pub fn groups(&self) -> Groups<'_> {
        Groups::new(self)
    }
}

#[cfg(test)]
mod engine_file_tests;
#[cfg(test)]
mod language_tests;
#[cfg(test)]
mod matched_tests;
#[cfg(test)]
mod tests;
