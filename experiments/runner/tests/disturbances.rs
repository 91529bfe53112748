//! What happens around a run while it goes on: it is stopped and continued, its terminal changes, its folder goes, its disk is full.

mod common;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use common::{Bench, said};
use crossover_results::schema::Status;
use rustix::process::Signal;

/// Six cells, some of which take a while.
const DEFINITION: &str = "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok', 'disturbed']\n[sweep.axes]\nn = [1, 2, 3]\n\
    [measure]\ncell_budget_ms = 200\nstep_timeout_s = 1\nlive_workers = 1\n";

/// Waits until so many cells are recorded.
fn wait_for_cells(bench: &Bench, cells: usize) {
    let began = Instant::now();
    while !bench.run_folder().join("journal.txt").exists() || bench.records().len() < cells {
        assert!(began.elapsed() < Duration::from_secs(30), "the first cells take too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn assert_all_good(bench: &Bench, run: Child) {
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let records = bench.records();
    assert!(records.len() == 6 && records.values().all(|record| record.status == Status::Ok), "{}", said(&output));
}

#[test]
fn a_runner_that_is_stopped_and_continued_blames_no_worker_for_it() {
    let bench = Bench::new(DEFINITION);
    let run = bench.command(&[]).spawn().unwrap();
    wait_for_cells(&bench, 1);
    // Each pause is longer than the limit of a step. The moments differ, so that requests are under way at some of them.
    for pause in [1500, 1700, 1600] {
        common::signal(&run, Signal::STOP);
        std::thread::sleep(Duration::from_millis(pause));
        common::signal(&run, Signal::CONT);
        std::thread::sleep(Duration::from_millis(57));
    }
    assert_all_good(&bench, run);
}

#[test]
fn a_terminal_that_is_resized_changes_nothing() {
    let bench = Bench::new(DEFINITION);
    // `script` gives the run a terminal, so that the bar is drawn.
    let mut command = Command::new("script");
    let line = format!("{} run {} --out {}", env!("CARGO_BIN_EXE_crossover"), bench.experiment().display(), bench.run_folder().display());
    command.args(["-qefc", &line, "/dev/null"]);
    let run = match bench.marked(command).spawn() {
        Ok(run) => run,
        Err(error) => {
            eprintln!("SKIPPED: a terminal needs `script` of util-linux, which cannot be started: {error}");
            return;
        }
    };
    wait_for_cells(&bench, 1);
    let runner = |pid: &u32| common::command_line(*pid).starts_with(env!("CARGO_BIN_EXE_crossover")) && *pid != run.id();
    let runner = bench.processes().into_iter().find(|pid| runner(pid)).expect("the runner is there");
    for _ in 0..20 {
        if let Some(pid) = rustix::process::Pid::from_raw(runner as i32) {
            let _ = rustix::process::kill_process(pid, Signal::WINCH);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_all_good(&bench, run);
}

#[test]
fn a_folder_that_is_removed_stops_the_run_with_a_reason() {
    let bench = Bench::new(DEFINITION);
    let run = bench.command(&[]).spawn().unwrap();
    wait_for_cells(&bench, 1);
    std::fs::remove_dir_all(bench.run_folder()).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("was removed while the run went on") && !text.contains("--resume"), "{text}");
    bench.assert_no_process_left(Duration::from_millis(500));
}

/// In a mount namespace of its own: nothing has to be unmounted, whatever happens. Its codes begin at 99, as `unshare` fails with 1.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size=40k tmpfs "$1" || exit 99
"$2" run "$3" --out "$1/run"; first=$?
cp "$1/run/journal.txt" "$4"
mount -o remount,size=4m "$1"
"$2" run --resume --out "$1/run"; second=$?
cp -r "$1/run" "$5"
exit $((100 + 10 * first + second))
"#;

#[test]
fn a_small_disk_fills_up_and_nothing_is_lost() {
    let bench = Bench::new(&DEFINITION.replace("[1, 2, 3]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]").replace("= 200", "= 20"));
    let path = |name: &str| bench.folder.path().join(name);
    std::fs::create_dir(path("disk")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", SMALL_DISK, "bash"]).arg(path("disk")).arg(env!("CARGO_BIN_EXE_crossover"));
    command.arg(bench.experiment()).arg(path("journal-then.txt")).arg(bench.run_folder());
    let output = bench.marked(command).output();
    let mounted = output.as_ref().is_ok_and(|output| ![Some(99), Some(1)].contains(&output.status.code()));
    let Some(output) = output.ok().filter(|_| mounted) else {
        eprintln!(
            "SKIPPED: a small disk cannot be mounted here (no right to); the limit on file sizes in tests/resume.rs stands in for it"
        );
        return;
    };
    assert_eq!(output.status.code(), Some(130), "first 3, then 0: {}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot append to the journal") && text.contains("No space left") && text.contains("--resume"), "{text}");
    let then = crossover_results::read_records(&path("journal-then.txt")).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let all = bench.records();
    assert!(!then.is_empty() && then.len() < 24 && all.len() == 24, "{} of {}", then.len(), all.len());
    assert!(then.iter().all(|record| all[&record.id] == *record));
    assert!(bench.run_folder().join("cells.parquet").is_file());
}
