//! How the time grows with the size of the problem, beside how it should grow.
//!
//! Along a curve (see [`super::series`]) over a size of the problem, the exponent is the slope of the median over the size, both in logarithms. It is
//! put beside the same slope of the operations and of the bytes that were counted for these very cells, not beside an O(n) from a textbook, which
//! holds only where the largest term has swallowed the others.
//!
//! A curve need not be a power: caches end somewhere, and small sizes are mostly overhead. So each exponent has the farthest point's distance from
//! the line beside its interval. The interval is that of the fit; what each median is off by is not in it.

use polars::prelude::*;

use super::order::AxisRoles;
use super::series::Series;
use super::taken;
use crate::columns::{PRECISION, RUN, THREADS, Typed};
use crate::fits::{self, Line};

/// Below this an exponent has no interval, so nothing can be said of it.
const FEWEST: usize = 3;

/// An interval wider than this holds a slope by being wide: half a power of the size.
const WIDE: f64 = 0.5;
/// Slopes nearer to each other than this need not be told apart.
const ALIKE: f64 = 0.1;

/// Whether the time grows as what has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// As the operations.
    Operations,
    /// As the bytes, and not as the operations.
    Bytes,
    /// Between the two.
    Between,
    /// Faster than both.
    Steeper,
    /// Slower than both.
    Flatter,
    /// The interval leaves open which of them, or nearly anything.
    Unclear,
    /// Nothing was counted that it could be held against.
    Unknown,
    /// Fewer than three sizes.
    TooFew,
}

impl Growth {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::Bytes => "bytes",
            Self::Between => "between",
            Self::Steeper => "steeper",
            Self::Flatter => "flatter",
            Self::Unclear => "unclear",
            Self::Unknown => "unknown",
            Self::TooFew => "too-few",
        }
    }

    fn of(low: f64, high: f64, operations: Option<f64>, bytes: Option<f64>) -> Self {
        let within = |slope: Option<f64>| slope.is_some_and(|slope| low <= slope && slope <= high);
        let all = || [operations, bytes].into_iter().flatten();
        let has_either = within(operations) || within(bytes);
        let cannot_tell =
            within(operations) && within(bytes) && !operations.zip(bytes).is_some_and(|(one, other)| (one - other).abs() <= ALIKE);
        if has_either && (cannot_tell || high - low > WIDE) {
            Self::Unclear
        } else if within(operations) {
            Self::Operations
        } else if within(bytes) {
            Self::Bytes
        } else if all().next().is_none() {
            Self::Unknown
        } else if all().all(|slope| slope < low) {
            Self::Steeper
        } else if all().all(|slope| slope > high) {
            Self::Flatter
        } else {
            Self::Between
        }
    }
}

struct Curve {
    series: Series,
    first: usize,
    points: usize,
    ends: (f64, f64),
    fit: Option<Line>,
    operations: Option<f64>,
    bytes: Option<f64>,
    growth: Growth,
}

/// One row a curve over a size of the problem that has at least two cells which ended well, from rows in the order of tables: `run`, `machine`,
/// `family`, `engine`, `variant`, `axis:precision`, `axis:threads`, `axis` (the moving one), `setting`, `points` (different sizes), `from`, `to`, `exponent`,
/// `exponent_low`, `exponent_high`, `farthest` (as a factor), `flops_exponent`, `bytes_exponent`, `growth` ([`Growth`]). Emulated cells are left out.
pub(crate) fn scaling(rows: &DataFrame, roles: &AxisRoles, curves: &[Series]) -> PolarsResult<DataFrame> {
    let figures = Figures::of(rows)?;
    let of_problem = |series: &Series| roles.problem.contains(&series.axis);
    let of_problem = curves.iter().filter(|series| of_problem(series));
    let curves: Vec<Curve> = of_problem.filter_map(|series| figures.curve(series.clone())).collect();
    table(rows, &curves)
}

struct Figures<'a> {
    status: &'a StringChunked,
    medians: &'a Int64Chunked,
    flops: &'a Int64Chunked,
    bytes: &'a Int64Chunked,
}

