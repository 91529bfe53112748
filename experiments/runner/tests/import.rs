//! `crossover import criterion`: from a folder as criterion leaves it to a run that is reported and compared.

mod project;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crossover_core::testing::put;
use crossover_results::schema::{Record, Status};
use crossover_results::{Machine, Manifest, RunFolder, read_records};
use project::{Project, text};

/// Says what it was asked.
const ECHO: &str = "#!/bin/sh\nprintf '%s|' \"$@\"; echo\n";

/// Writes what criterion does for a benchmark: samples of 1, 2, 3 .. calls that take about `ns` each.
fn benchmark(below: &Path, [group, function, value]: [&str; 3], ns: f64) {
    let full_id = format!("{group}/{function}/{value}");
    let folder = format!("{}/new", full_id.replace(['?', '"', '*', '<', '>', ':', '|', '^'], "_"));
    let calls: Vec<f64> = (1..=20).map(f64::from).collect();
    // Alternately a hundredth above and below.
    let times: Vec<f64> = calls.iter().map(|calls| calls * ns * if calls % 2.0 == 0.0 { 1.01 } else { 0.99 }).collect();
    let id = serde_json::json!({
        "group_id": group, "function_id": function, "value_str": value, "throughput": { "Elements": 7 },
        "full_id": full_id, "directory_name": full_id, "title": full_id,
    });
    let estimate = |value: f64| {
        serde_json::json!({ "confidence_interval": { "confidence_level": 0.95, "lower_bound": value, "upper_bound": value },
            "point_estimate": value, "standard_error": 0.0 })
    };
    let estimates = serde_json::json!({ "mean": estimate(ns), "median": estimate(ns), "median_abs_dev": estimate(0.0), "slope": null, "std_dev": estimate(0.0) });
    put(below, &format!("{folder}/benchmark.json"), &id.to_string());
    put(
        below,
        &format!("{folder}/sample.json"),
        &serde_json::json!({ "sampling_mode": "Linear", "iters": calls, "times": times }).to_string(),
    );
    put(below, &format!("{folder}/estimates.json"), &estimates.to_string());
}

/// A project with two benchmarks of ours and one of somebody else's.
fn measured() -> Project {
    let project = Project::new();
    let folder = project.path("criterion");
    for (engine, ns) in [("simd", 50_000.0), ("naive", 4_000_000.0)] {
        benchmark(&folder, ["matmul", &format!("engine={engine},precision=f32,threads=1"), "m=128,n=128,k=128"], ns);
    }
    benchmark(&folder, ["fib", "recursive", "20"], 30_000.0);
    put(&folder, "report/index.html", "<html>");
    project
}

fn records(project: &Project, run: &str) -> Vec<Record> {
    let folder = RunFolder::open(&project.path(run)).unwrap();
    read_records(&folder.journal_path()).unwrap().map(Result::unwrap).collect()
}

fn manifest(project: &Project, run: &str) -> Manifest {
    Manifest::read(&RunFolder::open(&project.path(run)).unwrap().manifest_path()).unwrap()
}

/// As if criterion had written it then.
fn date(sample: &Path, when: SystemTime) {
    fs::File::options().write(true).open(sample).unwrap().set_modified(when).unwrap();
}

/// Imports a run of this machine and some minute in which `fib` takes so many nanoseconds.
fn imported(project: &Project, name: &str, ns: f64, minute: u64) {
    let folder = project.path(name).with_extension("criterion");
    benchmark(&folder, ["fib", "recursive", "20"], ns);
    benchmark(&folder, ["other", "one", "1"], 500_000.0 + ns / 100.0);
    for benchmark in ["fib/recursive/20", "other/one/1"] {
        date(&folder.join(benchmark).join("new/sample.json"), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 60 * minute));
    }
    project.good(&["import", "criterion", &folder.display().to_string(), "--here", "--out", name]);
}

/// The exit code of a gate over runs, what it prints in one line, and its complaint.
fn gate<S: AsRef<str>>(project: &Project, base: &[S], head: &[S], more: &[&str]) -> (Option<i32>, String, String) {
    let (base, head) = (base.iter().map(S::as_ref), head.iter().map(S::as_ref));
    let arguments: Vec<&str> =
        ["gate", "--base-run"].into_iter().chain(base).chain(["--head-run"]).chain(head).chain(more.iter().copied()).collect();
    let output = project.run(&arguments);
    let said = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code(), said, text(&output.stderr))
}

