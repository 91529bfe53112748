//! `crossover compare A B`: what became of the cells that two runs have in common, and what only one of them has.
//!
//! A cell of A and one of B are the same where they have the same id (variant, engine, axes). For each such pair with two times there is a ratio, B over
//! A: below 1, B is faster.
//!
//! # What a verdict says
//!
//! The two runs were made at different times and never interleaved. So a ratio has in it what the machine did differently, and nothing
//! inside the two runs can tell that from a change of the program; nor do the samples of one process tell what a fresh one would have shown. (Two
//! runs of one build, five minutes apart, differed beyond their noise floors in a tenth of 1,201 cells.) What can be told is told:
//!
//! | verdict | when |
//! |---|---|
//! | `not-shown` | the probability of such a ratio by chance, corrected for the number of cells (Holm), is 5 % or more |
//! | `noise` | it is smaller, but the ratio is nearer to 1 than the larger noise floor of the two runs: a fresh worker alone makes as much |
//! | `apart` | it is beyond the noise, but the ratio to the baseline that both were measured beside (column `beside`) does not bear it out: the baseline changed as much, by drift or by a change that hit both |
//! | `faster`, `slower` | none of these |
//!
//! The column `beside` is a ratio of ratios: each median over that of the baseline in the same rounds, B over A. The machine's drift is divided
//! out of it; a change of the baseline itself is in it. It exists where both records name the same baseline.
//!
//! Errors, declared bytes, statuses and the support by the engine are exact: every change of these is a change of the program (or of the seed).
//!
//! What this trades away: it never fails on slower cells. A decision needs both builds side by side in one run.

mod changes;
mod json;
mod pairs;
mod show;
#[cfg(test)]
mod tests;

pub(crate) use changes::Changes;
pub(crate) use json::json;
pub(crate) use pairs::{Pair, Verdict};
pub(crate) use show::{Extent, document};

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use serde_json::Value;

use crate::columns::{RUN, Typed, axis_columns, axis_name};
use crate::error::{ReportError, Result};
use crate::fits::{self, mean};
use crate::frames::order::{axis_roles, sorted};
use crate::runs::Run;
use crate::scan;

/// The whole answer.
pub(crate) struct Comparison<'a> {
    pub(crate) runs: [&'a Run; 2],
    /// Cells of both runs, in the order of tables.
    pub(crate) cells: DataFrame,
    /// Cells of each run.
    pub(crate) counts: [usize; 2],
    /// True where the two are of different machines, which somebody asked for.
    pub(crate) is_across_machines: bool,
    /// The larger noise floor of the two, by which the verdicts go.
    pub(crate) floor: f64,
    /// Cells of both with two times, the largest changes first.
    pub(crate) pairs: Vec<Pair>,
    /// By family and engine, and at last over all.
    pub(crate) means: Vec<Mean>,
    pub(crate) changes: Changes,
    /// Rows of A that B lacks.
    pub(crate) vanished: Vec<usize>,
    /// Rows of B that A lacks.
    pub(crate) appeared: Vec<usize>,
}

/// A geometric mean of ratios over the cells that both runs have with the status `ok`. Its interval is over problems (see [`fits::mean`]), as
/// cells of one problem vary together.
pub(crate) struct Mean {
    /// Family and engine; none for all.
    pub(crate) of: Option<(String, String)>,
    pub(crate) mean: fits::Mean,
    /// The same of the ratios beside the baseline, where there are any.
    pub(crate) beside: Option<fits::Mean>,
}

/// Compares two runs that were opened in this order.
pub(crate) fn compare(runs: &[Run], across_machines: bool) -> Result<Comparison<'_>> {
    let [a, b] = runs else { return Err(ReportError::NotTwoRuns { count: runs.len() }) };
    let cells = scan::collect(runs)?;
    let machines = [machines(a, 0, &cells)?, machines(b, 1, &cells)?];
    let is_across_machines = machines[0].len() > 1 || machines[0] != machines[1];
    if is_across_machines && !across_machines {
        return Err(ReportError::DifferentMachines { a: spelled(&machines[0]), b: spelled(&machines[1]) });
    }
    let roles = axis_roles(&cells.clone().lazy())?;
    let cells = sorted(cells.lazy(), &roles).collect()?;
    let [of_a, of_b] = [rows_by_id(&cells, 0)?, rows_by_id(&cells, 1)?];
    let both: Vec<(usize, usize)> = of_a.iter().filter_map(|(id, a)| Some((*a, *of_b.get(id)?))).collect();
    let only = |own: &BTreeMap<&str, usize>, other: &BTreeMap<&str, usize>| {
        let mut rows: Vec<usize> = own.iter().filter(|(id, _)| !other.contains_key(*id)).map(|(_, row)| *row).collect();
        rows.sort_unstable();
        rows
    };
    let (vanished, appeared, counts) = (only(&of_a, &of_b), only(&of_b, &of_a), [of_a.len(), of_b.len()]);
    let floor = a.floor().max(b.floor());
    let pairs = pairs::pairs(&cells, &both, floor)?;
    let means = means(&cells, &pairs)?;
    let changes = changes::changes(&cells, &both)?;
    Ok(Comparison { runs: [a, b], cells, counts, is_across_machines, floor, pairs, means, changes, vanished, appeared })
}

