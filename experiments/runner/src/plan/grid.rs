//! The lists of values behind a plan: for each sweep, one grid for each set of variants that solve the same problem.
//!
//! Variants of one task with the same problem axes share the outer product (problem and common axes: one point is one group);
//! each has an inner product of its own parameters. An axis applies to the variants that have it, and a variant without it gets
//! one cell, not copies.

use std::collections::{BTreeMap, HashSet};

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::dtype::Precision;
use crossover_variants::descriptor::{AxisDefault, AxisKind, AxisSpec, COMMON_AXES, Descriptor};
use crossover_variants::registry::{self, Entry};
use crossover_variants::resolve::{AxisError, closest, resolve, shape_of};

use crate::definition::{AxisSetting, Definition, Exclude, Matching, Sweep};
use crate::filter::Filter;
use crate::series::{self, Wanted};

use super::engine_names;
use super::error::PlanError;
use super::selection::Override;

/// Variants of one sweep that solve the same problem.
#[derive(Debug)]
pub(super) struct Grid {
    /// Where the sweep stands.
    pub(super) place: String,
    pub(super) engines: Vec<String>,
    /// Problem and common axes; the first varies slowest.
    pub(super) outer: Vec<Dimension>,
    /// Names of all problem and common axes, sorted.
    pub(super) group_axes: Vec<&'static str>,
    pub(super) members: Vec<Member>,
    /// Which cells of a baseline the others are compared with.
    pub(super) baseline_when: Option<Filter>,
    /// What the members are to cost alike.
    pub(super) matching: Option<Matching>,
    /// Points for which it does not hold are not there.
    pub(super) when: Option<Filter>,
    /// Cells that are left out with a reason.
    pub(super) excludes: Vec<Exclude>,
}

/// One variant of a grid.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) entry: Entry,
    pub(super) baseline: bool,
    /// Its parameters; the first varies slowest.
    pub(super) inner: Vec<Dimension>,
    /// Every axis with its default; those of the dimensions are overwritten by the walk.
    pub(super) start: Axes,
    /// Axes that were not given and take the value of another one.
    pub(super) followers: Vec<(&'static str, AxisDefault)>,
    /// Even the largest values of all axes together make no tensor too large.
    pub(super) sizes_fit: bool,
    /// The same cell may come twice: another grid has the variant too, or two shares come to the same number.
    pub(super) repeated: bool,
}

/// One axis with the values that it takes, or several that take theirs together.
#[derive(Debug)]
pub(super) struct Dimension {
    pub(super) axes: Vec<&'static str>,
    /// A value for each axis.
    pub(super) points: Vec<Vec<Value>>,
    /// Where the values were given.
    pub(super) place: String,
}

impl Dimension {
    pub(super) fn has(&self, axis: &str) -> bool {
        self.axes.contains(&axis)
    }

    fn values(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.points.iter().flat_map(|point| self.axes.iter().copied().zip(point))
    }
}

/// A value, as cells spell it, or as given with what is wrong with it (a filter may still remove its cells).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) value: AxisValue,
    /// What to take a share of instead, once the other axes of the point stand.
    pub(super) share: Option<Share>,
    pub(super) fault: Option<AxisError>,
}

/// A part of another axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    of: &'static str,
    share: f64,
    least: i64,
}

impl Share {
    /// Its value in a row in which the other axis stands.
    fn at(self, row: &Axes) -> Option<AxisValue> {
        let whole = row.get(self.of)?.as_int()?;
        Some(AxisValue::Int(((whole as f64 * self.share).round() as i64).max(self.least)))
    }
}

/// Writes the values that the digits stand for: shares last, when what they are taken of is there.
pub(super) fn place(row: &mut Axes, dimensions: &[Dimension], digits: &[usize]) {
    let chosen = || dimensions.iter().zip(digits).flat_map(|(dimension, &digit)| dimension.axes.iter().zip(&dimension.points[digit]));
    for (axis, value) in chosen() {
        if let Some(slot) = row.get_mut(*axis) {
            slot.clone_from(&value.value);
        }
    }
    // A share may be taken of another share, in any order of the file: as many passes as there are shares settle them all.
    let shares = || chosen().filter_map(|(axis, value)| Some((axis, value.share?)));
    for (axis, share) in std::iter::repeat_n((), shares().count()).flat_map(|()| shares()) {
        if let Some(value) = share.at(row)
            && let Some(slot) = row.get_mut(*axis)
        {
            *slot = value;
        }
    }
}

