//! Ours beside another program's engine: the document, the table, the section of the summary, the page, and a README that gets it.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use crossover_core::axes::AxisValue;
use crossover_reports::{Format, run_command, write_report};
use crossover_results::schema::{Record, Status};
use crossover_results::{Build, Manifest};
use support::{beside, csv_rows, failed, manifest, measured, run_of};

/// A cell of an engine in a precision; what an engine that is not ours has comes from its own worker.
fn cell(engine: &str, variant: &str, (n, precision): (i64, &str), median: u64) -> Record {
    let group = format!("{n}-{precision}");
    let record = measured(&format!("{engine}-{variant}-{group}"), &group, &format!("attention/{variant}"), n, 1, median);
    of(record, engine, precision)
}

fn of(mut record: Record, engine: &str, precision: &str) -> Record {
    record.axes.insert("precision".to_owned(), AxisValue::from(precision));
    record.baseline = record.variant == "attention/dense";
    let build = if ["torch", "openvino"].contains(&engine) { format!("build-{engine}") } else { "build1".to_owned() };
    Record { engine: engine.to_owned(), build, ..record }
}

/// Two lengths in f32, one in bf16 that torch emulates, and an engine that cannot.
fn cells() -> Vec<Record> {
    let mut cells = Vec::new();
    for (n, ours, theirs) in [(128, 40_000, 100_000), (512, 900_000, 800_000)] {
        let dense = cell("simd", "dense", (n, "f32"), 2 * ours);
        let mut flash = cell("simd", "flash", (n, "f32"), ours);
        flash.beside = beside(&dense);
        cells.extend([dense, flash, cell("torch", "dense", (n, "f32"), theirs)]);
        let reason = "no kernel for this shape";
        let failed = failed(&format!("openvino-{n}"), &format!("{n}-f32"), "attention/dense", n, 1, "unsupported", reason);
        cells.push(of(failed, "openvino", "f32"));
    }
    let mut emulated = cell("torch", "dense", (128, "bf16"), 100_000);
    emulated.status = Status::Emulated;
    emulated.reason = Some("computed in f32".to_owned());
    cells.extend([cell("simd", "dense", (128, "bf16"), 50_000), emulated, cell("simd", "dense", (2048, "f32"), 7_000_000)]);
    cells
}

fn run(folder: &Path, cells: &[Record]) -> PathBuf {
    let path = folder.join("run-1");
    run_of(&path, cells);
    let mut manifest = manifest();
    let build = |engine: &str| Build {
        fingerprint: format!("build-{engine}"),
        worker: format!("{engine}-worker"),
        version: "2".to_owned(),
        detail: "wheels".to_owned(),
        instruments: Vec::new(),
    };
    manifest.builds.extend(["torch", "openvino"].map(build));
    manifest.write(&path.join("manifest.json")).unwrap();
    path
}

fn report(formats: &[Format]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (run(folder.path(), &cells()), folder.path().join("out"));
    write_report(&[run], &out, formats, None).unwrap();
    (folder, out)
}