#[test]
fn imported_runs_are_gated() {
    let project = Project::new();
    project.program("crossover-report", ECHO);
    let (bases, heads): (Vec<String>, Vec<String>) = (0..10).map(|at| (format!("base-{at}"), format!("head-{at}"))).unzip();
    for (at, (base, head)) in (0..).zip(bases.iter().zip(&heads)) {
        let noise = 1.0 + 0.001 * at as f64;
        // Base, head, head, base.
        let (base_later, head_later) = (at % 2, 1 - at % 2);
        imported(&project, base, 30_000.0 * noise, 2 * at + base_later);
        imported(&project, head, 33_000.0 / noise, 2 * at + head_later);
    }
    let (code, said, _) = gate(&project, &bases, &heads, &["--markdown", "gate.md"]);
    assert!(
        code == Some(1) && said.contains("regressed criterion/fib on unknown") && said.contains("1 regressed, 1 pass of 2 cells"),
        "{said}"
    );
    assert!(said.contains(" over all cells") && !said.contains("came first"), "{said}");
    assert!(fs::read_to_string(project.path("gate.md")).unwrap().contains("| regressed | criterion/fib on unknown"));
    let (code, said, _) = gate(&project, &heads, &bases, &[]);
    assert!(code == Some(0) && said.contains("1 improved, 1 pass"), "{said}");
    // Of few pairs nothing is certain, and there is no gate to run again; of the same ones twice there is no more evidence.
    let (code, said, _) = gate(&project, &bases[..3], &heads[..3], &[]);
    assert!(code == Some(4) && said.contains("of fewer than 9 pairs no change can be certain"), "{said}");
    assert!(said.contains("take runs of both in the order") && !said.contains("--filter"), "{said}");
    let (_, said, _) = gate(&project, &[&bases[0], &bases[2]], &[&heads[0], &heads[2]], &[]);
    assert!(said.contains("base came first in 2 of 2 pairs"), "{said}");
    // Of runs that nobody gave a machine none is another's for certain, and none the same.
    for (at, name) in ["of-base", "of-head"].into_iter().enumerate() {
        let folder = project.path(&heads[at]).with_extension("criterion").display().to_string();
        project.good(&["import", "criterion", &folder, "--out", name]);
        project.good(&["import", "criterion", &folder, "--out", &format!("{name}-2")]);
    }
    let (code, _, said) = gate(&project, &["of-base", "of-base-2"], &["of-head", "of-head-2"], &[]);
    assert!(code == Some(2) && said.contains("nobody said on which machine") && said.contains("--here"), "{said}");
    for (base, head, wanted) in [
        (&bases[..3], &heads[..2], "3 runs of base and 2 runs of head"),
        (&bases[..1], &heads[..1], "1 pair: 2 to 20 can be judged"),
        (&bases[..2], &bases[1..3], "base-1 is named twice"),
    ] {
        let (code, _, said) = gate(&project, base, head, &[]);
        assert!(code == Some(2) && said.contains(wanted), "{said}");
    }
}

#[test]
fn a_benchmark_that_did_not_run_again_is_no_evidence() {
    let project = Project::new();
    project.program("crossover-report", ECHO);
    benchmark(&project.path("criterion"), ["other", "one", "1"], 500_000.0);
    for (ns, name) in [(30_000.0, "base-1"), (30_001.0, "head-1"), (30_002.0, "head-2"), (30_003.0, "base-2")] {
        benchmark(&project.path("criterion"), ["fib", "recursive", "20"], ns);
        project.good(&["import", "criterion", "criterion", "--here", "--out", name]);
    }
    let (code, said, _) = gate(&project, &["base-1", "base-2"], &["head-1", "head-2"], &[]);
    let wanted = "not-compared criterion/other on unknown: no time in either build: its samples are those of base-1";
    assert!(code == Some(0) && said.contains(wanted) && said.contains("1 pass of 2 cells; not compared: 1"), "{said}");
    // What a damaged line said might have spoken against head.
    let journal = RunFolder::open(&project.path("head-2")).unwrap().journal_path();
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"status\"", "\"statue\"", 1)).unwrap();
    let (code, _, said) = gate(&project, &["base-1", "base-2"], &["head-1", "head-2"], &[]);
    assert!(
        code == Some(2) && said.contains("the journal of head-2 has 1 damaged line") && said.contains("an import is made again"),
        "{said}"
    );
    // Where all cells are there again, nothing is missing.
    fs::write(&journal, text.replacen("\"status\"", "\"statue\"", 1) + &text).unwrap();
    let (code, said, _) = gate(&project, &["base-1", "base-2"], &["head-1", "head-2"], &[]);
    assert!(code == Some(0) && said.contains("1 pass of 2 cells; not compared: 1"), "{said}");
}

