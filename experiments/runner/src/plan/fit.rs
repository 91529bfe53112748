//! Axes that take a search: defaults that give way to odd sizes, and knobs turned until variants cost alike.
//!
//! Both belong to `crossover_variants`; here is when they are asked, and what is remembered, as a plan is walked more than once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crossover_core::axes::{Axes, AxisValue};
use crossover_variants::matching::{MatchError, MatchMode, matched};
use crossover_variants::model::missing_file;
use crossover_variants::resolve::{AxisError, resolve};

use crate::definition::Matching;

use super::error::PlanError;
use super::grid::{Dimension, Grid, Member, follow, place};
use super::walk::fingerprint;

/// How a cell was brought to the cost of the others of its group.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// What was to be equal.
    pub mode: MatchMode,
    /// The share of the baseline's cost that was wanted.
    pub share: f64,
    /// The cost that was wanted.
    pub target: u64,
    /// The cost that the cell has.
    pub cost: u64,
    /// The parameter that was turned; or why none was.
    pub knob: Result<&'static str, String>,
}

impl Match {
    /// How far the cost is from the wanted one, as a share of that.
    pub fn deviation(&self) -> f64 {
        (self.cost as f64 - self.target as f64) / self.target as f64
    }
}

/// What was found out about one point of a member: nothing where the row of the walk is right as it stands.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// The axes, where they are not those of the row.
    pub(super) axes: Option<Axes>,
    pub(super) matched: Option<Match>,
    /// Why it is skipped.
    pub(super) unfit: Option<String>,
    /// Why it cannot be.
    pub(super) fault: Option<AxisError>,
}

/// Findings by grid, variant and axes.
#[derive(Debug, Default)]
pub(super) struct Fits {
    found: RefCell<HashMap<(usize, u64), Rc<Fit>>>,
    targets: RefCell<HashMap<(usize, u64), Result<u64, MatchError>>>,
    /// What is missing, by the names of a folder of weights and of a text.
    files: RefCell<HashMap<[String; 2], Option<String>>>,
}

/// One point of the product of a grid, for one member: the row as the walk has written it, and the digits behind it.
pub(super) struct Point<'a> {
    /// The grid's place in the plan.
    pub(super) at: usize,
    pub(super) grid: &'a Grid,
    pub(super) member: &'a Member,
    pub(super) row: &'a Axes,
    pub(super) outer: &'a [usize],
    pub(super) inner: &'a [usize],
}

impl Fits {
    /// How many points took a search.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// What is to be known about a point.
    pub(super) fn of(&self, point: &Point<'_>) -> Result<Rc<Fit>, PlanError> {
        let matching = point.grid.matching.as_ref().filter(|_| !point.member.baseline);
        let holds = || point.member.entry.descriptor.conditions.iter().all(|condition| (condition.holds)(point.row));
        if point.is_faulty() || (matching.is_none() && holds()) {
            return Ok(Rc::default());
        }
        let key = (point.at, fingerprint(point.member.entry.descriptor.name, "", point.row));
        if let Some(known) = self.found.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let fit = match matching {
            Some(matching) => self.matched(point, matching)?,
            None => point.resolved(),
        };
        let fit = Rc::new(fit);
        self.found.borrow_mut().insert(key, Rc::clone(&fit));
        Ok(fit)
    }

    /// A file that these axes name and that is not there. Each is looked for once.
    pub(super) fn missing_file(&self, axes: &Axes) -> Option<String> {
        let named = ["weights", "text"].map(|axis| axes.get(axis).map(AxisValue::to_string).unwrap_or_default());
        if named.iter().all(String::is_empty) {
            return None;
        }
        self.files.borrow_mut().entry(named).or_insert_with(|| missing_file(axes)).clone()
    }

