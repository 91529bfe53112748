//! Which columns the axes get. A table's columns must be known before its first row, so all records are looked at once before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crossover_core::axes::{Axes, AxisValue};

use super::column::{Kind, Value};
use super::fixed::fixed_columns;

/// Put before the name of an axis that is also the name of a fixed column.
const PREFIX: &str = "axis_";
/// Beyond this, not every integer is a double.
const EXACT: u64 = 1 << 53;

/// The axes seen in a set of records, and the kinds of their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AxisColumns {
    seen: BTreeMap<String, Kinds>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kinds {
    int: bool,
    /// An integer that would not survive as a double.
    large_int: bool,
    float: bool,
    text: bool,
}

impl Kinds {
    /// Integers stay integers, numbers of both kinds become doubles as long as none is changed by that, all else becomes text.
    fn column(self) -> Kind {
        match (self.text, self.float, self.int) {
            (true, ..) => Kind::Text,
            (_, true, true) if self.large_int => Kind::Text,
            (_, true, _) => Kind::Double,
            _ => Kind::Int,
        }
    }
}

impl AxisColumns {
    /// Takes note of one record's axes.
    pub fn add(&mut self, axes: &Axes) {
        for (name, value) in axes {
            if !self.seen.contains_key(name) {
                self.seen.insert(name.clone(), Kinds::default());
            }
            let Some(kinds) = self.seen.get_mut(name) else { continue };
            match value {
                AxisValue::Int(value) => {
                    kinds.int = true;
                    kinds.large_int |= value.unsigned_abs() > EXACT;
                }
                AxisValue::Float(_) => kinds.float = true,
                AxisValue::Text(_) => kinds.text = true,
            }
        }
    }

    /// The column of every axis: its own name, prefixed where a fixed column or another axis has it.
    pub fn names(&self) -> BTreeMap<String, String> {
        let fixed: BTreeSet<&str> = fixed_columns().iter().map(|column| column.name).collect();
        let collides = |name: &str| name.is_empty() || fixed.contains(name);
        let mut taken: BTreeSet<String> = self.seen.keys().filter(|name| !collides(name)).cloned().collect();
        let mut names = BTreeMap::new();
        for axis in self.seen.keys() {
            let mut column = axis.clone();
            if collides(axis) {
                column.insert_str(0, PREFIX);
                while taken.contains(&column) || collides(&column) {
                    column.insert_str(0, PREFIX);
                }
                taken.insert(column.clone());
            }
            names.insert(axis.clone(), column);
        }
        names
    }

    /// The kinds of all columns, by axis.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.seen.iter().map(|(name, kinds)| (name.as_str(), kinds.column()))
    }

    /// True if a column for each of these axes was foreseen.
    pub(super) fn covers(&self, axes: &Axes) -> bool {
        axes.keys().all(|name| self.seen.contains_key(name))
    }
}

/// An axis value as a column of some kind holds it.
pub(super) fn as_kind(value: &AxisValue, kind: Kind) -> Value<'_> {
    match (kind, value) {
        (Kind::Text, AxisValue::Text(text)) => Value::text(text),
        (Kind::Text, number) => Value::Text(Cow::Owned(number.to_string())),
        (Kind::Double, AxisValue::Int(value)) => Value::Double(*value as f64),
        (_, AxisValue::Int(value)) => Value::Int(*value),
        (_, AxisValue::Float(value)) => Value::Double(*value),
        (_, AxisValue::Text(text)) => Value::text(text),
    }
}