impl<'a> Figures<'a> {
    fn of(frame: &'a DataFrame) -> PolarsResult<Self> {
        let [medians, flops, bytes] = ["median_ns", "flops", "bytes"].map(|column| frame.ints(column));
        Ok(Self { status: frame.texts("status")?, medians: medians?, flops: flops?, bytes: bytes? })
    }

    fn curve(&self, series: Series) -> Option<Curve> {
        let timed = |row: usize| self.status.get(row) == Some("ok") && positive(self.medians, row).is_some();
        let rows: Vec<(f64, usize)> = series.points.iter().copied().filter(|(x, row)| *x > 0.0 && timed(*row)).collect();
        let (first, last) = (rows.first()?, rows.last()?);
        let times = logarithms(self.medians, &rows)?;
        if times.len() < 2 {
            return None;
        }
        let fit = fits::line(&times).filter(|_| times.len() >= FEWEST);
        let slope = |column| Some(fits::line(&logarithms(column, &rows)?)?.slope);
        let (operations, bytes) = (slope(self.flops), slope(self.bytes));
        let growth = match fit.and_then(|fit| fit.interval) {
            None => Growth::TooFew,
            Some((low, high)) => Growth::of(low, high, operations, bytes),
        };
        let (first, ends) = (first.1, (first.0, last.0));
        Some(Curve { points: times.len(), series, first, ends, fit, operations, bytes, growth })
    }
}

fn positive(column: &Int64Chunked, row: usize) -> Option<f64> {
    column.get(row).filter(|value| *value > 0).map(|value| value as f64)
}

/// A point a size, in logarithms. None where one of them has no such figure, as a slope over fewer sizes than the others' would not be comparable.
fn logarithms(column: &Int64Chunked, rows: &[(f64, usize)]) -> Option<Vec<(f64, f64)>> {
    let point = |(x, row): &(f64, usize)| Some((x.ln(), positive(column, *row)?.ln()));
    rows.iter().map(point).collect()
}

