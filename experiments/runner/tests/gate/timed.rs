//! The timed gate, and what all gates have in common.

use std::fs;
use std::process::{Command, Stdio};

use super::common::{WORKER, said};
use super::{Repository, command_in, expect, gate_in, unread};

#[test]
fn both_commits_are_built_once_and_in_one_way() {
    let repository = Repository::new("");
    let base = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["checkout", "--quiet", "-b", "work"]);
    repository.write("README.md", "more");
    let head = repository.commit("work");
    let words = ["building crossover-worker of the merge base with main", "building crossover-worker of HEAD", "pass: 2 pass of 2 cells"];
    expect(&repository.gate(&[]), 0, &words);
    assert!(repository.built(&base) == repository.built(&head), "equal sources become equal programs");
    let again = repository.gate(&["--base", "main", "--filter", "engine == \"ok\""]);
    expect(&again, 0, &[&format!("HEAD ({}) against main ({})", &head[..12], &base[..12]), "1 pass of 1 cell"]);
    assert!(!said(&again).contains("building"), "{}", said(&again));
    // HEAD's worker of then is the base of now.
    repository.worker("\"sleeps\"");
    repository.commit("slower");
    let later = repository.gate(&["--base", "HEAD~1", "--filter", "engine == \"ok\""]);
    expect(&later, 1, &["building crossover-worker of HEAD (", "regressed softmax/stable on ok"]);
    assert!(!said(&later).contains("of HEAD~1"), "{}", said(&later));
    // The user's own tree is as it was.
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    assert_eq!(repository.git(&["branch", "--show-current"]), "work");
}

#[test]
fn what_head_is_must_be_plain() {
    let repository = Repository::new("");
    expect(&repository.gate(&["--base", "main"]), 2, &["is HEAD itself: there is nothing to compare", "--base HEAD~1"]);
    repository.write("src/main.rs", "fn main() {}\n");
    expect(&repository.gate(&["--base", "main"]), 2, &["changes that no commit has (src/main.rs)", "commit them", "--head-worker FILE"]);
    // A worker that is named may have them.
    let named = repository.gate(&["--base", "HEAD", "--head-worker", WORKER, "--filter", "engine == \"ok\""]);
    expect(&named, 0, &["building crossover-worker of HEAD", "1 pass of 1 cell"]);
    expect(&repository.gate(&["--head-worker", "nowhere"]), 2, &["--head-worker nowhere is no file"]);
}

#[test]
fn one_gate_at_a_time_builds() {
    let repository = Repository::new("");
    repository.write("target/gate/lock", "7\n");
    let lock = fs::File::open(repository.path("target/gate/lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let gate = || repository.gate(&["--base", "HEAD", "--head-worker", WORKER, "--filter", "engine == \"ok\""]);
    expect(&gate(), 3, &["another gate (process 7) builds in", "when that one is done"]);
    drop(lock);
    expect(&gate(), 0, &["1 pass of 1 cell"]);
}

#[test]
fn a_folder_that_is_no_worktree_is_made_anew_and_the_users_tree_is_left_alone() {
    let repository = Repository::new("");
    let first = repository.git(&["rev-parse", "HEAD"]);
    repository.write("README.md", "more");
    repository.commit("more");
    // As a cache brings it back, without git's own part.
    repository.write("target/gate/tree/README.md", "old");
    expect(&repository.gate(&["--base", &first]), 0, &["pass: 2 pass of 2 cells"]);
    fs::remove_dir_all(repository.path("target")).unwrap();
    expect(&repository.gate(&["--base", &first]), 0, &["pass: 2 pass of 2 cells"]);
    assert_eq!((repository.git(&["status", "--porcelain"]), repository.git(&["branch", "--show-current"])), (String::new(), "main".into()));
}

