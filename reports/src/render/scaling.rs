//! How the times grow with the sizes of the problems: part of a family's document.

use std::cmp::Ordering;

use polars::prelude::*;

use super::Context;
use super::listing::{by_machine, conditions, listing, with_interval};
use crate::answers::SCALING;
use crate::columns::{PRECISION, THREADS, Typed, axis_name};
use crate::text::markdown::{ABSENT, Align, counted, name};
use crate::text::units::{figure, percent};

const ABOUT: &str = "\n## Growth with the size\n\n\
    *exponent*: slope of the median time over the size, both in logarithms (2 is quadratic), by least squares over the points, with the 95 % interval \
    of the fit (Student's t). *operations* and *bytes*: the same slope of what was counted for these very cells. *grows*: the time grows as the one whose \
    slope is in the interval; *steeper* than both, *flatter* than both, or *between* the two where neither is; *unclear* where the interval holds both, or is \
    wider than half a power. *off the line*: how far the farthest \
    point is from the fit; a large figure means that the growth is no power. Those that differ most from their operations come first.\n";

/// The section; empty where the family has no curve over a size. `frame` is that of `frames::scaling`.
pub(crate) fn section(frame: &DataFrame, context: &Context<'_>, family: &str) -> PolarsResult<String> {
    let frame = frame.clone().lazy().filter(col("family").eq(lit(family))).collect()?;
    if frame.height() == 0 {
        return Ok(String::new());
    }
    let mut out = ABOUT.to_owned();
    for (heading, mut rows) in by_machine(&frame, context, 3)? {
        out += &heading;
        out += &format!("\n{}\n\n", counts(&frame, &rows)?);
        let growths = frame.texts("growth")?;
        rows.retain(|row| growths.get(*row) != Some("too-few"));
        if rows.is_empty() {
            continue;
        }
        in_order(&frame, &mut rows)?;
        let lines = rows.iter().map(|row| line(&frame, context, *row)).collect::<PolarsResult<Vec<_>>>()?;
        let texts = ["variant", "engine", "over", "setting"].map(|heading| (heading, Align::Left));
        let figures = ["points", "exponent [95 % CI]", "operations", "bytes"].map(|heading| (heading, Align::Right));
        let last = [("grows", Align::Left), ("off the line", Align::Right)];
        out += &listing(&texts.into_iter().chain(figures).chain(last).collect::<Vec<_>>(), lines, SCALING);
    }
    Ok(out)
}

/// Of how many curves what is said.
fn counts(frame: &DataFrame, rows: &[usize]) -> PolarsResult<String> {
    let growths = frame.texts("growth")?;
    let kinds = [
        ("operations", "as their operations"),
        ("bytes", "as their bytes"),
        ("between", "between the two"),
        ("steeper", "steeper than both"),
        ("flatter", "flatter than both"),
        ("unclear", "with an interval too wide to tell"),
        ("unknown", "with nothing to compare with"),
        ("too-few", "with fewer than three sizes, which are not listed here"),
    ];
    let count = |kind: &str| rows.iter().filter(|row| growths.get(**row) == Some(kind)).count();
    let parts = kinds.iter().map(|(kind, words)| (count(kind), words)).filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, words)| format!("{count} {words}")).collect();
    Ok(format!("{}: {}.", counted(rows.len() as u64, "curve"), parts.join(", ")))
}

/// Those with an interval that excludes the operations' slope first, the farthest from it on top.
fn in_order(frame: &DataFrame, rows: &mut [usize]) -> PolarsResult<()> {
    let (own, counted, growths) = (frame.doubles("exponent")?, frame.doubles("flops_exponent")?, frame.texts("growth")?);
    let rank = |row: usize| match growths.get(row) {
        Some("operations") => 1,
        Some("unclear") => 2,
        Some("unknown") | None => 3,
        _ => 0,
    };
    let apart = |row: usize| own.get(row).zip(counted.get(row)).map_or(0.0, |(own, counted)| (own - counted).abs());
    // Stable, so that what is equal stays in the order of the frame.
    rows.sort_by(|a, b| match rank(*a).cmp(&rank(*b)) {
        Ordering::Equal => apart(*b).total_cmp(&apart(*a)),
        other => other,
    });
    Ok(())
}

fn line(frame: &DataFrame, context: &Context<'_>, row: usize) -> PolarsResult<Vec<String>> {
    let text = |column: &str| Ok::<_, PolarsError>(frame.texts(column)?.get(row).unwrap_or_default());
    let double = |column: &str| Ok::<_, PolarsError>(frame.doubles(column)?.get(row));
    let shown = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), exponent);
    let (from, to) = (double("from")?.unwrap_or(0.0), double("to")?.unwrap_or(0.0));
    let mut setting = vec![name(text("setting")?)];
    setting.extend(conditions(frame, context, &[PRECISION, THREADS].map(str::to_owned), row)?);
    setting.retain(|words| !words.is_empty());
    let own = with_interval(double("exponent")?.unwrap_or(f64::NAN), double("exponent_low")?, double("exponent_high")?);
    Ok(vec![
        name(text("variant")?),
        name(text("engine")?),
        format!("{} = {from} … {to}", name(axis_name(text("axis")?))),
        setting.join(", "),
        frame.ints("points")?.get(row).unwrap_or(0).to_string(),
        own,
        shown(double("flops_exponent")?),
        shown(double("bytes_exponent")?),
        match text("growth")? {
            "operations" => "as operations".to_owned(),
            "bytes" => "as bytes".to_owned(),
            "unknown" => ABSENT.to_owned(),
            "unclear" => "unclear".to_owned(),
            other => format!("**{}**", name(other)),
        },
        double("farthest")?.map_or_else(|| ABSENT.to_owned(), |factor| percent(factor - 1.0)),
    ])
}

/// Slopes near 0 are 0 but for rounding.
fn exponent(slope: f64) -> String {
    if slope.abs() < 5e-4 { "0".to_owned() } else { figure(slope) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame, with_context};
    use crate::frames::order::axis_roles;
    use crate::frames::scaling::scaling;
    use crate::frames::series::series;

    #[test]
    fn curves_with_few_points_are_counted_and_not_listed() {
        let of =
            |variant, n: i64, median| Cell { variant, n, group: format!("{n}").leak(), id: "x", median: Some(median), ..Cell::default() };
        let cells = frame(&[
            of("attention/dense", 64, 4100),
            of("attention/dense", 128, 16_000),
            of("attention/dense", 256, 66_000),
            of("attention/window", 64, 100),
            of("attention/window", 128, 200),
        ]);
        let roles = axis_roles(&cells.clone().lazy()).unwrap();
        let found = scaling(&cells, &roles, &series(&cells, &roles).unwrap()).unwrap();
        let section = with_context(&roles, |context| section(&found, context, "attention").unwrap());
        insta::assert_snapshot!(section.strip_prefix(ABOUT).unwrap().trim(), @r"
        2 curves: 1 steeper than both, 1 with fewer than three sizes, which are not listed here.

        | variant         | engine | over         | setting | points | exponent [95 % CI] | operations | bytes | grows       | off the line |
        | --------------- | ------ | ------------ | ------- | -----: | -----------------: | ---------: | ----: | ----------- | -----------: |
        | attention/dense | naive  | n = 64 … 256 | f32     |      3 |  2.00 [1.71, 2.30] |          0 |     0 | **steeper** |       1.87 % |
        ");
        assert_eq!(with_context(&roles, |context| super::section(&found, context, "ffn").unwrap()), "");
    }
}
