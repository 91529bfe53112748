//! The papers' figures beside ours: where a run measured what stands in a published table (its experiment is called `published-NAME`).
//!
//! Seconds and bytes belong to a machine; compared are ratios to the dense method of the same table, the lengths at which a method overtakes it,
//! and the order (see [`ranks`]). Which variant a method is, and what is known to be different between the paper's experiment and ours, is
//! data of `results/published` (see [`tables`]).
//!
//! A ratio *agrees* if the paper's lies within the interval of ours, or both lie on the same side of 1 (ours beyond the noise floor) and within a factor of [`NEAR`].
//! Where the interval of ours is wider than that factor, or no difference is shown here and the figures are near each other, it is *unclear*. Else it *differs*.
//! The reason says how, then what is known to be different. That is no proof of the cause: no figure of a paper says why it is what it is.

mod ranks;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use crossover_core::device::is_on_device;
use polars::prelude::*;

use self::tables::{Conditions, Figure, Here, Measure, PaperTable};
use super::baseline::base;
use super::course::State;
use super::order::AxisRoles;
use super::taken;
use crate::columns::{PRECISION, RUN, THREADS, Typed, axis_name};
use crate::runs::ASSUMED_FLOOR;

/// Another machine and another program: by how much a ratio on the same side of 1 may be another and still agree.
pub(crate) const NEAR: f64 = 2.0;
/// The experiments of published tables begin with this.
const PREFIX: &str = "published-";
/// The sizes that a paper's length may be.
const LENGTHS: [&str; 2] = ["axis:n", "axis:n_kv"];

/// A figure of a paper beside a cell of ours.
#[derive(Debug, Clone)]
struct Pair {
    table: String,
    figure: Figure,
    row: usize,
    /// The other axes of the problem, where they vary: `distribution = peaked`.
    regime: String,
    n: Option<f64>,
    ours: Option<f64>,
    interval: Option<(f64, f64)>,
    verdict: &'static str,
    reason: String,
    /// The noise floor of the run.
    floor: f64,
    differs: String,
}

/// The papers' figures beside ours; all three frames are empty where no run measured a published table.
pub(crate) struct Published {
    /// Figure by figure: [`comparisons`].
    pub(crate) comparisons: DataFrame,
    /// How the orders agree: [`ranks::ranks`].
    pub(crate) ranks: DataFrame,
    /// Where methods overtake the dense one: [`ranks::crossings`].
    pub(crate) crossings: DataFrame,
}

/// Puts the papers' figures beside the cells of `rows` (the wide frame, in the order of tables). `floors` are the runs' noise floors.
pub(crate) fn published(rows: &DataFrame, roles: &AxisRoles, floors: &[f64]) -> PolarsResult<Published> {
    let pairs = pairs(rows, roles, floors)?;
    Ok(Published {
        comparisons: comparisons(&pairs, rows)?,
        ranks: ranks::ranks(&pairs, rows)?,
        crossings: ranks::crossings(&pairs, rows)?,
    })
}

fn pairs(rows: &DataFrame, roles: &AxisRoles, floors: &[f64]) -> PolarsResult<Vec<Pair>> {
    let (runs, experiments) = (rows.ints(RUN)?, rows.texts("experiment")?);
    let mut of: BTreeMap<(i64, &str), Vec<usize>> = BTreeMap::new();
    for row in 0..rows.height() {
        if let (Some(run), Some(table)) = (runs.get(row), experiments.get(row).and_then(|name| name.strip_prefix(PREFIX))) {
            of.entry((run, table)).or_default().push(row);
        }
    }
    let mut pairs = Vec::new();
    for ((run, table), own) in of {
        let Some(paper) = PaperTable::of(table)? else { continue };
        let floor = usize::try_from(run).ok().and_then(|run| floors.get(run).copied()).unwrap_or(ASSUMED_FLOOR);
        let cells = Cells { rows, table, paper: &paper, floor, telling: telling(rows, roles, &own)? };
        let sets = sets(rows, &own)?;
        for figure in &paper.figures {
            for set in &sets {
                pairs.extend(cells.pair(figure, set)?);
            }
        }
    }
    Ok(pairs)
}