fn table(rows: &DataFrame, curves: &[Curve]) -> PolarsResult<DataFrame> {
    let first: Vec<usize> = curves.iter().map(|curve| curve.first).collect();
    let numbers = |of: fn(&Curve) -> Option<f64>| curves.iter().map(of).collect::<Vec<_>>();
    let more = df!(
        "axis" => curves.iter().map(|curve| curve.series.axis.as_str()).collect::<Vec<_>>(),
        "setting" => curves.iter().map(|curve| curve.series.setting.as_str()).collect::<Vec<_>>(),
        "points" => curves.iter().map(|curve| curve.points as i64).collect::<Vec<_>>(),
        "from" => numbers(|curve| Some(curve.ends.0)),
        "to" => numbers(|curve| Some(curve.ends.1)),
        "exponent" => numbers(|curve| Some(curve.fit?.slope)),
        "exponent_low" => numbers(|curve| Some(curve.fit?.interval?.0)),
        "exponent_high" => numbers(|curve| Some(curve.fit?.interval?.1)),
        "farthest" => numbers(|curve| Some(curve.fit?.farthest.exp())),
        "flops_exponent" => numbers(|curve| curve.operations),
        "bytes_exponent" => numbers(|curve| curve.bytes),
        "growth" => curves.iter().map(|curve| curve.growth.name()).collect::<Vec<_>>(),
    )?;
    let columns = [RUN, "machine", "family", "engine", "variant", PRECISION, THREADS];
    taken(rows, &first, &columns, more, &["family", "machine", RUN, "axis", THREADS, PRECISION, "variant", "setting", "engine"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};
    use crate::frames::order::{axis_roles, sorted};
    use crate::frames::series::series;

    /// Cells at these lengths; the operations and bytes are given as functions of the length.
    fn rows(times: &[(i64, i64)], flops: fn(i64) -> i64, bytes: fn(i64) -> i64, backwards: bool) -> DataFrame {
        let mut cells: Vec<Cell> = times
            .iter()
            .map(|(n, median)| Cell { n: *n, id: "x", group: format!("{n}").leak(), median: Some(*median), ..Cell::default() })
            .collect();
        if backwards {
            cells.reverse();
        }
        let mut frame = frame(&cells);
        for (name, of) in [("flops", flops), ("bytes", bytes)] {
            let column: Int64Chunked = cells.iter().map(|cell| Some(of(cell.n))).collect();
            frame.with_column(column.with_name(name.into()).into_column()).unwrap();
        }
        let roles = axis_roles(&frame.clone().lazy()).unwrap();
        grown(&sorted(frame.lazy(), &roles).collect().unwrap(), &roles)
    }

    fn grown(rows: &DataFrame, roles: &AxisRoles) -> DataFrame {
        scaling(rows, roles, &series(rows, roles).unwrap()).unwrap()
    }

    fn figure(table: &DataFrame, column: &str) -> Option<f64> {
        table.doubles(column).unwrap().get(0)
    }

    #[test]
    fn a_power_law_has_its_exponent_and_agrees_with_the_operations() {
        for backwards in [false, true] {
            let table = rows(&[(64, 4096), (128, 16_384), (256, 65_536)], |n| 7 * n * n, |n| 9 * n, backwards);
            assert_eq!((table.height(), table.ints("points").unwrap().get(0)), (1, Some(3)));
            for (column, expected) in
                [("exponent", 2.0), ("flops_exponent", 2.0), ("bytes_exponent", 1.0), ("from", 64.0), ("to", 256.0), ("farthest", 1.0)]
            {
                assert!((figure(&table, column).unwrap() - expected).abs() < 1e-9, "{column}");
            }
            assert_eq!(table.texts("axis").unwrap().get(0), Some("axis:n"));
        }
    }

    #[test]
    fn the_interval_decides_what_the_time_grows_like() {
        let growth = |times: &[(i64, i64)], flops: fn(i64) -> i64, bytes: fn(i64) -> i64| {
            rows(times, flops, bytes, false).texts("growth").unwrap().get(0).unwrap().to_owned()
        };
        // Linear within a few percent.
        let linear = [(64, 640), (128, 1300), (256, 2540), (512, 5130)];
        assert_eq!(growth(&linear, |n| n, |n| n * n), "operations");
        assert_eq!(growth(&linear, |n| n * n, |n| n), "bytes");
        assert_eq!(growth(&linear, |n| n * n, |_| 5), "between");
        assert_eq!(growth(&linear, |n| n * n, |n| n * n), "flatter");
        assert_eq!(growth(&linear, |_| 5, |_| 5), "steeper");
        assert_eq!(growth(&linear, |_| 0, |_| 0), "unknown");
        // Three sizes that do not lie on a line allow nearly every slope, and so no word.
        let bent = [(64, 640), (128, 1000), (256, 4000)];
        assert_eq!(growth(&bent, |n| n, |n| n * n), "unclear");
        assert_eq!(growth(&bent, |n| n, |n| n), "unclear");
        assert_eq!(growth(&linear[..2], |n| n, |n| n), "too-few");
    }

    #[test]
    fn a_curve_over_a_parameter_is_none_over_a_size() {
        let cell = |id, rank, median| Cell { id, rank: Some(rank), median: Some(median), ..Cell::default() };
        let frame = frame(&[cell("a", 8, 100), cell("b", 16, 200), cell("c", 32, 400)]);
        let roles = axis_roles(&frame.clone().lazy()).unwrap();
        assert_eq!(grown(&frame, &roles).height(), 0);
    }

    #[test]
    fn what_did_not_end_well_is_no_point() {
        let at = |id, n, status| Cell { id, n, status, group: id, median: Some(n), ..Cell::default() };
        let frame = frame(&[at("a", 64, "ok"), at("b", 128, "ok"), at("c", 256, "emulated"), at("d", 512, "oom")]);
        let roles = axis_roles(&frame.clone().lazy()).unwrap();
        let table = grown(&frame, &roles);
        assert_eq!((table.ints("points").unwrap().get(0), figure(&table, "to"), figure(&table, "exponent")), (Some(2), Some(128.0), None));
        assert_eq!(figure(&table, "flops_exponent"), Some(0.0));
    }
}
