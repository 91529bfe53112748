//! From run folders to the files of a report.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::answers::{Answers, answer};
use crate::error::{ReportError, Result};
use crate::html;
use crate::out_folder::OutFolder;
use crate::pictures::{self, Picture, embedded};
use crate::render::summary::Shown;
use crate::render::{self, Context};
use crate::splice::Part;
use crate::text::csv::{cells_csv, frame_csv};
use crate::text::document::Document;
use crate::text::markdown::counted;
use crate::{runs, splice, trend};
use crossover_results::write_atomically;

const SUMMARY: &str = "summary.md";
const CELLS: &str = "cells.csv";
const PAGE: &str = "index.html";

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
    /// Files of an earlier report in the same folder that this one does not have, and that were removed.
    pub removed: Vec<String>,
    /// What must not be overlooked; the report says it too.
    pub warnings: Vec<String>,
    /// True where a share of a ceiling is impossible: exit code 1.
    pub finding: bool,
}

/// Writes the report on `runs` into the folder `out`, each file whole or not at all; then its answer, and what it says of
/// peers, into the document `splice`.
///
/// # Errors
/// When a run cannot be read, was written by a newer version, the folder cannot be written or holds a file of somebody else under a name of the
/// report's, or the document has no place for either.
pub fn write_report(runs: &[PathBuf], out: &Path, formats: &[Format], splice: Option<&Path>) -> Result<Outcome> {
    write_with_trend(runs, out, formats, splice.map(|document| (document, &Part::ALL[..])), None)
}

/// The same with the page of a history.
pub(crate) fn write_with_trend(
    runs: &[PathBuf],
    out: &Path,
    formats: &[Format],
    splice: Option<(&Path, &[Part])>,
    trend: Option<&trend::Page>,
) -> Result<Outcome> {
    let splice = splice.map(|into| Splice::of(into, formats)).transpose()?;
    let runs = runs::open(runs)?;
    let answers = answer(&runs)?;
    splice.iter().try_for_each(|splice| splice.check(&answers))?;
    let context = Context::of(&answers)?;
    let over = render::speed::over_ceiling(&answers.rows, &context)?;

    let mut files: Vec<(String, String)> = Vec::new();
    let mut drawn: BTreeMap<String, Vec<Picture>> = BTreeMap::new();
    let mut engines: Vec<Picture> = Vec::new();
    let beside = Beside::of(&answers, &context)?;
    if formats.contains(&Format::Markdown) {
        for (family, file) in render::family::files(&answers.cells)? {
            let pictures = pictures::of(&answers, &family)?;
            files.push((file, render::family::document(&answers, &context, &family, &pictures)?));
            drawn.insert(family, pictures);
        }
        engines = pictures::of_engines(&answers)?;
    }
    let trend_pictures = trend.filter(|_| formats.contains(&Format::Markdown)).map_or(&[][..], |page| &page.pictures);
    let of_peers = beside.as_ref().filter(|_| formats.contains(&Format::Markdown)).map_or(&[][..], |beside| &beside.pictures);
    let foremost = pictures::foremost(&answers, &drawn)?;
    if formats.contains(&Format::Csv) {
        files.push((CELLS.to_owned(), cells_csv(&answers.rows, &context.labels)?));
        for (file, table) in answers.tables()? {
            files.push((file.to_owned(), frame_csv(&table, &context.labels)?));
        }
    }
    if formats.contains(&Format::Markdown) {
        files.extend(beside.iter().map(|beside| (render::peers::FILE.to_owned(), beside.markdown())));
        files.extend(trend.map(|page| (trend::FILE.to_owned(), page.markdown.clone())));
        let shown = Shown { crossovers: foremost.clone(), engines: &engines, peers: of_peers };
        // Last, so that where it is, what it links to is too.
        let links: Vec<&str> = files.iter().map(|(file, _)| file.as_str()).collect();
        files.push((SUMMARY.to_owned(), render::summary::document(&answers, &context, &over, &links, &shown)?));
    }
    let entry = out.join(files.iter().rev().map(|(file, _)| file.as_str()).find(|file| [SUMMARY, CELLS].contains(file)).unwrap_or(PAGE));
    let page = formats.contains(&Format::Html).then(|| out.join(PAGE));
    if page.is_some() {
        let links: Vec<&str> = files.iter().map(|(file, _)| file.as_str()).collect();
        let told = beside.as_ref().map(|beside| (&beside.document, &beside.pictures[..]));
        files.push((PAGE.to_owned(), html::page(&answers, &links, trend.map(|page| &page.document), told)?));
    }
    let removed = OutFolder::at(out).write(&all(&files, drawn.values().flatten().chain(&engines).chain(of_peers).chain(trend_pictures)))?;
    if let Some(splice) = splice {
        splice.write(out, (&answers, &context), &foremost, of_peers)?;
    }
    let mut warnings: Vec<String> =
        runs.iter().flat_map(|run| run.notes.iter().map(move |note| format!("run {}: {note}", run.label))).collect();
    warnings.extend((!over.is_empty()).then(|| impossible(over.len())));
    Ok(Outcome { entry, page, runs: runs.len(), cells: answers.cells.height(), removed, finding: !over.is_empty(), warnings })
}

