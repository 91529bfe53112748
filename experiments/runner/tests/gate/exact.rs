//! The exact gate: baselines that are missing, damaged or of another machine, and what is accepted into them.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Repository, command_in, expect};
use crate::common::{WORKER, patience, signal};

#[test]
fn baselines_that_are_missing_damaged_or_of_another_machine() {
    let repository = Repository::new("");
    let exact = |arguments: &[&str]| repository.gate(&[&["--exact"], arguments].concat());
    expect(&exact(&[]), 2, &["results/baselines/exact.csv cannot be read", "--accept"]);
    expect(&exact(&["--accept", " "]), 2, &["needs a reason"]);
    expect(&repository.gate(&["--accept", "the first"]), 0, &["has 2 rows now, 2 of them new"]);
    expect(&exact(&[]), 0, &["pass: 2 cells, 0 worse"]);
    let reasons = fs::read_to_string(repository.path("results/baselines/exact-accepted.csv")).unwrap();
    assert!(reasons.contains("the first"), "{reasons}");
    let baseline = fs::read_to_string(repository.path("results/baselines/exact.csv")).unwrap();
    let with = |text: &str| repository.write("results/baselines/exact.csv", text);
    assert!(baseline.contains(",4096,") && baseline.contains(",none,"), "{baseline}");
    // Fewer bytes than now are a regression here, and told of another instruction set.
    with(&baseline.replace(",4096,", ",4000,"));
    let files = ["--json", "exact.json", "--markdown", "exact.md", "--junit", "exact.xml"];
    expect(&exact(&files), 1, &["regressed", "declared bytes grew from 4000 to 4096", "--accept"]);
    for (file, words) in [
        ("exact.json", "\"verdict\": \"regressed\""),
        ("exact.md", "### Exact gate: regressed\n"),
        ("exact.md", "declared bytes grew from 4000 to 4096 |"),
        ("exact.xml", "tests=\"2\" failures=\"2\" skipped=\"0\""),
    ] {
        let text = fs::read_to_string(repository.path(file)).unwrap();
        assert!(text.contains(words), "{text}");
    }
    // Another machine's is no pass, though nothing speaks against these cells; what does not depend on the instruction set gates.
    let elsewhere = baseline.replace(",4096,", ",4000,").replace(",none,", ",neon,");
    with(&elsewhere);
    let words = [
        "told",
        "grew from 4000 to 4096, beside neon",
        "inconclusive: 2 cells",
        "0 of 2 cells with a row",
        "1 of 1 cell on ok have no row of its instruction set here; 1 of 1 cell on sleeps",
        "--accept",
    ];
    expect(&exact(&[]), 2, &words);
    expect(&exact(&["--json"]), 2, &["\"verdict\": \"inconclusive\"", "\"with_row\": 0", "\"none\""]);
    with(&elsewhere.replace(",1000\n", ",999\n"));
    expect(&exact(&[]), 1, &["operations grew from 999 to 1000, beside neon", "regressed: 2 cells, 2 worse"]);
    // Rows of this machine are put beside those of the other, and count from then on.
    expect(&exact(&["--accept", "rows of this machine"]), 0, &["has 4 rows now, 2 of them new"]);
    let both = fs::read_to_string(repository.path("results/baselines/exact.csv")).unwrap();
    assert_eq!([",neon,", ",none,", ",999\n"].map(|text| both.matches(text).count()), [2, 2, 0], "{both}");
    expect(&exact(&[]), 0, &["pass: 2 cells, 0 worse", "2 of 2 cells with a row"]);
    // Lines that were lost or doubled at their ends, a cell that is gone, and a line that is cut off.
    let mut lines: Vec<&str> = both.lines().collect();
    let renamed = lines[1].replacen(|c: char| c.is_ascii_hexdigit(), "z", 1);
    with(&(lines[..4].join("\n") + "\n"));
    expect(&exact(&[]), 2, &["is damaged: it has 3 rows, and 4 when it was accepted last", "restore it from the repository"]);
    // Where two branches changed it, it is accepted anew.
    let reasons = repository.path("results/baselines/exact-accepted.csv");
    let accepted = fs::read_to_string(&reasons).unwrap();
    expect(&exact(&["--accept", "after a merge", "--filter", "engine == \"ok\""]), 0, &["has 3 rows now"]);
    expect(&exact(&["--filter", "engine == \"ok\""]), 0, &["pass: 1 cell"]);
    fs::write(&reasons, accepted).unwrap();
    lines[1] = &renamed;
    with(&(lines.join("\n") + "\n"));
    expect(&exact(&[]), 1, &["it is gone"]);
    with(&both.replace(",native,", ",nativ,"));
    expect(&exact(&[]), 2, &["is damaged: softmax/stable on ok", "there is no support \"nativ\""]);
    with(&both[..both.len() - 12]);
    expect(&exact(&[]), 2, &["is damaged", "restore it from the repository"]);
    with("");
    expect(&exact(&[]), 2, &["restore it from the repository"]);
    with(&both);
    expect(&exact(&["--filter", "engine == \"nobody\""]), 2, &["nobody"]);
}

