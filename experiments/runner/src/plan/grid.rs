//! The lists of values behind a plan: for each sweep, one grid for each set of variants that solve the same problem.
//!
//! Variants of one task with the same problem axes share the outer product (problem and common axes: one point is one group);
//! each has an inner product of its own parameters. An axis applies to the variants that have it, and a variant without it gets
//! one cell, not copies.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::dtype::Precision;
use crossover_variants::descriptor::{AxisDefault, AxisKind, AxisSpec, COMMON_AXES, Descriptor};
use crossover_variants::registry::{self, Entry};
use crossover_variants::resolve::{AxisError, closest, resolve, shape_of};

use crate::definition::{AxisSetting, Definition, EngineChoice, Matching, Sweep};

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
    /// What the members are to cost alike.
    pub(super) matching: Option<Matching>,
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
    /// Another grid has the variant too, so the same cell may come twice.
    pub(super) repeated: bool,
}

/// One axis with the values that it takes.
#[derive(Debug)]
pub(super) struct Dimension {
    pub(super) axis: &'static str,
    pub(super) values: Vec<Value>,
    /// Where the values were given.
    pub(super) place: String,
}

/// A value, as cells spell it, or as given with what is wrong with it (a filter may still remove its cells).
#[derive(Debug)]
pub(super) struct Value {
    pub(super) value: AxisValue,
    pub(super) fault: Option<AxisError>,
}

impl Grid {
    /// Cells before any filter.
    pub(super) fn candidates(&self) -> u128 {
        let product = |dimensions: &[Dimension]| dimensions.iter().fold(1u128, |all, one| all.saturating_mul(one.values.len() as u128));
        let inner = self.members.iter().fold(0u128, |sum, member| sum.saturating_add(product(&member.inner)));
        product(&self.outer).saturating_mul(inner).saturating_mul(self.engines.len() as u128)
    }
}

pub(super) fn lay_out(definition: &Definition, ours: &[String], set: &[Override]) -> Result<Vec<Grid>, PlanError> {
    check_overrides(definition, set)?;
    if let Some(name) = definition.workers.keys().find(|name| ours.contains(name)) {
        return Err(PlanError::EngineTwice { name: name.clone() });
    }
    let mut grids: Vec<Grid> = Vec::new();
    for sweep in &definition.sweeps {
        let engines = engines_of(definition, sweep, ours)?;
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
    Ok(Grid { place, engines: engines.to_vec(), members, outer, group_axes, matching })
}

fn member(entry: Entry, baseline: bool, outer: &[Dimension], inner: Vec<Dimension>) -> Member {
    let descriptor = entry.descriptor;
    let mut start = Axes::new();
    let mut followers = Vec::new();
    for axis in descriptor.axes() {
        let given = outer.iter().chain(&inner).any(|dimension| dimension.axis == axis.name);
        if !given && axis.default.followed().is_some() {
            followers.push((axis.name, axis.default));
        }
        // A follower or a dimension gets its value before anybody looks.
        start.insert(axis.name.to_owned(), axis.default.value().unwrap_or(AxisValue::Int(1)));
    }
    let mut largest = start.clone();
    for dimension in outer.iter().chain(&inner) {
        let sizes = dimension.values.iter().filter(|value| value.fault.is_none()).filter_map(|value| value.value.as_int());
        if let Some(most) = sizes.max() {
            largest.insert(dimension.axis.to_owned(), AxisValue::Int(most));
        }
    }
    follow(&mut largest, &followers);
    let shapes = descriptor.tensors.iter().map(|tensor| tensor.shape).chain([descriptor.output]);
    // Eight bytes for the widest element, as `resolve` has it.
    let fits = |shape| {
        shape_of(shape, &largest).into_iter().try_fold(8usize, usize::checked_mul).is_some_and(|bytes| bytes <= isize::MAX as usize)
    };
    let sizes_fit = shapes.into_iter().all(fits);
    Member { entry, baseline, inner, start, followers, sizes_fit, repeated: false }
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
        let Some(axis) = axes.iter().find(|axis| axis.name == setting.name) else { continue };
        let values: Vec<Value> = setting.values.iter().map(|value| judge(descriptor, axis, value)).collect();
        let mut spelled: Vec<String> = values.iter().map(|value| value.value.to_string()).collect();
        spelled.sort_unstable();
        if let Some([value, _]) = spelled.array_windows().find(|[one, next]| one == next) {
            return Err(PlanError::DuplicateValue { place: setting.place.clone(), axis: setting.name.clone(), value: value.clone() });
        }
        dimensions.push(Dimension { axis: axis.name, values, place: setting.place.clone() });
    }
    Ok(dimensions)
}

