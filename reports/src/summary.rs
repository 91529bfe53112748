//! What the end of `crossover run` says at the terminal: what pays from where on, in a few lines.
//!
//! Of each family the engine speaks that is fastest there (see [`crate::render::answer`]). The report has all of it, with intervals, and with
//! what does not pay.

use std::collections::BTreeSet;

use polars::prelude::*;

use crate::answers::Answers;
use crate::columns::{PRECISION, THREADS, Typed, axis_name};
use crate::render::answer::fastest_engines;
use crate::text::document::{Cell, Document, Grid};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{figure, scientific};

/// Variants that are told of: with their wrapped names they fit on a screen.
const SHOWN: usize = 8;

/// The few lines.
pub(crate) fn summary(answers: &Answers<'_>) -> PolarsResult<Document> {
    of(&answers.rows, &answers.crossovers)
}

fn of(rows: &DataFrame, frame: &DataFrame) -> PolarsResult<Document> {
    let mut out = Document::default();
    if frame.height() == 0 {
        out.text("what pays: nothing can be said, no variant was measured beside a baseline at two sizes or more");
        return Ok(out);
    }
    let (pays, faster) = (frame.flags("pays")?, frame.ints("faster")?);
    let paying = pays.iter().filter(|pays| *pays == Some(true)).count();
    let of = counted(frame.height() as u64, "curve");
    if paying == 0 {
        let somewhere = faster.iter().filter(|points| points.is_some_and(|points| points > 0)).count();
        out.text(match somewhere {
            0 => format!("what pays: nothing was shown to be faster than the fastest exact cell of its engine ({of})"),
            _ => format!(
                "what pays: nothing from a size on, against the fastest exact cell of its engine; {somewhere} of {of} are faster at some sizes, or only \
                 with an error above 10 %"
            ),
        });
        return Ok(out);
    }
    out.text(format!(
        "what pays, against the fastest exact cell of its engine: {paying} of {of}; on each family's fastest engine for example (the report has \
         all, with intervals)"
    ));
    let mut grid = Grid::new([("ratio", Align::Right), ("error", Align::Right), ("what pays, and where", Align::Left)]);
    for row in shown(rows, frame)? {
        let known = |column: &str, show: fn(f64) -> String| {
            Ok::<_, PolarsError>(frame.doubles(column)?.get(row).map_or_else(|| ABSENT.to_owned(), show))
        };
        let words = frame.texts("words")?.get(row).unwrap_or_default().to_owned();
        let cells = [known("ratio", figure)?, known("err_method_rel", scientific)?, format!("{}: {words}", what(frame, row)?)];
        grid.push(cells.map(Cell::plain));
    }
    out.grid(grid);
    Ok(out)
}

/// The rows to show, by family: of each the exact variant that saves most time, and the approximation with the smallest error, as far as
/// there is room for both.
fn shown(rows: &DataFrame, frame: &DataFrame) -> PolarsResult<Vec<usize>> {
    let fastest = fastest_engines(rows)?;
    let text = |column: &str| frame.texts(column);
    let (families, machines, engines, pays) = (text("family")?, text("machine")?, text("engine")?, frame.flags("pays")?);
    let (exact, ratios, errors) = (frame.flags("exact")?, frame.doubles("ratio")?, frame.doubles("err_method_rel")?);
    let least = |rows: &[usize], is_exact: bool, column: &Float64Chunked| {
        let of_kind = rows.iter().copied().filter(|row| (exact.get(*row) == Some(true)) == is_exact);
        of_kind.min_by(|one, other| column.get(*one).unwrap_or(f64::INFINITY).total_cmp(&column.get(*other).unwrap_or(f64::INFINITY)))
    };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for family in families.iter().flatten().collect::<BTreeSet<_>>() {
        let speaks = |row: &usize| {
            let key = (family.to_owned(), machines.get(*row).unwrap_or_default().to_owned());
            families.get(*row) == Some(family) && pays.get(*row) == Some(true) && fastest.get(&key).map(String::as_str) == engines.get(*row)
        };
        let rows: Vec<usize> = (0..frame.height()).filter(speaks).collect();
        let mut found = [least(&rows, true, ratios), least(&rows, false, errors)].into_iter().flatten();
        first.extend(found.next());
        second.extend(found.next());
    }
    let mut chosen: Vec<usize> = first.into_iter().chain(second).take(SHOWN).collect();
    chosen.sort_by_key(|row| (families.get(*row), exact.get(*row) != Some(true)));
    Ok(chosen)
}

