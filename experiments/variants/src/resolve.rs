//! From axes as given to axes as run: every name known, every value in its range, every default filled in, every size possible.

use crossover_core::axes::{Axes, AxisValue};
use crossover_core::dtype::Precision;
use thiserror::Error;

use crate::adapt::{adapted, first_failing, is_about_a_default};
use crate::attention::reasons;
use crate::descriptor::{AxisKind, AxisSpec, CACHE, COLD, Descriptor, Dim, TensorSpec};
use crate::kept;
use crate::model::architecture::MISFIT;
use crate::model::{component, misfit};

/// Why axes cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AxisError {
    /// No such axis.
    #[error("{variant} has no axis {axis:?}{}; its axes are {known}", suggestion(.closest))]
    Unknown {
        /// The variant.
        variant: &'static str,
        /// The name that was given.
        axis: String,
        /// The nearest name, where one is near.
        closest: Option<String>,
        /// All names.
        known: String,
    },
    /// A value of the wrong kind or out of range.
    #[error("{variant}: {axis} = {value} {problem}")]
    Value {
        /// The variant.
        variant: &'static str,
        /// The axis.
        axis: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Values that do not go together.
    #[error("{variant}: {text} ({values})")]
    Condition {
        /// The variant.
        variant: &'static str,
        /// The condition.
        text: &'static str,
        /// The axes, spelled out, or what exactly is wrong.
        values: String,
    },
    /// Sizes for which no defaults can be found: nobody's mistake, but nothing to run either.
    #[error("no default of {variant} fits these sizes: {text} ({values})")]
    Unfit {
        /// The variant.
        variant: &'static str,
        /// The condition.
        text: &'static str,
        /// The axes, spelled out.
        values: String,
    },
    /// A tensor that no machine could hold.
    #[error("{variant}: its tensor {tensor} is larger than any machine's memory ({values})")]
    Overflow {
        /// The variant.
        variant: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// The axes, spelled out.
        values: String,
    },
}

/// A condition's text, and what exactly is wrong where it does not hold.
pub(crate) type Reason = (&'static str, fn(&Axes) -> Option<String>);

/// Conditions of which the axes spelled out would not tell enough; families add theirs.
const REASONS: &[Reason] = &[(MISFIT, misfit)];

fn suggestion(closest: &Option<String>) -> String {
    closest.as_ref().map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}

/// Validates `given` against the variant's description and fills in the defaults: the usual ones, or where these do not go with the sizes
/// the nearest that do (see `adapt`).
pub fn resolve(descriptor: &'static Descriptor, given: &Axes) -> Result<Axes, AxisError> {
    for name in given.keys() {
        if descriptor.axis(name).is_none() {
            return Err(unknown(descriptor, name));
        }
    }
    let mut valid = Axes::new();
    for axis in descriptor.axes() {
        if let Some(value) = given.get(axis.name) {
            valid.insert(axis.name.to_owned(), check_value(descriptor.name, axis, value)?);
        }
    }
    let mut resolved = fill(descriptor, &valid);
    if let Some(axis) = descriptor.axes().find(|axis| !resolved.contains_key(axis.name)) {
        return Err(follows_nothing(descriptor, axis));
    }
    if first_failing(descriptor, &resolved).is_some() {
        resolved = adapted(descriptor, &valid).map_err(|nearest| refusal(descriptor, &valid, &nearest))?;
    }
    let output = TensorSpec { name: "out", shape: descriptor.output, ..descriptor.tensors[0] };
    for tensor in descriptor.tensors.iter().chain([&output]).filter(|tensor| tensor.takes_part(&resolved)) {
        // The widest element has eight bytes.
        let bytes = shape_of(tensor.shape, &resolved).into_iter().try_fold(8usize, usize::checked_mul);
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err(AxisError::Overflow {
                variant: descriptor.name,
                tensor: tensor.name,
                values: spell(descriptor, &resolved, |_| true),
            });
        }
    }
    Ok(resolved)
}

/// The fault of a description: a default that follows an axis declared after it, or of another kind.
fn follows_nothing(descriptor: &'static Descriptor, axis: &'static AxisSpec) -> AxisError {
    let problem = format!("follows {:?}, which has no such value", axis.default.followed().unwrap_or_default());
    AxisError::Value { variant: descriptor.name, axis: axis.name, value: "its default".to_owned(), problem }
}

