//! Starting, stopping and going on: locks, full disks, changed experiments, time budgets.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Bench, said};
use crossover_core::testing::queued_time;
use crossover_results::schema::{Record, SCHEMA_VERSION, Status};
use crossover_results::{Journal, Manifest, read_index};

const DEFINITION: &str = "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable', 'softmax/online']\nengines = ['ok']\n\
    baseline = 'softmax/stable'\n[sweep.axes]\nn = [1, 2, 3, 4]\n[measure]\ncell_budget_ms = 5\n";

fn code(output: &std::process::Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn the_same_seed_gives_the_same_accuracy_bit_for_bit() {
    let accuracies = || {
        let bench = Bench::new(DEFINITION);
        let output = bench.command(&["--set", "seed=7"]).output().unwrap();
        assert_eq!(code(&output), Some(0), "{}", said(&output));
        let records = bench.records().into_values();
        records.map(|record| (record.id, serde_json::to_string(&record.accuracy.unwrap()).unwrap())).collect::<Vec<_>>()
    };
    let first = accuracies();
    assert_eq!(first.len(), 8);
    assert_eq!(first, accuracies());
}

#[test]
fn a_resumed_run_keeps_its_options_and_runs_only_what_is_missing() {
    let bench = Bench::new(DEFINITION);
    let options = ["--set", "n=1,2,3", "--filter", "variant == \"softmax/stable\" or n >= 2", "--time-budget", "0.001s"];
    let output = bench.command(&options).output().unwrap();
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning: nothing was measured"), "{}", said(&output));
    let first = bench.records();
    assert_eq!(first.len(), 5);
    assert!(first.values().all(|record| record.status == Status::OverBudget), "there was no time for any");
    // As if an older program had begun it.
    let manifest = bench.run_folder().join("manifest.json");
    Manifest { schema: 1, ..Manifest::read(&manifest).unwrap() }.write(&manifest).unwrap();
    // The experiment changes, but the run has its own copy.
    std::fs::write(bench.experiment(), DEFINITION.replace("[1, 2, 3, 4]", "[9]")).unwrap();
    let output = bench.resume().output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("tiny: 5 of 5 cells, 5 of them now"), "{}", said(&output));
    let output = bench.resume().output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("tiny: 5 of 5 cells, 0 of them now"), "{}", said(&output));
    // The second one recorded nothing, so it is no other time at which the machine was seen.
    let manifest = Manifest::read(&manifest).unwrap();
    assert_eq!((manifest.schema, manifest.resumed_unix_ms.len()), (SCHEMA_VERSION, 1));
    assert!(manifest.resumed_unix_ms[0] >= manifest.created_unix_ms);
    // Named by its changed experiment, it is refused.
    let output = bench.command(&["--resume"]).output().unwrap();
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tiny.toml has changed since the run was started"), "{}", said(&output));
}

#[test]
fn another_plan_is_refused_with_the_difference() {
    let bench = Bench::new(DEFINITION);
    bench.command(&["--set", "n=1"]).output().unwrap();
    let output = bench.command(&["--resume", "--set", "n=2"]).output().unwrap();
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("it was started with --set n=1, now it is --set n=2"), "{text}");
    let copy = bench.run_folder().join("definition.toml");
    let edited = std::fs::read_to_string(&copy).unwrap().replace("n=1", "n=3");
    std::fs::write(&copy, edited).unwrap();
    let output = bench.resume().output().unwrap();
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("another plan (2 cells then, 2 now)"), "{text}");
}

