//! Runs that were killed, shared in part, mixed, damaged or made by another version.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crossover_core::axes::AxisValue;
use crossover_reports::{Format, ReportError, run_command, write_report};
use crossover_results::schema::{Record, SCHEMA_VERSION};
use crossover_results::{Manifest, Part, RunFolder};
use support::{beside, csv_rows, manifest, measured, part, run_of, twenty_cells};

const ALL: &[Format] = &[Format::Markdown, Format::Csv];

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap()
}

#[test]
fn a_killed_run_is_reported_from_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    let store = RunFolder::open(&run).unwrap();
    fs::remove_file(store.cells_path()).unwrap();
    fs::remove_file(store.samples_path()).unwrap();
    let mut journal = fs::read(store.journal_path()).unwrap();
    journal.truncate(journal.len() - 10);
    fs::write(store.journal_path(), journal).unwrap();
    // Told each time, and not only by the report that makes the tables.
    for _ in 0..2 {
        let outcome = write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap();
        assert_eq!(outcome.cells, 19);
        assert!(outcome.warnings.iter().any(|warning| warning.contains("the journal's last line is not whole")), "{:?}", outcome.warnings);
        assert!(read(&out, "summary.md").contains("the journal's last line is not whole"));
    }
    // Killed before the first cell.
    fs::remove_file(store.cells_path()).unwrap();
    fs::remove_file(store.journal_path()).unwrap();
    assert_eq!(write_report(&[run], &out, ALL, None).unwrap().cells, 0);
    assert!(read(&out, "summary.md").contains("stopped before its first cell"));
}

#[test]
fn an_emptied_or_deleted_journal_leaves_the_tables_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    let store = RunFolder::open(&run).unwrap();
    let told = |wanted: &str, cells: usize| {
        let outcome = write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap();
        assert_eq!(outcome.cells, cells);
        assert!(outcome.warnings.iter().any(|warning| warning.contains(wanted)), "{:?}", outcome.warnings);
    };
    let journal = fs::read_to_string(store.journal_path()).unwrap();
    fs::write(store.journal_path(), journal.lines().next().unwrap().to_owned() + "\n").unwrap();
    told("the journal has fewer cells than the tables", 20);
    fs::write(store.journal_path(), "").unwrap();
    told("the journal is empty: its tables are taken as they are", 20);
    fs::remove_file(store.journal_path()).unwrap();
    told("the run has no journal: its tables are taken as they are", 20);
    fs::remove_file(store.cells_path()).unwrap();
    fs::write(store.journal_path(), "").unwrap();
    told("whatever it held is lost", 0);
}

#[test]
fn what_an_earlier_report_left_in_the_folder_goes_and_what_is_not_its_own_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap();
    let family = out.join("attention.md");
    assert!(family.exists() && out.join("pictures").is_dir());
    fs::write(out.join("own-notes.md"), "mine").unwrap();
    // Somebody's list that names what is outside.
    let outside = folder.path().join("outside.md");
    fs::write(&outside, "mine").unwrap();
    let list = out.join(".files");
    fs::write(&list, fs::read_to_string(&list).unwrap() + "../outside.md\n").unwrap();
    let removed = write_report(&[run], &out, &[Format::Csv], None).unwrap().removed;
    assert!(
        ["attention.md", "summary.md", "pictures/engines.svg"].iter().all(|file| removed.iter().any(|gone| gone == file)),
        "{removed:?}"
    );
    assert!(!removed.iter().any(|file| file == "cells.csv" || file.contains("own-notes")), "{removed:?}");
    assert!(!family.exists() && !out.join("pictures").exists() && !out.join("index.html").exists());
    assert!(out.join("cells.csv").exists() && out.join("own-notes.md").exists() && outside.exists());
    assert!(fs::read_to_string(&list).unwrap().lines().skip(1).all(|file| out.join(file).exists()));
    // A list without the first line of ours is somebody else's, whatever it names.
    fs::write(&list, "own-notes.md\n").unwrap();
    let error = write_report(&[folder.path().join("run")], &out, ALL, None).unwrap_err();
    assert!(matches!(&error, ReportError::Foreign { files, .. } if files == &[PathBuf::from(".files")]), "{error}");
    assert!(out.join("own-notes.md").exists());
}

#[test]
fn a_file_of_somebody_else_under_a_name_of_the_reports_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    fs::create_dir(&out).unwrap();
    let notes = out.join("summary.md");
    fs::write(&notes, "my notes").unwrap();
    let error = write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap_err();
    assert!(!error.is_environment() && error.to_string().contains("has summary.md already"), "{error}");
    assert_eq!((fs::read_to_string(&notes).unwrap().as_str(), fs::read_dir(&out).unwrap().count()), ("my notes", 1));
    // Without a file of that name there is nothing to lose, neither now nor by the next report.
    for formats in [&[Format::Csv][..], &[Format::Csv]] {
        assert_eq!(write_report(std::slice::from_ref(&run), &out, formats, None).unwrap().removed, Vec::<String>::new());
    }
    assert!(write_report(&[run], &out, ALL, None).is_err());
    assert_eq!(fs::read_to_string(&notes).unwrap(), "my notes");
}

