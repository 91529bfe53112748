//! The axes of a cell: the named values that say which problem is solved and how.
//!
//! Everything that distinguishes two cells of one variant on one engine is an axis (sequence length, rank, precision, threads,
//! seed, ...). Axes travel as one sorted map, so that the plan, the wire, the journal and the tables all speak of the same names.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One axis value. The order of the arms matters to serde: an integer literal stays an integer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AxisValue {
    /// A count or a size: `n = 1024`.
    Int(i64),
    /// A share or a factor: `sparsity = 0.9`.
    Float(f64),
    /// A name: `precision = "bf16"`.
    Text(String),
}

/// All axes of one cell, sorted by name.
pub type Axes = BTreeMap<String, AxisValue>;

impl AxisValue {
    /// The integer, where this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, where this is one (integers widen).
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(_) => None,
        }
    }

    /// The text, where this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// Reads a value as typed on a command line: an integer, else a finite number, else text.
    pub fn parse(text: &str) -> Self {
        if let Ok(value) = text.parse::<i64>() {
            return Self::Int(value);
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Self::Float(value),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for AxisValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            // Debug keeps the point of 1.0 and the shortest digits that read back the same.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

impl From<i64> for AxisValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for AxisValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for AxisValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_keeps_the_kind_that_was_typed() {
        assert_eq!(AxisValue::parse("128"), AxisValue::Int(128));
        assert_eq!(AxisValue::parse("0.5"), AxisValue::Float(0.5));
        assert_eq!(AxisValue::parse("bf16"), AxisValue::Text("bf16".into()));
        // A NaN would make a cell that is not equal to itself.
        assert_eq!(AxisValue::parse("nan"), AxisValue::Text("nan".into()));
    }

    #[test]
    fn display_reads_back_the_same() {
        for value in [AxisValue::Int(-3), AxisValue::Float(1.0), AxisValue::Float(0.1), AxisValue::from("relu")] {
            assert_eq!(AxisValue::parse(&value.to_string()), value);
        }
    }
}
