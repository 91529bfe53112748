//! Cells as the question sees them.

use std::collections::BTreeMap;

use crossover_core::axes::{Axes, AxisValue};
use crossover_results::schema::Status;
use crossover_variants::descriptor::{AxisKind, AxisSpec, COMMON_AXES};
use crossover_variants::registry;
use polars::prelude::*;

use super::question::Question;
use crate::columns::{DECLARED_BYTES, RUN, Typed, axis_columns, axis_name};

/// Common axes that are a choice and no part of the problem; those of the way of measuring stay apart like a problem.
const CHOICES: [&str; 3] = ["precision", "threads", "isa"];
/// Beyond this, not every double is a whole number of its own.
const WHOLE: f64 = (1u64 << 53) as f64;

/// A cell with its figures, measured or between measured ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// Its row, where it was measured.
    pub(crate) row: Option<usize>,
    pub(crate) run: i64,
    pub(crate) id: Option<String>,
    pub(crate) variant: String,
    pub(crate) engine: String,
    /// The function that it computes or approximates.
    pub(crate) task: String,
    pub(crate) axes: Axes,
    /// Median time of a call.
    pub(crate) ns: f64,
    /// Its 95 % interval, where it was measured and has one.
    pub(crate) interval: Option<(f64, f64)>,
    /// Declared bytes of all kinds.
    pub(crate) bytes: Option<f64>,
    /// Relative distance from the exact result.
    pub(crate) error: Option<f64>,
    /// True where that result is the variant's own function, which its declared baseline does not compute.
    pub(crate) own_function: bool,
}

impl Point {
    /// What makes it the cell that it is.
    pub(crate) fn cell(&self) -> (&str, &str, String) {
        let axes: Vec<String> = self.axes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (&self.variant, &self.engine, axes.join(" "))
    }

    /// Variant, engine, precision and threads.
    pub(super) fn kind(&self) -> [String; 4] {
        let axis = |name: &str| self.axes.get(name).map_or_else(String::new, AxisValue::to_string);
        [self.variant.clone(), self.engine.clone(), axis("precision"), axis("threads")]
    }

    pub(crate) fn number(&self, axis: &str) -> Option<f64> {
        self.axes.get(axis)?.as_float()
    }

    /// Axes of its family's problem that the question leaves open, without those that all families have. One that takes the value of the length or of the
    /// heads, as by default, is not.
    pub(super) fn own_open_axes(&self, question: &Question) -> Vec<(String, String)> {
        let problem = registry::find(&self.variant).map(|entry| entry.descriptor.problem).unwrap_or_default();
        self.open_axes(question).into_iter().filter(|(open, _)| problem.iter().any(|axis| axis.name == open)).collect()
    }

    /// Axes of the problem that the question leaves open. One that takes the value of the length or of the heads, as by default, is not.
    pub(super) fn open_axes(&self, question: &Question) -> Vec<(String, String)> {
        let sizes = question.sizes(&self.axes);
        let is_fixed = |axis: &str| sizes.iter().any(|(fixed, _)| *fixed == axis);
        let follows = |axis: &str| {
            let leader = [("n_kv", "n"), ("kv_heads", "heads")].into_iter().find(|(follower, _)| *follower == axis);
            leader.is_some_and(|(_, leader)| self.axes.get(leader) == self.axes.get(axis))
        };
        let problem = registry::find(&self.variant).map(|entry| entry.descriptor.problem).unwrap_or_default();
        let of_problem = problem.iter().chain(COMMON_AXES).map(|axis| axis.name).filter(|axis| !CHOICES.contains(axis));
        let open = of_problem.filter(|axis| !is_fixed(axis) && !follows(axis));
        open.filter_map(|axis| Some((axis.to_owned(), self.axes.get(axis)?.to_string()))).collect()
    }
}

/// The cells that may answer, and how many others there are.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) points: Vec<Point>,
    /// Computed in another precision than asked.
    pub(super) emulated: usize,
    /// With an error that the limit of the question says nothing of.
    pub(super) own_function: usize,
}

/// The newest records of the cells that are meant, where they are `ok`. An earlier record of such a cell answers nothing, however the
/// newest ended. `cells` has the columns of [`crate::frames::strong`].
pub(super) fn points(cells: &DataFrame, question: &Question) -> PolarsResult<Found> {
    let reader = Reader::of(cells)?;
    let mut found = Found::default();
    for row in newest(cells)? {
        let status = reader.text("status", row)?;
        let is_emulated = status == Status::Emulated.name();
        if status != Status::Ok.name() && !is_emulated {
            continue;
        }
        let Some(point) = reader.point(row)?.filter(|point| reader.is_meant(point, row, question)) else { continue };
        if is_emulated {
            found.emulated += 1;
        } else if point.own_function && question.max_error.is_some() {
            found.own_function += 1;
        } else {
            found.points.push(point);
        }
    }
    Ok(found)
}

