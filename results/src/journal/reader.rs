//! Reading a journal: ids and statuses alone, or the records in full. Both stream, so memory does not grow with the payloads.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::frame::parse_record;
use super::scan::{Scanner, Step, newer_record};
use super::{DamagedFrame, Recovery};
use crate::error::{Result, StoreError};
use crate::schema::{Record, SCHEMA_VERSION, Status};

/// Which cells a journal holds, and how they ended: what a resumed run needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Status by cell id; of an id that occurs twice, the last.
    pub cells: HashMap<String, Status>,
    /// What the pass found.
    pub recovery: Recovery,
}

/// Reads ids and statuses, with every checksum tested and no record parsed.
///
/// # Errors
/// When the file cannot be read, is not a journal, or was written by a newer version. Damage is not an error: see [`Recovery`].
pub fn read_index(path: &Path) -> Result<Index> {
    let mut scanner = Scanner::open(path)?;
    scan_index(&mut scanner).map(|(index, _)| index)
}

/// A torn tail as the writer needs it.
pub(super) struct Tail {
    pub(super) offset: u64,
    pub(super) glued: bool,
}

pub(super) fn scan_index<R: Read>(scanner: &mut Scanner<R>) -> Result<(Index, Option<Tail>)> {
    let mut index = Index::default();
    let mut tail = None;
    while let Some(step) = scanner.advance()? {
        match step {
            Step::Frame(frame, _) => {
                index.recovery.frames += 1;
                let id = String::from_utf8_lossy(&scanner.bytes()[frame.id]).into_owned();
                index.cells.insert(id, frame.status);
            }
            Step::Damaged(damaged) => index.recovery.add_damage(damaged),
            Step::Torn { offset, bytes, glued } => {
                index.recovery.torn_bytes = bytes;
                tail = Some(Tail { offset, glued });
            }
        }
    }
    Ok((index, tail))
}

/// Reads the records in the order in which they were written, repeated ids included.
///
/// # Errors
/// As for [`read_index`].
pub fn read_records(path: &Path) -> Result<Records> {
    Scanner::open(path).map(|scanner| Records::over(scanner, path))
}

/// The records of a journal. Damaged frames are stepped over and listed in [`Records::recovery`]; an error ends the iteration.
pub struct Records {
    scanner: Scanner<Box<dyn Read + Send>>,
    path: PathBuf,
    recovery: Recovery,
    failed: bool,
}

/// The only field that is read of a record which this version cannot read.
#[derive(Deserialize)]
struct SchemaOnly {
    schema: u64,
}

impl Records {
    pub(super) fn over(scanner: Scanner<Box<dyn Read + Send>>, path: &Path) -> Self {
        Self { scanner, path: path.to_owned(), recovery: Recovery::default(), failed: false }
    }

    /// What was found so far; complete once the iterator has ended.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn advance(&mut self) -> Result<Option<Record>> {
        while let Some(step) = self.scanner.advance()? {
            let (frame, place) = match step {
                Step::Frame(frame, place) => (frame, place),
                Step::Damaged(damaged) => {
                    self.recovery.add_damage(damaged);
                    continue;
                }
                Step::Torn { bytes, .. } => {
                    self.recovery.torn_bytes = bytes;
                    continue;
                }
            };
            match parse_record(&frame, self.scanner.bytes()) {
                Ok(record) if record.schema > SCHEMA_VERSION => return Err(newer_record(&self.path, place.line, record.schema.into())),
                Ok(record) => {
                    self.recovery.frames += 1;
                    return Ok(Some(record));
                }
                Err(reason) => {
                    let payload = &self.scanner.bytes()[frame.payload];
                    if let Ok(SchemaOnly { schema }) = serde_json::from_slice(payload)
                        && schema > u64::from(SCHEMA_VERSION)
                    {
                        return Err(newer_record(&self.path, place.line, schema));
                    }
                    self.recovery.add_damage(DamagedFrame { line: place.line, offset: place.offset, reason });
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Records {
    type Item = std::result::Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}