/// The fingerprints of a run's cells; of one without any, that of its manifest.
fn machines(run: &Run, place: i64, cells: &DataFrame) -> PolarsResult<BTreeSet<String>> {
    let (runs, machines) = (cells.ints(RUN)?, cells.texts("machine")?);
    let own = (0..cells.height()).filter(|row| runs.get(*row) == Some(place));
    let found: BTreeSet<String> = own.filter_map(|row| machines.get(row)).map(str::to_owned).collect();
    Ok(if found.is_empty() { BTreeSet::from([run.manifest.machine.fingerprint.clone()]) } else { found })
}

fn spelled(machines: &BTreeSet<String>) -> String {
    machines.iter().cloned().collect::<Vec<_>>().join(" and ")
}

fn rows_by_id(cells: &DataFrame, place: i64) -> PolarsResult<BTreeMap<&str, usize>> {
    let (runs, ids) = (cells.ints(RUN)?, cells.texts("id")?);
    Ok((0..cells.height()).filter(|row| runs.get(*row) == Some(place)).filter_map(|row| Some((ids.get(row)?, row))).collect())
}

fn means(cells: &DataFrame, pairs: &[Pair]) -> PolarsResult<Vec<Mean>> {
    let (families, engines) = (cells.texts("family")?, cells.texts("engine")?);
    let text = |column: &StringChunked, row: usize| column.get(row).unwrap_or_default().to_owned();
    let mut sets: BTreeMap<(String, String), Vec<&Pair>> = BTreeMap::new();
    for pair in pairs {
        sets.entry((text(families, pair.b), text(engines, pair.b))).or_default().push(pair);
    }
    let groups = cells.texts("group")?;
    let geometric = |ratios: &[(Option<&str>, f64)]| {
        let mut problems: BTreeMap<Option<&str>, Vec<f64>> = BTreeMap::new();
        ratios.iter().for_each(|(group, ratio)| problems.entry(*group).or_default().push(ratio.ln()));
        let mean = mean(&problems.into_values().collect::<Vec<_>>())?;
        Some(fits::Mean { value: mean.value.exp(), interval: mean.interval.map(|(low, high)| (low.exp(), high.exp())), ..mean })
    };
    let of = |key: Option<(String, String)>, pairs: &[&Pair]| {
        let own: Vec<_> = pairs.iter().map(|pair| (groups.get(pair.b), pair.ratio)).collect();
        let beside: Vec<_> = pairs.iter().filter_map(|pair| Some((groups.get(pair.b), pair.beside.as_ref()?.ratio))).collect();
        Some(Mean { of: key, mean: geometric(&own)?, beside: geometric(&beside) })
    };
    let mut means: Vec<Mean> = sets.into_iter().filter_map(|(key, pairs)| of(Some(key), &pairs)).collect();
    means.extend(of(None, &pairs.iter().collect::<Vec<_>>()));
    Ok(means)
}

impl Comparison<'_> {
    /// How many pairs have that verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.pairs.iter().filter(|pair| pair.verdict == verdict).count()
    }

    /// A cell's axes and their values.
    fn axes(&self, row: usize) -> PolarsResult<Vec<(String, Value)>> {
        let mut axes = Vec::new();
        for column in axis_columns(self.cells.schema()) {
            let values = self.cells.column(&column)?;
            let value = match values.dtype() {
                DataType::Int64 => values.i64()?.get(row).map(Value::from),
                DataType::Float64 => values.f64()?.get(row).map(Value::from),
                _ => self.cells.shown(&column, row)?.map(Value::from),
            };
            axes.extend(value.map(|value| (axis_name(&column).to_owned(), value)));
        }
        Ok(axes)
    }
}
