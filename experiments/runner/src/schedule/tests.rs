//! The scheduler without processes and without time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crossover_protocol::{FailureKind, Fault, SupportLevel};
use crossover_results::schema::{Record, Status};

use super::fakes::{FakeClock, FakeLauncher, FakeSink, Script, World, group};
use super::*;
use crate::worker::failure::Cause;

pub(super) fn run_with(world: &Rc<World>, measure: &Measure, names: &[&str], done: &[&str]) -> Result<(), Halt> {
    run_group_with(world, measure, &group(names), done)
}

fn run_group_with(world: &Rc<World>, measure: &Measure, group: &Group, done: &[&str]) -> Result<(), Halt> {
    let (mut launcher, clock, mut sink) = (FakeLauncher(Rc::clone(world)), FakeClock(Rc::clone(world)), FakeSink(Rc::clone(world)));
    let folder = PathBuf::from("/nowhere");
    let mut scheduler = Scheduler::new(&mut launcher, &clock, &mut sink, measure, "machine".into(), 1, folder);
    let outcome = scheduler.run_group(group, |cell| !done.contains(&cell.id.as_str()));
    scheduler.close();
    outcome
}

fn run(world: &Rc<World>, names: &[&str]) -> BTreeMap<String, Record> {
    run_with(world, &Measure::default(), names, &[]).unwrap();
    assert_eq!(world.alive(), 0, "every worker has ended");
    let records: BTreeMap<_, _> = world.records.borrow().iter().map(|record| (record.id.clone(), record.clone())).collect();
    assert_eq!(records.len(), world.records.borrow().len(), "no cell is recorded twice");
    assert_eq!(records.len(), names.len(), "every cell is recorded");
    records
}

#[test]
fn a_cell_takes_the_straight_line() {
    let world = Rc::new(World::default());
    let record = run(&world, &["a"]).remove("a").unwrap();
    let log = world.log_of("a");
    assert!(log.starts_with("prepare account quit prepare verify measure measure measure"), "{log}");
    assert!(log.ends_with("measure recorded quit"), "{log}");
    assert_eq!((record.status, record.reason.as_deref(), record.support.as_deref()), (Status::Ok, None, Some("native")));
    let speed = record.speed.unwrap();
    assert!(
        speed.median_ns.abs_diff(1_000_000) < 1000
            && speed.ci_low_ns.unwrap() <= speed.median_ns
            && speed.median_ns <= speed.ci_high_ns.unwrap()
    );
    // Five rounds of 50 samples of 1 ms: the interval was narrow long before.
    assert_eq!((speed.stop.as_str(), speed.rejected, speed.warmup_calls), ("converged", 0, Some(2)));
    assert!((240..=250).contains(&speed.samples), "{}", speed.samples);
    assert_eq!(record.samples.len() as u64, speed.samples);
    assert_eq!(record.samples.last().unwrap().round, 4);
    assert_eq!((record.memory.unwrap().weight_bytes, record.accuracy.unwrap().err_impl), (11, Some(1e-9)));
    assert_eq!((record.machine.as_str(), record.build.as_str()), ("machine", "build of worker"));
    assert!(record.elapsed_ns > 240_000_000);
}

fn run_cold(world: &Rc<World>) -> Record {
    let mut cold = group(&["a"]);
    cold.cells[0].axes.insert("cache".into(), "cold".into());
    run_group_with(world, &Measure::default(), &cold, &[]).unwrap();
    world.records.take().remove(0)
}

#[test]
fn each_cold_call_is_a_sample_and_the_time_off_the_clock_is_reckoned_with() {
    let world = Rc::new(World::default());
    world.script("a", Script { call_ns: 10_000, off_clock: Duration::from_millis(9), ..Script::default() });
    let record = run_cold(&world);
    assert!(record.samples.iter().all(|sample| sample.calls == 1), "{:?}", record.samples);
    // A batch of 50 ms has room for five calls with 9 ms of emptying each, not for thousands of calls.
    let of_round = |round: u32| record.samples.iter().filter(|sample| sample.round == round).count();
    assert_eq!((of_round(0), of_round(1)), (5, 5));
    assert!(record.speed.unwrap().median_ns.abs_diff(10_000) < 100);
    let batches: Vec<(u32, u64)> = record.batches.iter().map(|batch| (batch.round, batch.calls)).collect();
    assert_eq!(batches[..2], [(0, 5), (1, 5)]);
    assert!(record.conditions.is_some());
}

