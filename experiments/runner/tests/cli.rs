//! The program as a user meets it: exit codes, what stands on stdout and stderr, and how it ends when something is missing.

mod project;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use project::{Project, TINY, text};

#[test]
fn plain_lists_fit_eighty_columns() {
    let project = Project::new();
    for what in ["engines", "variants", "experiments"] {
        let list = project.good(&["list", what]);
        assert!(!list.is_empty() && list.lines().all(|line| line.chars().count() <= 80), "{list}");
    }
    assert_eq!(project.good(&["list", "experiments"]), "tiny\n  two cells\n");
    assert_eq!(project.good(&["list", "engines"]), "naive\n  plain loops\n  kernels of its own: f64 f32\n  instruction set: scalar\n");
}

#[test]
fn lists_are_json_on_request() {
    let project = Project::new();
    let json = |what: &str| serde_json::from_str::<serde_json::Value>(&project.good(&["list", what, "--json"])).unwrap();
    assert_eq!(json("engines")["engines"][0]["native"][1], "f32");
    assert_eq!(json("engines")["worker"]["version"], "7");
    let variants = json("variants");
    let dense = variants["variants"].as_array().unwrap().iter().find(|variant| variant["name"] == "attention/dense").unwrap();
    assert_eq!(dense["tensors"][0]["shape"], serde_json::json!(["batch", "heads", "n", "head_dim"]));
    assert_eq!(json("experiments")["experiments"][0]["problem"], serde_json::Value::Null);
}

#[test]
fn a_broken_experiment_is_listed_with_its_problem() {
    let project = Project::new();
    fs::write(project.path("experiments/definitions/broken.toml"), "nam = 1").unwrap();
    assert!(project.good(&["list", "experiments"]).contains("cannot be read: "));
    let json: serde_json::Value = serde_json::from_str(&project.good(&["list", "experiments", "--json"])).unwrap();
    assert!(json["experiments"][0]["problem"].as_str().unwrap().contains("did you mean \"name\"?"));
}

#[test]
fn a_plan_is_counted_and_shown() {
    let project = Project::new();
    assert_eq!(project.good(&["plan", "tiny", "--count"]), "tiny: 2 cells in 2 groups, predicted to take 2 s\n");
    assert_eq!(
        project.good(&["plan", "tiny", "--count", "--set", "n=1,2,3", "--threads", "2"]),
        "tiny: 3 cells in 3 groups, predicted to take 3 s\n"
    );
    let counted: serde_json::Value = serde_json::from_str(&project.good(&["plan", "tiny", "--count", "--json"])).unwrap();
    assert_eq!(counted, serde_json::json!({ "experiment": "tiny", "groups": 2, "cells": 2, "predicted_s": 2 }));
    let planned = project.good(&["plan", "experiments/definitions/tiny.toml", "--filter", "n == 4", "--json"]);
    let planned: serde_json::Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned["plan"][0]["axes"]["n"], 4);
    assert_eq!(planned["plan"][0]["engine"], "naive");
}

#[test]
fn the_project_is_found_from_below_and_by_its_variable() {
    let project = Project::new();
    let deep = project.path("a/b");
    fs::create_dir_all(&deep).unwrap();
    let from = |folder: &Path, root: Option<&Path>| {
        let mut command = project.command(&["plan", "tiny", "--count"]);
        command.current_dir(folder).envs(root.map(|root| ("CROSSOVER_ROOT", root)));
        command.output().unwrap()
    };
    assert!(from(&deep, None).status.success());
    assert!(from(Path::new("/"), Some(project.folder.path())).status.success());
    let nowhere = from(&deep, Some(&deep));
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(text(&nowhere.stderr).contains("has no folder experiments/definitions"));
}