#[test]
fn a_revision_that_does_not_build_is_shown_with_the_compilers_words() {
    let repository = Repository::new("");
    let good = fs::read_to_string(repository.path("src/main.rs")).unwrap();
    repository.write("src/main.rs", "fn main() { no_such_function(); }\n");
    repository.commit("broken");
    expect(&repository.gate(&["--base", "HEAD~1"]), 2, &["HEAD (", "does not build", "no_such_function"]);
    repository.write("src/main.rs", &good);
    repository.commit("mended");
    expect(&repository.gate(&["--base", "HEAD~1"]), 2, &["HEAD~1 (", "does not build", "no_such_function"]);
    // A build that failed leaves nothing that is taken for a worker.
    expect(&repository.gate(&["--base", "HEAD~1"]), 2, &["building crossover-worker of HEAD~1", "does not build"]);
    // What cargo cannot fetch says nothing of the revision.
    let lock = "\n[[package]]\nname = \"not-there\"\nversion = \"1.0.0\"\n\
                source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"";
    let own = "[[package]]\nname = \"crossover-worker\"\nversion = \"0.1.0\"\ndependencies = [\n \"not-there\",\n]\n";
    repository.write("Cargo.lock", &format!("version = 4\n\n{own}{lock}{}\"\n", "0".repeat(64)));
    let manifest = fs::read_to_string(repository.path("Cargo.toml")).unwrap();
    repository.write("Cargo.toml", &format!("{manifest}[dependencies]\nnot-there = '1'\n"));
    repository.commit("a dependency");
    let mut offline = command_in(repository.folder.path(), &["--base", "HEAD~1"]);
    expect(&offline.env("CARGO_NET_OFFLINE", "true").output().unwrap(), 3, &["for no fault of the revision", "not-there"]);
}

#[test]
fn a_base_that_is_no_worker_of_this_protocol_cannot_be_used() {
    let repository = Repository::new("\"wrong-version\"");
    repository.git(&["checkout", "--quiet", "-b", "work"]);
    repository.worker("");
    repository.commit("a worker");
    expect(&repository.gate(&["--base", "main"]), 3, &["the worker of base", "cannot be used", "protocol version 999"]);
    repository.write("src/main.rs", "fn main() { println!(\"Hello\"); }\n");
    repository.commit("no worker at all");
    expect(&repository.gate(&["--base", "HEAD~1"]), 3, &["the worker of head", "cannot be used"]);
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
    let none = "--time-budget 2s is too short for any verdict: 2 cells take 4 s at least, 1.6 s each";
    expect(&gate(&["--time-budget", "2s"]), 2, &[none, "--filter"]);
    // Of what is too short for one cell the builds need not be waited for.
    expect(&repository.gate(&["--base", "HEAD", "--time-budget", "0.001s"]), 2, &["for any verdict: a cell takes 1.6 s at least"]);
    let slow = repository.script("slow", &format!("sleep 4; exec {WORKER:?} \"$@\""));
    let spent = ["the time was spent before it was measured", "inconclusive: ", "after 1 of 10 pairs of the screening", "--time-budget"];
    expect(&repository.gate(&["--base-worker", &slow, "--time-budget", "3.25s"]), 4, &spent);
    repository.write("none.toml", "name = 'none'\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['unsupported', 'emulated']\n");
    expect(&gate(&["--experiment", "none.toml"]), 2, &["no cell of none in common", "nothing to compare", "this engine cannot do that"]);
    expect(&gate(&["--filter", "engine == \"naive\""]), 2, &["naive"]);
    expect(&gate(&["--min-effect", "5"]), 2, &["0.05 for 5 %"]);
    expect(&gate(&["--experiment", "nowhere"]), 2, &["there is no experiment \"nowhere\""]);
    expect(&gate(&["--markdown", "no/such/folder/x.md"]), 3, &["pass: 2 pass of 2 cells", "cannot be written"]);
}

#[test]
fn a_head_that_lost_a_cell_regressed_and_one_that_does_not_start_is_no_verdict() {
    let repository = Repository::new("");
    let gate = |script: &str| repository.gate(&["--base-worker", WORKER, "--head-worker", &repository.script("head", script)]);
    // With an argument the fake worker has one engine, of that name.
    let lost = ["regressed softmax/stable on ok", "base has a time for it, head does not", "2 regressed of 2 cells"];
    expect(&gate(&format!("exec {WORKER:?} sleeps")), 1, &lost);
    expect(&gate("exit 7"), 3, &["the worker of head", "cannot be used", "code 7"]);
}

