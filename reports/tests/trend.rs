//! A history with a known change, through the program: at the terminal, as JSON, and as a page of a report.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crossover_results::history::{Key, Line, Metric, Place, append};
use serde_json::Value;
use support::{run_of, twenty_cells};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossover-report")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn good(arguments: &[&str]) -> String {
    let output = program(arguments);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    text(&output.stdout)
}

fn bad(arguments: &[&str]) -> String {
    let output = program(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty() && said.starts_with("error: ") && !said.contains("panicked"), "{said}");
    said
}

/// A project whose history has a flash that is slower from the fourteenth of `commits` on, and a window that never changes, on a machine each
/// of its own, too.
fn project(folder: &Path, commits: u64) -> PathBuf {
    let line = |commit: u64, machine: &str, variant: &str, value: f64| Line {
        key: Key {
            place: Place { machine: machine.into(), cores: 2, experiment: "gate".into() },
            variant: format!("attention/{variant}"),
            engine: "simd".into(),
            setting: "n=256".into(),
            id: variant.into(),
            isa: "avx2".into(),
            metric: Metric::TimeRatio,
            against: "dense".into(),
        },
        commit: format!("{:012x}", 0xabc000 + commit),
        commit_unix_s: 1_700_000_000 + commit * 86_400,
        build: "b".into(),
        run_unix_ms: 1_700_000_001_000 + commit * 86_400_000,
        value,
        interval: None,
    };
    let wave = |commit: u64, turn: u64| 1.0 + 0.01 * ((commit * turn % 11) as f64 - 5.0) / 5.0;
    let path = folder.join("results/history.csv");
    fs::create_dir_all(folder.join("results")).unwrap();
    for commit in 0..commits {
        let flash = if commit < 13 { 0.5 } else { 0.75 };
        let lines = [
            line(commit, "m1", "flash", flash * wave(commit, 7)),
            line(commit, "m1", "window", 0.3 * wave(commit, 5)),
            line(commit, "m2", "flash", 0.4 * wave(commit, 3)),
        ];
        for machine in ["m1", "m2"] {
            let own: Vec<Line> = lines.iter().filter(|line| line.key.place.machine == machine).cloned().collect();
            append(&path, &own).unwrap();
        }
    }
    path
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_change_is_told_with_commit_size_and_probability() {
    let folder = tempfile::tempdir().unwrap();
    let path = project(folder.path(), 26);
    let path = path.to_str().unwrap();
    let said = good(&["trend", "--history", path]);
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let told = words(&said);
    assert!(told.contains("gate on machine m1, 2 cores") && told.contains("gate on machine m2, 2 cores"), "{said}");
    assert!(told.contains("2023-11-27 000000abc00d time-ratio of attention/flash on simd, n=256 over dense: 0.50"), "{said}");
    assert_eq!(told.matches("time-ratio").count(), 1, "{said}");
    assert_eq!(good(&["trend", "--project", folder.path().to_str().unwrap()]), said);

    let json: Value = serde_json::from_str(&good(&["trend", "--history", path, "--json"])).unwrap();
    let machines = json["machines"].as_array().unwrap();
    assert_eq!(machines.len(), 2);
    let m1 = machines.iter().find(|machine| machine["machine"] == "m1").unwrap();
    assert_eq!((m1["commits"].as_u64(), m1["searched"].as_u64(), m1["level"].as_f64()), (Some(26), Some(2), Some(0.025)));
    let series = m1["series"].as_array().unwrap();
    let [flash, window] = ["flash", "window"].map(|id| series.iter().find(|series| series["id"] == id).unwrap());
    let change = &flash["changes"][0];
    assert_eq!((change["commit"].as_str(), change["previous_commit"].as_str()), (Some("000000abc00d"), Some("000000abc00c")));
    assert!((change["ratio"].as_f64().unwrap() - 1.5).abs() < 0.01 && change["p"].as_f64().unwrap() <= 0.025, "{change}");
    assert_eq!((window["changes"].as_array().map(Vec::len), window["points"].as_u64()), (Some(0), Some(26)));
}

#[test]
fn a_history_that_is_missing_or_damaged_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(bad(&["trend"]).contains("name a history by --history"));
    let path = folder.path().join("results/history.csv");
    assert!(bad(&["trend", "--history", path.to_str().unwrap()]).contains("there is no history at"));
    project(folder.path(), 3);
    let damaged = fs::read_to_string(&path).unwrap().replacen(",0.4", ",x", 1);
    fs::write(&path, &damaged).unwrap();
    let said = bad(&["trend", "--history", path.to_str().unwrap()]);
    assert!(said.contains("history.csv:") && said.contains("not a finite number"), "{said}");

    let run = folder.path().join("run");
    run_of(&run, &twenty_cells());
    let [run, out, root] = [run, folder.path().join("out"), folder.path().to_owned()].map(|path| path.to_str().unwrap().to_owned());
    // Asked for by name it must be good; a report is not refused for the project's own.
    assert!(bad(&["report", &run, "--out", &out, "--history", path.to_str().unwrap()]).contains("not a finite number"));
    let output = program(&["report", &run, "--out", &out, "--project", &root]);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    assert!(complaint.starts_with("warning: no page on the trend: ") && complaint.contains("history.csv:"), "{complaint}");
    assert!(!Path::new(&out).join("trend.md").exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
}

#[test]
fn a_report_has_a_page_from_the_second_commit_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    run_of(&run, &twenty_cells());
    let [run, out, root] = [run, folder.path().join("out"), folder.path().to_owned()].map(|path| path.to_str().unwrap().to_owned());
    let out_file = |name: &str| Path::new(&out).join(name);
    let report = |commits: u64| {
        let _ = fs::remove_file(folder.path().join("results/history.csv"));
        project(folder.path(), commits);
        good(&["report", &run, "--out", &out, "--project", &root]);
        fs::read_to_string(out_file("index.html")).unwrap()
    };
    assert!(report(1).contains("\"trend\":null"));
    assert!(!out_file("trend.md").exists());

    let page = report(26);
    let trend = fs::read_to_string(out_file("trend.md")).unwrap();
    assert!(
        trend.starts_with("# Trend over commits\n") && trend.contains("| 000000abc00d | time-ratio of attention/flash on simd"),
        "{trend}"
    );
    for picture in ["trend-attention.svg", "trend-attention-2.svg"] {
        assert!(trend.contains(&format!("](pictures/{picture})")), "{trend}");
        let svg = fs::read_to_string(out_file("pictures").join(picture)).unwrap();
        assert!(roxmltree::Document::parse(&svg).is_ok(), "{picture}");
    }
    assert!(fs::read_to_string(out_file("summary.md")).unwrap().contains("[trend.md](trend.md)"));
    assert!(page.contains("\"trend\":[{\"heading\":\"gate on machine m") && page.contains("<section id=\"trend\""));

    // What the next report does not have goes.
    report(1);
    assert!(!out_file("trend.md").exists() && !out_file("pictures").join("trend-attention.svg").exists());
    let csv = good(&["report", &run, "--out", &out, "--project", &root, "--format", "csv"]);
    assert!(!csv.is_empty() && !out_file("trend.md").exists());
}