/// When a record was finished, in which run, and its row.
type Age = (Option<i64>, Option<i64>, usize);

/// The row of each cell that was finished last; of two at the same time, that of the run which was named later.
fn newest(cells: &DataFrame) -> PolarsResult<Vec<usize>> {
    let (ids, finished, runs) = (cells.texts("id")?, cells.ints("finished_unix_ms")?, cells.ints(RUN)?);
    let mut newest: BTreeMap<Option<&str>, Age> = BTreeMap::new();
    for row in 0..cells.height() {
        let record = (finished.get(row), runs.get(row), row);
        newest.entry(ids.get(row)).and_modify(|known| *known = record.max(*known)).or_insert(record);
    }
    let mut rows: Vec<usize> = newest.into_values().map(|(_, _, row)| row).collect();
    rows.sort_unstable();
    Ok(rows)
}

/// A value as its axis takes it. Where a share of one variant and a count of another have the same name, a table has both as doubles.
fn value(axis: Option<&AxisSpec>, text: &str) -> AxisValue {
    let is_count = axis.is_some_and(|axis| matches!(axis.kind, AxisKind::Int { .. }));
    match AxisValue::parse(text) {
        AxisValue::Float(number) if is_count && number.fract() == 0.0 && number.abs() <= WHOLE => AxisValue::Int(number as i64),
        value => value,
    }
}

struct Reader<'a> {
    cells: &'a DataFrame,
    axes: Vec<String>,
    families: &'a StringChunked,
}

impl<'a> Reader<'a> {
    fn of(cells: &'a DataFrame) -> PolarsResult<Self> {
        Ok(Self { cells, axes: axis_columns(cells.schema()), families: cells.texts("family")? })
    }

    fn text(&self, column: &str, row: usize) -> PolarsResult<&'a str> {
        Ok(self.cells.texts(column)?.get(row).unwrap_or_default())
    }

    fn point(&self, row: usize) -> PolarsResult<Option<Point>> {
        let int = |column: &str| Ok::<_, PolarsError>(self.cells.ints(column)?.get(row));
        let Some(median) = int("median_ns")?.filter(|median| *median > 0) else { return Ok(None) };
        let variant = self.text("variant", row)?.to_owned();
        let entry = registry::find(&variant);
        let mut axes = Axes::new();
        for column in &self.axes {
            let (name, text) = (axis_name(column), self.cells.shown(column, row)?);
            let axis = entry.as_ref().and_then(|entry| entry.descriptor.axis(name));
            axes.extend(text.map(|text| (name.to_owned(), value(axis, &text))));
        }
        let parts = DECLARED_BYTES.iter().map(|part| int(part)).collect::<PolarsResult<Option<Vec<_>>>>()?;
        let error = self.cells.doubles("err_method_rel")?.get(row);
        Ok(Some(Point {
            row: Some(row),
            run: int(RUN)?.unwrap_or_default(),
            id: Some(self.text("id", row)?.to_owned()),
            engine: self.text("engine", row)?.to_owned(),
            task: entry.map_or_else(|| variant.clone(), |entry| entry.descriptor.task.to_owned()),
            variant,
            axes,
            ns: median as f64,
            interval: int("ci_low_ns")?.zip(int("ci_high_ns")?).map(|(low, high)| (low as f64, high as f64)),
            bytes: parts.map(|parts| parts.iter().map(|part| *part as f64).sum()),
            error,
            own_function: error.is_some() && self.cells.flags("own_function")?.get(row) == Some(true),
        }))
    }

    fn is_meant(&self, point: &Point, row: usize, question: &Question) -> bool {
        let axis = |name: &str| point.axes.get(name).map(AxisValue::to_string);
        let passes = |wanted: &Option<String>, found: Option<String>| wanted.is_none() || *wanted == found;
        question.means(self.families.get(row).unwrap_or_default(), &point.task)
            && !question.sizes(&point.axes).is_empty()
            && passes(&question.engine, Some(point.engine.clone()))
            && passes(&question.precision, axis("precision"))
            && passes(&question.threads.map(|threads| threads.to_string()), axis("threads"))
    }
}
