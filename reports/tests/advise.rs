//! Questions to runs with known figures, through the program.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crossover_core::axes::{Axes, AxisValue};
use crossover_results::schema::{Record, Status};
use crossover_results::{Machine, RunFolder};
use crossover_variants::registry;
use crossover_variants::resolve::resolve;
use serde_json::Value;
use support::{beside, manifest, measured, run_of};

const QUESTION: [&str; 6] = ["--seq", "1024", "--d-model", "256", "--heads", "4"];

/// A cell as the runner would have it: with every axis of its variant.
fn cell(variant: &str, given: &[(&str, AxisValue)], median: u64, error: f64) -> Record {
    let given: Axes = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let axes = resolve(registry::find(variant).unwrap().descriptor, &given).unwrap();
    let n = axes.get("n").and_then(AxisValue::as_int).unwrap_or(1);
    let width = axes.get("d_model").and_then(AxisValue::as_int).unwrap_or(0);
    let mut record = measured(&format!("{variant}-{n}-{width}"), &format!("g{n}"), variant, n, 1, median);
    record.axes = axes;
    record.family = variant.split('/').next().unwrap().into();
    record.accuracy.as_mut().unwrap().err_method_rel = Some(error);
    record
}

/// Attention of four heads of 64 at a length.
fn attention(variant: &str, n: i64, median: u64, error: f64) -> Record {
    cell(variant, &[("n", n.into()), ("heads", 4i64.into()), ("head_dim", 64i64.into())], median, error)
}

/// Dense attention at 256, 1024 and 4096; the others at both ends only. Time of the window is linear in the length, of Linformer as well.
fn cells() -> Vec<Record> {
    let window = |n: i64, median, error| {
        let axes = [("n", n.into()), ("heads", 4i64.into()), ("head_dim", 64i64.into()), ("window", AxisValue::Int(n / 8))];
        cell("attention/window", &axes, median, error)
    };
    let mut emulated = attention("attention/flash", 1024, 10, 1e-7);
    emulated.status = Status::Emulated;
    emulated.reason = Some("computed in f32".into());
    vec![
        attention("attention/dense", 256, 1_000_000, 1e-7),
        attention("attention/dense", 1024, 16_000_000, 1e-7),
        attention("attention/dense", 4096, 256_000_000, 1e-7),
        window(256, 500_000, 0.01),
        window(4096, 8_000_000, 0.04),
        attention("attention/linear", 256, 100_000, 0.5),
        attention("attention/linear", 4096, 1_600_000, 0.5),
        attention("attention/causal", 1024, 9_000_000, 1e-7),
        emulated,
    ]
}

struct Asked {
    folder: tempfile::TempDir,
}

impl Asked {
    fn of(cells: &[Record]) -> Self {
        let asked = Self { folder: tempfile::tempdir().unwrap() };
        run_of(&asked.run(), cells);
        asked
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn ask(&self, more: &[&str]) -> Output {
        let run = self.run();
        program(&[&QUESTION[..], more, &["--runs", run.to_str().unwrap()]].concat())
    }

    fn text(&self, more: &[&str]) -> String {
        good(&self.ask(more))
    }

    fn json(&self, more: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[more, &["--format", "json"]].concat())).unwrap()
    }
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossover-report")).arg("advise").args(arguments).output().unwrap()
}

fn good(output: &Output) -> String {
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn bad(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: ") && !said.contains("panicked"), "{said}");
    said
}

fn problem<'a>(json: &'a Value, task: &str) -> &'a Value {
    json["problems"].as_array().unwrap().iter().find(|problem| problem["task"] == task).unwrap()
}

fn names(candidates: &Value) -> Vec<&str> {
    candidates.as_array().unwrap().iter().map(|candidate| candidate["variant"].as_str().unwrap()).collect()
}

/// What a `crossover cell` line means, as the runner reads it.
fn read(command: &Value) -> (String, Axes) {
    let words: Vec<&str> = command.as_str().unwrap().split(' ').collect();
    assert_eq!(words[..2], ["crossover", "cell"]);
    let mut pairs: Vec<(&str, &str)> = words[2..].iter().map(|word| word.split_once('=').unwrap()).collect();
    let variant = pairs.remove(0);
    assert_eq!((variant.0, pairs.remove(0)), ("variant", ("engine", "naive")));
    let given: Axes = pairs.into_iter().map(|(name, value)| (name.to_owned(), AxisValue::parse(value))).collect();
    (variant.1.to_owned(), resolve(registry::find(variant.1).unwrap().descriptor, &given).unwrap())
}