/// Rows of one problem on one engine.
fn sets(rows: &DataFrame, own: &[usize]) -> PolarsResult<Vec<Vec<usize>>> {
    let [groups, machines, engines] = ["group", "machine", "engine"].map(|column| rows.texts(column));
    let (groups, machines, engines) = (groups?, machines?, engines?);
    let mut sets: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for row in own {
        sets.entry((machines.get(*row), engines.get(*row), groups.get(*row))).or_default().push(*row);
    }
    // In the order of tables: a group's name tells nothing of its size.
    let mut sets: Vec<Vec<usize>> = sets.into_values().collect();
    sets.sort();
    Ok(sets)
}

/// The axes of the problem that vary over these rows, but for the length, the precision and the threads, which have columns of their own.
fn telling(rows: &DataFrame, roles: &AxisRoles, own: &[usize]) -> PolarsResult<Vec<String>> {
    let named = |axis: &&String| !LENGTHS.contains(&axis.as_str()) && *axis != PRECISION && *axis != THREADS;
    let mut telling = Vec::new();
    for axis in roles.problem.iter().filter(named) {
        let values = own.iter().map(|row| rows.shown(axis, *row)).collect::<PolarsResult<BTreeSet<_>>>()?;
        if values.len() > 1 {
            telling.push(axis.clone());
        }
    }
    Ok(telling)
}

/// The cells of one run that measured one table.
struct Cells<'a> {
    rows: &'a DataFrame,
    table: &'a str,
    paper: &'a PaperTable,
    /// The run's noise floor.
    floor: f64,
    telling: Vec<String>,
}

