//! Walking over the product of all lists: the one place that visits cells.
//!
//! The walk keeps one row of axes for each variant and overwrites values in place, so that a step costs a few map look-ups and no
//! allocation; ids are hashed only where somebody needs them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::resolve::{AxisError, is_named, resolve};

use crate::definition::Exclude;
use crate::filter::{Filter, Row};

use super::baselines::{Chosen, expect_somewhere};
use super::error::PlanError;
use super::fit::{Fit, Point};
use super::grid::{Dimension, Grid, Member, follow, place};
use super::identity::{cell_hash, group_hash, hex};
use super::selection::ON_THE_COMMAND_LINE;
use super::{Group, Plan, PlannedCell};

/// The groups of a plan, one at a time.
pub struct Groups<'a>(Walk<'a>);

impl<'a> Groups<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self(Walk::new(plan))
    }
}

impl Iterator for Groups<'_> {
    type Item = Group;

    fn next(&mut self) -> Option<Group> {
        let plan = self.0.plan;
        let mut text = String::new();
        loop {
            let mut cells = Vec::new();
            let found = self.0.next_group(&mut |candidate| {
                if candidate.excluded(plan).is_some() {
                    return Ok(());
                }
                let descriptor = candidate.member.entry.descriptor;
                cells.push(PlannedCell {
                    id: hex(cell_hash(&mut text, descriptor.name, candidate.engine, candidate.axes)),
                    group: String::new(),
                    experiment: plan.experiment.clone(),
                    family: descriptor.family().to_owned(),
                    variant: descriptor.name.to_owned(),
                    engine: candidate.engine.to_owned(),
                    baseline: candidate.row(plan).baseline,
                    axes: candidate.axes.clone(),
                    matched: candidate.fit.matched.clone(),
                    unfit: candidate.fit.unfit.clone().or_else(|| candidate.missing.clone()),
                });
                Ok(())
            });
            // The visitor above refuses nothing.
            if !matches!(found, Ok(true)) {
                return None;
            }
            if !cells.is_empty() {
                let id = hex(self.0.group_hash());
                cells.iter_mut().for_each(|cell| cell.group.clone_from(&id));
                return Some(Group { id, cells });
            }
        }
    }
}

/// What a walk over everything finds.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) groups: u64,
    pub(super) cells: u64,
    /// Cells that are left out, by the reason.
    pub(super) excluded: BTreeMap<String, u64>,
    /// Cells that its conditions keep out, in each sweep by the first that removes them.
    pub(super) removed: Removed,
    /// Cells that want a file which is not there, by what is missing.
    pub(super) without_file: BTreeMap<String, u64>,
}

/// How many cells each kind of condition removes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Removed {
    /// `when` of a sweep.
    pub(super) when: u64,
    /// `--filter`.
    pub(super) filter: u64,
}

/// The hashes of the groups that have a cell.
pub(super) fn group_hashes(plan: &Plan) -> BTreeSet<u64> {
    let (mut walk, mut hashes) = (Walk::new(plan), BTreeSet::new());
    loop {
        let mut has_cells = false;
        let found = walk.next_group(&mut |candidate| {
            has_cells |= candidate.excluded(plan).is_none();
            Ok(())
        });
        // The visitor above refuses nothing.
        if !matches!(found, Ok(true)) {
            return hashes;
        }
        if has_cells {
            hashes.insert(walk.group_hash());
        }
    }
}

/// Counts groups and cells of a plan, each cell checked.
pub(super) fn count_and_check(plan: &Plan) -> Result<Counts, PlanError> {
    // Also the reasons for which nothing is left out in the end.
    let reasons = plan.grids.iter().flat_map(|grid| grid.excludes.iter()).filter(|exclude| !exclude.is_of_engine());
    let reasons = reasons.map(|exclude| (exclude.because.clone(), 0));
    let mut counts = Counts { excluded: reasons.collect(), ..Counts::default() };
    let mut walk = Walk::new(plan);
    let mut chosen = Chosen::default();
    loop {
        let mut here = 0;
        let found = walk.next_group(&mut |candidate| {
            if let Some(exclude) = candidate.excluded(plan) {
                *counts.excluded.entry(exclude.because.clone()).or_default() += 1;
                return Ok(());
            }
            here += 1;
            if candidate.grid.baseline_when.is_some() && candidate.row(plan).baseline {
                chosen.add(candidate.grid, candidate.member, candidate.engine, candidate.axes)?;
            }
            if let Some(missing) = &candidate.missing {
                *counts.without_file.entry(missing.clone()).or_default() += 1;
            }
            candidate.check().map_err(|(place, fault)| {
                let experiment = plan.experiment.clone();
                PlanError::BadCell { place, experiment, source: Box::new(fault) }
            })
        })?;
        if !found {
            expect_somewhere(plan, &walk.passed.with_baseline)?;
            return Ok(Counts { removed: walk.passed.removed, ..counts });
        }
        counts.cells += here;
        counts.groups += u64::from(here > 0);
    }
}

