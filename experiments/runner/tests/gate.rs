//! The gate as people call it: repositories with a base that builds or does not, baselines that are damaged, time that is too short. Workers are
//! fake ones; the base is a package that becomes the fake worker, built by cargo in a worktree as the real one is.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{WORKER, said};
use tempfile::TempDir;

const EXPERIMENT: &str = "[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok', 'sleeps']\n";

/// A project in a repository of its own.
struct Repository {
    folder: TempDir,
}

impl Repository {
    /// Whose worker, once built, becomes the fake one with these arguments.
    fn new(arguments: &str) -> Self {
        let repository = Self { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        for name in ["gate", "exact"] {
            repository.write(&format!("experiments/definitions/{name}.toml"), &format!("name = '{name}'\n{EXPERIMENT}"));
        }
        repository.write(".gitignore", "/target/\n");
        repository.write("Cargo.toml", "[package]\nname = 'crossover-worker'\nversion = '0.1.0'\nedition = '2024'\n[workspace]\n");
        repository.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"crossover-worker\"\nversion = \"0.1.0\"\n");
        repository.worker(arguments);
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        repository.commit("a base");
        repository
    }

    fn worker(&self, arguments: &str) {
        let program = "use std::os::unix::process::CommandExt;\nfn main() {\n    let given = std::env::args_os().skip(1);\n    \
                       panic!(\"{}\", std::process::Command::new(PROGRAM).args([ARGUMENTS] as [&str; COUNT]).args(given).exec());\n}\n";
        let count = if arguments.is_empty() { "0" } else { "1" };
        let program = program.replace("PROGRAM", &format!("{WORKER:?}")).replace("ARGUMENTS", arguments).replace("COUNT", count);
        self.write("src/main.rs", &program);
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        fs::create_dir_all(self.path(below).parent().unwrap()).unwrap();
        fs::write(self.path(below), text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]);
        let output = git.args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn gate(&self, arguments: &[&str]) -> Output {
        gate_in(self.folder.path(), arguments)
    }
}

fn gate_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
    command.arg("gate").args(arguments).current_dir(folder).env("CROSSOVER_WORKER", WORKER).stdin(Stdio::null());
    command.output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let all = said(output);
    assert_eq!(output.status.code(), Some(code), "{all}");
    // Lines are broken at 80 columns.
    let flat = all.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{word:?} is missing in {all}");
    }
}

#[test]
fn a_base_is_built_beside_once_and_changes_without_a_commit_are_told() {
    let repository = Repository::new("");
    let base = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["checkout", "--quiet", "-b", "work"]);
    repository.write("README.md", "more");
    repository.commit("work");
    expect(&repository.gate(&[]), 0, &["building crossover-worker of the merge base with main", "pass: 2 pass of 2 cells"]);
    repository.write("README.md", "even more");
    let again = repository.gate(&["--base", "main", "--filter", "engine == \"ok\""]);
    expect(&again, 0, &[&format!("main ({})", &base[..12]), "the working tree has changes that no commit has", "1 pass of 1 cell"]);
    assert!(!said(&again).contains("building"), "{}", said(&again));
    // The worktree is gone, and the user's own tree is as it was.
    assert_eq!(repository.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(repository.git(&["status", "--porcelain"]), "M README.md");
}

#[test]
fn a_base_that_does_not_build_is_shown_with_the_compilers_words() {
    let repository = Repository::new("");
    repository.write("src/main.rs", "fn main() { no_such_function(); }\n");
    repository.commit("broken");
    expect(&repository.gate(&["--base", "HEAD"]), 2, &["the base revision does not build", "no_such_function"]);
    assert_eq!(repository.git(&["worktree", "list"]).lines().count(), 1);
    // A build that failed leaves nothing that is taken for a worker.
    expect(&repository.gate(&["--base", "HEAD"]), 2, &["building crossover-worker of HEAD", "does not build"]);
}

