//! The pictures of whole reports: every one that a document shows is there, is XML, is small, and carries nothing that acts.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crossover_core::axes::AxisValue;
use crossover_reports::{Format, write_report};
use crossover_results::RunFolder;
use crossover_results::schema::Record;
use support::{beside, manifest, measured, run_of, twenty_cells};

/// The pictures of a report by their names, after a look at each.
fn checked(out: &Path) -> BTreeSet<String> {
    let folder = out.join("pictures");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() < 100_000, "{}: {} bytes", path.display(), text.len());
        let document = roxmltree::Document::parse(&text).unwrap();
        let known = ["svg", "title", "desc", "rect", "line", "polyline", "polygon", "circle", "text"];
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            assert!(known.contains(&node.tag_name().name()), "{}: {}", path.display(), node.tag_name().name());
            assert!(node.attributes().all(|attribute| !attribute.name().starts_with("on") && attribute.name() != "href"));
        }
        assert!(!text.contains('\u{202e}') && !text.contains(&"x".repeat(61)));
        names.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names
}

/// The pictures that the documents show.
fn shown(out: &Path) -> BTreeSet<String> {
    let documents = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let text: String = documents.map(|path| fs::read_to_string(path).unwrap()).collect();
    text.split("](pictures/").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

#[test]
fn every_picture_is_shown_and_every_shown_one_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    run_of(&run, &twenty_cells());
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    let names = checked(&out);
    assert_eq!(names, shown(&out));
    for name in ["attention-crossover.svg", "attention-roofline.svg", "engines.svg", "engines-2.svg"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}

/// One variant over three lengths, with everything named by somebody hostile.
fn hostile(name: &str, place: usize) -> Vec<Record> {
    let mut cells = Vec::new();
    for n in [64, 128, 256] {
        let of = |kind: &str, median| {
            let mut cell = measured(&format!("{kind}{place}-{n}"), &format!("g{place}-{n}"), kind, n, 1, median);
            (cell.engine, cell.machine) = (name.to_owned(), name.to_owned());
            cell.axes.insert(name.to_owned(), AxisValue::Int(n));
            cell
        };
        let mut dense = of("attention/dense", n as u64 * n as u64);
        dense.baseline = true;
        let mut other = of("other", n as u64 * 100);
        other.variant = format!("attention/{name}");
        other.beside = beside(&dense);
        cells.extend([dense, other]);
    }
    cells
}

#[test]
fn hostile_names_stay_text_in_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    let names = [
        "<script>alert(1)</script>",
        "a\"b' onload='x'",
        "]](javascript:x)",
        "two\nlines\u{0}\u{fffe}",
        "\u{202e}gnp.exe",
        &"x".repeat(300),
    ];
    let cells: Vec<Record> = names.iter().enumerate().flat_map(|(place, name)| hostile(name, place)).collect();
    run_of(&run, &cells);
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    let names = checked(&out);
    assert!(names.iter().filter(|name| name.starts_with("attention-crossover")).count() >= 6, "one a machine: {names:?}");
    assert_eq!(names, shown(&out));
}

#[test]
fn nothing_to_draw_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (run, out) = (folder.path().join("run"), folder.path().join("out"));
    let empty = RunFolder::create(&run).unwrap();
    manifest().write(&empty.manifest_path()).unwrap();
    write_report(&[run], &out, &[Format::Markdown], None).unwrap();
    assert!(!out.join("pictures").exists() && shown(&out).is_empty());
}