/// A cell that the filter kept and that has not been there before.
struct Candidate<'a> {
    grid: &'a Grid,
    member: &'a Member,
    engine: &'a str,
    axes: &'a Axes,
    fit: &'a Fit,
    missing: &'a Option<String>,
    outer: &'a [usize],
    inner: &'a [usize],
}

impl Candidate<'_> {
    /// The reason for which the sweep leaves it out.
    fn excluded(&self, plan: &Plan) -> Option<&Exclude> {
        self.grid.excludes.iter().find(|exclude| exclude.takes(&self.row(plan)))
    }

    /// What filters see.
    fn row<'p>(&'p self, plan: &'p Plan) -> Row<'p> {
        shown(plan, self.grid, self.member, self.engine, self.axes)
    }

    /// Can it be run? Otherwise where it was asked for, and why not.
    fn check(&self) -> Result<(), (String, AxisError)> {
        let outer = self.grid.outer.iter().zip(self.outer);
        for (dimension, &digit) in outer.chain(self.member.inner.iter().zip(self.inner)) {
            if let Some(fault) = dimension.points[digit].iter().find_map(|value| value.fault.as_ref()) {
                return Err((dimension.place.clone(), fault.clone()));
            }
        }
        if let Some(fault) = &self.fit.fault {
            return Err((self.place_of(fault), fault.clone()));
        }
        if self.fit.unfit.is_some() {
            return Ok(());
        }
        let descriptor = self.member.entry.descriptor;
        if self.member.sizes_fit && descriptor.conditions.iter().all(|condition| (condition.holds)(self.axes)) {
            return Ok(());
        }
        resolve(descriptor, self.axes).map(drop).map_err(|error| (self.place_of(&error), error))
    }

    /// Where one of the values that do not go together was given: on the command line rather than in the file, and as a parameter rather
    /// than as a size; the sweep, where none of them was given at all.
    fn place_of(&self, fault: &AxisError) -> String {
        let (AxisError::Condition { text, .. } | AxisError::Unfit { text, .. }) = fault else { return self.grid.place.clone() };
        let named =
            self.grid.outer.iter().chain(&self.member.inner).filter(|dimension| dimension.axes.iter().any(|axis| is_named(axis, text)));
        let nearest = named.max_by_key(|dimension| dimension.place.starts_with(ON_THE_COMMAND_LINE));
        nearest.map_or_else(|| self.grid.place.clone(), |dimension| dimension.place.clone())
    }
}

type Visitor<'v> = dyn FnMut(Candidate<'_>) -> Result<(), PlanError> + 'v;

struct Walk<'a> {
    plan: &'a Plan,
    grid: usize,
    /// Digits of the next point of the outer product; `None` before a grid's first.
    outer: Option<Vec<usize>>,
    rows: Vec<Axes>,
    text: String,
    passed: Passed,
}

