//! `crossover record` in a project that is a git repository: the command, a real run of a fake worker, and what is left in the file.

mod project;

use std::fs;
use std::process::Command;

use project::{Project, text};

const DEFINITION: &str = "name = 'tiny'\n[[sweep]]\nvariants = ['softmax/stable', 'softmax/online']\nengines = ['ok']\n\
    baseline = 'softmax/stable'\n[sweep.axes]\nn = [1, 2]\n[measure]\ncell_budget_ms = 5\n";
const HISTORY: &str = "results/history.csv";

fn git(project: &Project, arguments: &[&str]) -> String {
    git_at(project, None, arguments)
}

/// At another time than now, if one is given.
fn git_at(project: &Project, date: Option<&str>, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.envs(date.map(|date| ("GIT_COMMITTER_DATE", date)));
    git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]).args(arguments);
    let output = git.current_dir(project.folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// A repository with one commit, and a run that was made after it.
fn recorded() -> (Project, String) {
    let project = Project::new();
    fs::write(project.path("experiments/definitions/tiny.toml"), DEFINITION).unwrap();
    fs::create_dir_all(project.path("results/runs")).unwrap();
    fs::write(project.path(".gitignore"), "/bin/\n/results/runs/\n/*.csv\n").unwrap();
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "-m", "first"]);
    run(&project, "results/runs/one");
    let commit = git(&project, &["rev-parse", "HEAD"]);
    (project, commit)
}

fn run(project: &Project, out: &str) {
    let mut command = project.command(&["run", "tiny", "--out", out]);
    let output = command.env("CROSSOVER_WORKER", env!("CARGO_BIN_EXE_crossover-fake-worker")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

fn history(project: &Project) -> String {
    fs::read_to_string(project.path(HISTORY)).unwrap()
}

#[test]
fn a_run_is_recorded_under_its_commit_and_only_once() {
    let (project, commit) = recorded();
    let said = project.good(&["record", "results/runs/one"]);
    assert!(said.contains(&format!(" of commit {}\n", &commit[..12])) && said.contains(HISTORY), "{said}");
    assert!(said.ends_with("trend:   crossover trend\n"), "{said}");
    let first = history(&project);
    let lines: Vec<&str> = first.lines().collect();
    assert!(lines[0].starts_with("commit,commit_unix_s,machine,") && lines.len() > 2, "{first}");
    assert!(lines[1..].iter().all(|line| line.starts_with(&commit[..12]) && line.split(',').count() >= 17), "{first}");
    // Each of the two variants that is no baseline has its time over that of the baseline beside it.
    let ratios = lines.iter().filter(|line| line.contains(",softmax/online,") && line.contains(",time-ratio,")).count();
    assert_eq!(ratios, 2, "{first}");
    let again = project.good(&["record", "results/runs/one"]);
    assert!(again.starts_with("the run is recorded already, from line 2 of ") && again.ends_with(": nothing was added\n"), "{again}");
    assert_eq!(history(&project), first);
    // The history itself is no change that a build could have; another run is added behind.
    run(&project, "results/runs/two");
    project.good(&["record", "results/runs/two"]);
    let both = history(&project);
    assert!(both.starts_with(&first) && both.lines().count() == 2 * lines.len() - 1, "{both}");
}

#[test]
fn a_commit_that_may_not_be_the_runs_is_asked_for() {
    let (project, commit) = recorded();
    let definition = project.path("experiments/definitions/tiny.toml");
    fs::write(&definition, format!("{DEFINITION}# changed\n")).unwrap();
    let refused = project.bad(2, &["record", "results/runs/one"]);
    assert!(refused.contains("1 changed file") && refused.contains("experiments/definitions/tiny.toml"), "{refused}");
    assert!(refused.contains("by --commit REV") && !project.path(HISTORY).exists(), "{refused}");
    fs::write(&definition, DEFINITION).unwrap();
    // A commit of a time after the run's.
    git_at(&project, Some("2090-01-01T00:00:00Z"), &["commit", "--quiet", "--allow-empty", "-m", "later"]);
    let refused = project.bad(2, &["record", "results/runs/one"]);
    assert!(refused.contains("was started before HEAD's commit was made") && !project.path(HISTORY).exists(), "{refused}");
    // By its name the earlier one is as good as ever; to file the same run under both is refused.
    project.good(&["record", "results/runs/one", "--commit", &commit]);
    let refused = project.bad(2, &["record", "results/runs/one", "--commit", "HEAD"]);
    assert!(refused.contains(&format!("as one of commit {}", &commit[..12])), "{refused}");
}

#[test]
fn bad_input_is_named_and_the_history_stays_as_it_is() {
    let (project, _) = recorded();
    assert!(project.bad(2, &["record", "results/runs/none"]).contains("there is no run in results/runs/none"));
    assert!(project.bad(2, &["record", "results/runs/one", "--commit", "nowhere"]).contains("there is no revision \"nowhere\""));
    assert!(!project.path(HISTORY).exists());
    project.good(&["record", "results/runs/one"]);
    let damaged = history(&project).replacen("softmax/online,ok", "softmax/online", 1);
    fs::write(project.path(HISTORY), &damaged).unwrap();
    run(&project, "results/runs/two");
    let refused = project.bad(2, &["record", "results/runs/two"]);
    assert!(refused.contains("results/history.csv:2: it has 16 fields where 17 belong; nothing was changed"), "{refused}");
    assert_eq!(history(&project), damaged);
    fs::remove_file(project.path("results/runs/one/journal.txt")).unwrap();
    assert!(project.bad(2, &["record", "results/runs/one", "--history", "other.csv"]).contains("has no journal"));
}
