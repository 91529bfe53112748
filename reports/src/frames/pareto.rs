//! Which cells nobody needs: those that another one of the same problem beats in time, error and memory at once.
//!
//! A problem is what cells have in common in one run, on one machine and with one number of threads: all variants, engines and precisions that do the
//! same task at the same sizes compete in it. The task is known by its declared baseline; cells without one compete within their group only, and cells whose
//! error is the distance from a function of their own compete among those of that function (see [`super::strong`]). One cell *dominates* another if it is nowhere worse and somewhere better in the median time, the relative error of the method and the declared
//! bytes. Those that nobody dominates are the frontier: each is the best choice for somebody.
//!
//! Only cells with the status `ok` and all three figures compete. Times nearer to each other than the run's noise floor are still told apart here, or the
//! frontier would depend on the order of comparison; but a cell that is on it only by such a difference says so, and beside whom.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::baseline::base;
use super::order::AxisRoles;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_columns};
use crate::runs::ASSUMED_FLOOR;

struct Competitor<'a> {
    row: usize,
    id: &'a str,
    time: i64,
    error: f64,
    bytes: i64,
}

impl Competitor<'_> {
    fn is_no_worse_but_for_time(&self, other: &Self) -> bool {
        self.error <= other.error && self.bytes <= other.bytes
    }

    fn figures(&self) -> (i64, f64, i64) {
        (self.time, self.error, self.bytes)
    }
}

/// Adds to rows of the memory frame (with baselines and `function`): `frontier` (true or false; null where the cell does not compete), `dominated_by` (the id of the fastest cell
/// of the frontier that dominates it), and `rivalled_by` (for a cell of the frontier: the id of the fastest one that would dominate it, if times within the
/// noise floor counted as equal). `floors` are the runs' noise floors.
pub(crate) fn with_frontier(mut rows: DataFrame, roles: &AxisRoles, floors: &[f64]) -> PolarsResult<DataFrame> {
    let mut frontier: Vec<Option<bool>> = vec![None; rows.height()];
    let mut by: [Vec<Option<&str>>; 2] = [vec![None; rows.height()], vec![None; rows.height()]];
    for ((run, _), mut problem) in problems(&rows, roles)? {
        let order = |a: &Competitor<'_>, b: &Competitor<'_>| {
            a.time.cmp(&b.time).then(a.error.total_cmp(&b.error)).then(a.bytes.cmp(&b.bytes)).then(a.id.cmp(b.id))
        };
        problem.sort_by(order);
        let floor = run.and_then(|run| floors.get(usize::try_from(run).ok()?).copied()).unwrap_or(ASSUMED_FLOOR);
        // Whoever dominates a cell comes before it, and is on the frontier or dominated by one that is.
        let mut best: Vec<&Competitor<'_>> = Vec::new();
        for cell in &problem {
            let dominant = best.iter().find(|other| other.is_no_worse_but_for_time(cell) && other.figures() != cell.figures());
            frontier[cell.row] = Some(dominant.is_none());
            match dominant {
                Some(other) => by[0][cell.row] = Some(other.id),
                None => best.push(cell),
            }
        }
        for (at, cell) in problem.iter().enumerate().filter(|(_, cell)| frontier[cell.row] == Some(true)) {
            let longest = cell.time as f64 * (1.0 + floor);
            let near = problem[at + 1..].iter().take_while(|other| other.time as f64 <= longest);
            by[1][cell.row] =
                near.filter(|other| other.time > cell.time).find(|other| other.is_no_worse_but_for_time(cell)).map(|other| other.id);
        }
    }
    let [dominated, rivalled] = by.map(|ids| ids.into_iter().collect::<StringChunked>());
    let frontier: BooleanChunked = frontier.into_iter().collect();
    rows.with_column(frontier.with_name("frontier".into()).into_column())?;
    rows.with_column(dominated.with_name("dominated_by".into()).into_column())?;
    rows.with_column(rivalled.with_name("rivalled_by".into()).into_column())?;
    Ok(rows)
}

