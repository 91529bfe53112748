//! What all formats are made of: one wide frame of cells, and one frame for each question that is about more than one cell.

use std::collections::BTreeMap;

use crossover_results::Machine;
use polars::prelude::*;

use crate::error::Result;
use crate::frames::order::{AxisRoles, axis_roles, sorted};
use crate::frames::peers::Peers;
use crate::frames::published::Published;
use crate::frames::series::{Series, series};
use crate::frames::{
    accuracy, baseline, crossover, engines, failures, headline, memory, overview, pareto, peers, published, scaling, speed, strong,
    unprofitable,
};
use crate::runs::{self, Run};
use crate::scan;

/// The files of the tables of answers.
const CROSSOVERS: &str = "crossovers.csv";
pub(crate) const FRONTIER: &str = "frontier.csv";
pub(crate) const SCALING: &str = "scaling.csv";
pub(crate) const ENGINES: &str = "engines.csv";
pub(crate) const PEERS: &str = "peers.csv";
pub(crate) const UNPROFITABLE: &str = "unprofitable.csv";
pub(crate) const PUBLISHED: &str = "published.csv";
pub(crate) const PUBLISHED_ORDER: &str = "published-order.csv";
pub(crate) const PUBLISHED_CROSSINGS: &str = "published-crossings.csv";

/// The answers of a set of runs.
pub(crate) struct Answers<'a> {
    pub(crate) runs: &'a [Run],
    /// The machines of the runs, by fingerprint.
    pub(crate) machines: BTreeMap<&'a str, &'a Machine>,
    /// Which axes state the problem.
    pub(crate) roles: AxisRoles,
    /// The cells as they were recorded.
    pub(crate) cells: DataFrame,
    /// Every cell in the order of tables, with its baseline, ratios, rates, shares and flags (see [`crate::frames`]).
    pub(crate) rows: DataFrame,
    /// The curves along one axis, over the rows.
    pub(crate) curves: Vec<Series>,
    /// Where variants overtake the strong baseline.
    pub(crate) crossovers: DataFrame,
    /// How the times grow with the sizes of the problems.
    pub(crate) scaling: DataFrame,
    /// Which engine is fastest.
    pub(crate) engines: DataFrame,
    /// Every engine beside the fastest of other programs, where a run has such.
    pub(crate) peers: Peers,
    /// Variants that do not pay.
    pub(crate) unprofitable: DataFrame,
    /// What the papers say, where a run measured one of their tables.
    pub(crate) published: Published,
    /// How many cells ended how, by family.
    pub(crate) overview: DataFrame,
    /// The fastest cell of each problem.
    pub(crate) headline: DataFrame,
    /// What did not end well, by reason.
    pub(crate) failures: DataFrame,
}

impl Answers<'_> {
    /// The tables of answers, each with the name of its file.
    pub(crate) fn tables(&self) -> PolarsResult<Vec<(&'static str, DataFrame)>> {
        let mut tables = vec![
            (CROSSOVERS, self.crossovers.clone()),
            (FRONTIER, pareto::competing(&self.rows)?),
            (SCALING, self.scaling.clone()),
            (ENGINES, self.engines.clone()),
            (UNPROFITABLE, self.unprofitable.clone()),
        ];
        if !self.peers.is_empty() {
            tables.push((PEERS, peers::table(&self.peers, &self.rows)?));
        }
        if self.published.comparisons.height() > 0 {
            tables.push((PUBLISHED, self.published.comparisons.clone()));
            tables.push((PUBLISHED_ORDER, self.published.ranks.clone()));
            tables.push((PUBLISHED_CROSSINGS, self.published.crossings.clone()));
        }
        Ok(tables)
    }
}

/// Reads the runs and answers every question about them.
pub(crate) fn answer(runs: &[Run]) -> Result<Answers<'_>> {
    // Collected once: every frame below starts from these rows, so the files are read a single time.
    of_cells(runs, scan::collect(runs)?)
}

/// The answers about these cells of the runs.
pub(crate) fn of_cells(runs: &[Run], cells: DataFrame) -> Result<Answers<'_>> {
    let roles = axis_roles(&cells.clone().lazy())?;
    let compared = baseline::with_baseline(cells.clone().lazy())?;
    let wide = accuracy::accuracy(strong::with_strong(speed::speed(memory::memory(compared)))?);
    let ceilings: Vec<_> = runs.iter().map(|run| run.ceilings.as_ref()).collect();
    let floors: Vec<f64> = runs.iter().map(Run::floor).collect();
    let rows = speed::with_share(sorted(wide, &roles).collect()?, &ceilings)?;
    let rows = pareto::with_frontier(rows, &roles, &floors)?;
    let curves = series(&rows, &roles)?;
    Ok(Answers {
        published: published::published(&rows, &roles, &floors)?,
        runs,
        machines: runs::machines(runs),
        crossovers: crossover::crossovers(&rows, &curves, &floors)?,
        scaling: scaling::scaling(&rows, &roles, &curves)?,
        engines: engines::engines(&rows)?,
        peers: peers::peers(&rows, &roles, runs)?,
        unprofitable: unprofitable::unprofitable(&rows, &floors)?,
        overview: overview::overview(cells.clone().lazy()).collect()?,
        headline: headline::headline(rows.clone().lazy(), &roles).collect()?,
        failures: failures::failures(cells.clone().lazy()).collect()?,
        roles,
        cells,
        rows,
        curves,
    })
}