/// Ours beside other programs, where a run has such.
struct Beside {
    document: Document,
    pictures: Vec<Picture>,
}

impl Beside {
    fn of(answers: &Answers<'_>, context: &Context<'_>) -> Result<Option<Self>> {
        if answers.peers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { document: render::peers::document(answers, context)?, pictures: pictures::of_peers(answers)? }))
    }

    fn markdown(&self) -> String {
        format!("# {}\n{}{}", render::peers::TITLE, embedded(&self.pictures, ""), self.document.body(2))
    }
}

/// Documents, tables, page and pictures by their names in the report's folder.
fn all<'p>(files: &'p [(String, String)], pictures: impl Iterator<Item = &'p Picture>) -> BTreeMap<String, &'p str> {
    let pictures = pictures.map(|picture| (format!("{}/{}", pictures::FOLDER, picture.file), picture.svg.as_str()));
    pictures.chain(files.iter().map(|(file, text)| (file.clone(), text.as_str()))).collect()
}

/// A document that gets parts of the report between its marks, with links that lead from there to the report.
struct Splice {
    /// As somebody named it.
    document: PathBuf,
    /// Where it lies.
    file: PathBuf,
    text: String,
    /// Those that were asked for and that it has a place for.
    parts: Vec<Part>,
    /// There was no choice.
    is_asked: bool,
}

impl Splice {
    /// Reads it before anything is written, so that a document without a place for the parts costs nothing.
    fn of((document, parts): (&Path, &[Part]), formats: &[Format]) -> Result<Self> {
        let refused = |reason: String| ReportError::Splice { path: document.to_owned(), reason };
        if !formats.contains(&Format::Markdown) {
            return Err(refused("the text has links to the report's documents, so --format must have md in it".to_owned()));
        }
        let unread = |error| refused(format!("{error}; name a document that is there, with the lines of --splice in it"));
        let file = fs::canonicalize(document).map_err(unread)?;
        let text = fs::read_to_string(&file).map_err(unread)?;
        let is_asked = parts.len() == 1;
        let mut there: Vec<Part> = parts.iter().copied().filter(|part| part.is_in(&text)).collect();
        if there.is_empty() {
            there.extend(parts.first());
        }
        for part in &there {
            splice::spliced(&text, *part, "").map_err(refused)?;
        }
        Ok(Self { document: document.to_owned(), file, text, parts: there, is_asked })
    }

    /// Refuses to put there what these runs have not, where nothing else was asked for.
    fn check(&self, answers: &Answers<'_>) -> Result<()> {
        if self.is_asked && self.parts == [Part::Peers] && answers.peers.is_empty() {
            let reason = "no cell of these runs is of an engine in another program's worker, so there are no peers".to_owned();
            return Err(ReportError::Splice { path: self.document.clone(), reason });
        }
        Ok(())
    }

    fn write(&self, out: &Path, (answers, context): (&Answers<'_>, &Context<'_>), pictures: &[&Picture], peers: &[Picture]) -> Result<()> {
        let refused = |reason: String| ReportError::Splice { path: self.document.clone(), reason };
        let out = fs::canonicalize(out).map_err(|error| refused(format!("{}: {error}", out.display())))?;
        let folder = splice::link(self.file.parent().unwrap_or(&self.file), &out);
        let mut document = self.text.clone();
        for part in &self.parts {
            let text = match part {
                Part::Answer => {
                    render::answer::section(answers, context, &folder)? + &embedded(pictures.iter().copied().take(SPLICED), &folder)
                }
                Part::Peers if answers.peers.is_empty() => continue,
                Part::Peers => render::peers::section(answers, &folder, usize::MAX)? + &embedded(peers, &folder),
            };
            // The document has headings of its own around it.
            let text = text.trim_start().split_once('\n').map_or("", |(_, body)| body);
            document = splice::spliced(&document, *part, text).map_err(refused)?;
        }
        Ok(write_atomically(&self.file, document.as_bytes())?)
    }
}

fn impossible(count: usize) -> String {
    let figures = counted(count as u64, "figure");
    format!(
        "{figures} above 100 % of the machine's ceiling, which was measured too low (under load?) or is that of another cost; see the column *share*"
    )
}