#[test]
fn runs_of_two_machines_are_not_gated() {
    let project = Project::new();
    project.program("crossover-report", ECHO);
    for (name, minute) in ["one", "two", "three"].into_iter().zip(0..) {
        imported(&project, name, 30_000.0, minute);
    }
    let folder = project.path("four").with_extension("criterion");
    benchmark(&folder, ["fib", "recursive", "20"], 30_000.0);
    project.good(&["import", "criterion", &folder.display().to_string(), "--out", "four"]);
    let said = project.bad(2, &["gate", "--base-run", "one", "two", "--head-run", "three", "four"]);
    assert!(said.contains("the machine of four is"), "{said}");
}

#[test]
fn benchmarks_of_an_earlier_day_are_told() {
    let project = measured();
    project.program("crossover-report", ECHO);
    let written = |hours: u64| {
        let sample = project.path("criterion/fib/recursive/20/new/sample.json");
        date(&sample, SystemTime::now() - Duration::from_secs(3600 * hours + 60));
        text(&project.run(&["import", "criterion", "criterion", "--out", &format!("run-{hours}")]).stderr)
    };
    let said = written(30);
    assert!(said.contains("1 of the 3 benchmarks") && said.contains("30 hours"), "{said}");
    assert_eq!(written(0), "");
}

#[test]
fn what_lies_too_deep_is_not_passed_over() {
    let project = measured();
    put(&project.path("criterion"), "1/2/3/4/5/6/7/8/9/file", "");
    let said = project.bad(2, &["import", "criterion", "criterion", "--out", "run"]);
    assert!(said.contains("deeper than criterion's folders") && !project.path("run").exists(), "{said}");
}

#[test]
fn benchmarks_become_a_run_of_unchecked_cells() {
    let project = measured();
    project.program("crossover-report", ECHO);
    let said = project.good(&["import", "criterion", "criterion", "--out", "run"]);
    assert_eq!(
        said,
        "3 benchmarks from criterion, 2 of the project's own; their output is unchecked\nkernels|run|\nresults: run\n\
         report:  crossover report run\n"
    );
    let (records, manifest) = (records(&project, "run"), manifest(&project, "run"));
    let variants: Vec<String> = records.iter().map(|record| format!("{} on {}", record.variant, record.engine)).collect();
    assert_eq!(variants, ["criterion/fib on unknown", "kernel/matmul on naive", "kernel/matmul on simd"]);
    for record in &records {
        assert_eq!((record.status, record.build.as_str(), record.machine.as_str()), (Status::Unchecked, "criterion", "unknown"));
        assert!(record.accuracy.is_none() && record.memory.is_none() && !record.baseline);
        assert_eq!(record.samples.len(), 20);
    }
    let speed = records[2].speed.as_ref().unwrap();
    assert_eq!((speed.median_ns, speed.ci_low_ns, speed.ci_high_ns), (50_000, Some(49_500), Some(50_500)));
    assert_eq!(speed.flops, Some(2 * 128 * 128 * 128));
    assert_eq!(manifest.builds[0].worker, "criterion");
    assert_eq!((manifest.machine, manifest.noise, manifest.ceilings, manifest.cells_planned), (Machine::unknown(), None, None, 3));
    assert!(project.path("run/cells.parquet").is_file() && project.path("run/samples.parquet").is_file());
    // There is no plan to go on with.
    let resumed = project.bad(2, &["run", "--resume", "--out", "run"]);
    assert!(resumed.contains("was made by `crossover import`"), "{resumed}");
}