/// The competing cells with what became of them: `run`, `machine`, `family`, `group`, `id`, `variant`, `engine`, the three figures, the columns of [`with_frontier`] and
/// the axes.
pub(crate) fn competing(rows: &DataFrame) -> PolarsResult<DataFrame> {
    let fixed = [RUN, "machine", "family", "group", "id", "variant", "engine", "median_ns", "err_method_rel", "declared_bytes"];
    let found = ["frontier", "dominated_by", "rivalled_by"];
    let axes = axis_columns(rows.schema());
    let columns: Vec<Expr> = fixed.into_iter().chain(found).chain(axes.iter().map(String::as_str)).map(col).collect();
    rows.clone().lazy().filter(col("frontier").is_not_null()).select(columns).collect()
}

/// The run, and what else tells a problem from others.
pub(crate) type Problem = (Option<i64>, Vec<Option<String>>);

fn problems<'a>(rows: &'a DataFrame, roles: &AxisRoles) -> PolarsResult<BTreeMap<Problem, Vec<Competitor<'a>>>> {
    let (times, bytes, errors) = (rows.ints("median_ns")?, rows.ints("declared_bytes")?, rows.doubles("err_method_rel")?);
    let (statuses, ids) = (rows.texts("status")?, rows.texts("id")?);
    let mut problems: BTreeMap<Problem, Vec<Competitor<'_>>> = BTreeMap::new();
    for row in 0..rows.height() {
        let figures = (times.get(row), errors.get(row).filter(|error| error.is_finite()), bytes.get(row), ids.get(row));
        let (Some("ok"), (Some(time), Some(error), Some(bytes), Some(id))) = (statuses.get(row), figures) else { continue };
        problems.entry(problem(rows, roles, row)?).or_default().push(Competitor { row, id, time, error, bytes });
    }
    Ok(problems)
}