#[test]
fn a_crash_of_one_process_is_no_pass_where_it_is_heads_and_three_are_a_regression() {
    let repository = Repository::new("");
    // The first process says who it is; later ones crash while there are lines in `left`.
    let flaky = format!("[ -e greeted ] || {{ touch greeted; exec {WORKER:?}; }}\n[ -s left ] || exec {WORKER:?}\nsed -i 1d left\nexit 7");
    let worker = repository.script("flaky", &flaky);
    let gate = |side: &str, other: &str, crashes: usize| {
        let _ = fs::remove_file(repository.path("greeted"));
        repository.write("left", &"x\n".repeat(crashes));
        repository.gate(&[side, &worker, other, WORKER, "--filter", "engine == \"ok\""])
    };
    let words = ["head fails where base does not, in 2 of ", "code 7", "1 inconclusive of 1 cell"];
    expect(&gate("--head-worker", "--base-worker", 2), 4, &words);
    let words = ["note: softmax/stable on ok", "2 pairs failed, in whose place fresh ones were taken", "1 pass of 1 cell"];
    expect(&gate("--base-worker", "--head-worker", 2), 0, &words);
    expect(&gate("--head-worker", "--base-worker", 99), 1, &["head fails where base does not, in 3 of 3 pairs", "code 7"]);
    expect(&gate("--base-worker", "--head-worker", 99), 4, &["base fails where head does not", "compare with a base that works"]);
}

#[test]
fn an_answer_may_take_as_long_as_the_experiment_says() {
    let repository = Repository::new("");
    repository
        .write("slow.toml", "name = 'slow'\n[measure]\nstep_timeout_s = 1\n[[sweep]]\nvariants = ['softmax/stable']\nengines = ['hang']\n");
    let gate = repository.gate(&["--base-worker", WORKER, "--experiment", "slow.toml"]);
    expect(&gate, 4, &["3 of 3 pairs failed", "no answer within 1 s", "1 inconclusive of 1 cell"]);
}

#[test]
fn engines_of_other_programs_are_left_out_and_counted() {
    let repository = Repository::new("");
    let experiment = |engines: &str| {
        let sweep = format!("[[sweep]]\nvariants = ['softmax/stable']\nengines = [{engines}]\n");
        repository.write("peers.toml", &format!("name = 'peers'\n[workers.other]\ncommand = ['nowhere']\n{sweep}"));
        repository.gate(&["--base-worker", WORKER, "--experiment", "peers.toml", "--junit", "gate.xml"])
    };
    let words = ["not-compared softmax/stable on other", "is another program", "pass: 1 pass of 2 cells; not compared: 1"];
    expect(&experiment("'ok', 'other'"), 0, &words);
    assert!(fs::read_to_string(repository.path("gate.xml")).unwrap().contains("tests=\"2\" failures=\"0\" skipped=\"1\""));
    expect(&experiment("'other'"), 2, &["nothing to compare", "is another program"]);
}

#[test]
fn a_reader_that_has_gone_takes_nothing_from_the_verdict() {
    let repository = Repository::new("");
    let head = repository.script("head", &format!("exec {WORKER:?} sleeps"));
    let lost = [
        "--base-worker",
        WORKER,
        "--head-worker",
        &head,
        "--markdown",
        "gate.md",
        "--junit",
        "gate.xml",
        "--json",
        "gate.json",
        "--seed",
        "5",
    ];
    let output = unread(command_in(repository.folder.path(), &lost));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(fs::read_to_string(repository.path("gate.md")).unwrap().contains("### Gate: regressed"));
    assert!(repository.path("gate.xml").exists());
    let json = fs::read_to_string(repository.path("gate.json")).unwrap();
    assert!(json.contains("\"verdict\": \"regressed\"") && json.contains("\"seed\": 5") && json.ends_with("}\n"), "{json}");
    expect(&repository.gate(&["--exact", "--accept", "the first"]), 0, &[]);
    let baseline = repository.path("results/baselines/exact.csv");
    fs::write(&baseline, fs::read_to_string(&baseline).unwrap().replace(",4096,", ",4000,")).unwrap();
    for more in [&["--exact"][..], &["--exact", "--json"]] {
        assert_eq!(unread(command_in(repository.folder.path(), more)).status.code(), Some(1));
    }
    let mut uncounted = command_in(repository.folder.path(), &["--instructions", "--base-worker", WORKER]);
    uncounted.env("PATH", repository.folder.path());
    assert_eq!(unread(uncounted).status.code(), Some(4));
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
    expect(&gate(&["--junit", "counts.xml", "--markdown", "counts.md"]), 4, &["nothing was counted"]);
    assert!(fs::read_to_string(repository.path("counts.xml")).unwrap().contains("tests=\"1\" failures=\"0\" skipped=\"1\""));
    assert!(fs::read_to_string(repository.path("counts.md")).unwrap().starts_with("### Instructions: inconclusive\n"));
    expect(&gate(&["--exact"]), 2, &["cannot be used with"]);
}
