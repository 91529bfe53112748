//! One streaming pass over a journal: finds the frames, steps over what is not one, and says where the tail is torn.
//!
//! Lines are the way back into step after damage. Should the newline between two frames itself be damaged, the length in the
//! first frame's head still tells where it ends, so both are found.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::frame::{Fault, Frame, decode};
use super::{DamagedFrame, HEADER, JOURNAL_VERSION, LONGEST_LINE};
use crate::error::{Result, StoreError, excerpt};
use crate::schema::SCHEMA_VERSION;

/// Large enough that a pass over 150 MB is some 150 system calls.
const BUFFER: usize = 1 << 20;

/// What the next stretch of the file is.
#[derive(Debug)]
pub(super) enum Step {
    /// A whole frame; its ranges index [`Scanner::bytes`].
    Frame(Frame, Place),
    /// Something to step over.
    Damaged(DamagedFrame),
    /// The unfinished end of the file. With `glued`, the last good frame before it has lost its newline.
    Torn { offset: u64, bytes: u64, glued: bool },
}

/// Where a frame stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) offset: u64,
}

pub(super) struct Scanner<R> {
    reader: BufReader<R>,
    path: PathBuf,
    longest_line: usize,
    /// The current line without its newline.
    line: Vec<u8>,
    /// The part of it that is not yet looked at; none between lines.
    rest: Option<Range<usize>>,
    ended_by_newline: bool,
    line_number: u64,
    line_offset: u64,
    next_offset: u64,
    /// Bytes of an unfinished first line.
    torn_header: u64,
}

impl Scanner<Box<dyn Read + Send>> {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(StoreError::io("read the journal", path))?;
        Self::new(Box::new(file), path, LONGEST_LINE)
    }
}

impl<R: Read> Scanner<R> {
    pub(super) fn new(reader: R, path: &Path, longest_line: usize) -> Result<Self> {
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        let torn_header = check_header(&mut reader, path)?;
        Ok(Self {
            reader,
            path: path.to_owned(),
            longest_line,
            line: Vec::new(),
            rest: None,
            ended_by_newline: true,
            line_number: 1,
            line_offset: 0,
            next_offset: HEADER.len() as u64,
            torn_header,
        })
    }

