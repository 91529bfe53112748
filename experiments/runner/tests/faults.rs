//! Workers that misbehave in every way we could think of: each gives a typed row with its last words, and leaves no process behind.

mod common;

use std::time::{Duration, Instant};

use common::{Bench, said};
use crossover_results::schema::{Record, Status};

const MEASURE: &str = "[measure]\ncell_budget_ms = 30\nstep_timeout_s = 1\n";

/// One cell for each engine, with a second for each step.
fn with_engines(engines: &[&str], more: &str) -> Bench {
    with_timeout(1, engines, more)
}

/// The same with so many seconds for each step.
fn with_timeout(seconds: u32, engines: &[&str], more: &str) -> Bench {
    let list: Vec<String> = engines.iter().map(|engine| format!("{engine:?}")).collect();
    let sweep = format!("name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = [{}]\n", list.join(", "));
    let measure = MEASURE.replace("step_timeout_s = 1", &format!("step_timeout_s = {seconds}"));
    Bench::new(&format!("{sweep}{measure}{more}"))
}

fn check(record: &Record, status: Status, reason: &str, tail: Option<&str>) {
    let engine = &record.engine;
    assert_eq!(record.status, status, "{engine}: {:?}", record.reason);
    assert!(record.reason.as_deref().is_some_and(|text| text.contains(reason)), "{engine}: {:?}", record.reason);
    if let Some(tail) = tail {
        assert!(record.stderr_tail.as_deref().is_some_and(|text| text.contains(tail)), "{engine}: {:?}", record.stderr_tail);
    }
    assert!(record.speed.is_none() && record.samples.is_empty(), "{engine} has no time");
}

