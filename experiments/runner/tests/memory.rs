//! Memory as a budget: what cannot fit is a row, what can is measured within its limit, and the run goes on.
//!
//! The whole figure (streaming attention over 16,384 tokens within 1 GiB on the vector engine) is in the slow tier.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Bench, said};
use crossover_results::read_records;
use crossover_results::schema::Status;

const ATTENTION: &str = "name = 'tiny'\n[[sweep]]\nvariants = ['attention/dense', 'attention/flash']\nbaseline = 'attention/dense'\n";

#[test]
fn a_cell_beyond_the_budget_is_a_row_and_the_run_goes_on() {
    let bench = Bench::new(&format!(
        "{ATTENTION}engines = ['ok']\n[sweep.axes]\nn = [1024, 16384]\nheads = 8\nhead_dim = 64\n\
         [measure]\ncell_budget_ms = 20\nmemory_budget_mb = 1000\n"
    ));
    let output = bench.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for record in bench.records().into_values() {
        let is_large = record.axes["n"].as_int() == Some(16_384) && record.variant == "attention/dense";
        assert_eq!(record.status, if is_large { Status::Oom } else { Status::Ok }, "{:?}", record.reason);
        if is_large {
            let reason = record.reason.unwrap();
            assert!(reason.starts_with("not started: it is predicted to need 9") && reason.ends_with("all workers is 1000 MB"), "{reason}");
            assert_eq!(record.elapsed_ns, 0);
        }
    }
    assert_eq!(bench.records().len(), 4);
}

/// Twelve heads of 64, as in a model of a hundred million parameters.
#[test]
fn streaming_attention_over_16384_tokens_fits_a_gibibyte_and_dense_attention_is_a_row() {
    let n = if common::slow_tier() { 16_384 } else { 2_048 };
    // The short one has an eighth of the tokens, and a limit that the dense scores (201 MB) with the inputs exceed and streaming does not.
    let limit_mb = if n == 16_384 { 1_073 } else { 250 };
    let folder = tempfile::tempdir().unwrap();
    let experiment = folder.path().join("long.toml");
    let text = format!(
        "{ATTENTION}engines = ['simd']\n[sweep.axes]\nn = {n}\nheads = 12\nhead_dim = 64\n\
         [measure]\ncell_budget_ms = 100\nstep_timeout_s = 300\nmemory_limit_mb = {limit_mb}\n"
    );
    std::fs::write(&experiment, text).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let run = folder.path().join("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
    let output = command.arg("run").arg(&experiment).arg("--out").arg(&run).current_dir(root).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let records: Vec<_> = read_records(&run.join("journal.txt")).unwrap().map(Result::unwrap).collect();
    assert_eq!(records.len(), 2);
    for record in records {
        if record.variant == "attention/dense" {
            assert_eq!(record.status, Status::Oom, "{:?}", record.reason);
            assert!(record.reason.unwrap().contains("the memory for one worker is"));
        } else {
            assert_eq!(record.status, Status::Ok, "{:?} {:?}", record.reason, record.stderr_tail);
            let high_water = record.memory.unwrap().high_water_bytes;
            println!("n = {n}: {:.0} ms a call, high water {} MiB", record.speed.unwrap().median_ns as f64 / 1e6, high_water >> 20);
            assert!(high_water < limit_mb * 1_000_000);
        }
    }
}
