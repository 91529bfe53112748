//! From run folders to the files of a report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use crate::answers::{Answers, answer};
use crate::error::{ReportError, Result};
use crate::html;
use crate::pictures::{self, Picture, embedded};
use crate::render::summary::Shown;
use crate::render::{self, Context};
use crate::text::csv::{cells_csv, frame_csv};
use crate::text::markdown::counted;
use crate::{runs, splice};
use crossover_results::write_atomically;

const SUMMARY: &str = "summary.md";
const CELLS: &str = "cells.csv";
const PAGE: &str = "index.html";
/// Lists the files of the report, so that the next one in the same folder knows what to remove.
const OWN_FILES: &str = ".files";

/// Pictures that go into another document with the answer.
const SPLICED: usize = 2;

/// What a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `summary.md`, one document a family, and the pictures in them.
    Markdown,
    /// `cells.csv`, and one file for each table of answers.
    Csv,
    /// `index.html`.
    Html,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The file to begin with.
    pub entry: PathBuf,
    /// The page, where it was asked for.
    pub page: Option<PathBuf>,
    /// Runs in the report.
    pub runs: usize,
    /// Cells in the report.
    pub cells: usize,
    /// What must not be overlooked; the report says it too.
    pub warnings: Vec<String>,
    /// True where a share of a ceiling is impossible: exit code 1.
    pub finding: bool,
}

/// Writes the report on `runs` into the folder `out`, each file whole or not at all; then its answer into the document `splice`.
///
/// # Errors
/// When a run cannot be read, was written by a newer version, the folder cannot be written, or the document has no place for the answer.
pub fn write_report(runs: &[PathBuf], out: &Path, formats: &[Format], splice: Option<&Path>) -> Result<Outcome> {
    let runs = runs::open(runs)?;
    let answers = answer(&runs)?;
    let context = Context::of(&answers)?;
    let over = render::speed::over_ceiling(&answers.rows, &context)?;

    let mut files: Vec<(String, String)> = Vec::new();
    let mut drawn: BTreeMap<String, Vec<Picture>> = BTreeMap::new();
    let mut engines: Vec<Picture> = Vec::new();
    if formats.contains(&Format::Markdown) {
        for (family, file) in render::family::files(&answers.cells)? {
            let pictures = pictures::of(&answers, &family)?;
            files.push((file, render::family::document(&answers, &context, &family, &pictures)?));
            drawn.insert(family, pictures);
        }
        engines = pictures::of_engines(&answers)?;
    }
    let foremost = pictures::foremost(&answers, &drawn)?;
    if formats.contains(&Format::Csv) {
        files.push((CELLS.to_owned(), cells_csv(&answers.rows, &context.labels)?));
        for (file, table) in answers.tables()? {
            files.push((file.to_owned(), frame_csv(&table, &context.labels)?));
        }
    }
    if formats.contains(&Format::Markdown) {
        let shown = Shown { crossovers: foremost.clone(), engines: &engines };
        // Last, so that where it is, what it links to is too.
        let links: Vec<&str> = files.iter().map(|(file, _)| file.as_str()).collect();
        files.push((SUMMARY.to_owned(), render::summary::document(&answers, &context, &over, &links, &shown)?));
    }
    let entry = out.join(files.iter().rev().map(|(file, _)| file.as_str()).find(|file| [SUMMARY, CELLS].contains(file)).unwrap_or(PAGE));
    let page = formats.contains(&Format::Html).then(|| out.join(PAGE));
    if page.is_some() {
        let links: Vec<&str> = files.iter().map(|(file, _)| file.as_str()).collect();
        files.push((PAGE.to_owned(), html::page(&answers, &links)?));
    }
    write_files(out, &files, drawn.values().flatten().chain(&engines))?;
    if let Some(document) = splice {
        splice_into(document, out, (&answers, &context), &foremost)?;
    }
    let mut warnings: Vec<String> =
        runs.iter().flat_map(|run| run.notes.iter().map(move |note| format!("run {}: {note}", run.label))).collect();
    warnings.extend((!over.is_empty()).then(|| impossible(over.len())));
    Ok(Outcome { entry, page, runs: runs.len(), cells: answers.cells.height(), finding: !over.is_empty(), warnings })
}

/// Writes all files, and removes those of an earlier report in the same folder that this one does not have: a document of a family that
/// is gone would look like one of this report's.
fn write_files<'p>(out: &Path, files: &[(String, String)], pictures: impl Iterator<Item = &'p Picture>) -> Result<()> {
    let pictures = pictures.map(|picture| (format!("{}/{}", pictures::FOLDER, picture.file), picture.svg.as_str()));
    let files: BTreeMap<String, &str> = pictures.chain(files.iter().map(|(file, text)| (file.clone(), text.as_str()))).collect();
    let make = |folder: &Path| fs::create_dir_all(folder).map_err(|source| ReportError::OutFolder { path: folder.to_owned(), source });
    make(out)?;
    if files.keys().any(|file| file.contains('/')) {
        make(&out.join(pictures::FOLDER))?;
    }
    let earlier = listed(&out.join(OWN_FILES));
    // Before the first is written, so that what a stop in the middle leaves is known to the next report too.
    let own: BTreeSet<&str> = earlier.iter().map(String::as_str).chain(files.keys().map(String::as_str)).collect();
    let list = |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("{name}\n")).collect::<String>();
    write_atomically(&out.join(OWN_FILES), list(&mut own.iter().copied()).as_bytes())?;
    for (file, text) in &files {
        write_atomically(&out.join(file), text.as_bytes())?;
    }
    for stale in earlier.iter().filter(|file| !files.contains_key(*file)) {
        let path = out.join(stale);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(ReportError::OutFolder { path, source }),
            _ => {}
        }
    }
    // Only where it is empty.
    let _ = fs::remove_dir(out.join(pictures::FOLDER));
    Ok(write_atomically(&out.join(OWN_FILES), list(&mut files.keys().map(String::as_str)).as_bytes())?)
}

/// The files that an earlier report says are its own; none outside its folder.
fn listed(list: &Path) -> Vec<String> {
    let is_inside = |file: &&str| Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    let text = fs::read_to_string(list).unwrap_or_default();
    text.lines().filter(|file| !file.is_empty()).filter(is_inside).map(str::to_owned).collect()
}

/// Puts the answer between the marks of a document, with links that lead from there to the report.
fn splice_into(document: &Path, out: &Path, (answers, context): (&Answers<'_>, &Context<'_>), pictures: &[&Picture]) -> Result<()> {
    let refused = |reason: String| ReportError::Splice { path: document.to_owned(), reason };
    let absolute = |path: &Path| fs::canonicalize(path).map_err(|error| refused(format!("{}: {error}", path.display())));
    let file = absolute(document)?;
    let folder = splice::link(file.parent().unwrap_or(&file), &absolute(out)?);
    let text = fs::read_to_string(&file).map_err(|error| refused(error.to_string()))?;
    let answer = render::answer::section(answers, context, &folder)? + &embedded(pictures.iter().copied().take(SPLICED), &folder);
    // The document has headings of its own around it.
    let answer = answer.trim_start().split_once('\n').map_or("", |(_, body)| body);
    Ok(write_atomically(&file, splice::spliced(&text, answer).map_err(refused)?.as_bytes())?)
}

fn impossible(count: usize) -> String {
    let figures = counted(count as u64, "figure");
    format!(
        "{figures} above 100 % of the machine's ceiling, which was measured too low (under load?) or is that of another cost; see the column *share*"
    )
}