/// What a walk remembers of the cells that it has passed.
#[derive(Debug, Default)]
struct Passed {
    /// Those that may come again in a later sweep.
    seen: HashSet<u64>,
    /// Baselines among them.
    baselines: HashSet<u64>,
    /// Places of the sweeps that have met a baseline of theirs, if only one that an earlier sweep has brought or that is left out.
    with_baseline: HashSet<String>,
    removed: Removed,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, grid: 0, outer: None, rows: Vec::new(), text: String::new(), passed: Passed::default() }
    }

    /// Visits the kept cells of the next group of this shard (maybe none); false at the end.
    fn next_group(&mut self, visit: &mut Visitor<'_>) -> Result<bool, PlanError> {
        let plan = self.plan;
        while let Some(grid) = plan.grids.get(self.grid) {
            let outer = match self.outer.take() {
                None => {
                    self.rows = grid.members.iter().map(|member| member.start.clone()).collect();
                    vec![0; grid.outer.len()]
                }
                Some(mut digits) => {
                    if !advance(&mut digits, &grid.outer) {
                        self.grid += 1;
                        continue;
                    }
                    digits
                }
            };
            for (member, row) in grid.members.iter().zip(&mut self.rows) {
                place(row, &grid.outer, &outer);
                follow(row, &member.followers);
            }
            let wanted = plan.part.as_ref().is_none_or(|part| part.groups.contains(&self.group_hash()));
            if wanted {
                self.visit_members(grid, &outer, visit)?;
            }
            self.outer = Some(outer);
            if wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The hash of the group that the walk is at: its rows agree on all that is hashed.
    fn group_hash(&mut self) -> u64 {
        let grid = &self.plan.grids[self.grid];
        group_hash(&mut self.text, grid.members[0].entry.descriptor.task, &grid.group_axes, &self.rows[0])
    }

    fn visit_members(&mut self, grid: &Grid, outer: &[usize], visit: &mut Visitor<'_>) -> Result<(), PlanError> {
        for (member, row) in grid.members.iter().zip(&mut self.rows) {
            let mut inner = vec![0; member.inner.len()];
            loop {
                place(row, &member.inner, &inner);
                follow(row, &member.followers);
                let (plan, engines) = (self.plan, grid.engines.len() as u64);
                if is_out(grid.when.iter(), Filter::admits, plan, grid, member, row) {
                    self.passed.removed.when += engines;
                } else if is_out(plan.filters.iter(), Filter::keeps, plan, grid, member, row) {
                    self.passed.removed.filter += engines;
                } else {
                    let fit = self.plan.fits.of(&Point { at: self.grid, grid, member, row, outer, inner: &inner })?;
                    let axes = fit.axes.as_ref().unwrap_or(row);
                    let missing = self.plan.fits.missing_file(axes);
                    for engine in &grid.engines {
                        if self.passed.keeps(self.plan, grid, member, engine, axes) {
                            visit(Candidate { grid, member, engine, axes, fit: &fit, missing: &missing, outer, inner: &inner })?;
                        }
                    }
                }
                if !advance(&mut inner, &member.inner) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Is it certain before any search that one of the conditions removes the point on every engine? A search moves the parameters that nobody
/// has set, so a condition that looks at none of these has its answer already.
fn is_out<'f>(
    mut conditions: impl Iterator<Item = &'f Filter>,
    holds: fn(&Filter, &Row<'_>) -> bool,
    plan: &Plan,
    grid: &Grid,
    member: &Member,
    axes: &Axes,
) -> bool {
    let is_set = |axis: &str| grid.outer.iter().chain(&member.inner).any(|dimension| dimension.has(axis));
    let moved = || member.entry.descriptor.parameters.iter().map(|axis| axis.name).filter(|axis| !is_set(axis));
    let is_settled = |filter: &Filter| !moved().any(|axis| filter.reads(axis));
    // Conditions may ask whether a cell is a baseline.
    grid.baseline_when.iter().all(is_settled)
        && conditions.any(|one| is_settled(one) && grid.engines.iter().all(|engine| !holds(one, &shown(plan, grid, member, engine, axes))))
}

/// What filters see.
fn shown<'a>(plan: &'a Plan, grid: &Grid, member: &'a Member, engine: &'a str, axes: &'a Axes) -> Row<'a> {
    let descriptor = member.entry.descriptor;
    let (variant, family) = (descriptor.name, descriptor.family());
    let mut row = Row { variant, family, engine, experiment: &plan.experiment, baseline: member.baseline, axes };
    // A baseline that lacks the axes is meant whole.
    row.baseline = member.baseline && grid.baseline_when.as_ref().is_none_or(|meant| meant.admits(&row));
    row
}

impl Passed {
    /// Is the cell wanted, and not there yet?
    fn keeps(&mut self, plan: &Plan, grid: &Grid, member: &Member, engine: &str, axes: &Axes) -> bool {
        let (row, variant) = (shown(plan, grid, member, engine, axes), member.entry.descriptor.name);
        if grid.when.as_ref().is_some_and(|when| !when.admits(&row)) {
            self.removed.when += 1;
            return false;
        }
        if !plan.filters.iter().all(|filter| filter.keeps(&row)) {
            self.removed.filter += 1;
            return false;
        }
        if !(member.repeated || row.baseline && grid.baseline_when.is_some()) {
            return true;
        }
        let print = fingerprint(variant, engine, axes);
        // What this sweep leaves out, another one may ask for.
        let excluded = grid.excludes.iter().any(|exclude| exclude.takes(&row));
        let is_new = !member.repeated || if excluded { !self.seen.contains(&print) } else { self.seen.insert(print) };
        if row.baseline {
            if is_new {
                self.baselines.insert(print);
            }
            // A cell that an earlier sweep has brought as no baseline is none.
            if self.baselines.contains(&print) && !self.with_baseline.contains(&grid.place) {
                self.with_baseline.insert(grid.place.clone());
            }
        }
        is_new
    }
}

/// Tells cells of one variant apart, much cheaper than by their ids. The names of the axes follow from the variant.
pub(super) fn fingerprint(variant: &str, engine: &str, axes: &Axes) -> u64 {
    let mut hasher = DefaultHasher::new();
    (variant, engine).hash(&mut hasher);
    for value in axes.values() {
        match value {
            AxisValue::Int(number) => (0u8, number).hash(&mut hasher),
            AxisValue::Float(number) => (1u8, number.to_bits()).hash(&mut hasher),
            AxisValue::Text(text) => (2u8, text).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The next point, the last digit varying fastest; false after the last one.
fn advance(digits: &mut [usize], dimensions: &[Dimension]) -> bool {
    for (digit, dimension) in digits.iter_mut().zip(dimensions).rev() {
        *digit += 1;
        if *digit < dimension.points.len() {
            return true;
        }
        *digit = 0;
    }
    false
}
