//! Cells as the question sees them.

use crossover_core::axes::{Axes, AxisValue};
use crossover_results::schema::Status;
use crossover_variants::descriptor::COMMON_AXES;
use crossover_variants::registry;
use polars::prelude::*;

use super::question::Question;
use crate::columns::{DECLARED_BYTES, RUN, Typed, axis_columns, axis_name};

/// Common axes that are a choice and no part of the problem; those of the way of measuring stay apart like a problem.
const CHOICES: [&str; 3] = ["precision", "threads", "isa"];

/// A cell with its figures, measured or between measured ones.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// Its row, where it was measured.
    pub(crate) row: Option<usize>,
    pub(crate) run: i64,
    pub(crate) id: Option<String>,
    pub(crate) finished: i64,
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

/// The cells that may answer, and how many others are emulated. Of a cell that was measured more than once, the newest record counts.
pub(super) fn points(cells: &DataFrame, question: &Question) -> PolarsResult<(Vec<Point>, usize)> {
    let reader = Reader::of(cells)?;
    let (mut points, mut emulated): (Vec<Point>, usize) = (Vec::new(), 0);
    for row in 0..cells.height() {
        let status = reader.text("status", row)?;
        let is_emulated = status == Status::Emulated.name();
        if status != Status::Ok.name() && !is_emulated {
            continue;
        }
        match reader.point(row)?.filter(|point| reader.is_meant(point, row, question)) {
            Some(_) if is_emulated => emulated += 1,
            found => points.extend(found),
        }
    }
    points.sort_by_cached_key(|point| (point.id.clone(), std::cmp::Reverse((point.finished, point.run))));
    points.dedup_by(|later, first| later.id == first.id);
    Ok((points, emulated))
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
        let mut axes = Axes::new();
        for column in &self.axes {
            let value = self.cells.shown(column, row)?;
            axes.extend(value.map(|value| (axis_name(column).to_owned(), AxisValue::parse(&value))));
        }
        let parts = DECLARED_BYTES.iter().map(|part| int(part)).collect::<PolarsResult<Option<Vec<_>>>>()?;
        let variant = self.text("variant", row)?.to_owned();
        Ok(Some(Point {
            row: Some(row),
            run: int(RUN)?.unwrap_or_default(),
            id: Some(self.text("id", row)?.to_owned()),
            finished: int("finished_unix_ms")?.unwrap_or_default(),
            engine: self.text("engine", row)?.to_owned(),
            task: registry::find(&variant).map_or_else(|| variant.clone(), |entry| entry.descriptor.task.to_owned()),
            variant,
            axes,
            ns: median as f64,
            interval: int("ci_low_ns")?.zip(int("ci_high_ns")?).map(|(low, high)| (low as f64, high as f64)),
            bytes: parts.map(|parts| parts.iter().map(|part| *part as f64).sum()),
            error: self.cells.doubles("err_method_rel")?.get(row),
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
