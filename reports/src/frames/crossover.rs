//! Where a variant overtakes the strong baseline: the question that the project is named after.
//!
//! One line for every curve (see [`super::series`]) of a variant whose times have a ratio to the strong baseline (see [`super::strong`]) at two points
//! or more; what becomes of the ratio along it is [`super::course`]'s to say. A ratio that is not of one time is even: what drifted
//! meanwhile is in it.
//!
//! A curve *pays* where its verdict wins, and its error at the first point that is faster is not above [`WRONG`]: being fast and wrong is no
//! merit.

use polars::prelude::*;

use super::course::{Found, Point, State, Verdict, find};
use super::series::Series;
use super::taken;
use super::unprofitable::WRONG;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::runs::ASSUMED_FLOOR;
use crate::text::units::figure;

/// One row a curve, from rows of [`super::strong`] (sorted, with `declared_ratio`): `run`, `machine`, `family`, `engine`, `variant`, `exact`, `own_function`,
/// `axis:precision`, `axis:threads`, `axis` (the moving one), `setting`, `verdict`, `words` (the verdict for people), `wins`, `pays`, `crossing`, `crossing_low`,
/// `crossing_high`, `from`, `to` (the range with ratios), `points`, `faster` (of them), `failed` (points where the variant did not end well), `alone` (where it did
/// and the baseline did not), `against` (variants that were the strong baseline), and of the point where it is faster first (`at`; the best one where it never
/// is): `id`, `ratio`, `ratio_low`, `ratio_high`, `err_method_rel`, `error_ratio`, `declared_ratio`. `floors` are the runs' noise floors.
pub(crate) fn crossovers(rows: &DataFrame, curves: &[Series], floors: &[f64]) -> PolarsResult<DataFrame> {
    let figures = Figures::of(rows)?;
    let mut lines = Vec::new();
    for curve in curves {
        lines.extend(figures.line(curve, floors)?);
    }
    table(rows, &lines)
}

struct Line {
    curve: Series,
    found: Found,
    pays: bool,
    points: usize,
    faster: usize,
    failed: usize,
    alone: usize,
    against: String,
    from: f64,
    to: f64,
    /// The point that is told of.
    told: Point,
}

struct Figures<'a> {
    frame: &'a DataFrame,
    runs: &'a Int64Chunked,
    apart: &'a BooleanChunked,
    errors: &'a Float64Chunked,
    ratio: [&'a Float64Chunked; 3],
}

impl<'a> Figures<'a> {
    fn of(frame: &'a DataFrame) -> PolarsResult<Self> {
        let ratio = [frame.doubles("strong_ratio")?, frame.doubles("strong_low")?, frame.doubles("strong_high")?];
        Ok(Self { frame, runs: frame.ints(RUN)?, apart: frame.flags("strong_apart")?, errors: frame.doubles("err_method_rel")?, ratio })
    }

    /// Nothing for the baseline itself, and where fewer than two points have a ratio.
    fn line(&self, curve: &Series, floors: &[f64]) -> PolarsResult<Option<Line>> {
        let (status, own, against) = (self.frame.texts("status")?, self.frame.flags("own_baseline")?, self.frame.texts("strong:variant")?);
        let mut line = (Vec::new(), 0, 0);
        let mut names: Vec<&str> = Vec::new();
        for (x, row) in &curve.points {
            if own.get(*row) == Some(true) {
                return Ok(None);
            }
            let [ratio, low, high] = self.ratio.map(|column| column.get(*row));
            match (status.get(*row), ratio) {
                (Some("ok"), Some(ratio)) => {
                    // Without an interval nothing is shown, nor by times that lie apart.
                    let is_apart = self.apart.get(*row) == Some(true);
                    let [low, high] = [low, high].map(|end| end.filter(|_| !is_apart));
                    line.0.push(Point { x: *x, row: *row, ratio, low: low.unwrap_or(0.0), high: high.unwrap_or(f64::INFINITY) });
                    names.extend(against.get(*row));
                }
                (Some("ok"), None) => line.2 += 1,
                _ => line.1 += 1,
            }
        }
        let (points, failed, alone) = line;
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(None) };
        if first.x == last.x {
            return Ok(None);
        }
        let run = self.runs.get(first.row).and_then(|run| usize::try_from(run).ok());
        let floor = run.and_then(|run| floors.get(run).copied()).unwrap_or(ASSUMED_FLOOR);
        let found = find(&points, floor);
        let faster: Vec<Point> = points.iter().copied().filter(|point| point.state(floor) == State::Faster).collect();
        let best = points.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let Some(told) = faster.first().or(best).copied() else { return Ok(None) };
        // What nobody knows to be wrong is not called so.
        let pays = found.verdict.wins() && self.errors.get(told.row).is_none_or(|error| error <= WRONG);
        names.sort_unstable();
        names.dedup();
        let (from, to) = (first.x, last.x);
        let (points, faster, against) = (points.len(), faster.len(), names.join(", "));
        Ok(Some(Line { curve: curve.clone(), found, pays, points, faster, failed, alone, against, from, to, told }))
    }
}

