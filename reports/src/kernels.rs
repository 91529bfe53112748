//! What the end of `crossover import` says at the terminal: of each cell that was brought in its time, its rates, and its share of the
//! machine's ceiling.
//!
//! The report has the same figures in tables as wide as they need to be; this one fits a terminal.

use polars::prelude::*;

use crate::columns::Typed;
use crate::labels::Labels;
use crate::runs::Run;
use crate::text::document::{Cell, Document, Grid, Tone};
use crate::text::markdown::{ABSENT, Align, counted};
use crate::text::units::{figure, percent, time};

/// The table; and whether each share is possible.
pub(crate) fn table(rows: &DataFrame, runs: &[Run]) -> PolarsResult<(Document, bool)> {
    let (mut out, labels) = (Document::default(), Labels::of(rows)?);
    let (medians, shares) = (rows.ints("median_ns")?, rows.doubles("share")?);
    let right = |heading| (heading, Align::Right);
    let mut grid = Grid::new([right("time"), right("GFLOP/s"), right("GB/s"), right("share"), ("of", Align::Left)]);
    for row in 0..rows.height() {
        let rate = |column: &str| {
            // What takes no operations, as a copy, has no rate of them.
            let rate = rows.doubles(column)?.get(row).filter(|rate| *rate > 0.0);
            Ok::<_, PolarsError>(Cell::plain(rate.map_or_else(|| ABSENT.to_owned(), figure)))
        };
        let share = shares.get(row);
        let tone = if share.is_some_and(is_impossible) { Tone::Bad } else { Tone::Plain };
        let share = Cell { text: share.map_or_else(|| ABSENT.to_owned(), percent), tone };
        let median = medians.get(row).map_or_else(|| ABSENT.to_owned(), |ns| time(ns as f64));
        grid.push([Cell::plain(median), rate("gflops")?, rate("gbytes")?, share, Cell::plain(labels.label(row)?)]);
    }
    out.grid(grid);
    let impossible = shares.iter().flatten().filter(|share| is_impossible(*share)).count();
    if impossible > 0 {
        out.text(format!(
            "{} above 100 % of the machine's ceiling, which was measured too low (under load?) or is that of another cost",
            counted(impossible as u64, "share")
        ));
    } else if runs.iter().all(|run| run.ceilings.is_none()) {
        out.text("No share is given, as no ceiling came with the benchmarks (--ceilings).");
    }
    Ok((out, impossible == 0))
}

fn is_impossible(share: f64) -> bool {
    share > 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell as Example, frame};
    use crate::frames::baseline::with_baseline;
    use crate::frames::speed::speed;
    use crate::text::screen::Screen;

    /// Of cells with these times and shares.
    fn shown(cells: &[(i64, Option<f64>)]) -> (String, bool) {
        let examples: Vec<Example> = (0..)
            .zip(cells)
            .map(|(at, (median, _))| Example {
                id: ["a", "b", "c"][at],
                n: [64, 256, 1024][at],
                status: "unchecked",
                median: Some(*median),
                ..Example::default()
            })
            .collect();
        let mut rows =
            speed(with_baseline(frame(&examples).lazy()).unwrap()).sort(["id"], SortMultipleOptions::default()).collect().unwrap();
        let shares: Float64Chunked = cells.iter().map(|(_, share)| *share).collect();
        rows.with_column(shares.with_name("share".into()).into_column()).unwrap();
        let (document, is_well) = table(&rows, &[]).unwrap();
        (Screen::file().show(&document), is_well)
    }

    #[test]
    fn every_cell_has_a_line_of_figures_that_fits() {
        let (text, is_well) = shown(&[(1_000, Some(0.5)), (2_500_000, None), (7, Some(0.999))]);
        assert!(is_well);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("time") && lines[0].contains("GFLOP/s") && lines[0].contains("share"), "{text}");
        assert!(lines[1].contains("1.00 µs") && lines[1].contains("50.0 %") && lines[1].contains("n=64"), "{text}");
        assert!(lines[2].contains("2.50 ms") && lines[2].contains(ABSENT), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn a_share_above_the_ceiling_is_a_finding() {
        let (text, is_well) = shown(&[(1_000, Some(1.25)), (1_000, Some(0.5))]);
        assert!(!is_well && text.contains("125 %") && text.contains("1 share above 100 % of the machine's ceiling"), "{text}");
    }

    #[test]
    fn without_ceilings_that_is_said() {
        let (text, is_well) = shown(&[(1_000, None)]);
        assert!(is_well && text.contains("No share is given"), "{text}");
    }
}
