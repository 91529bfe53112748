//! Order and crossings: does a method that the paper ranks before another come before it here, and does it overtake the dense one at a like length?
//!
//! Over the pairs of one table, setting, measure, machine, engine, precision, number of threads and regime. The order is Kendall's tau-b over those of
//! each length, and over all: never between lengths, as both sides fall or rise with the length whatever the methods do. It *agrees* where chance alone gives such an order in fewer than 5 % of cases, *differs* where that holds of the opposite
//! order, and is *unclear* else. The crossing is found as in [`super::super::course`], on both sides over the lengths that both have, and against the
//! table's dense method, not against the strong baseline.

use std::collections::BTreeMap;

use polars::prelude::*;

use super::super::course::{Verdict, along};
use super::super::taken;
use super::tables::Measure;
use super::{NEAR, Pair};
use crate::columns::{PRECISION, RUN, THREADS, Typed};
use crate::fits::kendall::kendall;

/// Below this probability an order is taken for more than chance.
const LEVEL: f64 = 0.05;

/// What pairs must have in common: everything but method, parameter and length.
type Key<'a> = (Vec<Option<String>>, &'a str, &'a str, Measure, &'a str);

fn classes<'a>(pairs: &'a [Pair], rows: &DataFrame) -> PolarsResult<BTreeMap<Key<'a>, Vec<&'a Pair>>> {
    let fixed = [RUN, "machine", "engine", PRECISION, THREADS].into_iter().filter(|column| rows.schema().contains(column));
    let fixed: Vec<&str> = fixed.collect();
    let mut classes: BTreeMap<Key<'_>, Vec<&Pair>> = BTreeMap::new();
    for pair in pairs.iter().filter(|pair| pair.ours.is_some()) {
        let place = fixed.iter().map(|column| rows.shown(column, pair.row)).collect::<PolarsResult<Vec<_>>>()?;
        let key = (place, pair.table.as_str(), pair.figure.setting.as_str(), pair.figure.measure, pair.regime.as_str());
        classes.entry(key).or_default().push(pair);
    }
    Ok(classes)
}

/// One row an order, from all pairs that have figures on both sides: `run`, `machine`, `engine`, `axis:precision`, `axis:threads`, `regime`, `table`, `setting`, `measure`, `n` (null: all
/// lengths), `figures`, `tau`, `chance`, `verdict`, `reason`, and how many of the figures agree and differ by themselves.
pub(super) fn ranks(pairs: &[Pair], rows: &DataFrame) -> PolarsResult<DataFrame> {
    let mut lines: Vec<(&Pair, Option<f64>, Order)> = Vec::new();
    for pairs in classes(pairs, rows)?.into_values() {
        let mut lengths: Vec<f64> = pairs.iter().filter_map(|pair| pair.n).collect();
        lengths.sort_by(f64::total_cmp);
        lengths.dedup();
        let of_one = |n: &f64| (Some(*n), pairs.iter().copied().filter(|pair| pair.n == Some(*n)).collect::<Vec<_>>());
        let parts = lengths.iter().map(of_one).filter(|_| lengths.len() > 1);
        for (n, part) in std::iter::once((None, pairs.clone())).chain(parts) {
            lines.push((part[0], n, Order::of(&part)));
        }
    }
    let at: Vec<usize> = lines.iter().map(|line| line.0.row).collect();
    let counts = |of: fn(&Order) -> usize| lines.iter().map(|line| of(&line.2) as i64).collect::<Vec<_>>();
    let more = df!(
        "regime" => lines.iter().map(|line| line.0.regime.as_str()).collect::<Vec<_>>(),
        "table" => lines.iter().map(|line| line.0.table.as_str()).collect::<Vec<_>>(),
        "setting" => lines.iter().map(|line| line.0.figure.setting.as_str()).collect::<Vec<_>>(),
        "measure" => lines.iter().map(|line| line.0.figure.measure.name()).collect::<Vec<_>>(),
        "n" => lines.iter().map(|line| line.1.map(|n| n as i64)).collect::<Vec<_>>(),
        "figures" => counts(|order| order.figures),
        "agree" => counts(|order| order.agree),
        "differ" => counts(|order| order.differ),
        "tau" => lines.iter().map(|line| line.2.tau.map(|(tau, _)| tau)).collect::<Vec<_>>(),
        "chance" => lines.iter().map(|line| line.2.tau.map(|(_, chance)| chance)).collect::<Vec<_>>(),
        "verdict" => lines.iter().map(|line| line.2.verdict).collect::<Vec<_>>(),
        "reason" => lines.iter().map(|line| line.2.reason.as_str()).collect::<Vec<_>>(),
    )?;
    let columns = [RUN, "machine", "engine", PRECISION, THREADS];
    taken(rows, &at, &columns, more, &["machine", RUN, "table", "setting", "measure", "regime", THREADS, PRECISION, "engine", "n"])
}