#[test]
fn measured_and_interpolated_cells_are_ranked_within_the_limits() {
    let asked = Asked::of(&cells());
    let all = asked.json(&[]);
    let full = problem(&all, "attention/full");
    // The fastest is half of the values off, and nobody said that this can be borne.
    assert_eq!(names(&full["ranked"]), ["attention/window", "attention/dense", "attention/linear"]);
    assert_eq!((&full["ranked"][0]["far_off"], &full["ranked"][2]["far_off"]), (&false.into(), &true.into()));
    // A length of 1024 is half way from 256 to 4096 on the logarithmic scale: the geometric means of both ends.
    let window = &full["ranked"][0];
    assert!((window["median_ns"].as_f64().unwrap() / 2_000_000.0 - 1.0).abs() < 1e-9, "{window}");
    assert!((window["err_method_rel"].as_f64().unwrap() / 0.02 - 1.0).abs() < 1e-9, "{window}");
    assert_eq!((&window["axes"]["window"], &window["id"], &window["interval"]), (&128.into(), &Value::Null, &Value::Null));
    assert_eq!((&window["between"]["axis"], &window["between"]["above"]["median_ns"]), (&"n".into(), &8_000_000.0.into()));
    // What was measured is not interpolated.
    let dense = &full["ranked"][1];
    assert_eq!((&dense["median_ns"], &dense["between"]), (&16_000_000.0.into(), &Value::Null));
    // Another problem is another list, and an emulated cell is in none.
    assert_eq!(names(&problem(&all, "attention/causal")["ranked"]), ["attention/causal"]);
    assert_eq!(all["emulated"], 1);

    let limited = asked.json(&["--max-error", "3e-2", "--family", "attention/full"]);
    let full = problem(&limited, "attention/full");
    assert_eq!((names(&full["ranked"]), names(&full["misses"])), (vec!["attention/window", "attention/dense"], vec!["attention/linear"]));
    assert_eq!(limited["problems"].as_array().unwrap().len(), 1);
    let nothing = asked.json(&["--max-memory", "1KiB"]);
    assert_eq!(problem(&nothing, "attention/full")["beyond"], 3);
}

#[test]
fn every_command_means_the_cell_that_it_stands_beside() {
    let all = Asked::of(&cells()).json(&[]);
    for candidate in all["problems"].as_array().unwrap().iter().flat_map(|problem| problem["ranked"].as_array().unwrap()) {
        let (variant, axes) = read(&candidate["command"]);
        assert_eq!(variant, candidate["variant"].as_str().unwrap());
        let spelled: Axes = serde_json::from_value(candidate["axes"].clone()).unwrap();
        assert_eq!(axes, spelled);
    }
}

#[test]
fn a_count_that_shares_its_column_with_a_share_stays_a_count() {
    let pruned = |n: i64, median| {
        let axes = [("n", n.into()), ("heads", 4i64.into()), ("head_dim", 64i64.into()), ("keep", AxisValue::Int(1))];
        cell("attention/head-pruning", &axes, median, 0.7)
    };
    let axes = [("n", 1024i64.into()), ("d_model", 256i64.into()), ("d_ff", 512i64.into()), ("keep", AxisValue::Float(0.25))];
    let asked = Asked::of(&[pruned(256, 1_000_000), pruned(4096, 16_000_000), cell("ffn/structured", &axes, 1_000_000, 0.6)]);
    for (family, keep) in [("attention", Value::from(1)), ("ffn", Value::from(0.25))] {
        let found = asked.json(&["--family", family]);
        let point = &found["problems"][0]["ranked"][0];
        assert_eq!(point["axes"]["keep"], keep, "{found}");
        assert!(point["command"].as_str().unwrap().contains(&format!(" keep={keep}")), "{point}");
        assert_eq!(read(&point["command"]).1, serde_json::from_value::<Axes>(point["axes"].clone()).unwrap());
    }
}

