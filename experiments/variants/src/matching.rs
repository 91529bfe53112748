//! Comparisons at equal cost: which parameter sets a variant's size, and the value at which it costs what it should.
//!
//! "Linformer is faster than a window" says little while one of them does twice the work. Here the *knob* of a variant (its rank, its
//! window, its sparsity) is turned until its FLOPs or parameters are as near as they get to a share of the baseline's. The cost is that
//! of the dry run, so it is exact; values that break a condition of the variant are passed over.
//!
//! What is traded away: a variant whose knob moves in large steps (a number of blocks that must divide a width) stays off its target, and
//! one without a knob stays where it is. Both are told, not hidden. Between two neighbours of the list of first tries the cost is taken
//! to be monotone; the list (divisors of the sizes, powers of two) is what copes with costs that fall and rise again.

use std::collections::{BTreeMap, BTreeSet};

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::error::{EngineError, Result};
use crossover_core::ops::WeightForm;
use thiserror::Error;

use crate::adapt::{divisors_of_sizes, sizes};
use crate::cell::kept;
use crate::descriptor::{AxisKind, AxisSpec, Placed, Role};
use crate::registry::Entry;
use crate::resolve::{AxisError, resolve};

/// Parameters that set a variant's size, in order of preference: of those that a variant has and nobody has set, the first that brings it
/// near the target is turned, or where none does the one that comes nearest. Parameters that set a schedule (`chunk`, `tile`) or the quality
/// of a function (`degree`, `bits`, `iterations`) are no knobs: with them a variant would be made dearer without doing more.
pub const KNOBS: &[&str] = &[
    "rank",
    "window",
    "features",
    "landmarks",
    "keep",
    "core",
    "density",
    "sparsity",
    "n_keep",
    "k",
    "k_hidden",
    "stride",
    "block",
    "random_blocks",
    "compression",
    "factor",
    "clusters",
    "hashes",
    "blocks",
    "factor_out",
    "groups",
    "samples",
    "cutoff1",
    "experts",
    "capacity",
    "kernel",
];

/// What is made equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchMode {
    /// Stored elements of weights.
    Parameters,
    /// Operations of one call.
    Flops,
}

impl MatchMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Parameters, Self::Flops];

    /// The name in experiments and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Flops => "flops",
        }
    }

    /// The cost of a variant with resolved axes.
    pub fn cost(self, entry: &Entry, axes: &Axes) -> Result<u64> {
        match self {
            Self::Parameters => Ok(parameters(entry, axes)),
            Self::Flops => Ok(entry.cost(axes)?.flops),
        }
    }
}

/// Elements of all weights as the engine gets them: of sparse ones those that are stored. Biases and scales (of one dimension) are left
/// out, as no variant saves on them; so are tables that the host makes (rotations, sinusoids, biases by distance), as nobody trains them.
/// What the host only lays out anew counts as it was drawn.
pub fn parameters(entry: &Entry, axes: &Axes) -> u64 {
    let (drawn, derived) = (entry.drawn(axes), entry.derived(axes));
    let becomes_weight = |tensor: &Placed| derived.iter().any(|other| other.name == tensor.name && other.role == Role::Weight);
    let weights = kept(&drawn, &derived).filter(|tensor| tensor.role == Role::Weight);
    let vectors = drawn.iter().filter(|tensor| tensor.role == Role::Vector && !becomes_weight(tensor));
    weights.chain(vectors).map(elements).fold(0, u64::saturating_add)
}

fn elements(tensor: &Placed) -> u64 {
    let counts = tensor.shape.len() > 1;
    let all = tensor.shape.iter().fold(1u64, |all, &extent| all.saturating_mul(extent as u64));
    match (counts, tensor.form) {
        (false, _) => 0,
        // Of several matrices under one name, each stores as much.
        (true, Some(WeightForm::Sparse { stored, .. })) => {
            let matrices = if let [count, _, _] = tensor.shape[..] { count as u64 } else { 1 };
            matrices.saturating_mul(stored as u64)
        }
        (true, _) => all,
    }
}

/// What is farther from its target than this share of it is not called equal.
pub const NEAR: f64 = 0.05;

/// A variant as near to a cost as it gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// All axes.
    pub axes: Axes,
    /// What it costs.
    pub cost: u64,
    /// The parameter that was turned; or why none was.
    pub knob: std::result::Result<&'static str, String>,
}

/// Why a variant cannot be brought to any cost.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MatchError {
    /// The axes cannot be run.
    #[error(transparent)]
    Axes(#[from] AxisError),
    /// Nothing says what it costs.
    #[error("{variant} cannot be priced at these sizes: {source}")]
    Unpriced {
        /// The variant.
        variant: &'static str,
        /// What the dry run says.
        source: EngineError,
    },
}

