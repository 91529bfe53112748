//! The commands that hand their work to another program: `cell`, `report`, `apply`, `probe` and `doctor`.

mod project;

use std::fs;
use std::path::Path;

use project::{Project, text, worker};

#[test]
fn a_cell_becomes_the_worker() {
    let project = Project::new();
    let words = project.good(&["cell", "variant=softmax/stable", "engine=naive", "n=3", "--profile"]);
    let words: Vec<&str> = words.split('|').collect();
    assert_eq!((words[0], words[2]), ("cell", "--profile"));
    let cell: serde_json::Value = serde_json::from_str(words[1]).unwrap();
    assert_eq!((&cell["variant"], &cell["axes"]["n"], &cell["axes"]["threads"]), (&"softmax/stable".into(), &3.into(), &1.into()));
    let planned: serde_json::Value = serde_json::from_str(&project.good(&["plan", "tiny", "--set", "n=3", "--json"])).unwrap();
    assert_eq!(cell["id"], planned["plan"][0]["id"]);
}

#[test]
fn reports_comparisons_and_advice_become_the_report_program() {
    let project = Project::new();
    project.program("crossover-report", "#!/bin/sh\nprintf '%s|' \"$@\"\n");
    let root = project.folder.path().display();
    let told = project.good(&["report", "a", "b", "--out", "c", "--format", "md,csv"]);
    assert_eq!(told, format!("report|--project|{root}|a|b|--out|c|--format|md,csv|"));
    assert_eq!(project.good(&["trend", "--json"]), format!("trend|--project|{root}|--json|"));
    assert_eq!(project.good(&["compare", "a", "b", "--limit=3"]), "compare|a|b|--limit=3|");
    let told = project.good(&["advise", "--seq", "64"]);
    assert_eq!(told, format!("advise|--project|{root}|--seq|64|"));
    // It has the help for them, too; this one knows that much without it.
    assert_eq!(project.good(&["compare", "--help"]), "compare|--help|");
    assert!(project.good(&["help", "compare"]).contains("crossover compare --help"));
    project.program("crossover-report", "#!/bin/sh\necho 'error: no' >&2; exit 2\n");
    assert_eq!(project.bad(2, &["compare", "a", "b"]), "error: no\n");
}

fn apply(project: &Project) -> Vec<&'static str> {
    fs::write(project.path("in.safetensors"), "x").unwrap();
    vec!["apply", "--variant", "softmax/stable", "--engine", "naive", "--input", "in.safetensors", "--output", "out.safetensors"]
}

#[test]
fn apply_says_what_it_wrote() {
    let project = Project::new();
    project.program("crossover-worker", &worker(r#"printf '%s' "$line" > asked; echo '{"type":"applied","support":"native","reason":null,"axes":{"distribution":"gaussian","n":3},"nonfinite":0,"values":9}'"#));
    let mut arguments = apply(&project);
    assert_eq!(project.good(&arguments), "wrote out.safetensors: out of softmax/stable on naive\n  with n=3\n");
    let asked = || serde_json::from_str::<serde_json::Value>(&fs::read_to_string(project.path("asked")).unwrap()).unwrap();
    assert_eq!(asked()["cell"]["axes"], serde_json::json!({}));
    assert!(Path::new(asked()["input"].as_str().unwrap()).is_absolute());
    arguments.extend(["--precision", "bf16"]);
    project.good(&arguments);
    assert_eq!(asked()["cell"]["axes"], serde_json::json!({ "precision": "bf16" }));
}

#[test]
fn an_output_that_is_not_finite_is_a_finding() {
    let project = Project::new();
    let answer = r#"{"type":"applied","support":"emulated","reason":"computed in f32","axes":{},"nonfinite":4,"values":9}"#;
    project.program("crossover-worker", &worker(&format!("echo '{answer}'")));
    let output = project.run(&apply(&project));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("4 of 9 output values are NaN or infinite") && said.contains("emulates this precision: computed in f32"),
        "{said}"
    );
}

#[test]
fn apply_tells_refusals_from_failures() {
    let project = Project::new();
    let arguments = apply(&project);
    for (kind, code) in [("bad-request", 2), ("unsupported", 2), ("out-of-memory", 3), ("internal", 3)] {
        project
            .program("crossover-worker", &worker(&format!(r#"echo '{{"type":"failed","kind":"{kind}","message":"because of {kind}"}}'"#)));
        assert_eq!(project.bad(code, &arguments), format!("error: because of {kind}\n"));
    }
    project.program("crossover-worker", &worker("echo 'the last words' >&2; exit 7"));
    let crash = project.bad(3, &arguments);
    assert!(crash.contains("exited with code 7") && crash.contains("\n    the last words\n"), "{crash}");
}

#[test]
fn apply_never_writes_over_its_input_nor_into_nowhere() {
    let project = Project::new();
    let mut arguments = apply(&project);
    *arguments.last_mut().unwrap() = "./in.safetensors";
    assert!(project.bad(2, &arguments).contains("is the input file itself"));
    *arguments.last_mut().unwrap() = "nowhere/out.safetensors";
    assert!(project.bad(2, &arguments).contains("there is no folder"));
    *arguments.last_mut().unwrap() = "out.safetensors";
    arguments[4] = "nave";
    assert!(project.bad(2, &arguments).contains("unknown engine \"nave\"\n  the engines are naive"));
}

#[test]
fn a_probe_is_printed_and_is_json_on_request() {
    let project = Project::new();
    let probed = r#"{"type":"probed","threads":1,"isa":"avx2","f64_flops_per_s":2000000000,"f32_flops_per_s":4000000000,"bandwidth":[]}"#;
    project.program("crossover-worker", &worker(&format!("echo '{probed}'")));
    assert!(project.good(&["probe", "--threads", "1"]).contains("f64        2.0 GFLOP/s"));
    let json: serde_json::Value = serde_json::from_str(&project.good(&["probe", "--threads", "1", "--json"])).unwrap();
    assert_eq!(json["f32_flops_per_s"], 4_000_000_000u64);
}

#[test]
fn the_doctor_is_content_only_with_everything_in_place() {
    let project = Project::new();
    let ill = project.run(&["doctor"]);
    assert_eq!(ill.status.code(), Some(3));
    assert!(text(&ill.stdout).contains("PROBLEM reports"), "{}", text(&ill.stdout));
    project.program("crossover-report", "#!/bin/sh\n");
    let well = project.run(&["doctor"]);
    let said = text(&well.stdout);
    assert!(said.contains("ok      worker") && said.contains("fake 7 with naive"), "{said}");
    // This worker knows nothing but hello: the doctor asks every engine for more.
    assert!(said.contains("note    engine") && said.contains("naive cannot run") && said.contains("the status crashed"), "{said}");
    // A test machine may really be short of memory or disk; then that is what must be said.
    let short = said.contains("PROBLEM memory") || said.contains("PROBLEM disk");
    assert_eq!(well.status.code(), Some(if short { 3 } else { 0 }), "{said}");
    project.program("crossover-worker", "#!/bin/sh\necho nonsense\n");
    let mute = project.run(&["doctor"]);
    assert_eq!(mute.status.code(), Some(3));
    assert!(text(&mute.stdout).contains("PROBLEM worker"), "{}", text(&mute.stdout));
}