#[test]
fn a_document_without_a_place_for_the_answer_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out, document) = (folder.path().join("run"), folder.path().join("out"), folder.path().join("README.md"));
    run_of(&run, &twenty_cells());
    let refused = |formats: &[Format], wanted: &str| {
        let error = write_report(std::slice::from_ref(&run), &out, formats, Some(&document)).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.matches("README.md").count() == 1 && !out.exists(), "{error}");
    };
    refused(ALL, "name a document that is there");
    fs::write(&document, "no marks").unwrap();
    refused(ALL, "it has no line");
    fs::write(&document, "<!-- crossover: answer -->\n<!-- /crossover -->\n").unwrap();
    refused(&[Format::Csv], "--format must have md in it");
    write_report(std::slice::from_ref(&run), &out, ALL, Some(&document)).unwrap();
    assert!(read(folder.path(), "README.md").contains("(out/attention.md)"));
}

#[test]
fn a_run_without_a_noise_floor_is_judged_by_an_assumed_one_and_what_limits_it_stands_on_top() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    // Three per cent faster at both sizes, which is more than the usual floor of 1.3 %.
    let pair = |n: i64| {
        let dense = Record { baseline: true, ..measured(&format!("dense{n}"), &format!("g{n}"), "attention/dense", n, 1, 1_000_000) };
        let flash = Record { beside: beside(&dense), ..measured(&format!("flash{n}"), &format!("g{n}"), "attention/flash", n, 1, 970_000) };
        [dense, flash]
    };
    run_of(&run, &[pair(128), pair(512)].concat());
    let report = |manifest: Manifest| {
        manifest.write(&RunFolder::open(&run).unwrap().manifest_path()).unwrap();
        write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap();
        let line = csv_rows(&read(&out, "crossovers.csv")).remove(0);
        (line["verdict"].clone(), line["pays"].clone(), read(&out, "summary.md"))
    };
    let (verdict, pays, summary) = report(Manifest { cells_planned: 4, ..manifest() });
    assert_eq!((verdict.as_str(), pays.as_str()), ("everywhere", "true"));
    assert!(summary.contains("* Run run: noise floor 1.30 %: a ratio nearer to 1 decides nothing.\n"), "{summary}");
    let part = Part { index: 1, count: 2, plan_hash: "whole".into(), cells: 8 };
    let (verdict, pays, summary) = report(Manifest { cells_planned: 4, noise: None, parts: vec![part], ..manifest() });
    assert_eq!((verdict.as_str(), pays.as_str()), ("undecided", "false"));
    let told = "* Run run: **noise was not measured, 5.00 % are taken for its floor: a ratio nearer to 1 decides nothing**; **only part 1 of 2 of its plan**.\n";
    assert!(summary.contains(told), "{summary}");
}

#[test]
fn what_was_left_out_and_threads_that_were_not_used_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    let mut cells = twenty_cells();
    run_of(&run, &cells);
    write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap();
    assert!(!part(&out, "Speed").contains("threads used") && !read(&out, "summary.md").contains("Left out"));
    let mut own = manifest();
    own.excluded.insert("plain loops need minutes".into(), 3);
    cells.iter_mut().for_each(|cell| drop(cell.axes.insert("threads".into(), AxisValue::Int(2))));
    let second = folder.path().join("second");
    run_of(&second, &cells);
    own.write(&RunFolder::open(&second).unwrap().manifest_path()).unwrap();
    write_report(&[second], &out, ALL, None).unwrap();
    assert!(read(&out, "summary.md").contains("## Left out by the experiment\n\n* 3 cells: plain loops need minutes\n"));
    let speed = part(&out, "Speed");
    assert!(speed.contains("threads used") && speed.contains(" **1** |"), "{speed}");
}

#[test]
fn tables_that_lack_the_end_of_the_journal_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    let store = RunFolder::open(&run).unwrap();
    let (mut journal, _) = store.open_journal(&store.lock().unwrap()).unwrap();
    journal.append(&measured("late", "g9", "attention/flash", 128, 1, 1000)).unwrap();
    assert_eq!(write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap().cells, 21);
    // In a copy the files' times say nothing: here the tables are newer than the journal, and lack a cell of it.
    journal.append(&measured("later", "g9", "attention/window", 128, 1, 1000)).unwrap();
    fs::write(store.cells_path(), fs::read(store.cells_path()).unwrap()).unwrap();
    assert_eq!(write_report(&[run], &out, ALL, None).unwrap().cells, 22);
}

