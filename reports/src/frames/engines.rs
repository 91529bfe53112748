//! Which engine is fastest: the geometric mean of the ratios of times over the cells that two engines have both done well.
//!
//! Two cells are the same work if everything but the engine is the same: run, machine, variant and every axis, precision and threads among them.
//! Both must be `ok`. Each pair of engines has an intersection of its own, and so a count of its own: the ranking is not over one set of cells
//! for all, which would be empty as soon as one engine cannot do much. An engine's place is one more than the number of rivals that are shown to be faster, by
//! the whole interval of the mean ratio over what the two share: engines that no interval parts have the same place. Within a place, and against whom means
//! are told, the order is by the share of rivals with a lower mean time, then by the mean ratio to all. Numbers of threads are told apart, machines
//! too; runs of one machine are put together, each ratio being of one run.
//!
//! The interval is Student's t on logarithms over problems (see [`crate::fits::mean`]), as cells of one problem vary together. It says how sure the mean
//! is over problems like these, not how well one cell was measured.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;

use crate::columns::{RUN, THREADS, Typed, axis_columns};
use crate::fits::{Mean, mean};

/// How all families together are called.
pub(crate) const ALL: &str = "all";

/// Everything that is ranked by itself: machine, threads, family (none for all).
type Class = (String, Option<i64>, Option<String>);
/// Logarithms of ratios by problem.
type Logs = BTreeMap<String, Vec<f64>>;

/// One row for every engine and rival that share a cell, in both directions: `machine`, `family` ([`ALL`] for all of several), `threads`, `engine`, `place` (1 is
/// the best; several may share it), `order` (nobody shares it), `rival`, `rival_place`, `rival_order`, `ratio` (the engine's time over its rival's, geometric mean), `ratio_low`, `ratio_high`, `cells`, `problems`.
pub(crate) fn engines(rows: &DataFrame) -> PolarsResult<DataFrame> {
    let works = same_work(rows)?;
    let mut families: BTreeMap<(&str, Option<i64>), BTreeSet<&str>> = BTreeMap::new();
    for work in &works {
        families.entry((&work.machine, work.threads)).or_default().insert(&work.family);
    }
    let mut classes: BTreeMap<Class, BTreeMap<(String, String), Logs>> = BTreeMap::new();
    for work in &works {
        // Where there is one family, it is all.
        let several = families.get(&(work.machine.as_str(), work.threads)).is_some_and(|families| families.len() > 1);
        for family in [Some(work.family.clone())].into_iter().chain(several.then_some(None)) {
            let class = classes.entry((work.machine.clone(), work.threads, family)).or_default();
            for (own, rival) in work.pairs() {
                let logs = class.entry((own.0.clone(), rival.0.clone())).or_default();
                logs.entry(work.problem.clone()).or_default().push((own.1 / rival.1).ln());
            }
        }
    }
    let mut lines = Vec::new();
    for (class, pairs) in &classes {
        lines.extend(ranked(class, pairs));
    }
    table(&lines)
}

/// The same work on several engines.
struct Work {
    machine: String,
    family: String,
    threads: Option<i64>,
    problem: String,
    /// Each engine's median.
    engines: Vec<(String, f64)>,
}

impl Work {
    /// Each engine with each other one.
    fn pairs(&self) -> impl Iterator<Item = (&(String, f64), &(String, f64))> {
        self.engines.iter().flat_map(|own| self.engines.iter().filter(move |rival| rival.0 != own.0).map(move |rival| (own, rival)))
    }
}