#[test]
fn an_error_against_another_function_is_marked_and_within_no_limit() {
    let layer = |variant: &str, median, error| {
        let axes = [("n", 1024i64.into()), ("d_model", 256i64.into()), ("d_ff", 512i64.into())];
        let mut record = cell(variant, &axes, median, error);
        record.accuracy.as_mut().unwrap().error_ratio = None;
        record
    };
    let swiglu = Record { baseline: true, ..layer("ffn/swiglu", 2_000_000, 4e-7) };
    let bilinear = Record { beside: beside(&swiglu), ..layer("ffn/bilinear", 1_000_000, 5e-7) };
    let asked = Asked::of(&[swiglu, bilinear]);
    let (all, text) = (asked.json(&["--family", "ffn"]), asked.text(&["--family", "ffn"]));
    let ranked = &all["problems"][0]["ranked"];
    assert_eq!(names(ranked), ["ffn/bilinear", "ffn/swiglu"]);
    assert_eq!((&ranked[0]["own_function"], &ranked[1]["own_function"], &all["own_function"]), (&true.into(), &false.into(), &0.into()));
    assert!(text.contains("5.00e-7 ‡") && !text.contains("4.00e-7 ‡") && text.contains("‡: the distance from"), "{text}");

    let limit = ["--family", "ffn", "--max-error", "1e-3"];
    let (limited, text) = (asked.json(&limit), asked.text(&limit));
    assert_eq!((names(&limited["problems"][0]["ranked"]), &limited["own_function"]), (vec!["ffn/swiglu"], &1.into()));
    assert!(text.contains("1 cell left out, of which --max-error can say nothing") && !text.contains('‡'), "{text}");
}