/// Refuses axes that [`resolve`] has not made: whoever runs a variant asks this first, so that [`size`], [`name`], [`number`] and
/// [`precision`] find what they look for, and nothing is run at a size of 0 that nobody chose.
pub fn expect_resolved(descriptor: &'static Descriptor, axes: &Axes) -> Result<(), AxisError> {
    for axis in descriptor.axes() {
        let Some(value) = axes.get(axis.name) else {
            let problem = "is not resolved: an axis is missing".to_owned();
            return Err(AxisError::Value { variant: descriptor.name, axis: axis.name, value: "nothing".to_owned(), problem });
        };
        let is_of_kind = match axis.kind {
            AxisKind::Int { .. } => value.as_int().is_some_and(|value| usize::try_from(value).is_ok()),
            AxisKind::Float { .. } => value.as_float().is_some(),
            AxisKind::Precision => value.as_text().is_some_and(|text| text.parse::<Precision>().is_ok()),
            AxisKind::Choice { .. } | AxisKind::Component { .. } | AxisKind::Text => value.as_text().is_some(),
        };
        if !is_of_kind {
            let problem = "is not resolved: a value of another kind".to_owned();
            return Err(AxisError::Value { variant: descriptor.name, axis: axis.name, value: value.to_string(), problem });
        }
    }
    Ok(())
}

/// Valid values, and the usual defaults for all other axes; one that follows an axis without such a value stays out.
pub(crate) fn fill(descriptor: &'static Descriptor, valid: &Axes) -> Axes {
    let mut filled = Axes::new();
    for axis in descriptor.axes() {
        // An axis may only follow one declared before it.
        if let Some(value) = valid.get(axis.name).cloned().or_else(|| axis.default.following(&filled)) {
            filled.insert(axis.name.to_owned(), value);
        }
    }
    filled
}

/// What is wrong with axes of which a condition fails.
fn refusal(descriptor: &'static Descriptor, given: &Axes, axes: &Axes) -> AxisError {
    let undone = || kept::of(descriptor.name).find(|condition| !(condition.holds)(axes));
    let text = first_failing(descriptor, axes).or_else(undone).map_or("", |failed| failed.text);
    let reason = REASONS.iter().chain(reasons::REASONS).find(|(about, _)| *about == text).and_then(|(_, reason)| reason(axes));
    let (variant, values) =
        (descriptor.name, reason.unwrap_or_else(|| format!("here {}", spell(descriptor, axes, |axis| is_named(axis, text)))));
    if is_about_a_default(descriptor, given, text) {
        return AxisError::Unfit { variant, text, values };
    }
    AxisError::Condition { variant, text, values }
}

/// The value as the axis wants it (an integer may stand for a real number), or what is wrong with it.
///
/// # Errors
/// [`AxisError::Value`] when the axis does not take it.
pub fn check_value(variant: &'static str, axis: &'static AxisSpec, value: &AxisValue) -> Result<AxisValue, AxisError> {
    let wrong = |problem: String| AxisError::Value { variant, axis: axis.name, value: value.to_string(), problem };
    match (axis.kind, value) {
        (AxisKind::Int { min, max }, AxisValue::Int(number)) if (min..=max).contains(number) => Ok(value.clone()),
        (AxisKind::Int { min, max }, _) => Err(wrong(format!("must be a whole number in {min}..={max}"))),
        (AxisKind::Float { min, max }, _) => match value.as_float() {
            Some(number) if (min..=max).contains(&number) => Ok(AxisValue::Float(number)),
            _ => Err(wrong(format!("must be a number in {min}..={max}"))),
        },
        (AxisKind::Choice { of }, AxisValue::Text(name)) if of.contains(&name.as_str()) => Ok(value.clone()),
        (AxisKind::Choice { of }, _) => Err(wrong(format!("must be one of {}", of.join(", ")))),
        (AxisKind::Precision, AxisValue::Text(name)) => {
            // The canonical spelling, so that f32/f32/f32 and f32 are one cell.
            name.parse::<Precision>()
                .map(|precision| AxisValue::Text(precision.to_string()))
                .map_err(|problem| wrong(format!("is no precision: {problem}")))
        }
        (AxisKind::Precision, _) => Err(wrong("must be a precision such as \"f32\"".into())),
        (AxisKind::Text, AxisValue::Text(_)) => Ok(value.clone()),
        // A list of one number, as a command line or a file spells it.
        (AxisKind::Text, AxisValue::Int(number)) => Ok(AxisValue::Text(number.to_string())),
        (AxisKind::Text, _) => Err(wrong("must be text".into())),
        (AxisKind::Component { family }, AxisValue::Text(text)) => match component::parse(family, text) {
            Ok(chosen) => Ok(AxisValue::Text(chosen.spelled())),
            Err(problem) => Err(wrong(format!("is no {family} component: {problem}"))),
        },
        (AxisKind::Component { family }, _) => Err(wrong(format!("must be the name of a variant of the family {family}"))),
    }
}