/// One row a method whose times both sides have at two lengths or more: `run`, `machine`, `engine`, `axis:precision`, `axis:threads`, `regime`, `table`, `setting`, `method`, `param`, `points`, `from`, `to`,
/// `theirs` and `ours` (verdicts as in [`Verdict`]), `their_crossing`, `our_crossing`, `our_low`, `our_high`, `verdict`, `reason`.
pub(super) fn crossings(pairs: &[Pair], rows: &DataFrame) -> PolarsResult<DataFrame> {
    let mut lines: Vec<Crossing<'_>> = Vec::new();
    for pairs in classes(pairs, rows)?.into_values() {
        let mut methods: BTreeMap<(&str, &str), Vec<&Pair>> = BTreeMap::new();
        for pair in pairs.into_iter().filter(|pair| pair.figure.measure == Measure::Time && pair.n.is_some()) {
            methods.entry((&pair.figure.method, &pair.figure.param)).or_default().push(pair);
        }
        lines.extend(methods.into_values().filter_map(Crossing::of));
    }
    let at: Vec<usize> = lines.iter().map(|line| line.pair.row).collect();
    let texts = |of: for<'b> fn(&'b Crossing<'_>) -> &'b str| lines.iter().map(of).collect::<Vec<_>>();
    let numbers = |of: fn(&Crossing<'_>) -> Option<f64>| lines.iter().map(of).collect::<Vec<_>>();
    let more = df!(
        "regime" => texts(|line| &line.pair.regime),
        "table" => texts(|line| &line.pair.table),
        "setting" => texts(|line| &line.pair.figure.setting),
        "method" => texts(|line| &line.pair.figure.method),
        "param" => texts(|line| &line.pair.figure.param),
        "points" => lines.iter().map(|line| line.points as i64).collect::<Vec<_>>(),
        "from" => numbers(|line| Some(line.ends.0)),
        "to" => numbers(|line| Some(line.ends.1)),
        "theirs" => texts(|line| line.theirs.0.name()),
        "their_crossing" => numbers(|line| Some(line.theirs.1?[0])),
        "ours" => texts(|line| line.ours.0.name()),
        "our_crossing" => numbers(|line| Some(line.ours.1?[0])),
        "our_low" => numbers(|line| Some(line.ours.1?[1])),
        "our_high" => numbers(|line| Some(line.ours.1?[2])),
        "verdict" => texts(|line| line.verdict),
        "reason" => texts(|line| &line.reason),
    )?;
    let columns = [RUN, "machine", "engine", PRECISION, THREADS];
    taken(rows, &at, &columns, more, &["machine", RUN, "table", "setting", "regime", "method", "to", "param", THREADS, PRECISION, "engine"])
}

struct Order {
    figures: usize,
    agree: usize,
    differ: usize,
    tau: Option<(f64, f64)>,
    verdict: &'static str,
    reason: String,
}

impl Order {
    fn of(pairs: &[&Pair]) -> Self {
        let count = |verdict: &str| pairs.iter().filter(|pair| pair.verdict == verdict).count();
        let mut lengths: BTreeMap<Option<u64>, Vec<(f64, f64)>> = BTreeMap::new();
        for (pair, ours) in pairs.iter().filter_map(|pair| Some((pair, pair.ours?))) {
            lengths.entry(pair.n.map(f64::to_bits)).or_default().push((pair.figure.ratio, ours));
        }
        let figures: usize = lengths.values().map(Vec::len).sum();
        let found = kendall(&lengths.into_values().collect::<Vec<_>>());
        let (verdict, reason) = match found {
            None => ("unclear", "no two methods at the same length".to_owned()),
            Some(found) if found.clearest >= LEVEL => ("unclear", format!("{figures} figures are too few to tell an order from chance")),
            Some(found) if found.chance >= LEVEL => {
                ("unclear", format!("chance alone gives so much order in {:.0} % of cases", 100.0 * found.chance))
            }
            Some(found) if found.tau > 0.0 => ("agrees", "the same order beyond chance".to_owned()),
            Some(_) => ("differs", "the opposite order beyond chance".to_owned()),
        };
        let tau = found.map(|found| (found.tau, found.chance));
        Self { figures, agree: count("agrees"), differ: count("differs"), tau, verdict, reason }
    }
}

struct Crossing<'a> {
    pair: &'a Pair,
    points: usize,
    ends: (f64, f64),
    theirs: (Verdict, Option<[f64; 3]>),
    ours: (Verdict, Option<[f64; 3]>),
    verdict: &'static str,
    reason: String,
}

