//! Errors of a definition: where, what, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::excerpt::excerpt;

/// Why a file is no definition.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The file as a whole.
    #[error("{}: {problem}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A place in it.
    #[error("{0}")]
    At(Box<Complaint>),
}

/// What is wrong at one place.
#[derive(Debug)]
pub struct Complaint {
    place: Place,
    message: String,
    help: String,
    line: String,
    carets: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.place.line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{}: {}", self.place, self.message)?;
        writeln!(f, "  {number} | {}", self.line)?;
        write!(f, "  {margin} | {}", self.carets)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.help) }
    }
}

/// A place in a file, lines and columns counted from 1, columns in characters.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: PathBuf,
    pub(super) line: usize,
    column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// The text of a definition, for places and errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
    /// Where each line begins, so that a hundred thousand places cost no scan each.
    line_starts: &'a [usize],
}

/// Where each line of a text begins.
pub(super) fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect()
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str, line_starts: &'a [usize]) -> Self {
        Self { file, text, line_starts }
    }

    /// The place of a byte offset.
    pub(super) fn place(self, offset: usize) -> Place {
        let offset = self.boundary(offset);
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let line_start = self.line_starts[line - 1];
        Place { file: self.file.to_owned(), line, column: self.text[line_start..offset].chars().count() + 1 }
    }

    /// An error about the bytes `span`.
    pub(super) fn error(self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> DefinitionError {
        let place = self.place(span.start);
        let (line_start, offset) = (self.line_starts[place.line - 1], self.boundary(span.start));
        let line = self.text[line_start..].lines().next().unwrap_or("");
        let line_end = line_start + line.len();
        let end = self.boundary(span.end).clamp(offset.min(line_end), line_end);
        let marked = self.text.get(offset..end).unwrap_or("").chars().count();
        let shown = excerpt(line, place.column - 1, marked);
        let (message, help) = (message.into(), help.into());
        DefinitionError::At(Box::new(Complaint { place, message, help, line: shown.line, carets: shown.carets }))
    }

    fn boundary(self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }
}
