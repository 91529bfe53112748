//! Where a variant overtakes the strong baseline: the question that the project is named after.
//!
//! Along a curve (see [`super::series`]) the ratio of times to the strong baseline goes through 1 somewhere, or does not. Each point is
//! *faster* where its whole interval is below 1 and the ratio by more than the run's noise floor, *slower* where they are above, else *even*:
//!
//! | from small to large | verdict |
//! |---|---|
//! | all faster | `everywhere` |
//! | all slower | `never` |
//! | slower, perhaps even, then only faster | `from` |
//! | even, then only faster | `by` |
//! | only faster, perhaps even, then slower | `up-to` |
//! | more than one change | `mixed` |
//! | whatever else has even points | `undecided` |
//!
//! A ratio that is not of one time (see [`super::strong`]) is even: what drifted meanwhile is in it.
//!
//! The crossing lies between the last point before the change and the first one after it. It is the zero of the logarithm of the ratio,
//! linear between points in the logarithm of the axis (in the axis itself where that is a share, or begins at 0). Its interval is bounded by the
//! zeros of the two curves that the ends of the ratios' intervals make, each moved by the noise floor: within the interval nothing is shown to be
//! faster or slower. So nothing is said beyond what was measured: "never" is "never up to" the last point.
//!
//! A curve *pays* where its verdict is `everywhere`, `from`, `by` or `up-to`, and its error at the first point that does is not above
//! [`WRONG`]: being fast and wrong is no merit.

use polars::prelude::*;

use super::series::Series;
use super::taken;
use super::unprofitable::WRONG;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::text::units::figure;

/// What becomes of a variant along a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Undecided,
    Everywhere,
    Never,
    From,
    By,
    UpTo,
    Mixed,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Everywhere => "everywhere",
            Self::Never => "never",
            Self::From => "from",
            Self::By => "by",
            Self::UpTo => "up-to",
            Self::Mixed => "mixed",
        }
    }
}

/// What a ratio of times shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Faster,
    Slower,
    Even,
}

impl State {
    /// Faster or slower by its whole interval and by more than the noise floor, else even.
    pub(crate) fn of(ratio: f64, low: f64, high: f64, floor: f64) -> Self {
        if high < 1.0 && ratio < 1.0 / (1.0 + floor) {
            Self::Faster
        } else if low > 1.0 && ratio > 1.0 + floor {
            Self::Slower
        } else {
            Self::Even
        }
    }
}

/// A point of a curve that has a ratio.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: f64,
    row: usize,
    ratio: f64,
    low: f64,
    high: f64,
}

impl Point {
    fn state(&self, floor: f64) -> State {
        State::of(self.ratio, self.low, self.high, floor)
    }
}

/// What was found along one curve.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    verdict: Verdict,
    /// The crossing and its interval.
    crossing: Option<[f64; 3]>,
}

/// One row a curve, from rows of [`super::strong`] (sorted, with `declared_ratio`): `run`, `machine`, `family`, `engine`, `variant`, `exact`, `own_function`,
/// `axis:precision`, `axis:threads`, `axis` (the moving one), `setting`, `verdict`, `words` (the verdict for people), `pays`, `crossing`, `crossing_low`,
/// `crossing_high`, `from`, `to` (the range with ratios), `points`, `faster` (of them), `failed` (points where the variant did not end well), `alone` (where it did
/// and the baseline did not), `against` (variants that were the strong baseline), and of the point where it is faster first (`at`; the best one where it never
/// is): `id`, `ratio`, `ratio_low`, `ratio_high`, `err_method_rel`, `error_ratio`, `declared_ratio`. `floors` are the runs' noise floors.
pub(crate) fn crossovers(rows: &DataFrame, curves: &[Series], floors: &[Option<f64>]) -> PolarsResult<DataFrame> {
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
    fn line(&self, curve: &Series, floors: &[Option<f64>]) -> PolarsResult<Option<Line>> {
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
        let floor = run.and_then(|run| *floors.get(run)?).unwrap_or(0.0);
        let found = find(&points, floor);
        let faster: Vec<Point> = points.iter().copied().filter(|point| point.state(floor) == State::Faster).collect();
        let best = points.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let Some(told) = faster.first().or(best).copied() else { return Ok(None) };
        let wins = matches!(found.verdict, Verdict::Everywhere | Verdict::From | Verdict::By | Verdict::UpTo);
        // What nobody knows to be wrong is not called so.
        let pays = wins && self.errors.get(told.row).is_none_or(|error| error <= WRONG);
        names.sort_unstable();
        names.dedup();
        let (from, to) = (first.x, last.x);
        let (points, faster, against) = (points.len(), faster.len(), names.join(", "));
        Ok(Some(Line { curve: curve.clone(), found, pays, points, faster, failed, alone, against, from, to, told }))
    }
}