    /// The bytes that the ranges of the last frame index.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.line
    }

    /// The next step, or none at the end of the file.
    pub(super) fn advance(&mut self) -> Result<Option<Step>> {
        if self.torn_header > 0 {
            let bytes = std::mem::take(&mut self.torn_header);
            return Ok(Some(Step::Torn { offset: 0, bytes, glued: false }));
        }
        let rest = match self.rest.take() {
            Some(rest) => rest,
            None => match self.read_line()? {
                Some(Ok(whole)) => whole,
                Some(Err(step)) => return Ok(Some(step)),
                None => return Ok(None),
            },
        };
        self.step_within(rest).map(Some)
    }

    /// Looks at `rest` of the current line: one frame is what it should hold.
    fn step_within(&mut self, rest: Range<usize>) -> Result<Step> {
        let start = rest.start;
        let mut found = decode(&self.line[rest.clone()]);
        let mut skipped = 0;
        if start > 0 && found.is_err() && rest.len() > 1 {
            // After a frame without its newline: that byte may be there in another shape.
            if let Ok(frame) = decode(&self.line[start + 1..rest.end]) {
                (found, skipped) = (Ok(frame), 1);
            }
        }
        let start = start + skipped;
        let place = Place { line: self.line_number, offset: self.line_offset + start as u64 };
        match found {
            Ok(frame) => {
                let frame = shifted(frame, start);
                let end = frame.payload.end;
                if end == self.line.len() && !self.ended_by_newline {
                    return Ok(self.torn(start));
                }
                if end < self.line.len() {
                    self.rest = Some(end..self.line.len());
                }
                self.refuse_newer(&frame)?;
                Ok(Step::Frame(frame, place))
            }
            Err(Fault::Damaged(_)) if self.is_last()? => Ok(self.torn(start)),
            Err(Fault::Damaged(reason)) => Ok(damaged(place, reason.to_owned())),
            Err(Fault::Unreadable(reason)) => Ok(damaged(place, reason)),
        }
    }

    fn torn(&self, start: usize) -> Step {
        let newline = u64::from(self.ended_by_newline);
        let bytes = (self.line.len() - start) as u64 + newline;
        Step::Torn { offset: self.line_offset + start as u64, bytes, glued: start > 0 }
    }

    fn refuse_newer(&self, frame: &Frame) -> Result<()> {
        match frame.schema {
            Some(found) if found > u64::from(SCHEMA_VERSION) => Err(newer_record(&self.path, self.line_number, found)),
            _ => Ok(()),
        }
    }

    /// Reads the next line; one that is too long is passed over without being held.
    fn read_line(&mut self) -> Result<Option<std::result::Result<Range<usize>, Step>>> {
        self.line.clear();
        let limit = self.longest_line as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line).map_err(StoreError::io("read", &self.path))?;
        if read == 0 {
            return Ok(None);
        }
        self.line_number += 1;
        self.line_offset = self.next_offset;
        self.next_offset += read as u64;
        self.ended_by_newline = self.line.last() == Some(&b'\n');
        if self.ended_by_newline {
            self.line.pop();
        } else if read > self.longest_line {
            self.line = Vec::new();
            self.next_offset += self.reader.skip_until(b'\n').map_err(StoreError::io("read", &self.path))? as u64;
            let place = Place { line: self.line_number, offset: self.line_offset };
            if self.is_last()? {
                let bytes = self.next_offset - self.line_offset;
                return Ok(Some(Err(Step::Torn { offset: self.line_offset, bytes, glued: false })));
            }
            return Ok(Some(Err(damaged(place, format!("the line is longer than {} bytes", self.longest_line)))));
        }
        Ok(Some(Ok(0..self.line.len())))
    }

    fn is_last(&mut self) -> Result<bool> {
        let ahead = self.reader.fill_buf().map_err(StoreError::io("read", &self.path))?;
        Ok(ahead.is_empty())
    }
}

/// The error for a record that only a newer program can read.
pub(super) fn newer_record(path: &Path, line: u64, found: u64) -> StoreError {
    StoreError::Newer { path: path.to_owned(), line, what: "the record's schema", found, known: u64::from(SCHEMA_VERSION) }
}

fn damaged(place: Place, reason: String) -> Step {
    Step::Damaged(DamagedFrame { line: place.line, offset: place.offset, reason })
}

/// The same frame, its ranges counted from the start of the line.
fn shifted(frame: Frame, by: usize) -> Frame {
    let shift = |range: Range<usize>| range.start + by..range.end + by;
    Frame { id: shift(frame.id), payload: shift(frame.payload), ..frame }
}

/// Reads the first line. Returns how many bytes of it are there where it is unfinished, zero where it is whole.
fn check_header<R: Read>(reader: &mut BufReader<R>, path: &Path) -> Result<u64> {
    let mut line = Vec::new();
    reader.by_ref().take(64).read_until(b'\n', &mut line).map_err(StoreError::io("read the journal", path))?;
    if line == HEADER {
        return Ok(0);
    }
    // A whole file that is a part of the header: the writer was killed while creating it. An empty one has nothing to cut.
    if line.len() < HEADER.len() && HEADER.starts_with(&line) {
        return Ok(line.len() as u64);
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let version = text.strip_prefix(b"crossover-journal ").and_then(|version| std::str::from_utf8(version).ok()?.parse::<u64>().ok());
    match version {
        Some(found) if found > JOURNAL_VERSION => {
            Err(StoreError::Newer { path: path.to_owned(), line: 1, what: "the journal's format", found, known: JOURNAL_VERSION })
        }
        _ => Err(StoreError::NotAJournal { path: path.to_owned(), found: excerpt(text) }),
    }
}