fn what(frame: &DataFrame, row: usize) -> PolarsResult<String> {
    let text = |column: &str| Ok::<_, PolarsError>(frame.texts(column)?.get(row).unwrap_or("?").to_owned());
    let mut words = format!("{} on {}", text("variant")?, text("engine")?);
    let setting = text("setting")?;
    let mut regime = if setting.is_empty() { Vec::new() } else { vec![setting] };
    for column in [PRECISION, THREADS] {
        if frame.schema().contains(column) {
            regime.extend(frame.shown(column, row)?.map(|value| format!("{}={value}", axis_name(column))));
        }
    }
    if !regime.is_empty() {
        words += &format!(": {}", regime.join(", "));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell as Example, frame, together};
    use crate::frames::baseline::with_baseline;
    use crate::frames::crossover::crossovers;
    use crate::frames::memory::memory;
    use crate::frames::order::{axis_roles, sorted};
    use crate::frames::series::series;
    use crate::frames::speed::speed;
    use crate::frames::strong::with_strong;
    use crate::text::screen::Screen;

    /// What the few lines are of runs with these cells.
    fn told(cells: &[Example]) -> String {
        let cells = frame(&together(cells));
        let roles = axis_roles(&cells.clone().lazy()).unwrap();
        let wide = with_strong(speed(memory(with_baseline(cells.clone().lazy()).unwrap()))).unwrap();
        let rows = sorted(wide, &roles).collect().unwrap();
        let crossovers = crossovers(&rows, &series(&rows, &roles).unwrap(), &[0.0]).unwrap();
        Screen::file().show(&of(&rows, &crossovers).unwrap())
    }

    #[test]
    fn the_best_exact_and_the_least_wrong_approximation_are_told() {
        let mut cells = Vec::new();
        for (n, group, ids) in [(64, "g", ["a", "b", "c", "d"]), (256, "h", ["e", "f", "g", "h"])] {
            let cell = |id, variant, median: i64, error_ratio| Example {
                id,
                group,
                n,
                variant,
                median: Some(median * n),
                error_ratio: Some(error_ratio),
                ..Example::default()
            };
            cells.extend([
                Example { baseline: true, ..cell(ids[0], "attention/dense", 8000, 1.0) },
                cell(ids[1], "attention/flash", 4000, 1.0),
                cell(ids[2], "attention/window", 1000, 900.0),
                cell(ids[3], "attention/routing", 9000, 900.0),
            ]);
        }
        let text = told(&cells);
        assert!(text.starts_with("what pays, against the fastest exact cell of its engine: 2 of 3 curves;"), "{text}");
        let [flash, window] = ["attention/flash", "attention/window"].map(|name| text.find(name).unwrap());
        assert!(flash < window && !text.contains("routing") && text.contains("throughout n = 64..256"), "{text}");
        assert!(text.lines().count() <= 20 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn where_nothing_pays_or_can_be_said_that_is_told() {
        assert!(told(&[Example::default()]).starts_with("what pays: nothing can be said"));
        let slow = [(64, "g", "a", "b"), (256, "h", "c", "d")].map(|(n, group, dense, flash)| {
            let cell = Example { n, group, error_ratio: Some(1.0), ..Example::default() };
            [Example { id: dense, baseline: true, ..cell.clone() }, Example { id: flash, median: Some(9000), ..cell }]
        });
        // However its lines are broken.
        let text = told(&slow.concat()).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("nothing was shown to be faster than the fastest exact cell of its engine (1 curve)"), "{text}");
    }
}
