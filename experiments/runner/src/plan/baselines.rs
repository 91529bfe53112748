//! What `baseline_when` chooses: in each group one cell an engine, and at least somewhere.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crossover_core::axes::Axes;

use super::Plan;
use super::error::PlanError;
use super::grid::{Dimension, Grid, Member};
use super::identity::group_hash;
use super::selection::ON_THE_COMMAND_LINE;

/// The groups, by engine, of which the baseline has been met, each with the place of its sweep.
#[derive(Debug, Default)]
pub(super) struct Chosen(HashMap<u64, String>);

impl Chosen {
    /// Notes a baseline that `baseline_when` means; a second one of its group is refused.
    pub(super) fn add(&mut self, grid: &Grid, member: &Member, engine: &str, axes: &Axes) -> Result<(), PlanError> {
        let group = group_hash(&mut String::new(), member.entry.descriptor.task, &grid.group_axes, axes);
        let mut hasher = DefaultHasher::new();
        (group, engine).hash(&mut hasher);
        let earlier = match self.0.entry(hasher.finish()) {
            Entry::Vacant(vacant) => {
                vacant.insert(grid.place.clone());
                return Ok(());
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        let given = member.inner.iter().flat_map(|dimension| &dimension.axes);
        let given: Vec<String> = given.filter_map(|axis| Some(format!("{axis} = {}", axes.get(*axis)?))).collect();
        let (place, engine, axes) = (grid.place.clone(), engine.to_owned(), given.join(", "));
        match *earlier == place {
            true => Err(PlanError::SeveralBaselines { place, engine, axes }),
            false => Err(PlanError::BaselineElsewhere { place, engine, axes, other: earlier.clone() }),
        }
    }
}

/// A `baseline_when` that holds nowhere is a slip of the pen, unless options left its cells out. `met` are the places of the sweeps that
/// have a baseline.
pub(super) fn expect_somewhere(plan: &Plan, met: &HashSet<String>) -> Result<(), PlanError> {
    let set = |dimension: &Dimension| dimension.place.starts_with(ON_THE_COMMAND_LINE);
    let is_whole = |grid: &Grid| {
        let mut inner = grid.members.iter().flat_map(|member| &member.inner);
        plan.filters.is_empty() && plan.part.is_none() && !grid.outer.iter().any(set) && !inner.any(set)
    };
    let asks = |grid: &&Grid| grid.baseline_when.is_some() && grid.members.iter().any(|member| member.baseline);
    match plan.grids.iter().filter(asks).find(|grid| is_whole(grid) && !met.contains(&grid.place)) {
        Some(grid) => Err(PlanError::NowhereBaseline { place: grid.place.clone() }),
        None => Ok(()),
    }
}