/// What a cell's problem is known by: run, machine, family, task and every axis that states it, but for the precision, which is a choice.
pub(crate) fn problem(rows: &DataFrame, roles: &AxisRoles, row: usize) -> PolarsResult<Problem> {
    let task = base("variant");
    let named = ["machine", "family", &task, "function"].into_iter();
    let mut key = named.map(|column| rows.shown(column, row)).collect::<PolarsResult<Vec<_>>>()?;
    if key[2].is_none() {
        key.push(rows.shown("group", row)?);
    }
    for axis in roles.problem.iter().filter(|axis| *axis != PRECISION) {
        key.push(rows.shown(axis, row)?);
    }
    // Where it differs within a group, as sweeps over it alone have it, it is no part of the problem, and still not a choice.
    if roles.parameters.iter().any(|axis| axis == THREADS) {
        key.push(rows.shown(THREADS, row)?);
    }
    Ok((rows.ints(RUN)?.get(row), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};
    use crate::frames::baseline::with_baseline;
    use crate::frames::memory::memory;
    use crate::frames::order::axis_roles;
    use crate::frames::speed::speed;
    use crate::frames::strong::with_strong;

    /// Time, error and scratch of a cell.
    fn cell(id: &'static str, time: i64, error: f64, scratch: i64) -> Cell {
        Cell { id, median: Some(time), error: Some(error), error_ratio: Some(1.0), scratch: Some(scratch), ..Cell::default() }
    }

    fn found(cells: &[Cell], floor: Option<f64>) -> String {
        let rows = with_strong(speed(memory(with_baseline(frame(cells).lazy()).unwrap()))).unwrap().collect().unwrap();
        let roles = axis_roles(&frame(cells).lazy()).unwrap();
        let rows = with_frontier(rows, &roles, &[floor.unwrap_or(0.0); 2]).unwrap().sort(["id"], SortMultipleOptions::default()).unwrap();
        let tell = |row: usize| {
            let by = |column: &str| rows.shown(column, row).unwrap();
            let id = by("id").unwrap();
            match (rows.flags("frontier").unwrap().get(row), by("dominated_by"), by("rivalled_by")) {
                (Some(true), None, None) => format!("{id} best"),
                (Some(true), None, Some(other)) => format!("{id} best beside {other}"),
                (Some(false), Some(other), None) => format!("{id} under {other}"),
                (None, None, None) => format!("{id} out"),
                other => format!("{id} {other:?}"),
            }
        };
        (0..rows.height()).map(tell).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn who_is_nowhere_worse_and_somewhere_better_dominates() {
        let mut cells = vec![
            cell("a", 100, 0.5, 10),
            cell("b", 200, 0.1, 10),
            cell("c", 300, 0.1, 10),
            cell("d", 300, 0.2, 5),
            cell("e", 400, 0.5, 10),
            cell("f", 500, 0.0, 100),
        ];
        let expected = "a best, b best, c under b, d best, e under a, f best";
        assert_eq!(found(&cells, None), expected);
        cells.reverse();
        assert_eq!(found(&cells, None), expected);
    }

    #[test]
    fn equals_do_not_dominate_each_other() {
        assert_eq!(found(&[cell("a", 100, 0.1, 1), cell("b", 100, 0.1, 1), cell("c", 100, 0.1, 2)], None), "a best, b best, c under a");
    }

    #[test]
    fn problems_are_apart() {
        let better = cell("a", 1, 0.0, 0);
        let worse = cell("b", 2, 1.0, 1);
        for other in [Cell { run: 1, ..worse.clone() }, Cell { machine: "o", ..worse.clone() }, Cell { group: "o", ..worse.clone() }] {
            assert_eq!(found(&[better.clone(), other], None), "a best, b best");
        }
        let elsewhere = Cell { engine: "simd", ..worse.clone() };
        assert_eq!(found(&[better.clone(), elsewhere], None), "a best, b under a");
        assert_eq!(found(&[better, Cell { n: 256, group: "o", ..worse }], None), "a best, b best");
    }

    #[test]
    fn the_precision_is_a_choice_within_one_task() {
        // Groups have one precision each; what they have in common is the variant that is their baseline.
        let of = |id, precision, baseline, time| Cell { precision, baseline, group: precision, ..cell(id, time, 0.1, 1) };
        let mut cells = vec![of("a", "f32", true, 20), of("b", "bf16", true, 30), of("c", "bf16", false, 10), of("d", "f32", false, 40)];
        assert_eq!(found(&cells, None), "a under c, b under c, c best, d under c");
        cells[1].variant = "attention/another-task";
        assert_eq!(found(&cells, None), "a best, b under c, c best, d under a");
    }

    #[test]
    fn errors_against_different_functions_do_not_compete() {
        let own = |id, variant, time| Cell { variant, error_ratio: None, ..cell(id, time, 1e-7, 1) };
        let cells = [
            Cell { baseline: true, ..own("a", "ffn/swiglu", 100) },
            own("b", "ffn/bilinear", 50),
            own("c", "ffn/bilinear", 60),
            own("d", "ffn/swiglu", 120),
            cell("e", 10, 0.5, 1),
        ];
        assert_eq!(found(&cells, None), "a best, b best, c under b, d under a, e best");
    }

    #[test]
    fn only_what_ended_well_competes() {
        let cells =
            [Cell { status: "emulated", ..cell("a", 1, 0.0, 0) }, cell("b", 2, 1.0, 1), Cell { id: "c", ..Cell::failed("oom", "x") }];
        assert_eq!(found(&cells, None), "a out, b best, c out");
    }

    #[test]
    fn a_place_that_the_noise_may_have_given_is_told() {
        let cells = [cell("a", 1000, 0.2, 10), cell("b", 1010, 0.1, 10), cell("c", 1100, 0.1, 10)];
        assert_eq!(found(&cells, None), "a best, b best, c under b");
        assert_eq!(found(&cells, Some(0.02)), "a best beside b, b best, c under b");
    }
}