impl Cells<'_> {
    /// The figure beside its cell of a set; nothing where the set is of another length or has no such cell.
    fn pair(&self, figure: &Figure, set: &[usize]) -> PolarsResult<Option<Pair>> {
        let (here, conditions) = (self.paper.here(&figure.method, &figure.param), self.paper.conditions(&figure.setting));
        let (Some(here), Some(conditions), Some(first)) = (here, conditions, set.first().copied()) else { return Ok(None) };
        let states_length = conditions.axes.iter().any(|(axis, _)| LENGTHS.contains(&axis.as_str()));
        let length = self.length(first)?;
        if !states_length && figure.n.is_some() && figure.n != length || !self.has(&conditions.axes, first)? {
            return Ok(None);
        }
        let found = self.find(here, set)?;
        let Some(row) = found.first().copied() else { return Ok(None) };
        let mut pair = Pair {
            table: self.table.to_owned(),
            figure: figure.clone(),
            row,
            regime: self.regime(row)?,
            n: length.map(|n| n as f64),
            ours: None,
            interval: None,
            verdict: "none",
            reason: String::new(),
            floor: self.floor,
            differs: self.different(conditions, row)?,
        };
        let status = self.rows.texts("status")?.get(row).unwrap_or_default();
        if found.len() > 1 {
            pair.reason = format!("{} cells here could be meant", found.len());
        } else if status != "ok" {
            pair.reason = format!("here: {status}");
        } else {
            self.judge(&mut pair, self.paper.here(&conditions.dense, ""), set)?;
        }
        Ok(Some(pair))
    }

    fn judge(&self, pair: &mut Pair, dense: Option<&Here>, set: &[usize]) -> PolarsResult<()> {
        let double = |column: &str, row: usize| Ok::<_, PolarsError>(self.rows.doubles(column)?.get(row));
        let measure = pair.figure.measure;
        if measure == Measure::Error {
            pair.ours = double("err_method_rel", pair.row)?;
            "only the order can be compared".clone_into(&mut pair.reason);
            return Ok(());
        }
        let dense = match dense.map(|dense| self.find(dense, set)).transpose()?.as_deref() {
            Some([dense]) if self.rows.texts("status")?.get(*dense) == Some("ok") => *dense,
            _ => {
                "no dense cell here that ended well".clone_into(&mut pair.reason);
                return Ok(());
            }
        };
        let own_baseline = self.rows.shown(&base("id"), pair.row)? == self.rows.shown("id", dense)?;
        let is_apart = measure == Measure::Time && (!own_baseline || self.rows.flags("apart")?.get(pair.row) == Some(true));
        match measure {
            Measure::Memory => pair.ours = self.quotient("declared_bytes", pair.row, "declared_bytes", dense)?,
            _ if own_baseline => {
                pair.ours = double("ratio", pair.row)?;
                pair.interval = double("ratio_low", pair.row)?.zip(double("ratio_high", pair.row)?);
            }
            _ => {
                let low = self.quotient("ci_low_ns", pair.row, "ci_high_ns", dense)?;
                pair.ours = self.quotient("median_ns", pair.row, "median_ns", dense)?;
                pair.interval = low.zip(self.quotient("ci_high_ns", pair.row, "ci_low_ns", dense)?);
            }
        }
        let Some(ours) = pair.ours else {
            "no figure here".clone_into(&mut pair.reason);
            return Ok(());
        };
        let (interval, floor) = match (measure, pair.interval) {
            // Declared bytes are exact.
            (Measure::Memory, _) => ((ours, ours), 0.0),
            (_, Some(interval)) => (interval, pair.floor),
            (_, None) => {
                (pair.verdict, pair.reason) = ("unclear", "too few samples here for an interval".to_owned());
                return Ok(());
            }
        };
        let (verdict, how) = judged(pair.figure.ratio, ours, interval, floor, measure);
        pair.verdict = verdict;
        pair.reason = if is_apart { format!("{how} (not in the same rounds: drift is in it)") } else { how };
        Ok(())
    }

    fn quotient(&self, upper: &str, row: usize, lower: &str, other: usize) -> PolarsResult<Option<f64>> {
        let value = |column: &str, row: usize| {
            Ok::<_, PolarsError>(self.rows.ints(column)?.get(row).filter(|value| *value > 0).map(|value| value as f64))
        };
        Ok(value(upper, row)?.zip(value(lower, other)?).map(|(upper, lower)| upper / lower))
    }

    fn find(&self, here: &Here, set: &[usize]) -> PolarsResult<Vec<usize>> {
        let variants = self.rows.texts("variant")?;
        let mut found = Vec::new();
        for row in set.iter().filter(|row| variants.get(**row) == Some(here.variant.as_str())) {
            if self.has(&here.axes, *row)? {
                found.push(*row);
            }
        }
        Ok(found)
    }

    fn has(&self, axes: &[(String, String)], row: usize) -> PolarsResult<bool> {
        for (axis, value) in axes {
            if !self.rows.schema().contains(axis) || self.rows.shown(axis, row)?.as_deref() != Some(value.as_str()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn length(&self, row: usize) -> PolarsResult<Option<i64>> {
        for axis in LENGTHS.into_iter().filter(|axis| self.rows.schema().contains(axis)) {
            if let Some(text) = self.rows.shown(axis, row)? {
                return Ok(text.parse().ok());
            }
        }
        Ok(None)
    }

    fn regime(&self, row: usize) -> PolarsResult<String> {
        let mut words = Vec::new();
        for axis in &self.telling {
            words.extend(self.rows.shown(axis, row)?.map(|value| format!("{} = {value}", axis_name(axis))));
        }
        Ok(words.join(", "))
    }

    /// What is known to be different between the paper's figure and ours.
    fn different(&self, conditions: &Conditions, row: usize) -> PolarsResult<String> {
        let engine = self.rows.texts("engine")?.get(row).unwrap_or_default();
        let here = if is_on_device(engine) { "gpu" } else { "processor" };
        let device = match conditions.device.as_str() {
            "" => None,
            there if there == here => Some(format!("another {there}")),
            there => Some(format!("a {there} there, a {here} here")),
        };
        Ok(device.into_iter().chain((!conditions.differs.is_empty()).then(|| conditions.differs.clone())).collect::<Vec<_>>().join("; "))
    }
}

/// Does our ratio agree with the paper's, and how? What ours is too uncertain to answer is unclear.
fn judged(theirs: f64, ours: f64, (low, high): (f64, f64), floor: f64, measure: Measure) -> (&'static str, String) {
    let (less, more) = if measure == Measure::Memory { ("smaller", "larger") } else { ("faster", "slower") };
    let word = |state: State| match state {
        State::Faster => less,
        State::Slower => more,
        State::Even => "no difference",
    };
    let there = State::of(theirs, theirs, theirs, 0.0);
    let here = State::of(ours, low, high, floor);
    let factor = ours / theirs;
    let times =
        if factor >= 1.0 { format!("{factor:.2} times the paper's") } else { format!("the paper's is {:.2} times ours", 1.0 / factor) };
    let is_near = (1.0 / NEAR..=NEAR).contains(&factor);
    if low <= theirs && theirs <= high {
        match high <= ours * NEAR && low >= ours / NEAR {
            true => ("agrees", "within the interval of ours".to_owned()),
            false => ("unclear", "within the interval of ours, which is too wide to tell".to_owned()),
        }
    } else if here == State::Even {
        (if is_near { "unclear" } else { "differs" }, format!("{} there, no difference shown here", word(there)))
    } else if here != there {
        ("differs", format!("{} there, {} here", word(there), word(here)))
    } else {
        (if is_near { "agrees" } else { "differs" }, format!("{} in both, {times}", word(here)))
    }
}

/// One row a pair: `run`, `machine`, `engine`, `axis:precision`, `axis:threads`, `regime`, `table`, `setting`, `method`, `param`, `measure` (time, memory, error), `n` (here), `theirs`
/// (the ratio to dense; an accuracy is one of which more is better), `ours`, `ours_low`, `ours_high`, `verdict` (agrees, differs, unclear, none), `reason`, `known_differences`, `variant`, `id`.
fn comparisons(pairs: &[Pair], rows: &DataFrame) -> PolarsResult<DataFrame> {
    let at: Vec<usize> = pairs.iter().map(|pair| pair.row).collect();
    let texts = |of: fn(&Pair) -> &str| pairs.iter().map(of).collect::<Vec<_>>();
    let numbers = |of: fn(&Pair) -> Option<f64>| pairs.iter().map(of).collect::<Vec<_>>();
    let theirs = |pair: &Pair| if pair.figure.measure == Measure::Error { -pair.figure.ratio } else { pair.figure.ratio };
    let more = df!(
        "regime" => texts(|pair| &pair.regime),
        "table" => texts(|pair| &pair.table),
        "setting" => texts(|pair| &pair.figure.setting),
        "method" => texts(|pair| &pair.figure.method),
        "param" => texts(|pair| &pair.figure.param),
        "measure" => texts(|pair| pair.figure.measure.name()),
        "n" => pairs.iter().map(|pair| pair.n.map(|n| n as i64)).collect::<Vec<_>>(),
        "theirs" => pairs.iter().map(theirs).collect::<Vec<_>>(),
        "ours" => numbers(|pair| pair.ours),
        "ours_low" => numbers(|pair| Some(pair.interval?.0)),
        "ours_high" => numbers(|pair| Some(pair.interval?.1)),
        "verdict" => texts(|pair| pair.verdict),
        "reason" => texts(|pair| &pair.reason),
        "known_differences" => texts(|pair| &pair.differs),
    )?;
    let columns = [RUN, "machine", "engine", PRECISION, THREADS, "variant", "id"];
    taken(
        rows,
        &at,
        &columns,
        more,
        &["machine", RUN, "table", "setting", "measure", "regime", "method", "n", "param", THREADS, PRECISION, "engine", "id"],
    )
}

#[cfg(test)]
pub(crate) mod tests;