#[test]
fn the_document() {
    let (_folder, out) = report(&[Format::Markdown]);
    insta::assert_snapshot!(fs::read_to_string(out.join("peers.md")).unwrap().trim(), @r"
    # Beside the peers

    ![simd beside the fastest peer: at least as fast in 2 of 3 rows. Mean speed over the fastest of torch: attention, bf16: mean 2.00, 1 of 1 at least as fast; attention, f32: mean 1.49, 1 of 2 at least as fast.](pictures/peers.svg)

    A peer is an engine in another program's worker. Speed is the median time of the fastest peer over that of the engine, on the same bits, verified alike and measured in turns: above 1 is faster than every peer. (Elsewhere ratios are of times, and below 1 is faster.) The interval divides the ends of both 95 % intervals crosswise.

    simd is at least as fast as the fastest peer, by the lower end of the interval, in 2 of 3 rows.

    | family    | precision |   mean speed [95 % CI] | rows | at least as fast | beside an emulating peer |
    | --------- | --------- | ---------------------: | ---: | ---------------: | -----------------------: |
    | attention | bf16      |                   2.00 |    1 |                1 |                        1 |
    | attention | f32       | 1.49 \[0.00209, 1060\] |    2 |                1 |                        0 |

    ## Rows that fall short

    Of simd, the slowest first. Slower is where the whole interval is below 1, and the speed by more than the noise floor.

    | operation       | setting      |        speed [95 % CI] | verdict | fastest peer |  share |
    | --------------- | ------------ | ---------------------: | ------- | ------------ | -----: |
    | attention/dense | n = 512, f32 | 0.889 \[0.871, 0.907\] | slower  | torch        | 1.11 % |

    ## All rows

    The fastest peer of a line has 1 and its time. A percentage is the share of the machine's ceiling. An engine stands with its fastest cell that computes the function of the heading, named where it is another variant. A peer that computes in another precision than asked (emulated) counts all the same, as that is what one gets from it; an engine of ours that does is in no mean.

    ## attention/dense

    Regime: head_dim = 64, threads = 1.

    |   n | precision |                                  simd | openvino (peer) |                   torch (peer) |
    | --: | --------: | ------------------------------------: | --------------: | -----------------------------: |
    | 128 |      bf16 |          2.00 \[1.96, 2.04\], 0.328 % |               – | 1 (100 µs), 0.164 % (emulated) |
    | 128 |       f32 |   2.50 \[2.45, 2.55\], 0.410 %, flash |     unsupported |            1 (100 µs), 0.164 % |
    | 512 |       f32 | 0.889 \[0.871, 0.907\], 1.11 %, flash |     unsupported |             1 (800 µs), 1.25 % |
    ");
}

#[test]
fn the_section_of_the_summary() {
    let (_folder, out) = report(&[Format::Markdown]);
    let summary = fs::read_to_string(out.join("summary.md")).unwrap();
    let (_, section) = summary.split_once("\n## Beside the peers\n").unwrap();
    insta::assert_snapshot!(section.split("\n## ").next().unwrap().trim(), @r"
    A peer is an engine in another program's worker. Speed is the median time of the fastest peer over that of the engine, on the same bits, verified alike and measured in turns: above 1 is faster than every peer. (Elsewhere ratios are of times, and below 1 is faster.) The interval divides the ends of both 95 % intervals crosswise.

    simd is at least as fast as the fastest peer, by the lower end of the interval, in 2 of 3 rows.

    | family    | precision |   mean speed [95 % CI] | rows | at least as fast | beside an emulating peer |
    | --------- | --------- | ---------------------: | ---: | ---------------: | -----------------------: |
    | attention | bf16      |                   2.00 |    1 |                1 |                        1 |
    | attention | f32       | 1.49 \[0.00209, 1060\] |    2 |                1 |                        0 |

    ### Rows that fall short

    Of simd, the slowest first. Slower is where the whole interval is below 1, and the speed by more than the noise floor.

    | operation       | setting      |        speed [95 % CI] | verdict | fastest peer |  share |
    | --------------- | ------------ | ---------------------: | ------- | ------------ | -----: |
    | attention/dense | n = 512, f32 | 0.889 \[0.871, 0.907\] | slower  | torch        | 1.11 % |

    All rows: [peers.md](peers.md).

    ![simd beside the fastest peer: at least as fast in 2 of 3 rows. Mean speed over the fastest of torch: attention, bf16: mean 2.00, 1 of 1 at least as fast; attention, f32: mean 1.49, 1 of 2 at least as fast.](pictures/peers.svg)
    ");
    assert!(summary.contains(" · [peers.md](peers.md)"), "{summary}");
}

#[test]
fn the_table_has_a_line_for_every_engine_of_every_row() {
    let (_folder, out) = report(&[Format::Csv]);
    let rows = csv_rows(&fs::read_to_string(out.join("peers.csv")).unwrap());
    // The longest problem has no peer.
    assert_eq!(rows.len(), 3 * 3 - 1);
    let of = |engine: &str, n: &str, precision: &str| {
        let is = |row: &&std::collections::BTreeMap<String, String>| {
            (row["engine"].as_str(), row["n"].as_str(), row["precision"].as_str()) == (engine, n, precision)
        };
        rows.iter().find(is).unwrap()
    };
    let flash = of("simd", "128", "f32");
    let told = ["run", "op", "variant", "is_peer", "fastest_peer", "fastest_peer_status", "speed", "verdict", "apart"]
        .map(|column| flash[column].as_str());
    assert_eq!(told, ["run-1", "attention/dense", "attention/flash", "false", "torch", "ok", "2.5", "at least as fast", "false"]);
    // By hand from the two intervals: 98 to 105 % of the medians, crosswise.
    let ends = ["speed_low", "speed_high"].map(|column| flash[column].parse::<f64>().unwrap());
    let spread = |record: &Record| {
        (record.speed.as_ref().unwrap().ci_low_ns.unwrap() as f64, record.speed.as_ref().unwrap().ci_high_ns.unwrap() as f64)
    };
    let (ours, theirs) = (spread(&cell("simd", "flash", (128, "f32"), 40_000)), spread(&cell("torch", "dense", (128, "f32"), 100_000)));
    assert!((ends[0] - theirs.0 / ours.1).abs() < 1e-9 && (ends[1] - theirs.1 / ours.0).abs() < 1e-9, "{ends:?}");
    let torch = of("torch", "128", "f32");
    assert_eq!((torch["speed"].as_str(), torch["verdict"].as_str(), torch["is_peer"].as_str()), ("1.0", "", "true"));
    assert_eq!(of("simd", "128", "bf16")["fastest_peer_status"], "emulated");
    let openvino = of("openvino", "512", "f32");
    assert_eq!([&openvino["status"], &openvino["speed"], &openvino["reason"]], ["unsupported", "", "no kernel for this shape"]);
}

#[test]
fn the_page_has_the_words_and_the_picture() {
    let (_folder, out) = report(&[Format::Html]);
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let data: serde_json::Value = serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
    let blocks = data["peers"]["blocks"].as_array().unwrap();
    assert!(blocks.iter().any(|block| block["heading"] == "Rows that fall short"), "{blocks:?}");
    let src = data["peers"]["pictures"][0]["src"].as_str().unwrap();
    assert!(src.starts_with("data:image/svg+xml;base64,PHN2Zy"), "{src}");
    assert!(!out.join("pictures").exists() && !out.join("peers.md").exists());
}

#[test]
fn a_run_without_peers_says_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &[measured("a", "g", "attention/dense", 128, 1, 1000)]);
    write_report(&[run], &out, &[Format::Markdown, Format::Csv, Format::Html], None).unwrap();
    assert!(!out.join("peers.md").exists() && !out.join("peers.csv").exists() && !out.join("pictures/peers.svg").exists());
    assert!(!fs::read_to_string(out.join("summary.md")).unwrap().contains("Beside the peers"));
    assert!(fs::read_to_string(out.join("index.html")).unwrap().contains("\"peers\":null"));
}

