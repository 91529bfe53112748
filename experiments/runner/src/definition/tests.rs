//! Good definitions, and every way that a bad one is refused.

use super::*;
use crate::paths::{Experiment, Project};
use crate::series::Wanted;
use crossover_core::axes::AxisValue;
use proptest::prelude::*;
use std::time::Duration;

fn read(text: &str) -> Result<Definition, DefinitionError> {
    parse(Path::new("x.toml"), text)
}

fn complaint(text: &str) -> String {
    match read(text) {
        Ok(_) => panic!("this was taken:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// A good definition with `extra` lines at the end of its sweep's axes.
fn with(extra: &str) -> String {
    format!("name = \"x\"\n[[sweep]]\nvariants = [\"attention/dense\"]\nengines = [\"naive\"]\n[sweep.axes]\nn = [8]\n{extra}")
}

const WHOLE: &str = r#"
name = "whole"
description = "everything at once"
seed = 7
[defaults]
batch = 2
[[sweep]]
variants = ["attention/*", "attention/dense"]
engines = ["*", "numpy"]
baseline = "attention/dense"
[sweep.axes]
precision = ["f64", "f32"]
n = [128, 64]
[[sweep]]
variants = ["norm/layer-norm"]
engines = ["naive"]
axes = { eps = 1e-6, position = "pre" }
[measure]
half_width = 0.05
min_samples = 3
cell_budget_ms = 10
sample_us = 50
step_timeout_s = 5
live_workers = 2
memory_limit_mb = 100
[workers.numpy]
command = ["python3", "w.py"]
env = { A = "b" }
"#;

#[test]
fn everything_is_read_in_the_order_of_the_file() {
    let definition = read(WHOLE).unwrap();
    assert_eq!((definition.name.as_str(), definition.seed), ("whole", 7));
    assert_eq!(definition.defaults[0].points, [[Wanted::Exact(AxisValue::Int(2))]]);
    let sweep = &definition.sweeps[0];
    assert_eq!(sweep.variants.iter().filter(|variant| variant.name == "attention/dense").count(), 1);
    assert!(sweep.variants.len() > 1 && sweep.variants.iter().all(|variant| variant.family() == "attention"));
    assert_eq!(sweep.engines, [EngineChoice::Ours, EngineChoice::Named { name: "numpy".into(), place: "x.toml:9:17".into() }]);
    assert_eq!(sweep.baselines, ["attention/dense"]);
    assert_eq!(sweep.axes.iter().map(|axis| axis.names.join("+")).collect::<Vec<_>>(), ["precision", "n"]);
    assert_eq!(sweep.axes[1].points, [[Wanted::Exact(AxisValue::Int(128))], [Wanted::Exact(AxisValue::Int(64))]]);
    assert_eq!(sweep.axes[1].place, "x.toml:13:1");
    assert_eq!(definition.sweeps[1].axes[0].points, [[Wanted::Exact(AxisValue::Float(1e-6))]]);
    let measure = &definition.measure;
    assert_eq!((measure.half_width, measure.min_samples, measure.live_workers), (0.05, 3, 2));
    assert_eq!((measure.cell_budget, measure.sample_time), (Duration::from_millis(10), Duration::from_micros(50)));
    assert_eq!((measure.step_timeout, measure.memory_limit), (Duration::from_secs(5), Some(100_000_000)));
    let worker = &definition.workers["numpy"];
    assert_eq!((worker.command.join(" "), worker.env["A"].as_str()), ("python3 w.py".to_owned(), "b"));
}

#[test]
fn what_is_left_out_has_its_default() {
    let definition = read(&with("")).unwrap();
    assert_eq!(definition.measure, Measure::default());
    assert_eq!((definition.seed, definition.description.as_str()), (1, ""));
    assert!(definition.defaults.is_empty() && definition.workers.is_empty() && definition.sweeps[0].baselines.is_empty());
}

#[test]
fn an_unknown_key_is_shown_with_the_nearest_one() {
    insta::assert_snapshot!(complaint("name = \"x\"\n[[sweep]]\nvarients = [\"attention/dense\"]\n"), @r#"
    x.toml:3:1: unknown key "varients" in a [[sweep]]
      3 | varients = ["attention/dense"]
        | ^^^^^^^^
      did you mean "variants"? the keys of a [[sweep]] are variants, engines, baseline, baseline_when, match, match_share, base, axes, when, exclude
    "#);
}

#[test]
fn a_missing_key_is_shown_with_an_example() {
    insta::assert_snapshot!(complaint("name = \"x\"\n[[sweep]]\nvariants = [\"attention/dense\"]\n"), @r#"
    x.toml:2:1: a [[sweep]] needs the key "engines"
      2 | [[sweep]]
        | ^^^^^^^^^
      write for example: engines = ["naive"]
    "#);
    assert!(complaint("").contains("needs the key \"name\""));
    assert!(complaint("name = \"x\"").contains("needs the key \"sweep\""));
}

#[test]
fn a_wrong_type_is_shown_with_an_example() {
    insta::assert_snapshot!(complaint("name = \"x\"\nseed = \"one\"\n[[sweep]]\n"), @r#"
    x.toml:2:8: seed must be a whole number, not text
      2 | seed = "one"
        |        ^^^^^
      write for example: seed = 1
    "#);
    for (text, wanted) in [
        ("name = 3", "name must be text in quotes, not a whole number"),
        ("name = \"x\"\nsweep = 1", "sweep must be a list in square brackets, not a whole number"),
        ("name = \"x\"\nsweep = [1]", "sweep must be a table, not a whole number"),
        ("name = \"x\"\n[sweep]\nvariants = []", "write [[sweep]] with double brackets"),
        ("name = \"x\"\ndefaults = 1\n[[sweep]]\nvariants = [\"norm/none\"]\nengines = [\"e\"]", "defaults must be a table"),
        (&with("kv_heads = true"), "not true or false"),
        (&with("kv_heads = 2020-01-01"), "not a date"),
        (&with("kv_heads = [[1]]"), "not a list"),
        (&with("kv_heads = { a = 1 }"), "not a table"),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(wanted), "{complaint}");
    }
}

#[test]
fn broken_toml_is_shown_at_its_place() {
    insta::assert_snapshot!(complaint("name = \"x\"\nseed = \n"), @"
    x.toml:2:8: string values must be quoted, expected literal string
      2 | seed =
        |        ^
      the file is TOML: lines of key = value under [headers], text in double quotes
    ");
    assert!(complaint("name = \"x\"\nname = \"y\"").starts_with("x.toml:2:1: duplicate key"));
    assert!(complaint("name = \"x").starts_with("x.toml:1:"));
    let nested = format!("name = {}", "[".repeat(20_000));
    assert!(complaint(&nested).starts_with("x.toml:1:"));
}

#[test]
fn a_value_that_is_there_twice_is_named() {
    insta::assert_snapshot!(complaint(&with("heads = [4, 8, 4]")), @"
    x.toml:7:16: heads has the value 4 twice
      7 | heads = [4, 8, 4]
        |                ^
      remove one of them
    ");
}

#[test]
fn unknown_names_are_shown_with_the_nearest_one() {
    insta::assert_snapshot!(complaint("name = \"x\"\n[[sweep]]\nvariants = [\"attention/flesh\"]\nengines = [\"naive\"]\n"), @r#"
    x.toml:3:13: unknown variant "attention/flesh"
      3 | variants = ["attention/flesh"]
        |             ^^^^^^^^^^^^^^^^^
      did you mean "attention/flash"? `crossover list variants` prints them all
    "#);
    assert!(
        complaint("name = \"x\"\n[[sweep]]\nvariants = [\"atention/*\"]\nengines = [\"naive\"]\n")
            .contains("did you mean \"attention/*\"?")
    );
    let axis = complaint(&with("head_dm = 8"));
    assert!(axis.contains("unknown axis \"head_dm\"") && axis.contains("did you mean \"head_dim\"?"), "{axis}");
}

#[test]
fn contradictions_are_refused() {
    let sweep = |lines: &str| format!("name = \"x\"\n[[sweep]]\nvariants = [\"attention/dense\"]\nengines = [\"naive\"]\n{lines}");
    for (text, wanted) in [
        (sweep("baseline = \"attention/flash\""), "is not among the variants of its sweep"),
        (sweep("baseline = [\"attention/dense\", \"attention/dense\"]"), "twice"),
        (with("eps = [1e-6]"), "no variant of this sweep has the axis \"eps\""),
        (sweep("[defaults]\neps = 1e-6"), "no variant of any sweep has the axis \"eps\""),
        (sweep("[defaults]\nn = [1, 2]"), "n under [defaults] is a list"),
        (sweep("axes = { n = [] }"), "n is an empty list"),
        ("name = \"x\"\nsweep = []".to_owned(), "sweep is an empty list"),
        ("name = \"x\"\n[[sweep]]\nvariants = []\nengines = [\"naive\"]".to_owned(), "variants is an empty list"),
        ("name = \"x\"\n[[sweep]]\nvariants = [\"norm/none\"]\nengines = []".to_owned(), "engines is an empty list"),
        (
            "name = \"x\"\n[[sweep]]\nvariants = [\"norm/none\", \"norm/none\"]\nengines = [\"e\"]".to_owned(),
            "\"norm/none\" is listed twice",
        ),
        ("name = \"x\"\n[[sweep]]\nvariants = [\"norm/none\"]\nengines = [\"e\", \"e\"]".to_owned(), "the engine \"e\" is listed twice"),
        (sweep("[bases.a]\nbase = \"b\"\n[bases.b]\nd_model = 8"), "no variant takes base = b, which the base \"a\" sets"),
    ] {
        let complaint = complaint(&text);
        assert!(complaint.contains(wanted), "{complaint}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (line, wanted) in [
        ("min_samples = 0", "min_samples must be a whole number from 1 to"),
        ("min_samples = -3", "min_samples must be a whole number from 1 to"),
        ("min_samples = 99999999999999999999999999", "min_samples must be a whole number from 1 to"),
        ("min_samples = 1.5", "not a number with a point"),
        ("half_width = 0.0", "half_width must be a number above 0"),
        ("half_width = nan", "half_width must be a number above 0"),
        ("half_width = -inf", "half_width must be a number above 0"),
        ("half_width = 2", "at most 1"),
        ("cell_budget_ms = 0", "cell_budget_ms"),
        ("live_workers = 0", "live_workers"),
        ("step_timeout_s = 1000000", "step_timeout_s"),
        ("memory_limit_mb = 0", "memory_limit_mb"),
    ] {
        let complaint = complaint(&with(&format!("[measure]\n{line}")));
        assert!(complaint.starts_with("x.toml:8:") && complaint.contains(wanted), "{complaint}");
    }
    for (line, wanted) in [
        ("kv_heads = nan", "must be a finite number"),
        ("kv_heads = [1.0, inf]", "must be a finite number"),
        ("kv_heads = 9223372036854775808", "too large"),
        ("kv_heads = \"\"", "a name has 1 to 64 characters"),
        ("kv_heads = \"a\\u0007\"", "a name has 1 to 64 characters"),
    ] {
        let complaint = complaint(&with(line));
        assert!(complaint.starts_with("x.toml:7:") && complaint.contains(wanted), "{complaint}");
    }
    assert!(complaint("name = \"x\"\nseed = -1").contains("seed must be a whole number from 0 to"));
}

#[test]
fn names_that_could_leave_their_folder_are_refused() {
    for name in ["../x", "a/b", "a\\\\b", "..", ".", "", "a b", "a\\u0000", "a\\n", "ä", &"a".repeat(65)] {
        let complaint = complaint(&format!("name = \"{name}\"\n{}", with("").split_once('\n').unwrap().1));
        assert!(complaint.contains("use 1 to 64 letters, digits, '-' and '_'"), "{complaint}");
    }
    let worker = complaint(&with("[workers.\"../x\"]\ncommand = [\"a\"]"));
    assert!(worker.contains("an engine's name holds a character"), "{worker}");
    assert!(read(&format!("name = \"{}\"\n{}", "a".repeat(64), with("").split_once('\n').unwrap().1)).is_ok());
}

#[test]
fn workers_that_cannot_be_started_are_refused() {
    for (lines, wanted) in [
        ("command = []", "command is an empty list"),
        ("command = [\"\"]", "the command is empty"),
        ("command = [\"a\\u0000\"]", "zero character"),
        ("command = \"a b\"", "must be a list in square brackets"),
        ("command = [\"a\"]\nenv = { \"A=B\" = \"c\" }", "no name of an environment variable"),
        ("command = [\"a\"]\nenv = { A = 1 }", "must be text in quotes"),
        ("env = {}", "needs the key \"command\""),
    ] {
        let complaint = complaint(&with(&format!("[workers.peer]\n{lines}")));
        assert!(complaint.contains(wanted), "{complaint}");
    }
}

#[test]
fn files_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    let complaint = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        load(&file).unwrap_err().to_string()
    };
    assert!(complaint(b"name = \"x\"\n# \xff").contains("is not UTF-8 text (line 2, byte 13"));
    assert!(complaint(&vec![b'#'; (4 << 20) + 1]).contains("is larger than 4 MiB"));
    assert!(load(folder.path()).unwrap_err().to_string().contains("is a folder"));
    assert!(load(&folder.path().join("none.toml")).unwrap_err().to_string().contains("cannot be opened"));
}

#[test]
fn an_endless_line_is_not_quoted_whole() {
    let complaint = complaint(&format!("name = \"{}\"", "ä".repeat(100_000)));
    assert!(complaint.len() < 1_000, "{}", complaint.len());
}

#[test]
fn the_experiments_of_the_project_are_good() {
    let mut names = Vec::new();
    for Experiment { name, file } in Project::find().unwrap().experiments().unwrap() {
        let definition = load(&file).unwrap_or_else(|error| panic!("{error}"));
        // A name is a folder of runs, so that one of a folder has no slash.
        assert_eq!(name.replace('/', "-"), definition.name);
        assert!(!definition.description.is_empty());
        names.push(definition.name);
    }
    for name in ["quick", "smoke", "standard", "full"] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_cut_and_no_swap_makes_the_reader_panic(from in 0..WHOLE.len(), length in 0..60usize, with in "[\\[\\]{}=\",.a-z0-9\u{e4}\n-]{0,6}") {
        let to = (from + length).min(WHOLE.len());
        let text = format!("{}{with}{}", &WHOLE[..from], &WHOLE[to..]);
        if let Err(error) = read(&text) {
            prop_assert!(error.to_string().starts_with("x.toml:"), "{error}");
        }
    }
}

/// A sweep with these lines about equal cost.
fn matching(lines: &str) -> String {
    format!("name = \"x\"\n[[sweep]]\nvariants = [\"linear/dense\", \"linear/low-rank\"]\nengines = [\"naive\"]\n{lines}")
}

#[test]
fn equal_cost_is_read_with_its_share() {
    let matched = |lines: &str| read(&matching(lines)).unwrap().sweeps.remove(0).matching;
    let whole = matched("baseline = \"linear/dense\"\nmatch = \"flops\"").unwrap();
    assert_eq!((whole.mode.name(), whole.share, whole.place.as_str()), ("flops", 1.0, "x.toml:6:9"));
    let part = matched("baseline = \"linear/dense\"\nmatch = \"parameters\"\nmatch_share = 0.25").unwrap();
    assert_eq!((part.mode.name(), part.share), ("parameters", 0.25));
    assert_eq!((matched("match = \"none\""), matched("")), (None, None));
}

#[test]
fn equal_cost_that_cannot_be_is_refused() {
    insta::assert_snapshot!(complaint(&matching("match = \"flop\"\nbaseline = \"linear/dense\"")), @r#"
    x.toml:5:9: unknown match "flop"
      5 | match = "flop"
        |         ^^^^^^
      write "parameters", "flops" or "none"
    "#);
    insta::assert_snapshot!(complaint(&matching("match = \"flops\"")), @r#"
    x.toml:5:9: match needs a baseline in its sweep, whose cost the others are to have
      5 | match = "flops"
        |         ^^^^^^^
      add for example: baseline = "attention/dense"
    "#);
    for share in ["0", "-0.5", "1.5", "nan", "\"half\""] {
        let text = complaint(&matching(&format!("baseline = \"linear/dense\"\nmatch = \"flops\"\nmatch_share = {share}")));
        assert!(text.starts_with("x.toml:7:15: match_share must be a number"), "{text}");
    }
    let alone = complaint(&matching("match_share = 0.5"));
    assert!(alone.starts_with("x.toml:5:15: match_share says how much"), "{alone}");
}
