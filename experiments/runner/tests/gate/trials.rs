//! `experiments/gate_trials.py` with a gate that says what it is told to.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::common::said;
use super::expect;

/// The trials' script, with a folder of programs whose gate prints this and exits so, and how the gate was called last, if it was; none where there is no Python.
fn trials(gate: &str, code: i32, arguments: &[&str]) -> Option<(Output, Option<String>)> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is not there");
        return None;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("crossover-worker"), "").unwrap();
    fs::write(path("crossover-worker-planted"), "").unwrap();
    fs::write(path("said"), gate).unwrap();
    let script = format!("#!/bin/sh\necho \"$CROSSOVER_PLANTED_WORK $*\" > {0:?}/called\ncat {0:?}/said\nexit {code}\n", folder.path());
    fs::write(path("crossover"), script).unwrap();
    assert!(Command::new("chmod").arg("755").arg(path("crossover")).status().unwrap().success());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gate_trials.py");
    let output = Command::new("python3").arg("-B").arg(script).arg(folder.path()).args(arguments).current_dir(folder.path()).output();
    Some((output.unwrap(), fs::read_to_string(path("called")).ok()))
}

/// A gate's cells by verdict and reason; without a reason it was timed.
fn cells(cells: &[(&str, Option<&str>)]) -> String {
    let cell = |(verdict, reason): &(&str, Option<&str>)| {
        let evidence = match reason {
            Some(reason) => format!("\"reason\": \"{reason}\""),
            None => "\"ratio\": 1.0, \"ratio_low\": 0.99, \"ratio_high\": 1.01, \"pairs\": 5".to_owned(),
        };
        format!("{{\"variant\": \"v\", \"engine\": \"e\", \"axes\": {{}}, \"verdict\": \"{verdict}\", {evidence}}}")
    };
    format!("{{\"cells\": [{}]}}", cells.iter().map(cell).collect::<Vec<_>>().join(", "))
}

#[test]
fn cells_without_pairs_count_as_what_they_are() {
    let same = ["--trials", "same", "--comparisons", "3"];
    let lost = [("pass", None), ("regressed", Some("head crashed")), ("inconclusive", Some("no time"))];
    let Some((output, _)) = trials(&cells(&lost), 1, &same) else { return };
    expect(&output, 1, &["same: a worker beside its copy | <= 1 alarm in 500 | 1 | 1 | 1 | 3 |", "v on e : regressed, head crashed"]);
    let Some((output, _)) = trials(&cells(&[("pass", Some("it is new"))]), 0, &same) else { return };
    expect(&output, 2, &["v on e passed without a pair: it is new"]);
    // What neither has on this machine is no comparison, and where that is all there is none.
    let absent = ("not-compared", Some("no bf16"));
    let Some((output, _)) = trials(&cells(&[("pass", None), absent, ("pass", None)]), 0, &["--trials", "same", "--comparisons", "2"])
    else {
        return;
    };
    expect(&output, 0, &["<= 1 alarm in 500 | 0 | 0 | 2 | 2 |"]);
    let Some((output, _)) = trials(&cells(&[absent]), 0, &same) else { return };
    expect(&output, 2, &["none of 1 cells was compared", "no bf16"]);
}

#[test]
fn a_table_that_cannot_take_the_rows_is_told_before_the_first_trial() {
    let Some((output, called)) = trials(&cells(&[("pass", None)]), 0, &["--trials", "same", "--write", "nowhere.md"]) else { return };
    expect(&output, 2, &["nowhere.md"]);
    assert!(called.is_none(), "{}", said(&output));
}

#[test]
fn what_was_measured_is_shown_though_a_later_trial_fails() {
    // The second is of forty cells, and this gate has one.
    let Some((output, _)) = trials(&cells(&[("pass", None)]), 0, &["--trials", "same,whole", "--comparisons", "1"]) else { return };
    expect(&output, 2, &["same: a worker beside its copy | <= 1 alarm in 500 | 0 | 0 | 1 | 1 |", "has 1 cells"]);
}

#[test]
fn slower_calls_are_the_only_difference_of_a_slower_build() {
    let regressed = cells(&[("regressed", None)]);
    let Some((output, called)) = trials(&regressed, 1, &["--trials", "slower-5", "--comparisons", "1"]) else { return };
    expect(&output, 0, &["slower-5: calls that take 5 % longer | >= 95 % regressed | 1 | 0 | 0 | 1 |"]);
    let called = called.unwrap();
    let programs: Vec<&str> = called.split_whitespace().filter_map(|word| word.rsplit('/').next()).collect();
    assert!(called.starts_with("0.05 gate ") && programs.contains(&"crossover-worker-planted"), "{called}");
    assert!(programs.contains(&"crossover-worker-slower"), "{called}");
}

#[test]
fn paths_that_were_not_counted_are_no_regression_that_was_found() {
    // Where there is no valgrind the trial is passed over, and no gate is called.
    let counted = |paths: &str, code: i32| trials(&format!("{{\"paths\": [{paths}]}}"), code, &["--trials", "counted"]);
    let path = |verdict: &str| format!("{{\"path\": \"p\", \"verdict\": \"{verdict}\", \"ratio\": null}}");
    let all = [path("regressed"), path("not-compared"), path("regressed")].join(", ");
    let Some((output, Some(called))) = counted(&all, 1) else { return };
    expect(&output, 0, &["counted: calls that take 5 % longer, instructions | all regressed | 2 | 0 | 0 | 2 |"]);
    assert!(called.starts_with("0.05 gate --instructions") && called.contains("crossover-worker-slower"), "{called}");
    let Some((output, _)) = counted(&[path("regressed"), path("inconclusive")].join(", "), 1) else { return };
    expect(&output, 1, &["| all regressed | 1 | 1 | 0 | 2 |", "counted: less than was asked"]);
    let Some((output, _)) = counted(&path("not-compared"), 4) else { return };
    expect(&output, 2, &["no cell was counted"]);
}

#[test]
fn only_a_baseline_of_other_machines_excuses_an_exact_gate_that_is_no_pass() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../of_other_machines.py");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gate.json");
    for (verdict, machines, change, code) in [
        ("inconclusive", "\"simd\"", "pass", 0),
        ("inconclusive", "", "pass", 1),
        ("inconclusive", "\"simd\"", "inconclusive", 1),
        ("regressed", "\"simd\"", "regressed", 1),
    ] {
        let changes = format!("[{{\"verdict\": \"{change}\", \"cell\": \"c\", \"what\": \"w\"}}]");
        fs::write(&file, format!("{{\"verdict\": \"{verdict}\", \"of_other_machines\": [{machines}], \"changes\": {changes}}}")).unwrap();
        let Ok(output) = Command::new("python3").arg("-B").arg(&script).arg(&file).output() else { return };
        assert_eq!(output.status.code(), Some(code), "{verdict} {machines} {change}: {}", said(&output));
    }
}