#[test]
fn where_no_folder_is_named_the_run_is_among_the_others() {
    let project = measured();
    project.program("crossover-report", ECHO);
    for _ in 0..2 {
        assert!(project.good(&["import", "criterion", "criterion"]).contains("results: "));
    }
    let runs: Vec<PathBuf> = fs::read_dir(project.path("results/runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run.file_name().unwrap().to_str().unwrap().starts_with("criterion-2")), "{runs:?}");
}

#[test]
fn this_machine_and_its_ceilings_are_known_only_where_somebody_says_so() {
    let project = measured();
    project.program("crossover-report", ECHO);
    let ceilings = |f32_flops: u64| serde_json::json!({ "threads": 1, "isa": "avx2", "f64_flops_per_s": 1, "f32_flops_per_s": f32_flops, "narrow": [], "bandwidth": [] });
    fs::write(project.path("before.json"), ceilings(5).to_string()).unwrap();
    fs::write(project.path("after.json"), format!("[{}]", ceilings(7))).unwrap();
    let import = ["import", "criterion", "criterion", "--out", "run", "--here", "--ceilings", "before.json", "--ceilings", "after.json"];
    project.good(&import);
    let manifest = manifest(&project, "run");
    assert_eq!(manifest.machine.fingerprint, Machine::detect().fingerprint);
    assert_eq!(manifest.ceilings, Some(serde_json::json!([ceilings(7)])));
    assert_eq!(records(&project, "run")[0].machine, Machine::detect().fingerprint);
    // Ceilings of a machine that nobody knows are none.
    let output = project.run(&["import", "criterion", "criterion", "--out", "other", "--ceilings", "before.json"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    fs::write(project.path("before.json"), "{\"fma\": 3}").unwrap();
    let complaint = project.bad(2, &["import", "criterion", "criterion", "--out", "other", "--here", "--ceilings", "before.json"]);
    assert!(complaint.contains("before.json: ") && complaint.contains("crossover probe --json"), "{complaint}");
    let complaint = project.bad(2, &["import", "criterion", "criterion", "--out", "other", "--here", "--ceilings", "none.json"]);
    assert!(complaint.contains("there is no file none.json"), "{complaint}");
    assert!(!project.path("other").exists());
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let project = measured();
    let refused = |folder: &str| {
        let complaint = project.bad(2, &["import", "criterion", folder, "--out", "run"]);
        let left = fs::read_dir(project.folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(left.into_iter().all(|name| !name.contains("run")), "{complaint}");
        complaint
    };
    assert!(refused("nowhere").contains("there is no folder nowhere"));
    assert!(refused("bin").contains("bin has no benchmark of criterion"));
    let sample = project.path("criterion/fib/recursive/20/new/sample.json");
    let whole = fs::read_to_string(&sample).unwrap();
    for (text, complaint) in [
        (&whole[..whole.len() / 2], "EOF while parsing"),
        (r#"{"iters":[0.0],"times":[1.0]}"#, "sample 1 is not of a whole number of calls"),
        (r#"{"iters":[1.0],"times":[-1.0]}"#, "the time of sample 1 is negative"),
        (r#"{"iters":[1.0],"times":[null]}"#, "the time of sample 1 is not a number"),
    ] {
        fs::write(&sample, text).unwrap();
        let said = refused("criterion");
        assert!(said.contains("criterion/fib/recursive/20/new/sample.json: ") && said.contains(complaint), "{said}");
    }
    fs::write(&sample, whole).unwrap();
    fs::create_dir(project.path("taken")).unwrap();
    fs::write(project.path("taken/thesis.tex"), "x").unwrap();
    let complaint = project.bad(2, &["import", "criterion", "criterion", "--out", "taken"]);
    assert!(complaint.contains("thesis.tex"), "{complaint}");
    assert_eq!(fs::read_dir(project.path("taken")).unwrap().count(), 1);
}

#[test]
fn without_the_report_program_the_run_is_there_all_the_same() {
    let project = measured();
    let said = project.good(&["import", "criterion", "criterion", "--out", "run"]);
    assert!(said.contains("table: not there: crossover-report is not beside this program"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert_eq!(records(&project, "run").len(), 3);
}

#[test]
fn an_impossible_share_is_a_finding() {
    let project = measured();
    project.program("crossover-report", "#!/bin/sh\necho 'above'; exit 1\n");
    let output = project.run(&["import", "criterion", "criterion", "--out", "run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("above\nresults: run\n"));
}

/// The report program as built beside this one. Where it was not, or is of a build before these commands, there is nothing to try.
fn report_program(project: &Project) -> bool {
    let built = Path::new(env!("CARGO_BIN_EXE_crossover")).with_file_name("crossover-report");
    if fs::hard_link(&built, project.path("bin/crossover-report")).is_err() {
        return false;
    }
    let help = std::process::Command::new(built).args(["kernels", "--help"]).output();
    help.is_ok_and(|output| output.status.success())
}

#[test]
fn what_was_imported_is_reported_and_compared() {
    let project = measured();
    if !report_program(&project) {
        eprintln!("SKIPPED: crossover-report is not built");
        return;
    }
    let said = project.good(&["import", "criterion", "criterion", "--out", "run"]);
    assert!(said.contains("50.0 µs") && said.contains("kernel/matmul on simd") && said.contains("No share is given"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    project.run(&["report", "run", "--out", "report"]);
    let summary = fs::read_to_string(project.path("report/summary.md")).unwrap();
    assert!(summary.contains("**No cell is ok.**") && summary.contains("unchecked") && summary.contains("nobody checked"), "{summary}");
    let kernels = fs::read_to_string(project.path("report/kernel.md")).unwrap();
    assert!(kernels.contains("(unchecked)") && kernels.contains("matmul"), "{kernels}");
    // The same benchmarks once more.
    project.good(&["import", "criterion", "criterion", "--out", "again"]);
    let compared = project.good(&["compare", "run", "again"]);
    assert!(compared.contains("3 cells in both") && compared.contains("Nobody said on which machine"), "{compared}");
}