#[test]
fn of_a_cell_in_several_runs_the_newest_record_counts_however_it_ended() {
    let causal = || attention("attention/causal", 1024, 9_000_000, 1e-7);
    let wrong = || Record { status: Status::Wrong, reason: Some("row 3".into()), speed: None, samples: Vec::new(), ..causal() };
    for (earlier, later, answers) in [(causal(), wrong(), 0), (wrong(), causal(), 1)] {
        let folder = tempfile::tempdir().unwrap();
        let runs = ["later", "earlier"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
        run_of(Path::new(&runs[0]), &[Record { finished_unix_ms: earlier.finished_unix_ms + 1, ..later }]);
        run_of(Path::new(&runs[1]), &[earlier]);
        let words = ["--family", "attention/causal", "--format", "json", "--runs", &runs[0], &runs[1]];
        let found: Value = serde_json::from_str(&good(&program(&[&QUESTION[..], &words].concat()))).unwrap();
        assert_eq!(found["measured"], answers, "{found}");
    }
}

#[test]
fn a_task_with_names_for_sizes_is_near_to_nothing() {
    let mut cells = cells();
    let causal = cells.iter_mut().find(|cell| cell.variant == "attention/causal").unwrap();
    causal.axes.insert("n".into(), "long".into());
    let asked = Asked::of(&cells);
    let run = asked.run();
    let question = ["--seq", "8192", "--d-model", "256", "--heads", "4", "--runs", run.to_str().unwrap()];
    let json: Value = serde_json::from_str(&good(&program(&[&question[..], &["--format", "json"]].concat()))).unwrap();
    assert_eq!((&json["measured"], names(&json["nearest"]).len()), (&8.into(), 3), "{json}");
    let text = good(&program(&question));
    assert!(text.contains("attention/full, measured at n = 4096") && !text.contains("causal"), "{text}");
}

#[test]
fn nothing_is_extrapolated() {
    let asked = Asked::of(&cells());
    let run = asked.run();
    for seq in ["8192", "128"] {
        let question = ["--seq", seq, "--d-model", "256", "--heads", "4", "--runs", run.to_str().unwrap()];
        let json: Value = serde_json::from_str(&good(&program(&[&question[..], &["--format", "json"]].concat()))).unwrap();
        assert_eq!(json["problems"], serde_json::json!([]), "{seq}");
        let nearest: Vec<i64> = json["nearest"].as_array().unwrap().iter().map(|point| point["axes"]["n"].as_i64().unwrap()).collect();
        assert_eq!(nearest, if seq == "8192" { [4096, 4096, 4096, 1024] } else { [256, 256, 256, 1024] });
        let text = good(&program(&question));
        assert!(text.contains("outside of what was measured, and nothing is extrapolated"), "{text}");
        assert!(text.contains(&format!("--set n={seq} --set heads=4")), "{text}");
        assert!(json["sweep"].as_str().unwrap().ends_with(" --time-budget 30m"), "{json}");
    }
    // Between two sizes at once is outside, too.
    let two = ["--seq", "512", "--d-model", "128", "--heads", "2", "--format", "json", "--runs", run.to_str().unwrap()];
    let json: Value = serde_json::from_str(&good(&program(&two))).unwrap();
    assert_eq!(json["problems"], serde_json::json!([]));
}

#[test]
fn feed_forward_and_linear_layers_go_by_their_width() {
    let ffn = |d_model: i64, median| {
        cell("ffn/dense", &[("n", 1024i64.into()), ("d_model", d_model.into()), ("d_ff", (4 * d_model).into())], median, 1e-7)
    };
    let linear = cell("linear/dense", &[("n", 1024i64.into()), ("d_in", 256i64.into()), ("d_out", 256i64.into())], 5_000, 1e-7);
    let asked = Asked::of(&[ffn(128, 1_000_000), ffn(512, 16_000_000), linear]);
    let json = asked.json(&["--family", "ffn"]);
    let found = &json["problems"][0]["ranked"][0];
    // Half way from 128 to 512, with a hidden layer that is four times as wide at both ends.
    assert!((found["median_ns"].as_f64().unwrap() / 4_000_000.0 - 1.0).abs() < 1e-9, "{found}");
    assert_eq!((&found["axes"]["d_ff"], &found["between"]["axis"]), (&1024.into(), &"d_model".into()));
    assert_eq!(asked.json(&["--family", "linear"])["problems"][0]["ranked"][0]["median_ns"], 5_000.0);
}

#[test]
fn filters_keep_what_is_asked_for() {
    let mut cells = cells();
    let mut other = attention("attention/flash", 1024, 1_000, 1e-7);
    other.engine = "simd".into();
    other.axes.insert("threads".into(), AxisValue::Int(2));
    cells.push(other);
    let asked = Asked::of(&cells);
    for filter in [["--engine", "simd"], ["--threads", "2"]] {
        let json = asked.json(&filter);
        assert_eq!(names(&json["problems"][0]["ranked"]), ["attention/flash"], "{filter:?}");
    }
    let none = asked.json(&["--precision", "bf16"]);
    assert_eq!((&none["measured"], &none["nearest"]), (&0.into(), &serde_json::json!([])));
    assert!(asked.text(&["--family", "norm"]).contains("Nothing of norm was measured that could answer this."));
}

#[test]
fn what_is_far_off_is_marked_unless_a_limit_says_what_can_be_borne() {
    let asked = Asked::of(&cells());
    let text = asked.text(&[]);
    assert!(text.contains("5.00e-1 !") && !text.contains("1.00e-7 !") && text.contains("!: more than 10 % off"), "{text}");
    let limited = ["--max-error", "0.6", "--family", "attention/full"];
    assert!(!asked.text(&limited).contains(" !"));
    assert_eq!(names(&asked.json(&limited)["problems"][0]["ranked"])[0], "attention/linear");
}

#[test]
fn a_name_that_nothing_has_is_refused_with_those_that_there_are() {
    let asked = Asked::of(&cells());
    for (option, name, told) in [
        ("--family", "nonsense", "there are attention, "),
        ("--family", "atention", "did you mean \"attention\"?"),
        ("--family", "attention/nonsense", "attention/causal"),
        ("--engine", "cuda", "there are naive"),
        ("--precision", "fp8", "bf16"),
        ("--threads", "64", "more than the 2 cores of the runs' machine"),
    ] {
        let said = bad(&asked.ask(&[option, name]));
        assert!(said.contains(&format!("{option} {name}: this is ")) && said.contains(told), "{said}");
    }
    // Without runs the engines are not known, the families are.
    let folder = tempfile::tempdir().unwrap();
    let ask = |more: &[&str]| program(&[&QUESTION[..], &["--project", folder.path().to_str().unwrap()], more].concat());
    assert!(bad(&ask(&["--family", "nonsense"])).contains("no family, and no task of one"));
    assert!(good(&ask(&["--engine", "cuda"])).contains("Nothing of attention was measured"));
}

#[test]
fn what_is_nearest_is_told_apart_and_within_the_limits() {
    let norm = |position: &str, error: f64| {
        let axes = [("n", 64i64.into()), ("d_model", 256i64.into()), ("position", position.into())];
        let mut record = cell("norm/rms-norm", &axes, 1_000, error);
        record.id += position;
        record
    };
    let asked = Asked::of(&[norm("pre", 0.05), norm("post", 0.04)]);
    let text = asked.text(&["--family", "norm"]);
    assert!(text.contains("position=pre") && text.contains("position=post"), "{text}");
    let limited = asked.json(&["--family", "norm", "--max-error", "0.045"]);
    assert_eq!((names(&limited["nearest"]).len(), &limited["beyond"]), (1, &1.into()), "{limited}");
    let none = ["--family", "norm", "--max-error", "0"];
    assert_eq!(names(&asked.json(&none)["nearest"]).len(), 0);
    assert!(asked.text(&none).contains("Nothing of norm was measured within the limits"));
}

#[test]
fn what_limits_the_runs_is_told() {
    let asked = Asked::of(&cells());
    let mut own = manifest();
    own.noise = None;
    own.write(&RunFolder::open(&asked.run()).unwrap().manifest_path()).unwrap();
    let told = || asked.text(&[]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told().contains("run: noise was not measured, 5.00 % are taken for its floor"), "{}", told());
    assert!(told().contains("only 9 of 24 planned cells are finished"), "{}", told());
    // A torn line is told by every command that reads the run, and not only by the first.
    let journal = RunFolder::open(&asked.run()).unwrap().journal_path();
    let text = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() - 10]).unwrap();
    std::fs::remove_file(RunFolder::open(&asked.run()).unwrap().cells_path()).unwrap();
    for _ in 0..2 {
        assert!(told().contains("the journal's last line is not whole"), "{}", told());
    }
}