/// What becomes of any curve of ratios over sizes, given as place, ratio and the ends of its interval: the verdict, and the crossing with its interval.
pub(crate) fn along(points: &[[f64; 4]], floor: f64) -> (Verdict, Option<[f64; 3]>) {
    let points: Vec<Point> =
        points.iter().map(|[x, ratio, low, high]| Point { x: *x, row: 0, ratio: *ratio, low: *low, high: *high }).collect();
    let found = find(&points, floor);
    (found.verdict, found.crossing)
}

fn find(points: &[Point], floor: f64) -> Found {
    let decided: Vec<(usize, State)> =
        points.iter().enumerate().map(|(at, point)| (at, point.state(floor))).filter(|(_, state)| *state != State::Even).collect();
    let changes: Vec<(usize, usize)> =
        decided.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| (pair[0].0, pair[1].0)).collect();
    let even = |points: &[Point]| points.iter().any(|point| point.state(floor) == State::Even);
    let verdict = match (decided.first().copied(), changes.as_slice()) {
        (Some((_, State::Faster)), []) if !even(points) => Verdict::Everywhere,
        (Some((first, State::Faster)), []) if !even(&points[first..]) => Verdict::By,
        (Some((_, State::Slower)), []) if !even(points) => Verdict::Never,
        (Some((_, State::Faster)), [(before, _)]) if !even(&points[..*before]) => Verdict::UpTo,
        (Some((_, State::Slower)), [(_, after)]) if !even(&points[*after..]) => Verdict::From,
        (_, [_, _, ..]) => Verdict::Mixed,
        _ => Verdict::Undecided,
    };
    let crossing = match (verdict, changes.first()) {
        (Verdict::From | Verdict::UpTo, Some((before, after))) => Some(crossing(&points[*before..=*after], floor)),
        _ => None,
    };
    Found { verdict, crossing }
}

/// The crossing between the first and the last of these points and its interval.
fn crossing(points: &[Point], floor: f64) -> [f64; 3] {
    let ratio = |point: &Point| point.ratio;
    let lowest = |point: &Point| point.low.min(point.ratio / (1.0 + floor));
    let highest = |point: &Point| point.high.max(point.ratio * (1.0 + floor));
    let curves: [&dyn Fn(&Point) -> f64; 3] = [&ratio, &lowest, &highest];
    let zeros = curves.map(|of| zeros(points, of));
    let all = |pick: fn(f64, f64) -> f64| zeros.iter().flatten().copied().reduce(pick);
    // The last zero, from which on nothing changes again.
    let middle = zeros[0].last().copied().unwrap_or(points[0].x);
    [middle, all(f64::min).unwrap_or(middle), all(f64::max).unwrap_or(middle)]
}