impl Grid {
    /// Cells before any filter.
    pub(super) fn candidates(&self) -> u128 {
        let product = |dimensions: &[Dimension]| dimensions.iter().fold(1u128, |all, one| all.saturating_mul(one.points.len() as u128));
        let inner = self.members.iter().fold(0u128, |sum, member| sum.saturating_add(product(&member.inner)));
        product(&self.outer).saturating_mul(inner).saturating_mul(self.engines.len() as u128)
    }
}

pub(super) fn lay_out(definition: &Definition, ours: &[String], set: &[Override]) -> Result<Vec<Grid>, PlanError> {
    check_overrides(definition, ours, set)?;
    if let Some((name, worker)) = definition.workers.iter().find(|(name, _)| ours.contains(name)) {
        return Err(PlanError::EngineTwice { place: worker.place.clone(), name: name.clone() });
    }
    let mut grids: Vec<Grid> = Vec::new();
    for sweep in &definition.sweeps {
        let engines = engine_names::of_sweep(definition, sweep, ours)?;
        let settings = settings_of(definition, sweep, set);
        let mut rest: Vec<&'static Descriptor> = sweep.variants.clone();
        while let Some(&first) = rest.first() {
            let (same, others) = rest.into_iter().partition(|other| same_problem(first, other));
            rest = others;
            grids.push(grid(sweep, same, &settings, &engines)?);
        }
    }
    mark_repeated(&mut grids);
    Ok(grids)
}

fn grid(sweep: &Sweep, variants: Vec<&'static Descriptor>, settings: &[AxisSetting], engines: &[String]) -> Result<Grid, PlanError> {
    let shared = |descriptor: &'static Descriptor| descriptor.problem.iter().chain(COMMON_AXES);
    let first = variants[0];
    let outer = dimensions(first, &shared(first).collect::<Vec<_>>(), settings)?;
    check_together(&variants, settings)?;
    let mut group_axes: Vec<&'static str> = shared(first).map(|axis| axis.name).collect();
    group_axes.sort_unstable();
    // Definitions take their variants from the registry: each is found there.
    let entries = variants.into_iter().filter_map(|descriptor| registry::find(descriptor.name));
    let members = entries.map(|entry| {
        let descriptor = entry.descriptor;
        let inner = dimensions(descriptor, &descriptor.parameters.iter().collect::<Vec<_>>(), settings)?;
        Ok(member(entry, sweep.baselines.contains(&descriptor.name), &outer, inner))
    });
    let members = members.collect::<Result<_, _>>()?;
    let (place, matching) = (sweep.place.clone(), sweep.matching.clone());
    let (baseline_when, when, excludes) = (sweep.baseline_when.clone(), sweep.when.clone(), sweep.excludes.clone());
    Ok(Grid { place, engines: engines.to_vec(), members, outer, group_axes, baseline_when, matching, when, excludes })
}