#[test]
fn machines_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut runs = Vec::new();
    for (name, fingerprint, median) in [("one", "1111", 1000), ("two", "2222", 9000)] {
        let run = folder.path().join(name).join("run");
        let mut cells = vec![measured("a", "g", "attention/dense", 128, 1, median), measured("b", "g", "attention/flash", 128, 1, 500)];
        cells[0].baseline = true;
        cells.iter_mut().for_each(|cell| cell.machine = fingerprint.to_owned());
        run_of(&run, &cells);
        let mut manifest = manifest();
        manifest.machine.fingerprint = fingerprint.to_owned();
        manifest.machine.cpu_model = Some(format!("Processor {name}"));
        manifest.write(&RunFolder::open(&run).unwrap().manifest_path()).unwrap();
        runs.push(run);
    }
    assert_eq!(write_report(&runs, &out, ALL, None).unwrap().cells, 4);
    let speed = part(&out, "Speed");
    assert!(speed.contains("### Machine: Processor one") && speed.contains("### Machine: Processor two"), "{speed}");
    // 500 of 1000 here, 500 of 9000 there, and nothing in between.
    assert!(speed.contains("| 0.500 [") && speed.contains("| 0.0556 ["), "{speed}");
    let labels: Vec<String> = csv_rows(&read(&out, "cells.csv")).iter().map(|row| row["run"].clone()).collect();
    assert_eq!(labels, ["run (1)", "run (1)", "run (2)", "run (2)"]);
}

#[test]
fn runs_with_different_axes_share_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, out) = (folder.path().join("one"), folder.path().join("two"), folder.path().join("out"));
    let mut ranked = measured("a", "g", "attention/linformer", 128, 1, 1000);
    ranked.axes.insert("rank".into(), AxisValue::Int(64));
    // The same name with another type, and names that the report uses itself.
    let mut named = measured("b", "g", "attention/nystrom", 128, 1, 1000);
    named.axes.extend([("rank".into(), AxisValue::from("full")), ("run".into(), AxisValue::Int(7)), ("id".into(), AxisValue::Int(8))]);
    run_of(&one, &[ranked]);
    run_of(&two, &[named]);
    write_report(&[one, two], &out, ALL, None).unwrap();
    let rows = csv_rows(&read(&out, "cells.csv"));
    let ranks: Vec<&str> = rows.iter().map(|row| row["rank"].as_str()).collect();
    assert_eq!(ranks, ["64", "full"]);
    assert_eq!((rows[1]["run"].as_str(), rows[1]["axis_run"].as_str(), rows[1]["axis_id"].as_str()), ("two", "7", "8"));
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    let store = RunFolder::open(&run).unwrap();
    let error = write_report(&[run.clone(), run.join("../run")], &out, ALL, None).unwrap_err();
    assert!(matches!(error, ReportError::SameRunTwice { .. }), "{error}");
    let error = write_report(&[folder.path().join("none")], &out, ALL, None).unwrap_err();
    assert!(error.to_string().contains("there is no run in"), "{error}");
    // A table of a later version: in the footer, the version follows its key as a text of one character.
    let table = fs::read(store.cells_path()).unwrap();
    let key = b"crossover.schema";
    let place = table.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 2;
    let mut later = table.clone();
    assert_eq!(u32::from(later[place] - b'0'), SCHEMA_VERSION);
    later[place] = b'9';
    fs::write(store.cells_path(), later).unwrap();
    let error = write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap_err();
    assert!(error.to_string().contains(&format!("version 9 is newer than version {SCHEMA_VERSION}")), "{error}");
    fs::write(store.cells_path(), b"PAR1 this is no table PAR1").unwrap();
    let error = write_report(std::slice::from_ref(&run), &out, ALL, None).unwrap_err();
    assert!(error.to_string().contains("cells.parquet") && error.to_string().contains("remove the file"), "{error}");
    fs::write(store.cells_path(), &table[..table.len() / 2]).unwrap();
    assert!(write_report(std::slice::from_ref(&run), &out, ALL, None).is_err());
    // A manifest of a later version.
    fs::write(store.manifest_path(), "{\"schema\": 99}").unwrap();
    let error = write_report(&[run], &out, ALL, None).unwrap_err();
    assert!(error.to_string().contains("version 99 is newer"), "{error}");
    assert!(!out.exists());
}

#[test]
fn exit_codes_say_whose_fault_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    run_of(&run, &twenty_cells());
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let code = |run: &Path, out: &Path| {
        let words = ["crossover-report".as_ref(), "report".as_ref(), run.as_os_str(), "--out".as_ref(), out.as_os_str()];
        format!("{:?}", run_command(words.map(|word| word.to_owned())))
    };
    let expected = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(code(&run, &folder.path().join("out")), expected(0));
    assert_eq!(code(&folder.path().join("none"), &folder.path().join("out")), expected(2));
    assert_eq!(code(&run, &file.join("out")), expected(3));
    assert_eq!(format!("{:?}", run_command(["crossover-report".into()])), expected(2));
    assert_eq!(format!("{:?}", run_command(["crossover-report".into(), "--help".into()])), expected(0));
}