#[test]
fn bad_input_is_exit_code_two() {
    let project = Project::new();
    fs::write(project.path("bad.toml"), TINY.replace("[sweep.axes]\n", "axis = 1\n")).unwrap();
    insta::assert_snapshot!(project.bad(2, &["plan", "bad.toml"]), @r#"
    error: bad.toml:6:1: unknown key "axis" in a [[sweep]]
      6 | axis = 1
        | ^^^^
      did you mean "axes"? the keys of a [[sweep]] are variants, engines, baseline, baseline_when, match, match_share, base, axes, when, exclude
    "#);
    insta::assert_snapshot!(project.bad(2, &["plan", "tony"]), @r#"
    error: there is no experiment "tony"
      did you mean tiny? the experiments are tiny
    "#);
    fs::create_dir(project.path("run")).unwrap();
    fs::write(project.path("run/manifest.json"), "{}").unwrap();
    insta::assert_snapshot!(project.bad(2, &["run", "run"]), @"
    error: run is the folder of a run, and not an experiment
      crossover report run shows it, crossover run --resume --out run goes on with an unfinished one
    ");
    insta::assert_snapshot!(project.bad(2, &["plan", "tiny", "--filter", "n <"]), @r#"
    error: --filter, column 4: expected a column or a value, found "the end"
      n <
         ^
    "#);
    for arguments in [
        &["plan", "none.toml"][..],
        &["plan", "experiments/definitions"],
        &["plan", "../tiny"],
        &["plan", ""],
        &["plan", "tiny", "--set", "m=1"],
        &["plan", "tiny", "--set", "n=0"],
        &["plan", "tiny", "--filter", "n > 1000000"],
        &["plan", "tiny", "--set", "threads=1", "--threads", "1"],
        &["cell", "variant=softmax/stable"],
        &["cell", "variant=softmax/stable", "engine=naive", "n=0"],
        &["apply", "--variant", "softmax/stabel", "--engine", "naive", "--input", "i", "--output", "o"],
    ] {
        project.bad(2, arguments);
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_two_as_well() {
    let project = Project::new();
    for arguments in [
        &["plan"][..],
        &["plot"],
        &["list", "cats"],
        &["plan", "tiny", "--set", "n"],
        &["plan", "tiny", "--shard", "0/2"],
        &["plan", "tiny", "--threads", "0"],
        &["run"],
        &["run", "tiny", "--all"],
        &["run", "tiny", "--time-budget", "10"],
    ] {
        let output = project.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn a_missing_worker_or_report_is_exit_code_three_with_the_way_out() {
    let project = Project::new();
    fs::remove_file(project.path("bin/crossover-worker")).unwrap();
    assert!(project.bad(3, &["plan", "tiny"]).contains("cargo build --release -p crossover-worker"));
    assert!(project.bad(3, &["probe"]).contains("CROSSOVER_WORKER"));
    for command in ["report", "compare", "advise", "trend"] {
        assert!(project.bad(3, &[command, "results/runs/x"]).contains("cargo build --release -p crossover-reports"));
    }
    let wrong = project.command(&["list", "engines"]).env("CROSSOVER_WORKER", "/nowhere").output().unwrap();
    assert_eq!(wrong.status.code(), Some(3));
}

#[test]
fn a_worker_elsewhere_is_found_by_its_variable() {
    let project = Project::new();
    fs::rename(project.path("bin/crossover-worker"), project.path("elsewhere")).unwrap();
    let output = project.command(&["plan", "tiny", "--count"]).env("CROSSOVER_WORKER", project.path("elsewhere")).output().unwrap();
    assert_eq!(text(&output.stdout), "tiny: 2 cells in 2 groups, predicted to take 2 s\n");
}

const TRAINED: &str = "name = \"trained\"\n[[sweep]]\nvariants = [\"model/encoder\", \"softmax/stable\"]\nengines = [\"*\"]\n\
                       [sweep.axes]\nweights = \"models/bert\"\n";

#[test]
fn weights_that_were_not_fetched_are_told_before_anything_runs() {
    let project = Project::new();
    fs::write(project.path("experiments/definitions/trained.toml"), TRAINED).unwrap();
    let missing = "there is no models/bert/model.safetensors here or in a folder above; `just models` fetches all-MiniLM-L6-v2";
    let only_models = ["--filter", "family == \"model\""];
    for command in [&["plan", "trained"][..], &["plan", "trained", "--count"], &["run", "trained"]] {
        let refused = project.bad(3, &[command, &only_models].concat());
        assert_eq!(refused, format!("error: no cell of trained can be run: {missing}\n"));
    }
    assert!(!project.path("results/runs").exists());
    let cell = ["cell", "variant=model/encoder", "engine=naive", "weights=models/bert"];
    assert_eq!(project.bad(3, &cell), format!("error: {missing}\n"));
    // Beside cells that need no weights, the others are skipped and say why.
    let plan: serde_json::Value = serde_json::from_str(&project.good(&["plan", "trained", "--json"])).unwrap();
    let reasons: Vec<Option<&str>> = plan["plan"].as_array().unwrap().iter().map(|cell| cell["unfit"].as_str()).collect();
    assert_eq!(reasons, [Some(missing), None]);
    assert!(text(&project.run(&["doctor"]).stdout).contains("note    weights      there is no models/bert/model.safetensors"));
    fs::create_dir_all(project.path("models/bert")).unwrap();
    fs::write(project.path("models/bert/model.safetensors"), "").unwrap();
    assert!(project.good(&[&["plan", "trained", "--count"][..], &only_models].concat()).starts_with("trained: 1 cell"));
    project.good(&cell);
    assert!(text(&project.run(&["doctor"]).stdout).contains("ok      weights      models/bert"));
    // A text takes a tokenizer, and has to be there itself.
    let read = [&cell[..], &["text=passages.txt"]].concat();
    assert!(project.bad(3, &read).contains("there is no file passages.txt"));
    fs::write(project.path("passages.txt"), "one").unwrap();
    assert!(project.bad(3, &read).contains("tokenizer.json"));
}

#[test]
fn a_reader_that_goes_ends_a_plan_quietly() {
    let project = Project::new();
    let list = format!("{:?}", (1..=200).collect::<Vec<u32>>()).replace(['[', ']', ' '], "");
    let (n, classes) = (format!("n={list}"), format!("classes={list}"));
    for format in [&[][..], &["--json"]] {
        let mut command = project.command(&["plan", "tiny", "--set", &n, "--set", &classes]);
        let mut child = command.args(format).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    }
}

#[test]
fn a_full_disk_is_not_a_reader_that_went() {
    let project = Project::new();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = project.command(&["list", "variants"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).starts_with("error: standard output cannot be written"), "{}", text(&output.stderr));
}