/// The extents of a symbolic shape.
pub fn shape_of(dims: &[Dim], axes: &Axes) -> Vec<usize> {
    let extent = |name: &str| axes.get(name).and_then(AxisValue::as_int).and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
    dims.iter()
        .flat_map(|dim| match dim {
            Dim::Axis(name) => vec![extent(name)],
            Dim::Rows => vec![extent("batch"), extent("n")],
            Dim::Of(_, extent) => vec![extent(axes)],
        })
        .collect()
}

// The readers below take resolved axes, which have every axis of their variant. They cannot fail, as shapes and patterns are reckoned
// with them all over: of axes that were never resolved they make 0, empty, or f32. So whoever takes axes from outside and runs something
// asks [`expect_resolved`] first (`CellInputs`, `prepare`, `dry_run`, the reference); descriptions alone (`Entry::drawn`, `derived`) do
// not.

/// An axis as a size; resolved axes have it.
pub fn size(axes: &Axes, name: &str) -> usize {
    axes.get(name).and_then(AxisValue::as_int).and_then(|value| usize::try_from(value).ok()).unwrap_or(0)
}

/// An axis as a name; resolved axes have it.
pub fn name<'a>(axes: &'a Axes, axis: &str) -> &'a str {
    axes.get(axis).and_then(AxisValue::as_text).unwrap_or("")
}

/// An axis as a number; resolved axes have it.
pub fn number(axes: &Axes, axis: &str) -> f64 {
    axes.get(axis).and_then(AxisValue::as_float).unwrap_or(0.0)
}

/// The cell's precision; resolved axes have a valid one.
pub fn precision(axes: &Axes) -> Precision {
    name(axes, "precision").parse().unwrap_or(Precision::F32)
}

/// Does every timed call of the cell begin with empty caches?
pub fn is_cold(axes: &Axes) -> bool {
    name(axes, CACHE) == COLD
}

fn unknown(descriptor: &'static Descriptor, axis: &str) -> AxisError {
    let known: Vec<&str> = descriptor.axes().map(|axis| axis.name).collect();
    let closest = closest(axis, known.iter().copied());
    AxisError::Unknown { variant: descriptor.name, axis: axis.to_owned(), closest, known: known.join(", ") }
}

/// The name nearest to `wrong`, where one is near enough to be meant.
pub fn closest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}

/// Is the axis among the words of the condition?
pub fn is_named(axis: &str, condition: &str) -> bool {
    condition.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|word| word == axis)
}

fn spell(descriptor: &Descriptor, axes: &Axes, shown: impl Fn(&str) -> bool) -> String {
    let own = descriptor.axes().filter(|axis| shown(axis.name));
    own.filter_map(|axis| axes.get(axis.name).map(|value| format!("{} = {value}", axis.name))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::find;

    #[test]
    fn axes_that_nobody_resolved_are_refused() {
        let descriptor = find("norm/layer-norm").unwrap().descriptor;
        let resolved = resolve(descriptor, &Axes::new()).unwrap();
        assert_eq!(expect_resolved(descriptor, &resolved), Ok(()));
        for (axis, value) in
            [("n", Some("many".into())), ("precision", Some("f31".into())), ("position", None), ("eps", Some("small".into()))]
        {
            let mut axes = resolved.clone();
            axes.remove(axis);
            axes.extend(value.map(|value: AxisValue| (axis.to_owned(), value)));
            let error = expect_resolved(descriptor, &axes).expect_err(axis).to_string();
            assert!(error.starts_with(&format!("norm/layer-norm: {axis} = ")) && error.contains("is not resolved"), "{error}");
        }
    }

    #[test]
    fn a_text_may_be_written_as_a_number() {
        let descriptor = find("norm/layer-drop").unwrap().descriptor;
        let resolved = resolve(descriptor, &Axes::from([("skip".to_owned(), AxisValue::Int(3))])).unwrap();
        assert_eq!(resolved["skip"], "3".into());
    }
}