impl<'a> Crossing<'a> {
    fn of(mut pairs: Vec<&'a Pair>) -> Option<Self> {
        pairs.sort_by(|a, b| a.n.unwrap_or(0.0).total_cmp(&b.n.unwrap_or(0.0)));
        let (first, last) = (*pairs.first()?, *pairs.last()?);
        if first.n == last.n {
            return None;
        }
        let there = |pair: &&Pair| Some([pair.n?, pair.figure.ratio, pair.figure.ratio, pair.figure.ratio]);
        let here = |pair: &&Pair| {
            let (low, high) = pair.interval.unwrap_or((0.0, f64::INFINITY));
            Some([pair.n?, pair.ours?, low, high])
        };
        let theirs = along(&pairs.iter().filter_map(there).collect::<Vec<_>>(), 0.0);
        let ours = along(&pairs.iter().filter_map(here).collect::<Vec<_>>(), first.floor);
        let (verdict, reason) = judged(theirs, ours);
        Some(Self { pair: first, points: pairs.len(), ends: (first.n?, last.n?), theirs, ours, verdict, reason })
    }
}

fn judged(theirs: (Verdict, Option<[f64; 3]>), ours: (Verdict, Option<[f64; 3]>)) -> (&'static str, String) {
    match (theirs, ours) {
        ((there, Some([crossing, ..])), (here, Some([ours, low, high]))) if there == here => {
            let factor = ours / crossing;
            if low <= crossing && crossing <= high {
                ("agrees", "within the interval of ours".to_owned())
            } else {
                let agrees = (1.0 / NEAR..=NEAR).contains(&factor);
                let how =
                    if factor < 1.0 { format!("{:.2} times earlier here", 1.0 / factor) } else { format!("{factor:.2} times later here") };
                (if agrees { "agrees" } else { "differs" }, how)
            }
        }
        ((Verdict::Mixed, _), (Verdict::Mixed, _)) => ("unclear", "more than one change on both sides".to_owned()),
        ((there, _), (here, _)) if there == here => ("agrees", "the same over these lengths".to_owned()),
        // Both end up faster, and ours shows no difference at first.
        ((Verdict::From | Verdict::Everywhere, _), (Verdict::By, _)) => {
            ("unclear", "faster in the end on both sides; no difference from dense shown here at first".to_owned())
        }
        (_, (Verdict::Undecided, _)) => ("unclear", "no difference from dense shown here at some of the lengths".to_owned()),
        _ => ("differs", "another course over the same lengths".to_owned()),
    }
}