fn same_work(rows: &DataFrame) -> PolarsResult<Vec<Work>> {
    let axes = axis_columns(rows.schema());
    let timed = col("status").eq(lit("ok")).and(col("median_ns").gt(lit(0)));
    let fixed = [RUN, "machine", "family", "group", "variant"];
    let keys: Vec<Expr> = fixed.into_iter().chain(axes.iter().map(String::as_str)).map(col).collect();
    let sets = rows
        .clone()
        .lazy()
        .filter(timed)
        .sort_by_exprs([col("engine"), col("id")], SortMultipleOptions::default())
        .group_by_stable(keys)
        .agg([col("engine").alias("engines"), col("median_ns").alias("medians")]);
    let shared = sets.filter(col("engines").list().len().gt(lit(1))).sort(fixed, SortMultipleOptions::default());
    let shared = shared.collect()?;
    let text = |column: &str, row: usize| Ok::<_, PolarsError>(shared.texts(column)?.get(row).unwrap_or_default().to_owned());
    let threads =
        |row: usize| if shared.schema().contains(THREADS) { Ok(shared.ints(THREADS)?.get(row)) } else { Ok::<_, PolarsError>(None) };
    let (engines, medians) = (shared.column("engines")?.list()?, shared.column("medians")?.list()?);
    let mut all = Vec::new();
    for row in 0..shared.height() {
        let (Some(engines), Some(medians)) = (engines.get_as_series(row), medians.get_as_series(row)) else { continue };
        let mut pairs: BTreeMap<String, f64> = BTreeMap::new();
        for (engine, median) in engines.str()?.iter().zip(medians.i64()?.iter()) {
            if let (Some(engine), Some(median)) = (engine, median) {
                pairs.entry(engine.to_owned()).or_insert(median as f64);
            }
        }
        all.push(Work {
            machine: text("machine", row)?,
            family: text("family", row)?,
            threads: threads(row)?,
            problem: text("group", row)?,
            engines: pairs.into_iter().collect(),
        });
    }
    Ok(all)
}

struct Ranked {
    class: Class,
    engine: String,
    place: i64,
    order: i64,
    rival: String,
    rival_place: i64,
    rival_order: i64,
    mean: Mean,
}

fn ranked(class: &Class, pairs: &BTreeMap<(String, String), Logs>) -> Vec<Ranked> {
    let mean_of = |logs: &Logs| mean(&logs.values().cloned().collect::<Vec<_>>());
    let means: BTreeMap<&(String, String), Mean> = pairs.iter().filter_map(|(pair, logs)| Some((pair, mean_of(logs)?))).collect();
    let names: BTreeSet<&String> = means.keys().map(|pair| &pair.0).collect();
    // Wins as a share of rivals: an engine that shares no cell with another neither beats it nor is beaten.
    let strength = |engine: &String| {
        let own: Vec<f64> = means.iter().filter(|(pair, _)| pair.0 == *engine).map(|(_, mean)| mean.value).collect();
        let lost = own.iter().filter(|log| **log > 0.0).count();
        (lost as f64 / own.len() as f64, own.iter().sum::<f64>() / own.len() as f64)
    };
    let mut order: Vec<(&String, (f64, f64))> = names.into_iter().map(|name| (name, strength(name))).collect();
    // Without an interval, over a single problem, nothing is shown.
    let is_beaten = |mean: &Mean| mean.interval.is_some_and(|(low, _)| low > 0.0);
    let place = |engine: &String| 1 + means.iter().filter(|(pair, mean)| pair.0 == *engine && is_beaten(mean)).count() as i64;
    let by = |one: &(&String, (f64, f64)), other: &(&String, (f64, f64))| {
        let of_equals = one.1.0.total_cmp(&other.1.0).then(one.1.1.total_cmp(&other.1.1)).then(one.0.cmp(other.0));
        place(one.0).cmp(&place(other.0)).then(of_equals)
    };
    order.sort_by(by);
    let at = |engine: &String| order.iter().position(|(name, _)| *name == engine).map_or(0, |at| at as i64 + 1);
    let line = |(pair, mean): (&&(String, String), &Mean)| Ranked {
        class: class.clone(),
        engine: pair.0.clone(),
        place: place(&pair.0),
        order: at(&pair.0),
        rival: pair.1.clone(),
        rival_place: place(&pair.1),
        rival_order: at(&pair.1),
        mean: *mean,
    };
    let mut lines: Vec<Ranked> = means.iter().map(line).collect();
    lines.sort_by_key(|line| (line.order, line.rival_order));
    lines
}