#[test]
fn every_fault_is_a_typed_row_and_no_process_is_left() {
    let faults: &[(&str, Status, &str)] = &[
        ("wrong-numbers", Status::Wrong, "out[0] is 1, expected 2"),
        ("segv", Status::Crashed, "verify: the worker was ended by SIGSEGV"),
        ("illegal", Status::Crashed, "verify: the worker was ended by SIGILL"),
        ("abort", Status::Crashed, "verify: the worker was ended by SIGABRT"),
        ("killed", Status::Crashed, "verify: the worker was ended by SIGKILL that the runner did not send"),
        ("hang", Status::Timeout, "verify: no answer within 1 s"),
        ("spins", Status::Timeout, "verify: no answer within 1 s"),
        ("hang-ignoring-term", Status::Timeout, "verify: no answer within 1 s"),
        ("grandchild", Status::Crashed, "verify: the worker exited with code 5"),
        ("garbage", Status::Crashed, "verify: the worker broke the protocol: not a protocol message"),
        ("endless-line", Status::Crashed, "verify: the worker broke the protocol: a line longer than"),
        ("exit-zero", Status::Crashed, "verify: the worker exited with code 0"),
        ("closed-stdout", Status::Crashed, "verify: the worker broke the protocol: it closed its stdout"),
    ];
    let quiet: &[(&str, Status, &str)] = &[
        ("unsupported", Status::Unsupported, "prepare: this engine cannot do that"),
        ("says-oom", Status::Oom, "prepare: a terabyte is needed"),
        // Seen before the next request as speech unasked, after it as a wrong answer: it depends on who is quicker.
        ("talkative", Status::Crashed, "account: the worker"),
        (
            "untimed-transform",
            Status::Crashed,
            "prepare: the worker's answer does not fit the request: `transform` without the `derive_ns` that it took",
        ),
        ("too-few", Status::Crashed, "measure: the worker's answer does not fit the request: 0 samples where 1 were asked for"),
        ("liar", Status::Crashed, "measure: the worker's answer does not fit the request: samples of"),
        ("beyond-integers", Status::Crashed, "beyond the signed 64-bit range"),
    ];
    let engines: Vec<&str> = faults.iter().chain(quiet).map(|(engine, ..)| *engine).chain(["ok", "emulated", "disturbed"]).collect();
    let bench = with_engines(&engines, "");
    let mut run = bench.command(&[]).spawn().unwrap();
    let mut high_water = 0;
    while run.try_wait().unwrap().is_none() {
        high_water = high_water.max(common::high_water_bytes(run.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    bench.assert_no_process_left(Duration::from_millis(500));
    assert!(high_water < 64 << 20, "an endless line took the runner's memory: {high_water}");
    let records = bench.by_engine();
    assert_eq!(records.len(), engines.len());
    for (engine, status, reason) in faults {
        check(&records[*engine], *status, reason, Some(&format!("fake worker: now {engine}")));
    }
    for (engine, status, reason) in quiet {
        check(&records[*engine], *status, reason, None);
    }
    assert_eq!((records["ok"].status, records["disturbed"].status), (Status::Ok, Status::Ok));
    assert_eq!(records["disturbed"].speed.as_ref().unwrap().stop, "all-disturbed");
    assert_eq!((records["emulated"].status, records["emulated"].reason.as_deref()), (Status::Emulated, Some("computed in f32")));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("tiny: 23 of 23 cells") && text.contains("  8 others; the reports list all of them"), "{}", said(&output));
    assert!(!bench.run_folder().join("tmp").exists());
    assert!(bench.run_folder().join("cells.parquet").is_file());
}

#[test]
fn a_closed_stdin_is_told_as_that_and_soon() {
    let bench = with_timeout(30, &["closed-stdin", "ok"], "");
    let began = Instant::now();
    let output = bench.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let tail = Some("fake worker: now closed-stdin");
    let reason = "measure: the worker broke the protocol: it closed its stdin";
    check(&bench.by_engine()["closed-stdin"], Status::Crashed, reason, tail);
    assert_eq!(bench.by_engine()["ok"].status, Status::Ok);
    assert!(began.elapsed() < Duration::from_secs(20), "the step's whole time was waited for: {:?}", began.elapsed());
    bench.assert_no_process_left(Duration::from_millis(500));
}

#[test]
fn memory_beyond_the_limit_is_out_of_memory() {
    // On a machine that is busy elsewhere it takes a while to have taken it all.
    let bench = with_timeout(60, &["memory-hog", "ok"], "memory_limit_mb = 200\n");
    let output = bench.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let records = bench.by_engine();
    check(
        &records["memory-hog"],
        Status::Oom,
        "prepare: the 200 MB that `memory_limit_mb` of the experiment allows a worker were not enough",
        Some("memory allocation of"),
    );
    assert_eq!(records["ok"].status, Status::Ok);
}

#[test]
fn programs_of_others_are_started_fed_and_judged() {
    let worker = |name: &str| format!("[workers.{name}]\ncommand = [{:?}, {name:?}]\n", common::WORKER);
    let names = ["slow-start", "wrong-version", "garbage-at-start", "crash-at-start", "hangs"];
    let more: String = names[..4].iter().map(|name| worker(name)).collect();
    let more =
        format!("{more}[workers.hangs]\ncommand = [{:?}, 'hang']\n[workers.nothing]\ncommand = ['/no/such/program']\n", common::WORKER);
    let engines: Vec<&str> = names.into_iter().chain(["nothing"]).collect();
    let bench = with_engines(&engines, &more);
    let output = bench.command(&[]).output().unwrap();
    let records = bench.by_engine();
    let ok = &records["slow-start"];
    assert_eq!(ok.status, Status::Ok, "{:?}", ok.reason);
    assert!(ok.accuracy.is_some() && ok.speed.is_some());
    check(
        &records["wrong-version"],
        Status::Crashed,
        "hello: the worker's answer does not fit the request: it speaks protocol version 999",
        None,
    );
    check(&records["garbage-at-start"], Status::Crashed, "hello: the worker broke the protocol: not a protocol message", None);
    check(&records["crash-at-start"], Status::Crashed, "hello: the worker exited with code 7", Some("no such library"));
    check(
        &records["hangs"],
        Status::Crashed,
        "hello: the worker's answer does not fit the request: worker fake has no engine \"hangs\"",
        None,
    );
    check(&records["nothing"], Status::Crashed, "hello: the worker exited with code 3", Some("/no/such/program"));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    bench.assert_no_process_left(Duration::from_millis(500));
}

#[test]
fn an_engine_that_never_comes_up_is_given_up() {
    let text = format!(
        "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['crash-at-start']\n[sweep.axes]\nn = [1, 2, 3, 4, 5, 6]\n\
         {MEASURE}[workers.crash-at-start]\ncommand = [{:?}, 'crash-at-start']\n",
        common::WORKER
    );
    let bench = Bench::new(&text);
    bench.command(&[]).output().unwrap();
    let given_up = bench.records().values().filter(|record| record.reason.as_deref().unwrap().starts_with("not tried:")).count();
    assert_eq!((bench.records().len(), given_up), (6, 3));
}

#[test]
fn ctrl_c_and_a_lost_terminal_stop_within_two_seconds_and_say_how_to_go_on() {
    use rustix::process::Signal;
    stops_on(Signal::INT, 130);
    stops_on(Signal::HUP, 129);
}

fn stops_on(signal: rustix::process::Signal, code: i32) {
    let bench = with_timeout(60, &["ok", "hang-ignoring-term"], "live_workers = 1\n");
    let run = bench.command(&[]).spawn().unwrap();
    let began = Instant::now();
    while !bench.run_folder().join("journal.txt").exists() || bench.records().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "the first cell takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Now in the middle of the hanging cell, or on the way to it.
    std::thread::sleep(Duration::from_millis(300));
    let pressed = Instant::now();
    // Twice, as `timeout` does it: the second one must not spoil the winding up.
    common::signal(&run, signal);
    common::signal(&run, signal);
    let output = run.wait_with_output().unwrap();
    assert!(pressed.elapsed() < Duration::from_secs(2) * common::patience(), "{:?}", pressed.elapsed());
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("interrupted: 1 of 2 cells") && text.contains("crossover run --resume --out"), "{text}");
    bench.assert_no_process_left(Duration::from_millis(200));
    assert!(!bench.run_folder().join("tmp").exists());
}

#[test]
fn waiting_takes_no_processor_time() {
    let bench = with_timeout(4, &["hang"], "");
    let mut run = bench.command(&[]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    let processes = bench.processes();
    assert!(processes.len() >= 2, "runner and worker are there: {processes:?}");
    let used = || processes.iter().map(|pid| common::processor_time(*pid)).sum::<Duration>();
    let (before, began) = (used(), Instant::now());
    std::thread::sleep(Duration::from_millis(2500));
    let (used, passed) = (used() - before, began.elapsed());
    assert!(used.as_secs_f64() < 0.01 * f64::from(common::patience()) * passed.as_secs_f64(), "{used:?} in {passed:?}");
    println!("waiting took {used:?} of processor time in {passed:?}");
    run.wait().unwrap();
}