#[test]
fn a_worker_that_cannot_empty_caches_is_given_no_cold_cell() {
    let world = Rc::new(World::default());
    world.script("a", Script { capable: false, ..Script::default() });
    let record = run_cold(&world);
    assert_eq!(record.status, Status::Unsupported);
    assert!(record.reason.as_deref().is_some_and(|reason| reason.contains("does not empty caches")), "{record:?}");
    assert_eq!(world.alive(), 0, "its worker has ended");
    assert!(!world.log_of("a").contains("measure"));
}

#[test]
fn rounds_visit_everybody_in_random_order() {
    let world = Rc::new(World::default());
    run(&world, &["base", "a", "b", "c"]);
    let log = world.log.borrow();
    let measures: Vec<&str> = log.iter().filter_map(|line| line.strip_suffix(":measure")).skip(8).collect();
    let rounds: Vec<&[&str]> = measures.chunks(4).collect();
    assert_eq!(rounds.len(), 5);
    for round in &rounds {
        let mut sorted = round.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, ["a", "b", "base", "c"]);
    }
    assert!(rounds.iter().any(|round| *round != rounds[0]), "{rounds:?}");
}

#[test]
fn the_same_seed_gives_the_same_order() {
    let log = || {
        let world = Rc::new(World::default());
        run(&world, &["base", "a", "b", "c"]);
        world.log.take()
    };
    assert_eq!(log(), log());
}

#[test]
fn the_baseline_stays_while_others_need_it_and_comes_back_for_each_chunk() {
    let world = Rc::new(World::default());
    // `wild` never converges, so it takes its whole budget.
    world.script("wild", Script { spread: 0.9, ..Script::default() });
    let measure = Measure { live_workers: 2, ..Measure::default() };
    run_with(&world, &measure, &["base", "wild", "b"], &[]).unwrap();
    let records = world.records.borrow();
    let of = |id: &str| records.iter().find(|record| record.id == id).unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(of("wild").speed.as_ref().unwrap().stop, "budget");
    assert!(of("wild").elapsed_ns > 1_000_000_000);
    let base = of("base");
    assert_eq!(base.speed.as_ref().unwrap().stop, "converged");
    assert_eq!(base.samples.last().unwrap().round, of("wild").samples.last().unwrap().round, "it was there to the end");
    // In the second chunk it is a companion: prepared and verified, but neither accounted nor recorded again.
    let log = world.log_of("base");
    assert_eq!((log.matches("account").count(), log.matches("verify").count(), log.matches("recorded").count()), (1, 2, 1), "{log}");
    assert_eq!(world.most_alive.get(), 2);
}

#[test]
fn a_slow_cell_gets_one_sample_at_least() {
    let world = Rc::new(World::default());
    world.script("slow", Script { call_ns: 3_000_000_000, ..Script::default() });
    let speed = run(&world, &["slow"]).remove("slow").unwrap().speed.unwrap();
    assert_eq!((speed.samples, speed.stop.as_str(), speed.warmup_calls), (1, "few-samples", Some(2)));
}