/// What a line says, as `from n = 900 [850, 960]`.
fn words(line: &Line) -> String {
    let (axis, found) = (axis_name(&line.curve.axis), &line.found);
    let crossing =
        || found.crossing.map_or_else(String::new, |[at, low, high]| format!("{axis} = {} [{}, {}]", size(at), size(low), size(high)));
    let range = || format!("{axis} = {}..{}", size(line.from), size(line.to));
    match found.verdict {
        Verdict::From => format!("from {}", crossing()),
        Verdict::UpTo => format!("up to {}", crossing()),
        Verdict::Everywhere => format!("throughout {}", range()),
        Verdict::Never => format!("never up to {axis} = {}: {}", size(line.to), figure(line.told.ratio)),
        Verdict::By => format!("by {axis} = {}", size(line.told.x)),
        Verdict::Mixed => format!("more than one change in {}", range()),
        Verdict::Undecided => "undecided".to_owned(),
    }
}

/// A place on an axis: lengths and counts are whole, so a digit behind the point tells nothing; shares keep theirs.
pub(crate) fn size(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 { format!("{value:.0}") } else { figure(value) }
}

fn table(rows: &DataFrame, lines: &[Line]) -> PolarsResult<DataFrame> {
    let told: Vec<usize> = lines.iter().map(|line| line.told.row).collect();
    let texts = |of: &dyn Fn(&Line) -> String| lines.iter().map(of).collect::<Vec<_>>();
    let crossing = |end: usize| lines.iter().map(|line| line.found.crossing.map(|crossing| crossing[end])).collect::<Vec<_>>();
    let counts = |of: fn(&Line) -> usize| lines.iter().map(|line| of(line) as i64).collect::<Vec<_>>();
    let numbers = |of: fn(&Line) -> f64| lines.iter().map(of).collect::<Vec<_>>();
    let open =
        |of: fn(&Line) -> f64| lines.iter().map(|line| Some(of(line)).filter(|end| *end > 0.0 && end.is_finite())).collect::<Vec<_>>();
    let more = df!(
        "axis" => texts(&|line| line.curve.axis.clone()),
        "setting" => texts(&|line| line.curve.setting.clone()),
        "verdict" => texts(&|line| line.found.verdict.name().to_owned()),
        "words" => texts(&words),
        "wins" => lines.iter().map(|line| line.found.verdict.wins()).collect::<Vec<_>>(),
        "pays" => lines.iter().map(|line| line.pays).collect::<Vec<_>>(),
        "crossing" => crossing(0),
        "crossing_low" => crossing(1),
        "crossing_high" => crossing(2),
        "from" => numbers(|line| line.from),
        "to" => numbers(|line| line.to),
        "points" => counts(|line| line.points),
        "faster" => counts(|line| line.faster),
        "failed" => counts(|line| line.failed),
        "alone" => counts(|line| line.alone),
        "against" => texts(&|line| line.against.clone()),
        "at" => numbers(|line| line.told.x),
        "ratio" => numbers(|line| line.told.ratio),
        "ratio_low" => open(|line| line.told.low),
        "ratio_high" => open(|line| line.told.high),
    )?;
    let columns = [
        RUN,
        "machine",
        "family",
        "engine",
        "variant",
        "exact",
        "own_function",
        PRECISION,
        THREADS,
        "id",
        "err_method_rel",
        "error_ratio",
        "declared_ratio",
    ];
    taken(rows, &told, &columns, more, &["family", "machine", RUN, "axis", PRECISION, THREADS, "variant", "setting", "engine"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame, together};
    use crate::frames::baseline::with_baseline;
    use crate::frames::memory::memory;
    use crate::frames::order::{axis_roles, sorted};
    use crate::frames::series::series;
    use crate::frames::speed::speed;
    use crate::frames::strong::with_strong;

    #[test]
    fn times_that_lie_apart_decide_nothing() {
        let table = crossed(&quadratic(), None);
        assert_eq!((table.shown("verdict", 0).unwrap().as_deref(), table.ints("faster").unwrap().get(0)), (Some("undecided"), Some(0)));
    }

    #[test]
    fn what_is_fast_and_wrong_does_not_pay() {
        let mut cells = quadratic();
        assert_eq!(found(&cells, None).flags("pays").unwrap().get(0), Some(true));
        cells.iter_mut().for_each(|cell| cell.error = Some(0.5));
        let table = found(&cells, None);
        assert_eq!((table.flags("pays").unwrap().get(0), table.shown("verdict", 0).unwrap().as_deref()), (Some(false), Some("from")));
    }

    fn found(cells: &[Cell], floor: Option<f64>) -> DataFrame {
        crossed(&together(cells), floor)
    }

    fn crossed(cells: &[Cell], floor: Option<f64>) -> DataFrame {
        let cells = frame(cells).lazy();
        let roles = axis_roles(&cells).unwrap();
        let rows = with_strong(speed(memory(with_baseline(cells).unwrap()))).unwrap();
        let rows = sorted(rows, &roles).collect().unwrap();
        crossovers(&rows, &series(&rows, &roles).unwrap(), &[floor.unwrap_or(0.0)]).unwrap()
    }

    /// Dense takes n squared, the window 100 n: they meet at 100.
    fn quadratic() -> Vec<Cell> {
        let at = |n: i64, dense: &'static str, window: &'static str, group: &'static str| {
            let cell = Cell { group, n, ..Cell::default() };
            let of = |median: i64, error: f64| Cell { median: Some(median * 1000), error_ratio: Some(error), ..cell.clone() };
            [Cell { id: dense, baseline: true, ..of(n * n, 1.0) }, Cell { id: window, variant: "attention/window", ..of(100 * n, 500.0) }]
        };
        [at(32, "a", "b", "g"), at(64, "c", "d", "h"), at(256, "e", "f", "i"), at(512, "j", "k", "l")].concat()
    }

    #[test]
    fn the_table_tells_where_against_what_and_at_what_cost() {
        for cells in [quadratic(), quadratic().into_iter().rev().collect()] {
            let table = found(&cells, Some(0.02));
            assert_eq!(table.height(), 1, "the baseline itself has no crossover");
            let text = |column: &str| table.shown(column, 0).unwrap().unwrap();
            assert_eq!(
                ["variant", "axis", "verdict", "against", "id", "points", "failed"].map(text),
                ["attention/window", "axis:n", "from", "attention/dense", "f", "4", "0"]
            );
            let crossing = table.doubles("crossing").unwrap().get(0).unwrap();
            assert!((crossing - 100.0).abs() < 1e-6, "{crossing}");
            assert_eq!((table.doubles("from").unwrap().get(0), table.doubles("to").unwrap().get(0)), (Some(32.0), Some(512.0)));
        }
    }

    #[test]
    fn points_that_failed_and_points_without_a_rival_are_counted() {
        let mut cells = quadratic();
        cells[1].status = "oom";
        cells[1].median = None;
        cells[6].status = "oom";
        cells[6].median = None;
        let table = found(&cells, None);
        assert_eq!(["points", "failed", "alone"].map(|column| table.shown(column, 0).unwrap().unwrap()), ["2", "1", "1"]);
    }
}
