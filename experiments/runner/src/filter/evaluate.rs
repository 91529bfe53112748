//! A checked expression and its value for a row.

use std::cmp::Ordering;

use crossover_core::axes::{Axes, AxisValue};

use super::error::FilterError;
use super::lexer::Operator;
use super::parser::parse;

/// What a filter sees of a cell.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The variant's name.
    pub variant: &'a str,
    /// Its family.
    pub family: &'a str,
    /// The engine's name.
    pub engine: &'a str,
    /// The experiment's name.
    pub experiment: &'a str,
    /// Is it what others are compared with?
    pub baseline: bool,
    /// Its axes, defaults filled in.
    pub axes: &'a Axes,
}

/// A checked filter expression.
#[derive(Debug, Clone)]
pub struct Filter(Expression);

impl Filter {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse(text).map(Self)
    }

    /// Is this row kept?
    pub fn keeps(&self, row: &Row<'_>) -> bool {
        self.0.holds(row)
    }

    /// Is this row kept, or none of its business because it lacks an axis that the expression looks at?
    pub fn admits(&self, row: &Row<'_>) -> bool {
        self.0.lacks_one(row.axes) || self.0.holds(row)
    }

    /// The names with which it compares the engine.
    pub fn engines(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.engines(&mut names);
        names
    }

    /// Does it look at this axis?
    pub fn reads(&self, axis: &str) -> bool {
        self.0.reads(axis)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Truth(Operand),
    Compare(Operand, Operator, Operand),
    In(Operand, Vec<Operand>),
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Variant,
    Family,
    Engine,
    Experiment,
    Baseline,
    Axis(&'static str),
    Text(String),
    Int(i64),
    Float(f64),
    Truth(bool),
}

/// The value of an operand for one row.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Float(f64),
    Truth(bool),
}

impl Operand {
    pub(super) fn column(name: &'static str) -> Self {
        match name {
            "variant" => Self::Variant,
            "family" => Self::Family,
            "engine" => Self::Engine,
            "experiment" => Self::Experiment,
            "baseline" => Self::Baseline,
            axis => Self::Axis(axis),
        }
    }

    pub(super) fn is_constant(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Int(_) | Self::Float(_) | Self::Truth(_))
    }

    /// `None` where the row lacks the axis.
    fn value<'a>(&'a self, row: &Row<'a>) -> Option<Value<'a>> {
        Some(match self {
            Self::Variant => Value::Text(row.variant),
            Self::Family => Value::Text(row.family),
            Self::Engine => Value::Text(row.engine),
            Self::Experiment => Value::Text(row.experiment),
            Self::Baseline => Value::Truth(row.baseline),
            Self::Axis(name) => match row.axes.get(*name)? {
                AxisValue::Int(number) => Value::Int(*number),
                AxisValue::Float(number) => Value::Float(*number),
                AxisValue::Text(text) => Value::Text(text),
            },
            Self::Text(text) => Value::Text(text),
            Self::Int(number) => Value::Int(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Truth(truth) => Value::Truth(*truth),
        })
    }
}

impl Expression {
    fn reads(&self, axis: &str) -> bool {
        self.any_axis(&|name| name == axis)
    }

    fn engines<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().for_each(|part| part.engines(names)),
            Self::Not(inner) => inner.engines(names),
            Self::Compare(Operand::Engine, _, Operand::Text(name)) | Self::Compare(Operand::Text(name), _, Operand::Engine) => {
                names.push(name)
            }
            Self::In(Operand::Engine, items) => {
                names.extend(items.iter().filter_map(|item| if let Operand::Text(name) = item { Some(name.as_str()) } else { None }));
            }
            Self::Truth(_) | Self::Compare(..) | Self::In(..) => {}
        }
    }

    fn lacks_one(&self, axes: &Axes) -> bool {
        self.any_axis(&|name| !axes.contains_key(name))
    }

    fn any_axis(&self, is_it: &dyn Fn(&str) -> bool) -> bool {
        let of = |operand: &Operand| matches!(operand, Operand::Axis(name) if is_it(name));
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().any(|part| part.any_axis(is_it)),
            Self::Not(inner) => inner.any_axis(is_it),
            Self::Truth(operand) => of(operand),
            Self::Compare(left, _, right) => of(left) || of(right),
            Self::In(left, items) => of(left) || items.iter().any(of),
        }
    }

    fn holds(&self, row: &Row<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Self::All(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Not(inner) => !inner.holds(row),
            Self::Truth(operand) => matches!(operand.value(row), Some(Value::Truth(true))),
            Self::Compare(left, operator, right) => operator.holds(order(left, right, row)),
            Self::In(left, items) => items.iter().any(|item| order(left, item, row) == Some(Ordering::Equal)),
        }
    }
}

impl Operator {
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => order.is_some_and(Ordering::is_le),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
        }
    }
}

/// `None` where a side is missing or the kinds differ (only columns of mixed kind get here).
fn order(left: &Operand, right: &Operand, row: &Row<'_>) -> Option<Ordering> {
    match (left.value(row)?, right.value(row)?) {
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Truth(one), Value::Truth(other)) => Some(one.cmp(&other)),
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(&other)),
        (Value::Int(one), Value::Float(other)) => (one as f64).partial_cmp(&other),
        (Value::Float(one), Value::Int(other)) => one.partial_cmp(&(other as f64)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(&other),
        _ => None,
    }
}