#[test]
fn a_base_that_is_no_worker_of_this_protocol_cannot_be_used() {
    let repository = Repository::new("\"wrong-version\"");
    expect(&repository.gate(&["--base", "main"]), 3, &["the worker of base", "cannot be used", "protocol version 999"]);
    repository.write("src/main.rs", "fn main() { println!(\"Hello\"); }\n");
    repository.commit("no worker at all");
    expect(&repository.gate(&["--base", "main"]), 3, &["the worker of base", "cannot be used"]);
}

#[test]
fn revisions_that_are_not_there_are_told_with_the_way_to_get_them() {
    let repository = Repository::new("");
    expect(&repository.gate(&["--base", "no-such"]), 2, &["there is no revision \"no-such\""]);
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.write("README.md", "more");
    repository.commit("a second");
    let shallow = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("file://{}", repository.folder.path().display());
    repository.git(&["clone", "--quiet", "--depth", "1", &url, shallow.path().to_str().unwrap()]);
    expect(&gate_in(shallow.path(), &["--base", &first]), 2, &["there is no revision", "this clone is shallow", "git fetch --unshallow"]);
    // A branch without an ancestor in common.
    repository.git(&["checkout", "--quiet", "--orphan", "alone"]);
    repository.commit("alone");
    expect(&repository.gate(&[]), 2, &["no merge base", "--base REV"]);
}

#[test]
fn outside_of_a_repository_a_worker_can_be_named() {
    let repository = Repository::new("");
    fs::remove_dir_all(repository.path(".git")).unwrap();
    // The folder may lie below another repository: git must not find that.
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
    command.args(["gate"]).current_dir(repository.folder.path()).env("CROSSOVER_WORKER", WORKER).stdin(Stdio::null());
    let output = command.env("GIT_CEILING_DIRECTORIES", repository.folder.path().parent().unwrap()).output().unwrap();
    expect(&output, 2, &["is in no git repository", "--base-worker FILE"]);
    expect(&repository.gate(&["--base-worker", WORKER, "--filter", "engine == \"ok\""]), 0, &["1 pass of 1 cell"]);
    expect(&repository.gate(&["--base-worker", "nowhere"]), 2, &["nowhere is no file"]);
}

#[test]
fn what_cannot_be_told_is_never_a_pass() {
    let repository = Repository::new("");
    let gate = |arguments: &[&str]| repository.gate(&[&["--base-worker", WORKER], arguments].concat());
    let short = gate(&["--time-budget", "0.001s"]);
    expect(&short, 4, &["the time was spent before it was measured", "inconclusive: 2 inconclusive of 2 cells", "--time-budget"]);
    repository.write("none.toml", "name = 'none'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['unsupported', 'emulated']\n");
    expect(&gate(&["--experiment", "none.toml"]), 2, &["no cell of none in common", "nothing to compare"]);
    expect(&gate(&["--filter", "engine == \"naive\""]), 2, &["naive"]);
    expect(&gate(&["--min-effect", "5"]), 2, &["0.05 for 5 %"]);
    expect(&gate(&["--experiment", "nowhere"]), 2, &["there is no experiment \"nowhere\""]);
    expect(&gate(&["--markdown", "no/such/folder/x.md"]), 3, &["pass: 2 pass of 2 cells", "cannot be written"]);
}

#[test]
fn a_head_that_lost_a_cell_regressed_and_one_that_does_not_start_is_no_verdict() {
    let repository = Repository::new("");
    let head = repository.path("head");
    // With an argument the fake worker has one engine, of that name.
    for (script, code, words) in [
        (
            format!("exec {WORKER:?} sleeps"),
            1,
            ["regressed softmax/stable on ok", "base has a time for it, head does not", "2 regressed of 2 cells"],
        ),
        ("exit 7".to_owned(), 3, ["the worker of head", "cannot be used", "code 7"]),
    ] {
        repository.write("head", &format!("#!/bin/sh\n{script}\n"));
        assert!(Command::new("chmod").arg("755").arg(&head).status().unwrap().success());
        expect(&repository.gate(&["--base-worker", WORKER, "--head-worker", head.to_str().unwrap()]), code, &words);
    }
}