/// Turns the knob of a variant until it costs `target`, or as near to it as it gets. `given` are the axes that somebody has set.
///
/// # Errors
/// When the given axes cannot be run, whatever the knob; or have no knob to turn, nor a cost.
pub fn matched(entry: &Entry, given: &Axes, mode: MatchMode, target: u64) -> std::result::Result<Matched, MatchError> {
    let start = resolve(entry.descriptor, given)?;
    let own: Vec<&'static AxisSpec> =
        KNOBS.iter().filter_map(|name| entry.descriptor.parameters.iter().find(|axis| axis.name == *name && is_number(axis))).collect();
    let mut best: Option<Matched> = None;
    for axis in own.iter().filter(|axis| !given.contains_key(axis.name)) {
        let mut search = Search { entry, given, mode, axis, target, tried: BTreeMap::new() };
        if let Some((axes, cost)) = search.nearest(&start) {
            let is_nearer = best.as_ref().is_none_or(|best| cost.abs_diff(target) < best.cost.abs_diff(target));
            best = if is_nearer { Some(Matched { axes, cost, knob: Ok(axis.name) }) } else { best };
        }
        if best.as_ref().is_some_and(|best| best.cost.abs_diff(target) as f64 <= NEAR * target as f64) {
            break;
        }
    }
    if let Some(best) = best {
        return Ok(best);
    }
    let why = match own.iter().find(|axis| given.contains_key(axis.name)) {
        Some(axis) => format!("{} is set by the experiment", axis.name),
        None => format!("no parameter of it sets its {}", mode.name()),
    };
    let cost = mode.cost(entry, &start).map_err(|source| MatchError::Unpriced { variant: entry.descriptor.name, source })?;
    Ok(Matched { axes: start, cost, knob: Err(why) })
}

fn is_number(axis: &AxisSpec) -> bool {
    matches!(axis.kind, AxisKind::Int { .. } | AxisKind::Float { .. })
}

/// Steps of a real knob in one unit: results should read as if somebody had chosen them.
const STEPS: f64 = 10_000.0;

/// Values of one knob with their costs. Real values are counted in steps.
struct Search<'a> {
    entry: &'a Entry,
    given: &'a Axes,
    mode: MatchMode,
    axis: &'static AxisSpec,
    target: u64,
    tried: BTreeMap<i64, Option<(Axes, u64)>>,
}

impl Search<'_> {
    /// The axes nearest to the target and their cost; none where the knob moves nothing.
    fn nearest(&mut self, start: &Axes) -> Option<(Axes, u64)> {
        let valid: Vec<(i64, u64)> = self.first_tries(start).into_iter().filter_map(|value| Some((value, self.cost(value)?))).collect();
        if valid.iter().all(|(_, cost)| *cost == valid[0].1) {
            return None;
        }
        for pair in valid.array_windows() {
            let [(low, at_low), (high, at_high)] = *pair;
            if at_low.min(at_high) < self.target && self.target < at_low.max(at_high) {
                self.narrow(low, high, at_low < at_high);
            }
        }
        self.look_around();
        let best = self.best()?;
        self.tried.remove(&best).flatten()
    }

    /// Bisection between two values whose costs lie on both sides of the target, as far as the values between can be run.
    fn narrow(&mut self, mut low: i64, mut high: i64, rises: bool) {
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let Some(cost) = self.cost(middle) else { return };
            if (cost < self.target) == rises { low = middle } else { high = middle }
        }
    }

    /// Neighbours of the best, as long as they are better; of a real value the rounder ones near it.
    fn look_around(&mut self) {
        if self.is_real() {
            let best = self.best().unwrap_or_default();
            for unit in [10, 100, 1000] {
                self.cost((best + unit / 2) / unit * unit);
            }
            return;
        }
        while let Some(best) = self.best() {
            let _ = (self.cost(best - 1), self.cost(best + 1));
            if self.best() == Some(best) {
                return;
            }
        }
    }

    /// The value nearest to the target; of equally near ones the roundest, then the smallest.
    fn best(&self) -> Option<i64> {
        let digits = |value: i64| [1000, 100, 10].iter().filter(|&unit| self.is_real() && value % unit != 0).count();
        let valid = self.tried.iter().filter_map(|(value, found)| Some((*value, found.as_ref()?.1)));
        valid.min_by_key(|(value, cost)| (cost.abs_diff(self.target), digits(*value), *value)).map(|(value, _)| value)
    }

    fn cost(&mut self, value: i64) -> Option<u64> {
        if !self.tried.contains_key(&value) {
            let priced = self.priced(value);
            self.tried.insert(value, priced);
        }
        self.tried[&value].as_ref().map(|(_, cost)| *cost)
    }

    fn priced(&self, value: i64) -> Option<(Axes, u64)> {
        let mut given = self.given.clone();
        let value = if self.is_real() { AxisValue::Float(value as f64 / STEPS) } else { AxisValue::Int(value) };
        given.insert(self.axis.name.to_owned(), value);
        let axes = resolve(self.entry.descriptor, &given).ok()?;
        let cost = self.mode.cost(self.entry, &axes).ok()?;
        Some((axes, cost))
    }

    fn is_real(&self) -> bool {
        matches!(self.axis.kind, AxisKind::Float { .. })
    }

    /// Ends, powers of two, and what divides the sizes or the range.
    fn first_tries(&self, start: &Axes) -> BTreeSet<i64> {
        let (least, most) = match self.axis.kind {
            AxisKind::Int { min, max } => (min, max.min(sizes(start).max().unwrap_or(1).saturating_mul(4))),
            AxisKind::Float { min, max } => ((min * STEPS).ceil() as i64, (max * STEPS).floor() as i64),
            _ => return BTreeSet::new(),
        };
        let mut tries = BTreeSet::from([least, most]);
        tries.extend((0..62).map(|power| 1i64 << power));
        if self.is_real() {
            tries.extend((1..16).map(|part| least + (most - least) / 16 * part));
        } else {
            tries.extend(divisors_of_sizes(start));
        }
        tries.into_iter().filter(|value| (least..=most).contains(value)).collect()
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