fn judge(descriptor: &'static Descriptor, axis: &'static AxisSpec, value: &AxisValue) -> Value {
    let alone = Axes::from([(axis.name.to_owned(), value.clone())]);
    match resolve(descriptor, &alone) {
        // What does not fit together with defaults may fit together with other values.
        Ok(_) | Err(AxisError::Condition { .. } | AxisError::Unfit { .. } | AxisError::Overflow { .. }) => {
            Value { value: canonical(axis, value), fault: None }
        }
        Err(fault) => Value { value: value.clone(), fault: Some(fault) },
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
    let own = |name: &str| sweep.axes.iter().any(|axis| axis.name == name);
    let defaults = definition.defaults.iter().filter(|default| !own(&default.name));
    let mut settings: Vec<AxisSetting> = defaults.chain(&sweep.axes).cloned().collect();
    for given in set {
        let new = AxisSetting { name: given.axis.clone(), values: given.values.clone(), place: given.place() };
        match settings.iter_mut().find(|setting| setting.name == given.axis) {
            Some(setting) => *setting = new,
            None => settings.push(new),
        }
    }
    settings
}

fn check_overrides(definition: &Definition, set: &[Override]) -> Result<(), PlanError> {
    let variants = definition.sweeps.iter().flat_map(|sweep| &sweep.variants);
    let mut known: Vec<&str> = variants.flat_map(|variant| variant.axes()).map(|axis| axis.name).collect();
    known.sort_unstable();
    known.dedup();
    for (index, given) in set.iter().enumerate() {
        if !known.contains(&given.axis.as_str()) {
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

fn engines_of(definition: &Definition, sweep: &Sweep, ours: &[String]) -> Result<Vec<String>, PlanError> {
    let mut engines: Vec<String> = Vec::new();
    for choice in &sweep.engines {
        let names: Vec<String> = match choice {
            EngineChoice::Ours => ours.to_vec(),
            EngineChoice::Named { name, .. } if ours.contains(name) || definition.workers.contains_key(name) => vec![name.clone()],
            EngineChoice::Named { name, place } => {
                let known: Vec<&str> = ours.iter().chain(definition.workers.keys()).map(String::as_str).collect();
                let nearest = closest(name, known.iter().copied()).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
                let help = format!("{nearest}the engines are {}; give others a worker under [workers.NAME]", known.join(", "));
                return Err(PlanError::UnknownEngine { place: place.clone(), name: name.clone(), help });
            }
        };
        let new: Vec<String> = names.into_iter().filter(|name| !engines.contains(name)).collect();
        engines.extend(new);
    }
    Ok(engines)
}

/// The same task, and the same problem axes down to their defaults.
fn same_problem(one: &Descriptor, other: &Descriptor) -> bool {
    one.task == other.task && format!("{:?}", one.problem) == format!("{:?}", other.problem)
}

fn mark_repeated(grids: &mut [Grid]) {
    let names: Vec<&str> = grids.iter().flat_map(|grid| &grid.members).map(|member| member.entry.descriptor.name).collect();
    for member in grids.iter_mut().flat_map(|grid| &mut grid.members) {
        member.repeated = names.iter().filter(|name| **name == member.entry.descriptor.name).count() > 1;
    }
}
