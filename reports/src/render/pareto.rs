//! The frontier of time, error and memory: part of a family's document.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::Context;
use super::listing::{LISTED, by_machine, conditions, listing, telling, values};
use crate::answers::FRONTIER;
use crate::columns::{PRECISION, THREADS, Typed};
use crate::frames::baseline::base;
use crate::frames::pareto::{Problem, problem};
use crate::text::markdown::{Align, counted, name};
use crate::text::units::{bytes, scientific, time};

const ABOUT: &str = "\n## Time, error and memory at once\n\n\
    Cells of one problem (same task and sizes, same number of threads) that no other cell of it, on whatever engine and in whatever precision, beats in median time, error \
    (relative Frobenius norm against the exact result) and declared bytes at once: each is the best choice for somebody, and nobody needs the others. The problems with the most \
    cells come first, the fastest cell of each on top; a problem goes by its declared baseline. *≈*: its place rests on a time that is less than the run's noise floor shorter than that of a cell which is \
    otherwise no worse. Only cells that ended well compete.\n";

/// The section; empty where no cell competes. `rows` are those of one family, with the columns of `frames::pareto`.
pub(crate) fn section(rows: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let competing = rows.clone().lazy().filter(col("frontier").is_not_null()).collect()?;
    if competing.height() == 0 {
        return Ok(String::new());
    }
    let mut out = ABOUT.to_owned();
    for (heading, rows) in by_machine(&competing, context, 3)? {
        out += &heading;
        out += &table(&competing, context, &rows)?;
    }
    Ok(out)
}

fn table(frame: &DataFrame, context: &Context<'_>, rows: &[usize]) -> PolarsResult<String> {
    let problems = in_order(frame, context, rows)?;
    let frontier = frame.flags("frontier")?;
    let on_it = rows.iter().filter(|row| frontier.get(**row) == Some(true)).count();
    let axes: Vec<String> = context.roles.problem.iter().filter(|axis| *axis != PRECISION).cloned().collect();
    let telling = telling(frame, rows, &axes)?;
    let mut lines = Vec::new();
    let mut shown = 0;
    for members in &problems {
        let best: Vec<usize> = members.iter().copied().filter(|row| frontier.get(*row) == Some(true)).collect();
        if !lines.is_empty() && lines.len() + best.len() > LISTED {
            break;
        }
        shown += 1;
        for (at, row) in best.iter().enumerate() {
            // The problem is said once.
            let (problem, counts) = match at {
                0 => (spelled(frame, context, &telling, *row)?, format!("{} of {}", members.len() - best.len(), members.len())),
                _ => (String::new(), String::new()),
            };
            let mut line = vec![problem];
            line.extend(figures(frame, context, *row)?);
            line.push(counts);
            lines.push(line);
        }
    }
    let headings = [("problem", Align::Left), ("cell", Align::Left)].into_iter();
    let figures = ["median", "error", "memory", "dominated"].map(|heading| (heading, Align::Right));
    let mut out = format!(
        "\n{} in {}: {on_it} on the frontier, {} dominated.\n\n",
        counted(rows.len() as u64, "cell"),
        counted(problems.len() as u64, "problem"),
        rows.len() - on_it
    );
    out += &listing(&headings.chain(figures).collect::<Vec<_>>(), lines, FRONTIER);
    if shown < problems.len() {
        out += &format!("\nThe other {}: see {FRONTIER}.\n", counted((problems.len() - shown) as u64, "problem"));
    }
    Ok(out)
}

/// The members of each problem by time; the problems with the most members first, of those with as many the larger ones, as rows are sorted by size.
fn in_order(frame: &DataFrame, context: &Context<'_>, rows: &[usize]) -> PolarsResult<Vec<Vec<usize>>> {
    let (times, ids) = (frame.ints("median_ns")?, frame.texts("id")?);
    let mut problems: BTreeMap<Problem, Vec<usize>> = BTreeMap::new();
    for row in rows {
        problems.entry(problem(frame, context.roles, *row)?).or_default().push(*row);
    }
    let mut problems: Vec<Vec<usize>> = problems.into_values().collect();
    problems.sort_by_key(|members| std::cmp::Reverse((members.len(), members.first().copied())));
    for members in &mut problems {
        members.sort_by(|a, b| times.get(*a).cmp(&times.get(*b)).then(ids.get(*a).cmp(&ids.get(*b))));
    }
    Ok(problems)
}