/// Where the logarithm of a ratio goes through zero between these points.
fn zeros(points: &[Point], of: &dyn Fn(&Point) -> f64) -> Vec<f64> {
    let is_linear = points.iter().any(|point| point.x <= 0.0) || points.iter().all(|point| point.x <= 1.0);
    let onto = |x: f64| if is_linear { x } else { x.ln() };
    let back = |x: f64| if is_linear { x } else { x.exp() };
    let between = |pair: &[Point]| {
        // An interval may be open, where there were too few samples for one; it then says nothing of where.
        let [left, right] = [of(&pair[0]), of(&pair[1])].map(|ratio| ratio.clamp(1e-9, 1e9).ln());
        let turns = (left > 0.0) != (right > 0.0);
        let share = left / (left - right);
        turns.then(|| back(onto(pair[0].x) + share * (onto(pair[1].x) - onto(pair[0].x))))
    };
    points.windows(2).filter_map(between).collect()
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

/// A place on an axis: lengths are whole, so a digit behind the point tells nothing; shares keep theirs.
pub(crate) fn size(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { figure(value) }
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

    fn point(x: f64, ratio: f64) -> Point {
        Point { x, row: 0, ratio, low: ratio * 0.9, high: ratio * 1.1 }
    }

    fn verdict(points: &[(f64, f64)], floor: f64) -> Found {
        find(&points.iter().map(|(x, ratio)| point(*x, *ratio)).collect::<Vec<_>>(), floor)
    }

    #[test]
    fn verdicts_follow_the_changes_and_the_undecided_decide_nothing() {
        let cases: [(&[f64], Verdict); 12] = [
            (&[2.0, 1.0, 0.5, 0.4], Verdict::From),
            (&[1.0, 2.0, 0.5], Verdict::From),
            (&[2.0, 0.5, 1.0], Verdict::Undecided),
            (&[1.0, 0.5, 0.4], Verdict::By),
            (&[0.5, 1.05, 2.0], Verdict::UpTo),
            (&[1.0, 0.5, 2.0], Verdict::Undecided),
            (&[0.5, 0.4, 0.5], Verdict::Everywhere),
            (&[0.5, 0.99], Verdict::Undecided),
            (&[3.0, 1.2, 2.0], Verdict::Never),
            (&[3.0, 1.01], Verdict::Undecided),
            (&[2.0, 0.5, 2.0], Verdict::Mixed),
            (&[1.0, 1.05, 0.95], Verdict::Undecided),
        ];
        for (ratios, expected) in cases {
            let points: Vec<_> = (0..).zip(ratios).map(|(power, ratio)| (f64::from(64 << power), *ratio)).collect();
            assert_eq!(verdict(&points, 0.0).verdict, expected, "{ratios:?}");
        }
        // Faster by its interval, but within the noise.
        assert_eq!(verdict(&[(64.0, 0.8), (128.0, 0.7)], 0.3).verdict, Verdict::By);
        assert_eq!(verdict(&[(64.0, 0.8), (128.0, 0.85)], 0.3).verdict, Verdict::Undecided);
    }

    #[test]
    fn a_power_law_crosses_where_it_says() {
        // The ratio is 1000 / n, so it is 1 at 1000, between the points; 10 % of it move the crossing by 10 %.
        let points: Vec<_> = [250.0, 500.0, 2000.0, 4000.0].map(|n| (n, 1000.0 / n)).into();
        let [middle, low, high] = verdict(&points, 0.0).crossing.unwrap();
        assert!((middle - 1000.0).abs() < 1e-6 && (low - 900.0).abs() < 1e-6 && (high - 1100.0).abs() < 1e-6, "{middle} {low} {high}");
        // Backwards it is the other direction.
        let points: Vec<_> = [250.0, 500.0, 2000.0, 4000.0].map(|n| (n, n / 1000.0)).into();
        let found = verdict(&points, 0.0);
        assert_eq!(found.verdict, Verdict::UpTo);
        assert!((found.crossing.unwrap()[0] - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn an_undecided_stretch_widens_the_interval() {
        let [middle, low, high] = verdict(&[(64.0, 2.0), (128.0, 0.98), (256.0, 1.03), (512.0, 0.5)], 0.0).crossing.unwrap();
        assert!(low < 128.0 && high > 256.0 && middle > 256.0, "{middle} {low} {high}");
    }

    #[test]
    fn the_interval_of_a_crossing_ends_where_the_noise_does() {
        // Within 5 % of 1 at 128 and 256: nothing is shown before 512.
        let points = [(64.0, 2.0), (128.0, 0.98), (256.0, 0.97), (512.0, 0.5)];
        let exact: Vec<Point> = points.map(|(x, ratio)| Point { x, row: 0, ratio, low: ratio * 0.999, high: ratio * 1.001 }).into();
        let [_, _, known] = find(&exact, 0.0).crossing.unwrap();
        let found = find(&exact, 0.05);
        let [_, low, high] = found.crossing.unwrap();
        assert!(known < 128.0 && low < 128.0 && high > 256.0 && high < 512.0, "{known} {low} {high}");
        assert_eq!(found.verdict, Verdict::From);
    }

    #[test]
    fn an_axis_that_begins_at_nothing_is_linear() {
        let [middle, ..] = verdict(&[(0.0, 2.0), (4.0, 0.5), (16.0, 0.4)], 0.0).crossing.unwrap();
        assert!((middle - 2.0).abs() < 1e-9, "{middle}");
    }

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
        crossovers(&rows, &series(&rows, &roles).unwrap(), &[floor]).unwrap()
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