#[test]
fn without_valgrind_nothing_is_counted_and_that_is_no_pass() {
    let repository = Repository::new("");
    let nothing = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let gate = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossover"));
        command.args(["gate", "--instructions", "--base-worker", WORKER]).args(arguments).current_dir(repository.folder.path());
        command.env("CROSSOVER_WORKER", WORKER).env("PATH", nothing.path()).stdin(Stdio::null()).output().unwrap()
    };
    expect(&gate(&[]), 4, &["inconclusive: nothing was counted", "valgrind cannot be started", "install it"]);
    expect(&gate(&["--json"]), 4, &["\"verdict\": \"inconclusive\"", "\"paths\": []"]);
    expect(&gate(&["--exact"]), 2, &["cannot be used with"]);
}

#[test]
fn baselines_that_are_missing_damaged_or_of_another_machine() {
    let repository = Repository::new("");
    let exact = |arguments: &[&str]| repository.gate(&[&["--exact"], arguments].concat());
    expect(&exact(&[]), 2, &["results/baselines/exact.csv cannot be read", "--accept"]);
    expect(&exact(&["--accept", " "]), 2, &["needs a reason"]);
    expect(&exact(&["--accept", "the first"]), 0, &["has 2 cells now"]);
    expect(&exact(&[]), 0, &["pass: 2 cells, 0 worse"]);
    let reasons = fs::read_to_string(repository.path("results/baselines/exact-accepted.csv")).unwrap();
    assert!(reasons.contains("the first"), "{reasons}");
    let baseline = fs::read_to_string(repository.path("results/baselines/exact.csv")).unwrap();
    let with = |text: &str| repository.write("results/baselines/exact.csv", text);
    assert!(baseline.contains(",4096,") && baseline.contains(",none,"), "{baseline}");
    // Fewer bytes than now are a regression here, and told of another instruction set.
    with(&baseline.replace(",4096,", ",4000,"));
    expect(&exact(&[]), 1, &["regressed", "declared bytes grew from 4000 to 4096", "--accept"]);
    with(&baseline.replace(",4096,", ",4000,").replace(",none,", ",neon,"));
    expect(&exact(&[]), 0, &["told", "declared bytes grew from 4000 to 4096", "pass: 2 cells"]);
    // A cell that is gone, and a line that is cut off.
    with(&format!("{baseline}{}", baseline.lines().last().unwrap().replacen(|c: char| c.is_ascii_hexdigit(), "z", 1)));
    expect(&exact(&[]), 1, &["it is gone"]);
    with(&baseline[..baseline.len() - 12]);
    expect(&exact(&[]), 2, &["is damaged", "restore it from the repository"]);
    with("");
    expect(&exact(&[]), 2, &["restore it from the repository"]);
    with(&baseline);
    expect(&exact(&["--filter", "engine == \"nobody\""]), 2, &["nobody"]);
}

#[test]
fn some_cells_are_accepted_and_the_others_stay() {
    let repository = Repository::new("");
    let exact = |arguments: &[&str]| repository.gate(&[&["--exact"], arguments].concat());
    expect(&exact(&["--accept", "the first"]), 0, &["has 2 cells now"]);
    let baseline = repository.path("results/baselines/exact.csv");
    let first = fs::read_to_string(&baseline).unwrap();
    fs::write(&baseline, first.replace(",4096,", ",4000,")).unwrap();
    expect(&exact(&["--accept", "meant", "--filter", "engine == \"ok\""]), 0, &["has 2 cells now"]);
    let half = fs::read_to_string(&baseline).unwrap();
    assert_eq!((half.matches(",4096,").count(), half.matches(",4000,").count()), (1, 1), "{half}");
    expect(&exact(&["--accept", "meant", "--set", "n=3"]), 2, &["leave out --set"]);
}