#[test]
fn the_text_fits_eighty_columns() {
    let text = Asked::of(&cells()).text(&["--max-error", "3e-2", "--family", "attention/full"]);
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\x1b'), "{text}");
    // What stands above tells of this machine.
    let (_, answer) = text.split_once("\n\n").unwrap();
    insta::assert_snapshot!(answer, @r"
    attention/full: 2 candidates
          time    memory    error  measured         cell
    1  2.00 ms  4.51 MiB  2.00e-2  no: n 256..4096  attention/window on naive:
                                                      precision=f32, threads=1,
                                                      window=128
    2  16.0 ms  4.25 MiB  1.00e-7  ±1.00 %          attention/dense on naive:
                                                      precision=f32, threads=1
      1 is interpolated between n = 256 (500 µs, 320 KiB, error 1.00e-2) and n =
        4096 (8.00 ms, 65.0 MiB, error 4.00e-2)
    To check 1:
      crossover cell variant=attention/window engine=naive head_dim=64 heads=4 \
          n=1024
    To check 2:
      crossover cell variant=attention/dense engine=naive head_dim=64 heads=4 \
          n=1024
    Faster, but beyond a limit; the nearest to it first (1 of 1):
        time    memory    error  over by  cell
      400 µs  4.51 MiB  5.00e-1  16.7 x   attention/linear on naive: precision=f32,
                                            threads=1
    1 emulated cell left out: computed in another precision than asked.
    ");
}

#[test]
fn this_machines_runs_come_first_and_published_ones_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path();
    let ask = |more: &[&str]| program(&[&QUESTION[..], &["--project", project.to_str().unwrap()], more].concat());
    let json = || serde_json::from_str::<Value>(&good(&ask(&["--format", "json"]))).unwrap();
    // No runs at all: which sweep would help.
    assert!(good(&ask(&[])).contains("crossover run --filter 'family == \"attention\"' --set n=1024"));
    let write = |path: &Path, machine: Machine, cells: &[Record]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        run_of(path, cells);
        let mut own = manifest();
        own.machine = machine;
        own.write(&RunFolder::open(path).unwrap().manifest_path()).unwrap();
    };
    let other = Machine { fingerprint: "0123".into(), ..Machine::detect() };
    let far = Machine { fingerprint: "4567".into(), cpu_model: Some("another".into()), ..Machine::detect() };
    write(&project.join("results/runs-published/near"), other.clone(), &cells());
    write(&project.join("results/runs-published/far"), far, &cells());
    write(&project.join("results/runs/copied"), other, &cells());
    let found = json();
    assert_eq!((&found["source"], &found["runs"], &found["machine"]), (&"published".into(), &serde_json::json!(["near"]), &"0123".into()));
    assert!(good(&ask(&[])).contains("NOT this machine"));
    // Runs of this machine that know nothing of it leave the answer to the others.
    let norm = cell("norm/layer-norm", &[("n", 64i64.into()), ("d_model", 64i64.into())], 1_000, 1e-7);
    write(&project.join("results/runs/norms"), Machine::detect(), &[norm]);
    assert_eq!(json()["source"], "published");
    write(&project.join("results/runs/own"), Machine::detect(), &cells()[..2]);
    let found = json();
    assert_eq!((&found["source"], &found["runs"]), (&"own".into(), &serde_json::json!(["norms", "own"])));
    assert!(!good(&ask(&[])).contains("NOT this machine"));
    let runs = ["results/runs-published/near", "results/runs-published/far"].map(|run| project.join(run).to_str().unwrap().to_owned());
    let mixed = program(&[&QUESTION[..], &["--runs", &runs[0], &runs[1]]].concat());
    assert!(bad(&mixed).contains("different machines (0123 and 4567)"));
}

