//! Where it does not pay: part of the summary.

use polars::prelude::*;

use super::Context;
use super::listing::{by_machine, conditions, listing, telling, with_interval};
use crate::answers::UNPROFITABLE;
use crate::columns::{Typed, axis_columns};
use crate::frames::unprofitable::WRONG;
use crate::text::markdown::{ABSENT, Align, counted, name};
use crate::text::units::{figure, percent, scientific};

const ABOUT: &str = "\n## Where it does not pay\n\n\
    Ratios are to the strong baseline, the fastest exact cell of the same engine, precision and threads. A variant is faster or slower where the whole 95 % interval \
    is, and by more than the run's noise floor. *points* are the cells that have such a ratio, over all sizes, engines, precisions and threads measured \
    here: another machine or another size may say otherwise. *where* leaves out what is the same for all in the table.\n";

/// The section; empty where every variant that was compared pays somewhere. `frame` is that of `frames::unprofitable`.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    if frame.height() == 0 {
        return Ok(String::new());
    }
    let mut out = ABOUT.to_owned();
    let kinds = frame.texts("kind")?;
    for (heading, rows) in by_machine(frame, context, 3)? {
        out += &heading;
        let of = |kind: &str| rows.iter().copied().filter(|row| kinds.get(*row) == Some(kind)).collect::<Vec<usize>>();
        out += &part(frame, context, &of("never"), "slower at every point measured here. Each with the point where it comes nearest")?;
        let words = "not shown to be faster at any point measured here, nor slower at all of them. Each with its lowest ratio";
        out += &part(frame, context, &of("not-shown"), words)?;
        let words = format!(
            "faster, but only with a relative error above {}. Each with the most exact of the points where it is faster",
            percent(WRONG)
        );
        out += &part(frame, context, &of("wrong"), &words)?;
    }
    Ok(out)
}

fn part(frame: &DataFrame, context: &Context<'_>, rows: &[usize], words: &str) -> PolarsResult<String> {
    if rows.is_empty() {
        return Ok(String::new());
    }
    let axes = telling(frame, rows, &axis_columns(frame.schema()))?;
    let lines = rows.iter().map(|row| line(frame, context, &axes, *row)).collect::<PolarsResult<Vec<_>>>()?;
    let texts = |heading| (heading, Align::Left);
    let figures = ["ratio [95 % CI]", "error", "memory"].map(|heading| (heading, Align::Right));
    let headings: Vec<_> =
        [texts("variant")].into_iter().chain(figures).chain(["points", "against", "where", "measured on"].map(texts)).collect();
    Ok(format!("\n{} {words}.\n\n{}", counted(rows.len() as u64, "variant"), listing(&headings, lines, UNPROFITABLE)))
}

fn line(frame: &DataFrame, context: &Context<'_>, axes: &[String], row: usize) -> PolarsResult<Vec<String>> {
    let text = |column: &str| Ok::<_, PolarsError>(name(frame.texts(column)?.get(row).unwrap_or_default()));
    let double = |column: &str| Ok::<_, PolarsError>(frame.doubles(column)?.get(row));
    let count = |column: &str| Ok::<_, PolarsError>(frame.ints(column)?.get(row).unwrap_or(0));
    let (points, faster, slower) = (count("points")?, count("faster")?, count("slower")?);
    let mut place = vec![text("engine")?];
    place.extend(conditions(frame, context, axes, row)?);
    Ok(vec![
        text("variant")?,
        with_interval(double("strong_ratio")?.unwrap_or(f64::NAN), double("strong_low")?, double("strong_high")?)
            + if frame.flags("strong_apart")?.get(row) == Some(true) { " †" } else { "" },
        double("err_method_rel")?.map_or_else(|| ABSENT.to_owned(), scientific),
        double("declared_ratio")?.map_or_else(|| ABSENT.to_owned(), figure),
        told(points, faster, slower),
        text("strong:variant")?,
        place.join(", "),
        text("engines")?,
    ])
}

/// `8: 2 faster, 5 slower`, or `8 slower` where all are.
fn told(points: i64, faster: i64, slower: i64) -> String {
    let parts = [(faster, "faster"), (slower, "slower"), (points - faster - slower, "no difference shown")];
    let parts: Vec<String> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    if parts.len() == 1 { parts.concat() } else { format!("{points}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn points_add_up() {
        assert_eq!(
            [told(8, 0, 8), told(8, 2, 5), told(3, 0, 0)],
            ["8 slower", "8: 2 faster, 5 slower, 1 no difference shown", "3 no difference shown"]
        );
    }
}