const README: &str = "# R\n\n<!-- crossover: answer -->\nold answer\n<!-- /crossover -->\n\n<!-- crossover: peers -->\nold peers\n\
                      <!-- /crossover: peers -->\nend\n";

/// Runs the command with a README of that text; its exit code and what the README is then.
fn spliced(cells: &[Record], readme: &str, more: &[&str]) -> (u8, String) {
    let folder = tempfile::tempdir().unwrap();
    let (run, file) = (run(folder.path(), cells), folder.path().join("README.md"));
    fs::write(&file, readme).unwrap();
    let out = folder.path().join("docs/report");
    let fixed = [
        "crossover-report".as_ref(),
        "report".as_ref(),
        run.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
        "--splice".as_ref(),
        file.as_os_str(),
    ];
    let arguments = fixed.into_iter().map(ToOwned::to_owned).chain(more.iter().map(|text| (*text).into()));
    let code = run_command(arguments);
    let code = (0..=255).find(|known| std::process::ExitCode::from(*known) == code).unwrap();
    (code, fs::read_to_string(file).unwrap())
}

#[test]
fn a_readme_gets_what_it_has_a_place_for() {
    let (code, both) = spliced(&cells(), README, &[]);
    assert!(code == 0 && !both.contains("old"), "{both}");
    let (_, peers) = both.split_once("<!-- crossover: peers -->\n").unwrap();
    assert!(peers.starts_with("\nA peer is an engine in another program's worker."), "{peers}");
    assert!(peers.contains("simd is at least as fast as the fastest peer, by the lower end of the interval, in 2 of 3 rows."), "{peers}");
    assert!(
        peers.contains("[docs/report/peers.md](docs/report/peers.md)") && peers.contains("](docs/report/pictures/peers.svg)"),
        "{peers}"
    );
    assert!(peers.ends_with("\n\n<!-- /crossover: peers -->\nend\n"), "{peers}");
    let (code, only) = spliced(&cells(), README, &["--splice-parts", "peers"]);
    assert!(code == 0 && only.contains("old answer") && !only.contains("old peers"), "{only}");
    // A run without peers leaves what another one said.
    let (code, others) = spliced(&[measured("a", "g", "attention/dense", 128, 1, 1000)], README, &[]);
    assert!(code == 0 && others.contains("old peers") && !others.contains("old answer"), "{others}");
    for (cells, readme, parts) in [
        (vec![measured("a", "g", "attention/dense", 128, 1, 1000)], README, "peers"),
        (cells(), "# R\n", "answer,peers"),
        (cells(), "# R\n<!-- crossover: answer --><!-- /crossover -->", "peers"),
        (cells(), "# R\n<!-- crossover: peers -->", "peers"),
    ] {
        assert_eq!(spliced(&cells, readme, &["--splice-parts", parts]), (2, readme.to_owned()));
    }
}

#[test]
fn names_of_others_come_out_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let mut cells = cells();
    for cell in cells.iter_mut().filter(|cell| cell.engine == "torch") {
        cell.engine = "<b>|\u{202e}torch".to_owned();
    }
    let (run, out) = (run(folder.path(), &cells), folder.path().join("out"));
    write_report(&[run], &out, &[Format::Markdown, Format::Csv, Format::Html], None).unwrap();
    let document = fs::read_to_string(out.join("peers.md")).unwrap();
    assert!(!document.contains("<b>") && !document.contains('\u{202e}') && document.contains(r"&lt;b&gt;\|\\u{202e}torch"), "{document}");
    let picture = fs::read_to_string(out.join("pictures/peers.svg")).unwrap();
    assert!(!picture.contains("<b>") && !picture.contains('\u{202e}'));
    roxmltree::Document::parse(&picture).unwrap();
}

#[test]
fn the_manifest_tells_whose_an_engine_is() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (run(folder.path(), &cells()), folder.path().join("out"));
    let path = run.join("manifest.json");
    let mut told = Manifest::read(&path).unwrap();
    told.builds.iter_mut().for_each(|build| build.worker = "crossover-worker".to_owned());
    told.write(&path).unwrap();
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    assert!(!out.join("peers.md").exists());
}