    fn matched(&self, point: &Point<'_>, matching: &Matching) -> Result<Fit, PlanError> {
        let target = match self.target(point, matching)? {
            Ok(target) => target,
            Err(error) => return Ok(Fit::refused(error).because("its cost cannot be matched")),
        };
        let Matching { mode, share, .. } = *matching;
        Ok(match matched(&point.member.entry, &point.given(), mode, target) {
            Ok(found) => {
                let told = Match { mode, share, target, cost: found.cost, knob: found.knob };
                Fit { axes: Some(found.axes), matched: Some(told), ..Fit::default() }
            }
            Err(error) => Fit::refused(error),
        })
    }

    /// The cost that all members are to have at this point: a share of the baseline's, at the first of its own values; or why the baseline
    /// has none there.
    fn target(&self, point: &Point<'_>, matching: &Matching) -> Result<Result<u64, MatchError>, PlanError> {
        let Some(baseline) = point.grid.members.iter().find(|member| member.baseline) else {
            let (place, variant) = (matching.place.clone(), point.member.entry.descriptor);
            return Err(PlanError::NoBaseline { place, variant: variant.name, task: variant.task });
        };
        let given = baseline_given(point, baseline);
        let descriptor = baseline.entry.descriptor;
        let key = (point.at, fingerprint(descriptor.name, "", &given));
        if let Some(known) = self.targets.borrow().get(&key) {
            return Ok(known.clone());
        }
        let priced = |axes| {
            let cost = matching.mode.cost(&baseline.entry, &axes);
            cost.map_err(|source| MatchError::Unpriced { variant: descriptor.name, source })
        };
        let cost = resolve(descriptor, &given).map_err(MatchError::from).and_then(priced);
        if cost == Ok(0) {
            let help = "name another baseline, or match something else: attention and norms are compared by \"flops\"";
            let (place, baseline, mode) = (matching.place.clone(), descriptor.name, matching.mode.name());
            return Err(PlanError::NothingToMatch { place, baseline, mode, help });
        }
        let target = cost.map(|cost| ((cost as f64 * matching.share).round() as u64).max(1));
        self.targets.borrow_mut().insert(key, target.clone());
        Ok(target)
    }
}

impl Fit {
    /// Where nobody is to blame the cell is skipped.
    fn refused(error: impl Into<MatchError>) -> Self {
        match error.into() {
            MatchError::Axes(fault) if !matches!(fault, AxisError::Unfit { .. }) => Self { fault: Some(fault), ..Self::default() },
            nobodys => Self { unfit: Some(nobodys.to_string()), ..Self::default() },
        }
    }

    /// With more about why it is skipped.
    fn because(self, of_what: &str) -> Self {
        Self { unfit: self.unfit.map(|reason| format!("{of_what}: {reason}")), ..self }
    }
}

impl Point<'_> {
    /// Is a value wrong by itself?
    fn is_faulty(&self) -> bool {
        let outer = self.grid.outer.iter().zip(self.outer);
        outer
            .chain(self.member.inner.iter().zip(self.inner))
            .any(|(dimension, &digit)| dimension.points[digit].iter().any(|value| value.fault.is_some()))
    }

    /// The axes that somebody has set.
    fn given(&self) -> Axes {
        given(&self.grid.outer, &self.member.inner, self.row)
    }

    fn resolved(&self) -> Fit {
        match resolve(self.member.entry.descriptor, &self.given()) {
            Ok(axes) => Fit { axes: Some(axes), ..Fit::default() },
            Err(error) => Fit::refused(error),
        }
    }
}

/// The baseline's axes at the point of another member: the same sizes, and the first of its own values.
fn baseline_given(point: &Point<'_>, baseline: &Member) -> Axes {
    let mut row = baseline.start.clone();
    place(&mut row, &point.grid.outer, point.outer);
    follow(&mut row, &baseline.followers);
    place(&mut row, &baseline.inner, &vec![0; baseline.inner.len()]);
    given(&point.grid.outer, &baseline.inner, &row)
}

/// What of a row was set, and not left to defaults.
fn given(outer: &[Dimension], inner: &[Dimension], row: &Axes) -> Axes {
    let set = outer.iter().chain(inner).flat_map(|dimension| &dimension.axes);
    set.filter_map(|axis| Some(((*axis).to_owned(), row.get(*axis)?.clone()))).collect()
}
