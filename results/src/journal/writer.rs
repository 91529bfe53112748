//! Writing a journal: one write and one sync per append, and back to the last good length when either fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::HEADER;
use super::frame::encode;
use super::reader::{Index, Tail, scan_index};
use super::scan::Scanner;
use crate::atomic::sync_folder_of;
use crate::error::{Result, StoreError};
use crate::schema::Record;

/// What the journal needs of a file; a fake one stands in for a full disk in the tests.
pub(super) trait Storage: Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Has somebody removed it, so that what is written goes nowhere?
    fn is_removed(&self) -> bool;
}

impl Storage for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // One system call, unless the kernel itself takes the bytes in parts.
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.sync_data()
    }

    fn is_removed(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        // A file without a name: it lives only as long as it is open.
        self.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }
}

/// A journal open for appending. Hold the run's lock while you hold this.
pub struct Journal {
    storage: Box<dyn Storage>,
    path: PathBuf,
    /// Bytes that are written and synced.
    length: u64,
    /// The file may be longer than `length`, because a failed append could not be undone.
    dirty: bool,
    /// Kept between appends to spare the allocator.
    frames: Vec<u8>,
}

impl Journal {
    /// Creates an empty journal, durable when this returns.
    ///
    /// # Errors
    /// When the file exists already or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(StoreError::io("create the journal", path))?;
        let mut journal = Self::over(Box::new(file), path, 0);
        journal.write_durably(HEADER)?;
        sync_folder_of(path)?;
        Ok(journal)
    }

    /// Opens an existing journal, cuts off a torn tail, and tells what it holds.
    ///
    /// # Errors
    /// When it cannot be read or written, is not a journal, or was written by a newer version; it is then left as it is.
    pub fn open(path: &Path) -> Result<(Self, Index)> {
        let (index, tail) = scan_index(&mut Scanner::open(path)?)?;
        let file = OpenOptions::new().append(true).open(path).map_err(StoreError::io("open the journal", path))?;
        let length = file.metadata().map_err(StoreError::io("open the journal", path))?.len();
        Ok((Self::resume(Box::new(file), path, length, tail)?, index))
    }

    /// Takes up a journal of `length` bytes, so that the next frame begins a line.
    pub(super) fn resume(storage: Box<dyn Storage>, path: &Path, length: u64, tail: Option<Tail>) -> Result<Self> {
        let mut journal = Self::over(storage, path, length);
        if let Some(tail) = &tail {
            journal.storage.truncate(tail.offset).map_err(StoreError::io("cut the torn end of", path))?;
            journal.length = tail.offset;
        }
        if journal.length == 0 {
            journal.write_durably(HEADER)?;
        } else if tail.is_some_and(|tail| tail.glued) {
            journal.write_durably(b"\n")?;
        }
        Ok(journal)
    }

    pub(super) fn over(storage: Box<dyn Storage>, path: &Path, length: u64) -> Self {
        Self { storage, path: path.to_owned(), length, dirty: false, frames: Vec::new() }
    }

    /// Appends one record; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::NotStorable`] for a record that would not come back as it is, [`StoreError::Append`] when the disk fails, and
    /// [`StoreError::Removed`] when the file is gone. The journal holds exactly what it held before.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        self.append_batch(std::slice::from_ref(record))
    }

    /// Appends several records with one write and one sync: all of them or none, unless the machine stops in between.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn append_batch(&mut self, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let outcome = records.iter().try_for_each(|record| encode(record, &mut frames)).and_then(|()| self.write_durably(&frames));
        self.frames = frames;
        outcome
    }

    fn write_durably(&mut self, bytes: &[u8]) -> Result<()> {
        if self.storage.is_removed() {
            return Err(StoreError::Removed { path: self.path.clone() });
        }
        if self.dirty {
            // A frame glued to half a frame would be lost with it: first get rid of that half.
            self.storage.truncate(self.length).map_err(|source| self.failure(source, false))?;
            self.dirty = false;
        }
        let written = self.storage.write(bytes).and_then(|()| self.storage.sync());
        if let Err(source) = written {
            // Also after a failed sync: what the disk then holds is not known, so the frame must not count.
            self.dirty = self.storage.truncate(self.length).is_err();
            return Err(self.failure(source, !self.dirty));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn failure(&self, source: io::Error, rolled_back: bool) -> StoreError {
        StoreError::Append { path: self.path.clone(), source, rolled_back }
    }
}
