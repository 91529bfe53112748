//! What stands beside a cell is of the cell's own rounds, whatever the machine did before and after them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crossover_results::schema::{Beside, Record, Status};

use super::fakes::{Script, World};
use super::tests::run_with;
use crate::definition::Measure;
use crate::statistics::Summary;
use crate::worker::failure::Cause;

/// The records since the last look.
fn records(world: &World) -> BTreeMap<String, Record> {
    world.records.take().into_iter().map(|record| (record.id.clone(), record)).collect()
}

fn median(record: &Record) -> u64 {
    record.speed.as_ref().unwrap().median_ns
}

fn last_round(record: &Record) -> u32 {
    record.samples.last().unwrap().round
}

/// What the samples of these rounds say, reckoned anew.
fn beside(baseline: &Record, last_round: u32) -> Beside {
    let samples = baseline.samples.iter().filter(|sample| sample.round <= last_round);
    let summary = Summary::of(samples.map(|sample| sample.ns as f64 / f64::from(sample.calls))).unwrap();
    let (low, high) = summary.interval().unwrap();
    Beside {
        id: baseline.id.clone(),
        median_ns: summary.median.round() as u64,
        ci_low_ns: Some(low.round() as u64),
        ci_high_ns: Some(high.round() as u64),
        samples: summary.count as u64,
    }
}

fn near(ns: u64, expected: u64) -> bool {
    ns.abs_diff(expected) < expected / 100
}

#[test]
fn a_later_part_of_a_group_is_held_against_the_baseline_of_its_own_time() {
    let measure = Measure { live_workers: 2, ..Measure::default() };
    // When the first part ends: the same for the same cells, with others behind them or not.
    let world = Rc::new(World::default());
    run_with(&world, &measure, &["base", "a"], &[]).unwrap();
    let first_part = world.now();
    let world = Rc::new(World::default());
    world.slow_down.set(Some((first_part, 3)));
    run_with(&world, &measure, &["base", "a", "b"], &[]).unwrap();
    let records = records(&world);
    let [base, a, b] = ["base", "a", "b"].map(|id| &records[id]);
    assert!(near(median(base), 1_000_000) && near(median(a), 1_000_000), "the first part is fast");
    assert!(near(median(b), 3_000_000), "the second part is slow");
    assert_eq!(a.beside, Some(beside(base, last_round(a))));
    let later = b.beside.as_ref().unwrap();
    assert!(later.id == "base" && near(later.median_ns, 3_000_000), "{later:?}");
    assert!(later.ci_low_ns.unwrap() <= later.median_ns && later.median_ns <= later.ci_high_ns.unwrap());
    // As many rounds of about as many samples as the cell itself.
    assert!(later.samples.abs_diff(b.samples.len() as u64) <= u64::from(last_round(b)) + 1, "{later:?}");
    assert_eq!(base.beside, None, "a baseline is compared with nothing");
}

#[test]
fn a_resumed_group_is_held_against_the_baseline_as_it_is_now() {
    let world = Rc::new(World::default());
    run_with(&world, &Measure::default(), &["base", "a"], &[]).unwrap();
    let first = records(&world);
    world.slow_down.set(Some((world.now(), 2)));
    run_with(&world, &Measure::default(), &["base", "a", "b"], &["base", "a"]).unwrap();
    let second = records(&world);
    assert_eq!(second.keys().collect::<Vec<_>>(), ["b"], "the baseline is not recorded again");
    assert!(near(median(&first["base"]), 1_000_000) && near(first["a"].beside.as_ref().unwrap().median_ns, 1_000_000));
    let beside = second["b"].beside.as_ref().unwrap();
    assert!(beside.id == "base" && near(beside.median_ns, 2_000_000), "{beside:?}");
}

#[test]
fn a_cell_that_leaves_early_has_the_baseline_of_its_rounds_only() {
    let world = Rc::new(World::default());
    // `wild` never converges, so it stays for its whole budget; when the other one has long left, the machine becomes slow.
    world.script("wild", Script { spread: 0.9, ..Script::default() });
    world.slow_down.set(Some((Duration::from_secs(1), 4)));
    run_with(&world, &Measure::default(), &["base", "early", "wild"], &[]).unwrap();
    let records = records(&world);
    let [base, early, wild] = ["base", "early", "wild"].map(|id| &records[id]);
    assert!(last_round(early) < last_round(wild) && last_round(wild) == last_round(base));
    assert!(near(base.speed.as_ref().unwrap().p95_ns, 4_000_000), "the baseline has samples of the slow time");
    assert_eq!(early.beside, Some(beside(base, last_round(early))));
    assert!(near(early.beside.as_ref().unwrap().median_ns, 1_000_000));
    assert_eq!(wild.beside, Some(beside(base, last_round(wild))));
    assert_ne!(early.beside, wild.beside);
}

#[test]
fn disturbed_samples_of_the_baseline_count_only_where_there_are_no_others() {
    let world = Rc::new(World::default());
    world.script("base", Script { disturbed: true, ..Script::default() });
    run_with(&world, &Measure::default(), &["base", "a"], &[]).unwrap();
    let records = records(&world);
    assert_eq!(records["a"].beside, Some(beside(&records["base"], last_round(&records["a"]))));
}

#[test]
fn without_a_baseline_to_the_last_round_there_is_nothing_beside() {
    // There is memory for one worker at a time.
    let world = Rc::new(World::default());
    run_with(&world, &Measure { memory_budget: Some(40 << 20), ..Measure::default() }, &["base", "a"], &[]).unwrap();
    assert_eq!(records(&world)["a"].beside, None);
    // The companion crashes in the middle.
    world.script("base", Script { fails: Some(("measure", 4, Cause::Signalled { signal: 11 })), ..Script::default() });
    run_with(&world, &Measure::default(), &["base", "a"], &["base"]).unwrap();
    let records = records(&world);
    assert_eq!((records.len(), records["a"].status, &records["a"].beside), (1, Status::Ok, &None));
}
