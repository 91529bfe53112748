//! `kill -9` of the runner at random moments: nothing that was journalled is lost, no worker is left, and `--resume` does the rest.
//!
//! Thirty kills in the normal tier, a thousand with `CROSSOVER_SLOW=1`.

mod common;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use common::{Bench, said};
use crossover::schedule::random::Random;
use crossover_results::schema::Record;

/// 24 small cells in 8 groups with a baseline, on three engines, one of which fails.
const DEFINITION: &str = "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable', 'softmax/online']\nengines = ['ok', 'segv']\n\
    baseline = 'softmax/stable'\n[sweep.axes]\nn = [1, 2, 3, 4, 5, 6]\n[measure]\ncell_budget_ms = 5\nlive_workers = 3\n";
const CELLS: usize = 24;

#[test]
fn nothing_that_was_journalled_is_lost() {
    let kills: usize = if common::slow_tier() { 1000 } else { 30 };
    let mut random = Random::new(20_240_607);
    let (mut killed, mut completed, mut runs) = (0, 0, 0);
    while killed < kills {
        let bench = Bench::new(DEFINITION);
        let mut before = BTreeMap::new();
        runs += 1;
        while killed < kills {
            let started = bench.run_folder().join("manifest.json").exists();
            let mut command = if started { bench.resume() } else { bench.command(&[]) };
            // Nobody reads these: a full pipe must not stop the runner.
            let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random.below(250_000) as u64));
            if let Some(status) = run.try_wait().unwrap() {
                assert_eq!(status.code(), Some(1), "the run ended by itself, with its crashed cells");
                completed += 1;
                break;
            }
            run.kill().unwrap();
            run.wait().unwrap();
            killed += 1;
            bench.assert_no_process_left(Duration::from_secs(3));
            before = check_kept(&bench, before);
        }
        finish(&bench, &before);
    }
    println!("{killed} kills over {runs} runs, {completed} of which had ended before");
}

/// Whatever was journalled is still there, word for word.
fn check_kept(bench: &Bench, before: BTreeMap<String, Record>) -> BTreeMap<String, Record> {
    let journal = bench.run_folder().join("journal.txt");
    let now = if journal.exists() { bench.records() } else { BTreeMap::new() };
    for (id, record) in before {
        assert_eq!(now.get(&id), Some(&record), "a journalled cell was lost or changed");
    }
    now
}

fn finish(bench: &Bench, before: &BTreeMap<String, Record>) {
    let started = bench.run_folder().join("manifest.json").exists();
    let output = if started { bench.resume() } else { bench.command(&[]) }.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let after = check_kept(bench, before.clone());
    assert_eq!(after.len(), CELLS, "no cell is lost, and `records` has seen that none is there twice");
    bench.assert_no_process_left(Duration::from_millis(500));
    assert!(bench.run_folder().join("cells.parquet").is_file() && !bench.run_folder().join("tmp").exists());
}