#[test]
fn published_runs_lie_in_the_folder_or_in_that_of_a_machine() {
    let folder = tempfile::tempdir().unwrap();
    for run in ["0123/standard", "shallow"] {
        let path = folder.path().join("results/runs-published").join(run);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        run_of(&path, &cells());
    }
    let words = ["--format", "json", "--project", folder.path().to_str().unwrap()];
    let found: Value = serde_json::from_str(&good(&program(&[&QUESTION[..], &words].concat()))).unwrap();
    assert_eq!((&found["source"], &found["runs"]), (&"published".into(), &serde_json::json!(["standard", "shallow"])));
}

#[test]
fn bad_questions_are_told_with_the_way_out() {
    let asked = Asked::of(&cells());
    let run = asked.run();
    let uneven = program(&["--seq", "64", "--d-model", "100", "--heads", "12", "--runs", run.to_str().unwrap()]);
    assert!(bad(&uneven).contains("96 or 108 would have"));
    assert!(bad(&program(&QUESTION)).contains("name runs to ask with --runs"));
    assert!(bad(&asked.ask(&["--max-error=-1"])).contains("an error is a number of at least 0"));
    assert!(bad(&asked.ask(&["--max-memory", "1GB"])).contains("KiB, MiB or GiB"));
    assert!(bad(&program(&["--seq", "0", "--d-model", "1", "--heads", "1"])).contains("--seq"));
    let nowhere = program(&[&QUESTION[..], &["--runs", "/nowhere"]].concat());
    assert!(bad(&nowhere).contains("there is no run in"));
}

#[test]
fn hostile_names_come_out_harmless() {
    let mut cells = cells();
    for (place, cell) in cells.iter_mut().enumerate() {
        cell.engine = format!("<script>\u{202e}\x1b[31m$(rm -rf x)'{}\n{place}", "x".repeat(300));
        cell.axes.insert("note".into(), AxisValue::from("a'b\"c"));
    }
    let asked = Asked::of(&cells);
    let text = asked.text(&[]);
    assert!(!text.contains(['\x1b', '\u{202e}']), "{text}");
    assert!(text.contains(r"'<script>\u{202e}\u{1b}[31m$(rm -rf x)'\''xxx"), "{text}");
    assert_eq!(problem(&asked.json(&[]), "attention/full")["ranked"].as_array().unwrap().len(), 1);
}