#[test]
fn a_second_runner_is_told_to_keep_out() {
    let bench = Bench::new(&DEFINITION.replace("cell_budget_ms = 5", "cell_budget_ms = 2000\nhalf_width = 1e-9"));
    let mut first = bench.command(&[]).spawn().unwrap();
    while !bench.run_folder().join("manifest.json").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = bench.resume().output().unwrap();
    assert_eq!(code(&output), Some(3), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("another crossover (pid {}) is writing this run", first.id())), "{text}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_the_environments_fault() {
    let bench = Bench::new(DEFINITION);
    let blocked = bench.folder.path().join("file");
    std::fs::write(&blocked, "x").unwrap();
    for path in [blocked.join("run"), "/proc/run".into()] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
        command.arg("run").arg(bench.experiment()).arg("--out").arg(&path);
        let output = bench.marked(command).output().unwrap();
        assert_eq!(code(&output), Some(3), "{}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(&path.display().to_string()), "{}", said(&output));
    }
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    let bench = Bench::new(DEFINITION);
    // A limit on the size of files stands in for a full disk: the write fails in the same place.
    let mut command = Command::new("bash");
    let script = "trap '' XFSZ; ulimit -f 6; exec \"$@\"";
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_crossover"), "run"]);
    command.arg(bench.experiment()).arg("--out").arg(bench.run_folder());
    let output = bench.marked(command).output().unwrap();
    assert_eq!(code(&output), Some(3), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot append to the journal") && text.contains("crossover run --resume --out"), "{text}");
    let kept = bench.records();
    assert!(!kept.is_empty() && kept.len() < 8, "{}", kept.len());
    bench.assert_no_process_left(Duration::from_millis(500));
    let output = bench.resume().output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let all = bench.records();
    assert_eq!(all.len(), 8);
    assert!(kept.iter().all(|(id, record)| all[id] == *record));
}

/// Each byte of a journal is broken in turn where it is read (`results/src/journal/damage_tests.rs`); here, what a run makes of it.
#[test]
fn cells_of_a_damaged_journal_are_measured_again_and_the_others_kept() {
    let bench = Bench::new(DEFINITION);
    let output = bench.command(&[]).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let (path, before) = (bench.run_folder().join("journal.txt"), bench.records());
    let mut bytes = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    // One bit in the middle of the third cell's line, and the last line cut in half.
    bytes[(ends[2] + ends[3]) / 2] ^= 1;
    bytes.truncate((ends[7] + ends[8]) / 2);
    std::fs::write(&path, &bytes).unwrap();
    let output = bench.resume().output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("1 damaged line") && text.contains("journal.txt"), "{text}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("tiny: 8 of 8 cells, 2 of them now"), "{}", said(&output));
    let after: Vec<Record> = crossover_results::read_records(&path).unwrap().map(Result::unwrap).collect();
    let kept = after.iter().filter(|record| before[&record.id] == **record).count();
    assert_eq!((after.len(), kept), (8, 6), "each cell once, and six of them word for word");
}

/// A record of a planned cell that needs no worker.
fn unsupported(cell: &serde_json::Value) -> Record {
    let text = |name: &str| cell[name].as_str().unwrap().to_owned();
    Record {
        schema: SCHEMA_VERSION,
        id: text("id"),
        group: text("group"),
        experiment: "tiny".into(),
        family: text("family"),
        variant: text("variant"),
        engine: text("engine"),
        baseline: cell["baseline"].as_bool().unwrap(),
        axes: serde_json::from_value(cell["axes"].clone()).unwrap(),
        status: Status::Unsupported,
        reason: Some("made by a test".into()),
        stderr_tail: None,
        support: None,
        finished_unix_ms: 0,
        elapsed_ns: 0,
        speed: None,
        beside: None,
        memory: None,
        accuracy: None,
        transform: None,
        matching: None,
        conditions: None,
        samples: Vec::new(),
        batches: Vec::new(),
        machine: "none".into(),
        build: "none".into(),
    }
}

/// The journal of a run with many cells is written here, so that the time is that of planning and skipping: ten thousand cells, or a
/// hundred thousand in the slow tier.
#[test]
fn a_run_that_is_all_done_is_resumed_at_once() {
    let cells = if common::slow_tier() { 100_000 } else { 10_000 };
    let values: Vec<String> = (1..=cells / 2).map(|n| n.to_string()).collect();
    let bench = Bench::new(&DEFINITION.replace("[1, 2, 3, 4]", &format!("[{}]", values.join(", "))));
    let mut run = bench.command(&[]).spawn().unwrap();
    while !bench.run_folder().join("journal.txt").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    run.wait().unwrap();
    let mut plan = Command::new(env!("CARGO_BIN_EXE_crossover"));
    plan.arg("plan").arg(bench.experiment()).arg("--json");
    let plan: serde_json::Value = serde_json::from_slice(&bench.marked(plan).output().unwrap().stdout).unwrap();
    let records: Vec<Record> = plan["plan"].as_array().unwrap().iter().map(unsupported).collect();
    let journal = bench.run_folder().join("journal.txt");
    std::fs::remove_file(&journal).unwrap();
    Journal::create(&journal).unwrap().append_batch(&records).unwrap();
    let began = Instant::now();
    let mut resumed = bench.resume().spawn().unwrap();
    // The heading comes when the index is read and the plan is made: from there on the run could go on.
    let mut heading = String::new();
    BufReader::new(resumed.stderr.as_mut().unwrap()).read_line(&mut heading).unwrap();
    let ready = began.elapsed().saturating_sub(queued_time(resumed.id()));
    let output = resumed.wait_with_output().unwrap();
    println!(
        "{cells} journalled cells: ready in {ready:?} without waiting for a processor, put into tables as well in {:?}",
        began.elapsed()
    );
    let expected = format!("{cells} of {cells} cells, 0 of them now");
    assert!(String::from_utf8_lossy(&output.stdout).contains(&expected), "{}", said(&output));
    // A second for a hundred thousand cells, optimised.
    let bound = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });
    assert!(ready < bound, "{ready:?}");
}