#[test]
fn every_failure_is_a_row_and_the_others_go_on() {
    let world = Rc::new(World::default());
    let fault = |kind| Cause::Fault(Fault { kind, message: "because".into() });
    let failing = |step, after, cause| Script { fails: Some((step, after, cause)), ..Script::default() };
    world.script("segv", failing("measure", 4, Cause::Signalled { signal: 11 }));
    world.script("oom", failing("account", 0, Cause::MachineMemory));
    world.script("late", failing("verify", 0, Cause::Deadline(Duration::from_secs(60))));
    world.script("cannot", failing("prepare", 0, fault(FailureKind::Unsupported)));
    world.script("full", failing("prepare", 0, fault(FailureKind::OutOfMemory)));
    world.script("warm", failing("measure", 0, Cause::Garbage("x".into())));
    world.script("wrong", Script { passed: false, ..Script::default() });
    let records = run(&world, &["base", "segv", "oom", "late", "cannot", "full", "warm", "wrong", "good"]);
    let status = |id: &str| records[id].status;
    assert_eq!((status("base"), status("good")), (Status::Ok, Status::Ok));
    assert_eq!((status("segv"), status("oom"), status("late")), (Status::Crashed, Status::Oom, Status::Timeout));
    assert_eq!((status("cannot"), status("full"), status("warm")), (Status::Unsupported, Status::Oom, Status::Crashed));
    for id in ["segv", "oom", "late", "cannot", "full", "warm"] {
        let record = &records[id];
        assert!(record.speed.is_none() && record.samples.is_empty() && record.reason.is_some(), "{id}");
        assert_eq!(record.stderr_tail.as_deref(), Some("last words"));
    }
    // What was found before the failure is kept.
    assert!(records["segv"].accuracy.is_some() && records["segv"].memory.is_some() && records["oom"].memory.is_none());
    let wrong = &records["wrong"];
    assert_eq!((wrong.status, wrong.reason.as_deref()), (Status::Wrong, Some("row 3 is off by 7")));
    assert!(wrong.speed.is_none() && wrong.accuracy.is_some() && wrong.memory.is_some());
    assert!(!world.log_of("wrong").contains("measure"), "a wrong cell gets no time");
}

#[test]
fn a_failed_baseline_is_not_started_again_for_later_chunks() {
    let world = Rc::new(World::default());
    world.script("base", Script { passed: false, ..Script::default() });
    run_with(&world, &Measure { live_workers: 2, ..Measure::default() }, &["base", "a", "b", "c"], &[]).unwrap();
    assert_eq!(world.records.borrow().len(), 4);
    assert_eq!(world.log_of("base").matches("prepare").count(), 2, "once for memory, once to verify");
}

#[test]
fn emulation_is_a_status() {
    let world = Rc::new(World::default());
    world.script("a", Script { support: SupportLevel::Emulated, ..Script::default() });
    let record = run(&world, &["a"]).remove("a").unwrap();
    assert_eq!((record.status, record.reason.as_deref()), (Status::Emulated, Some("computed in f32")));
    assert!(record.speed.is_some() && record.support.as_deref() == Some("emulated"));
}

#[test]
fn a_cell_that_is_always_disturbed_takes_its_budget_and_says_so() {
    let world = Rc::new(World::default());
    world.script("a", Script { disturbed: true, ..Script::default() });
    let record = run(&world, &["a"]).remove("a").unwrap();
    let speed = record.speed.unwrap();
    assert_eq!((record.status, speed.stop.as_str()), (Status::Ok, "all-disturbed"));
    assert_eq!((speed.rejected, speed.samples), (record.samples.len() as u64, record.samples.len() as u64));
}

#[test]
fn an_engine_that_does_not_come_up_is_given_up_after_three_attempts() {
    let world = Rc::new(World::default());
    world.broken_starts.set(usize::MAX);
    let records = run(&world, &["a", "b", "c", "d", "e"]);
    assert_eq!(usize::MAX - world.broken_starts.get(), 3, "no crash loop");
    assert!(records.values().all(|record| record.status == Status::Crashed && record.build == "unknown"));
    assert!(records["c"].reason.as_deref().unwrap().starts_with("hello: the worker exited with code 1"));
    let reason = records["e"].reason.as_deref().unwrap();
    assert!(reason.contains("failed 3 times in a row before it said hello; last: hello: the worker exited"), "{reason}");
    assert_eq!(notices(&world).len(), 1);
}

fn notices(world: &World) -> Vec<String> {
    world.log.borrow().iter().filter_map(|line| line.strip_prefix("notice:").map(str::to_owned)).collect()
}

