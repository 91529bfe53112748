//! Two runs with known differences, through the program.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crossover_core::axes::AxisValue;
use crossover_results::RunFolder;
use crossover_results::schema::{Record, Status};
use serde_json::Value;
use support::{beside, failed, manifest, measured, run_of, twenty_cells};

fn program(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crossover-report")).arg("compare").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn good(arguments: &[&Path]) -> String {
    let output = program(arguments);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    text(&output.stdout)
}

fn bad(code: i32, arguments: &[&Path]) -> String {
    let output = program(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty() && said.starts_with("error: ") && !said.contains("panicked"), "{said}");
    said
}

fn json(arguments: &[&Path]) -> Value {
    serde_json::from_str(&good(&[arguments, &[Path::new("--format"), Path::new("json")]].concat())).unwrap()
}

struct Two {
    folder: tempfile::TempDir,
}

impl Two {
    fn of(a: &[Record], b: &[Record]) -> Self {
        let two = Self { folder: tempfile::tempdir().unwrap() };
        run_of(&two.path("a"), a);
        run_of(&two.path("b"), b);
        two
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn json(&self) -> Value {
        json(&[&self.path("a"), &self.path("b")])
    }

    fn text(&self) -> String {
        good(&[&self.path("a"), &self.path("b")])
    }
}

/// The same cells after everything that can change has changed somewhere.
fn changed() -> Vec<Record> {
    let mut cells = twenty_cells();
    let of = |cells: &[Record], id: &str| cells.iter().position(|cell| cell.id == id).unwrap();
    // Flash on naive at n = 128 takes half the time, its baseline as long as before.
    let flash = of(&cells, "g1-naive-flash");
    let speed = cells[flash].speed.as_mut().unwrap();
    (speed.median_ns, speed.ci_low_ns, speed.ci_high_ns) =
        (speed.median_ns / 2, speed.ci_low_ns.map(|ns| ns / 2), speed.ci_high_ns.map(|ns| ns / 2));
    // On simd at n = 128 both take twice the time.
    let (dense, flash) = (of(&cells, "g1-simd-dense"), of(&cells, "g1-simd-flash"));
    for cell in [dense, flash] {
        let speed = cells[cell].speed.as_mut().unwrap();
        (speed.median_ns, speed.ci_low_ns, speed.ci_high_ns) =
            (speed.median_ns * 2, speed.ci_low_ns.map(|ns| ns * 2), speed.ci_high_ns.map(|ns| ns * 2));
    }
    cells[flash].beside = beside(&cells[dense]);
    let exact = of(&cells, "g2-naive-flash");
    let accuracy = cells[exact].accuracy.as_mut().unwrap();
    accuracy.err_impl = accuracy.err_impl.map(|error| f64::from_bits(error.to_bits() + 1));
    cells[exact].memory.as_mut().unwrap().scratch_bytes += 1024;
    let support = of(&cells, "g3-naive-flash");
    cells[support].support = Some("composed".into());
    let status = of(&cells, "g3-simd-flash");
    cells[status].status = Status::Emulated;
    cells[status].support = Some("emulated".into());
    cells[status].reason = Some("no kernel: computed in f32".into());
    cells.retain(|cell| cell.id != "crash");
    cells.push(measured("new", "g1", "attention/window", 128, 1, 1000));
    cells
}

#[test]
fn every_kind_of_change_is_found() {
    let found = Two::of(&twenty_cells(), &changed()).json();
    let of = |id: &str| found["cells"].as_array().unwrap().iter().find(|cell| cell["id"] == id).unwrap_or(&Value::Null);
    let verdict = |id: &str| (of(id)["verdict"].as_str().unwrap(), of(id)["ratio"].as_f64().unwrap());
    assert_eq!(verdict("g1-naive-flash"), ("faster", 0.5));
    assert!((of("g1-naive-flash")["beside"]["ratio"].as_f64().unwrap() - 0.5).abs() < 1e-12);
    // The baseline took twice as long, too: nothing is claimed of the cell, and of the baseline what its own time says.
    assert_eq!(verdict("g1-simd-flash"), ("apart", 2.0));
    assert_eq!(of("g1-simd-flash")["beside"]["ratio"], 1.0);
    assert_eq!(verdict("g1-simd-dense"), ("slower", 2.0));
    assert_eq!(of("g1-simd-dense")["beside"], Value::Null);
    assert_eq!(found["verdicts"], serde_json::json!({ "faster": 1, "slower": 1, "apart": 1, "noise": 0, "not-shown": 12 }));
    assert_eq!((&found["compared"], &found["noise_floor"]), (&15.into(), &0.013.into()));

    let only = |list: &str| {
        let entries = found[list].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{list}: {entries:?}");
        entries[0].clone()
    };
    assert_eq!((only("status")["before"].clone(), only("status")["after"].clone()), ("ok".into(), "emulated".into()));
    let support: Vec<_> = found["support"].as_array().unwrap().iter().map(|cell| (&cell["before"], &cell["after"])).collect();
    assert_eq!(support, [(&"native".into(), &"composed".into()), (&"native".into(), &"emulated".into())]);
    assert_eq!(only("errors")["id"], "g2-naive-flash");
    assert_eq!(
        only("bytes")["after"]["scratch_bytes"].as_u64().unwrap() - only("bytes")["before"]["scratch_bytes"].as_u64().unwrap(),
        1024
    );
    assert_eq!((&only("vanished")["id"], &only("appeared")["id"]), (&"crash".into(), &"new".into()));
}

#[test]
fn means_have_counts_and_intervals() {
    let found = Two::of(&twenty_cells(), &changed()).json();
    let means = found["means"].as_array().unwrap();
    let of = |engine: Value| means.iter().find(|mean| mean["engine"] == engine).unwrap();
    // Nine cells on naive, of which one took half the time.
    let naive = &of("naive".into())["ratio"];
    assert_eq!((&naive["cells"], &naive["problems"]), (&9.into(), &4.into()));
    let log = -2f64.ln() / 9.0;
    assert!((naive["mean"].as_f64().unwrap().ln() - log).abs() < 1e-12);
    // By problem, the deviations from the mean add up to -7, 2, 3 and 2 ninths of ln 2: squares of 66/81, times 4/3, the root over nine cells,
    // and 3.182 of these by Student.
    let half = 3.182_446 * (66.0f64 / 81.0 * 4.0 / 3.0).sqrt() / 9.0 * 2f64.ln();
    let high = naive["interval"][1].as_f64().unwrap().ln();
    assert!((high - (log + half)).abs() < 1e-6, "{high}");
    assert_eq!(of(Value::Null)["ratio"]["cells"], 15);
}

#[test]
fn a_run_compared_with_its_copy_shows_nothing() {
    let two = Two::of(&twenty_cells(), &twenty_cells());
    let found = two.json();
    assert_eq!(found["verdicts"]["not-shown"], 16);
    for list in ["status", "support", "errors", "bytes", "vanished", "appeared"] {
        assert_eq!(found[list], serde_json::json!([]), "{list}");
    }
    let text = two.text();
    assert!(text.contains("0 faster, 0 slower, 0 apart, 0 noise, 16 not shown"), "{text}");
}

#[test]
fn the_text_fits_eighty_columns_and_is_not_coloured() {
    let text = Two::of(&twenty_cells(), &changed()).text();
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\x1b'), "{text}");
    insta::assert_snapshot!(text, @"
      A is a: attention-quick, started 2023-11-14 22:13 UTC, 20 cells, build build1
      B is b: attention-quick, started 2023-11-14 22:13 UTC, 20 cells, build build1
      Machine: Example CPU, 2 of 4 cores, 16.0 GiB (machine1)
    The runs were never interleaved, so whatever drifted between them is in every
    ratio of times. A decision needs both builds side by side in one run.
      Noise floor: 1.30 % in A, 1.30 % in B; verdicts go by the larger one
      Both runs are of the same build: what differs in times is the machine or a
        fresh process, and not the program; faster and slower then say how far two
        processes of one program lie apart

    Times, B over A
    15 cells in both: 1 faster, 1 slower, 1 apart, 0 noise, 12 not shown. Below 1, B
    is faster. Faster and slower are claimed together with an error of 5 % at most
    (Holm), as far as samples of one process tell; apart: the baseline beside it
    changed as much; noise: nearer to 1 than the noise floor. The intervals are
    those of one ratio each.
    ratio  95 % interval   beside  verdict    cell
     2.00  [1.97, 2.03]         –  slower     attention/dense on simd: n=128,
                                                threads=1
    0.500  [0.493, 0.507]   0.500  faster     attention/flash on naive: n=128,
                                                threads=1
     2.00  [1.97, 2.03]      1.00  apart      attention/flash on simd: n=128,
                                                threads=1
     1.00  [0.986, 1.01]        –  not shown  attention/dense on naive: n=128,
                                                threads=1
     1.00  [0.986, 1.01]        –  not shown  attention/dense on naive: n=512,
                                                threads=1
     1.00  [0.986, 1.01]        –  not shown  attention/dense on simd: n=512,
                                                threads=1
     1.00  [0.986, 1.01]     1.00  not shown  attention/flash on naive: n=512,
                                                threads=1
     1.00  [0.986, 1.01]     1.00  not shown  attention/flash on simd: n=512,
                                                threads=1
     1.00  [0.986, 1.01]        –  not shown  attention/dense on naive: n=128,
                                                threads=2
     1.00  [0.986, 1.01]        –  not shown  attention/dense on simd: n=128,
                                                threads=2
    And 5 more: --limit 15 shows all.
    9 cells without a figure beside: baselines, and cells whose records do not name
    the same baseline (older layouts name none).

    Geometric means of the ratios
    Over the cells that are ok in both. The interval (Student's t over the
    logarithms, cells of one problem taken together) is about the spread of the
    cells; drift between the runs is not in it.
     mean  95 % interval  cells  beside  cells  of
    0.926  [0.717, 1.20]      9   0.841      4  attention on naive
     1.26  [0.649, 2.45]      6    1.00      2  attention on simd
     1.05  [0.907, 1.21]     15   0.891      6  all

    Statuses that changed: 1 cell
    A   B         cell
    ok  emulated  attention/flash on simd: n=128, threads=2 (no kernel: computed in
                    f32)

    Support by the engine that changed: 2 cells
    A       B         cell
    native  composed  attention/flash on naive: n=128, threads=2
    native  emulated  attention/flash on simd: n=128, threads=2 (no kernel: computed
                        in f32)

    Accuracy
    Of 18 cells with errors in both, 17 have the same err_impl and err_method to the
    last bit, 1 have not.
    err_impl: A        B  err_method: A        B  cell
        1.25e-7  1.25e-7        2.50e-7  2.50e-7  attention/flash on naive: n=512,
                                                    threads=1

    Declared bytes
    Of 17 cells with declared bytes in both, 16 have the same, 1 have not.
          A        B  changed  cell
    132 KiB  133 KiB  scratch  attention/flash on naive: n=512, threads=1

    Only in A (vanished): 1 cell
      attention/window on naive: n=512, threads=2 (crashed)

    Only in B (appeared): 1 cell
      attention/window on naive: n=128, threads=1 (ok)
    ");
}

#[test]
fn markdown_goes_to_a_file() {
    let two = Two::of(&twenty_cells(), &changed());
    let file = two.path("difference.md");
    let words = ["--format", "md", "--limit", "2", "--out"].map(Path::new);
    let output = program(&[&[two.path("a").as_path(), &two.path("b")], &words[..], &[&file]].concat());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()));
    assert!(text(&output.stderr).starts_with("written: "));
    insta::assert_snapshot!(fs::read_to_string(file).unwrap(), @r"
    # Crossover comparison

    * A is a: attention-quick, started 2023-11-14 22:13 UTC, 20 cells, build build1
    * B is b: attention-quick, started 2023-11-14 22:13 UTC, 20 cells, build build1
    * Machine: Example CPU, 2 of 4 cores, 16.0 GiB (machine1)

    The runs were never interleaved, so whatever drifted between them is in every ratio of times. A decision needs both builds side by side in one run.

    * Noise floor: 1.30 % in A, 1.30 % in B; verdicts go by the larger one
    * Both runs are of the same build: what differs in times is the machine or a fresh process, and not the program; faster and slower then say how far two processes of one program lie apart

    ## Times, B over A

    15 cells in both: 1 faster, 1 slower, 1 apart, 0 noise, 12 not shown. Below 1, B is faster. Faster and slower are claimed together with an error of 5 % at most (Holm), as far as samples of one process tell; apart: the baseline beside it changed as much; noise: nearer to 1 than the noise floor. The intervals are those of one ratio each.

    | ratio | 95 % interval    |                 beside | verdict | cell                                       |
    | ----: | ---------------- | ---------------------: | ------- | ------------------------------------------ |
    |  2.00 | \[1.97, 2.03\]   |                      – | slower  | attention/dense on simd: n=128, threads=1  |
    | 0.500 | \[0.493, 0.507\] | 0.500 \[0.490, 0.510\] | faster  | attention/flash on naive: n=128, threads=1 |

    And 13 more: --limit 15 shows all.

    9 cells without a figure beside: baselines, and cells whose records do not name the same baseline (older layouts name none).

    ## Geometric means of the ratios

    Over the cells that are ok in both. The interval (Student's t over the logarithms, cells of one problem taken together) is about the spread of the cells; drift between the runs is not in it.

    |  mean | 95 % interval   | cells |                beside | cells | of                 |
    | ----: | --------------- | ----: | --------------------: | ----: | ------------------ |
    | 0.926 | \[0.717, 1.20\] |     9 | 0.841 \[0.484, 1.46\] |     4 | attention on naive |
    |  1.26 | \[0.649, 2.45\] |     6 |   1.00 \[1.00, 1.00\] |     2 | attention on simd  |
    |  1.05 | \[0.907, 1.21\] |    15 | 0.891 \[0.639, 1.24\] |     6 | all                |

    ## Statuses that changed: 1 cell

    | A   | B        | cell                                                                   |
    | --- | -------- | ---------------------------------------------------------------------- |
    | ok  | emulated | attention/flash on simd: n=128, threads=2 (no kernel: computed in f32) |

    ## Support by the engine that changed: 2 cells

    | A      | B        | cell                                                                   |
    | ------ | -------- | ---------------------------------------------------------------------- |
    | native | composed | attention/flash on naive: n=128, threads=2                             |
    | native | emulated | attention/flash on simd: n=128, threads=2 (no kernel: computed in f32) |

    ## Accuracy

    Of 18 cells with errors in both, 17 have the same err_impl and err_method to the last bit, 1 have not.

    | err_impl: A |       B | err_method: A |       B | cell                                       |
    | ----------: | ------: | ------------: | ------: | ------------------------------------------ |
    |     1.25e-7 | 1.25e-7 |       2.50e-7 | 2.50e-7 | attention/flash on naive: n=512, threads=1 |

    ## Declared bytes

    Of 17 cells with declared bytes in both, 16 have the same, 1 have not.

    |       A |       B | changed | cell                                       |
    | ------: | ------: | ------- | ------------------------------------------ |
    | 132 KiB | 133 KiB | scratch | attention/flash on naive: n=512, threads=1 |

    ## Only in A (vanished): 1 cell

    * attention/window on naive: n=512, threads=2 (crashed)

    ## Only in B (appeared): 1 cell

    * attention/window on naive: n=128, threads=1 (ok)
    ");
}

#[test]
fn runs_of_two_machines_are_refused_unless_somebody_insists() {
    let mut other = twenty_cells();
    other.iter_mut().for_each(|cell| cell.machine = "machine2".into());
    let two = Two::of(&twenty_cells(), &other);
    let mut second = manifest();
    second.machine.fingerprint = "machine2".into();
    second.write(&RunFolder::open(&two.path("b")).unwrap().manifest_path()).unwrap();
    let said = bad(2, &[&two.path("a"), &two.path("b")]);
    assert!(said.contains("machine1") && said.contains("machine2") && said.contains("--across-machines"), "{said}");
    let insisted = [two.path("a"), two.path("b"), "--across-machines".into()];
    let insisted: Vec<&Path> = insisted.iter().map(|path| path.as_path()).collect();
    assert_eq!(json(&insisted)["across_machines"], true);
    for format in ["text", "md"] {
        let text = good(&[&insisted[..], &["--format", format].map(Path::new)].concat());
        assert!(text.contains("Across machines: every ratio"), "{text}");
    }
}

#[test]
fn nothing_in_common_and_nothing_at_all_are_told() {
    let apart = Two::of(&twenty_cells(), &[measured("other", "g", "attention/flash", 128, 1, 1000)]);
    let text = apart.text();
    assert!(
        text.contains("no cell in common that is ok") && text.contains("(vanished): 20 cells") && text.contains("(appeared): 1 cell"),
        "{text}"
    );
    let empty = Two::of(&[], &twenty_cells());
    assert_eq!((&empty.json()["compared"], &empty.json()["means"]), (&0.into(), &serde_json::json!([])));
    assert!(empty.text().contains("A is a: attention-quick, started 2023-11-14 22:13 UTC, 0 cells"));
}

#[test]
fn a_missing_noise_floor_is_told() {
    let two = Two::of(&twenty_cells(), &twenty_cells());
    for run in ["a", "b"] {
        let mut quiet = manifest();
        quiet.noise = None;
        quiet.write(&RunFolder::open(&two.path(run)).unwrap().manifest_path()).unwrap();
    }
    let json = two.json();
    assert_eq!((&json["noise_floor"], &json["a"]["noise_floor"]), (&0.05.into(), &Value::Null));
    // However its lines are broken.
    let text = two.text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Noise floor: not measured, 5.00 % taken for it in A, not measured"), "{text}");
}

#[test]
fn hostile_names_come_out_harmless() {
    let hostile = |id: &str| {
        let mut cell = measured(id, "g", "attention/<script>alert(1)</script>|\u{202e}\x1b[31m", 128, 1, 1000);
        cell.engine = format!("=cmd()\n{}", "x".repeat(300));
        cell.axes.insert("note`\"".into(), AxisValue::from(format!("'{id}|\r\n# h").as_str()));
        cell
    };
    let mut crashed = failed("c", "g", "attention/x", 128, 1, "crashed", "<img src=x>\u{1b}[2J");
    let before = [hostile("a"), hostile("b"), measured("c", "g", "attention/x", 128, 1, 1000)];
    crashed.engine = "naive".into();
    let two = Two::of(&before, &[hostile("a"), hostile("b"), crashed]);
    let text = two.text();
    assert!(!text.contains(['\x1b', '\u{202e}', '\r']) && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let words = ["--format", "md"].map(Path::new);
    let markdown = good(&[&[two.path("a").as_path(), &two.path("b")], &words[..]].concat());
    assert!(!markdown.contains("<script>") && !markdown.contains("<img") && !markdown.contains(['\x1b', '\u{202e}']), "{markdown}");
    let tables = support::tables(&markdown);
    assert!(tables.iter().all(|table| table.rows.iter().all(|row| row.len() == table.columns)), "{markdown}");
    assert_eq!(two.json()["compared"], 2);
}

#[test]
fn what_is_no_run_is_bad_input() {
    let two = Two::of(&twenty_cells(), &twenty_cells());
    assert!(bad(2, &[&two.path("a"), &two.path("none")]).contains("there is no run in"));
    assert!(bad(2, &[&two.path("a"), &two.path("a")]).contains("named twice"));
    assert!(bad(2, &[&two.path("a")]).contains("Usage: crossover compare"));
    let out = two.path("nowhere/deep/file");
    assert!(bad(3, &[&two.path("a"), &two.path("b"), Path::new("--out"), &out]).contains("nowhere"));
}

#[test]
fn what_was_imported_is_compared_with_what_was_imported() {
    let unchecked = |cell: Record| Record { status: Status::Unchecked, reason: Some("imported".into()), accuracy: None, ..cell };
    let times = |median: u64| measured("a", "g", "kernel/gelu", 64, 1, median);
    let two = Two::of(&[unchecked(times(1000))], &[unchecked(times(2000))]);
    let json = two.json();
    assert_eq!((&json["compared"], &json["cells"][0]["ratio"], &json["cells"][0]["verdict"]), (&1.into(), &2.0.into(), &"slower".into()));
    // Against a time that was checked, an unchecked one is none; but that it changed is told.
    let json = Two::of(&[times(1000)], &[unchecked(times(2000))]).json();
    assert_eq!((&json["compared"], &json["status_changed"]), (&0.into(), &1.into()));
}

#[test]
fn an_unknown_machine_is_said_to_be_unknown() {
    let two = Two::of(&[], &[]);
    let cells = [measured("a", "g", "kernel/gelu", 64, 1, 1000)].map(|cell| Record { machine: "unknown".into(), ..cell });
    for name in ["c", "d"] {
        run_of(&two.path(name), &cells);
        let manifest = crossover_results::Manifest { machine: crossover_results::Machine::unknown(), ..manifest() };
        manifest.write(&RunFolder::open(&two.path(name)).unwrap().manifest_path()).unwrap();
    }
    let text = good(&[&two.path("c"), &two.path("d")]);
    assert!(text.contains("Nobody said on which machine"), "{text}");
    assert!(text.contains("? of ? cores"), "{text}");
}
