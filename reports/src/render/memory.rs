//! `memory.md`: the three named figures, one row a cell.

use polars::prelude::*;

use super::Context;
use super::family_tables::{Measures, sections};
use crate::columns::Typed;
use crate::text::markdown::{ABSENT, Align, name};
use crate::text::units::{bytes, figure};

const ABOUT: &str = "# Memory\n\n\
    Three figures that are never added to each other. *declared*: what the engine says it holds, as weights + activations (inputs and \
    output) + scratch + state (what outlives a call). *allocator peak*: the most that was allocated over preparing and one call, \
    counted by the allocator. *high water*: the most resident memory of the fresh process, the program itself included. Ratios are \
    cell over baseline: below 1 is smaller. *warm allocations* are those of one call after warm-up. A cell that was not accounted \
    has its status in place of the first figure.\n";

struct Memory<'a> {
    frame: &'a DataFrame,
}

/// The whole file. `frame` has the columns of `frames::memory`.
pub(crate) fn document(frame: &DataFrame, context: &Context<'_>) -> PolarsResult<String> {
    let empty = if frame.height() == 0 { "\nThere are no cells.\n" } else { "" };
    Ok(format!("{ABOUT}{empty}{}", sections(frame, context, &Memory { frame })?))
}

impl Measures for Memory<'_> {
    fn headings(&self) -> Vec<(&'static str, Align)> {
        [
            "declared",
            "ratio",
            "weights",
            "activations",
            "scratch",
            "state",
            "allocator peak",
            "ratio",
            "high water",
            "ratio",
            "warm allocations",
        ]
        .map(|heading| (heading, Align::Right))
        .into()
    }

    fn cells(&self, row: usize) -> PolarsResult<Vec<String>> {
        let size = |column: &str| -> PolarsResult<String> {
            Ok(self.frame.ints(column)?.get(row).map_or_else(|| ABSENT.to_owned(), |size| bytes(size as f64)))
        };
        let own = self.frame.flags("own_baseline")?.get(row) == Some(true);
        let ratio = |column: &str| -> PolarsResult<String> {
            let value = self.frame.doubles(column)?.get(row);
            Ok(if own { "baseline".to_owned() } else { value.map_or_else(|| ABSENT.to_owned(), figure) })
        };
        let declared = match self.frame.ints("declared_bytes")?.get(row) {
            None => format!("**{}**", name(self.frame.texts("status")?.get(row).unwrap_or_default())),
            Some(_) => size("declared_bytes")?,
        };
        let warm = self.frame.ints("warm_allocations")?.get(row);
        Ok(vec![
            declared,
            ratio("declared_ratio")?,
            size("weight_bytes")?,
            size("activation_bytes")?,
            size("scratch_bytes")?,
            size("state_bytes")?,
            size("allocator_peak_bytes")?,
            ratio("allocator_peak_ratio")?,
            size("high_water_bytes")?,
            ratio("high_water_ratio")?,
            warm.map_or_else(|| ABSENT.to_owned(), |count| count.to_string()),
        ])
    }

    fn compares(&self) -> bool {
        true
    }
}