/// The task of a problem, its sizes that differ from others', and its threads.
fn spelled(frame: &DataFrame, context: &Context<'_>, telling: &[String], row: usize) -> PolarsResult<String> {
    let task = frame.shown(&base("variant"), row)?.map_or_else(|| "no baseline".to_owned(), |task| name(&task));
    let mut words = vec![task];
    words.extend(conditions(frame, context, telling, row)?);
    Ok(words.join(", "))
}

fn figures(frame: &DataFrame, context: &Context<'_>, row: usize) -> PolarsResult<Vec<String>> {
    let text = |column: &str| Ok::<_, PolarsError>(name(frame.texts(column)?.get(row).unwrap_or_default()));
    let precision = PRECISION.to_owned();
    let parameters = context.roles.parameters.iter().filter(|axis| *axis != PRECISION && *axis != THREADS);
    let mut words = vec![format!("{} on {}", text("variant")?, text("engine")?)];
    words.extend(values(frame, std::iter::once(&precision).chain(parameters), row)?);
    let near = if frame.texts("rivalled_by")?.get(row).is_some() { " ≈" } else { "" };
    Ok(vec![
        words.join(", "),
        frame.ints("median_ns")?.get(row).map_or_else(String::new, |ns| time(ns as f64)) + near,
        frame.doubles("err_method_rel")?.get(row).map_or_else(String::new, scientific),
        frame.ints("declared_bytes")?.get(row).map_or_else(String::new, |size| bytes(size as f64)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame, with_context};
    use crate::frames::baseline::with_baseline;
    use crate::frames::memory::memory;
    use crate::frames::order::{axis_roles, sorted};
    use crate::frames::pareto::with_frontier;
    use crate::frames::speed::speed;
    use crate::frames::strong::with_strong;

    #[test]
    fn the_frontier_of_the_largest_problem_comes_first() {
        let of = |id, variant, n, median, error| Cell {
            id,
            variant,
            n,
            group: if n == 64 { "small" } else { "large" },
            baseline: variant == "attention/dense",
            median: Some(median),
            error: Some(error),
            error_ratio: Some(1.0),
            ..Cell::default()
        };
        let cells = frame(&[
            of("a", "attention/dense", 64, 4000, 1e-7),
            of("b", "attention/dense", 512, 9000, 1e-7),
            of("c", "attention/window", 512, 5000, 0.5),
            of("d", "attention/top-k", 512, 9050, 0.5),
            of("e", "attention/<b>", 512, 5010, 0.4),
        ]);
        let roles = axis_roles(&cells.clone().lazy()).unwrap();
        let rows = sorted(with_strong(speed(memory(with_baseline(cells.lazy()).unwrap()))).unwrap(), &roles).collect().unwrap();
        let rows = with_frontier(rows, &roles, &[0.02]).unwrap();
        let section = with_context(&roles, |context| section(&rows, context).unwrap());
        insta::assert_snapshot!(section.strip_prefix(ABOUT).unwrap().trim(), @r"
        5 cells in 2 problems: 4 on the frontier, 1 dominated.

        | problem                  | cell                              |    median |   error | memory | dominated |
        | ------------------------ | --------------------------------- | --------: | ------: | -----: | --------: |
        | attention/dense, n = 512 | attention/window on naive, f32    | 5.00 µs ≈ | 5.00e-1 |  300 B |    1 of 4 |
        |                          | attention/&lt;b&gt; on naive, f32 |   5.01 µs | 4.00e-1 |  300 B |           |
        |                          | attention/dense on naive, f32     |   9.00 µs | 1.00e-7 |  300 B |           |
        | attention/dense, n = 64  | attention/dense on naive, f32     |   4.00 µs | 1.00e-7 |  300 B |    0 of 1 |
        ");
    }
}