#[test]
fn some_cells_are_accepted_and_the_others_stay() {
    let repository = Repository::new("");
    let exact = |arguments: &[&str]| repository.gate(&[&["--exact"], arguments].concat());
    expect(&exact(&["--accept", "the first"]), 0, &["has 2 rows now, 2 of them new"]);
    let baseline = repository.path("results/baselines/exact.csv");
    let first = fs::read_to_string(&baseline).unwrap();
    fs::write(&baseline, first.replace(",4096,", ",4000,")).unwrap();
    expect(&exact(&["--accept", "meant", "--filter", "engine == \"ok\""]), 0, &["has 2 rows now, 1 of them new"]);
    let half = fs::read_to_string(&baseline).unwrap();
    assert_eq!((half.matches(",4096,").count(), half.matches(",4000,").count()), (1, 1), "{half}");
    expect(&exact(&["--accept", "meant", "--set", "n=3"]), 2, &["leave out --set and --threads"]);
    expect(&exact(&["--accept", "meant", "--threads", "2"]), 2, &["leave out --set and --threads"]);
    // A part of the cells leaves the others where they are, and does not miss them.
    let of_part = |accept: &[&str]| exact(&[&["--shard", "1/2"], accept].concat());
    expect(&of_part(&["--accept", "a part"]), 0, &["has 2 rows now"]);
    expect(&exact(&["--filter", "engine == \"ok\""]), 0, &["pass: 1 cell, 0 worse"]);
    // With other values nothing was compared.
    expect(&exact(&["--set", "n=3"]), 2, &["it is new", "inconclusive: 2 cells", "has none of the 2 cells that were asked for"]);
}

#[test]
fn a_new_cell_must_be_right() {
    let repository = Repository::new("");
    expect(&repository.gate(&["--exact", "--accept", "the first"]), 0, &["has 2 rows now"]);
    let with = |engine: &str| {
        let sweep = format!("[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok', 'sleeps', '{engine}']\n");
        repository.write("experiments/definitions/exact.toml", &format!("name = 'exact'\n{sweep}"));
        repository.gate(&["--exact"])
    };
    expect(&with("emulated"), 0, &["told", "it is new"]);
    expect(&with("wrong-numbers"), 1, &["it is new, and wrong: out[0] is 1, expected 2"]);
    expect(&with("segv"), 1, &["it is new, and failed", "SIGSEGV"]);
}

#[test]
fn a_build_must_pass_the_conformance_suite_whatever_its_cells_show() {
    let repository = Repository::new("");
    expect(&repository.gate(&["--exact", "--accept", "the first"]), 0, &["has 2 rows now"]);
    expect(&repository.gate(&["--exact"]), 0, &["conformance suite, failures: ok (0 of 3 cases), sleeps (0 of 3 cases)"]);
    expect(&repository.gate(&["--exact", "--json"]), 0, &["\"conformance\": [", "\"engine\": \"sleeps\"", "\"cases\": 3"]);
    let with = |engine: &str, more: &[&str]| {
        let sweep = format!("[[sweep]]\nvariants = ['softmax/stable']\nengines = ['ok', 'sleeps', '{engine}']\n");
        repository.write("experiments/definitions/exact.toml", &format!("name = 'exact'\n{sweep}"));
        repository.gate(&[&["--exact"], more].concat())
    };
    let words = ["the conformance suite on wrong-numbers", "softmax (softmax) at f32, case 0 with extents up to 129: out[0] is 1"];
    expect(&with("wrong-numbers", &["--json"]), 1, &words);
    expect(&with("wrong-numbers", &["--accept", "why not"]), 2, &["the conformance suite finds wrong: wrong-numbers: softmax"]);
    expect(&with("segv", &["--json"]), 1, &["the conformance suite on segv", "it did not come to its end: it was ended by signal 6"]);
    // A suite of refusals has no failures: a new one is a regression, until somebody says that it is meant.
    expect(
        &with("unsupported", &["--json"]),
        1,
        &["the conformance suite on unsupported", "softmax at f32 is refused now, in 3 of 3 cases"],
    );
    expect(&with("unsupported", &["--accept", "it has none"]), 0, &[]);
    expect(&with("unsupported", &[]), 0, &["pass: 3 cells"]);
    // A worker of an earlier version has no suite: that is no pass.
    let old = repository
        .script("old", &format!("[ \"$1\" = conformance ] && {{ echo \"unrecognized subcommand\" >&2; exit 2; }}\nexec {WORKER:?} \"$@\""));
    expect(&repository.gate(&["--exact", "--head-worker", &old]), 2, &["cannot run the conformance suite on", "unrecognized subcommand"]);
}

#[test]
fn ctrl_c_in_the_conformance_suite_stops_the_gate_and_the_suite() {
    use rustix::process::Signal;

    let repository = Repository::new("");
    expect(&repository.gate(&["--exact", "--accept", "the first"]), 0, &["has 2 rows now"]);
    let started = repository.path("started");
    let script = format!("[ \"$1\" = conformance ] && {{ echo $$ > {started:?}; exec sleep 60; }}\nexec {WORKER:?} \"$@\"");
    let worker = repository.script("sleeps", &script);
    let mut command = command_in(repository.folder.path(), &["--exact", "--head-worker", &worker]);
    let gate = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let suite = loop {
        let pid = fs::read_to_string(&started).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
        if let Some(pid) = pid {
            break pid;
        }
        assert!(began.elapsed() < Duration::from_secs(20) * patience(), "the suite does not begin");
        std::thread::sleep(Duration::from_millis(20));
    };
    let pressed = Instant::now();
    signal(&gate, Signal::INT);
    let output = gate.wait_with_output().unwrap();
    assert!(pressed.elapsed() < Duration::from_secs(2) * patience(), "{:?}", pressed.elapsed());
    expect(&output, 130, &[]);
    assert!(!Path::new(&format!("/proc/{suite}")).exists(), "the suite is still there");
}
