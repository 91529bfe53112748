//! How a run ends at the terminal: what the report program has to say of it, or why it says nothing.

mod project;

use std::fs;
use std::process::Output;

use project::{Project, text};

const DEFINITION: &str = "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok']\n[sweep.axes]\nn = [1, 2]\n\
    [measure]\ncell_budget_ms = 5\n";

/// Runs two cells with a worker that measures, beside the report program that the test has put there.
fn run(project: &Project, out: &str) -> Output {
    fs::write(project.path("experiments/definitions/tiny.toml"), DEFINITION).unwrap();
    let mut command = project.command(&["run", "tiny", "--out", out]);
    command.env("CROSSOVER_WORKER", env!("CARGO_BIN_EXE_crossover-fake-worker")).output().unwrap()
}

fn last_lines(output: &Output, count: usize) -> Vec<String> {
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

#[test]
fn a_run_ends_with_what_the_report_program_says() {
    let project = Project::new();
    project.program("crossover-report", "#!/bin/sh\nprintf '%s|' \"$@\"; echo\n");
    let output = run(&project, "first");
    assert_eq!(last_lines(&output, 3), ["summary|first|", "results: first", "report:  crossover report first"]);
}

#[test]
fn without_a_summary_a_run_is_as_good_and_says_why() {
    let project = Project::new();
    let missing = text(&run(&project, "first").stdout);
    assert!(missing.contains("\nsummary: not there: crossover-report is not beside this program: build it with"), "{missing}");
    assert!(missing.lines().all(|line| line.chars().count() <= 80), "{missing}");
    project.program("crossover-report", "#!/bin/sh\necho; echo 'error: \x1b[31mno tables' >&2; echo more >&2; exit 3\n");
    let failed = run(&project, "second");
    let said = last_lines(&failed, 3);
    assert_eq!(said, ["summary: not there: error: \\u{1b}[31mno tables", "results: second", "report:  crossover report second"]);
    assert!(!text(&failed.stderr).contains("no tables"));
    project.program("crossover-report", "#!/bin/sh\nkill -9 $$\n");
    assert!(last_lines(&run(&project, "third"), 3)[0].contains("signal: 9"));
}