/// Axes that go together are all sizes of the problem or all parameters of the variant: a group is one point of the sizes.
fn check_together(variants: &[&'static Descriptor], settings: &[AxisSetting]) -> Result<(), PlanError> {
    for setting in settings.iter().filter(|setting| setting.names.len() > 1) {
        for variant in variants {
            let is_parameter = |name: &&String| variant.parameters.iter().any(|axis| axis.name == name.as_str());
            let known = setting.names.iter().filter(|name| variant.axis(name).is_some());
            let (parameters, sizes): (Vec<&String>, Vec<&String>) = known.partition(is_parameter);
            if let (Some(parameter), Some(size)) = (parameters.first(), sizes.first()) {
                let (parameter, size) = ((*parameter).clone(), (*size).clone());
                return Err(PlanError::MixedTogether { place: setting.place.clone(), variant: variant.name, parameter, size });
            }
        }
    }
    Ok(())
}

fn member(entry: Entry, baseline: bool, outer: &[Dimension], inner: Vec<Dimension>) -> Member {
    let descriptor = entry.descriptor;
    let mut start = Axes::new();
    let mut followers = Vec::new();
    for axis in descriptor.axes() {
        let given = outer.iter().chain(&inner).any(|dimension| dimension.has(axis.name));
        if !given && axis.default.followed().is_some() {
            followers.push((axis.name, axis.default));
        }
        // A follower or a dimension gets its value before anybody looks.
        start.insert(axis.name.to_owned(), axis.default.value().unwrap_or(AxisValue::Int(1)));
    }
    let mut largest = start.clone();
    let values = || outer.iter().chain(&inner).flat_map(Dimension::values).filter(|(_, value)| value.fault.is_none());
    let mut sizes: BTreeMap<&str, i64> = BTreeMap::new();
    for (axis, size) in values().filter_map(|(axis, value)| Some((axis, value.value.as_int()?))) {
        sizes.entry(axis).and_modify(|most| *most = size.max(*most)).or_insert(size);
    }
    largest.extend(sizes.into_iter().map(|(axis, size)| (axis.to_owned(), AxisValue::Int(size))));
    let shares: Vec<(&str, Share)> = values().filter_map(|(axis, value)| Some((axis, value.share?))).collect();
    follow(&mut largest, &followers);
    // A share is at most the whole.
    let repeated = !shares.is_empty();
    for (axis, share) in shares {
        let whole = Share { share: 1.0, ..share }.at(&largest);
        largest.extend(whole.map(|value| (axis.to_owned(), value)));
    }
    let shapes = descriptor.tensors.iter().map(|tensor| tensor.shape).chain([descriptor.output]);
    // Eight bytes for the widest element, as `resolve` has it.
    let fits = |shape| {
        shape_of(shape, &largest).into_iter().try_fold(8usize, usize::checked_mul).is_some_and(|bytes| bytes <= isize::MAX as usize)
    };
    let sizes_fit = shapes.into_iter().all(fits);
    Member { entry, baseline, inner, start, followers, sizes_fit, repeated }
}

/// Gives each follower the value of the axis that it follows, in the order of declaration.
pub(super) fn follow(axes: &mut Axes, followers: &[(&'static str, AxisDefault)]) {
    for (name, default) in followers {
        if let Some(value) = default.following(axes)
            && let Some(slot) = axes.get_mut(*name)
        {
            *slot = value;
        }
    }
}

/// The settings that concern these axes, in the order of the file.
fn dimensions(descriptor: &'static Descriptor, axes: &[&'static AxisSpec], settings: &[AxisSetting]) -> Result<Vec<Dimension>, PlanError> {
    let mut dimensions = Vec::new();
    for setting in settings {
        let known = setting.names.iter().enumerate().filter_map(|(at, name)| Some((at, *axes.iter().find(|axis| axis.name == *name)?)));
        let columns: Vec<(usize, &'static AxisSpec)> = known.collect();
        if columns.is_empty() {
            continue;
        }
        let whole = columns.len() == setting.names.len();
        let mut points: Vec<Vec<Value>> = Vec::with_capacity(setting.points.len());
        let mut seen = HashSet::new();
        for point in &setting.points {
            let values: Vec<Value> = columns.iter().map(|(at, axis)| judge(descriptor, axis, &point[*at])).collect();
            let spelled = values.iter().map(Value::spelled).collect::<Vec<_>>().join(", ");
            if seen.insert(spelled.clone()) {
                points.push(values);
            } else if whole {
                // Points that differ in axes which the variant lacks are one point to it; two spellings of one value are a mistake.
                return Err(PlanError::DuplicateValue { place: setting.place.clone(), axis: setting.names.join(", "), value: spelled });
            }
        }
        dimensions.push(Dimension { axes: columns.into_iter().map(|(_, axis)| axis.name).collect(), points, place: setting.place.clone() });
    }
    Ok(dimensions)
}

impl Value {
    fn spelled(&self) -> String {
        self.share.map_or_else(|| self.value.to_string(), |share| Wanted::Share(share.share).to_string())
    }
}

fn judge(descriptor: &'static Descriptor, axis: &'static AxisSpec, wanted: &Wanted) -> Value {
    let value = match (wanted, axis.kind) {
        (Wanted::Exact(value), _) => value.clone(),
        (Wanted::Share(share), AxisKind::Float { .. }) => AxisValue::Float(*share),
        (Wanted::Share(share), kind) => return judge_share(descriptor, axis, *share, kind),
    };
    let alone = Axes::from([(axis.name.to_owned(), value.clone())]);
    match resolve(descriptor, &alone) {
        // What does not fit together with defaults may fit together with other values.
        Ok(_) | Err(AxisError::Condition { .. } | AxisError::Unfit { .. } | AxisError::Overflow { .. }) => {
            Value { value: canonical(axis, &value), share: None, fault: None }
        }
        Err(fault) => Value { fault: Some(with_hint(fault, axis, &value)), value, share: None },
    }
}

/// A text where a number is wanted may be a rule misspelt.
fn with_hint(fault: AxisError, axis: &AxisSpec, value: &AxisValue) -> AxisError {
    let is_number = matches!(axis.kind, AxisKind::Int { .. } | AxisKind::Float { .. });
    match (fault, value.as_text().filter(|_| is_number).and_then(series::meant)) {
        (AxisError::Value { variant, axis, value, problem }, Some(hint)) => {
            AxisError::Value { variant, axis, value, problem: format!("{problem}; {hint}") }
        }
        (fault, _) => fault,
    }
}

/// A share is taken of what the axis follows where nobody sets it.
fn judge_share(descriptor: &'static Descriptor, axis: &'static AxisSpec, share: f64, kind: AxisKind) -> Value {
    match (axis.default.followed(), kind) {
        (Some(of), AxisKind::Int { min, .. }) => {
            Value { value: AxisValue::Int(min), share: Some(Share { of, share, least: min }), fault: None }
        }
        _ => {
            let value = Wanted::Share(share).to_string();
            let problem = "cannot be: by default the axis follows no size that it could be a share of; give its values".to_owned();
            let fault = AxisError::Value { variant: descriptor.name, axis: axis.name, value: value.clone(), problem };
            Value { value: AxisValue::Text(value), share: None, fault: Some(fault) }
        }
    }
}

/// A valid value as `resolve` spells it.
fn canonical(axis: &AxisSpec, value: &AxisValue) -> AxisValue {
    match (axis.kind, value) {
        (AxisKind::Float { .. }, AxisValue::Int(number)) => AxisValue::Float(*number as f64),
        (AxisKind::Text, AxisValue::Int(number)) => AxisValue::Text(number.to_string()),
        (AxisKind::Precision, AxisValue::Text(name)) => {
            name.parse::<Precision>().map_or_else(|_| value.clone(), |precision| AxisValue::Text(precision.to_string()))
        }
        _ => value.clone(),
    }
}

/// The sweep's axes over the defaults, the command line over both. An axis keeps its place; new ones come last.
fn settings_of(definition: &Definition, sweep: &Sweep, set: &[Override]) -> Vec<AxisSetting> {
    let own = |setting: &&AxisSetting| setting.names.iter().any(|name| sweep.axes.iter().any(|axis| axis.names.contains(name)));
    let defaults = definition.defaults.iter().filter(|default| !own(default));
    let settings: Vec<AxisSetting> = defaults.chain(&sweep.axes).cloned().collect();
    let new = set.iter().map(|given| AxisSetting::single(&given.axis, given.values.iter().cloned(), given.place()));
    new.fold(settings, AxisSetting::over)
}

fn check_overrides(definition: &Definition, ours: &[String], set: &[Override]) -> Result<(), PlanError> {
    let engines = engine_names::known(definition, ours);
    let variants = definition.sweeps.iter().flat_map(|sweep| &sweep.variants);
    let mut known: Vec<&str> = variants.flat_map(|variant| variant.axes()).map(|axis| axis.name).collect();
    known.sort_unstable();
    known.dedup();
    for (index, given) in set.iter().enumerate() {
        if !known.contains(&given.axis.as_str()) {
            let named = given.values.iter().filter(|_| given.axis == "engine").map(Wanted::to_string);
            if let Some(name) = named.into_iter().find(|name| !engines.contains(&name.as_str())) {
                return Err(engine_names::unknown(&given.place(), &name, &engines));
            }
            let help = help_with_axis(given, &known);
            return Err(PlanError::UnknownAxis { axis: given.axis.clone(), experiment: definition.name.clone(), help });
        }
        if set[..index].iter().any(|earlier| earlier.axis == given.axis) {
            return Err(PlanError::SetTwice { axis: given.axis.clone() });
        }
    }
    Ok(())
}

/// What to do about an axis that there is not. All axes of all variants would be a page, so only near ones are told.
fn help_with_axis(given: &Override, known: &[&str]) -> String {
    let values: Vec<String> = given.values.iter().map(|value| format!("\"{value}\"")).collect();
    match (given.axis.as_str(), closest(&given.axis, known.iter().copied())) {
        (column @ ("engine" | "variant" | "family"), _) => {
            format!("{column} is not an axis: keep some of them by --filter '{column} in [{}]'", values.join(", "))
        }
        (_, Some(near)) => format!("did you mean {near}?"),
        (_, None) => "the axes of each variant: crossover list variants".to_owned(),
    }
}

/// The same task, and the same problem axes down to their defaults.
fn same_problem(one: &Descriptor, other: &Descriptor) -> bool {
    one.task == other.task && format!("{:?}", one.problem) == format!("{:?}", other.problem)
}

fn mark_repeated(grids: &mut [Grid]) {
    let names: Vec<&str> = grids.iter().flat_map(|grid| &grid.members).map(|member| member.entry.descriptor.name).collect();
    for member in grids.iter_mut().flat_map(|grid| &mut grid.members) {
        member.repeated |= names.iter().filter(|name| **name == member.entry.descriptor.name).count() > 1;
    }
}