#[test]
fn an_engine_that_crashes_in_ten_cells_in_a_row_is_given_up_with_a_notice() {
    let names: Vec<String> = (0..20).map(|at| format!("c{at:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // While they are timed, the eight of a chunk are up together: the second chunk is the one too many.
    for (step, tried) in [("verify", 10), ("measure", 16)] {
        let world = Rc::new(World::default());
        let crash = Script { fails: Some((step, 0, Cause::Signalled { signal: 11 })), ..Script::default() };
        names.iter().for_each(|name| world.script(name, crash.clone()));
        run_with(&world, &Measure { live_workers: 8, ..Measure::default() }, &names, &[]).unwrap();
        let records = world.records.borrow();
        assert!(records.len() == 20 && records.iter().all(|record| record.status == Status::Crashed));
        assert_eq!(names.iter().filter(|name| world.log_of(name).contains("prepare")).count(), tried);
        let reason = records.iter().find(|record| record.id == "c19").unwrap().reason.as_deref().unwrap();
        let start = format!("not tried: the worker of engine fake crashed in {tried} cells in a row; last: {step}: ");
        assert!(reason.starts_with(&start), "{reason}");
        let notices = notices(&world);
        assert!(notices.len() == 1 && notices[0].ends_with("not its own; its other cells are not tried"), "{notices:?}");
    }
}

#[test]
fn crashes_between_good_cells_and_other_failures_stop_no_engine() {
    let world = Rc::new(World::default());
    let names: Vec<String> = (0..40).map(|at| format!("c{at:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let failing = |cause| Script { fails: Some(("verify", 0, cause)), ..Script::default() };
    for (at, name) in names.iter().enumerate() {
        match at {
            // A good one after each nine crashes, then only failures that are no crashes.
            0..20 if at % 10 != 9 => world.script(name, failing(Cause::Signalled { signal: 11 })),
            20..40 if at % 2 == 0 => world.script(name, failing(Cause::Deadline(Duration::from_secs(60)))),
            20..40 => world.script(name, failing(Cause::Fault(Fault { kind: FailureKind::Internal, message: "no".into() }))),
            _ => {}
        }
    }
    // One after the other or all together, where crashes come before any good cell is timed to its end.
    for live_workers in [1, 40] {
        world.log.take();
        run_with(&world, &Measure { live_workers, ..Measure::default() }, &names, &[]).unwrap();
        assert!(names.iter().all(|name| world.log_of(name).contains("verify")), "all were tried");
        assert!(notices(&world).is_empty());
    }
}

#[test]
fn memory_decides_how_many_live_at_once() {
    let live = |bytes| {
        let world = Rc::new(World::default());
        run_with(&world, &Measure { memory_budget: Some(bytes), ..Measure::default() }, &["base", "a", "b", "c"], &[]).unwrap();
        assert!(world.records.borrow().iter().all(|record| record.status == Status::Ok), "{:?}", world.records);
        assert_eq!(world.records.borrow().len(), 4);
        world.most_alive.get()
    };
    // The registry does not know these cells, so each is predicted to take what an idle worker does: 32 MiB.
    assert_eq!([live(1 << 30), live(100 << 20), live(40 << 20)], [4, 3, 1]);
    let world = Rc::new(World::default());
    run_with(&world, &Measure { memory_budget: Some(10 << 20), ..Measure::default() }, &["base", "a"], &[]).unwrap();
    let records = world.records.borrow();
    assert!(records.len() == 2 && records.iter().all(|record| record.status == Status::Oom), "{records:?}");
    assert_eq!(world.starts.get(), 0);
}

#[test]
fn a_clock_that_jumps_costs_samples_and_not_the_run() {
    let hour = Duration::from_secs(3600);
    let jumped = |to| {
        let world = Rc::new(World::default());
        world.jump.set(Some((20, to)));
        let records = run(&world, &["base", "a", "b", "c"]);
        assert!(world.jump.get().is_none(), "it did jump");
        records
    };
    for record in jumped(hour).into_values() {
        let speed = record.speed.unwrap();
        assert_eq!(record.status, Status::Ok);
        assert!(speed.median_ns.abs_diff(1_000_000) < 2000, "the workers' own clocks count: {}", speed.median_ns);
    }
    // Back to zero: the one request during which it jumped cannot be believed, and says so.
    let records = jumped(Duration::ZERO);
    let failed: Vec<&Record> = records.values().filter(|record| record.status != Status::Ok).collect();
    assert!(failed.len() <= 1 && failed.iter().all(|record| record.reason.as_deref().unwrap().contains("between request and answer")));
}

#[test]
fn two_bad_starts_are_forgiven() {
    let world = Rc::new(World::default());
    world.broken_starts.set(2);
    let records = run(&world, &["a", "b", "c"]);
    assert_eq!(records.values().filter(|record| record.status == Status::Ok).count(), 1);
}

#[test]
fn workers_of_others_get_files_and_a_judge() {
    let world = Rc::new(World::default());
    world.script("a", Script { capable: false, ..Script::default() });
    world.script("b", Script { capable: false, ..Script::default() });
    let records = run(&world, &["a", "b"]);
    assert!(records.values().all(|record| record.status == Status::Ok && record.accuracy.is_some()));
    // Inputs are written once for both processes of a cell, and one clerk serves all cells.
    assert_eq!(world.log_of("clerk"), "materialize judge materialize judge quit");
    assert_eq!(world.starts.get(), 5);
}

#[test]
fn an_interruption_ends_everything_at_once_without_a_record() {
    let world = Rc::new(World::default());
    world.interrupt_at.set(Some(Duration::from_millis(100)));
    let halt = run_with(&world, &Measure::default(), &["base", "a", "b"], &[]).unwrap_err();
    assert!(matches!(halt, Halt::Interrupted));
    assert!(world.records.borrow().is_empty());
    assert_eq!(world.alive(), 0);
}

#[test]
fn a_full_disk_stops_the_run() {
    let world = Rc::new(World::default());
    world.disk_full_after.set(Some(1));
    // It never converges, so it ends after the other one.
    world.script("b", Script { spread: 0.9, ..Script::default() });
    let halt = run_with(&world, &Measure::default(), &["a", "b"], &[]).unwrap_err();
    assert!(matches!(halt, Halt::Store(_)));
    assert_eq!((world.records.borrow().len(), world.alive()), (1, 0));
}

#[test]
fn cells_for_which_there_is_no_time_are_rows_and_start_nothing() {
    let world = Rc::new(World::default());
    world.refused.borrow_mut().extend(["a".to_owned(), "b".to_owned()]);
    let records = run(&world, &["base", "a", "b"]);
    assert_eq!((records["base"].status, records["a"].status), (Status::Ok, Status::OverBudget));
    assert_eq!(records["a"].reason.as_deref(), Some("no time"));
    assert_eq!(world.starts.get(), 2);
    // Where nothing else is left, the baseline is not measured for nobody.
    run_with(&world, &Measure::default(), &["base", "a"], &["base"]).unwrap();
    assert_eq!(world.starts.get(), 2);
}

#[test]
fn done_cells_are_not_started() {
    let world = Rc::new(World::default());
    run_with(&world, &Measure::default(), &["base", "a", "b"], &["base", "a"]).unwrap();
    assert_eq!(world.records.borrow().len(), 1);
    assert_eq!(world.log_of("a"), "");
    assert!(world.log_of("base").contains("measure"), "the baseline comes along");
}

#[test]
fn the_harness_costs_less_than_a_hundredth() {
    // Each request of the fakes costs 50 us; a real round trip is of that size.
    for call_ns in [1_000_000, 5_000_000, 40_000_000] {
        let world = Rc::new(World::default());
        world.script("a", Script { call_ns, spread: 0.9, ..Script::default() });
        let record = run(&world, &["a"]).remove("a").unwrap();
        let measured: u64 = record.samples.iter().map(|sample| sample.ns).sum();
        let requests = record.samples.last().unwrap().round as u64 + 1;
        assert!(requests * 50_000 * 100 <= measured, "{call_ns}: {requests} requests for {measured} ns");
    }
}

#[test]
fn a_cell_that_cannot_be_run_costs_no_worker_and_is_recorded() {
    let world = Rc::new(World::default());
    let (mut launcher, clock, mut sink) = (FakeLauncher(Rc::clone(&world)), FakeClock(Rc::clone(&world)), FakeSink(Rc::clone(&world)));
    let measure = Measure::default();
    let mut scheduler = Scheduler::new(&mut launcher, &clock, &mut sink, &measure, "machine".into(), 1, PathBuf::from("/nowhere"));
    let mut group = group(&["base", "a"]);
    group.cells.iter_mut().for_each(|cell| cell.unfit = Some("no default fits".into()));
    scheduler.run_group(&group, |_| true).unwrap();
    let records = world.records.borrow();
    assert_eq!(records.len(), 2);
    for record in records.iter() {
        assert_eq!((record.status, record.reason.as_deref()), (Status::Unsupported, Some("no default fits")));
        assert_eq!(world.log_of(&record.id), "recorded");
    }
}
