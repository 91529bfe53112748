//! Names and `key=value` pairs as typed on a command line.

use anyhow::Result;
use crossover_core::axes::AxisValue;
use crossover_variants::registry::{self, Entry};
use crossover_variants::resolve::closest;

use crate::errors::bad_input;

/// The variant of that name.
pub(super) fn variant(name: &str) -> Result<Entry> {
    registry::find(name).ok_or_else(|| {
        let nearest = registry::closest(name).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        bad_input(format!("unknown variant {name:?}\n  {nearest}`crossover list variants` prints them all"))
    })
}

/// `key=value` in two.
pub(super) fn pair(text: &str) -> Result<(&str, &str)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key, value)),
        _ => Err(bad_input(format!("{text:?} is not of the form name=value"))),
    }
}

/// An axis of the variant and its value. Whether the value fits is for whoever knows the other axes.
pub(super) fn axis(entry: &Entry, name: &str, value: &str) -> Result<(String, AxisValue)> {
    let descriptor = entry.descriptor;
    if descriptor.axis(name).is_none() {
        let names: Vec<&str> = descriptor.axes().map(|axis| axis.name).collect();
        let nearest = closest(name, names.iter().copied()).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        return Err(bad_input(format!("{} has no axis {name:?}\n  {nearest}its axes are {}", descriptor.name, names.join(", "))));
    }
    Ok((name.to_owned(), AxisValue::parse(value)))
}