fn table(lines: &[Ranked]) -> PolarsResult<DataFrame> {
    let texts = |of: fn(&Ranked) -> &str| lines.iter().map(of).collect::<Vec<_>>();
    let ints = |of: fn(&Ranked) -> i64| lines.iter().map(of).collect::<Vec<_>>();
    let ends = |of: fn((f64, f64)) -> f64| lines.iter().map(|line| line.mean.interval.map(|ends| of(ends).exp())).collect::<Vec<_>>();
    let table = df!(
        "machine" => texts(|line| &line.class.0),
        "family" => texts(|line| line.class.2.as_deref().unwrap_or(ALL)),
        "threads" => lines.iter().map(|line| line.class.1).collect::<Vec<_>>(),
        "engine" => texts(|line| &line.engine),
        "place" => ints(|line| line.place),
        "order" => ints(|line| line.order),
        "rival" => texts(|line| &line.rival),
        "rival_place" => ints(|line| line.rival_place),
        "rival_order" => ints(|line| line.rival_order),
        "ratio" => lines.iter().map(|line| line.mean.value.exp()).collect::<Vec<_>>(),
        "ratio_low" => ends(|ends| ends.0),
        "ratio_high" => ends(|ends| ends.1),
        "cells" => ints(|line| line.mean.count as i64),
        "problems" => ints(|line| line.mean.clusters as i64),
    )?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{Cell, frame};

    fn cell(engine: &'static str, group: &'static str, median: i64) -> Cell {
        Cell { engine, group, median: Some(median), id: format!("{engine}-{group}-{median}").leak(), ..Cell::default() }
    }

    fn found(cells: &[Cell]) -> DataFrame {
        engines(&frame(cells)).unwrap()
    }

    fn line(table: &DataFrame, engine: &str, rival: &str) -> Option<(f64, i64, i64)> {
        let of = |column: &str, row: usize| table.texts(column).unwrap().get(row) == Some(if column == "engine" { engine } else { rival });
        let row = (0..table.height()).find(|row| of("engine", *row) && of("rival", *row))?;
        let int = |column: &str| table.ints(column).unwrap().get(row).unwrap();
        Some((table.doubles("ratio").unwrap().get(row).unwrap(), int("cells"), int("place")))
    }

    #[test]
    fn a_mean_is_over_what_two_engines_share() {
        let mut cells = vec![
            cell("naive", "g", 1000),
            cell("simd", "g", 100),
            cell("naive", "h", 4000),
            cell("simd", "h", 100),
            // Only here: not in any mean.
            cell("simd", "i", 1),
            // Emulated, of another precision, of another length: not the same work.
            Cell { status: "emulated", ..cell("naive", "j", 5) },
            cell("simd", "j", 100),
            cell("simd", "k", 100),
            Cell { precision: "bf16", ..cell("naive", "k", 5) },
        ];
        for _ in 0..2 {
            let table = found(&cells);
            // The geometric mean of 10 and 40.
            let (ratio, count, place) = line(&table, "naive", "simd").unwrap();
            assert!((ratio - 20.0).abs() < 1e-9 && (count, place) == (2, 1));
            let (ratio, count, place) = line(&table, "simd", "naive").unwrap();
            assert!((ratio - 0.05).abs() < 1e-9 && (count, place) == (2, 1), "two problems do not part them");
            assert_eq!(table.texts("engine").unwrap().get(0), Some("simd"), "who is faster on average is told first");
            assert_eq!(table.height(), 2);
            cells.reverse();
        }
    }

    #[test]
    fn the_interval_is_over_problems() {
        let low = |cells: &[Cell]| found(cells).doubles("ratio_low").unwrap().get(0);
        let pair = |group, slow| [cell("a", group, 100), cell("b", group, slow)];
        assert_eq!(low(&pair("g", 200)), None, "one problem");
        let two = [pair("g", 200), pair("h", 400)].concat();
        // The logarithms are -ln 2 and -ln 4: mean -1.5 ln 2, standard error ln 2 / 2, and t of one degree 12.706.
        let expected = (-1.5 * 2f64.ln() - 12.706_205 * 2f64.ln() / 2.0).exp();
        assert!((low(&two).unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn a_place_is_won_by_an_interval_and_counts_differ_by_pair() {
        let mut cells = Vec::new();
        for (group, noise) in [("g", 0), ("h", 4), ("i", -3)] {
            cells.extend([cell("slow", group, 900 + noise), cell("fast", group, 100), cell("level", group, 100 + 5 * noise)]);
        }
        cells.push(cell("middle", "g", 300));
        let table = found(&cells);
        let of = |engine, rival| line(&table, engine, rival).unwrap();
        assert_eq!((of("fast", "slow").2, of("level", "fast").2, of("slow", "fast").2), (1, 1, 3));
        // Over one problem there is no interval, so it neither beats nor is beaten.
        assert_eq!((of("middle", "fast").2, of("slow", "middle").1, of("slow", "fast").1), (1, 1, 3));
    }

    #[test]
    fn machines_runs_and_lone_engines() {
        let cells = [cell("a", "g", 100), Cell { machine: "other", ..cell("b", "g", 200) }, Cell { run: 1, ..cell("c", "g", 300) }];
        assert_eq!(found(&cells).height(), 0);
        assert_eq!(found(&[]).height(), 0);
    }
}