#[test]
fn a_hopeless_cell_is_skipped_with_the_prediction() {
    // What the fake worker claims for the short one makes the long one 65,536 times as dear: seconds, where a step may take one.
    let bench = Bench::new(
        "name = 'tiny'\n[[sweep]]\nvariants = ['attention/flash']\nengines = ['ok']\n[sweep.axes]\nn = [256, 65536]\nheads = 8\nhead_dim = 64\n\
         [measure]\ncell_budget_ms = 5\nstep_timeout_s = 1\nmemory_budget_mb = 100000\n",
    );
    let output = bench.command(&[]).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let records: Vec<Record> = bench.records().into_values().collect();
    let of = |n| records.iter().find(|record| record.axes["n"].as_int() == Some(n)).unwrap();
    assert_eq!((records.len(), of(256).status), (2, Status::Ok));
    let (hopeless, reason) = (of(65_536), of(65_536).reason.as_deref().unwrap());
    assert_eq!((hopeless.status, hopeless.elapsed_ns), (Status::OverBudget, 0), "{reason}");
    assert!(reason.starts_with("one call is predicted to take") && reason.ends_with("`step_timeout_s` allows 1 s"), "{reason}");
}

#[test]
fn an_empty_plan_is_bad_input() {
    let bench = Bench::new(DEFINITION);
    let output = bench.command(&["--filter", "n > 100"]).output().unwrap();
    assert_eq!(code(&output), Some(2), "{}", said(&output));
    assert!(!bench.run_folder().exists());
}

/// An engine file of the fake worker, which is called as it is told, beside the bench's experiment.
fn engine_file(bench: &Bench, more: &str) -> std::path::PathBuf {
    let file = bench.folder.path().join("mine.toml");
    let command = format!("name = \"mine\"\ncommand = [{:?}, \"mine\"]\n{more}\n", common::WORKER);
    std::fs::write(&file, command).unwrap();
    file
}

#[test]
fn a_run_with_an_engine_file_goes_on_with_its_own_copy() {
    let bench = Bench::new(DEFINITION);
    let file = engine_file(&bench, "variants = ['softmax/online']\nwhen = 'n <= 2'");
    let with = ["--engine-file", file.to_str().unwrap()];
    let output = bench.command(&[&with[..], &["--time-budget", "0.001s"]].concat()).output().unwrap();
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    let mine = bench.records().into_values().filter(|record| record.engine == "mine").count();
    assert_eq!((bench.records().len(), mine), (8 + 2, 2));
    let manifest = Manifest::read(&bench.run_folder().join("manifest.json")).unwrap();
    let excluded: Vec<(&str, u64)> = manifest.excluded.iter().map(|(because, cells)| (because.as_str(), *cells)).collect();
    assert_eq!(
        excluded,
        [("mine does not support it (`variants` in mine.toml)", 4), ("mine does not support it (`when` in mine.toml)", 2)]
    );
    // The file as it was and the copy are one; another one, or none where there was one, is not.
    let refused = |more: &[&str]| {
        let output = bench.command(&[&["--resume"][..], more].concat()).output().unwrap();
        assert_eq!(code(&output), Some(2), "{}", said(&output));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    engine_file(&bench, "variants = ['softmax/online']\nwhen = 'n <= 2'\nenv = { A = 'b' }");
    assert!(refused(&with).contains("mine.toml has changed since the run was started; leave the option out"), "{}", refused(&with));
    assert!(refused(&["--set", "n=1"]).contains("it was started with --engine-file"), "{}", refused(&["--set", "n=1"]));
    let other = bench.folder.path().join("other.toml");
    std::fs::copy(&file, &other).unwrap();
    assert!(refused(&["--engine-file", other.to_str().unwrap()]).contains("other.toml; leave the options out"));
    std::fs::remove_file(&file).unwrap();
    let output = bench.resume().current_dir("/").output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", said(&output));
    let index = read_index(&bench.run_folder().join("journal.txt")).unwrap();
    assert_eq!(index.cells.values().filter(|status| **status == Status::Ok).count(), 8 + 2, "it goes on with the copy, from any folder");
}

#[test]
fn an_engine_that_cannot_start_or_is_too_slow_is_a_row() {
    let bench = Bench::new(DEFINITION);
    let folder = bench.folder.path().join("there");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("mine.toml");
    let run = |text: &str, exit: i32| {
        std::fs::write(&file, text).unwrap();
        let _ = std::fs::remove_dir_all(bench.run_folder());
        let output = bench.command(&["--set", "n=1", "--engine-file", file.to_str().unwrap()]).output().unwrap();
        assert_eq!(code(&output), Some(exit), "{}", said(&output));
        let mine = bench.records().into_values().filter(|record| record.engine == "mine");
        mine.map(|record| (record.status, record.reason.unwrap())).next().unwrap()
    };
    let (status, reason) = run("name = 'mine'\ncommand = ['./is-not-there']\nvariants = ['softmax/stable']\n", 1);
    assert_eq!(status, Status::Crashed, "{reason}");
    let (status, reason) = run("name = 'mine'\ncommand = ['sleep', '600']\nvariants = ['softmax/stable']\nstep_timeout_s = 1\n", 0);
    assert!(status == Status::Timeout && reason.contains("no answer within 1 s"), "{reason}");
}
